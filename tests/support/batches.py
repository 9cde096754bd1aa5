"""Batches of random transitions in float64, for tests of losses."""

from __future__ import annotations

import numpy as np
import torch

from rlbuffers_train.batch import TransitionBatch

SIZE, INPUTS, ACTIONS, ELEMENTS, GAMMA = 12, 3, 4, 2, 0.9


def discrete_batch(seed: int) -> TransitionBatch:
    """Return SIZE transitions with ACTIONS actions."""
    rng = np.random.default_rng(seed)
    return _batch(rng, torch.from_numpy(rng.integers(0, ACTIONS, SIZE)))


def box_batch(seed: int) -> TransitionBatch:
    """Return SIZE transitions with actions in [-1, 1]."""
    rng = np.random.default_rng(seed)
    return _batch(rng, torch.from_numpy(rng.uniform(-1, 1, (SIZE, ELEMENTS))))


def followed_batch(seed: int) -> TransitionBatch:
    """Return a `box_batch` with next actions, not all of which are known."""
    rng = np.random.default_rng(1000 + seed)
    known = rng.random(SIZE) < 0.7
    actions = np.where(known[:, None], rng.uniform(-1, 1, (SIZE, ELEMENTS)), 0.0)
    return box_batch(seed)._replace(
        next_actions=torch.from_numpy(actions), next_action_known=torch.from_numpy(known.astype(np.float64))
    )


def _batch(rng: np.random.Generator, actions: torch.Tensor) -> TransitionBatch:
    return TransitionBatch(
        observations=torch.from_numpy(rng.normal(size=(SIZE, INPUTS))),
        actions=actions,
        rewards=torch.from_numpy(rng.normal(0, 2, SIZE)),
        next_observations=torch.from_numpy(rng.normal(size=(SIZE, INPUTS))),
        discounts=torch.from_numpy(np.where(rng.random(SIZE) < 0.3, 0.0, GAMMA)),
    )


def arrays(batch: TransitionBatch) -> dict[str, np.ndarray]:
    """Return the fields as NumPy arrays."""
    return {name: value.numpy() for name, value in batch._asdict().items() if value is not None}
