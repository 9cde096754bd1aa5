"""The transform that `normalize` writes, read back from a buffer: for an evaluation environment, and to undo it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.reader import Buffer
from rlbuffers.standardization import Standardization

__all__ = ["Normalizer"]

Array = np.ndarray[Any, Any]
_KEY = "normalization"


@dataclass(frozen=True)
class Normalizer:
    """``(x - mean) / (std + epsilon)`` for each observation column.

    Parameters
    ----------
    mean, std : mapping of column to float64 array of the row's shape
        Of the observations before.
    dtype : mapping of column to str
        Dtype of the observations before.
    epsilon : float
        Keeps what hardly varies from growing.
    """

    mean: Mapping[str, Array]
    std: Mapping[str, Array]
    dtype: Mapping[str, str]
    epsilon: float

    @classmethod
    def of(cls, buffer: Buffer) -> Normalizer:
        """Return the transform that a normalized buffer carries.

        Raises
        ------
        UnsupportedError
            If its observations were not normalized by `rlbuffers normalize`.
        """
        described = buffer.metadata.get(_KEY)
        if not described:
            raise UnsupportedError(f"{buffer.path}: its observations were not normalized by `rlbuffers normalize`")
        columns = described["columns"]
        return cls(
            {name: np.array(column["mean"], np.float64) for name, column in columns.items()},
            {name: np.array(column["std"], np.float64) for name, column in columns.items()},
            {name: column["dtype"] for name, column in columns.items()},
            float(described["epsilon"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is stored in the metadata under ``normalization``."""
        columns = {
            name: {"mean": self.mean[name].tolist(), "std": self.std[name].tolist(), "dtype": self.dtype[name]}
            for name in self.mean
        }
        return {"formula": "(x - mean) / (std + epsilon)", "epsilon": self.epsilon, "columns": columns}

    def apply(self, observations: Array, column: str = "observations") -> Array:
        """Normalize observations of the environment, shape (..., *obs); float32, or float64 if that was their dtype.

        Computed in double precision and rounded once, as in the buffer.
        """
        return self._of_column(column).apply(observations, self.result_dtype(column))

    def undo(self, normalized: Array, column: str = "observations") -> Array:
        """Return observations as they were before, up to rounding, in their old dtype."""
        values = self._of_column(column).undo(normalized)
        dtype = np.dtype(self.dtype[column])
        return (values if dtype.kind == "f" else np.rint(values)).astype(dtype)

    def _of_column(self, column: str) -> Standardization:
        return Standardization(self.mean[column], self.std[column], self.epsilon)

    def result_dtype(self, column: str) -> np.dtype[Any]:
        """Tell the dtype of normalized observations."""
        return np.dtype(np.float64 if self.dtype[column] == "float64" else np.float32)
