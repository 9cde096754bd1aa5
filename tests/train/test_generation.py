"""Recording policies from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import rlbuffers
import rlbuffers_train
from rlbuffers.errors import BufferExistsError, UsageError
from rlbuffers.schema import EPISODE_WHOLE
from rlbuffers_cli.main import cli
from rlbuffers_train import POLICY, RunSummary, TrainingInterrupted, TrainingRequest, train_online
from rlbuffers_train.running.reporting import Progress, SilentReporter

TASK = "CartPole-v1"
SETTINGS = {"epoch": 1, "step_per_epoch": 300, "eval_episodes": 1}


class Right:
    """A policy of nobody's: a cart that is pushed to the right."""

    def act(self, observations: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.ones(len(observations), np.int64)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logdir = tmp_path_factory.mktemp("trained") / "run"
    hyperparameters = {"hidden_sizes": (8,), "batch_size": 8}
    request = TrainingRequest("qrdqn", task=TASK, logdir=logdir, settings=SETTINGS, hyperparameters=hyperparameters)
    train_online(request)
    return logdir


@pytest.mark.parametrize(
    "arguments",
    [
        {"resume_path": None, "eps": 0.3, "seed": 4, "buffer_size": 203, "num_envs": 3},
        {"resume_path": None, "seed": 5, "buffer_size": 100, "level": "medium"},
        {"level": "random", "policy": "sac", "buffer_size": 150},
        {"level": "random", "task": TASK, "buffer_size": 60, "seed": 2},
    ],
)
def test_the_function_makes_what_the_command_makes(arguments: dict[str, Any], run: Path, tmp_path: Path) -> None:
    if "resume_path" in arguments:
        arguments = {**arguments, "resume_path": run}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    result = CliRunner().invoke(cli, ["generate", f"--output={tmp_path / 'a.hdf5'}", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    seen: list[tuple[int, int | None, int]] = []
    recorded = rlbuffers_train.generate(
        tmp_path / "b.zarr", **arguments, on_progress=lambda *numbers: seen.append(numbers)
    )
    with rlbuffers.open(tmp_path / "a.hdf5") as by_command, rlbuffers.open(recorded.path) as by_function:
        assert by_command.fingerprint == by_function.fingerprint == recorded.fingerprint
        assert by_command.metadata["behavior_policy"] == by_function.metadata["behavior_policy"]
        whole = by_function.arrays[EPISODE_WHOLE].all()
        returns = [episode["rewards"].sum() for episode in by_function.episodes()]
    size = arguments["buffer_size"]
    assert (recorded.transitions, recorded.episodes, recorded.whole_episodes) == (size, len(returns), whole.sum())
    if whole.any():
        expected = np.array(returns, np.float64)[whole]
        np.testing.assert_allclose([recorded.mean_return, recorded.std_return], [expected.mean(), expected.std()])
    assert seen[-1] == (size, size, size)
    assert f"{size} transitions" in result.output


def test_any_object_that_acts_can_be_recorded() -> None:
    recorded = rlbuffers_train.generate("memory:right", policy=Right(), task=TASK, buffer_size=90, num_envs=2, seed=3)
    with rlbuffers.open("memory:right") as buffer:
        assert (buffer.rows(range(90), ["actions"])["actions"] == 1).all()
        assert buffer.metadata["behavior_policy"] == {"name": "Right"}
        assert buffer.fingerprint == recorded.fingerprint
        # A cart that is always pushed to one side falls within 11 steps.
        assert recorded.mean_return is not None
        assert 5 < recorded.mean_return <= 11


def test_a_loaded_policy_says_what_it_is(run: Path) -> None:
    policy = rlbuffers_train.load_policy(run, eps=0.25, generator=np.random.default_rng(0))
    rlbuffers_train.generate("memory:loaded", policy=policy, buffer_size=20, level="medium")
    with rlbuffers.open("memory:loaded") as buffer:
        behavior = buffer.metadata["behavior_policy"]
        assert (behavior["name"], behavior["level"], behavior["epsilon"]) == ("qrdqn", "medium", 0.25)
        assert behavior["checkpoint_sha256"] == policy.checkpoint_sha256
        assert buffer.metadata["environment"]["id"] == TASK


def short_training(request: TrainingRequest, *others: Any) -> RunSummary:
    short = {"step_per_epoch": 90, "epoch": 1, "num_envs": 3, "random_steps": 40, "min_history": 20, "eval_episodes": 1}
    hyperparameters = {"hidden_sizes": (8,), "batch_size": 8}
    return train_online(
        replace(request, settings={**request.settings, **short}, hyperparameters=hyperparameters), *others
    )


@pytest.mark.parametrize("level", ["medium-replay", "expert"])
def test_what_is_trained_first_is_recorded(
    level: str, aim_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("rlbuffers_train.generation.train_online", short_training)
    size = {} if level == "medium-replay" else {"buffer_size": 75, "num_envs": 3}
    arguments: dict[str, Any] = {"policy": "sac", "task": aim_task, "level": level, "stop_at": 0.0, "seed": 3, **size}
    recorded = rlbuffers_train.generate(tmp_path / "a.hdf5", **arguments)
    assert (recorded.transitions, recorded.episodes, recorded.whole_episodes) == (75, 15, 15)  # 5 steps each
    words = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
    result = CliRunner().invoke(cli, ["generate", f"--output={tmp_path / 'b.hdf5'}", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with rlbuffers.open(tmp_path / "a.hdf5") as ours, rlbuffers.open(tmp_path / "b.hdf5") as by_command:
        assert ours.fingerprint == by_command.fingerprint == recorded.fingerprint
        assert ours.metadata["behavior_policy"]["level"] == level
        assert ours.metadata["behavior_policy"] == by_command.metadata["behavior_policy"]
    trained = list((tmp_path / ".rl_unplugged" / "runs" / aim_task / "sac").iterdir())
    assert all((folder / POLICY).exists() for folder in trained)
    if level == "expert":  # the command went on with the training of the function, which was at its end
        assert [folder.name for folder in trained] == ["expert-seed3"]


def test_a_training_that_is_stopped_leaves_no_buffer(
    aim_task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    class Stops(SilentReporter):
        def progress(self, progress: Progress) -> None:
            raise TrainingInterrupted

    arguments: dict[str, Any] = {"policy": "sac", "task": aim_task, "level": "medium-replay", "stop_at": 0.0}
    with pytest.raises(TrainingInterrupted, match=r"no buffer was written\. Run it again to begin anew"):
        rlbuffers_train.generate(tmp_path / "replay.hdf5", **arguments, reporter=Stops())
    assert not list(tmp_path.glob("*.hdf5*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "best"}, "level 'best': expected one of random, medium"),
        ({"policy": "bcq"}, "policy 'bcq': expected one of qrdqn, sac"),
        ({"policy": 7}, "policy: expected a name, or an object with a method act, got 7"),
        ({"policy": Right()}, "task: name the environment"),
        ({"policy": Right(), "task": TASK, "eps": 0.1}, "eps has no effect: policy acts as it does; leave it out"),
        ({"policy": Right(), "task": TASK, "level": "random"}, "level has no effect"),
        ({"level": "medium-replay", "buffer_size": 10}, "buffer_size has no effect: medium-replay is what a training"),
        ({"level": "medium", "policy": "sac"}, "pass stop_at"),
        ({"eps": 1.5}, r"eps must lie in \[0, 1\], got 1.5"),
        ({"buffer_size": 0}, "buffer_size 0: expected 1 or more"),
        ({"num_envs": -1}, "num_envs -1: expected 1 or more"),
        ({"seed": 2**30}, "seed 1073741824: expected 0 to 1073741823"),
        ({"seed": -1}, "seed -1: expected 0 to"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=message):
        rlbuffers_train.generate(tmp_path / "x.hdf5", **arguments)
    assert not list(tmp_path.iterdir())


def test_names_of_buffers_are_checked_first(run: Path, tmp_path: Path) -> None:
    (tmp_path / "there.hdf5").write_bytes(b"kept")
    with pytest.raises(BufferExistsError, match=r"there\.hdf5: exists already; pass overwrite to replace it"):
        rlbuffers_train.generate(tmp_path / "there.hdf5")
    assert (tmp_path / "there.hdf5").read_bytes() == b"kept"
    with pytest.raises(UsageError, match="must end in"):
        rlbuffers_train.generate(tmp_path / "there.txt")
    with pytest.raises(UsageError, match="path: name the buffer"):
        rlbuffers_train.generate(policy=Right(), task=TASK)
    with pytest.raises(UsageError, match="is a policy of qrdqn, not of sac; leave policy out"):
        rlbuffers_train.generate(tmp_path / "x.hdf5", policy="sac", resume_path=run)
    with pytest.raises(UsageError, match="stop_at has no effect: resume_path names a policy"):
        rlbuffers_train.generate(tmp_path / "x.hdf5", stop_at=5.0, resume_path=run)
