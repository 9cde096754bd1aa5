"""One update of each algorithm, and Tianshou 2.0.1's from the same weights, batch and noise.

Where Tianshou is known to differ, the difference is switched off by a setting here, by a batch or a sample size for
which it vanishes, and shown in a test of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from batches import ACTIONS, ELEMENTS, GAMMA, INPUTS, SIZE, box_batch, discrete_batch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gymnasium
    from tianshou.algorithm.imitation.bcq import BCQ, BCQPolicy
    from tianshou.algorithm.imitation.cql import CQL
    from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQ, DiscreteBCQPolicy
    from tianshou.algorithm.imitation.discrete_cql import DiscreteCQL
    from tianshou.algorithm.imitation.discrete_crr import DiscreteCRR as TheirCRR
    from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
    from tianshou.algorithm.imitation.td3_bc import TD3BC
    from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
    from tianshou.algorithm.modelfree.qrdqn import QRDQN, QRDQNPolicy
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.modelfree.sac import SAC, AutoAlpha, SACPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, ReplayBuffer
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorDeterministic, ContinuousActorProbabilistic
    from tianshou_networks import autoencoder, critic, perturbation

from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.problem import BoxActions, DiscreteActions, ProblemSpec

CPU = torch.device("cpu")
HIDDEN = (16, 12)
LR = 0.01
TAU = 0.5  # so that float32 does not round a target network's step away
BOX = ProblemSpec((INPUTS,), "float32", BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS))
DISCRETE = ProblemSpec((INPUTS,), "float32", DiscreteActions(ACTIONS))
BOX_SPACE = gymnasium.spaces.Box(-1.0, 1.0, (ELEMENTS,), np.float32)
DISCRETE_SPACE = gymnasium.spaces.Discrete(ACTIONS)
ADAM = AdamOptimizerFactory(lr=LR)
NOISE_SEED = 5
Weights = dict[str, list[torch.Tensor]]


def make(name: str, **changes: Any) -> Any:
    """Return our algorithm; all learning rates are the same, so one optimizer stands for several."""
    problem = DISCRETE if changes.pop("discrete", False) else BOX
    algorithm_class = load_algorithm(name, problem.actions.kind)
    known = algorithm_class.config_class().to_json()
    common = {"hidden_sizes": HIDDEN, "norm_obs": False, "gamma": GAMMA, "tau": TAU, "adam_eps": 1e-8}
    rates = {rate: LR for rate in known if rate.endswith("lr")}
    asked = {name: value for name, value in {**common, **rates}.items() if name in known}
    torch.manual_seed(1)
    algorithm = algorithm_class(
        problem, algorithm_class.config_class(**{**asked, **changes}), np.random.default_rng(0), CPU
    )
    algorithm.noise._generator.manual_seed(NOISE_SEED)
    return algorithm


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def fill(theirs: nn.Module, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy weights into Tianshou's linear layers, in the order in which they were made."""
    for target, (weight, bias) in zip(linears(theirs), layers, strict=True):
        target.weight.data.copy_(weight)
        target.bias.data.copy_(bias)


def layers_of(module: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in linears(module)]


def member_layers(critics: Any, number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the layers of one critic, as torch's linear layers keep them."""
    layers = [*critics.hidden, critics.last]
    return [(layer.weight[number].detach().T.clone(), layer.bias[number, 0].detach().clone()) for layer in layers]


def halves(layers: list[tuple[torch.Tensor, torch.Tensor]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Cut the last layer into the two that Tianshou has: mean and spread."""
    weight, bias = layers[-1]
    return [*layers[:-1], *zip(weight.chunk(2), bias.chunk(2), strict=True)]


def their_buffer(batch: TransitionBatch) -> ReplayBuffer:
    """Return the batch as a buffer of one-step episodes: terminated where the discount is 0, else cut off."""
    buffer = ReplayBuffer(size=SIZE)
    for row in range(SIZE):
        terminated = bool(batch.discounts[row] == 0)
        buffer.add(
            Batch(
                obs=batch.observations[row].numpy(),
                act=batch.actions[row].numpy(),
                rew=float(batch.rewards[row]),
                terminated=terminated,
                truncated=not terminated,
                obs_next=batch.next_observations[row].numpy(),
                info={},
            )
        )
    return buffer


def single(batch: TransitionBatch) -> TransitionBatch:
    return batch.map(lambda value: value.float() if value.is_floating_point() else value)


def update_theirs(theirs: Any, batch: TransitionBatch) -> Any:
    """Let Tianshou preprocess the batch and update, as its trainer does, with the noise that we draw."""
    buffer = their_buffer(batch)
    theirs.policy.is_within_training_step = True
    torch.manual_seed(NOISE_SEED)
    indices = np.arange(SIZE)
    drawn = theirs._preprocess_batch(buffer[indices], buffer, indices)
    # Tianshou has no word for a timeout in these updates: only real ends stop its bootstrapping here.
    drawn.done = drawn.terminated
    return theirs._update_with_batch(drawn)


def assert_moved_alike(
    before: list[tuple[torch.Tensor, torch.Tensor]],
    ours: list[tuple[torch.Tensor, torch.Tensor]],
    theirs: list[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """Compare the changes of all weights: their distance must be below 1e-4 of their size."""
    old, mine, other = (
        torch.cat([part.flatten() for layer in layers for part in layer]) for layers in (before, ours, theirs)
    )
    assert (other - old).norm() > 0
    assert (mine - other).norm() / (other - old).norm() < 1e-4


def alike(found: torch.Tensor, expected: float) -> None:
    assert found.item() == pytest.approx(expected, rel=1e-4)


def compare(
    ours: Any, theirs: Any, batch: TransitionBatch, pairs: Mapping[str, tuple[Callable[[], Any], nn.Module]]
) -> tuple[dict[str, torch.Tensor], Any]:
    """Update both and compare how the named networks move; return what both report."""
    before = {name: layers() for name, (layers, _) in pairs.items()}
    metrics = ours.update(batch)
    report = update_theirs(theirs, batch)
    for name, (layers, network) in pairs.items():
        assert_moved_alike(before[name], layers(), layers_of(network))
    return metrics, report


def filled_critics(critics: Any) -> list[nn.Module]:
    """Return Tianshou's twin critics with the weights of ours."""
    made = [critic(INPUTS, ELEMENTS, HIDDEN) for _ in range(2)]
    for number, theirs in enumerate(made):
        fill(theirs, member_layers(critics, number))
    return made


def filled_actor(ours: nn.Module) -> ContinuousActorDeterministic:
    body = Net(state_shape=INPUTS, hidden_sizes=HIDDEN)
    made = ContinuousActorDeterministic(preprocess_net=body, action_shape=(ELEMENTS,))
    fill(made, layers_of(ours))
    return made


def gaussian_actor(ours: Any) -> ContinuousActorProbabilistic:
    body = Net(state_shape=INPUTS, hidden_sizes=HIDDEN)
    made = ContinuousActorProbabilistic(
        preprocess_net=body, action_shape=(ELEMENTS,), unbounded=True, conditioned_sigma=True
    )
    fill(made, halves(layers_of(ours.actor)))
    return made


class Head(nn.Module):
    """A stack of linear layers with Tianshou's signature."""

    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for layer in linears(ours):
            made += [nn.Linear(layer.in_features, layer.out_features), nn.ReLU()]
        self.layers = nn.Sequential(*made[:-1])
        fill(self, layers_of(ours))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[torch.Tensor, Any]:
        return self.layers(torch.as_tensor(obs, dtype=torch.float32)), state


class Values(Head):
    def forward(self, obs: Any) -> torch.Tensor:  # type: ignore[override]
        return super().forward(obs)[0]


class Quantiles(Head):
    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[torch.Tensor, Any]:
        return super().forward(obs)[0].view(-1, ACTIONS, 5), state


def test_discrete_il() -> None:
    ours = make("il", discrete=True)
    actor = Head(ours.network)
    theirs = OfflineImitationLearning(policy=ImitationPolicy(actor=actor, action_space=DISCRETE_SPACE), optim=ADAM)
    batch = single(discrete_batch(0))
    metrics, report = compare(ours, theirs, batch, {"actor": (lambda: layers_of(ours.network), actor)})
    alike(metrics["loss"], report.loss)


def test_continuous_il() -> None:
    ours = make("il")
    actor = filled_actor(ours.actor)
    theirs = OfflineImitationLearning(policy=ImitationPolicy(actor=actor, action_space=BOX_SPACE), optim=ADAM)
    metrics, report = compare(ours, theirs, single(box_batch(0)), {"actor": (lambda: layers_of(ours.actor), actor)})
    alike(metrics["loss"], report.loss)


def test_discrete_bcq() -> None:
    ours = make("bcq", discrete=True, eps_inference=0.0)
    value, imitator = Head(ours.network.value_head), Head(ours.network.policy_head)
    theirs = DiscreteBCQ(
        policy=DiscreteBCQPolicy(model=value, imitator=imitator, action_space=DISCRETE_SPACE),
        optim=ADAM,
        gamma=GAMMA,
    )
    pairs = {
        "value": (lambda: layers_of(ours.network.value_head), value),
        "imitator": (lambda: layers_of(ours.network.policy_head), imitator),
    }
    metrics, report = compare(ours, theirs, single(discrete_batch(1)), pairs)
    alike(metrics["loss"], report.loss)
    alike(metrics["value_loss"], report.q_loss)
    alike(metrics["imitation_loss"], report.i_loss)


@pytest.mark.parametrize("name", ["qrdqn", "cql"])
def test_qrdqn_and_discrete_cql(name: str) -> None:
    weight = {"min_q_weight": 3.0} if name == "cql" else {}
    ours = make(name, discrete=True, num_quantiles=5, double_q=True, **weight)
    model = Quantiles(ours.network)
    their_class = DiscreteCQL if name == "cql" else QRDQN
    theirs = their_class(
        policy=QRDQNPolicy(model=model, action_space=DISCRETE_SPACE),
        optim=ADAM,
        gamma=GAMMA,
        num_quantiles=5,
        target_update_freq=100,
        **weight,
    )
    pairs = {"network": (lambda: layers_of(ours.network), model)}
    metrics, report = compare(ours, theirs, single(discrete_batch(2)), pairs)
    alike(metrics["loss"], report.loss)
    if weight:
        alike(metrics["gap"], report.cql_loss)


def crr_pair(advantage: str, beta: float, min_q_weight: float) -> tuple[Any, Any, Head, Values]:
    ours = make("crr", discrete=True, advantage=advantage, beta=beta, min_q_weight=min_q_weight)
    actor, values = Head(ours.network.policy_head), Values(ours.network.value_head)
    theirs = TheirCRR(
        policy=DiscreteActorPolicy(actor=actor, action_space=DISCRETE_SPACE),
        critic=values,
        optim=ADAM,
        gamma=GAMMA,
        policy_improvement_mode=advantage,
        beta=beta,
        min_q_weight=min_q_weight,
        target_update_freq=100,
    )
    return ours, theirs, actor, values


@pytest.mark.parametrize("min_q_weight", [0.0, 2.0])
def test_crr_where_all_weights_are_one(min_q_weight: float) -> None:
    ours, theirs, actor, values = crr_pair("exp", 1e12, min_q_weight)
    pairs = {
        "actor": (lambda: layers_of(ours.network.policy_head), actor),
        "critic": (lambda: layers_of(ours.network.value_head), values),
    }
    metrics, report = compare(ours, theirs, single(discrete_batch(3)), pairs)
    alike(metrics["loss"], report.loss)
    alike(metrics["actor_loss"], report.actor_loss)
    alike(metrics["critic_loss"], report.critic_loss)
    alike(metrics["gap"], report.cql_loss)


@pytest.mark.parametrize("advantage", ["exp", "binary"])
def test_tianshous_crr_weighs_every_action_by_the_mean_weight(advantage: str) -> None:
    ours, theirs, _, _ = crr_pair(advantage, 0.3, 0.0)
    batch = single(discrete_batch(4))
    with torch.no_grad():
        mean_surprise = nn.functional.cross_entropy(ours.action_scores(batch.observations), batch.actions)
    metrics, report = ours.update(batch), update_theirs(theirs, batch)
    alike(metrics["critic_loss"], report.critic_loss)
    alike(metrics["mean_weight"] * mean_surprise, report.actor_loss)  # (B,) times (B, 1) there
    assert metrics["actor_loss"].item() != pytest.approx(report.actor_loss, rel=1e-3)


def test_tianshous_crr_moves_the_critic_by_the_actors_loss_too() -> None:
    ours, theirs, _, values = crr_pair("exp", 0.3, 0.0)
    batch = single(discrete_batch(4))
    before = layers_of(values)
    metrics, report = ours.update(batch), update_theirs(theirs, batch)
    alike(metrics["critic_loss"], report.critic_loss)
    with pytest.raises(AssertionError):
        assert_moved_alike(before, layers_of(ours.network.value_head), layers_of(values))


def test_td3_bc() -> None:
    ours = make("td3-bc", clips_target_actions=False)
    ours.num_updates = 1  # Tianshou's actor learns in its first update, ours in the second
    actor = filled_actor(ours.actor)
    critics = filled_critics(ours.critics)
    theirs = TD3BC(
        policy=ContinuousDeterministicPolicy(actor=actor, action_space=BOX_SPACE),
        policy_optim=ADAM,
        critic=critics[0],
        critic_optim=ADAM,
        critic2=critics[1],
        tau=TAU,
        gamma=GAMMA,
    )
    pairs = {
        "actor": (lambda: layers_of(ours.actor), actor),
        "critic": (lambda: member_layers(ours.critics, 0), critics[0]),
        "critic2": (lambda: member_layers(ours.critics, 1), critics[1]),
        "target actor": (lambda: layers_of(ours.target_actor), theirs.actor_old),
        "target critic": (lambda: member_layers(ours.target_critics, 0), theirs.critic_old),
    }
    metrics, report = compare(ours, theirs, single(box_batch(5)), pairs)
    alike(metrics["critic_loss"], report.critic1_loss + report.critic2_loss)
    alike(metrics["actor_loss"], report.actor_loss)


def bcq_pair(perturbs_targets: bool) -> tuple[Any, Any, Any, list[Any], Any]:
    ours = make("bcq", perturbs_targets=perturbs_targets, vae_hidden_sizes=HIDDEN)
    actor, vae = perturbation(INPUTS, ELEMENTS, HIDDEN), autoencoder(INPUTS, ELEMENTS, HIDDEN)
    fill(actor, layers_of(ours.perturbation))
    encoder = halves(layers_of(ours.vae.encoder))
    fill(vae.encoder, encoder[:-2])
    fill(vae.mean, encoder[-2:-1])
    fill(vae.log_std, encoder[-1:])
    fill(vae.decoder, layers_of(ours.vae.decoder))
    critics = filled_critics(ours.critics)
    theirs = BCQ(
        policy=BCQPolicy(actor_perturbation=actor, action_space=BOX_SPACE, critic=critics[0], vae=vae),
        actor_perturbation_optim=ADAM,
        critic_optim=ADAM,
        vae_optim=ADAM,
        critic2=critics[1],
        gamma=GAMMA,
        tau=TAU,
    )
    return ours, theirs, actor, critics, vae


def test_continuous_bcq() -> None:
    ours, theirs, actor, critics, vae = bcq_pair(perturbs_targets=False)
    pairs = {
        "perturbation": (lambda: layers_of(ours.perturbation), actor),
        "critic": (lambda: member_layers(ours.critics, 0), critics[0]),
        "critic2": (lambda: member_layers(ours.critics, 1), critics[1]),
        "decoder": (lambda: layers_of(ours.vae.decoder), vae.decoder),
        "encoder": (lambda: halves(layers_of(ours.vae.encoder))[:-2], vae.encoder),
        "target critic": (lambda: member_layers(ours.target_critics, 0), theirs.critic_target),
    }
    metrics, report = compare(ours, theirs, single(box_batch(6)), pairs)
    alike(metrics["vae_loss"], report.vae_loss)
    alike(metrics["critic_loss"], report.critic1_loss + report.critic2_loss)
    alike(metrics["actor_loss"], report.actor_loss)


def test_tianshous_bcq_does_not_perturb_targets() -> None:
    ours, theirs, *_ = bcq_pair(perturbs_targets=True)
    batch = single(box_batch(6))
    metrics, report = ours.update(batch), update_theirs(theirs, batch)
    alike(metrics["vae_loss"], report.vae_loss)
    assert metrics["critic_loss"].item() != pytest.approx(report.critic1_loss + report.critic2_loss, rel=1e-6)


def sac_parts(ours: Any) -> dict[str, Any]:
    policy = SACPolicy(actor=gaussian_actor(ours), action_space=BOX_SPACE)
    critics = filled_critics(ours.critics)
    return {
        "policy": policy,
        "policy_optim": ADAM,
        "critic": critics[0],
        "critic_optim": ADAM,
        "critic2": critics[1],
        "tau": TAU,
        "gamma": GAMMA,
        "alpha": AutoAlpha(-float(ELEMENTS), 0.0, ADAM),
    }


def sac_pairs(ours: Any, theirs: Any) -> dict[str, tuple[Callable[[], Any], nn.Module]]:
    return {
        "actor": (lambda: halves(layers_of(ours.actor)), theirs.policy.actor),
        "critic": (lambda: member_layers(ours.critics, 0), theirs.critic),
        "critic2": (lambda: member_layers(ours.critics, 1), theirs.critic2),
        "target critic": (lambda: member_layers(ours.target_critics, 0), theirs.critic_old),
    }


def test_sac() -> None:
    ours = make("sac")
    theirs = SAC(**sac_parts(ours))
    metrics, report = compare(ours, theirs, single(box_batch(7)), sac_pairs(ours, theirs))
    alike(metrics["critic_loss"], report.critic1_loss + report.critic2_loss)
    alike(metrics["actor_loss"], report.actor_loss)
    alike(metrics["alpha"], report.alpha)


def cql_pair(num_sampled_actions: int, lagrange: bool, min_action: float = 1.0) -> tuple[Any, Any]:
    ours = make(
        "cql",
        num_sampled_actions=num_sampled_actions,
        with_lagrange=lagrange,
        lagrange_threshold=2.0,
        min_q_weight=1.5,
        backs_up_entropy=True,
        max_grad_norm=1.0,
    )
    theirs = CQL(
        **sac_parts(ours),
        cql_alpha_lr=LR,
        cql_weight=1.5,
        with_lagrange=lagrange,
        lagrange_threshold=2.0,
        # Its uniform actions run from minus `min_action` to `max_action`.
        min_action=min_action,
        num_repeat_actions=num_sampled_actions,
        calibrated=False,
    )
    return ours, theirs


@pytest.mark.parametrize("lagrange", [False, True])
def test_continuous_cql_with_one_sampled_action(lagrange: bool) -> None:
    ours, theirs = cql_pair(1, lagrange)
    metrics, report = compare(ours, theirs, single(box_batch(8)), sac_pairs(ours, theirs))
    alike(metrics["critic_loss"], report.critic1_loss + report.critic2_loss)
    alike(metrics["actor_loss"], report.actor_loss)
    if lagrange:
        alike(ours.multiplier.log, theirs.cql_log_alpha.item())


def test_tianshous_cql_takes_the_sum_over_three_actions_however_many_are_sampled() -> None:
    gaps = {}
    for count in (1, 10):
        ours, theirs = cql_pair(count, lagrange=False)
        batch = single(box_batch(9))
        metrics, report = ours.update(batch), update_theirs(theirs, batch)
        gaps[count] = (metrics["critic_loss"].item() - report.critic1_loss - report.critic2_loss) / 1.5 / 2
    assert gaps[1] == pytest.approx(0.0, abs=1e-4)
    assert gaps[10] == pytest.approx(np.log(10), abs=0.3)  # the sum of 30 against the mean of sums of 3


def test_tianshous_cql_samples_one_corner_with_the_bounds_of_a_task() -> None:
    drawn = []
    _, theirs = cql_pair(4, lagrange=False, min_action=-1.0)
    calculate = theirs._calc_random_values

    def spy(observations: torch.Tensor, actions: torch.Tensor) -> Any:
        drawn.append(actions)
        return calculate(observations, actions)

    theirs._calc_random_values = spy
    update_theirs(theirs, single(box_batch(9)))
    assert (drawn[0] == 1.0).all()
