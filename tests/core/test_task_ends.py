"""What is known of tasks, held against the environments that are installed."""

from __future__ import annotations

import numpy as np
import pytest

from rlbuffers.environments import environment_facts, make_vector_env
from rlbuffers.sources.d4rl.datasets import all_datasets
from rlbuffers.sources.d4rl.facts import known_facts
from rlbuffers.task_ends import can_terminate, ending_facts, impossible_terminals

ENDLESS = ["HalfCheetah-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5", "HumanoidStandup-v5", "Pendulum-v1"]
ENDING = ["Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5", "CartPole-v1", "Acrobot-v1"]


@pytest.mark.parametrize("task", [*ENDLESS, "Hopper-v5", "CartPole-v1"])
def test_tasks_end_as_the_table_says(task):
    """Random play ends the others within some hundred steps."""
    envs = make_vector_env(task, 1, 0, training=False)
    envs.reset()
    ended = any(envs.step(envs.action_space.sample())[2].any() for _ in range(300))
    envs.close()
    assert ended is (can_terminate({"id": task}) is not False)


def test_what_is_recorded_decides_and_what_is_unknown_is_none():
    assert [can_terminate({"id": task}) for task in ENDLESS] == [False] * len(ENDLESS)
    assert [can_terminate({"id": task}) for task in ENDING] == [None] * len(ENDING)
    assert can_terminate({"id": "HalfCheetah-v5", "can_terminate": True}) is True
    assert can_terminate({"can_terminate": False}) is False
    assert can_terminate({}) is None
    assert can_terminate({"id": None, "suite": 3, "can_terminate": "no"}) is None
    for unlike in ("HalfCheetahBulletEnv-v0", "bullet-halfcheetah-random-v0", "dm_control/lqr-lqr_2_1-v0", "Pendulum"):
        assert can_terminate({"id": unlike}) is None
    for robot in ("AdroitHandDoor-v1", "FetchPickAndPlaceDense-v4", "HandManipulateBlock_BooleanTouchSensorsDense-v1"):
        assert can_terminate({"id": robot}) is False
    assert can_terminate({"id": "dm_control/cheetah-run-v0"}) is False
    assert can_terminate({"id": "cheetah_run", "suite": "RL Unplugged Control Suite"}) is False


def test_d4rl_knows_which_of_its_environments_never_terminate():
    endless = {
        found.id for found in all_datasets().values() if known_facts(found)["environment"].get("can_terminate") is False
    }
    assert {"halfcheetah-medium-v2", "maze2d-umaze-v1", "door-human-v0", "relocate-human-longhorizon-v1"} <= endless
    beginnings = ("halfcheetah-", "maze2d-", "door-", "hammer-", "relocate-")
    assert all(name.startswith(beginnings) for name in endless)
    assert all(name in endless for name in all_datasets() if name.startswith(beginnings))


def test_environments_that_are_played_say_it():
    assert environment_facts("Pendulum-v1")["can_terminate"] is False
    assert "can_terminate" not in environment_facts("CartPole-v1")


def test_terminals_that_cannot_be():
    cheetah = {"id": "HalfCheetah-v2"}
    assert impossible_terminals(cheetah, 0) == impossible_terminals({"id": "Hopper-v2"}, 3) == []
    (one,) = impossible_terminals(cheetah, 1)
    assert one.startswith("1 transition is terminal, but HalfCheetah-v2 never terminates.")
    (many,) = impossible_terminals({"can_terminate": False}, int(np.int64(1200)))
    assert many.startswith("1,200 transitions are terminal, but the task never terminates.")
    assert ending_facts(cheetah) == {"can_terminate": False}
    assert ending_facts({"id": "Hopper-v2"}) == {}
