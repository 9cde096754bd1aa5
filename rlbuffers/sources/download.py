"""Downloads that can be stopped, resumed and trusted."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from google_crc32c import extend

from rlbuffers.errors import DownloadError

__all__ = ["download"]

_READ_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def download(
    url: str,
    path: Path,
    on_progress: Callable[[int, int | None], None] | None = None,
    *,
    num_bytes: int | None = None,
    sha256: str | None = None,
) -> None:
    """Fetch `url` into `path`, which exists only once the file is complete.

    The bytes collect in ``<path>.part``; a later call goes on from there by an HTTP range request.
    The length is compared with the one announced, and the CRC-32C with the one that Google's
    storage sends along (header ``x-goog-hash``).

    Parameters
    ----------
    url : str
        ``http`` or ``https``.
    path : Path
        Where to put the file; missing folders are made.
    on_progress : callable, optional
        Is given (bytes so far, bytes in all or None).
    num_bytes, sha256 : optional
        What the whole file must be like, as known from elsewhere; another file is not kept.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, or sends something else than it announced. The
        message says where to put a file fetched by other means.
    """
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("ab") as file:
            _lock(file, partial)
            _fetch(url, file, on_progress)
            _check_expected(file, url, num_bytes, sha256)
            os.replace(partial, path)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise DownloadError(
            f"cannot download {url} ({_reason(error)}). Try again to go on where it stopped, or fetch the file by "
            f"other means and put it at {path}"
        ) from error
    finally:
        if partial.exists() and partial.stat().st_size == 0:
            partial.unlink()


def _lock(file: BinaryIO, partial: Path) -> None:
    """Keep other processes away until `file` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(file.fileno()).st_ino == os.stat(partial).st_ino  # it may have just been finished
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise DownloadError(f"{partial}: another process is downloading this file; wait for it")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}: {error.reason}"
    return str(getattr(error, "reason", None) or error)


def _fetch(url: str, file: BinaryIO, on_progress: Callable[[int, int | None], None] | None) -> None:
    have = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != _RANGE_NOT_SATISFIABLE or not have:
            raise
        # What is there is not a beginning of the file, or already all of it: start again.
        _empty(file)
        _fetch(url, file, on_progress)
        return
    with response:
        if response.status != _PARTIAL_CONTENT:
            _empty(file)
            have = 0
        elif not str(response.headers.get("Content-Range")).startswith(f"bytes {have}-"):
            raise DownloadError(f"{url}: the server sent another range than was asked for; remove {file.name}")
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced is not None else None
        while data := response.read(_READ_BYTES):
            file.write(data)
            have += len(data)
            if on_progress is not None:
                on_progress(have, total)
        file.flush()
        os.fsync(file.fileno())
        if total is not None and have != total:
            raise DownloadError(f"{url}: the connection ended after {have:,} of {total:,} bytes; try again to go on")
        _check_crc32c(file, response.headers.get_all("x-goog-hash") or [], url)


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _check_expected(file: BinaryIO, url: str, num_bytes: int | None, sha256: str | None) -> None:
    found = os.fstat(file.fileno()).st_size
    if num_bytes is not None and found != num_bytes:
        _empty(file)
        raise DownloadError(f"{url}: expected {num_bytes:,} bytes, got {found:,}; what arrived was removed")
    if sha256 is None:
        return
    with open(file.name, "rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    if digest != sha256:
        _empty(file)
        raise DownloadError(f"{url}: expected SHA-256 {sha256}, got {digest}; what arrived was removed")


def _check_crc32c(file: BinaryIO, announced: list[str], url: str) -> None:
    stated = [
        part.strip().removeprefix("crc32c=") for line in announced for part in line.split(",") if "crc32c=" in part
    ]
    if not stated:
        return
    checksum = 0
    with open(file.name, "rb") as written:
        while data := written.read(_READ_BYTES):
            checksum = extend(checksum, data)
    if base64.b64encode(checksum.to_bytes(4, "big")).decode() != stated[0]:
        _empty(file)
        raise DownloadError(f"{url}: what arrived fails the server's CRC-32C and was removed; try again")
