"""Gradient steps of Tianshou's algorithms from its own replay buffer, with the networks and values of its examples.

.venv-peers/bin/python benchmarks/peers/tianshou_training.py DATA.npz BATCH_SIZE ALGORITHM

The networks are those of its offline examples; nothing of what follows an update there (moving averages, logs) is done.
"""

import warnings

import numpy as np
import torch
from answering import STACK, answer, arguments
from gymnasium.spaces import Box, Discrete
from tianshou_networks import autoencoder, critic, perturbation

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tianshou.algorithm import BCQ, CQL, QRDQN, TD3BC, DiscreteBCQ, DiscreteCQL, DiscreteCRR
    from tianshou.algorithm.imitation.bcq import BCQPolicy
    from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
    from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
    from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
    from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, ReplayBuffer
    from tianshou.env.atari.atari_network import DQNet, QRDQNet
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorDeterministic, ContinuousActorProbabilistic
    from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
    from tianshou.utils.torch_utils import policy_within_training_step

HIDDEN = [256, 256]
VAE_HIDDEN = [512, 512]
GAMMA, TAU = 0.99, 0.005
FRAME = 84
THEIR_NAMES = {
    "observations": "obs",
    "next_observations": "obs_next",
    "actions": "act",
    "rewards": "rew",
    "terminals": "terminated",
    "timeouts": "truncated",
}


def adam(lr):
    """Return what makes Adam."""
    return AdamOptimizerFactory(lr=lr)


def deterministic_actor(inputs, elements):
    """Return an actor for vectors."""
    body = Net(state_shape=inputs, action_shape=elements, hidden_sizes=HIDDEN)
    return ContinuousActorDeterministic(preprocess_net=body, action_shape=(elements,), max_action=1.0)


def vectors(name, inputs, elements):
    """Return the algorithm of `d4rl_<name>.py`."""
    space = Box(-1.0, 1.0, (elements,), np.float32)
    if name == "il":
        policy = ImitationPolicy(actor=deterministic_actor(inputs, elements), action_space=space, action_scaling=True)
        return OfflineImitationLearning(policy=policy, optim=adam(1e-4))
    critics = {
        "critic": critic(inputs, elements, HIDDEN),
        "critic2": critic(inputs, elements, HIDDEN),
        "gamma": GAMMA,
        "tau": TAU,
    }
    if name == "td3-bc":
        policy = ContinuousDeterministicPolicy(actor=deterministic_actor(inputs, elements), action_space=space)
        return TD3BC(
            policy=policy,
            policy_optim=adam(3e-4),
            critic_optim=adam(3e-4),
            critic2_optim=adam(3e-4),
            policy_noise=0.2,
            update_actor_freq=2,
            noise_clip=0.5,
            alpha=2.5,
            n_step_return_horizon=3,
            **critics,
        )
    if name == "bcq":
        policy = BCQPolicy(
            actor_perturbation=perturbation(inputs, elements, HIDDEN),
            action_space=space,
            critic=critics.pop("critic"),
            vae=autoencoder(inputs, elements, VAE_HIDDEN),
        )
        return BCQ(
            policy=policy,
            actor_perturbation_optim=adam(1e-3),
            critic_optim=adam(1e-3),
            vae_optim=adam(1e-3),
            lmbda=0.75,
            **critics,
        )
    actor = ContinuousActorProbabilistic(
        preprocess_net=Net(state_shape=inputs, action_shape=elements, hidden_sizes=HIDDEN),
        action_shape=(elements,),
        unbounded=True,
        conditioned_sigma=True,
    )
    return CQL(
        policy=SACPolicy(actor=actor, action_space=space),
        policy_optim=adam(1e-4),
        critic_optim=adam(3e-4),
        critic2_optim=adam(3e-4),
        cql_alpha_lr=3e-4,
        cql_weight=1.0,
        alpha=AutoAlpha(-float(elements), 0.0, adam(1e-4)),
        temperature=1.0,
        with_lagrange=True,
        lagrange_threshold=10.0,
        min_action=-1.0,
        max_action=1.0,
        **critics,
    )


def frames(name, actions):
    """Return the algorithm of `atari_<name>.py`."""
    space = Discrete(actions)
    shape = {"c": STACK, "h": FRAME, "w": FRAME, "action_shape": actions}
    if name == "il":
        policy = ImitationPolicy(actor=DQNet(**shape), action_space=space)
        return OfflineImitationLearning(policy=policy, optim=adam(1e-4))
    if name in ("cql", "qrdqn"):
        policy = QRDQNPolicy(model=QRDQNet(num_quantiles=200, **shape), action_space=space)
        common = {
            "policy": policy,
            "optim": adam(1e-4),
            "gamma": GAMMA,
            "num_quantiles": 200,
            "target_update_freq": 500,
        }
        if name == "cql":
            return DiscreteCQL(min_q_weight=10.0, **common)
        return QRDQN(n_step_return_horizon=3, **common)
    body = DQNet(features_only=True, **shape)
    actor = DiscreteActor(preprocess_net=body, action_shape=actions, hidden_sizes=[512], softmax_output=False)
    if name == "bcq":
        imitator = DiscreteActor(preprocess_net=body, action_shape=actions, hidden_sizes=[512], softmax_output=False)
        policy = DiscreteBCQPolicy(
            model=actor,
            imitator=imitator,
            target_update_freq=8000,
            unlikely_action_threshold=0.3,
            action_space=space,
        )
        return DiscreteBCQ(policy=policy, optim=adam(6.25e-5), gamma=GAMMA, imitation_logits_penalty=0.01)
    return DiscreteCRR(
        policy=DiscreteActorPolicy(actor=actor, action_space=space),
        critic=DiscreteCritic(preprocess_net=body, hidden_sizes=[512], last_size=actions),
        optim=adam(1e-4),
        gamma=GAMMA,
        policy_improvement_mode="exp",
        min_q_weight=10.0,
        target_update_freq=500,
    )


def filled(data):
    """Return a buffer of the data: each frame once, or vectors with what follows."""
    columns = {THEIR_NAMES.get(name, name): values for name, values in data.items()}
    is_frames = "frames" in columns
    options = {"stack_num": STACK, "ignore_obs_next": True, "save_only_last_obs": True} if is_frames else {}
    buffer = ReplayBuffer(len(columns["rew"]), **options)
    for row in range(len(columns["rew"])):
        step = {name: values[row] for name, values in columns.items()}
        if is_frames:
            step["obs"] = step["obs_next"] = step.pop("frames")[None]
        buffer.add(Batch(**step, info={}))
    return buffer


def main():
    """Fill the buffer, then answer."""
    data, batch_size, name = arguments()
    torch.manual_seed(0)
    if "frames" in data:
        algorithm = frames(name, int(data["actions"].max()) + 1)
    else:
        algorithm = vectors(name, data["observations"].shape[1], data["actions"].shape[1])
    buffer = filled(data)
    if name != "qrdqn":
        buffer = algorithm.process_buffer(buffer)

    def update():
        with policy_within_training_step(algorithm.policy):
            algorithm.update(buffer=buffer, sample_size=batch_size)

    answer(update)


if __name__ == "__main__":
    main()
