"""The contract of an export: a buffer goes out, in a format that another library reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.facts_beside import keep_in_archive, keep_in_folder, keep_in_hdf5
from rlbuffers.reader import Buffer
from rlbuffers.tally import Tally

__all__ = ["BLOCK_BYTES", "Export", "block_rows", "episode_blocks", "require_episodes"]

Array = np.ndarray[Any, Any]

# Rows that are read from the buffer at a time; memory is bounded by a few of these.
BLOCK_BYTES = 16 << 20


class Export(ABC):
    """Writes one buffer in one format.

    Subclasses check in their constructor that the format can hold the buffer, before anything is
    written, and raise `UnsupportedError` with what to do if it cannot.

    Parameters
    ----------
    buffer : Buffer
        Where the rows come from; not closed.
    """

    suffix: str
    """How the name of the output ends, such as ``.hdf5``; empty for directories."""

    tells_all = False
    """Whether readers of the format know all that a buffer says of itself."""

    kept_place = "/"
    """Whose attribute of an HDF5 file, or which file in a directory, `keep` writes."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    @classmethod
    def target(cls, output: str) -> Path:
        """Turn what the user names as the output into the path to write; a path, unless overridden."""
        return Path(output).expanduser()

    @abstractmethod
    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write everything to `path`, where nothing is yet.

        Parameters
        ----------
        path : Path
            A temporary name beside the final one; a file, or a directory to be made.
        on_progress : callable
            Is given the number of transitions written so far.
        """

    def keep(self, path: Path, document: dict[str, Any]) -> None:
        """Write what the format has no word for where its library does not look; called after `write`.

        Parameters
        ----------
        path : Path
            As for `write`.
        document : dict
            See `rlbuffers.kept_facts`.
        """
        if path.is_dir():
            keep_in_folder(path / self.kept_place, document)
        elif self.suffix == ".npz":
            keep_in_archive(path, document)
        else:
            keep_in_hdf5(path, self.kept_place, document)

    def names_read_again(self) -> dict[str, str]:
        """Return columns to their names in a buffer that is made of the output, where these are others."""
        return {}

    def expected(self, before: Tally) -> Tally:
        """Say what the output must hold, given the buffer's tally; called after `write`.

        The same, unless the format cannot hold some rows; then `left_out` says which and why.
        """
        return before

    @abstractmethod
    def tally(self, path: Path) -> Tally:
        """Count episodes, transitions and rewards in what was written, by reading it back.

        Reads with the container's own library and not with the rows that were written. ``episodes``
        is None where the format does not tell episodes apart.
        """

    @abstractmethod
    def left_out(self) -> Sequence[str]:
        """Say what of the buffer the format cannot hold, a sentence each; called after `write`."""


def require_episodes(buffer: Buffer, what: str, *others: str) -> None:
    """Refuse a buffer without episodes.

    Parameters
    ----------
    buffer : Buffer
        What is to be exported.
    what : str
        What the format holds, such as "Minari holds episodes".
    *others : str
        Formats that hold independent transitions in its place.

    Raises
    ------
    UnsupportedError
        If the buffer holds independent transitions.
    """
    if buffer.spec.layout != "episodes":
        raise UnsupportedError(
            f"{buffer.path}: {what}; this buffer holds independent transitions (order: {buffer.spec.order}). Convert "
            f"its source to episodes, or export to {', '.join(others[:-1])} or {others[-1]}"
        )


def episode_blocks(starts: Array, stops: Array, rows: int) -> Iterator[tuple[int, int]]:
    """Yield runs of episodes (first, last), exclusive, of at most `rows` transitions, or of one episode."""
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(stops, starts[first] + rows, side="right"))
        last = max(last, first + 1)
        yield first, last
        first = last


def block_rows(buffer: Buffer) -> int:
    """Return how many transitions to read at a time, at least one."""
    row_bytes = sum(buffer.spec.batch_column(name).row_bytes for name in buffer.spec.batch_names)
    return max(BLOCK_BYTES // max(row_bytes, 1), 1)
