"""Samplers: which rows or episodes a batch is made of, and batches of them.

*What is drawn* is a `Draws` (uniform, epochs, weighted, prioritized, stratified, shuffled blocks), *what
is read there* a window (`rlbuffers.windows`), and a `Sampler` joins one of each. ``buffer.sampler()``
composes the usual ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlbuffers.lazy import lazy_names

if TYPE_CHECKING:
    from rlbuffers.samplers.making import make_sampler
    from rlbuffers.samplers.mixture import MixtureSampler, mix_buffers
    from rlbuffers.samplers.prioritized import LinearSchedule, Priorities
    from rlbuffers.samplers.sampler import Sampler
    from rlbuffers.windows.cached_blocks import ShuffledBlocks
    from rlbuffers.windows.episodes import split_episodes

__all__ = [
    "LinearSchedule",
    "MixtureSampler",
    "Priorities",
    "Sampler",
    "ShuffledBlocks",
    "make_sampler",
    "mix_buffers",
    "split_episodes",
]

__getattr__ = lazy_names(
    __name__,
    {
        "LinearSchedule": "rlbuffers.samplers.prioritized:LinearSchedule",
        "MixtureSampler": "rlbuffers.samplers.mixture:MixtureSampler",
        "Priorities": "rlbuffers.samplers.prioritized:Priorities",
        "Sampler": "rlbuffers.samplers.sampler:Sampler",
        "ShuffledBlocks": "rlbuffers.windows.cached_blocks:ShuffledBlocks",
        "make_sampler": "rlbuffers.samplers.making:make_sampler",
        "mix_buffers": "rlbuffers.samplers.mixture:mix_buffers",
        "split_episodes": "rlbuffers.windows.episodes:split_episodes",
    },
)
