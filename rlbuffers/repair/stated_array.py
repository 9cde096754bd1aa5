"""What the metadata say of the arrays of a damaged buffer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.errors import CorruptDataError
from rlbuffers.schema import ArraySpec, BufferSpec, stored_arrays

__all__ = ["StatedArray", "stated_arrays"]


@dataclass(frozen=True)
class StatedArray:
    """What the metadata say of an array.

    Parameters
    ----------
    spec : ArraySpec
        Name, dtype, shape of a row, and what a row is.
    num_rows : int
        Number of rows.
    digest : str or None
        Digest of the content.
    """

    spec: ArraySpec
    num_rows: int
    digest: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return (self.num_rows, *self.spec.row_shape)


def stated_arrays(metadata: Mapping[str, Any], spec: BufferSpec, path: Path) -> dict[str, StatedArray]:
    """Return what the metadata say of the arrays of a spec.

    Raises
    ------
    CorruptDataError
        If they say it of other arrays than those of the spec.
    """
    found = {}
    for name, array in stored_arrays(spec).items():
        try:
            facts = metadata["arrays"][name]
            shape = tuple(int(size) for size in facts["shape"])
            fits = np.dtype(facts["dtype"]) == array.dtype and shape[1:] == array.row_shape and shape[0] >= 0
            digest = str(facts["digest"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptDataError(f"{path}: the metadata do not describe array {name!r} ({error!r})") from error
        if not fits:
            raise CorruptDataError(f"{path}: the metadata contradict their spec: array {name!r}")
        found[name] = StatedArray(array, shape[0], digest)
    return found
