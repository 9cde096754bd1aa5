"""NumPy archives (``.npz``) of flat arrays, with the D4RL names or others that are usual.

The archive format is that of ``numpy.savez``: a ZIP of ``.npy`` members. Expected are
``observations`` (or ``observations/KEY``), ``actions``, ``rewards`` and ``terminals``, or what people
call them otherwise (see `field_names`); ``timeouts``, ``next_observations`` and any further arrays of the
same length are kept. Arrays of other lengths, scalars, and what stands under ``metadata/`` belong to the
data as a whole. What the rows tell of the ends of episodes beyond their flags is the same as in a D4RL
file of unknown origin. Arrays of Python objects are pickles; they are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlbuffers.sources.flat_source import FlatSource, TerminalMeaning
from rlbuffers.sources.npz_columns import NpzColumns
from rlbuffers.sources.ogbench_names import find_ogbench

__all__ = ["NpzSource"]


class NpzSource(FlatSource):
    """Steps in time order, from one archive; an episode ends at a terminal or a timeout.

    Parameters
    ----------
    path : str or Path
        The archive.
    names : mapping of str to str, optional
        Array of the file, or the part of nested names before a ``/``, to its name in the buffer.
    terminals : {"end", "goal"}, optional
        What a terminal marks, where that is known: the end of an episode, or a goal that play goes on from.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    UsageError
        If there is no array of a name in `names`, or nothing ends an episode.
    """

    format = "npz"

    def __init__(
        self, path: str | Path, names: Mapping[str, str] | None = None, *, terminals: TerminalMeaning | None = None
    ) -> None:
        path = Path(path)
        of_recordings = find_ogbench(path) is not None
        super().__init__(path, NpzColumns(path, names, of_recordings=of_recordings), terminals=terminals)

    def metadata(self) -> dict[str, Any]:
        """Describe the file, and what was found out about it."""
        return self.with_kept_facts(super().metadata())
