"""ReBRAC: TD3+BC whose critics stay near the data too, with deeper networks, layer norm and larger batches.

D. Tarasov, V. Kurenkov, A. Nikulin, S. Kolesnikov: "Revisiting the Minimalist Approach to Offline Reinforcement
Learning", NeurIPS 2023, arXiv:2305.09836, on TD3 (Fujimoto et al. 2018, arXiv:1802.09477; numbering ours)::

    a'        = pi'(s') + clip(N(0, noise), -c, c), clipped to [-1, 1]                              (1)
    y         = r + gamma (min_j Q'_j(s', a') - beta_2 |a' - b'|^2)      (gamma 0 after a termination)  (2)
    critic    = sum over j of mean (y - Q_j(s, a))^2                                                (3)
    lambda    = 1 / mean |min_j Q_j(s, pi(s))|                                       (a constant)   (4)
    actor     = mean (beta_1 |pi(s) - a|^2 - lambda min_j Q_j(s, pi(s)))                            (5)

Primes mark target networks; b' is what the data did at s', and |.|^2 sums over the elements of an action. Every second
update descends (5) too and lets all target networks follow. Each hidden layer of the critics is normalized after its
ReLU. beta_1 and beta_2 belong to the dataset. The authors' configurations (github.com/tinkoff-ai/ReBRAC) have, for
medium data, 0.001 and 0.5 in HalfCheetah, 0.01 and 0.001 in Hopper, 0.05 and 0 in Walker2d.

Departures: where the recording ended with s' (a timeout), b' is not known, and (2) leaves its term out; the authors'
code takes the next row of the file. Weights are initialized as torch does it, the last layers like the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms.continuous import NUM_CRITICS
from rlbuffers_train.algorithms.delayed_actor import DelayedActorAlgorithm, DelayedActorConfig
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.settings import AMOUNT, LAYERS, setting
from rlbuffers_train.targets import td_target

__all__ = ["ReBRAC", "ReBRACConfig"]


@dataclass(frozen=True, kw_only=True)
class ReBRACConfig(DelayedActorConfig):
    """Hyperparameters; the defaults are the authors', of which beta_1 and beta_2 suit no dataset in particular."""

    batch_size: int = setting(1024, "Transitions in an update.", **AMOUNT)
    actor_lr: float = setting(1e-3, "Learning rate of the actor.", above=0)
    critic_lr: float = setting(1e-3, "Learning rate of the critics.", above=0)
    hidden_sizes: tuple[int, ...] = setting((256, 256, 256), "Widths of the hidden layers.", **LAYERS)
    actor_bc_coef: float = setting(1.0, "beta_1: weight of the actor's distance from the data.", at_least=0)
    critic_bc_coef: float = setting(1.0, "beta_2: weight of the critics' distance from the data.", at_least=0)
    critic_layer_norm: bool = setting(True, "Whether the critics' hidden layers are normalized (0 or 1).")


class ReBRAC(DelayedActorAlgorithm[ReBRACConfig]):
    """See the module's docstring."""

    name = "rebrac"
    config_class = ReBRACConfig
    needs_next_actions = True

    def make_critics(self) -> CriticEnsemble:
        """Return Q_1 and Q_2."""
        config = self.config
        if config.n_step != 1:
            raise UsageError(f"rebrac compares with the next action of the data: n_step {config.n_step} must be 1")
        return CriticEnsemble(
            NUM_CRITICS, self.num_inputs, self.num_elements, config.hidden_sizes, layer_norm=config.critic_layer_norm
        )

    def critic_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (3)."""
        if batch.next_actions is None or batch.next_action_known is None:
            raise UsageError("rebrac needs batches with next actions: buffer.sampler(..., next_actions=True)")
        with torch.no_grad():
            next_actions = self.noisy_target_actions(batch).clamp(-1.0, 1.0)  # Eq. 1
            distances = (next_actions - batch.next_actions).square().sum(dim=1) * batch.next_action_known
            next_values = self.target_critics(batch.next_observations, next_actions).amin(dim=0)
            next_values = next_values - self.config.critic_bc_coef * distances
            targets = td_target(batch.rewards, batch.discounts, next_values)  # Eq. 2
        errors: torch.Tensor = self.critics(batch.observations, batch.actions) - targets  # (2, B)
        return errors.square().mean(dim=1).sum()  # Eq. 3

    def actor_loss(self, batch: TransitionBatch) -> torch.Tensor:
        """Return equation (5)."""
        actions = self.actor(batch.observations)
        values = self.critics.judge(batch.observations, actions).amin(dim=0)
        weight = 1.0 / values.detach().abs().mean()  # Eq. 4
        distances = (actions - batch.actions).square().sum(dim=1)
        loss: torch.Tensor = (self.config.actor_bc_coef * distances - weight * values).mean()  # Eq. 5
        return loss
