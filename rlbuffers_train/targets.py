"""Functions of tensors that losses and updates are made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers_train.torch_operators import find_lerp

__all__ = [
    "clip_member_gradients",
    "conservative_gap",
    "expectile_loss",
    "quantile_huber_loss",
    "quantile_midpoints",
    "soft_update",
    "td_target",
]

_LERP = find_lerp()


def td_target(rewards: torch.Tensor, discounts: torch.Tensor, next_values: torch.Tensor) -> torch.Tensor:
    """Return r + discount * v', the one-step (or n-step) bootstrapped target.

    Parameters
    ----------
    rewards, discounts : float32, shape (B,)
        See `TransitionBatch`; a discount of 0 ends the task.
    next_values : float32, shape (B,) or (B, K)
        Value, or K samples or quantiles of it, at the next observation.
    """
    trailing = (1,) * (next_values.dim() - 1)
    return rewards.view(-1, *trailing) + discounts.view(-1, *trailing) * next_values


def quantile_midpoints(num_quantiles: int) -> torch.Tensor:
    """Return the K midpoints (2i + 1) / 2K of equal shares of probability, float32 (K,)."""
    return (torch.arange(num_quantiles, dtype=torch.float32) + 0.5) / num_quantiles


def quantile_huber_loss(
    quantiles: torch.Tensor, targets: torch.Tensor, midpoints: torch.Tensor, kappa: float = 1.0
) -> torch.Tensor:
    """Return the quantile Huber loss of each transition (Dabney et al. 2018, QR-DQN).

    With u = target_j - quantile_i::

        L(u)     = u^2 / 2                    if |u| <= kappa      (Huber)
                   kappa (|u| - kappa / 2)    otherwise
        rho_i(u) = |midpoint_i - [u < 0]| L(u) / kappa
        loss     = sum over i of the mean over j of rho_i(u_ij)    (last line of Algorithm 1)

    Parameters
    ----------
    quantiles : float32, shape (B, K)
        Predicted; gradients flow into these.
    targets : float32, shape (B, J)
        Samples of the bootstrapped return, without gradient.
    midpoints : float32, shape (K,)
        Share of probability below each quantile.
    kappa : float
        Error from which the loss grows linearly, above 0.

    Returns
    -------
    float32, shape (B,)
    """
    loss: torch.Tensor = _QuantileHuber.apply(quantiles, targets, midpoints, kappa)  # type: ignore[no-untyped-call]
    return loss


class _QuantileHuber(torch.autograd.Function):
    """Loss and slope in one go, each number of (B, K, J) touched as few times as can be: it is all memory traffic."""

    @staticmethod
    def forward(
        ctx: Any, quantiles: torch.Tensor, targets: torch.Tensor, midpoints: torch.Tensor, kappa: float
    ) -> torch.Tensor:
        errors = targets.unsqueeze(1) - quantiles.unsqueeze(2)
        # With c = u clipped to [-kappa, kappa], L(u) = c (u - c / 2), and c is its slope. |midpoint - [u < 0]| is the
        # midpoint times a factor where c < 0, which is what a leaky ReLU with a slope for each quantile does.
        clipped = errors.clamp(-kappa, kappa)
        errors.sub_(clipped, alpha=0.5)
        with torch.autocast(errors.device.type, enabled=False):
            slopes = F.prelu(clipped, (1.0 - midpoints) / midpoints)
        ctx.save_for_backward(slopes.mean(dim=2) * (midpoints / -kappa))
        return (slopes.mul_(errors).mean(dim=2) * (midpoints / kappa)).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0].unsqueeze(1), None, None, None


def expectile_loss(errors: torch.Tensor, expectile: float) -> torch.Tensor:
    """Return |expectile - [u < 0]| u^2 of each error u: its mean is least at the expectile of the targets.

    Parameters
    ----------
    errors : float32, any shape
        Target minus prediction.
    expectile : float
        In (0, 1); 0.5 gives half the squared error.
    """
    weights = torch.where(errors < 0, 1.0 - expectile, expectile)
    return weights * errors.square()


@torch.no_grad()
def soft_update(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move the weights of `target` towards those of `online` by a share `tau`, in place."""
    moved, towards = list(target.parameters()), list(online.parameters())
    if _LERP is not None:
        _LERP(moved, towards, tau)
        return
    for weights, ends in zip(moved, towards, strict=True):
        weights.lerp_(ends, tau)


def clip_member_gradients(ensemble: nn.Module, max_norm: float) -> None:
    """Scale down the gradients of each member of an ensemble whose norm exceeds `max_norm`, in place.

    The first axis of each parameter tells the members apart.
    """
    gradients = [parameter.grad for parameter in ensemble.parameters() if parameter.grad is not None]
    squares = torch.stack([gradient.square().flatten(start_dim=1).sum(dim=1) for gradient in gradients])
    factors = (max_norm / (squares.sum(dim=0).sqrt() + 1e-6)).clamp(max=1.0)  # (N,)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *(1,) * (gradient.dim() - 1)))


def conservative_gap(values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Return CQL(H)'s gap log sum_b exp Q(s, b) - Q(s, a) of each row.

    Parameters
    ----------
    values : float32, shape (B, A)
    actions : int64, shape (B,)
        Those in the data.
    """
    return values.logsumexp(dim=1) - values.gather(1, actions.unsqueeze(1)).squeeze(1)
