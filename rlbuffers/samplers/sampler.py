"""A sampler of one buffer: draws, and a window that reads there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.base import BatchSampler
from rlbuffers.samplers.draws import Drawn, Draws
from rlbuffers.samplers.epochs import EpochDraws
from rlbuffers.samplers.prioritized import PrioritizedDraws
from rlbuffers.windows.base import Batch, Window

__all__ = ["Sampler"]


class Sampler(BatchSampler):
    """Batches of one buffer.

    ``buffer.sampler()`` makes the usual ones; `make_sampler` explains its arguments.

    Parameters
    ----------
    window : Window
        What is read of each item.
    draws : Draws
        Which items; over the window's.
    batch_size : int
        Number of items in a batch, at least 1.
    data : str, default ""
        The buffer's fingerprint.

    Raises
    ------
    UsageError
        If `batch_size` is less than 1.
    """

    def __init__(self, window: Window, draws: Draws, batch_size: int, data: str = "") -> None:
        super().__init__(batch_size, data)
        self.window = window
        self.draws = draws

    @property
    def num_items(self) -> int:
        """Number of rows, or episodes, that can be drawn now."""
        first, last = self.window.items.bounds
        return last - first

    def _draw(self) -> Drawn:
        return self.draws.draw(self.batch_size)

    def read(self, drawn: Drawn) -> Batch:
        """Return the batch that was drawn."""
        batch = self.window.read(drawn.items)
        batch.update(drawn.extras)
        return batch

    def read_together(self, drawn: Sequence[Drawn]) -> list[Batch]:
        """Return several batches; their arrays share memory where the window allows it."""
        if not self.window.is_rowwise or len(drawn) < 2:
            return super().read_together(drawn)
        joined = self.window.read(np.concatenate([one.items for one in drawn]))
        batches, start = [], 0
        for one in drawn:
            stop = start + len(one.items)
            batches.append({**{name: values[start:stop] for name, values in joined.items()}, **one.extras})
            start = stop
        return batches

    def update_priorities(self, indices: np.ndarray[Any, Any], priorities: np.ndarray[Any, Any]) -> None:
        """Tell how much items surprised; see `PrioritizedDraws.update`.

        Parameters
        ----------
        indices : int64, shape (B,)
            ``batch["indices"]``.
        priorities : float, shape (B,)
            Such as absolute TD errors.

        Raises
        ------
        UsageError
            If this sampler has no priorities, or the arguments do not fit.
        """
        if not isinstance(self.draws, PrioritizedDraws):
            raise UsageError(f"a sampler with {self.draws.kind} draws has no priorities; give priorities=Priorities()")
        self.draws.update(indices, priorities)

    def require_epochs(self) -> None:
        """Raise an error where batches have no epochs."""
        if not isinstance(self.draws, EpochDraws):
            super().require_epochs()

    def _state(self) -> dict[str, Any]:
        return self.draws_state()

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.load_draws_state(state)

    def draws_state(self) -> dict[str, Any]:
        """Return the state of the draws alone, as a part of a larger one."""
        return {"kind": self.draws.kind, "num_items": self.window.items.capacity, **self.draws.state_dict()}

    def load_draws_state(self, state: Mapping[str, Any]) -> None:
        """Set what `draws_state` returned.

        Raises
        ------
        UsageError
            If it is the state of another kind of draws, or over another number of items.
        """
        for name, own in (("kind", self.draws.kind), ("num_items", self.window.items.capacity)):
            if state.get(name, own) != own:
                raise UsageError(f"the state is that of another sampler: its {name!r} is {state[name]!r}, not {own!r}")
        self.draws.load_state_dict(state)
