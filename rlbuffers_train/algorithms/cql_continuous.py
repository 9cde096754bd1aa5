"""CQL: SAC with values pushed down on actions that the data do not have.

A. Kumar, A. Zhou, G. Tucker, S. Levine: "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS
2020, arXiv:2006.04779, CQL(H) with importance sampling as in the authors' code (numbering ours)::

    u_i, a_i, a'_i   n actions each: uniform, from pi(s), and from pi(s')
    lse_j = log of the sum over i of exp(Q_j(s, u_i) - log u)                                          (1)
                                   + exp(Q_j(s, a_i) - log pi(a_i|s)) + exp(Q_j(s, a'_i) - log pi(a'_i|s'))
    gap_j = mean [ lse_j - Q_j(s, a) ]                                                                 (2)
    y     = r + gamma min_j Q'_j(s', a'),  a' ~ pi(s')        (gamma is 0 after a termination)         (3)
    loss  = sum over j of mean (y - Q_j(s, a))^2 + min_q_weight gap_j                                  (4)

and with a Lagrange multiplier, where the gap is to stay below a threshold::

    loss  = sum over j of mean (y - Q_j(s, a))^2 + multiplier (min_q_weight gap_j - threshold)         (5)
    multiplier ascends the mean over j of multiplier (min_q_weight gap_j - threshold)                  (6)

The actor is SAC's, equations (3) and (4) of `rlbuffers_train.algorithms.sac`, and learns first. The authors
compute all losses before any of the networks learns, and clone behavior in the first 40,000 updates; neither is
done here, nor in d3rlpy. There is no one weight in the paper for all tasks: it is 5 without a multiplier, as the
authors advise for locomotion.

`backs_up_entropy` subtracts alpha log pi(a'|s') in (3), as Tianshou 2.0.1 does. Three things of Tianshou's have no
setting: it takes (1) over one action of each kind at a time and averages over the n, where the authors take it over
all 3 n (a reshape whose result is dropped); its uniform actions run from minus the lower bound to the upper one, and so
are all the upper bound; and by default it is Cal-QL, which lifts values to the return.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from rlbuffers_train.algorithms.base import Metrics
from rlbuffers_train.algorithms.continuous import descend
from rlbuffers_train.algorithms.sac import SAC, SACConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.continuous import Scalar
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import clip_member_gradients, soft_update, td_target

__all__ = ["ContinuousCQL", "ContinuousCQLConfig"]

_MAX_MULTIPLIER = 1e6


@dataclass(frozen=True, kw_only=True)
class ContinuousCQLConfig(SACConfig):
    """Hyperparameters; the defaults are the authors' without a multiplier."""

    hidden_sizes: tuple[int, ...] = setting((256, 256, 256), "Widths of the hidden layers.", **LAYERS)
    actor_lr: float = setting(1e-4, "Learning rate of the actor.", above=0)
    alpha_lr: float = setting(1e-4, "Learning rate of alpha; 0 keeps alpha as it is.", at_least=0)
    min_q_weight: float = setting(5.0, "Weight of the conservative gap.", at_least=0)
    num_sampled_actions: int = setting(10, "n: actions of each kind that the gap is estimated from.", **AMOUNT)
    with_lagrange: bool = setting(False, "Whether a multiplier holds the gap at a threshold (0 or 1).")
    lagrange_threshold: float = setting(10.0, "What the weighted gap is held at.")
    lagrange_lr: float = setting(3e-4, "Learning rate of the multiplier.", above=0)
    backs_up_entropy: bool = setting(False, "Whether targets count the entropy, as SAC's do (0 or 1).")
    max_grad_norm: float = setting(0.0, "Largest norm of a critic's gradient; 0 for any.", at_least=0)


class ContinuousCQL(SAC):
    """See the module's docstring."""

    name = "cql"
    config: ContinuousCQLConfig
    config_class = ContinuousCQLConfig
    compiled: ClassVar = ("errors_and_gaps", "actor_loss")
    presets: ClassVar = {
        "tianshou": ContinuousCQLConfig(
            hidden_sizes=(256, 256),
            min_q_weight=1.0,
            with_lagrange=True,
            backs_up_entropy=True,
            max_grad_norm=1.0,
        )
    }

    def build(self) -> None:
        """Make networks, target networks and optimizers."""
        super().build()
        self.multiplier = Scalar(1.0).to(self.device)
        self.multiplier_optimizer = self.adam(self.multiplier.parameters(), self.config.lagrange_lr)

    def learn(self, batch: TransitionBatch) -> Metrics:
        """Descend SAC's equations (3) and (4), then (4) or (5) here, and ascend (6)."""
        metrics = self.update_actor(batch)
        errors, gaps = self.errors_and_gaps(batch)
        penalties = self.config.min_q_weight * gaps  # (2,)
        if self.config.with_lagrange:
            excess = penalties - self.config.lagrange_threshold
            multiplier = self.multiplier().clamp(max=_MAX_MULTIPLIER)
            penalties = multiplier.detach() * excess  # Eq. 5
            descend(self.multiplier_optimizer, -(multiplier * excess.detach()).mean())  # Eq. 6
            metrics["multiplier"] = multiplier.detach()
        loss = (errors.square().mean(dim=1) + penalties).sum()  # Eq. 4
        self._descend_critics(loss)
        soft_update(self.target_critics, self.critics, self.config.tau)
        return {**metrics, "critic_loss": loss.detach(), "gap": gaps.detach().mean()}

    def _descend_critics(self, loss: torch.Tensor) -> None:
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.max_grad_norm > 0:
            clip_member_gradients(self.critics, self.config.max_grad_norm)
        self.critic_optimizer.step()

    def errors_and_gaps(self, batch: TransitionBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the errors of both critics, float32 (2, B), and equation (2), float32 (2,)."""
        size, samples = len(batch.rewards), self.config.num_sampled_actions
        with torch.no_grad():
            targets = self._targets(batch)
            shape = (samples, size, self.num_elements)
            uniform = self.noise.uniform(*shape)
            now, log_now = self.actor.sample(batch.observations, self.noise.normal(*shape))
            later, log_later = self.actor.sample(batch.next_observations, self.noise.normal(*shape))
            # Data first, then 3 n actions a row; all of them are valued in one pass.
            actions = torch.cat([batch.actions.unsqueeze(0), uniform, now, later]).flatten(end_dim=1)
            log_uniform = torch.full_like(log_now, self.num_elements * math.log(0.5))
            log_densities = torch.cat([log_uniform, log_now, log_later])  # (3 n, B)
        observations = batch.observations.repeat(1 + 3 * samples, 1)
        values = self.critics(observations, actions).view(-1, 1 + 3 * samples, size)
        values_of_data, values_of_samples = values[:, 0], values[:, 1:]
        gaps = (values_of_samples - log_densities).logsumexp(dim=1) - values_of_data  # Eq. 1
        return values_of_data - targets, gaps.mean(dim=1)  # Eq. 2

    def _targets(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (3), float32 (B,)."""
        next_actions, log_probs = self.actor.sample(batch.next_observations, self.noise.normal(*batch.actions.shape))
        next_values = self.target_critics(batch.next_observations, next_actions).amin(dim=0)
        if self.config.backs_up_entropy:
            next_values = next_values - self.alpha() * log_probs
        return td_target(batch.rewards, batch.discounts, next_values)
