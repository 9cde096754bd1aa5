"""``ring.sampler(...)``: from arguments to a sampler of what a ring holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.online.ring_steps import RecentSteps, RingSteps
from rlbuffers.samplers.draws import Draws
from rlbuffers.samplers.prioritized import Priorities, PrioritizedDraws
from rlbuffers.samplers.sampler import Sampler
from rlbuffers.samplers.uniform import UniformDraws
from rlbuffers.transforms import Transform

__all__ = ["RingSampler", "make_ring_sampler"]


class RingSampler(Sampler):
    """A sampler whose data change, so that nothing can be read ahead."""

    is_fixed: ClassVar[bool] = False


def make_ring_sampler(
    ring: RecentSteps,
    batch_size: int,
    generator: np.random.Generator,
    *,
    n_step: int,
    gamma: float,
    priorities: Priorities | None,
    columns: Sequence[str],
    transforms: Sequence[Transform],
) -> RingSampler:
    """Return a sampler; see `RingBuffer.sampler`."""
    window = RingSteps(ring, n_step, gamma, columns, transforms)
    draws: Draws = UniformDraws(window.items, generator)
    if priorities is not None:
        if priorities.initial is not None:
            raise UsageError("a ring begins empty: leave Priorities(initial=...) out, and update what is drawn")
        draws = PrioritizedDraws(window.items, generator, priorities)
    return RingSampler(window, draws, batch_size)
