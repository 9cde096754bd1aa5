"""d3rlpy itself against our reader and writer: the same episodes and transitions, value by value."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from endings import ENDS, buffer_of
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make, random_rows, write
from truth import DATA

import rlbuffers
from rlbuffers.exports.export import export
from rlbuffers.sources.d3rlpy.versions import d3rlpy_source

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import d3rlpy
    from d3rlpy.dataset import (
        Episode,
        FrameStackTransitionPicker,
        InfiniteBuffer,
        MDPDataset,
        ReplayBuffer,
    )

FIXTURE = DATA / "d3rlpy" / "cartpole-v2.h5"


def loaded(path, **options):
    with path.open("rb") as file:
        return ReplayBuffer.load(file, InfiniteBuffer(), **options)


def through_the_file(buffer, new_path):
    output = new_path("h5")
    export(buffer, output, "d3rlpy")
    stack = buffer.spec.stack
    return loaded(output, **({"transition_picker": FrameStackTransitionPicker(stack)} if stack else {}))


def assert_transitions_are_those_of(replay, buffer):
    """Every transition that can be learned from is there, with its next observation, and no other."""
    rows = buffer.rows(buffer.usable_rows)
    starts = buffer.arrays["episodes/starts"].all()[buffer.episode_of(buffer.usable_rows)]
    found = [
        replay.transition_picker(episode, t) for episode in replay.episodes for t in range(episode.transition_count)
    ]
    assert replay.transition_count == len(found) == len(rows["rewards"])
    for place, transition in enumerate(found):
        terminal = bool(rows["terminals"][place])
        assert transition.terminal == terminal
        np.testing.assert_array_equal(transition.action, np.atleast_1d(rows["actions"][place]))
        np.testing.assert_array_equal(transition.reward, rows["rewards"][place : place + 1])
        since = buffer.usable_rows[place] - starts[place]
        stack = buffer.spec.stack
        first = max(stack - 1 - since, 0) if stack else 0  # d3rlpy pads with zeros
        np.testing.assert_array_equal(transition.observation[first:], rows["observations"][place][first:])
        if not terminal:
            first = max(first - 1, 0)
            np.testing.assert_array_equal(transition.next_observation[first:], rows["next_observations"][place][first:])


@pytest.mark.parametrize("way", ["file", "object"])
@given(
    ends=st.lists(st.tuples(st.integers(2, 6), st.sampled_from(ENDS)), min_size=1, max_size=5),
    known=st.booleans(),
    stack=st.sampled_from([0, 4]),
    actions=st.sampled_from(["float32", "int64"]),
)
def test_d3rlpy_has_the_same_transitions(new_path, way, ends, known, stack, actions):
    lengths, kinds = zip(*ends, strict=True)
    path = buffer_of(new_path("memory"), lengths, kinds, known=known, stack=stack, actions=actions)
    with rlbuffers.open(path) as buffer:
        replay = buffer.to_d3rlpy() if way == "object" else through_the_file(buffer, new_path)
        assert_transitions_are_those_of(replay, buffer)


def test_spaces_are_known(tmp_path):
    with rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (5, 4))))) as buffer:
        info = buffer.to_d3rlpy().dataset_info
        assert info.action_space == d3rlpy.constants.ActionSpace.DISCRETE
        assert info.action_size == buffer.spec.columns["actions"].space["n"]
        assert tuple(info.observation_signature.shape[0]) == (3,)


def test_several_observations_are_a_tuple(tmp_path, new_path):
    made = make(
        Recipe(
            "episodes",
            (5, 4),
            observations=(("observations/a", "float32", (3,)), ("observations/b", "uint8", (1, 4, 4))),
        )
    )
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        for replay in (buffer.to_d3rlpy(), through_the_file(buffer, new_path)):
            batch = replay.sample_transition_batch(8)
            assert [part.shape for part in batch.observations] == [(8, 3), (8, 1, 4, 4)]
            np.testing.assert_array_equal(replay.episodes[1].observations[1], made.table["observations/b"][5:])


@given(
    ends=st.lists(st.tuples(st.integers(2, 6), st.booleans()), min_size=1, max_size=5),
    discrete=st.booleans(),
    pixels=st.booleans(),
)
def test_what_d3rlpy_dumps_is_read(new_path, ends, discrete, pixels):
    rng = np.random.default_rng(0)
    episodes = [
        Episode(
            random_rows(rng, "uint8", (count, 1, 4, 4)) if pixels else random_rows(rng, "float32", (count, 3)),
            rng.integers(0, 4, (count, 1)) if discrete else random_rows(rng, "float32", (count, 2)),
            random_rows(rng, "float32", (count, 1)),
            terminated,
        )
        for count, terminated in ends
    ]
    replay = ReplayBuffer(InfiniteBuffer(), episodes=episodes)
    with (path := new_path("h5")).open("w+b") as file:
        replay.dump(file)
    rlbuffers.convert(d3rlpy_source(path), output := new_path("memory"))
    with rlbuffers.open(output) as buffer:
        for number, episode in enumerate(episodes):
            rows = buffer.episode(number)
            np.testing.assert_array_equal(rows["observations"], episode.observations)
            np.testing.assert_array_equal(rows["actions"].reshape(episode.actions.shape), episode.actions)
            np.testing.assert_array_equal(rows["rewards"][:, None], episode.rewards)
            assert rows["terminals"][-1] == episode.terminated
        again = through_the_file(buffer, new_path)
    for before, after in zip(replay.episodes, again.episodes, strict=True):
        np.testing.assert_array_equal(before.observations, after.observations)
        np.testing.assert_array_equal(before.actions, after.actions)
        np.testing.assert_array_equal(before.rewards, after.rewards)
        assert before.terminated == after.terminated


def test_mdp_dataset_agrees(new_path):
    """d3rlpy's own constructor of flat arrays gives the episodes that a buffer of these arrays gives."""
    rng = np.random.default_rng(0)
    arrays = {
        "observations": random_rows(rng, "float32", (30, 3)),
        "actions": random_rows(rng, "float32", (30, 2)),
        "rewards": random_rows(rng, "float32", (30,)),
        "terminals": np.isin(np.arange(30), [6, 19]),
        "timeouts": np.isin(np.arange(30), [11, 29]),
    }
    from rlbuffers.sources.npz import NpzSource

    np.savez(path := new_path("npz"), **arrays)
    rlbuffers.convert(NpzSource(path), output := new_path("memory"))
    theirs = MDPDataset(**{name: values.astype(np.float32) for name, values in arrays.items()})
    with rlbuffers.open(output) as buffer:
        ours = buffer.to_d3rlpy()
    assert len(ours.episodes) == len(theirs.episodes) == 4
    for mine, their in zip(ours.episodes, theirs.episodes, strict=True):
        np.testing.assert_array_equal(mine.observations, their.observations)
        np.testing.assert_array_equal(mine.rewards, their.rewards)
        assert mine.terminated == their.terminated


def test_the_fixture(new_path):
    theirs = loaded(FIXTURE)
    rlbuffers.convert(d3rlpy_source(FIXTURE), output := new_path("memory"))
    with rlbuffers.open(output) as buffer:
        ours = through_the_file(buffer, new_path)
        assert_transitions_are_those_of(theirs, buffer)
    assert ours.transition_count == theirs.transition_count
    for mine, their in zip(ours.episodes, theirs.episodes, strict=True):
        np.testing.assert_array_equal(mine.observations, their.observations)
        np.testing.assert_array_equal(mine.actions, their.actions)


def test_an_algorithm_learns_from_it(tmp_path):
    with rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (20, 20))))) as buffer:
        dqn = d3rlpy.algos.DQNConfig(batch_size=8).create(device="cpu")
        dqn.fit(
            buffer.to_d3rlpy(),
            n_steps=2,
            n_steps_per_epoch=2,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )


def test_whole_continuous_actions_load_as_the_export_says(new_path):
    """``ReplayBuffer.load`` takes them for discrete ones; what ``left_out`` says to do instead does not."""
    path = new_path("memory")
    spec = rlbuffers.BufferSpec(
        "episodes",
        [
            rlbuffers.ColumnSpec("observations", np.float32, (2,)),
            rlbuffers.ColumnSpec("actions", np.float32, (2,)),
            rlbuffers.ColumnSpec("rewards", np.float32),
            rlbuffers.ColumnSpec("terminals", np.bool_),
        ],
    )
    rows = {
        "actions": np.ones((4, 2), np.float32),
        "rewards": np.zeros(4, np.float32),
        "terminals": np.arange(4) == 3,
    }
    with rlbuffers.create(path, spec) as writer:
        writer.append_episode(rlbuffers.Episode(rows, {"observations": np.zeros((5, 2), np.float32)}))
    output = new_path("h5")
    with rlbuffers.open(path) as buffer:
        report = export(buffer, output, "d3rlpy")
    assert "action_space=ActionSpace.CONTINUOUS, action_size=2" in " ".join(report.left_out)
    space = d3rlpy.constants.ActionSpace
    assert loaded(output).dataset_info.action_space == space.DISCRETE
    with output.open("rb") as file:
        episodes = d3rlpy.dataset.load(Episode, file)
    replay = ReplayBuffer(InfiniteBuffer(), episodes=episodes, action_space=space.CONTINUOUS, action_size=2)
    assert (replay.dataset_info.action_space, replay.dataset_info.action_size) == (space.CONTINUOUS, 2)
