"""What sampling asks of a table of transitions: a buffer answers it, and so can anything else with rows of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rlbuffers.schema import BufferSpec

if TYPE_CHECKING:
    from rlbuffers.paths import Url

__all__ = ["Table", "TableArray"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


class TableArray(Protocol):
    """A stored array, whole."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def all(self) -> Array:
        """Return all rows, not to be written to."""

    def take(self, rows: Indices) -> Array:
        """Return rows by number, any order, repeats allowed."""

    def blocks(self, rows: int) -> Iterator[Array]:
        """Yield all rows in order, at most so many at a time."""


class Table(Protocol):
    """Transitions under the names of a spec, such as `rlbuffers.Buffer`.

    Windows, samplers and transforms take any table.
    """

    @property
    def spec(self) -> BufferSpec:
        """The columns and how rows are ordered."""

    @property
    def path(self) -> PurePath | Url:
        """Where it is, for messages."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of it (docs/format.md, section 3)."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content: states of samplers belong to one content."""

    @property
    def num_episodes(self) -> int:
        """Number of episodes; 0 in the ``transitions`` layout."""

    @property
    def arrays(self) -> Mapping[str, TableArray]:
        """The stored arrays by name (docs/format.md, section 2), for what is needed of all rows."""

    @property
    def rows_without_next(self) -> Indices:
        """Rows whose next observation is not known, ascending."""

    def __len__(self) -> int:
        """Return the number of transitions."""

    def take(self, rows: Indices, columns: Sequence[str]) -> dict[str, Array]:
        """Return columns at rows that exist, shape (B, *row); safe to call from several threads."""

    def rows(self, indices: Sequence[int] | Array, columns: Sequence[str] | None = None) -> dict[str, Array]:
        """Return columns at rows after checking them; negative ones count from the end."""
