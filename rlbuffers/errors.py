"""Every exception that rlbuffers raises on purpose.

::

    RlbuffersError
    ├── BufferNotFoundError       (also FileNotFoundError)  no buffer at that path
    ├── BufferExistsError         (also FileExistsError)    something is there already
    ├── BufferBusyError                                     another process writes it
    ├── FormatError               (also ValueError)         not what the reader expects
    │   └── CorruptDataError                                a checksum or a length is wrong
    ├── SpecError                 (also ValueError)         data and declared columns disagree
    ├── UsageError                (also ValueError)         an argument that cannot be obeyed
    │   └── OutOfRangeError       (also IndexError)         no row or episode of that number
    ├── UnsupportedError                                    asked of a buffer what it cannot give
    ├── NotDurableError           (also OSError)            written, but a power cut may undo it
    ├── DownloadError             (also OSError)            the network, or what it sent
    └── MissingDependencyError    (also ImportError)        an extra is not installed

A message says where, what was expected, what was found and what to do.
"""

from __future__ import annotations

__all__ = [
    "BufferBusyError",
    "BufferExistsError",
    "BufferNotFoundError",
    "CorruptDataError",
    "DownloadError",
    "FormatError",
    "MissingDependencyError",
    "NotDurableError",
    "OutOfRangeError",
    "RlbuffersError",
    "SpecError",
    "UnsupportedError",
    "UsageError",
]


class RlbuffersError(Exception):
    """Base of all errors below; the command line prints it as one line."""


class BufferNotFoundError(RlbuffersError, FileNotFoundError):
    """There is no buffer, shard or checkpoint at the given path."""


class BufferExistsError(RlbuffersError, FileExistsError):
    """The output path is taken and overwriting was not asked for."""


class BufferBusyError(RlbuffersError):
    """Another living process is writing the same buffer."""


class FormatError(RlbuffersError, ValueError):
    """A file is not of the format that its reader expects."""


class CorruptDataError(FormatError):
    """A checksum, a length or a stored count does not fit the bytes."""


class SpecError(RlbuffersError, ValueError):
    """Data and the declared columns disagree."""


class UsageError(RlbuffersError, ValueError):
    """An argument has a value that cannot be obeyed."""


class OutOfRangeError(UsageError, IndexError):
    """There is no row or episode of that number."""


class UnsupportedError(RlbuffersError):
    """The buffer cannot give what was asked, for a reason the message names."""


class NotDurableError(RlbuffersError, OSError):
    """The output stands whole under its name, but its folder could not be flushed to disk."""


class DownloadError(RlbuffersError, OSError):
    """A download failed, or what arrived is not what was announced."""


class MissingDependencyError(RlbuffersError, ImportError):
    """An optional package is not installed."""
