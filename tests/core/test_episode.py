from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference import Recipe, make

from rlbuffers import BufferSpec, ColumnSpec, Episode, Transitions
from rlbuffers.errors import SpecError

VECTORS = make(Recipe("episodes", (4,)))
IMAGES = make(Recipe("episodes", (4,), stack=3))
SHUFFLED = make(Recipe("transitions", (4,), stack=3))


def test_rows_of_an_episode_are_those_that_are_stored():
    (episode,) = VECTORS.pieces
    rows = episode.rows_of(VECTORS.spec)
    np.testing.assert_array_equal(rows["observations"], episode.observations["observations"][:4])
    np.testing.assert_array_equal(rows["episodes/final_observations"], episode.observations["observations"][4:])
    np.testing.assert_array_equal(rows["rewards"], episode.columns["rewards"])
    assert len(episode) == 4


def test_frames_of_an_episode_are_stored_as_they_are():
    (episode,) = IMAGES.pieces
    np.testing.assert_array_equal(episode.rows_of(IMAGES.spec)["frames"], episode.observations["frames"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "columns"),
        ({"actions": None}, "columns"),
        ({"discounts": np.ones(4)}, "columns"),
        ({"rewards": np.ones(4)}, "'rewards': expected rows of dtype float32"),
        ({"rewards": np.ones((4, 1), np.float32)}, r"shape \(\)"),
        ({"rewards": np.float32(1)}, "'rewards'"),
        ({"actions": np.zeros(3, np.int64)}, "'actions': expected 4 rows"),
        ({"actions": np.zeros(4, ">i8")}, "'actions': expected rows of dtype int64"),
    ],
)
def test_an_episode_with_other_columns_than_declared_is_refused(change, message):
    (episode,) = VECTORS.pieces
    columns = {name: values for name, values in {**episode.columns, **change}.items() if values is not None}
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(episode, columns=columns).rows_of(VECTORS.spec)


def test_an_episode_without_steps_is_refused():
    (episode,) = VECTORS.pieces
    columns = {name: values[:0] for name, values in episode.columns.items()}
    with pytest.raises(SpecError, match="no steps"):
        dataclasses.replace(episode, columns=columns).rows_of(VECTORS.spec)


@pytest.mark.parametrize(
    ("made", "observations", "message"),
    [
        (VECTORS, {}, "observations"),
        (VECTORS, {"frames": np.zeros((5, 3), np.float32)}, "observations"),
        (VECTORS, {"observations": np.zeros((3, 3), np.float32)}, "expected 5 rows for 4 steps"),
        (VECTORS, {"observations": np.zeros((6, 3), np.float32)}, "expected 5 rows for 4 steps"),
        (VECTORS, {"observations": np.zeros((5, 2), np.float32)}, r"shape \(3,\)"),
        (VECTORS, {"observations": np.zeros((5, 3), np.float64)}, "dtype float32"),
        (IMAGES, {"frames": np.zeros((5, 3, 4), np.uint8)}, "expected 7 rows for 4 steps"),
        (IMAGES, {"frames": np.zeros((7, 4, 3), np.uint8)}, r"shape \(3, 4\)"),
        (IMAGES, {"observations": np.zeros((5, 3, 3, 4), np.uint8)}, "observations"),
    ],
)
def test_observations_that_do_not_fit_are_refused(made, observations, message):
    (episode,) = made.pieces
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(episode, observations=observations).rows_of(made.spec)


@pytest.mark.parametrize("made", [VECTORS, IMAGES])
def test_zeros_stand_where_the_last_observation_is_not_known(made):
    (episode,) = made.pieces
    ((name, values),) = episode.observations.items()
    complete = episode.rows_of(made.spec)
    cut = dataclasses.replace(episode, observations={name: values[:-1]}).rows_of(made.spec)
    assert (complete["episodes/final_known"].tolist(), cut["episodes/final_known"].tolist()) == ([True], [False])
    last = "frames" if made.spec.stack else "episodes/final_observations"
    np.testing.assert_array_equal(cut[last][-1], np.zeros_like(values[0]))
    np.testing.assert_array_equal(complete[last][-1], values[-1])


def test_all_observation_columns_know_the_last_one_or_none_does():
    plain = [ColumnSpec("actions", np.int64), ColumnSpec("rewards", np.float32)]
    spec = BufferSpec("episodes", [ColumnSpec(f"observations/{key}", np.float32) for key in "ab"] + plain)
    columns = {"actions": np.zeros(3, np.int64), "rewards": np.zeros(3, np.float32)}
    observations = {"observations/a": np.zeros(4, np.float32), "observations/b": np.zeros(3, np.float32)}
    with pytest.raises(SpecError, match="without it in every observation column"):
        Episode(columns, observations).rows_of(spec)


@pytest.mark.parametrize(("value", "stored"), [(7, 7), (np.int32(7), 7), (np.array([7]), 7), (True, 1)])
def test_facts_are_converted_where_nothing_is_lost(value, stored):
    assert facts_rows({"seeds": value})["episodes/seeds"].tolist() == [stored]


@pytest.mark.parametrize(
    "facts", [{}, {"seeds": 1.5}, {"seeds": 300}, {"seeds": -1}, {"seeds": [1, 2]}, {"seeds": "x"}]
)
def test_facts_that_do_not_fit_are_refused(facts):
    with pytest.raises(SpecError, match=r"facts|seeds"):
        facts_rows(facts)


def facts_rows(facts):
    spec = BufferSpec("episodes", VECTORS.spec.columns, episode_columns=[ColumnSpec("seeds", np.uint8)])
    (episode,) = VECTORS.pieces
    return Episode(episode.columns, episode.observations, facts).rows_of(spec)


def test_stacks_that_overlap_share_their_frames():
    batch = make(Recipe("transitions", (200,), stack=3, apart=0.5, seed=1)).table
    found = Transitions.from_stacks({}, batch["observations"], batch["next_observations"])
    apart = [
        row
        for row in range(200)
        if any((batch["observations"][row, k + 1] != batch["next_observations"][row, k]).any() for k in range(2))
    ]
    assert found.override_rows.tolist() == apart
    np.testing.assert_array_equal(found.override_observations, batch["next_observations"][apart])
    np.testing.assert_array_equal(found.windows[:, :3], batch["observations"])
    np.testing.assert_array_equal(found.windows[:, 3], batch["next_observations"][:, 2])


def transitions(**changes):
    columns = {name: values for name, values in SHUFFLED.table.items() if "observations" not in name}
    made = Transitions.from_stacks(columns, SHUFFLED.table["observations"], SHUFFLED.table["next_observations"])
    return dataclasses.replace(made, **changes)


def test_transitions_that_fit_pass():
    transitions().check(SHUFFLED.spec)
    transitions(override_rows=None, override_observations=None).check(SHUFFLED.spec)
    transitions(override_rows=np.array([1, 3]), override_observations=np.zeros((2, 3, 3, 4), np.uint8)).check(
        SHUFFLED.spec
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {}}, "columns"),
        ({"columns": {**transitions().columns, "rewards": np.zeros(4)}}, "'rewards'"),
        ({"columns": {**transitions().columns, "actions": np.zeros(5, np.int64)}}, "'actions': expected 4 rows"),
        ({"windows": None}, "windows: expected 4 frames"),
        ({"windows": np.zeros((4, 4, 3, 4), np.float32)}, "'windows': expected rows of dtype uint8"),
        ({"windows": np.zeros((4, 3, 3, 4), np.uint8)}, "'windows'"),
        ({"windows": np.zeros((3, 4, 3, 4), np.uint8)}, "windows: expected 4 frames"),
        ({"override_rows": np.array([0])}, "override"),
        ({"override_rows": None}, "override"),
        ({"override_rows": np.array([4]), "override_observations": np.zeros((1, 3, 3, 4), np.uint8)}, "override"),
        ({"override_rows": np.array([-1]), "override_observations": np.zeros((1, 3, 3, 4), np.uint8)}, "override"),
        ({"override_rows": np.array([2, 1]), "override_observations": np.zeros((2, 3, 3, 4), np.uint8)}, "ascending"),
        ({"override_rows": np.array([1, 1]), "override_observations": np.zeros((2, 3, 3, 4), np.uint8)}, "ascending"),
        ({"override_rows": np.array([1]), "override_observations": np.zeros((1, 4, 3, 4), np.uint8)}, "override"),
    ],
)
def test_transitions_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        transitions(**changes).check(SHUFFLED.spec)
