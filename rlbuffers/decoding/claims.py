"""How much a file may become in memory, compared with what is stored of it.

A few bytes can announce, or unpack to, as much as they like. What a reader takes at once is compared with the size of
the file before memory is taken: a little is free, and beyond that it may grow as honest files do and not further. So a
large file may hold large records, and a small one cannot. docs/formats.md has the table of these bounds.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import require_regular

__all__ = [
    "FREE_BYTES",
    "FREE_STREAM_BYTES",
    "IMAGE_GROWTH",
    "RECORD_GROWTH",
    "STREAM_GROWTH",
    "most_bytes",
    "require_room",
    "stored_bytes",
]

FREE_BYTES = 64 << 20
"""What a record, an array or the images of an episode may take, however small the file is."""
RECORD_GROWTH = 32
"""Bytes of a record, and of the numbers in it, for each byte that the file has on disk; beyond `FREE_BYTES`."""
IMAGE_GROWTH = 128
"""Bytes of decoded images or tensors for each byte that the file has on disk; only black pictures exceed it."""
FREE_STREAM_BYTES = 8 << 30
"""What a file may become that is read as a stream, in pieces; the frames of a DQN Replay log are 7.06 GB."""
STREAM_GROWTH = 250
"""Bytes of such a stream for each byte of the file, beyond `FREE_STREAM_BYTES`; gzip reaches 1,032, of zeros."""
_BLOCK_BYTES = 512


def stored_bytes(path: Path) -> int:
    """Return how many bytes a file has on disk: of a sparse file, far fewer than its size."""
    found = os.stat(require_regular(path))
    if found.st_blocks:
        return min(found.st_size, found.st_blocks * _BLOCK_BYTES)
    # Small files may stand in the directory, and some file systems do not count: both say 0 blocks, as holes do.
    with path.open("rb") as file:
        try:
            os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError as error:
            return 0 if error.errno == errno.ENXIO else found.st_size
    return found.st_size


def most_bytes(path: Path, growth: int = RECORD_GROWTH, free: int = FREE_BYTES) -> int:
    """Return how many bytes may be taken for a part of a file.

    Parameters
    ----------
    path : Path
        An existing file.
    growth : int
        Bytes for each one that is stored.
    free : int
        What may be taken in any case.
    """
    return max(free, growth * stored_bytes(path))


def require_room(num_bytes: int, most: int, where: str) -> None:
    """Refuse what would become larger than the file can honestly hold.

    Raises
    ------
    CorruptDataError
        If it is more than `most`, in bytes.
    """
    if num_bytes > most:
        raise CorruptDataError(
            f"{where}: it announces {num_bytes:,} bytes in memory; more than {most:,} are not plausible for a file "
            "of this size: it is damaged, or made to fill the memory"
        )
