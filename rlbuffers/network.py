"""How long servers are waited for, how often they are asked again, and where they may send us.

Remote buffers and downloads share these rules. Two environment variables set them, so that they reach every process
that a command starts: ``RLBUFFERS_TIMEOUT`` (seconds) and ``RLBUFFERS_RETRIES``.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from rlbuffers.errors import DownloadError, UsageError

__all__ = [
    "MAX_REDIRECTS",
    "REDIRECTS",
    "TRANSIENT_STATUSES",
    "NetworkLimits",
    "Pace",
    "Retries",
    "TransientError",
    "one_line",
    "redirected",
    "refuse_web_page",
    "retry_after",
]

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
_MIN_BYTES_PER_SECOND = 1024
_FIRST_WAIT_SECONDS = 0.5
_MAX_WAIT_SECONDS = 60.0


class TransientError(DownloadError):
    """A failure that another try may not have; never leaves `Retries`.

    Parameters
    ----------
    message : str
        What failed.
    after : float, optional
        The seconds that the server asks to wait for.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class NetworkLimits:
    """How patient reading from servers is.

    Parameters
    ----------
    timeout : float, default 30
        Seconds for connecting and for the beginning of an answer, and the longest silence within one. After as many
        seconds, an answer must have brought at least 1 KiB for each further second.
    retries : int, default 4
        How often a request that failed for a passing reason is made again.
    """

    timeout: float = 30.0
    retries: int = 4

    @classmethod
    def from_environment(cls) -> NetworkLimits:
        """Return the limits that ``RLBUFFERS_TIMEOUT`` and ``RLBUFFERS_RETRIES`` set.

        Raises
        ------
        UsageError
            If one of them is not a number in range.
        """
        timeout, retries = os.environ.get("RLBUFFERS_TIMEOUT"), os.environ.get("RLBUFFERS_RETRIES")
        return cls(
            cls.timeout if not timeout else _seconds(timeout), cls.retries if not retries else _whole_number(retries)
        )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise UsageError(f"RLBUFFERS_TIMEOUT={text}: expected seconds, more than 0 and at most 86,400")
    return value


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise UsageError(f"RLBUFFERS_RETRIES={text}: expected a whole number from 0 to 999")
    return int(text)


class Pace:
    """Watches one answer: silence and trickles end it, a slow line does not."""

    def __init__(self, limits: NetworkLimits) -> None:
        self._timeout = limits.timeout
        self._started = time.monotonic()
        self._received = 0

    def left(self) -> float:
        """Return the seconds until an answer that brings nothing more is given up.

        Raises
        ------
        TransientError
            If there are none.
        """
        spent = time.monotonic() - self._started
        left = self._timeout + self._received / _MIN_BYTES_PER_SECOND - spent
        if left <= 0:
            raise TransientError(
                f"the server sent {self._received:,} bytes in {spent:.3g} s, less than {_MIN_BYTES_PER_SECOND:,} a "
                f"second after the {self._timeout:g} s of RLBUFFERS_TIMEOUT"
            )
        return min(left, self._timeout)

    def note(self, num_bytes: int) -> None:
        """Count what has arrived, and see `left`."""
        self._received += num_bytes
        self.left()


class Retries:
    """The tries of one request: a few, further and further apart, and none once much time has passed."""

    def __init__(self, limits: NetworkLimits) -> None:
        self._limits = limits
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the failures so far, for instance because the last try got on."""
        self._started = time.monotonic()
        self._failures = 0

    def wait_seconds(self, error: TransientError) -> float:
        """Return how long to wait before the next try.

        Raises
        ------
        DownloadError
            The error, if there shall be no other try: after `NetworkLimits.retries`, after twice the time limit,
            or if the server asks to wait for more than a minute.
        """
        self._failures += 1
        wait: float = min(_FIRST_WAIT_SECONDS * 2 ** (self._failures - 1), _MAX_WAIT_SECONDS) * random.uniform(0.5, 1.0)
        if error.after is not None:
            if error.after > _MAX_WAIT_SECONDS:
                raise DownloadError(f"{error}; the server asks to wait {error.after:,.0f} s: try again then") from error
            wait = max(wait, error.after)
        spent = time.monotonic() - self._started
        if self._failures > self._limits.retries or spent > 2 * self._limits.timeout:
            tries = "" if self._failures == 1 else f" ({self._failures} tries)"
            raise DownloadError(f"{error}{tries}") from error
        return wait


def retry_after(header: str | None) -> float | None:
    """Return the seconds that an HTTP header ``Retry-After`` says, as a number or as a date; None: nothing useful."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        then: datetime = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds: float = (then - datetime.now(UTC)).total_seconds()
    return seconds if seconds > 0 else 0.0


def redirected(url: str, location: str | None) -> str:
    """Return where a redirect leads.

    Raises
    ------
    DownloadError
        If it leads nowhere, to something other than http and https, or from https down to http.
    """
    try:
        target = urljoin(url, location or "")
        scheme = urlsplit(target).scheme
    except ValueError:
        target = scheme = ""
    if not location or scheme not in ("http", "https"):
        raise DownloadError(f"the server redirects to {location!r:.200}, which is not an http or https address")
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise DownloadError(f"the server redirects from https to {target!r:.200}, which is not encrypted")
    return target


def refuse_web_page(content_type: str | None) -> None:
    """Refuse an answer for people.

    Raises
    ------
    DownloadError
        If the type of the content is HTML.
    """
    if (content_type or "").partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise DownloadError("the server sent a web page in place of the file; it may ask for a login")


def one_line(error: BaseException) -> str:
    """Return what an exception says, in one line of bounded length."""
    return " ".join(str(error).split())[:500] or type(error).__name__
