"""What an update sees: the one place where NumPy arrays become tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from rlbuffers.windows.transitions import NEXT_ACTION_KNOWN, NEXT_ACTIONS

__all__ = ["COLUMNS", "TransitionBatch", "TransitionBatches", "make_batch", "observation_tensor"]

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
    actions = to_tensor(_plain(columns["actions"], first_action), device)
    if "rewards" not in columns:
        none = torch.empty(0, device=device)
        return TransitionBatch(observations, actions, none, observations[:0], none)
    discounts = columns.get("discounts")
    if discounts is None:
        discounts = np.where(columns["terminals"], np.float32(0.0), np.float32(gamma))
    return TransitionBatch(
        observations=observations,
        actions=actions,
        rewards=to_tensor(columns["rewards"].astype(np.float32, copy=False), device),
        next_observations=observation_tensor(columns["next_observations"], device),
        discounts=to_tensor(discounts.astype(np.float32, copy=False), device),
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
        "next_actions": to_tensor(following, device),
        "next_action_known": to_tensor(known.astype(np.float32), device),
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
    return to_tensor(observations if is_pixels else observations.astype(np.float32, copy=False), device)


def to_tensor(values: Array, device: torch.device) -> torch.Tensor:
    """Return `values` as a tensor of the same dtype; shares memory where it can."""
    # torch would warn that writing into a read-only array's tensor is undefined.
    return torch.from_numpy(values if values.flags.writeable else values.copy()).to(device)


class TransitionBatches:
    """What a loader hands to a trainer: tensors made in the loader's thread.

    Parameters
    ----------
    gamma : float
        Discount of one step.
    device : torch.device
        Where the tensors go; for a GPU they wait in pinned memory and are copied while it computes.
    first_action : int
        See :func:`make_batch`.
    """

    def __init__(self, gamma: float, device: torch.device, first_action: int = 0) -> None:
        self._gamma = gamma
        self._device = device
        self._first_action = first_action

    def prepare(self, batch: Mapping[str, Array]) -> TransitionBatch:
        """Return tensors in memory."""
        made = make_batch(batch, self._gamma, torch.device("cpu"), self._first_action)
        return made if self._device.type != "cuda" else made.map(torch.Tensor.pin_memory)

    def hand_over(self, prepared: TransitionBatch) -> TransitionBatch:
        """Return tensors on the device."""
        if self._device.type == "cpu":
            return prepared
        return prepared.map(lambda tensor: tensor.to(self._device, non_blocking=True))
