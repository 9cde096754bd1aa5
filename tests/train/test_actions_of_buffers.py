"""Which actions are trained, from which source, and what is said where they are not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from action_kinds import WRITERS
from click.testing import CliRunner
from minari_files import box, write_hdf5
from minari_files import episode as minari_episode

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UsageError
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.stated_actions import StatedActions
from rlbuffers_cli.main import cli
from rlbuffers_train import TrainingRequest, evaluate_off_policy, train_offline, train_online
from rlbuffers_train.batch import make_batch
from rlbuffers_train.playing.evaluation_task import problem_of_task
from rlbuffers_train.problem import BoxActions, DiscreteActions, ProblemSpec
from rlbuffers_train.problem_of_buffer import problem_of_buffer
from rlbuffers_train.running.training_request import make_algorithm
from rlbuffers_train.transition_loader import transition_loader

STEPS = 24
CPU = torch.device("cpu")
FROM_ONE = "SignalFromOne-v0"
RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, STEPS)
# Name to actions of STEPS rows. The first group are numbered choices, as Signal-v0 has them: 0 and 1.
NUMBERED = {
    "int64 ()": BITS.astype(np.int64),
    "uint8 ()": BITS.astype(np.uint8),
    "int32 (1,)": BITS.astype(np.int32)[:, None],
    "bool ()": BITS.astype(np.bool_),
}
SEVERAL = {"int64 (3,)": RNG.integers(0, 2, (STEPS, 3)), "bool (2,)": RNG.integers(0, 2, (STEPS, 2)).astype(np.bool_)}
VECTORS = {
    "float32 (1,)": RNG.uniform(-1, 1, (STEPS, 1)).astype(np.float32),
    "float64 (2,)": RNG.uniform(-1, 1, (STEPS, 2)),
}
SINGLE = {"float32 ()": RNG.uniform(-1, 1, STEPS).astype(np.float32)}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write actions in a source's format, and convert them."""

    def written(source: str, actions: np.ndarray) -> Path:
        rows = np.random.default_rng(1).normal(size=(len(actions), 2)).astype(np.float32)
        path = tmp_path / f"{source}.hdf5.out.hdf5"
        rlbuffers.convert(WRITERS[source](tmp_path, rows, actions), path)
        return path

    return written


def says(message: str, *words: str) -> bool:
    return "\n" not in message and all(word in message for word in words)


def outcome(path: Path, task: str | None = None, **stated: Any) -> str:
    """Update an algorithm a few times on a buffer; return the message of a refusal, or an empty text."""
    with rlbuffers.open(path) as buffer:
        try:
            problem = problem_of_buffer(buffer, task, StatedActions(**stated))
        except UsageError as error:
            return str(error)
        name = "td3-bc" if problem.actions.kind == "box" else "crr"
        request = TrainingRequest(name, hyperparameters={"hidden_sizes": [8], "batch_size": 8, "n_step": 1})
        algorithm = make_algorithm(request, problem, 0, None, CPU)
        sampler = buffer.sampler(8, 0, next_actions=algorithm.needs_next_actions, columns=algorithm.columns)
        with transition_loader(sampler, problem, 0.9, CPU) as loader:
            for _ in range(3):
                metrics = algorithm.update(next(loader))
        assert all(np.isfinite(float(value)) for value in metrics.values())
        acted = algorithm.policy.act(np.zeros((5, 2), np.float32))
        assert acted.shape == ((5,) if problem.actions.kind == "discrete" else (5, problem.box.size))
    return ""


@pytest.mark.parametrize("source", WRITERS)
@pytest.mark.parametrize("name", NUMBERED)
def test_numbered_actions(source, name, make, signal_task, aim_task):
    if source == "minari" and name == "bool ()":
        pytest.skip("Minari has no Box of booleans")
    path = make(source, NUMBERED[name])
    alone = outcome(path)
    assert "does not record how many actions there are" in alone
    assert says(alone, "--task", "--num-actions")
    assert outcome(path, signal_task) == ""
    vectors = outcome(path, aim_task)
    assert says(vectors, "has whole numbers as actions, Aim-v0 has vectors of 1 as actions", "--num-actions")
    assert outcome(path, num_actions=4) == ""
    assert "actions reach from 0 to 1, but --num-actions 1 allows 0 to 0 only" in outcome(path, num_actions=1)
    bounds = outcome(path, action_low=(0.0,), action_high=(1.0,))
    assert "is for actions that are vectors of float numbers; actions are" in bounds


@pytest.mark.parametrize("source", WRITERS)
@pytest.mark.parametrize("name", SEVERAL)
def test_several_whole_numbers_are_not_learned(source, name, make, signal_task, aim_task):
    path = make(source, SEVERAL[name])
    dtype, shape = SEVERAL[name].dtype.name, SEVERAL[name].shape[1:]
    for task in (None, signal_task, aim_task):
        refused = outcome(path, task)
        assert f"actions are several whole numbers at once ({dtype} of shape {shape})" in refused
        assert "no algorithm here learns such" in refused
        assert "--task" not in refused


@pytest.mark.parametrize("source", WRITERS)
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(source, name, make, signal_task, aim_task):
    path = make(source, VECTORS[name])
    size = VECTORS[name].shape[1]
    alone = outcome(path)
    assert "does not record the bounds of actions" in alone
    assert says(alone, "--task", "--action-low and --action-high")
    fitting = outcome(path, aim_task)
    assert fitting == "" if size == 1 else "has vectors of 2 as actions, Aim-v0 has vectors of 1 as actions" in fitting
    numbered = outcome(path, signal_task)
    assert says(numbered, f"has vectors of {size}", "as actions, Signal-v0 has 2 actions")
    assert ("numbered actions must be stored as whole numbers" in numbered) == (size == 1)
    assert outcome(path, action_low=(-1.0,) * size, action_high=(1.5,)) == ""
    narrow = outcome(path, action_low=(-1.0,), action_high=(0.25,))
    assert says(narrow, "actions reach from -0.", "--action-low -1 --action-high 0.25 allows -1.0 to 0.25")
    assert "is for actions that are one whole number each" in outcome(path, num_actions=3)


@pytest.mark.parametrize("source", [name for name in WRITERS if name != "d3rlpy"])
def test_single_float_numbers_are_neither(source, make, signal_task, aim_task):
    path = make(source, SINGLE["float32 ()"])
    for task in (None, signal_task, aim_task):
        refused = outcome(path, task)
        assert says(refused, "actions are single numbers of type float32", "shape (1,)")


# MINARI: what it says of actions, what they are, and the words of a refusal.
UNLEARNABLE = {
    "MultiDiscrete": ({"type": "MultiDiscrete", "dtype": "int64", "nvec": [3, 2]}, np.int64, "MultiDiscrete"),
    "MultiBinary": ({"type": "MultiBinary", "n": 2}, np.int8, "MultiBinary"),
    "Box": (box("int64", [2], 0, 4), np.int64, "a box of whole numbers (int64 of shape (2,))"),
}


@pytest.mark.parametrize("kind", UNLEARNABLE)
def test_kinds_of_minari_that_no_algorithm_learns(kind, tmp_path, signal_task):
    space, dtype, words = UNLEARNABLE[kind]
    actions = RNG.integers(0, 2, (STEPS, 2)).astype(dtype)
    folder = write_hdf5(tmp_path / kind, [minari_episode(STEPS, actions=actions)], {"action_space": space})
    rlbuffers.convert(MinariSource(folder / "data"), tmp_path / "x.hdf5")
    for task in (None, signal_task):
        assert says(outcome(tmp_path / "x.hdf5", task), words, "no algorithm here learns such")


def test_what_a_task_cannot_have(signal_task):
    signal: Any = gymnasium.registry[signal_task].entry_point

    class Several(signal):
        action_space = gymnasium.spaces.MultiBinary(3)

    class Steps(signal):
        action_space = gymnasium.spaces.Box(0, 4, (2,), np.int64)

    for env, words in ((Several, "MultiBinary(3)"), (Steps, "one numbered action")):
        gymnasium.register("Other-v0", entry_point=env)
        try:
            with pytest.raises(UsageError, match=re.escape(words)):
                problem_of_task("Other-v0")
        finally:
            del gymnasium.registry["Other-v0"]


def test_an_environment_that_cannot_be_asked_is_named(make, tmp_path, signal_task):
    path = make("npz", NUMBERED["int64 ()"])
    for name, words in (
        ("hopper-medium-v2", "its environment hopper-medium-v2 cannot be asked (there is no task"),
        ("Hopper-v2", "its environment Hopper-v2 cannot be asked (The task Hopper-v2 needs another package"),
        (signal_task, ""),
    ):
        with rlbuffers.open(path) as buffer:
            facts = {"environment": {"id": name}}
            rlbuffers.convert(BufferSelection(buffer), tmp_path / f"{name}.hdf5", facts=facts)
        found = outcome(tmp_path / f"{name}.hdf5")
        assert says(found, words, "--task", "--num-actions N") if words else found == ""


def test_the_task_must_hold_what_the_data_do(make, signal_task):
    path = make("npz", BITS + 1)
    refused = outcome(path, signal_task)
    assert says(refused, "actions reach from 1 to 2, but Signal-v0 allows 0 to 1 only", "--task", "--num-actions N")
    assert outcome(path, num_actions=3) == outcome(path, num_actions=2, first_action=1) == ""


# Through the command line.


def run(*words: object) -> str:
    """Run a command line that succeeds; return what it prints on one line."""
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*words: object) -> str:
    """Run a command line that fails in one line; return it."""
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code in (1, 2), result.output
    assert len([line for line in result.stderr.splitlines() if "rror" in line]) == 1
    return " ".join(result.stderr.split())


@pytest.fixture
def archives(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, actions: np.ndarray) -> Path:
        WRITERS["npz"](tmp_path, RNG.normal(size=(len(actions), 2)).astype(np.float32), actions)
        return (tmp_path / "x.npz").rename(tmp_path / f"{name}.npz")

    return write


def space_of(path: Path) -> Any:
    with rlbuffers.open(path) as buffer:
        return buffer.spec.columns["actions"].space


def test_conversion_takes_what_is_stated(archives, tmp_path):
    path = archives("numbers", BITS + 2)
    made = tmp_path / "made.hdf5"
    message = refused("convert", "npz", path, "-o", made, "--num-actions", 3)
    assert "actions reach from 2 to 3, but --num-actions 3 allows 0 to 2 only" in message
    assert not list(tmp_path.glob("made*"))
    run("convert", "npz", path, "-o", made, "--num-actions", 4, "--first-action", 1)
    assert space_of(made) == {"type": "discrete", "n": 4, "start": 1}
    with rlbuffers.open(made) as buffer:
        assert any("--num-actions 4 --first-action 1" in note for note in buffer.metadata["notes"])
        assert buffer.metadata["statistics"]["action_counts"] == [0, int((BITS == 0).sum()), int(BITS.sum()), 0]
        assert problem_of_buffer(buffer).actions == DiscreteActions(4, 1)
    assert rlbuffers.validate(made).ok
    vectors = archives("vectors", VECTORS["float64 (2,)"])
    run("convert", "npz", vectors, "-o", tmp_path / "box.hdf5", "--action-low", "-1,-2", "--action-high", 3)
    assert space_of(tmp_path / "box.hdf5") == {"type": "box", "low": [-1.0, -2.0], "high": 3.0}
    with rlbuffers.open(tmp_path / "box.hdf5") as buffer:
        assert problem_of_buffer(buffer).actions == BoxActions((-1.0, -2.0), (3.0, 3.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--num-actions", 0], "--num-actions"),
        (["--num-actions", 10**9], "--num-actions"),
        (["--num-actions", 2, "--first-action", 10**30], "--first-action: expected at most"),
        (["--first-action", 1], "--first-action requires --num-actions"),
        (["--action-low", 1], "require each other"),
        (["--action-low", 1, "--action-high", 1], "each low below its high"),
        (["--action-low", "nan", "--action-high", 1], "finite"),
        (["--action-low", "1,2", "--action-high", "3,4,5"], "as many"),
        (["--action-low", "0,0", "--action-high", "3,4"], "is for actions that are vectors"),
        (["--action-low", 0, "--action-high", 3, "--num-actions", 2], "give one kind"),
        (["--action-low", "x", "--action-high", 3], "is not a number"),
    ],
)
def test_what_is_stated_must_make_sense(options, words, archives, tmp_path):
    path = archives("numbers", BITS)
    assert words in refused("convert", "npz", path, "-o", tmp_path / "made.hdf5", *options)
    assert not list(tmp_path.glob("made*"))


def test_a_recorded_space_is_not_overruled(make_signal_buffer, make_aim_buffer):
    assert outcome(make_signal_buffer(num_actions=5), num_actions=5) == ""
    assert "contradicts the recorded space" in outcome(make_signal_buffer("b.hdf5", num_actions=5), num_actions=6)
    aim = make_aim_buffer()
    with rlbuffers.open(aim) as buffer:
        assert problem_of_buffer(buffer, None, StatedActions(action_low=(-2.0,), action_high=(2.0,)))
        with pytest.raises(UsageError, match="contradicts the recorded space"):
            problem_of_buffer(buffer, None, StatedActions(action_low=(-3.0,), action_high=(3.0,)))


def test_a_run_says_what_was_stated_and_keeps_it(archives, tmp_path, signal_task):
    path, folder = tmp_path / "made.hdf5", tmp_path / "run"
    run("convert", "npz", archives("numbers", BITS), "-o", path)
    few = ["--epoch", 1, "--update-per-epoch", 2, "--eval-episodes", 0, "--device", "cpu", "--hidden-sizes", 8]
    told = run("train", "il", "--buffer", path, "--num-actions", 3, "--logdir", folder, *few)
    assert "actions: as --num-actions 3 states them" in told
    assert "num_actions: 3" in (folder / "config.yaml").read_text()
    again = run("train", "il", "--config", folder, "--logdir", tmp_path / "again")
    assert "actions: as --num-actions 3 states them" in again
    other = ["train", "il", "--buffer", path, "--resume-path", folder, "--num-actions", 4]
    assert "--num-actions is 3 in the run to be resumed" in refused(*other)
    told = run("train", "il", "--buffer", path, "--task", signal_task, "--logdir", tmp_path / "task", *few)
    assert "actions: 2 actions, as Signal-v0 has them" in told


def test_bounds_of_a_task_that_the_data_leave_are_told(make, aim_task):
    path = make("npz", np.linspace(-3, 1, STEPS, dtype=np.float32)[:, None])
    notes: list[str] = []
    with rlbuffers.open(path) as buffer:
        assert problem_of_buffer(buffer, aim_task, on_note=notes.append).box == BoxActions((-2.0,), (2.0,))
    assert "bounds of actions are those of Aim-v0" in notes[0]
    assert says(notes[1], "reach from -3 to 1, beyond the bounds of Aim-v0", "--action-low")


# Choices that are numbered from one on.


@pytest.fixture
def from_one_task(signal_task: str) -> Iterator[str]:
    """Signal whose actions are 1 and 2; others are no actions."""
    signal: Any = gymnasium.registry[signal_task].entry_point

    class FromOneEnv(signal):
        action_space = gymnasium.spaces.Discrete(2, start=1)

        def step(self, action: np.int64) -> Any:
            assert self.action_space.contains(action), action
            return super().step(action - 1)

    gymnasium.register(FROM_ONE, entry_point=FromOneEnv, max_episode_steps=5)
    yield FROM_ONE
    del gymnasium.registry[FROM_ONE]


def test_from_one_on(from_one_task, tmp_path):
    """Generated at random, imitated where it is right, evaluated, exported and judged by the data."""
    data, right, folder = tmp_path / "data.hdf5", tmp_path / "right.hdf5", tmp_path / "run"
    generate = ["generate", "--task", FROM_ONE, "--policy", "qrdqn", "--level", "random", "--eps", 1]
    run(*generate, "--buffer-size", 400, "--output", data, "--device", "cpu")
    assert space_of(data) == {"type": "discrete", "n": 2, "start": 1}
    with rlbuffers.open(data) as buffer:
        assert buffer.metadata["environment"]["action_space"]["start"] == 1
        assert set(buffer[:]["actions"].tolist()) == {1, 2}
        np.testing.assert_array_equal(buffer[:]["actions"] - 1 == buffer[:]["observations"][:, 0], buffer[:]["rewards"])
    few = ["--device", "cpu", "--hidden-sizes", "16", "--batch-size", 64, "--lr", "0.01", "--gamma", 0]
    train = ["train", "bcq", "--buffer", data, "--logdir", folder, "--epoch", 1, "--update-per-epoch", 300]
    told = run(*train, *few, "--eval-episodes", 2)
    assert "last epoch: return 5.0" in told  # all of 5 steps are right: actions arrive as the environment numbers them
    run("evaluate", folder, "--episodes", 2, "--device", "cpu")
    run("export-policy", folder, "-o", tmp_path / "policy.pt2")
    shown = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    program = torch.export.load(tmp_path / "policy.pt2").module()
    assert program(shown).tolist() == [2, 1]
    judged = evaluate_off_policy(folder, data, updates=20)
    assert judged.closeness == pytest.approx(0.5, abs=0.1)  # random actions are right every other time
    generate = ["generate", "--resume-path", folder, "--eps", 0, "--buffer-size", 50, "--device", "cpu"]
    run(*generate, "--output", right)
    with rlbuffers.open(right) as buffer:
        assert buffer[:]["rewards"].all()


def test_from_one_on_online(from_one_task, tmp_path):
    settings = {"epoch": 1, "step_per_epoch": 200, "eval_episodes": 1, "num_envs": 2, "min_history": 50}
    small = {"hidden_sizes": (8,), "batch_size": 16}
    request = TrainingRequest(
        "qrdqn", task=FROM_ONE, device="cpu", logdir=tmp_path / "run", hyperparameters=small, settings=settings
    )
    assert train_online(request).last.num_episodes == 1  # the environment refuses other actions than 1 and 2


def test_actions_that_followed_begin_at_zero_too():
    columns = {
        "observations": np.zeros((3, 2), np.float32),
        "next_observations": np.zeros((3, 2), np.float32),
        "actions": np.array([[4], [5], [4]], np.uint8),
        "rewards": np.zeros(3),
        "terminals": np.zeros(3, np.bool_),
        "next_actions": np.array([[5], [4], [0]], np.uint8),
        "next_action_known": np.array([True, True, False]),
    }
    batch = make_batch(columns, 0.9, CPU, first_action=4)
    assert batch.actions.tolist() == [0, 1, 0]
    assert batch.next_actions is not None
    assert batch.next_actions.tolist() == [1, 0, 0]


def test_checkpoints_without_another_start_are_as_before():
    problem = ProblemSpec((2,), "float32", DiscreteActions(3))
    assert problem.to_json()["actions"] == {"type": "discrete", "num_actions": 3}
    for actions in (DiscreteActions(3), DiscreteActions(3, 1), DiscreteActions(3, -1)):
        problem = ProblemSpec((2,), "float32", actions)
        assert ProblemSpec.from_json(json.loads(json.dumps(problem.to_json()))) == problem
    assert not problem.fits(ProblemSpec((2,), "float32", DiscreteActions(3)))
    assert set(DiscreteActions(2, 5).draw(50, np.random.default_rng(0)).tolist()) == {5, 6}


def test_recorded_actions_outside_of_their_space_are_refused(tmp_path):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (2,)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        columns = {"actions": np.array([0, 7]), "rewards": np.zeros(2, np.float32), "terminals": np.zeros(2, np.bool_)}
        writer.append_episode(Episode(columns, {"observations": np.zeros((3, 2), np.float32)}))
    assert "actions reach from 0 to 7, but the recorded space allows 0 to 1 only" in outcome(tmp_path / "x.hdf5")


def test_the_policy_of_other_numbers_is_not_judged(make, tmp_path, signal_task):
    """A buffer that records no space is judged where its actions are the policy's."""
    path = make("npz", NUMBERED["int32 (1,)"])
    request = TrainingRequest(
        "il",
        buffer=path,
        device="cpu",
        logdir=tmp_path / "run",
        hyperparameters={"hidden_sizes": (8,)},
        settings={"epoch": 1, "update_per_epoch": 2, "eval_episodes": 0, "num_actions": 2},
    )
    train_offline(request)
    assert 0 <= evaluate_off_policy(tmp_path / "run", path, updates=5).closeness <= 1
    others = make("d4rl", BITS + 1)
    with pytest.raises(UsageError, match=r"is for actions from 0 to 1; .* has others"):
        evaluate_off_policy(tmp_path / "run", others, updates=5)
