"""What an update sees: the one place where NumPy arrays become tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from rlbuffers.adapters.torch_batches import TorchBatches, as_tensor
from rlbuffers.windows.transitions import NEXT_ACTION_KNOWN, NEXT_ACTIONS

__all__ = ["COLUMNS", "TransitionBatch", "make_batch", "observation_tensor", "transition_batches"]

Array = np.ndarray[Any, Any]
# The columns of a buffer that a batch is made of; samplers need read no others.
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminals")


class TransitionBatch(NamedTuple):
    """B transitions on one device; fields that an algorithm does not ask for have no rows.

    Attributes
    ----------
    observations : uint8 for stacks of images, else float32, shape (B, *obs)
    actions : int64, shape (B,), or float32, shape (B, D)
    rewards : float32, shape (B,)
        For n-step transitions the discounted sum of n rewards.
    next_observations : like `observations`
        What `discounts` bootstraps from: n steps later, or the episode's true last observation.
    discounts : float32, shape (B,)
        Factor on the bootstrapped value: gamma to the number of steps, 0 after a termination. A
        timeout keeps its gamma: the task went on, only the recording ended.
    next_actions : like `actions`, or None
        What the data did next, for algorithms that ask for it.
    next_action_known : float32, shape (B,), or None
        1 where it did, else 0; `next_actions` are zeros there.
    """

    observations: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    next_observations: torch.Tensor
    discounts: torch.Tensor
    next_actions: torch.Tensor | None = None
    next_action_known: torch.Tensor | None = None

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> TransitionBatch:
        """Return the batch with a function applied to every tensor."""
        tensors = {name: function(value) for name, value in self._asdict().items() if value is not None}
        return TransitionBatch(**tensors)


def make_batch(
    columns: Mapping[str, Array], gamma: float, device: torch.device, first_action: int = 0
) -> TransitionBatch:
    """Turn the columns of one draw into tensors.

    Parameters
    ----------
    columns : mapping of str to array, shape (B, ...)
        Those named in `COLUMNS`, or ``observations`` and ``actions`` alone. Observations may be overlapping or
        read-only views; they are copied only where torch cannot take them as they are. In place of ``terminals``
        there may be ``discounts``, which are then taken over. ``next_actions`` count only beside
        ``next_action_known``.
    gamma : float
        Discount of one step.
    device : torch.device
        Where the tensors go.
    first_action : int
        Number that the data give to the first of numbered actions; networks count from 0.
    """
    observations = observation_tensor(columns["observations"], device)
    actions = as_tensor(_plain(columns["actions"], first_action)).to(device)
    if "rewards" not in columns:
        none = torch.empty(0, device=device)
        return TransitionBatch(observations, actions, none, observations[:0], none)
    discounts = columns.get("discounts")
    if discounts is None:
        discounts = np.where(columns["terminals"], np.float32(0.0), np.float32(gamma))
    return TransitionBatch(
        observations=observations,
        actions=actions,
        rewards=as_tensor(columns["rewards"].astype(np.float32, copy=False)).to(device),
        next_observations=observation_tensor(columns["next_observations"], device),
        discounts=as_tensor(discounts.astype(np.float32, copy=False)).to(device),
        **_followed(columns, device, first_action),
    )


def _followed(columns: Mapping[str, Array], device: torch.device, first_action: int) -> dict[str, torch.Tensor]:
    if NEXT_ACTION_KNOWN not in columns:
        return {}
    known = columns[NEXT_ACTION_KNOWN]
    following = _plain(columns[NEXT_ACTIONS], first_action)
    if first_action:  # the zeros of those that are not known are no action
        following = np.where(known, following, 0)
    return {
        "next_actions": as_tensor(following).to(device),
        "next_action_known": as_tensor(known.astype(np.float32)).to(device),
    }


def _plain(actions: Array, first_action: int) -> Array:
    """Return numbered choices, of shape () or (1,) each, as int64 from 0 on, and vectors as float32."""
    if actions.ndim == 1 or actions.dtype.kind in "biu":
        numbers = actions.reshape(len(actions)).astype(np.int64, copy=False)
        return numbers - first_action if first_action else numbers
    return actions.astype(np.float32, copy=False)


def observation_tensor(observations: Array, device: torch.device) -> torch.Tensor:
    """Return stacks of images as uint8, which networks scale, and all else as float32."""
    is_pixels = observations.dtype == np.uint8 and observations.ndim == 4
    return as_tensor(observations if is_pixels else observations.astype(np.float32, copy=False)).to(device)


def transition_batches(gamma: float, device: torch.device, first_action: int = 0) -> TorchBatches[TransitionBatch]:
    """Return what a loader makes its batches with: tensors made in the thread that reads.

    Parameters
    ----------
    gamma, device, first_action
        See :func:`make_batch`.
    """
    memory = torch.device("cpu")
    return TorchBatches(
        device,
        lambda batch: make_batch(batch, gamma, memory, first_action),
        lambda function, batch: batch.map(function),
    )
