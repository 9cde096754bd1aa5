"""Offline training as a whole: it learns, repeats itself, stops, resumes and refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import gymnasium
import numpy as np
import pytest
import torch
from nested import same

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec
from rlbuffers.errors import CorruptDataError, MissingDependencyError, UsageError
from rlbuffers_train.checkpoint import Checkpoint, build_algorithm, load_checkpoint, save_checkpoint
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.loaded_policy import load_policy
from rlbuffers_train.offline import train_offline
from rlbuffers_train.playing import evaluation_task
from rlbuffers_train.policy_export import export_policy
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.reporting import Progress, SilentReporter
from rlbuffers_train.running.run_config import read_config
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.trainer import TrainingDivergedError
from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {"epoch": 2, "update_per_epoch": 30, "eval_episodes": 4}
HYPERPARAMETERS = {"batch_size": 16, "hidden_sizes": (16,), "target_update_freq": 7, "lr": 0.01}


def request(buffer: Path, logdir: Path, **changes: Any) -> TrainingRequest:
    asked = TrainingRequest(
        "bcq", buffer=buffer, logdir=logdir, device="cpu", settings=SETTINGS, hyperparameters=HYPERPARAMETERS
    )
    return replace(asked, **changes)


def resume(run: Path, **changes: Any) -> TrainingRequest:
    return replace(TrainingRequest("bcq", resume_path=run / "last.pth", device="cpu"), **changes)


def last(logdir: Path) -> Checkpoint:
    return load_checkpoint(logdir / "last.pth", torch.device("cpu"))


class Listener(SilentReporter):
    """Keeps what it is told, and presses Ctrl-C when it is asked to."""

    def __init__(self, stop_when: Callable[[Progress], bool] = lambda progress: False) -> None:
        self.notes: list[str] = []
        self.records: list[EpochRecord] = []
        self.activities: list[tuple[int, str]] = []
        self._stop_when = stop_when

    def note(self, message: str) -> None:
        self.notes.append(message)

    def epoch_done(self, record: EpochRecord) -> None:
        self.records.append(record)

    def progress(self, progress: Progress) -> None:
        self.activities.append((progress.step, progress.activity))
        if self._stop_when(progress):
            self._stop_when = lambda progress: False
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_kept_in_memory_changes_no_weight(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer, listener = make_signal_buffer(), Listener()
    train_offline(request(buffer, tmp_path / "kept"), silent := Listener())
    # Paths may be text, as most would write them.
    train_offline(request(str(buffer), str(tmp_path / "read"), cache=0), listener)  # type: ignore[arg-type]
    assert same(last(tmp_path / "read").algorithm_state, last(tmp_path / "kept").algorithm_state)
    told = "read from the file each time, for want of --cache: "
    assert not any(note.startswith(told) for note in silent.notes)
    (note,) = [note for note in listener.notes if note.startswith(told)]
    assert {"observations", "actions"} <= set(note.removeprefix(told).split(", "))
    assert "stack_index" not in note


def test_bcq_learns_from_random_behavior(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    settings = {"epoch": 3, "update_per_epoch": 100, "eval_episodes": 10}
    listener = Listener()
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run", settings=settings), listener)
    assert summary.last is not None
    assert summary.best is not None
    assert summary.best.mean == summary.best.mean_length == 5.0
    assert summary.best.num_episodes == 10
    assert [record.epoch for record in listener.records] == [1, 2, 3]
    assert listener.records[-1].metrics["imitation_loss"] == pytest.approx(np.log(2), abs=0.1)


def test_a_run_leaves_its_files(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run"))
    names = {path.name.split(".out.")[0] for path in summary.logdir.iterdir()}
    assert names == {
        "config.yaml",
        "config.json",
        "last.pth",
        "best.pth",
        "learning_curve.png",
        "summary.json",
        "events",
    }
    assert (summary.logdir / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((summary.logdir / "summary.json").read_text()) == summary.to_json()
    config = json.loads((summary.logdir / "config.json").read_text())
    others = {"buffer": str(tmp_path / "signal.hdf5"), "seed": 0, "clip_rewards": False, "norm_rewards": False}
    others |= {"precision": "float32", "compile": False, "threads": 0, "onednn": "auto"}
    others |= dict.fromkeys(["num_actions", "first_action", "action_low", "action_high"])
    assert config["settings"] == {**others, **SETTINGS}
    assert config["hyperparameters"]["hidden_sizes"] == [16]
    with rlbuffers.open(tmp_path / "signal.hdf5") as buffer:
        assert config["buffer_fingerprint"] == buffer.fingerprint == last(summary.logdir).buffer_fingerprint
    assert any("best epoch" in line for line in summary.lines())


def test_same_seed_same_weights(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for name, seed in (("first", 5), ("second", 5), ("other", 6)):
        train_offline(request(buffer, tmp_path / name, settings={**SETTINGS, "seed": seed}))
    first, second, other = (last(tmp_path / name) for name in ("first", "second", "other"))
    assert same(first.algorithm_state, second.algorithm_state)
    assert not same(first.algorithm_state["network"], other.algorithm_state["network"])


@pytest.mark.parametrize(
    "stop_when",
    [
        pytest.param(lambda progress: progress.step == 7, id="within-an-epoch"),
        pytest.param(lambda progress: progress.step == 30 and progress.activity == "training", id="at-its-end"),
        pytest.param(lambda progress: progress.activity == "evaluating", id="while-evaluating"),
        pytest.param(lambda progress: progress.step == 60 and progress.activity == "evaluating", id="last-evaluation"),
    ],
)
def test_resuming_equals_never_stopping(
    stop_when: Callable[[Progress], bool], make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    buffer = make_signal_buffer()
    whole = train_offline(request(buffer, tmp_path / "whole"))
    stopped = Listener(stop_when)
    with pytest.raises(TrainingInterrupted, match=r"Go on with --resume-path .*last\.pth"):
        train_offline(request(buffer, tmp_path / "parts"), stopped)
    assert len(stopped.activities) < 60 + 4 * 6
    resumed = train_offline(resume(tmp_path / "parts"))
    expected, found = last(tmp_path / "whole"), last(tmp_path / "parts")
    assert same(found.algorithm_state, expected.algorithm_state)
    assert found.streams == expected.streams
    assert (found.step, found.task) == (expected.step, expected.task)
    assert [record.evaluation for record in found.history] == [record.evaluation for record in expected.history]
    for before, after in zip(expected.history, found.history, strict=True):
        assert after.metrics == pytest.approx(dict(before.metrics), rel=1e-9)
    assert (resumed.last, resumed.best, resumed.best_epoch) == (whole.last, whole.best, whole.best_epoch)


def test_time_before_a_stop_counts(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        train_offline(request(make_signal_buffer(), tmp_path / "run"), Listener(lambda progress: progress.step == 25))
    path = tmp_path / "run" / "last.pth"
    stopped = last(tmp_path / "run")
    unfinished = {**stopped.unfinished_epoch, "seconds": 500.0}
    save_checkpoint(path, replace(stopped, unfinished_epoch=unfinished))
    assert train_offline(resume(tmp_path / "run")).seconds > 500.0
    assert last(tmp_path / "run").unfinished_epoch == {}


def test_more_epochs_than_planned_equal_a_longer_plan(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    train_offline(request(buffer, tmp_path / "long", settings={**SETTINGS, "epoch": 3}))
    train_offline(request(buffer, tmp_path / "short"))
    train_offline(resume(tmp_path / "short", settings={"epoch": 3}))
    assert same(last(tmp_path / "short").algorithm_state, last(tmp_path / "long").algorithm_state)


def test_resuming_a_finished_run_only_judges_it(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    first = train_offline(request(make_signal_buffer(), tmp_path / "run"))
    listener = Listener()
    again = train_offline(resume(tmp_path / "run"), listener)
    assert (again.last, again.best) == (first.last, first.best)
    assert {activity for _, activity in listener.activities} == {"evaluating"}


def test_a_run_that_goes_on_elsewhere_takes_its_best_epoch_along(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    settings = {**SETTINGS, "epoch": 1, "update_per_epoch": 200}  # solved in the first epoch
    first = train_offline(request(make_signal_buffer(), tmp_path / "first", settings=settings))
    assert first.best is not None
    assert first.best.mean == 5.0
    elsewhere = train_offline(resume(tmp_path / "first", logdir=tmp_path / "second", settings={"epoch": 2}))
    assert (elsewhere.best_epoch, elsewhere.best) == (1, first.best)
    assert (tmp_path / "second" / "best.pth").read_bytes() == (tmp_path / "first" / "best.pth").read_bytes()


def test_a_copied_state_without_its_best_epoch_goes_on(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "first", settings={**SETTINGS, "epoch": 1}))
    (tmp_path / "first" / "best.pth").unlink()
    summary = train_offline(resume(tmp_path / "first", logdir=tmp_path / "second", settings={"epoch": 2}))
    assert summary.best_epoch == 2


def test_the_best_of_later_epochs_is_not_the_best_of_an_older_state(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    buffer, folder = make_signal_buffer(), tmp_path / "first"
    train_offline(request(buffer, folder, settings={**SETTINGS, "epoch": 1}))
    (folder / "last.pth").rename(folder / "old.pth")
    (folder / "best.pth").unlink()
    train_offline(request(buffer, folder, settings={**SETTINGS, "epoch": 3}))
    # Whichever epoch was the best one, here it is the third.
    (folder / "best.pth").write_bytes((folder / "last.pth").read_bytes())
    again = TrainingRequest(
        "bcq", resume_path=folder / "old.pth", logdir=tmp_path / "again", device="cpu", settings={"epoch": 2}
    )
    assert train_offline(again).best_epoch == 2


def test_a_resumed_run_overwrites_no_other_run(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for seed in (0, 1):
        train_offline(request(buffer, tmp_path / str(seed), settings={**SETTINGS, "seed": seed}))
    before = {path: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    with pytest.raises(UsageError, match="1 holds a run already"):
        train_offline(resume(tmp_path / "0", logdir=tmp_path / "1", settings={"epoch": 3}))
    assert {path: path.read_bytes() for path in (tmp_path / "1").iterdir()} == before


def test_an_older_state_of_a_run_does_not_replace_its_newest(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run"))
    with pytest.raises(UsageError, match="choose another --logdir"):
        train_offline(TrainingRequest("bcq", resume_path=tmp_path / "run" / "best.pth", settings={"epoch": 5}))


def test_a_resumed_run_stays_in_its_task(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run"))
    entry_point = gymnasium.spec("Signal-v0").entry_point
    gymnasium.register("OtherSignal-v0", entry_point=entry_point, max_episode_steps=3)
    try:
        with pytest.raises(UsageError, match="evaluated in Signal-v0, not in OtherSignal-v0; leave --task out"):
            train_offline(resume(tmp_path / "run", task="OtherSignal-v0", settings={"epoch": 3}))
    finally:
        gymnasium.registry.pop("OtherSignal-v0")
    train_offline(resume(tmp_path / "run", task="Signal-v0", settings={"epoch": 3}))
    assert last(tmp_path / "run").step == 90


def test_best_is_judged_on_other_episodes(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    # Nothing is learned from no reward, so scores are those of one fixed policy on different episodes.
    settings = {"epoch": 6, "update_per_epoch": 1, "eval_episodes": 3}
    frozen = {**HYPERPARAMETERS, "lr": 1e-12}
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run", settings=settings, hyperparameters=frozen))
    means = [record.evaluation.mean for record in last(tmp_path / "run").history]
    assert len(set(means)) > 1
    assert summary.best is not None
    assert summary.best.mean < max(means)
    assert summary.best_epoch == 1 + int(np.argmax(means))


def test_other_data_are_refused(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run"))
    other = make_signal_buffer("other.hdf5", seed=1)
    with pytest.raises(UsageError, match=r"was trained on other data: their fingerprint is \w{12}") as caught:
        train_offline(resume(tmp_path / "run", buffer=other))
    assert "\n" not in str(caught.value)


def test_a_copy_in_another_store_is_the_same_data(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run"))
    moved = make_signal_buffer("moved.zarr")
    summary = train_offline(resume(tmp_path / "run", buffer=moved, settings={"epoch": 3}))
    assert last(summary.logdir).settings["buffer"] == str(moved)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hyperparameters": {"lr": 0.5}}, "--lr is 0.01"),
        ({"settings": {"seed": 1}}, "--seed is 0"),
        ({"settings": {"update_per_epoch": 31}}, "--update-per-epoch is 30"),
        ({"settings": {"clip_rewards": True}}, "--clip-rewards is 0"),
        ({"algorithm": "qrdqn"}, "is a checkpoint of bcq"),
    ],
)
def test_a_resumed_run_keeps_its_settings(
    changes: dict[str, Any], named: str, make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run", settings={**SETTINGS, "epoch": 1}))
    with pytest.raises(UsageError, match=named):
        train_offline(resume(tmp_path / "run", **changes))


def test_a_damaged_checkpoint_is_refused(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run"))
    path = tmp_path / "run" / "last.pth"
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 500):  # longer than the padding between tensors
        content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"last\.pth: "):
        train_offline(resume(tmp_path / "run"))


def test_a_run_is_not_overwritten(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    train_offline(request(buffer, tmp_path / "run"))
    with pytest.raises(UsageError, match="holds a run already"):
        train_offline(request(buffer, tmp_path / "run"))


def test_trains_without_evaluation(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    settings = {**SETTINGS, "eval_episodes": 0}
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run", task="NoSuchTask-v0", settings=settings))
    assert (summary.last, summary.best) == (None, None)
    assert "not evaluated" in summary.lines()
    assert last(tmp_path / "run").step == 60
    assert not (tmp_path / "run" / "best.pth").exists()


def test_missing_evaluation_packages_are_told(
    make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(task: str) -> None:
        raise MissingDependencyError("no ale-py here")

    monkeypatch.setattr(evaluation_task, "environment_facts", missing)
    listener = Listener()
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run"), listener)
    assert summary.last is None
    assert "training without evaluation: no ale-py here" in listener.notes


def test_another_task_is_warned_of(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"CartPole-v1 has observations \(4,\) and 2 actions"):
        train_offline(request(make_signal_buffer(), tmp_path / "run", task="CartPole-v1"))
    listener = Listener()
    gymnasium.register("Signal-v1", entry_point=gymnasium.spec("Signal-v0").entry_point, max_episode_steps=2)
    train_offline(request(make_signal_buffer("b.hdf5"), tmp_path / "run", task="Signal-v1"), listener)
    del gymnasium.registry["Signal-v1"]
    assert "warning: the data come from Signal-v0, evaluation is in Signal-v1" in listener.notes


def test_number_of_actions_comes_from_the_spec(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer(num_actions=5)  # of which only two occur
    settings = {**SETTINGS, "eval_episodes": 0}
    summary = train_offline(request(buffer, tmp_path / "run", settings=settings))
    policy = load_policy(summary.logdir / "last.pth", eps=1.0, generator=np.random.default_rng(0))
    assert set(policy.act(np.zeros((200, 2), np.float32))) == set(range(5))


def test_a_diverging_loss_stops_training(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="try smaller learning rates"):
        train_offline(request(make_signal_buffer(), tmp_path / "run", hyperparameters={**HYPERPARAMETERS, "lr": 1e30}))


def pixel_buffer(path: Path, environment: dict[str, Any]) -> Path:
    """Write shuffled transitions of stacked frames, as RL Unplugged has them."""
    rng = np.random.default_rng(0)
    shape = (4, 84, 84)
    spec = BufferSpec(
        layout="transitions",
        order="shuffled",
        stack=4,
        columns=[
            ColumnSpec("observations", np.uint8, shape),
            ColumnSpec("next_observations", np.uint8, shape),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 4}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    windows = rng.integers(0, 256, (12, 5, 84, 84), np.uint8)
    with rlbuffers.create(path, spec, {"environment": environment}) as writer:
        writer.append_transitions(
            {
                "observations": windows[:, :4],
                "next_observations": windows[:, 1:],
                "actions": rng.integers(0, 4, 12),
                "rewards": rng.normal(0, 5, 12).astype(np.float32),
                "terminals": np.zeros(12, bool),
            }
        )
    return path


def train_on_pixels(tmp_path: Path, listener: Listener, **settings: Any) -> RunSummary:
    buffer = pixel_buffer(tmp_path / "b.hdf5", {"id": "Breakout", "sticky_action_probability": 0.25})
    asked = {"epoch": 1, "update_per_epoch": 2, **settings}
    # Values of pixels up to 255 begin far from the rewards.
    hyperparameters = {"batch_size": 4, "scale_pixels": True}
    return train_offline(request(buffer, tmp_path / "run", settings=asked, hyperparameters=hyperparameters), listener)


def test_pixels_of_rl_unplugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = []

    def evaluate(policy: Any, task: str, *arguments: Any) -> None:
        played.append(task)
        raise KeyboardInterrupt

    monkeypatch.setattr("rlbuffers_train.running.run.evaluate", evaluate)
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        train_on_pixels(tmp_path, listener)
    assert played == ["BreakoutNoFrameskip-v4"]
    assert [note for note in listener.notes if "sticky actions (probability 0.25)" in note]


def test_rewards_are_clipped_when_asked(tmp_path: Path) -> None:
    listener = Listener()
    train_on_pixels(tmp_path, listener, eval_episodes=0, clip_rewards=True)
    clipped = listener.records[0].metrics["value_loss"]
    assert clipped < 0.6  # the stored rewards have a spread of 5


def test_vector_tasks_are_evaluated_without_the_games(
    make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_games(game: str) -> None:
        raise MissingDependencyError("Playing Atari games needs ale_py")

    monkeypatch.setattr(evaluation_task, "atari_task", no_games)
    summary = train_offline(request(make_signal_buffer(), tmp_path / "run"))
    assert summary.last is not None


def test_normalization_is_kept_and_applied_to_the_environments_observations(
    make_aim_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_aim_buffer()
    settings = {"epoch": 1, "update_per_epoch": 3, "eval_episodes": 1}
    with rlbuffers.open(path) as buffer:
        seen = np.asarray(buffer.arrays["observations"].all(), np.float64)
    for name, changes in (("td3-bc", {}), ("td3-bc", {"norm_obs": False})):
        logdir = tmp_path / f"{name}{len(changes)}"
        asked = TrainingRequest(
            name, buffer=path, logdir=logdir, device="cpu", settings=settings, hyperparameters=changes
        )
        train_offline(asked)
        checkpoint = last(logdir)
        assert checkpoint.config["norm_obs"] is not bool(changes)
        policy = load_policy(logdir / "last.pth", eps=0.0, generator=np.random.default_rng(0))
        shown = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]
        network_sees = shown if changes else ((shown - seen.mean()) / (seen.std() + 1e-3)).astype(np.float32)
        algorithm = build_algorithm(checkpoint, np.random.default_rng(0), torch.device("cpu"))
        with torch.no_grad():
            expected = 2.0 * algorithm.actor(torch.from_numpy(network_sees)).numpy()
        np.testing.assert_allclose(policy.act(shown), expected, rtol=1e-4, atol=1e-5)


def test_trains_and_goes_on_with_data_at_an_address(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    local = make_signal_buffer("signal.zarr.zip")
    fsspec.filesystem("memory").put(str(local), "/trained/signal.zarr.zip")
    address = "memory://trained/signal.zarr.zip"
    train_offline(request(local, tmp_path / "local"))
    train_offline(request(address, tmp_path / "run", settings={**SETTINGS, "epoch": 1}))
    train_offline(resume(tmp_path / "run", settings={"epoch": 2}))
    assert last(tmp_path / "run").settings["buffer"] == address
    assert same(last(tmp_path / "run").algorithm_state, last(tmp_path / "local").algorithm_state)
    assert read_config(tmp_path / "run").buffer == address


def test_observations_need_an_axis(tmp_path: Path) -> None:
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    columns = {
        "actions": np.zeros(3, np.int64),
        "rewards": np.ones(3, np.float32),
        "terminals": np.array([False, False, True]),
        "timeouts": np.zeros(3, bool),
    }
    with rlbuffers.create(tmp_path / "b.hdf5", spec, {"environment": {}}) as writer:
        writer.append_episode(rlbuffers.Episode(columns, {"observations": np.zeros(4, np.float32)}))
    with pytest.raises(UsageError, match="an observation is a single number"):
        train_offline(request(tmp_path / "b.hdf5", tmp_path / "run", settings={**SETTINGS, "eval_episodes": 0}))


def test_the_process_keeps_its_threads(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        seen = []
        watching = Listener(lambda progress: bool(seen.append(torch.get_num_threads())))
        train_offline(request(make_signal_buffer(), tmp_path / "run"), watching)
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
        policy = load_policy(tmp_path / "run", eps=0.0, generator=np.random.default_rng(0))
        policy.act(np.zeros((3, 2), np.float32))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("norm_obs", [False, True])
def test_a_policy_of_normalized_data_takes_the_environments_observations(
    norm_obs: bool, make_aim_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    source, run = make_aim_buffer(), tmp_path / "run"
    rlbuffers.normalize(source, tmp_path / "normalized.hdf5", epsilon=0.5)
    train_offline(
        TrainingRequest(
            "il",
            buffer=tmp_path / "normalized.hdf5",
            logdir=run,
            device="cpu",
            settings=SETTINGS,
            hyperparameters={"batch_size": 16, "hidden_sizes": (16,), "norm_obs": norm_obs},
        )
    )
    checkpoint = last(run)
    algorithm = build_algorithm(checkpoint, np.random.default_rng(0), torch.device("cpu"))
    with rlbuffers.open(source) as raw, rlbuffers.open(tmp_path / "normalized.hdf5") as normalized:
        of_environment, of_data = raw[:20]["observations"], normalized[:20]["observations"]
        statistics = normalized.metadata["statistics"]["observations"]
    assert not np.allclose(of_environment, of_data)
    seen = of_data
    if norm_obs:
        spread = np.array(statistics["std"], np.float64) + 0.001
        seen = ((of_data.astype(np.float64) - statistics["mean"]) / spread).astype(np.float32)
    np.testing.assert_array_equal(algorithm.to_inputs(of_environment).numpy(), seen)
    with torch.no_grad():
        expected = 2.0 * algorithm.actor(torch.from_numpy(seen)).numpy()  # the bounds of the actions are -2 and 2
    policy = load_policy(run / "last.pth", eps=0.0, generator=np.random.default_rng(0))
    np.testing.assert_allclose(policy.act(of_environment), expected, rtol=1e-5, atol=1e-6)
    exported = export_policy(run / "last.pth", tmp_path / "policy.pt2")
    assert exported.facts["normalizes_observations"] is True
    acting = torch.export.load(tmp_path / "policy.pt2").module()
    np.testing.assert_allclose(acting(torch.from_numpy(of_environment)).numpy(), expected, rtol=1e-5, atol=1e-6)
