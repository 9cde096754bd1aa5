"""Fitted Q Evaluation: the values of a policy from data of another one, by regression.

H. Le, C. Voloshin, Y. Yue: "Batch Policy Learning under Constraints", ICML 2019, arXiv:1903.08738, Algorithm 3
(numbering ours)::

    y     = r + gamma sum_a' pi(a'|s') Q'(s', a')            (gamma is 0 after a termination)     (1)
    loss  = mean (y - Q(s, a))^2                                                                  (2)
    V(s)  = sum_a pi(a|s) Q'(s, a)                                                                (3)

The sum is exact for numbered actions. For vectors, one action of the policy's stands for it in each target.

Departures: the paper solves the regression to its end before it sets Q' = Q. As in Paine et al. 2020,
arXiv:2007.09055, networks take one step of Adam on each batch and Q' follows. It does so by a moving average, which is
also what (3) reads, as it is the steadier of the two.

No return of the rewards in the data leaves a certain range, so V is held in it, also in (1): past the data networks
guess, and through (1) such guesses feed on each other. Q itself is not, so that it tells where that happens.

Networks learn f in Q(s, a) = center + spread f(s, a), with the two numbers of `ValueScale`, and (2) is taken of f. That
changes no solution of (1), but rewards of any size are learned alike, and learning begins near the values that the
data's own policy has.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from rlbuffers_train.algorithms.continuous import descend
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.off_policy.recorded_values import ValueScale
from rlbuffers_train.off_policy.target_policy import TargetPolicy
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.running.trainer import TrainingDivergedError
from rlbuffers_train.settings import AMOUNT, LAYERS, Settings, setting
from rlbuffers_train.standardizer import Standardizer
from rlbuffers_train.targets import soft_update, td_target

__all__ = ["FittedQ", "FittedQSettings"]


@dataclass(frozen=True, kw_only=True)
class FittedQSettings(Settings):
    """How the regression is done; the defaults are for vectors."""

    updates: int = setting(30_000, "Batches of the regression.", at_least=1)
    batch_size: int = setting(256, "Transitions in an update.", **AMOUNT)
    lr: float = setting(1e-3, "Learning rate of Adam.", above=0)
    # Q' forgets where it began within 1 / (tau (1 - gamma)) updates: 20,000 with a gamma of 0.99.
    tau: float = setting(0.005, "Share by which Q' moves in an update.", above=0, at_most=1)
    hidden_sizes: tuple[int, ...] = setting((128, 128), "Widths of the hidden layers.", **LAYERS)

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> FittedQSettings:
        """Return the defaults, or what is affordable for images."""
        if problem.is_pixels:
            return cls(updates=20_000, batch_size=32, lr=1e-4, tau=0.01, hidden_sizes=(512,))
        return cls()


class FittedQ:
    """Q of a policy, while it is learned.

    Parameters
    ----------
    policy : TargetPolicy
        Whose values are asked for.
    problem : ProblemSpec
        Observations, with the statistics by which they are standardized; without any they are taken as they are.
    scale : ValueScale
        Size of values.
    settings : FittedQSettings
        See there.
    seed : int
        Of the first weights; torch's own generator stays as it is.
    device : torch.device
        Where networks compute.
    """

    def __init__(
        self,
        policy: TargetPolicy,
        problem: ProblemSpec,
        scale: ValueScale,
        settings: FittedQSettings,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self._policy = policy
        self._scale = scale
        self._tau = settings.tau
        self._standardize = None if problem.statistics is None else Standardizer(problem.statistics, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = policy.make_network(settings.hidden_sizes).to(device)
        self.target_network = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.lr, fused=True)

    def update(self, batch: TransitionBatch) -> torch.Tensor:
        """Descend equation (2) once; return it, in units of the spread."""
        errors = self._errors(batch)
        loss = errors.square().mean()  # Eq. 2
        descend(self.optimizer, loss)
        soft_update(self.target_network, self.network, self._tau)
        return loss.detach()

    def targets(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (1), float32 (B,)."""
        return td_target(batch.rewards, batch.discounts, self.state_values(batch.next_observations))  # Eq. 1

    @torch.no_grad()
    def state_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return equation (3) of observations (B, *obs), float32 (B,)."""
        inputs = self._inputs(observations)
        values = self._unscaled(self._policy.expected_values(self.target_network, inputs, observations))
        return values.clamp(self._scale.low, self._scale.high)  # Eq. 3

    @torch.no_grad()
    def action_values(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Return Q'(s, a) of observations (B, *obs) and actions as data have them, float32 (B,)."""
        return self._unscaled(self._policy.values_of(self.target_network, self._inputs(observations), actions))

    @torch.no_grad()
    def td_errors(self, batch: TransitionBatch) -> torch.Tensor:
        """Return y - Q'(s, a), in units of rewards, float32 (B,)."""
        return self.targets(batch) - self.action_values(batch.observations, batch.actions)

    def require_finite(self) -> None:
        """Check the networks.

        Raises
        ------
        TrainingDivergedError
            If their weights are no numbers anymore.
        """
        if not all(bool(weights.isfinite().all()) for weights in self.target_network.parameters()):
            raise TrainingDivergedError("the values became NaN or infinite; scale the rewards, or take a smaller gamma")

    def _errors(self, batch: TransitionBatch) -> torch.Tensor:
        targets = (self.targets(batch) - self._scale.center) / self._scale.spread
        values = self._policy.values_of(self.network, self._inputs(batch.observations), batch.actions)
        return targets - values

    def _inputs(self, observations: torch.Tensor) -> torch.Tensor:
        return observations if self._standardize is None else self._standardize(observations)

    def _unscaled(self, values: torch.Tensor) -> torch.Tensor:
        return self._scale.center + self._scale.spread * values
