"""Trajectories of the imitation library (``.npz``), of its versions before 1.0.

imitation/data/serialize.py: ``obs`` has T + 1 rows a trajectory, ``acts``, ``infos`` and ``rews`` (if there) T;
``indices`` holds the rows of ``acts`` at which all trajectories but the first begin, and ``terminal`` one flag a
trajectory. Such files may also be called ``.pkl``.

``terminal`` means that a trajectory reached the end of its episode, which may have been a time limit: the format does
not tell one from the other. ``infos`` are a pickle and are never loaded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.decoding.npz_archive import NpzArchive
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError
from rlbuffers.listing import listed
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts, require_file
from rlbuffers.sources.flat_columns import flat_column, is_storable
from rlbuffers.sources.flat_source import NO_REWARDS
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["ImitationSource"]

Array = np.ndarray[Any, Any]
_OBS, _ACTS, _REWS, _TERMINAL, _INDICES = "obs", "acts", "rews", "terminal", "indices"
_NEEDED = (_OBS, _ACTS, _TERMINAL, _INDICES)
_AMBIGUOUS = (
    "In this format `terminal` says that a trajectory reached the end of its episode, by its task or by a time limit. "
    "It became terminals, so no value is bootstrapped there; that is not right for ends by a time limit."
)


class ImitationSource(FileSource[Episode]):
    """The trajectories of one archive; memory is bounded by the longest one.

    Parameters
    ----------
    path : str or Path
        The archive.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._archive = NpzArchive(require_file(self.path))
        self._require_arrays()
        self._terminal = flat_column(TERMINALS, self._archive.read(_TERMINAL), self.where)
        self._lengths = self._read_lengths()
        self._stops = np.cumsum(self._lengths)
        self._spec = self._make_spec()

    def _require_arrays(self) -> None:
        arrays = self._archive.arrays
        missing = [name for name in _NEEDED if name not in arrays]
        if missing:
            raise FormatError(
                f"{self.path}: expected arrays {listed(missing)}, as the imitation library saves trajectories; "
                f"found {listed(sorted(arrays)) or 'none'}"
            )
        for name in (*_NEEDED, *([_REWS] if _REWS in arrays else [])):
            if not arrays[name].shape or not is_storable(arrays[name].dtype):
                raise FormatError(f"{self.path}: expected an array of numbers in {name!r}, found {arrays[name].dtype}")
        for name in (_REWS, _TERMINAL, _INDICES):
            if name in arrays and len(arrays[name].shape) != 1:
                raise FormatError(f"{self.path}: expected one number a row in {name!r}, found {arrays[name].shape}")

    def _read_lengths(self) -> Array:
        """Return how many transitions each trajectory has."""
        arrays = self._archive.arrays
        count, indices = arrays[_ACTS].shape[0], self._archive.read(_INDICES)
        if indices.dtype.kind not in "iu":
            raise FormatError(f"{self.path}: expected whole numbers in 'indices', found {indices.dtype}")
        bounds = np.concatenate([[0], indices.astype(np.int64), [count]])
        lengths = np.diff(bounds)
        if count == 0:
            raise FormatError(f"{self.path}: expected transitions, found none")
        if (lengths < 0).any():
            raise FormatError(f"{self.path}: expected ascending rows up to {count:,} in 'indices'")
        for name, expected in (
            (_TERMINAL, len(lengths)),
            (_OBS, count + len(lengths)),
            *([(_REWS, count)] if _REWS in arrays else []),
        ):
            if arrays[name].shape[0] != expected:
                raise FormatError(
                    f"{self.path}: expected {expected:,} rows in {name!r} for {len(lengths):,} trajectories of "
                    f"{count:,} actions, found {arrays[name].shape[0]:,}"
                )
        return lengths

    def _make_spec(self) -> BufferSpec:
        arrays = self._archive.arrays
        rewards = arrays[_REWS].dtype if _REWS in arrays else np.dtype(np.float32)
        with blamed_on(self.path):
            return BufferSpec(
                "episodes",
                [
                    ColumnSpec(OBSERVATIONS, arrays[_OBS].dtype, arrays[_OBS].shape[1:]),
                    ColumnSpec(ACTIONS, arrays[_ACTS].dtype, arrays[_ACTS].shape[1:]),
                    ColumnSpec(REWARDS, rewards),
                    *(ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)),
                ],
            )

    @property
    def spec(self) -> BufferSpec:
        """Episodes of observations, actions, rewards, terminals and timeouts."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the trajectories in order."""
        spans = list(itertools.pairwise([0, *self._stops.tolist()]))
        observed = [(start + number, stop + number + 1) for number, (start, stop) in enumerate(spans)]
        stepped = [_ACTS, *([_REWS] if _REWS in self._archive.arrays else [])]
        for (start, stop), terminal, seen, steps in zip(
            spans,
            self._terminal.tolist(),
            self._archive.rows(observed, [_OBS]),
            self._archive.rows(spans, stepped),
            strict=True,
        ):
            self._done += stop - start
            if start == stop:
                continue
            is_last = np.arange(stop - start) == stop - start - 1
            columns = {
                ACTIONS: steps[_ACTS],
                REWARDS: steps.get(_REWS, np.zeros(stop - start, np.float32)),
                TERMINALS: is_last & terminal,
                TIMEOUTS: is_last & (not terminal),
            }
            yield Episode(columns, {OBSERVATIONS: seen[_OBS]}, {}, terminal)

    def tally(self) -> Tally:
        """Count the trajectories and their actions."""
        count = self._archive.arrays[_ACTS].shape[0]
        rewards = self._archive.read(_REWS) if _REWS in self._archive.arrays else np.zeros(count, np.float32)
        return Tally(int((self._lengths > 0).sum()), count, total_reward(rewards))

    def metadata(self) -> dict[str, Any]:
        """Describe the archive."""
        known = {_OBS, _ACTS, _REWS, _TERMINAL, _INDICES}
        others = [f"{name!r}, which the format does not know" for name in self._archive.arrays if name not in known]
        empty = int((self._lengths == 0).sum())
        cut = "A trajectory that is not terminal was cut there: its last row has a timeout and it is not whole."
        return {
            "environment": {},
            "behavior_policy": {},
            "source": source_facts("imitation", files=[file_facts(self.path)]),
            "measurements": {},
            "warnings": [_AMBIGUOUS] if self._terminal.any() else [],
            "left_out": [
                *self._archive.left_out,
                *others,
                *([f"{empty:,} trajectories without a transition"] if empty else []),
            ],
            "scalars": {},
            "license": "",
            "citation": "",
            "notes": [
                *([] if self._terminal.all() else [cut]),
                *([] if _REWS in self._archive.arrays else [NO_REWARDS]),
            ],
        }

    @property
    def total(self) -> int:
        """Number of transitions."""
        return int(self._archive.arrays[_ACTS].shape[0])
