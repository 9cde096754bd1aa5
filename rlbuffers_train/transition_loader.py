"""Reading batches of a buffer ahead of the updates that they are for."""

from __future__ import annotations

import torch

from rlbuffers.loading.loader import Loader
from rlbuffers.samplers.base import BatchSampler
from rlbuffers_train.batch import TransitionBatch, transition_batches
from rlbuffers_train.problem import ProblemSpec

__all__ = ["transition_loader"]

# One thread reads a batch in less time than an update takes; more would take cores from the update.
_WORKERS = 1
_PREFETCH = 4
_BATCHES_AT_ONCE = 16


def transition_loader(
    sampler: BatchSampler, problem: ProblemSpec, gamma: float, device: torch.device
) -> Loader[TransitionBatch]:
    """Return a loader of what updates take.

    Parameters
    ----------
    sampler : BatchSampler
        Draws and reads.
    problem : ProblemSpec
        Vectors are read otherwise than images; numbered actions become numbers from 0 on.
    gamma : float
        Discount of one step.
    device : torch.device
        Where the tensors go.
    """
    batches = transition_batches(gamma, device, problem.first_action)
    if device.type == "cpu" and not problem.is_pixels:
        # Vectors lie in memory: they are there sooner than another thread could be asked.
        return Loader(sampler, batches, prefetch=_BATCHES_AT_ONCE, workers=0)
    return Loader(sampler, batches, prefetch=_PREFETCH, workers=_WORKERS)
