"""Behavior policies of each level, and the buffer of all that a training played."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import rlbuffers
from rlbuffers.errors import UsageError
from rlbuffers.schema import EPISODE_WHOLE
from rlbuffers_cli.main import cli
from rlbuffers_train import train_online
from rlbuffers_train.levels import medium_return
from rlbuffers_train.loaded_policy import untrained_policy
from rlbuffers_train.replay_recorder import ReplayRecorder
from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {"epoch": 1, "step_per_epoch": 90, "num_envs": 3, "random_steps": 40, "min_history": 20, "eval_episodes": 1}
SMALL = {"hidden_sizes": (8,), "batch_size": 8}


def run(home: Path, *words: str) -> Result:
    return CliRunner(env={"HOME": str(home)}).invoke(cli, ["generate", *words], catch_exceptions=False)


def test_a_medium_return_lies_a_third_of_the_way() -> None:
    assert medium_return("HalfCheetah-v5") == pytest.approx(-280.178953 + (12135.0 + 280.178953) / 3)
    with pytest.raises(UsageError, match="what an expert reaches in Pendulum-v1 is not known; pass stop_at"):
        medium_return("Pendulum-v1")


def test_everything_that_training_played_is_recorded(aim_task: str, tmp_path: Path) -> None:
    path = tmp_path / "replay.hdf5"
    request = TrainingRequest(
        "sac", task=aim_task, logdir=tmp_path / "run", settings=SETTINGS, hyperparameters=SMALL, device="cpu"
    )
    with ReplayRecorder(path, aim_task, {"name": "sac"}) as recorder:
        train_online(request, recorder=recorder)
    with rlbuffers.open(path) as buffer:
        # 30 steps of 3 environments: an episode takes 5 and a step for the reset that follows.
        assert len(buffer) == 3 * 5 * 5
        assert buffer.num_episodes == 15
        assert buffer.arrays[EPISODE_WHOLE].all().all()
        for episode in buffer.episodes():
            assert len(episode["actions"]) == 5
            assert episode["timeouts"].tolist() == [False] * 4 + [True]
            aimed = 2 * episode["observations"][:-1]
            np.testing.assert_allclose(episode["rewards"], -((episode["actions"] - aimed)[:, 0] ** 2), rtol=1e-4)
        assert buffer.spec.columns["actions"].space == {"type": "box", "low": -2.0, "high": 2.0}
    assert rlbuffers.validate(path).ok


def test_an_episode_that_is_cut_says_so(aim_task: str, tmp_path: Path) -> None:
    request = TrainingRequest(
        "sac",
        task=aim_task,
        logdir=tmp_path / "run",
        settings={**SETTINGS, "step_per_epoch": 99},
        hyperparameters=SMALL,
        device="cpu",
    )
    with ReplayRecorder(tmp_path / "replay.zarr", aim_task, {"name": "sac"}) as recorder:
        train_online(request, recorder=recorder)
    with rlbuffers.open(tmp_path / "replay.zarr") as buffer:
        whole = buffer.arrays[EPISODE_WHOLE].all()
        assert whole.sum() == 15
        cut = [episode for episode, is_whole in zip(buffer.episodes(), whole, strict=True) if not is_whole]
        assert [len(episode["actions"]) for episode in cut] == [3, 3, 3]
        assert all(episode["timeouts"].tolist() == [False, False, True] for episode in cut)


def test_an_error_leaves_no_buffer(aim_task: str, tmp_path: Path) -> None:
    def break_off() -> None:
        with ReplayRecorder(tmp_path / "replay.hdf5", aim_task, {"name": "sac"}) as recorder:
            recorder.begin(np.zeros((1, 1), np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert not list(tmp_path.iterdir())


def test_games_are_not_recorded_as_training_sees_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="training clips rewards"):
        ReplayRecorder(tmp_path / "b.hdf5", "PongNoFrameskip-v4", {})


def test_an_untrained_policy_draws_from_its_distribution(aim_task: str) -> None:
    policy = untrained_policy("sac", aim_task, seed=1, eps=0.0, generator=np.random.default_rng(0))
    actions = policy.act(np.zeros((500, 1), np.float32))
    assert actions.std() > 0.3
    assert (policy.task, policy.checkpoint_sha256) == (None, None)


def test_random_level_from_the_command(aim_task: str, tmp_path: Path) -> None:
    result = run(tmp_path, "--policy", "sac", "--level", "random", "--task", aim_task, "--buffer-size", "200")
    assert result.exit_code == 0, result.output
    path = tmp_path / ".rl_unplugged" / "buffers" / aim_task / "sac-random.hdf5"
    with rlbuffers.open(path) as buffer:
        assert len(buffer) == 200
        behavior = buffer.metadata["behavior_policy"]
        assert (behavior["name"], behavior["level"], behavior["epsilon"]) == ("sac", "random", 0.0)
        assert json.loads(json.dumps(behavior)) == behavior
    assert rlbuffers.validate(path).ok


def test_medium_needs_to_know_where_to_stop(aim_task: str, tmp_path: Path) -> None:
    result = run(tmp_path, "--policy", "sac", "--level", "medium", "--task", aim_task)
    assert result.exit_code == 2
    assert "pass --stop-at" in result.output
    assert not (tmp_path / ".rl_unplugged").exists()
