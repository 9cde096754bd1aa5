"""Draws in shuffled blocks: without replacement, from few runs of neighbours at a time; for buffers larger than RAM.

An epoch goes through the blocks of a buffer in random order, `blocks_at_once` of them at a time, and
through the items of these in random order. How random that is: a batch is a random subset of a window of
``blocks_at_once * block_items`` items, which are runs of `block_items` neighbours from as many random
places. Two items of one window come from the same run with a probability of ``1 / blocks_at_once``;
drawn uniformly, it would be ``block_items / N``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.epochs import EpochDraws, Order
from rlbuffers.samplers.permutation import Permutation
from rlbuffers.windows.cached_blocks import ShuffledBlocks
from rlbuffers.windows.items import Items

__all__ = ["BlockDraws"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


class _BlockOrder:
    """The order of one epoch; its memory grows with the number of blocks, not of items."""

    def __init__(self, size: int, key: int, blocks: ShuffledBlocks) -> None:
        num_blocks = -(-size // blocks.block_items)
        order = Permutation(num_blocks, key).at(0, num_blocks)
        sizes = np.full(num_blocks, blocks.block_items)
        sizes[order == num_blocks - 1] = size - (num_blocks - 1) * blocks.block_items
        self._key = key
        self._sizes = sizes
        self._first_places = order * blocks.block_items
        self._at_once = blocks.blocks_at_once
        self._stops = np.cumsum(np.add.reduceat(sizes, np.arange(0, num_blocks, self._at_once)))
        self._window = -1
        self._places = np.empty(0, np.int64)

    def at(self, start: int, stop: int) -> Indices:
        """Return the places at positions `start` to `stop`, exclusive."""
        first, last = np.searchsorted(self._stops, [start, max(stop - 1, start)], side="right").tolist()
        parts = []
        for window in range(first, last + 1):
            places = self._places_of(window)
            offset = int(self._stops[window]) - len(places)
            parts.append(places[max(start - offset, 0) : stop - offset])
        return np.concatenate(parts)

    def _places_of(self, window: int) -> Indices:
        if window != self._window:
            chosen = slice(window * self._at_once, (window + 1) * self._at_once)
            firsts, sizes = self._first_places[chosen], self._sizes[chosen]
            before = np.cumsum(sizes) - sizes
            places = np.arange(sizes.sum()) + np.repeat(firsts - before, sizes)
            # A spawn key, not a list of both: [key, 0] seeds the generator that the key alone does.
            seeds = np.random.SeedSequence(self._key, spawn_key=(window,))
            self._places = np.random.default_rng(seeds).permutation(places)
            self._window = window
        return self._places


class BlockDraws(EpochDraws):
    """Epochs in shuffled blocks; see the module's docstring.

    Parameters
    ----------
    items : Items
        What may be chosen; of a fixed number.
    generator : numpy.random.Generator
        Chooses the order of each epoch.
    blocks : ShuffledBlocks
        Sizes.
    drop_last : bool, default False
        Whether a smaller last batch of an epoch is left out.
    """

    kind = "blocks"

    def __init__(
        self, items: Items, generator: np.random.Generator, blocks: ShuffledBlocks, *, drop_last: bool = False
    ) -> None:
        super().__init__(items, generator, drop_last=drop_last)
        self._blocks = blocks

    def new_order(self, key: int) -> Order:
        """Return the order of an epoch in blocks."""
        return _BlockOrder(self.items.capacity, key, self._blocks)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {**super().state_dict(), "blocks": [self._blocks.block_items, self._blocks.blocks_at_once]}

    def load_state_dict(self, state: Any) -> None:
        """Go on where the state was taken."""
        own = [self._blocks.block_items, self._blocks.blocks_at_once]
        if state.get("blocks") != own:
            raise UsageError(f"the state is that of other blocks: {state.get('blocks')}, not {own}")
        super().load_state_dict(state)
