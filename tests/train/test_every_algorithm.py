"""What holds for each entry of the table of algorithms: it runs, repeats itself, resumes, acts and is kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import ACTIONS, ELEMENTS, INPUTS, discrete_batch, followed_batch
from nested import same
from torch import nn

from rlbuffers.errors import UsageError
from rlbuffers_train.algorithms import ALGORITHMS, AlgorithmEntry, find_entry, load_algorithm
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.checkpoint import load_checkpoint
from rlbuffers_train.devices import ComputeSettings
from rlbuffers_train.expert import train_online
from rlbuffers_train.loaded_policy import load_policy
from rlbuffers_train.networks import linear
from rlbuffers_train.offline import train_offline
from rlbuffers_train.problem import BoxActions, DiscreteActions, ObservationStatistics, ProblemSpec
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.reporting import Progress, SilentReporter
from rlbuffers_train.running.training_request import TrainingRequest
from rlbuffers_train.settings import with_changes

OFFLINE = [entry for entry in ALGORITHMS if entry.data == "buffer"]
SETTINGS = {"epoch": 2, "update_per_epoch": 6, "eval_episodes": 2}


def identity(entry: AlgorithmEntry) -> str:
    return f"{entry.name}-{entry.actions}"


offline = pytest.mark.parametrize("entry", OFFLINE, ids=identity)


@pytest.fixture
def buffers(make_signal_buffer: Callable[..., Path], make_aim_buffer: Callable[..., Path]) -> dict[str, Path]:
    return {"discrete": make_signal_buffer(), "box": make_aim_buffer()}


def request(entry: AlgorithmEntry, buffers: dict[str, Path], logdir: Path, seed: int = 0) -> TrainingRequest:
    return TrainingRequest(
        entry.name,
        buffer=buffers[entry.actions],
        logdir=logdir,
        device="cpu",
        settings={**SETTINGS, "seed": seed},
        hyperparameters={"batch_size": 8, "hidden_sizes": (16,)},
    )


def state_of(logdir: Path) -> dict[str, Any]:
    return dict(load_checkpoint(logdir / "last.pth", torch.device("cpu")).algorithm_state)


class Interrupter(SilentReporter):
    def progress(self, progress: Progress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)


@offline
def test_same_seed_same_weights_and_other_seed_others(
    entry: AlgorithmEntry, buffers: dict[str, Path], tmp_path: Path
) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        summary = train_offline(request(entry, buffers, tmp_path / name, seed))
        assert summary.last is not None
    first, second, other = (state_of(tmp_path / name) for name in ("first", "second", "other"))
    assert first["num_updates"] == 12
    assert same(first, second)
    assert not same(first, other)


@offline
def test_resuming_equals_never_stopping(entry: AlgorithmEntry, buffers: dict[str, Path], tmp_path: Path) -> None:
    train_offline(request(entry, buffers, tmp_path / "whole"))
    with pytest.raises(TrainingInterrupted):
        train_offline(request(entry, buffers, tmp_path / "parts"), Interrupter())
    assert state_of(tmp_path / "parts")["num_updates"] == 5
    torch.randn(7)  # what happens between the parts changes nothing
    train_offline(TrainingRequest(entry.name, resume_path=tmp_path / "parts" / "last.pth", device="cpu"))
    assert same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))


@offline
def test_a_loaded_policy_acts_as_the_trained_one(
    entry: AlgorithmEntry, buffers: dict[str, Path], tmp_path: Path
) -> None:
    train_offline(request(entry, buffers, tmp_path / "run"))
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu"))
    observations = np.random.default_rng(0).uniform(-1, 1, (50, *checkpoint.problem.observation_shape))
    first, second = (
        load_policy(tmp_path / "run" / "last.pth", eps=0.0, generator=np.random.default_rng(4)).act(observations)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    if entry.actions == "box":
        assert first.dtype == np.float32
        assert first.shape == (50, 1)
        assert np.abs(first).max() <= 2.0
    else:
        assert set(first) <= {0, 1}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("il", {}),
        ("td3-bc", {"critic_lr": 3e-3}),
        ("iql", {"critic_lr": 3e-3, "value_lr": 3e-3, "tau": 0.05, "decay_updates": 0}),
    ],
)
def test_continuous_algorithms_learn_to_aim(
    name: str, rates: dict[str, Any], buffers: dict[str, Path], tmp_path: Path
) -> None:
    asked = TrainingRequest(
        name,
        buffer=buffers["box"],
        logdir=tmp_path / "run",
        device="cpu",
        settings={"epoch": 2, "update_per_epoch": 250, "eval_episodes": 10},
        hyperparameters={"hidden_sizes": (32, 32), "actor_lr": 3e-3, "batch_size": 64, **rates},
    )
    summary = train_offline(asked)
    assert summary.last is not None
    assert summary.last.mean > -1.5  # the behavior policy's is about -3.5


def test_sac_trains_online(aim_task: str, tmp_path: Path) -> None:
    settings = {"epoch": 2, "step_per_epoch": 300, "random_steps": 100, "min_history": 50, "eval_episodes": 5}
    small = {"hidden_sizes": (32,), "actor_lr": 3e-3, "critic_lr": 3e-3, "batch_size": 32, "gamma": 0.5}
    asked = TrainingRequest("sac", task=aim_task, logdir=tmp_path / "run", settings=settings, hyperparameters=small)
    summary = train_online(asked)
    assert summary.best is not None
    assert summary.best.mean > -1.0
    stochastic = load_policy(tmp_path / "run" / "policy.pth", eps=0.0, generator=np.random.default_rng(0), samples=True)
    assert stochastic.act(np.zeros((100, 1), np.float32)).std() > 0.01


def test_bounds_come_from_the_task_where_the_buffer_has_none(
    make_aim_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    buffer = make_aim_buffer("bare.hdf5", with_bounds=False)
    entry = find_entry("il", "box")
    train_offline(request(entry, {"box": buffer}, tmp_path / "run"))
    problem = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu")).problem
    assert problem.actions == BoxActions((-2.0,), (2.0,))


def test_kinds_of_action_choose_the_variant_or_are_refused(buffers: dict[str, Path], tmp_path: Path) -> None:
    assert load_algorithm("bcq", "discrete") is not load_algorithm("bcq", "box")
    with pytest.raises(UsageError, match="td3-bc is for continuous actions, here are discrete actions"):
        train_offline(TrainingRequest("td3-bc", buffer=buffers["discrete"], logdir=tmp_path / "run"))
    asked = TrainingRequest("bcq", buffer=buffers["discrete"], hyperparameters={"vae_lr": 0.1}, logdir=tmp_path)
    with pytest.raises(UsageError, match="bcq for discrete actions has no --vae-lr"):
        train_offline(asked)


@pytest.mark.parametrize("entry", ALGORITHMS, ids=identity)
def test_presets_and_recommendations_build(entry: AlgorithmEntry) -> None:
    algorithm_class = load_algorithm(entry.name, entry.actions)
    actions = DiscreteActions(3) if entry.actions == "discrete" else BoxActions((-1.0, 0.0), (1.0, 2.0))
    problem = ProblemSpec((4,), "float32", actions)
    assert algorithm_class.name == entry.name
    for config in (algorithm_class.recommended(problem), *algorithm_class.presets.values()):
        assert type(config).from_json(config.to_json()) == config
        assert isinstance(config, algorithm_class.config_class)


def test_tianshous_values_are_a_preset(buffers: dict[str, Path], tmp_path: Path) -> None:
    entry = find_entry("cql", "box")
    asked = TrainingRequest(
        entry.name,
        buffer=buffers["box"],
        logdir=tmp_path / "run",
        preset="tianshou",
        settings={**SETTINGS, "epoch": 1, "update_per_epoch": 1},
        hyperparameters={"hidden_sizes": (8,)},
    )
    train_offline(asked)
    config = load_checkpoint(tmp_path / "run" / "last.pth", torch.device("cpu")).config
    assert config == {**load_algorithm("cql", "box").presets["tianshou"].to_json(), "hidden_sizes": [8]}
    with pytest.raises(UsageError, match="il has no preset 'corl' for such actions; there are: tianshou"):
        train_offline(TrainingRequest("il", buffer=buffers["box"], logdir=tmp_path / "other", preset="corl"))


def small(entry: AlgorithmEntry, settings: ComputeSettings, **changes: Any) -> Algorithm[Any]:
    """Return an algorithm of little layers that computes as asked."""
    actions = (
        DiscreteActions(ACTIONS) if entry.actions == "discrete" else BoxActions((-1.0,) * ELEMENTS, (1.0,) * ELEMENTS)
    )
    problem = ProblemSpec((INPUTS,), "float32", actions, ObservationStatistics((0.0,) * INPUTS, (1.0,) * INPUTS))
    algorithm_class = load_algorithm(entry.name, entry.actions)
    torch.manual_seed(0)
    config = with_changes(algorithm_class.recommended(problem), {"hidden_sizes": (16,), **changes})
    algorithm = algorithm_class(problem, config, np.random.default_rng(0), torch.device("cpu"))
    algorithm.compute_as(settings)
    return algorithm


def small_batch(entry: AlgorithmEntry) -> TransitionBatch:
    batch = (discrete_batch if entry.actions == "discrete" else followed_batch)(0)
    return batch.map(lambda value: value.float() if value.is_floating_point() else value)


def weights_of(algorithm: Algorithm[Any]) -> torch.Tensor:
    """Return all weights, target networks' too, in one row."""
    networks = [part for part in vars(algorithm).values() if isinstance(part, nn.Module)]
    return torch.cat([weights.detach().flatten() for network in networks for weights in network.parameters()])


def updated(entry: AlgorithmEntry, settings: ComputeSettings) -> tuple[dict[str, float], torch.Tensor]:
    """Return the metrics of the third of three updates, and the weights afterwards."""
    algorithm, batch = small(entry, settings), small_batch(entry)
    for _ in range(3):
        metrics = algorithm.update(batch)
    assert all(value.dtype == torch.float32 for value in metrics.values())
    return {name: value.item() for name, value in metrics.items()}, weights_of(algorithm)


@pytest.mark.parametrize("entry", ALGORITHMS, ids=identity)
def test_bfloat16_rounds_hidden_layers_and_nothing_else(entry: AlgorithmEntry) -> None:
    expected, exact = updated(entry, ComputeSettings())
    found, rounded = updated(entry, ComputeSettings(precision="bfloat16"))
    assert found == pytest.approx(expected, rel=0.05, abs=0.02)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)


@pytest.mark.parametrize("name", ["il", "bcq", "cql", "crr", "qrdqn"])
def test_weights_begin_orthogonal_on_request(name: str) -> None:
    entry = find_entry(name, "discrete")
    algorithm = small(entry, ComputeSettings(), orthogonal=True)
    (first, *_) = [layer for layer in algorithm.network.modules() if isinstance(layer, nn.Linear)]
    products = first.weight.detach().T @ first.weight.detach()  # 16 units of INPUTS inputs
    torch.testing.assert_close(products, 2.0 * torch.eye(INPUTS), atol=1e-5, rtol=0)
    assert not first.bias.any()


@pytest.mark.parametrize("name", ["il", "bcq", "cql", "crr", "qrdqn"])
def test_a_checkpoint_from_before_pixels_could_stay_undivided_divides_them(name: str) -> None:
    """Whatever is recommended today: it was trained so."""
    config_class = load_algorithm(name, "discrete").config_class
    known = {key: value for key, value in config_class().to_json().items() if key not in ("scale_pixels", "orthogonal")}
    problem = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(3))
    torch.manual_seed(0)
    config = config_class.from_json({**known, "hidden_sizes": [8]})
    algorithm = load_algorithm(name, "discrete")(problem, config, np.random.default_rng(0), torch.device("cpu"))
    pixels = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    features = algorithm.network.features
    with torch.no_grad():
        torch.testing.assert_close(features(pixels), features.convolutions(pixels / 255.0))


@pytest.mark.slow  # compiling takes up to a minute each
@pytest.mark.filterwarnings("ignore")  # torch's compiler uses what torch has deprecated, and looks at what it warns of
@pytest.mark.parametrize("entry", ALGORITHMS, ids=identity)
def test_compiling_changes_no_update(entry: AlgorithmEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is compiled multiplies with torch's own function, so it is compared with that.
    monkeypatch.setattr(linear, "_OPERATOR", None)
    expected, plain = updated(entry, ComputeSettings())
    found, compiled = updated(entry, ComputeSettings(compile=True))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # Where a gradient is all but 0, Adam makes a step of its rounding: what counts is all weights together.
    moved = plain - weights_of(small(entry, ComputeSettings()))
    assert (compiled - plain).norm() < 1e-4 * moved.norm()
