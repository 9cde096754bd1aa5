"""The contract of a source: where data come from, and what is known about them.

A source is a finite, single-pass stream of *pieces*. Reading a piece is sequential and cheap
(decompress, find the records); turning it into rows is a pure function of the piece, and may run in
other processes. A source that has nothing to parallelize yields finished rows and decodes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from rlbuffers.episode import Episode, Transitions
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import FormatError, SpecError
from rlbuffers.kept_facts import KeptFacts
from rlbuffers.schema import BufferSpec
from rlbuffers.tally import Tally

__all__ = ["Decoder", "FileSource", "IdentityDecoder", "RowSource", "Rows", "Source", "blamed_on"]

Piece = TypeVar("Piece")
PieceIn = TypeVar("PieceIn", contravariant=True)
Rows = Transitions | Episode | EpisodeBlock
RowPiece = TypeVar("RowPiece", bound=Rows)


class Decoder(Protocol[PieceIn]):
    """A picklable function from a piece to rows."""

    def __call__(self, piece: PieceIn) -> Rows:
        """Decode one piece.

        Raises
        ------
        FormatError
            If the piece is not what the format says; names file and record.
        """


class IdentityDecoder:
    """The decoder of sources whose pieces are rows already."""

    def __call__(self, piece: Rows) -> Rows:
        """Return the piece."""
        return piece


class Source(ABC, Generic[Piece]):
    """Data to be converted, with the facts that go into the buffer's metadata."""

    kept: KeptFacts | None = None
    """What our own export wrote beside the rows, in sources that know of it."""

    @property
    @abstractmethod
    def where(self) -> str:
        """What is read, for messages: a path, or the name of a task."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that are read, in order, where the user names files; empty where it is a folder, a server, ..."""
        return ()

    @property
    @abstractmethod
    def spec(self) -> BufferSpec:
        """Columns and layout of what the source yields."""

    @property
    @abstractmethod
    def decoder(self) -> Decoder[Piece]:
        """The function that turns pieces into rows."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces in order; can be called once."""

    def observe(self, rows: Rows) -> None:
        """Look at decoded rows, in order, to measure what only the data can tell."""

    def finished(self, rows: Rows) -> Rows:
        """Return decoded rows, in order, as they are to be written; called after `observe`."""
        return rows

    @property
    def recording(self) -> str | None:
        """What names the recording whose episodes ``episode_ids`` count, if other sources may hold more of it.

        Equal ids of sources with the same recording are the same episode; of any others they are not.
        """
        return None

    def episode_ids(self, group: str = "") -> np.ndarray[Any, Any] | None:
        """Return all ``episode_ids`` of a group (``""`` or ``"episodes/"``), if they are known before reading."""
        return None

    @abstractmethod
    def tally(self) -> Tally:
        """Count what the source gave; called after the last row.

        The counts come from the input as it was read, not from the rows that were made of it, so
        that comparing them with the buffer's finds rows that were lost or made up on the way. What
        is left out on purpose is not counted, and listed in the metadata's ``left_out``.
        """

    def with_kept(self, spec: BufferSpec) -> BufferSpec:
        """Return a spec with what the file's own library has no word for."""
        return spec if self.kept is None else self.kept.spec(spec)

    def with_kept_facts(self, own: dict[str, Any]) -> dict[str, Any]:
        """Return metadata with what the file's own library has no word for."""
        return own if self.kept is None else self.kept.metadata(own)

    def extras(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the arrays listed in ``spec.extras``; called after the last row."""
        return {}

    def early_metadata(self) -> dict[str, Any]:
        """Return what is known before the first row, for salvaging a conversion that is interrupted."""
        return {} if self.kept is None else self.kept.early()

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Return the facts for the buffer's metadata; called after the last row.

        Keys and their meaning are those of docs/format.md: ``environment``, ``behavior_policy``,
        ``source``, ``measurements``, ``warnings``, ``left_out``, ``license``, ``citation``,
        ``scalars``, ...
        """

    @property
    def total(self) -> int | None:
        """Units of work for a progress bar, or None if unknown."""
        return None

    @property
    def done(self) -> int:
        """Units of work finished so far."""
        return 0


class RowSource(Source[RowPiece]):
    """A source whose pieces are rows already."""

    @property
    def decoder(self) -> IdentityDecoder:
        """Returns the pieces."""
        return IdentityDecoder()


class FileSource(RowSource[RowPiece]):
    """A source that is one file.

    Parameters
    ----------
    path : str or Path
        The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._done = 0

    @property
    def where(self) -> str:
        """Path of the file."""
        return str(self.path)

    @property
    def files(self) -> Sequence[Path]:
        """The file, unless it is a folder."""
        return [self.path] if self.path.is_file() else []

    @property
    def done(self) -> int:
        """What has been read so far, in the units of `total`."""
        return self._done


@contextmanager
def blamed_on(where: object) -> Iterator[None]:
    """Turn the error of a spec into one of the input that it was made from.

    Parameters
    ----------
    where : object
        What is read, as text.

    Raises
    ------
    FormatError
        Instead of a `SpecError`.
    """
    try:
        yield
    except SpecError as error:
        raise FormatError(f"{where}: {error}") from error
