"""Flat columns in a NumPy archive; see `FlatTable` for what they are and `NpzArchive` for how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.npz_archive import NpzArchive
from rlbuffers.kept_facts import NAME, KeptFacts
from rlbuffers.sources.files import require_file
from rlbuffers.sources.flat_table import FlatTable

__all__ = ["NpzColumns"]

Array = np.ndarray[Any, Any]


class NpzColumns(FlatTable):
    """One archive of flat arrays.

    Parameters
    ----------
    path : Path
        The file. It is not kept open.
    names, of_recordings, needs_rewards
        See `FlatTable`.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    UsageError
        If there is no array of a name in `names`.
    """

    _no_rewards_hint = ". OGBench's archives have no rewards: `rlbuffers convert ogbench` reads them"

    def __init__(
        self,
        path: Path,
        names: Mapping[str, str] | None = None,
        *,
        of_recordings: bool = False,
        needs_rewards: bool = True,
    ) -> None:
        self._archive = NpzArchive(require_file(path))
        text = self._archive.read(NAME) if NAME in self._archive.arrays else None
        self._archive.arrays.pop(NAME, None)
        super().__init__(
            path,
            self._archive.arrays,
            names,
            self._archive.pickled,
            of_recordings=of_recordings,
            needs_rewards=needs_rewards,
        )
        self.kept = KeptFacts.of_comment(self._archive.comment, str(path))
        if text is not None:
            self.kept = KeptFacts.of_text(text.item() if text.size == 1 else None, str(path))
        self.left_out = [*self._archive.left_out, *self.left_out]

    def _read(self, name: str) -> Array:
        return self._archive.read(name)

    def _read_rows(self, spans: Iterable[tuple[int, int]], names: Sequence[str]) -> Iterator[dict[str, Array]]:
        return self._archive.rows(spans, names)
