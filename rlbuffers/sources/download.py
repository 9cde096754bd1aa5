"""Downloads that can be stopped, resumed and trusted, from servers that stall, lie or change what they publish."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from google_crc32c import extend

from rlbuffers.errors import DownloadError
from rlbuffers.network import (
    MAX_REDIRECTS,
    REDIRECTS,
    TRANSIENT_STATUSES,
    NetworkLimits,
    Pace,
    Retries,
    TransientError,
    one_line,
    redirected,
    refuse_web_page,
    retry_after,
)

__all__ = ["download"]

Progress = Callable[[int, int | None], None]
_READ_BYTES = 1 << 20
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
# What a download leaves free on the disk.
_SPARE_BYTES = 256 << 20
_MAX_FACTS_BYTES = 1 << 16


def download(
    url: str,
    path: Path,
    on_progress: Progress | None = None,
    *,
    num_bytes: int | None = None,
    sha256: str | None = None,
) -> None:
    """Fetch `url` into `path`, which exists only once the file is complete.

    The bytes collect in ``<path>.part``; beside it, ``<path>.part.json`` keeps what the server said of the file's
    version. What failed for a passing reason is tried again, and a later call goes on from there, by an HTTP range
    request, if the server still has the same file. The length is compared with the one announced, and the CRC-32C with
    the one that Google's storage sends along (header ``x-goog-hash``). `NetworkLimits` says how patient it is.

    Parameters
    ----------
    url : str
        ``http`` or ``https``. Redirects to anything else, or from https to http, are refused.
    path : Path
        Where to put the file; missing folders are made.
    on_progress : callable, optional
        Is given (bytes so far, bytes in all or None).
    num_bytes, sha256 : optional
        What the whole file must be like, as known from elsewhere; another file is not kept.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, sends something else than it announced, or more than the disk holds.
        The message says where to put a file fetched by other means.
    """
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = partial.with_name(partial.name + ".json")
    try:
        with partial.open("ab") as file:
            _lock(file, partial)
            job = _Download(url, file, facts, on_progress, num_bytes, checked=sha256 is not None)
            try:
                job.run()
                _check_expected(file, url, num_bytes, sha256)
                os.replace(partial, path)
                facts.unlink(missing_ok=True)
            finally:
                if partial.exists() and partial.stat().st_size == 0:
                    facts.unlink(missing_ok=True)
                    partial.unlink()
    except _NetworkError as error:
        raise DownloadError(
            f"cannot download {url} ({error}). Try again to go on where it stopped, or fetch the file by "
            f"other means and put it at {path}"
        ) from error


class _NetworkError(Exception):
    """Why a server did not give a file."""


def _lock(file: BinaryIO, partial: Path) -> None:
    """Keep other processes away until `file` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(file.fileno()).st_ino == os.stat(partial).st_ino  # it may have just been finished
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise DownloadError(f"{partial}: another process is downloading this file; wait for it")


class _Download:
    """One file on its way, over as many tries as it needs."""

    def __init__(
        self,
        url: str,
        file: BinaryIO,
        facts: Path,
        on_progress: Progress | None,
        num_bytes: int | None,
        *,
        checked: bool,
    ) -> None:
        self._url = url
        self._file = file
        self._facts = facts
        self._on_progress = on_progress
        self._num_bytes = num_bytes
        self._checked = checked
        self._limits = NetworkLimits.from_environment()
        self._have = file.tell()

    def run(self) -> None:
        """Fetch the file, or raise `_NetworkError` or DownloadError."""
        retries = Retries(self._limits)
        while True:
            before = self._have
            try:
                self._try()
                return
            except TransientError as error:
                if self._have > before:
                    retries.begin_again()
                try:
                    wait = retries.wait_seconds(error)
                except DownloadError as last:
                    raise _NetworkError(str(last)) from last
            time.sleep(wait)

    def _try(self) -> None:
        try:
            self._fetch()
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {one_line(Exception(error.reason))}"
            if error.code in TRANSIENT_STATUSES:
                raise TransientError(said, retry_after(error.headers.get("Retry-After"))) from error
            raise _NetworkError(said) from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            cause = reason if isinstance(reason, Exception) else Exception(reason)
            if isinstance(cause, TimeoutError):
                raise TransientError(
                    f"the server sent nothing for {self._limits.timeout:g} s; RLBUFFERS_TIMEOUT sets the limit"
                ) from error
            if _is_permanent(cause):
                raise _NetworkError(one_line(cause)) from error
            raise TransientError(one_line(cause)) from error
        except (ValueError, UnicodeError) as error:  # of addresses that a server or user made up
            if isinstance(error, DownloadError):
                raise
            raise _NetworkError(one_line(error)) from error

    def _fetch(self) -> None:
        known = self._known() if self._have else None
        if known is None:
            self._empty()
        headers = {} if known is None else {"Range": f"bytes={self._have}-"}
        if known is not None and known["validator"]:
            headers["If-Range"] = known["validator"]
        try:
            response = _opened(self._url, headers, self._limits)
        except urllib.error.HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE or not self._have:
                raise
            # What is there is not a beginning of the file, or already all of it: start again.
            self._empty()
            response = _opened(self._url, {}, self._limits)
        with response:
            self._receive(response, known)

    def _receive(self, response: Any, known: dict[str, Any] | None) -> None:
        try:
            refuse_web_page(response.headers.get("Content-Type"))
        except DownloadError as error:
            raise _NetworkError(str(error)) from error
        found = _version(response)
        stated = response.headers.get("Content-Length")
        if stated is not None and not (stated.isascii() and stated.isdecimal()):
            raise _NetworkError(f"the server says a length of {stated!r:.40}")
        if response.status != _PARTIAL_CONTENT:
            self._empty()
        elif not str(response.headers.get("Content-Range")).startswith(f"bytes {self._have}-"):
            raise DownloadError(f"{self._url}: the server sent another range than was asked for; remove {self._name}")
        elif known is not None and any(known[key] != found[key] for key in ("validator", "total")):
            self._empty()
            raise TransientError("the file was replaced on the server meanwhile; it is fetched from the beginning")
        total = found["total"]
        hashes = response.headers.get_all("x-goog-hash") or []
        self._checked = self._checked or bool(hashes)
        room = self._room(total)
        self._facts.write_text(json.dumps(found | {"checked": self._checked}))
        while data := response.read1(_READ_BYTES):
            self._file.write(data)
            self._have += len(data)
            if self._have > room:
                self._empty()
                raise DownloadError(
                    f"{self._url}: the server sent more than {room:,} bytes, which "
                    f"{'the file has' if self._num_bytes is not None else 'the disk holds'}; what arrived was removed"
                )
            if self._on_progress is not None:
                self._on_progress(self._have, total)
        self._file.flush()
        os.fsync(self._file.fileno())
        if total is not None and self._have != total:
            raise TransientError(f"the connection ended after {self._have:,} of {total:,} bytes")
        if not self._have:
            raise TransientError("the server sent an empty file")
        _check_crc32c(self._file, hashes, self._url, self._empty)

    def _room(self, total: int | None) -> int:
        """Return how many bytes the file may have at most."""
        if self._num_bytes is not None:
            return self._num_bytes
        room = self._have + max(0, shutil.disk_usage(self._facts.parent).free - _SPARE_BYTES)
        if total is not None and total > room:
            raise DownloadError(
                f"{self._url}: has {total:,} bytes, and the disk of {self._facts.parent} has room for {room:,} "
                f"({_SPARE_BYTES >> 20} MiB are left free); make room, or choose another folder"
            )
        return room

    def _known(self) -> dict[str, Any] | None:
        """Return what the server said of the version that `<path>.part` is the beginning of; None: start again."""
        with suppress(OSError, ValueError, RecursionError):
            if self._facts.stat().st_size <= _MAX_FACTS_BYTES:
                known = json.loads(self._facts.read_text())
                same = isinstance(known, dict) and known.get("url") == self._url
                # Without a version, only a checksum can tell whether the parts are of one file.
                if same and "total" in known and (known.get("validator") or known.get("checked") is True):
                    return dict(known)
        return None

    @property
    def _name(self) -> str:
        return self._file.name

    def _empty(self) -> None:
        _empty(self._file)
        self._have = 0


def _is_permanent(cause: Exception) -> bool:
    """Whether another try, seconds later, would fail as well."""
    if isinstance(cause, socket.gaierror):
        return cause.errno != socket.EAI_AGAIN
    return isinstance(cause, ConnectionRefusedError | ssl.SSLError)


def _version(response: Any) -> dict[str, Any]:
    """Return address, size and version of the file, as far as an answer says; weak entity tags say nothing here."""
    length = response.headers.get("Content-Length", "")
    if response.status == _PARTIAL_CONTENT:
        length = str(response.headers.get("Content-Range")).rpartition("/")[2]
    tag = response.headers.get("ETag") or "W/"
    return {
        "url": response.asked_url,
        "total": int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None,
        "validator": response.headers.get("Last-Modified") if tag.startswith("W/") else tag,
    }


def _opened(url: str, headers: dict[str, str], limits: NetworkLimits) -> Any:
    """Return an answer whose body is still to be read, behind any redirects."""
    # Only these: others open files, ftp and data addresses, or read what comes with a redirect without end.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HTTPHandler(limits),
        _HTTPSHandler(limits),
    ):
        opener.add_handler(handler)
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response = opener.open(urllib.request.Request(target, headers=headers), timeout=limits.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in REDIRECTS:
                raise
            try:
                target = redirected(target, error.headers.get("Location"))
            except DownloadError as refused:
                raise _NetworkError(str(refused)) from refused
            continue
        if response is None:
            raise _NetworkError(f"expected an http or https address, got {target:.200}")
        response.asked_url = url
        return response
    raise _NetworkError(f"more than {MAX_REDIRECTS} redirects, the last one to {target:.200}")


class _PacedSocket(io.RawIOBase):
    """What an answer is read from, header and body: each read waits no longer than the pace allows."""

    def __init__(self, sock: socket.socket, limits: NetworkLimits) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._pace = Pace(limits)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int | None:
        self._sock.settimeout(self._pace.left())
        count = self._raw.readinto(target)
        self._pace.note(count or 0)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def _response_class(limits: NetworkLimits) -> type[http.client.HTTPResponse]:
    class PacedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
            super().__init__(sock, *arguments, **options)
            self.fp.close()
            self.fp = io.BufferedReader(_PacedSocket(sock, limits))

    return PacedResponse


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, limits: NetworkLimits) -> None:
        super().__init__()
        self._response_class = _response_class(limits)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)

    def _connection(self, *arguments: Any, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(*arguments, **options)
        connection.response_class = self._response_class
        return connection


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, limits: NetworkLimits) -> None:
        super().__init__()
        self._response_class = _response_class(limits)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)

    def _connection(self, *arguments: Any, **options: Any) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(*arguments, context=ssl.create_default_context(), **options)
        connection.response_class = self._response_class
        return connection


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


def _check_crc32c(file: BinaryIO, announced: list[str], url: str, empty: Callable[[], None]) -> None:
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
        empty()
        raise DownloadError(f"{url}: what arrived fails the server's CRC-32C and was removed; try again")
