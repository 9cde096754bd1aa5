"""NumPy archives (``.npz``) of flat arrays with the D4RL names.

The archive format is that of ``numpy.savez``: a ZIP of ``.npy`` members. Expected are
``observations`` (or ``observations/KEY``), ``actions``, ``rewards`` and ``terminals``; ``timeouts``,
``next_observations`` and any further arrays of the same length are kept. Arrays of other lengths,
scalars, and what stands under ``metadata/`` belong to the data as a whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.schema import (
    ACTIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    ColumnSpec,
    is_observation,
    next_name,
)
from rlbuffers.sources.base import IdentityDecoder, Source
from rlbuffers.sources.files import file_facts, require_file
from rlbuffers.sources.flat_columns import cut_episodes, episode_bounds, unmarked_resets
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NpzSource"]

Array = np.ndarray[Any, Any]
_STORABLE = "biuf"
_WHOLE = "metadata/"


class NpzSource(Source[Episode]):
    """Steps in time order, from one archive; an episode ends at a terminal or a timeout.

    Parameters
    ----------
    path : Path
        The archive. It is read into memory.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        arrays = _read(path)
        self._raw_rewards = arrays.get(REWARDS)
        self._columns, self._extras, self._scalars, self._left_out = _sorted_out(arrays, str(path))
        self._flag_ends = self._columns[TERMINALS] | self._columns.get(TIMEOUTS, np.zeros((), np.bool_))
        self._resets = unmarked_resets(self._columns, self._flag_ends)
        self._done = 0

    @property
    def where(self) -> str:
        """Path of the archive."""
        return str(self.path)

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every column that the archive has."""
        derived = {next_name(name) for name in self._columns if is_observation(name)}
        return BufferSpec(
            layout="episodes",
            columns=[
                ColumnSpec(name, rows.dtype, rows.shape[1:])
                for name, rows in self._columns.items()
                if name not in derived
            ],
            extras=[ColumnSpec(name, rows.dtype, rows.shape[1:]) for name, rows in self._extras.items()],
        )

    @property
    def decoder(self) -> IdentityDecoder:
        """Episodes need no decoding."""
        return IdentityDecoder()

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        for episode in cut_episodes(self._columns, self._flag_ends | self._resets):
            self._done += len(episode)
            yield episode

    def extras(self) -> Mapping[str, Array]:
        """Return the arrays whose length is not that of the rewards."""
        return self._extras

    def tally(self) -> Tally:
        """Count the rows of the archive."""
        episodes = len(episode_bounds(self._flag_ends | self._resets))
        return Tally(episodes, self.total, total_reward(np.asarray(self._raw_rewards)))

    def metadata(self) -> dict[str, Any]:
        """Describe the archive."""
        resets = int(self._resets.sum())
        return {
            "environment": {},
            "behavior_policy": {},
            "source": {"format": "npz", "files": [file_facts(self.path)]},
            "measurements": {"unmarked_resets": resets} if resets else {},
            "warnings": _reset_warnings(resets),
            "left_out": self._left_out,
            "scalars": self._scalars,
            "license": "",
            "citation": "",
            "notes": [],
        }

    @property
    def total(self) -> int:
        """Number of rows."""
        return len(self._columns[REWARDS])

    @property
    def done(self) -> int:
        """Number of rows handed out."""
        return self._done


def _reset_warnings(resets: int) -> list[str]:
    if not resets:
        return []
    return [
        f"After {resets:,} rows without a flag the next observation is not the following row's: play was reset "
        "there. The episode is cut, with neither terminal nor timeout, and episodes/whole is False."
    ]


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise FormatError(f"{path}: expected a NumPy archive (.npz), found a single array")
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CorruptDataError(f"{path}: not a whole NumPy archive (.npz): {error}") from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: expected a NumPy archive (.npz) of numbers: {error}") from error


def _sorted_out(
    arrays: dict[str, Array], where: str
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any], list[str]]:
    """Tell columns from arrays and scalars of the whole, and check what must be there."""
    observed = [name for name in arrays if is_observation(name)]
    missing = [name for name in (ACTIONS, REWARDS, TERMINALS) if name not in arrays]
    if missing or not observed:
        missing = [*([] if observed else [OBSERVATIONS]), *missing]
        raise FormatError(f"{where}: expected arrays {', '.join(missing)}; found {', '.join(sorted(arrays)) or 'none'}")
    count = len(np.atleast_1d(arrays[REWARDS]))
    if count == 0:
        raise FormatError(f"{where}: expected transitions, found none")
    needed = {*observed, ACTIONS, REWARDS, TERMINALS, TIMEOUTS, *(next_name(name) for name in observed)}
    columns: dict[str, Array] = {}
    extras: dict[str, Array] = {}
    scalars: dict[str, Any] = {}
    left_out = []
    for name, rows in arrays.items():
        if name in needed and (rows.ndim == 0 or len(rows) != count):
            found = f"{len(rows):,} rows" if rows.ndim else "a scalar"
            raise FormatError(f"{where}: expected {count:,} rows in {name!r}, like 'rewards'; found {found}")
        if rows.ndim == 0 and rows.dtype.kind in _STORABLE + "U":
            scalars[name] = {"dtype": rows.dtype.name if rows.dtype.kind != "U" else "str", "value": rows.item()}
        elif rows.dtype.kind not in _STORABLE or rows.size == 0:
            left_out.append(f"{name!r}, whose dtype {rows.dtype} or shape {rows.shape} cannot be stored")
        elif len(rows) == count and not name.startswith(_WHOLE):
            columns[name] = _flat(name, rows)
        else:
            extras[name] = rows
    return columns, extras, scalars, left_out


def _flat(name: str, rows: Array) -> Array:
    """Return rewards and flags of shape (N,), flags as bool; everything else as it is."""
    if name in (REWARDS, TERMINALS, TIMEOUTS) and rows.shape[1:] == (1,):
        rows = rows[:, 0]
    return rows != 0 if name in (TERMINALS, TIMEOUTS) else rows
