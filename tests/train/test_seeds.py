"""Several seeds in one command: each as if alone, summed up, stopped and gone on with."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from nested import same
from patience import PATIENCE_SECONDS
from training_processes import train_in_process, wait_until_saved

import rlbuffers
from rlbuffers.errors import RlbuffersError, UsageError
from rlbuffers.sources.policy_rollout import PolicyRolloutSource
from rlbuffers_cli.main import cli
from rlbuffers_train import train_offline
from rlbuffers_train.checkpoint import load_checkpoint
from rlbuffers_train.playing.confidence import summarize_runs
from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.problem import DiscreteActions
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.reporting import Progress, SilentReporter
from rlbuffers_train.running.several_seeds import requests_of_seeds, train_seeds
from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {"epoch": 2, "update_per_epoch": 20, "eval_episodes": 3}
HYPERPARAMETERS = {"batch_size": 16, "hidden_sizes": (16,), "lr": 0.01}


def request(buffer: Path, **changes: Any) -> TrainingRequest:
    asked = TrainingRequest(
        "bcq", buffer=buffer, device="cpu", settings=SETTINGS, hyperparameters=HYPERPARAMETERS, preset=None
    )
    return replace(asked, **changes)


def silent(seed: int) -> Any:
    return nullcontext(SilentReporter())


def weights(logdir: Path) -> Any:
    return load_checkpoint(logdir / "last.pth", torch.device("cpu")).algorithm_state


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["train", *words], catch_exceptions=False)


@pytest.fixture
def cartpole(tmp_path: Path) -> Path:
    """Processes know the tasks of gymnasium only."""

    def choose(observations: np.ndarray, generator: np.random.Generator, *, samples: bool) -> np.ndarray:
        return (observations[:, 2] > 0).astype(np.int64)

    policy = ExploringPolicy(choose, DiscreteActions(2), np.random.default_rng(0), eps_training=0, eps_inference=0)
    source = PolicyRolloutSource(policy, {"name": "controller"}, "CartPole-v1", size=400, num_envs=4, seed=0)
    rlbuffers.convert(source, tmp_path / "cartpole.hdf5")
    return tmp_path / "cartpole.hdf5"


def test_each_seed_is_trained_as_if_alone(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    requests = requests_of_seeds(request(buffer), (3, 1), tmp_path / "all")
    summary = train_seeds(train_offline, requests, tmp_path / "all", silent)
    for seed in (1, 3):
        train_offline(request(buffer, logdir=tmp_path / f"alone{seed}", settings={**SETTINGS, "seed": seed}))
        assert same(weights(tmp_path / "all" / f"seed{seed}"), weights(tmp_path / f"alone{seed}"))
    assert [outcome.seed for outcome in summary.outcomes] == [3, 1]
    for which in ("last", "best"):
        means = [getattr(outcome.summary, which).mean for outcome in summary.outcomes]
        assert summary.interval(which) == summarize_runs(means)
    kept = json.loads((tmp_path / "all" / "seeds.json").read_text())
    assert kept == summary.to_json()
    assert kept["last"]["num_runs"] == 2
    assert kept["normalized"] == {"last": None, "best": None}


def test_the_same_command_goes_on_where_it_was_stopped(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    class Stops(SilentReporter):
        def progress(self, progress: Progress) -> None:
            if progress.step == 30:
                os.kill(os.getpid(), signal.SIGINT)

    buffer, logdir = make_signal_buffer(), tmp_path / "all"
    whole = train_seeds(
        train_offline, requests_of_seeds(request(buffer), (0, 1), tmp_path / "w"), tmp_path / "w", silent
    )
    reporters = {0: SilentReporter(), 1: Stops()}
    with pytest.raises(TrainingInterrupted, match=rf"1 of 2 seeds are done.*The same command.*--logdir {logdir}"):
        train_seeds(
            train_offline,
            requests_of_seeds(request(buffer), (0, 1), logdir),
            logdir,
            lambda seed: nullcontext(reporters[seed]),
        )
    assert not (logdir / "seeds.json").exists()
    summary = train_seeds(train_offline, requests_of_seeds(request(buffer), (0, 1), logdir), logdir, silent)
    for seed in (0, 1):
        assert same(weights(logdir / f"seed{seed}"), weights(tmp_path / "w" / f"seed{seed}"))
    assert (summary.interval("last"), summary.interval("best")) == (whole.interval("last"), whole.interval("best"))
    changed = requests_of_seeds(request(buffer, hyperparameters={"lr": 0.5}), (0, 1), logdir)
    with pytest.raises(UsageError, match=r"--lr is 0\.01 in the run to be resumed, not 0\.5"):
        train_seeds(train_offline, changed, logdir, silent)


def test_a_preset_may_be_named_again(make_aim_buffer: Callable[..., Path], tmp_path: Path) -> None:
    asked = TrainingRequest(
        "il",
        buffer=make_aim_buffer(),
        preset="tianshou",
        device="cpu",
        settings={**SETTINGS, "epoch": 1, "update_per_epoch": 2},
        hyperparameters={"hidden_sizes": (8,)},
    )
    for _ in range(2):
        train_seeds(train_offline, requests_of_seeds(asked, (0,), tmp_path / "all"), tmp_path / "all", silent)
    without = replace(asked, preset=None, hyperparameters={"actor_lr": 3e-4})
    with pytest.raises(UsageError, match=r"--actor-lr is 0\.0001 in the run to be resumed"):
        train_seeds(train_offline, requests_of_seeds(without, (0,), tmp_path / "all"), tmp_path / "all", silent)


def test_a_seed_that_fails_does_not_stop_the_others(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    def train(asked: TrainingRequest, reporter: Any) -> Any:
        if asked.settings["seed"] == 0:
            raise RlbuffersError("out of luck")
        return train_offline(asked, reporter)

    requests = requests_of_seeds(request(make_signal_buffer()), (0, 1), tmp_path / "all")
    summary = train_seeds(train, requests, tmp_path / "all", silent)
    assert [outcome.problem for outcome in summary.outcomes] == ["out of luck", ""]
    assert summary.to_json()["problems"] == {"0": "out of luck"}
    only = requests_of_seeds(request(make_signal_buffer("b.hdf5")), (0,), tmp_path / "other")
    with pytest.raises(RlbuffersError, match="no seed was trained to the end; the first one: out of luck"):
        train_seeds(train, only, tmp_path / "other", silent)


def test_the_command_prints_a_row_a_seed(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    words = ["bcq", "--buffer", str(make_signal_buffer()), "--logdir", str(tmp_path / "all"), "--epoch", "1"]
    result = run(*words, "--update-per-epoch", "200", "--eval-episodes", "2", "--lr", "0.01", "--seeds", "0,7")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert ["0", "5.0", "±", "0.0", "5.0", "±", "0.0", "1"] in [row[:8] for row in rows]
    assert ["7", "5.0", "±", "0.0", "5.0", "±", "0.0", "1"] in [row[:8] for row in rows]
    assert ["mean,", "95%", "5.0", "±", "0.0", "5.0", "±", "0.0"] in rows


def test_processes_give_the_same_weights(cartpole: Path, tmp_path: Path) -> None:
    words = ["bcq", "--buffer", str(cartpole), "--epoch", "1", "--update-per-epoch", "20", "--eval-episodes", "2"]
    for name, more in (("one", []), ("two", ["--parallel", "2"])):
        result = run(*words, "--logdir", str(tmp_path / name), "--seeds", "0,1", *more)
        assert result.exit_code == 0, result.output
    for seed in (0, 1):
        assert same(weights(tmp_path / "one" / f"seed{seed}"), weights(tmp_path / "two" / f"seed{seed}"))
    refused = run(*words, "--logdir", str(tmp_path / "two"), "--seeds", "0", "--parallel", "2", "--lr", "0.9")
    assert refused.exit_code == 2
    assert [line for line in refused.output.splitlines() if line.startswith("Error: ")] == [
        "Error: --lr is 0.001 in the run to be resumed, not 0.9; leave it out"
    ]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_every_process_with_all_saved(sent: signal.Signals, cartpole: Path, tmp_path: Path) -> None:
    words = ["bcq", "--buffer", str(cartpole), "--logdir", "all", "--seeds", "0,1,2", "--parallel", "2"]
    sizes = ["--update-per-epoch", "50", "--epoch", "100000", "--eval-episodes", "1"]
    with train_in_process(*words, *sizes, home=tmp_path) as process:
        wait_until_saved(process, [tmp_path / "all" / f"seed{seed}" for seed in (0, 1)])
        # Schedulers of clusters send SIGTERM to every process of a job.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if sent is signal.SIGTERM and children.exists():
            for child in children.read_text().split():
                os.kill(int(child), sent)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert errors == (
        "stopped; no seed is done yet, and what was begun is saved. The same command goes on, with --logdir all\n"
    )
    for seed in (0, 1):
        assert load_checkpoint(tmp_path / "all" / f"seed{seed}" / "last.pth", torch.device("cpu")).step > 0
    assert not (tmp_path / "all" / "seed2").exists()


def test_several_seeds_do_not_go_into_the_folder_of_one_run(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    buffer = make_signal_buffer()
    train_offline(request(buffer, logdir=tmp_path / "run"))
    result = run("bcq", "--buffer", str(buffer), "--seeds", "0,1", "--logdir", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "run is the folder of one run already" in result.output
    assert not (tmp_path / "run" / "seed0").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seeds", "0,0"], "--seeds: each may be named once, got 0, 0"),
        (["--seeds", "0,x"], "'0,x' is no list of whole numbers"),
        (["--seeds", "0,-1"], "--seeds: expected at least 0, got -1"),
        (["--seeds", "0,1", "--seed", "2"], "--seed is of one run and --seeds of several; give one of them"),
        (["--seeds", "0,1", "--resume-path", "last.pth"], "--resume-path is of one run"),
        (["--parallel", "2"], "--parallel is for several runs; name their --seeds, such as 0,1,2"),
    ],
)
def test_mistakes_are_answered_in_one_line(words: list[str], told: str, tmp_path: Path) -> None:
    result = run("bcq", "--buffer", str(tmp_path / "b.hdf5"), *words)
    assert result.exit_code == 2
    assert told in result.output
