from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, taken, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import (
    BufferBusyError,
    BufferExistsError,
    BufferNotFoundError,
    RlbuffersError,
    SpecError,
    UsageError,
)
from rlbuffers.stores.memory_store import MemoryWriter

VECTORS = Recipe("episodes", (3, 1, 7))
SHUFFLED = Recipe("transitions", (5, 4), stack=2, apart=0.5)


@pytest.fixture
def path(store, new_path):
    return new_path(store)


def leftovers(path):
    return sorted(entry.name for entry in path.parent.glob(f"*{path.name}*")) if ":" not in str(path) else []


def test_nothing_stands_under_the_path_before_the_commit(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec) as writer:
        writer.append_episode(made.pieces[0])
        with pytest.raises(BufferNotFoundError):
            rlbuffers.open(path)
    assert len(rlbuffers.open(path)) == 3
    assert leftovers(path) in ([], [path.name])


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_leaves_nothing(path, error):
    made = make(VECTORS)
    with pytest.raises(type(error)), rlbuffers.create(path, made.spec) as writer:  # noqa: PT012
        writer.append_episode(made.pieces[0])
        raise error
    with pytest.raises(BufferNotFoundError):
        rlbuffers.open(path)
    assert leftovers(path) == []


def test_an_existing_buffer_is_kept_unless_overwriting_succeeds(path):
    write(path, make(VECTORS))
    with pytest.raises(BufferExistsError):
        rlbuffers.create(path, make(SHUFFLED).spec)
    with contextlib.suppress(ZeroDivisionError), rlbuffers.create(path, make(SHUFFLED).spec, overwrite=True) as writer:
        writer.append_transitions(make(SHUFFLED).pieces[0])
        assert_same_rows(rlbuffers.open(path)[:], make(VECTORS).table)
        raise ZeroDivisionError
    assert_same_rows(rlbuffers.open(path)[:], make(VECTORS).table)
    with rlbuffers.create(path, make(SHUFFLED).spec, overwrite=True) as writer:
        writer.append_transitions(make(SHUFFLED).pieces[0])
    assert_same_rows(rlbuffers.open(path)[:], taken(make(SHUFFLED).table, slice(5)))


def test_a_buffer_that_is_open_survives_being_replaced(path):
    write(path, make(VECTORS))
    with rlbuffers.open(path, cache=0) as opened:
        before = opened[:]
        with rlbuffers.create(path, make(SHUFFLED).spec, overwrite=True) as writer:
            writer.append_transitions(make(SHUFFLED).pieces[0])
        assert_same_rows(opened[:], before)


def test_two_writers_of_one_path(new_path):
    for store in ("hdf5", "zarr"):
        path = new_path(store)
        made = make(VECTORS)
        with rlbuffers.create(path, made.spec) as writer:
            with pytest.raises(BufferBusyError, match="another process is writing it"):
                rlbuffers.create(path, made.spec, overwrite=True)
            writer.append_episode(made.pieces[0])
        assert_same_rows(rlbuffers.open(path)[:], taken(made.table, slice(3)))


def test_a_buffer_without_transitions_is_refused(path):
    with pytest.raises(SpecError, match="no transitions"), rlbuffers.create(path, make(VECTORS).spec):
        pass
    assert leftovers(path) == []


def test_committing_by_hand_inside_the_block_is_enough(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec) as writer:
        writer.append_episode(made.pieces[0])
        assert writer.commit() == path
    assert len(rlbuffers.open(path)) == 3


def test_aborting_by_hand_inside_the_block_leaves_nothing(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec) as writer:
        writer.append_episode(made.pieces[0])
        writer.abort()
    with pytest.raises(BufferNotFoundError):
        rlbuffers.open(path)


def test_a_finished_writer_takes_nothing_more(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec) as writer:
        writer.append_episode(made.pieces[0])
    for ask in (lambda: writer.append_episode(made.pieces[0]), writer.commit):
        with pytest.raises(UsageError, match="finished"):
            ask()
    writer.abort()
    assert_same_rows(rlbuffers.open(path)[:], taken(made.table, slice(3)))


@pytest.mark.parametrize("name", ["buffer", "buffer.txt", "buffer.hdf5.gz"])
def test_a_name_of_no_known_format_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"must end in \.hdf5, \.zarr or \.zarr\.zip"):
        rlbuffers.create(tmp_path / name, make(VECTORS).spec)
    assert list(tmp_path.iterdir()) == []


def test_arrays_may_be_reused_for_the_next_append(path):
    recipe = Recipe("transitions", (5, 5, 5))
    made = make(recipe)
    reused = {name: np.empty_like(values) for name, values in made.pieces[0].items()}
    with rlbuffers.create(path, made.spec) as writer:
        for piece in made.pieces:
            for name, values in piece.items():
                reused[name][:] = values
            writer.append_transitions(reused)
    assert_same_rows(rlbuffers.open(path)[:], made.table)


def test_frames_of_an_episode_may_be_reused(path):
    made = make(Recipe("episodes", (5, 5), stack=2))
    frames = np.empty_like(made.pieces[0].observations["frames"])
    with rlbuffers.create(path, made.spec) as writer:
        for piece in made.pieces:
            frames[:] = piece.observations["frames"]
            writer.append_episode(Episode(piece.columns, {"frames": frames}))
    assert_same_rows(rlbuffers.open(path)[:], made.table)


@pytest.mark.parametrize("recipe", [VECTORS, SHUFFLED], ids=["episodes", "transitions"])
def test_what_does_not_fit_is_refused_and_nothing_of_it_added(path, recipe):
    made = make(recipe)
    with rlbuffers.create(path, made.spec) as writer:
        append, wrong = (
            (writer.append_episode, writer.append_transitions)
            if recipe.layout == "episodes"
            else (writer.append_transitions, writer.append_episode)
        )
        with pytest.raises(SpecError, match="needs layout"):
            wrong(made.pieces[0])
        for number, piece in enumerate(made.pieces):
            with pytest.raises(SpecError):
                append(spoiled(piece, number))
            append(piece)
    assert_same_rows(rlbuffers.open(path)[:], made.table)


def spoiled(piece, number):
    name = ["rewards", "actions", "terminals"][number]
    if isinstance(piece, dict):
        return {**piece, name: piece[name][:-1]}
    return Episode({**piece.columns, name: piece.columns[name].astype(np.float64)}, piece.observations)


@pytest.mark.parametrize(
    "change",
    [
        lambda batch: batch.pop("rewards"),
        lambda batch: batch.pop("observations"),
        lambda batch: batch.pop("next_observations"),
        lambda batch: batch.update(observations=batch["observations"][:-1]),
        lambda batch: batch.update(next_observations=batch["next_observations"][:, :-1]),
        lambda batch: batch.update(observations=batch["observations"].astype(np.float32)),
        lambda batch: batch.update(next_observations=batch["next_observations"].astype(np.int8)),
        lambda batch: batch.update(observations=batch["observations"][..., 0]),
        lambda batch: batch.update(observations=None),
    ],
)
def test_a_batch_of_stacks_that_does_not_fit_is_refused(change):
    batch = dict(make(SHUFFLED).pieces[0])
    change(batch)
    writer = rlbuffers.create("memory:refused", make(SHUFFLED).spec)
    with pytest.raises(SpecError):
        writer.append_transitions(batch)


@pytest.mark.parametrize("metadata", [{"x": np.float32(1)}, {"x": math.nan}, {"x": {1, 2}}, {"x": math.inf}])
def test_metadata_that_are_no_json_are_refused_before_anything_is_written(path, metadata):
    with pytest.raises(UsageError, match="JSON"):
        rlbuffers.create(path, make(VECTORS).spec, metadata)
    assert leftovers(path) == []


def test_metadata_may_change_until_the_commit(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec, {"license": "MIT", "notes": ["a"]}) as writer:
        writer.append_episode(made.pieces[0])
        writer.metadata["license"] = "CC-BY-4.0"
    metadata = rlbuffers.open(path).metadata
    assert metadata["license"] == "CC-BY-4.0"
    assert metadata["notes"] == ["a"]


def test_metadata_cannot_hide_what_the_writer_knows(path):
    made = make(VECTORS)
    with rlbuffers.create(path, made.spec, {"counts": {}, "format": "mine", "checksum": "", "arrays": {}}) as writer:
        writer.append_episode(made.pieces[0])
    assert len(rlbuffers.open(path)) == 3


def test_large_metadata_fit(path):
    notes = ["é" * 70_000]
    write(path, make(VECTORS), {"notes": notes})
    assert rlbuffers.open(path).metadata["notes"] == notes


def test_counts_and_statistics_of_episodes(path):
    made = make(Recipe("episodes", (3, 1, 7), seed=5))
    cut = Episode(made.pieces[2].columns, made.pieces[2].observations, whole=False)
    with rlbuffers.create(path, made.spec) as writer:
        for episode in (*made.pieces[:2], cut):
            writer.append_episode(episode)
    metadata = rlbuffers.open(path).metadata
    assert metadata["counts"] == {"transitions": 11, "terminals": 3, "timeouts": 0, "episodes": 3, "whole_episodes": 2}
    statistics = metadata["statistics"]
    assert statistics["action_counts"] == [int((made.table["actions"] == action).sum()) for action in range(6)]
    assert statistics["reward_sum"] == pytest.approx(made.table["rewards"].astype(np.float64).sum())
    assert statistics["episode_lengths"]["median"] == 3
    returns = [episode.columns["rewards"].astype(np.float64).sum() for episode in made.pieces[:2]]
    assert statistics["episode_returns"]["mean"] == pytest.approx(np.mean(returns))
    assert statistics["observations"]["mean"] == pytest.approx(made.table["observations"].mean(axis=0, dtype=float))
    assert "actions" not in statistics


def test_counts_of_stacked_transitions(path):
    counts = rlbuffers.open(write(path, make(SHUFFLED))).metadata["counts"]
    table = make(SHUFFLED).table
    overrides = sum((table["next_observations"][row, 0] != table["observations"][row, 1]).any() for row in range(9))
    assert overrides > 0
    assert counts == {"transitions": 9, "terminals": 2, "timeouts": 0, "frames": 27, "next_overrides": overrides}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_stored_as_they_are(path, bad):
    made = make(VECTORS)
    made.pieces[1].columns["rewards"][0] = bad
    made.pieces[2].columns["rewards"][:2] = -bad, bad
    with rlbuffers.open(write(path, made)) as buffer:
        np.testing.assert_array_equal(buffer[3:6]["rewards"], np.array([bad, -bad, bad], np.float32))
        assert buffer.metadata["statistics"]["reward_sum"] is None
        assert buffer.metadata["statistics"]["rewards"]["not_finite"] == 3


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_actions_are_counted_whatever_their_integers(dtype, shape):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32),
            ColumnSpec("actions", dtype, shape, {"type": "discrete", "n": 2}),
            ColumnSpec("rewards", np.float64),
        ],
    )
    actions = np.ones((3, *shape), dtype)
    columns = {"actions": actions, "rewards": np.zeros(3)}
    with rlbuffers.create(f"memory:{dtype}{shape}", spec) as writer:
        writer.append_episode(Episode(columns, {"observations": np.zeros(4, np.float32)}))
    assert rlbuffers.open(writer.path).metadata["statistics"]["action_counts"] == [0, actions.size]


def test_values_of_any_size_are_written_without_warnings(path):
    made = make(Recipe("transitions", (4,), observations=(("observations", "float64", (2,)),)))
    made.pieces[0]["observations"][:] = [[1e308, -1e308], [-1e308, 1e308], [1e300, 5e-324], [0.0, -0.0]]
    with rlbuffers.open(write(path, made)) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], made.pieces[0]["observations"])


def test_a_store_that_cannot_finish_leaves_nothing(new_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    for store in ("hdf5", "zarr"):
        path = new_path(store)
        made = make(VECTORS)
        writer = rlbuffers.create(path, made.spec)
        writer.append_episode(made.pieces[0])
        monkeypatch.setattr(writer._store, "finish", fail)
        monkeypatch.setattr(writer._store, "abort", fail)
        with pytest.raises(OSError, match="No space"):
            writer.commit()
        assert leftovers(path) == []


def test_a_store_that_cannot_begin_leaves_nothing(new_path, monkeypatch):
    def fail(*args):
        raise RlbuffersError("no")

    monkeypatch.setattr(MemoryWriter, "create_array", fail)
    path = new_path("memory")
    with pytest.raises(RlbuffersError, match="no"):
        rlbuffers.create(path, make(VECTORS).spec)
    with pytest.raises(BufferNotFoundError):
        rlbuffers.open(path)
