"""Rows of a buffer as windows see them: chosen columns, transformed, with returns-to-go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlbuffers.errors import UsageError
from rlbuffers.schema import REWARDS
from rlbuffers.transforms import Transform
from rlbuffers.windows.base import Array, Batch, Indices
from rlbuffers.windows.cached_blocks import CachedBlocks, ShuffledBlocks
from rlbuffers.windows.returns_to_go import RETURNS_TO_GO, returns_to_go

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["Rows"]


class Rows:
    """Reads columns at rows and applies transforms.

    Transforms see rows, before a window sums rewards or pads: clipping rewards clips each one, not
    the sum of n.

    Parameters
    ----------
    buffer : Table
        Where to read; not closed.
    columns : sequence of str, optional
        Which columns; all by default.
    transforms : sequence of Transform
        Applied in this order.
    discount : float, optional
        Adds a column ``returns_to_go`` with this discount of one step.

    blocks : ShuffledBlocks, optional
        Keeps blocks of rows decoded; for draws that stay within few of them at a time.

    Raises
    ------
    SpecError
        If a column does not exist.
    UsageError
        If `discount` is not within [0, 1].
    UnsupportedError
        If returns-to-go are asked of independent transitions.
    """

    def __init__(
        self,
        buffer: Table,
        columns: Sequence[str] | None = None,
        transforms: Sequence[Transform] = (),
        discount: float | None = None,
        blocks: ShuffledBlocks | None = None,
    ) -> None:
        self.buffer = buffer
        self.names = list(buffer.spec.batch_names if columns is None else dict.fromkeys(columns))
        for name in self.names:
            buffer.spec.batch_column(name)
        self._transforms = tuple(transforms)
        self._source = buffer if blocks is None else CachedBlocks(buffer, self.names, blocks)
        self._returns_to_go: Array | None = None
        if discount is not None:
            if not 0 <= discount <= 1:
                raise UsageError(f"the discount of returns-to-go must lie in [0, 1], got {discount}")
            rewards = self._transformed({REWARDS: buffer.arrays[REWARDS].all()})[REWARDS]
            self._returns_to_go = returns_to_go(buffer, rewards, discount)
            self.names = list(dict.fromkeys([*self.names, RETURNS_TO_GO]))

    def at(self, rows: Indices, names: Sequence[str] | None = None) -> Batch:
        """Return the columns at rows, those of `names` only if given; any order, repeats allowed."""
        wanted = self.names if names is None else names
        stored = [name for name in wanted if self._returns_to_go is None or name != RETURNS_TO_GO]
        batch = self._transformed(self._source.take(rows, stored))
        if self._returns_to_go is not None and RETURNS_TO_GO in wanted:
            batch[RETURNS_TO_GO] = self._returns_to_go[rows]
        return batch

    def _transformed(self, batch: Batch) -> Batch:
        for transform in self._transforms:
            batch = transform(batch)
        return batch
