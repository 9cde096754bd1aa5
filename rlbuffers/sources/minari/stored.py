"""What both payloads of a Minari dataset, HDF5 and Arrow, say of an episode before it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from rlbuffers.schema import ACTIONS, REWARDS

__all__ = ["MAX_ITEM_BYTES", "NEEDED", "STORABLE", "Kind", "Payload", "Rows", "Shapes", "Stored"]

STORABLE = "biuf"
# What an episode has beside its observations.
NEEDED = (ACTIONS, REWARDS, "terminations", "truncations")
MAX_ITEM_BYTES = 8
Kind = Literal["numbers", "files", "other"]
Rows = np.ndarray[Any, Any] | Sequence[bytes]
"""Numbers, or one image file a row."""
Shapes = Mapping[str, tuple[int, ...]]
"""Names of observations and actions to the shape of a value, as the spaces say."""


@dataclass(frozen=True)
class Stored:
    """One array of an episode.

    Parameters
    ----------
    kind : Kind
        ``files`` are images, one a row; ``other`` is what a buffer cannot hold, such as texts.
    shape : tuple of int
        Rows first; of files their number alone.
    dtype : numpy.dtype, optional
        Of numbers.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None


class Payload(Protocol):
    """Episodes by number, from 0. A context manager: open while episodes are asked for."""

    files: list[Path]

    def __enter__(self) -> Payload:
        """Open what must be open."""

    def __exit__(self, *raised: Any) -> None:
        """Close it, and translate what the library raised on a damaged file."""

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the payload itself says of the dataset: in Minari 0.4 what metadata.json says now."""

    def facts(self, number: int) -> dict[str, Any]:
        """Return what is known of an episode: id, total_steps, seed, options, ..."""

    def stored(self, number: int, shapes: Shapes) -> dict[str, Stored]:
        """Describe the arrays of an episode; those nested in others have ``/`` in their names."""

    def warnings(self) -> list[str]:
        """Return what must be known of the episodes that were described, called after the last of them.

        Raises
        ------
        CorruptDataError
            If most of what a buffer needs was never written.
        """

    def read(self, number: int, names: Sequence[str], shapes: Shapes) -> dict[str, Rows]:
        """Read arrays of an episode that are numbers or files."""
