"""Downloads that can be stopped, resumed and trusted."""

from __future__ import annotations

import base64
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from google_crc32c import extend

from rlbuffers.errors import DownloadError

__all__ = ["download"]

_READ_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, path: Path, on_progress: Callable[[int, int | None], None] | None = None) -> None:
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

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, or sends something else than it announced. The
        message says where to put a file fetched by other means.
    """
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial, on_progress)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"cannot download {url} ({reason}). Try again to go on where it stopped, or fetch the file by other "
            f"means and put it at {path}"
        ) from error
    os.replace(partial, path)


def _fetch(url: str, partial: Path, on_progress: Callable[[int, int | None], None] | None) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE or not have:
            raise
        # What is there is not a beginning of the file, or already all of it: start again.
        partial.unlink()
        _fetch(url, partial, on_progress)
        return
    with response:
        resumed = response.status == _PARTIAL_CONTENT
        have = have if resumed else 0
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced is not None else None
        with partial.open("ab" if resumed else "wb") as file:
            while data := response.read(_READ_BYTES):
                file.write(data)
                have += len(data)
                if on_progress is not None:
                    on_progress(have, total)
            file.flush()
            os.fsync(file.fileno())
        if total is not None and have != total:
            raise DownloadError(f"{url}: the connection ended after {have:,} of {total:,} bytes; try again to go on")
        _check_crc32c(partial, response.headers.get_all("x-goog-hash") or [], url)


def _check_crc32c(partial: Path, announced: list[str], url: str) -> None:
    stated = [
        part.strip().removeprefix("crc32c=") for line in announced for part in line.split(",") if "crc32c=" in part
    ]
    if not stated:
        return
    checksum = 0
    with partial.open("rb") as file:
        while data := file.read(_READ_BYTES):
            checksum = extend(checksum, data)
    if checksum.to_bytes(4, "big") != base64.b64decode(stated[0]):
        partial.unlink()
        raise DownloadError(f"{url}: what arrived fails the server's CRC-32C and was removed; try again")
