"""Changes of rows on their way into a batch, to be combined as one likes.

A transform is a picklable callable that takes a dict of columns, arrays with one entry a row, and
returns one. It acts on each row alone, and passes on columns that it does not know. Samplers apply
transforms to rows *before* rewards are summed over n steps and sequences are padded. The stored data
never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.schema import OBSERVATIONS, REWARDS, next_name
from rlbuffers.standardization import NORM_EPSILON, Standardization
from rlbuffers.stats import summable

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["ClipRewards", "ConvertDtypes", "NormalizeObservations", "ScaleObservations", "ScaleRewards", "Transform"]

Array = np.ndarray[Any, Any]
Batch = dict[str, Array]


class Transform(Protocol):
    """See the module's docstring."""

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed; must not write into the arrays that it is given."""


@dataclass(frozen=True)
class ScaleRewards:
    """Rewards become ``rewards * scale + shift``, float32 (float64 stays)."""

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed."""
        if REWARDS not in batch:
            return batch
        return {**batch, REWARDS: summable(batch[REWARDS]) * self.scale + self.shift}


@dataclass(frozen=True)
class ClipRewards:
    """Rewards below `low` or above `high` become these, float32 (float64 stays)."""

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise UsageError(f"rewards cannot be clipped to [{self.low}, {self.high}]")

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed."""
        if REWARDS not in batch:
            return batch
        return {**batch, REWARDS: np.clip(summable(batch[REWARDS]), self.low, self.high)}


class NormalizeObservations:
    """Observation columns and their successors become ``(x - mean) / (std + epsilon)``, float32.

    Parameters
    ----------
    mean, std : mapping of str to array, shape (*row)
        Of each observation column, by name; columns that are not named stay as they are.
    epsilon : float, default 1e-3
        Added to the standard deviation, as published code of TD3+BC and CQL does.
    """

    def __init__(self, mean: Mapping[str, Any], std: Mapping[str, Any], epsilon: float = NORM_EPSILON) -> None:
        self._of = {
            name: Standardization(np.asarray(values, np.float64), np.asarray(std[name], np.float64), epsilon)
            for name, values in mean.items()
        }

    @classmethod
    def of(cls, buffer: Table, epsilon: float = NORM_EPSILON) -> NormalizeObservations:
        """Take mean and standard deviation from the statistics that the buffer stores.

        Raises
        ------
        UsageError
            If it stores none, as of images, or some of an element are not finite.
        """
        known = {name: buffer.metadata["statistics"].get(name) or {} for name in buffer.spec.observation_names}
        lacking = [name for name, values in known.items() if not _is_finite(values)]
        if lacking:
            raise UsageError(
                f"{buffer.path}: there is no mean and standard deviation of {lacking[0]!r} to normalize by; "
                "give them to NormalizeObservations, or use ScaleObservations for images"
            )
        mean = {name: values["mean"] for name, values in known.items()}
        return cls(mean, {name: values["std"] for name, values in known.items()}, epsilon)

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed."""
        changed = dict(batch)
        for observation, standardization in self._of.items():
            for name in (observation, next_name(observation)):
                if name in batch:
                    changed[name] = standardization.apply(batch[name], np.float32)
        return changed


@dataclass(frozen=True)
class ScaleObservations:
    """Observation columns and their successors become ``x * scale``, float32; by default [0, 255] to [0, 1]."""

    scale: float = 1 / 255

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed."""
        changed = dict(batch)
        for name, values in batch.items():
            root = name.partition("/")[0]
            if root in (OBSERVATIONS, next_name(OBSERVATIONS)):
                changed[name] = values * np.float32(self.scale)
        return changed


@dataclass(frozen=True)
class ConvertDtypes:
    """Columns are cast.

    Parameters
    ----------
    dtypes : mapping of str to dtype
        What to cast, by column name, or by the dtype that a column has: ``{"float64": "float32"}``.
    """

    dtypes: Mapping[str, Any]

    def __call__(self, batch: Batch) -> Batch:
        """Return the columns changed."""
        return {name: values.astype(self._wanted(name, values), copy=False) for name, values in batch.items()}

    def _wanted(self, name: str, values: Array) -> np.dtype[Any]:
        wanted: np.dtype[Any] = np.dtype(self.dtypes.get(name, self.dtypes.get(values.dtype.name, values.dtype)))
        return wanted


def _is_finite(statistics: Mapping[str, Any]) -> bool:
    return {"mean", "std"} <= set(statistics) and all(
        np.isfinite(np.asarray(statistics[name], np.float64)).all() for name in ("mean", "std")
    )
