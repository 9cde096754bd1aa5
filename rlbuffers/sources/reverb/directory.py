"""Where a checkpoint is, and the records of its files.

A server writes each checkpoint into a directory that is named by the time: ``tables.tfrecord``, ``items.tfrecord`` and
``chunks.tfrecord``, each a ZLIB-compressed TFRecord file, and an empty file ``DONE`` once these are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rlbuffers.decoding.claims import most_bytes
from rlbuffers.decoding.tfrecord import read_records
from rlbuffers.decoding.zlib_stream import inflate
from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.local_inputs import require_inside, require_regular

__all__ = ["CHUNKS", "ITEMS", "TABLES", "find_checkpoint", "read_messages"]

TABLES, ITEMS, CHUNKS = "tables.tfrecord", "items.tfrecord", "chunks.tfrecord"
_DONE = "DONE"
_BATCH_RECORDS = 256


def find_checkpoint(path: Path) -> Path:
    """Return the directory of a checkpoint: `path` itself, or the newest finished one in it, as Reverb loads.

    Raises
    ------
    BufferNotFoundError
        If there is no such directory.
    FormatError
        If there is no checkpoint in it, or none that is finished.
    """
    if not path.is_dir():
        raise BufferNotFoundError(f"{path}: there is no such directory; a Reverb checkpoint is one")
    if (path / TABLES).exists():
        return _whole(path)
    found = sorted(file.parent for file in path.glob(f"*/{TABLES}"))
    finished = [directory for directory in found if (directory / _DONE).exists()]
    if not finished:
        raise FormatError(
            f"{path}: expected a Reverb checkpoint ({TABLES}, {ITEMS}, {CHUNKS} and {_DONE}), or a directory of "
            f"checkpoints; found {f'{len(found)} without {_DONE}' if found else 'none'}"
        )
    return _whole(finished[-1])


def _whole(path: Path) -> Path:
    if not (path / _DONE).exists():
        raise FormatError(f"{path}: there is no file {_DONE}: the server did not finish writing this checkpoint")
    for name in (TABLES, ITEMS, CHUNKS):
        require_inside(path, path / name)
    missing = [name for name in (ITEMS, CHUNKS) if not (path / name).is_file()]
    if missing:
        older = (
            " Old versions of Reverb wrote none; load it with a present one and checkpoint again."
            if ITEMS in missing
            else ""
        )
        raise FormatError(f"{path}: the checkpoint lacks {' and '.join(missing)}.{older}")
    return path


def read_messages(path: Path, on_read: Callable[[bytes], None] | None = None) -> Iterator[tuple[int, memoryview]]:
    """Yield number and bytes of every record of a file, verified.

    Parameters
    ----------
    path : Path
        One of the files.
    on_read : callable, optional
        Is given the compressed bytes as they are read.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such a file, cut short or damaged.
    """
    most = most_bytes(require_regular(path))
    for batch in read_records(inflate(path, on_read), str(path), _BATCH_RECORDS, most=most):
        batch.verify(str(path))
        view = memoryview(batch.data)
        for place, (start, stop) in enumerate(zip(batch.starts.tolist(), batch.stops.tolist(), strict=True)):
            yield batch.first_record + place, view[start:stop]
