"""Expert data of Stable Baselines 2 (``.npz``), as its ``generate_expert_traj`` writes them.

stable_baselines/gail/dataset/record_expert.py: ``obs``, ``actions`` ((N, 1) for discrete ones), ``rewards``,
``episode_starts`` (True in the first row of each episode) and ``episode_returns`` (one an episode). Recording goes on
until the last episode is done, so each was recorded whole; whether its task ended or a time limit, and what was
observed last, is not in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.schema import REWARDS
from rlbuffers.sources.flat_source import FlatSource
from rlbuffers.sources.npz_columns import NpzColumns

__all__ = ["StableBaselinesSource"]

_STARTS = "episode_starts"
_RETURNS = "episode_returns"


class StableBaselinesSource(FlatSource):
    """The episodes of one archive, without terminals and without last observations.

    Parameters
    ----------
    path : str or Path
        The archive.
    names : mapping of str to str, optional
        Array of the file to its name in the buffer.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or it is not such an archive; says what was expected.
    UsageError
        If there is no array of a name in `names`.
    """

    format = "stable-baselines"

    def __init__(self, path: str | Path, names: Mapping[str, str] | None = None) -> None:
        path = Path(path)
        table = NpzColumns(path, names)
        if table.flags.ends is None or _STARTS not in table.flags.used:
            raise FormatError(
                f"{path}: expected an array 'episode_starts' and no other flags, as Stable Baselines writes them"
            )
        super().__init__(path, table)
        self._last_is_whole = self._returns_agree()

    def _returns_agree(self) -> bool:
        """Whether the recorded returns, one an episode, are those of the rows, the last one's too."""
        if _RETURNS not in self._table.extras and _RETURNS not in self._table.columns:
            return False
        returns = self._table.column(_RETURNS)
        starts = [start for start, _ in self._bounds]
        sums = np.add.reduceat(self._table.column(REWARDS).astype(np.float64), starts)
        return returns.shape == sums.shape and np.allclose(returns, sums, rtol=1e-3, atol=1e-6)

    def _is_finished(self, stop: int) -> bool:
        return super()._is_finished(stop) or self._last_is_whole

    def metadata(self) -> dict[str, Any]:
        """Describe the archive."""
        found = super().metadata()
        doubt = (
            []
            if self._last_is_whole
            else ["The episodes' returns are not those that the file says, so its last episode may not be whole."]
        )
        return {**found, "warnings": [*found["warnings"], *doubt]}
