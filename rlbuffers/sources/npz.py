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
from rlbuffers.schema import REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec, is_observation, next_name
from rlbuffers.sources.base import IdentityDecoder, Source
from rlbuffers.sources.files import file_facts, require_file
from rlbuffers.sources.flat_columns import (
    cut_episodes,
    episode_bounds,
    flat_column,
    reset_warnings,
    scalar_facts,
    sort_arrays,
    unmarked_resets,
)
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["NpzSource"]

Array = np.ndarray[Any, Any]
_ZIP = b"PK"


class NpzSource(Source[Episode]):
    """Steps in time order, from one archive; an episode ends at a terminal or a timeout.

    Parameters
    ----------
    path : str or Path
        The archive. It is read into memory.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = require_file(Path(path))
        arrays = _read(path)
        self._raw_rewards = arrays.get(REWARDS)
        names = sort_arrays(arrays, str(path))
        self._columns = {name: flat_column(name, arrays[name], str(path)) for name in names.columns}
        self._extras = {name: arrays[name] for name in names.extras}
        self._scalars, unsaid = scalar_facts({name: arrays[name] for name in names.scalars})
        self._left_out = names.left_out + unsaid
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
            "warnings": reset_warnings(resets),
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


def _read(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                raise FormatError(
                    f"{path}: expected a NumPy archive (.npz); its first bytes are not those of a ZIP file"
                )
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CorruptDataError(f"{path}: not a whole NumPy archive (.npz): {error}") from error
    except ValueError as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: expected a NumPy archive (.npz) of numbers: {error}") from error
