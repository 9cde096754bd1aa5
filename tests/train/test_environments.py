"""What the docstring of `rlbuffers.environments` states, and what users see of mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from rlbuffers.environments import atari_task, environment_facts, make_vector_env, reward_threshold
from rlbuffers.errors import MissingDependencyError, UsageError

PONG, BREAKOUT = "PongNoFrameskip-v4", "BreakoutNoFrameskip-v4"


def play(task: str, num_steps: int, *, training: bool, seed: int = 3, num_envs: int = 2) -> dict[str, np.ndarray]:
    """Play random actions; row t of ``observations`` is what the actions of row t were chosen for."""
    envs = make_vector_env(task, num_envs, seed, training=training)
    rng = np.random.default_rng(0)
    observations, info = envs.reset()
    rows: dict[str, list[np.ndarray]] = {"observations": [observations.copy()]}
    for _ in range(num_steps):
        actions = rng.integers(0, envs.single_action_space.n, num_envs)
        observations, rewards, terminated, truncated, info = envs.step(actions)
        rows["observations"].append(observations)
        step = {"rewards": rewards, "terminated": terminated, "truncated": truncated, "lives": info.get("lives")}
        for name, value in step.items():
            rows.setdefault(name, []).append(value)
    envs.close()
    return {name: np.array(values) for name, values in rows.items()}


def test_cartpole_facts() -> None:
    facts = environment_facts("CartPole-v1")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["id"] == "CartPole-v1"
    assert facts["action_space"] == {"type": "discrete", "n": 2}
    assert (facts["observation_space"]["shape"], facts["observation_space"]["dtype"]) == ([4], "float32")
    assert facts["observation_space"]["low"][1] is None
    assert (facts["max_episode_steps"], facts["reward_threshold"], facts["rom_md5"]) == (500, 475.0, None)


def test_pong_facts() -> None:
    facts = environment_facts(PONG)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["action_space"] == {"type": "discrete", "n": 6}
    space = facts["observation_space"]
    assert (space["shape"], space["dtype"], space["low"], space["high"]) == ([4, 84, 84], "uint8", 0, 255)
    assert facts["preprocessing"]["sticky_action_probability"] == 0.0
    assert facts["preprocessing"]["frame_skip"] == 4
    assert facts["rom_md5"] == "60e0ea3cbe0913d39803477945e9e5ec"
    assert facts["max_episode_steps"] == 27_000
    assert set(facts["package_versions"]) == {"gymnasium", "ale-py"}
    assert reward_threshold(PONG) == 20.0
    assert reward_threshold(BREAKOUT) is None


def test_final_observation_comes_with_the_ending_step_and_the_reset_after_it() -> None:
    rows = play("CartPole-v1", 200, training=True)
    ends = rows["terminated"] | rows["truncated"]
    assert ends.any()
    for step, env in zip(*np.nonzero(ends[:-1]), strict=True):
        final, first = rows["observations"][step + 1][env], rows["observations"][step + 2][env]
        assert abs(final[0]) > 2.4 or abs(final[2]) > 0.2095
        assert (np.abs(first) <= 0.05).all()
        assert rows["rewards"][step + 1][env] == 0.0
        assert not ends[step + 1][env]


def test_atari_stacks_start_with_zeros_and_move_by_one_frame() -> None:
    rows = play(BREAKOUT, 250, training=False)
    observations, ends = rows["observations"], rows["terminated"] | rows["truncated"]
    assert ends.any()
    for env in range(2):
        follows_end = np.concatenate([[False], ends[:-1, env]])
        for step in range(250):
            before, after = observations[step][env], observations[step + 1][env]
            if follows_end[step]:
                assert not after[:3].any()
                assert after[3].any()
            else:
                np.testing.assert_array_equal(after[:3], before[1:])
    assert not observations[0][:, :3].any()


def test_a_lost_life_ends_an_episode_in_training_only() -> None:
    training, full = play(BREAKOUT, 150, training=True), play(BREAKOUT, 150, training=False)
    np.testing.assert_array_equal(training["lives"], full["lives"])
    np.testing.assert_array_equal(training["observations"], full["observations"])
    lost = np.diff(full["lives"], axis=0) < 0
    np.testing.assert_array_equal(training["terminated"][1:], lost)
    np.testing.assert_array_equal(full["terminated"][1:], lost & (full["lives"][1:] == 0))


def test_rewards_are_clipped_in_training_only() -> None:
    # The fourth row of bricks from below is the first that earns more than 1 point.
    task = "SpaceInvadersNoFrameskip-v4"
    training, full = play(task, 150, training=True), play(task, 150, training=False)
    assert full["rewards"].max() > 1
    np.testing.assert_array_equal(training["rewards"], np.sign(full["rewards"]))


@pytest.mark.parametrize("task", ["CartPole-v1", PONG])
def test_the_seed_decides_everything(task: str) -> None:
    first, second = play(task, 30, training=False, seed=5), play(task, 30, training=False, seed=5)
    other = play(task, 30, training=False, seed=2**40 + 6)
    np.testing.assert_array_equal(first["observations"], second["observations"])
    assert (first["observations"] != other["observations"]).any()


@pytest.mark.parametrize(
    ("task", "nearest"),
    [
        ("CartPole-v9", "CartPole-v1"),
        ("cartpole", "CartPole-v1"),
        ("Pong", PONG),
        ("ALE/Pong-v5", PONG),
        ("BreakotNoFrameskip-v4", BREAKOUT),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(task: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no task '{task}'; did you mean '{nearest}'\?"):
        make_vector_env(task, 1, 0, training=False)


def test_atari_task_of_a_bare_name() -> None:
    assert atari_task("MsPacman") == "MsPacmanNoFrameskip-v4"
    assert atari_task("CartPole-v1") is None


@pytest.mark.parametrize(
    ("task", "module", "extra"),
    [("CartPole-v1", "gymnasium", "train"), (PONG, "ale_py", "atari"), ("HalfCheetah-v5", "mujoco", "mujoco")],
)
def test_a_missing_package_names_the_extra(task: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = "gymnasium.envs.mujoco"  # asks for its package when it is imported first
    for name in [name for name in sys.modules if name.split(".")[0] == module or name.startswith(importing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"rlbuffers\[{extra}\]"):
        make_vector_env(task, 1, 0, training=False)


def test_mujoco_leaves_no_log_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert environment_facts("HalfCheetah-v5")["observation_space"]["shape"] == [17]
    assert not list(tmp_path.iterdir())
