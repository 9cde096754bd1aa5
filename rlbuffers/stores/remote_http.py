"""fsspec's file system of web servers, with bounds: on time, on what an answer may hold, and on where redirects lead.

Only what reading a buffer needs: ranges of bytes, and sizes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

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

__all__ = ["LimitedHTTP", "Versions"]

_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
_MISSING = (404, 410)
# What does not pass by itself.
_PERMANENT = (
    aiohttp.InvalidURL,
    aiohttp.ClientSSLError,
    aiohttp.ClientResponseError,
    UnicodeError,
)
Version = tuple[int | None, str | None, str | None]
Versions = dict[str, Version]
"""Address to (size, entity tag, time of the last change) of what was read first at it."""


async def _client(**options: Any) -> aiohttp.ClientSession:
    # A limit on connections would make requests of one batch wait for each other, which looks like a silent server.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, **options)


class LimitedHTTP(HTTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Reads ranges from web servers; see `NetworkLimits`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"get_client": _client, **options})
        self._answered: set[tuple[str | None, int | None]] = set()

    async def _cat_file(
        self,
        url: str,
        start: int | None = None,
        end: int | None = None,
        *,
        versions: Versions | None = None,
        longest: int | None = None,
        **_: Any,
    ) -> bytes:
        """Read a range.

        `versions` keeps what the first answer said of the file, and later ones are compared. More than `longest` bytes
        are refused as they come.
        """
        if start is None or end is None or start < 0:
            raise ValueError("expected a range from the beginning of the file")
        if end <= start:
            return b""
        limits = NetworkLimits.from_environment()
        retries = Retries(limits)
        while True:
            try:
                try:
                    return await self._read(url, start, end, limits, {} if versions is None else versions, longest)
                except (DownloadError, FileNotFoundError):
                    raise
                except (aiohttp.ClientError, OSError, UnicodeError) as error:
                    raise self._understood(error, limits) from error
            except TransientError as error:
                await asyncio.sleep(retries.wait_seconds(error))

    def _understood(self, error: Exception, limits: NetworkLimits) -> Exception:
        """Say what a failure is: `TransientError`, where another try may help, or `DownloadError`."""
        if isinstance(error, TimeoutError):
            return TransientError(
                f"the server sent nothing for {limits.timeout:g} s (RLBUFFERS_TIMEOUT sets the limit)"
            )
        if isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) not in self._answered:
            return DownloadError(one_line(error))
        return (DownloadError if isinstance(error, _PERMANENT) else TransientError)(one_line(error))

    async def _read(
        self, url: str, start: int, end: int, limits: NetworkLimits, versions: Versions, longest: int | None
    ) -> bytes:
        pace = Pace(limits)
        async with asyncio.timeout(limits.timeout):
            response = await self._answer(url, start, end, limits)
        try:
            if response.status == _RANGE_NOT_SATISFIABLE:
                return b""
            found = _version(response)
            _compare(versions.get(url, found), found)
            content = await _body(response, end - start, pace, longest)
            versions.setdefault(url, found)
            return content
        finally:
            response.close()

    async def _answer(self, url: str, start: int, end: int, limits: NetworkLimits) -> aiohttp.ClientResponse:
        """Return the answer to a request for a range, of which the body is still to be read."""
        session = await self.set_session()
        options = dict(self.kwargs)
        options["headers"] = {
            **(options.get("headers") or {}),
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        waits = aiohttp.ClientTimeout(total=None, sock_connect=limits.timeout, sock_read=limits.timeout)
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            response: aiohttp.ClientResponse = await session.get(
                self.encode_url(target), allow_redirects=False, timeout=waits, **options
            )
            self._answered.add((response.url.host, response.url.port))
            if response.status not in REDIRECTS:
                try:
                    _check_answer(response, url, start)
                except BaseException:
                    response.close()
                    raise
                return response
            response.close()
            target = redirected(target, response.headers.get("Location"))
        raise DownloadError(f"more than {MAX_REDIRECTS} redirects, the last one to {target:.200}")

    async def _info(self, url: str, **_: Any) -> dict[str, Any]:
        """Return the size by a request for the first byte: fewer servers refuse that than HEAD requests."""
        versions: Versions = {}
        await self._cat_file(url, 0, 1, versions=versions)
        found = versions.get(url, (0, None, None))  # of an empty file there is no first byte
        return {"name": url, "size": found[0], "type": "file"}


def _check_answer(response: aiohttp.ClientResponse, url: str, start: int) -> None:
    status = response.status
    if status in _MISSING:
        raise FileNotFoundError(url)
    if status in TRANSIENT_STATUSES:
        raise TransientError(f"HTTP {status}: {response.reason}", retry_after(response.headers.get("Retry-After")))
    if status == _RANGE_NOT_SATISFIABLE:
        return
    if status not in (200, _PARTIAL_CONTENT):
        raise DownloadError(f"HTTP {status}: {response.reason}")
    refuse_web_page(response.headers.get("Content-Type"))
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding not in ("", "identity"):
        raise DownloadError(f"the server compressed its answer ({encoding:.40}), although that was not asked for")
    if status == 200 and start:
        raise DownloadError("the server does not answer range requests, which reading parts of a file needs")
    if status == _PARTIAL_CONTENT and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise DownloadError("the server sent another range than was asked for")


def _version(response: aiohttp.ClientResponse) -> Version:
    """Return (size, entity tag, time of the last change) of the whole file, as far as the answer says."""
    if response.status == _PARTIAL_CONTENT:
        total = response.headers["Content-Range"].rpartition("/")[2]
        size = int(total) if total.isascii() and total.isdecimal() and len(total) < 19 else None
    else:
        size = response.content_length
    tag = response.headers.get("ETag")
    return size, None if tag is None or tag.startswith("W/") else tag, response.headers.get("Last-Modified")


def _compare(first: Version, found: Version) -> None:
    if any(None not in pair and pair[0] != pair[1] for pair in zip(first, found, strict=True)):
        raise DownloadError("the file was replaced on the server while it was read; open it again")


async def _body(response: aiohttp.ClientResponse, num_bytes: int, pace: Pace, longest: int | None) -> bytes:
    """Read at most so many bytes, however long the answer is."""
    parts: list[bytes] = []
    left = num_bytes
    while left > 0 and (part := await response.content.readany()):
        parts.append(part[:left])
        left -= len(part)
        if longest is not None and num_bytes - left > longest:
            raise DownloadError(f"expected a document of at most {longest:,} bytes, found more")
        if left > 0:
            pace.note(len(part))
    return b"".join(parts)
