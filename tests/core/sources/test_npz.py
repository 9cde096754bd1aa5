from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.npz import NpzSource

STEPS = 7


def columns(**change):
    """Seven steps: a terminal after row 1, a timeout after row 4, and an end that no flag marks."""
    rng = np.random.default_rng(0)
    made = {
        "observations": rng.normal(size=(STEPS, 3)).astype(np.float32),
        "actions": rng.integers(0, 4, STEPS),
        "rewards": rng.normal(size=STEPS),
        "terminals": np.arange(STEPS) == 1,
        "timeouts": np.arange(STEPS) == 4,
    }
    return {name: rows for name, rows in {**made, **change}.items() if rows is not None}


def converted(folder, arrays, new_path):
    np.savez(folder / "x.npz", **arrays)
    path = new_path("hdf5")
    rlbuffers.convert(NpzSource(folder / "x.npz"), path)
    return rlbuffers.open(path)


def test_columns_are_kept_and_cut_at_the_flags(tmp_path, new_path):
    given = columns(**{"infos/qpos": np.arange(STEPS * 2.0).reshape(STEPS, 2)})
    with converted(tmp_path, given, new_path) as buffer:
        rows = buffer[:]
        for name, values in given.items():
            np.testing.assert_array_equal(rows[name], values)
            assert rows[name].dtype == values.dtype
        assert buffer.arrays["episodes/lengths"].all().tolist() == [2, 3, 2]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, True, False]
        assert buffer.rows_without_next.tolist() == [1, 4, 6]


def test_next_observations_give_the_last_one_of_each_episode(tmp_path, new_path):
    given = columns()
    following = np.concatenate([given["observations"][1:], np.zeros((1, 3), np.float32)])
    following[[1, 4, 6]] = [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    with converted(tmp_path, {**given, "next_observations": following}, new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["next_observations"], following)
        assert len(buffer.rows_without_next) == 0


def test_a_reset_without_a_flag_cuts_and_warns(tmp_path, new_path):
    given = columns()
    following = np.concatenate([given["observations"][1:], np.ones((1, 3), np.float32)])
    following[[1, 2, 4]] += 1.0
    with converted(tmp_path, {**given, "next_observations": following}, new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["next_observations"], following)
        assert buffer.arrays["episodes/lengths"].all().tolist() == [2, 1, 2, 2]
        assert buffer.metadata["warnings"][0].startswith("THE ROWS DO NOT FOLLOW ONE ANOTHER: after 1 of 7 rows")


def test_next_observations_made_by_shifting_are_not_believed(tmp_path, new_path):
    """At a timeout they would be the first observation of the next episode."""
    given = columns()
    shifted = np.roll(given["observations"], -1, axis=0)
    with converted(tmp_path, {**given, "next_observations": shifted}, new_path) as buffer:
        assert buffer.rows_without_next.tolist() == [1, 4, 6]
        assert not buffer[4]["next_observations"].any()
        assert buffer.metadata["left_out"][0].startswith("next_observations: at the ends of episodes they are the fir")


@pytest.mark.parametrize("run", [7, 8])
def test_long_runs_of_terminals_between_timeouts_are_goals(tmp_path, new_path, run):
    rows = np.arange(30)
    given = {
        "observations": rows[:, None] * np.ones(2),
        "actions": np.zeros((30, 1)),
        "rewards": np.zeros(30),
        "terminals": (rows >= 12) & (rows < 12 + run),
        "timeouts": np.isin(rows, [9, 24]),
    }
    with converted(tmp_path, given, new_path) as buffer:
        lengths = buffer.arrays["episodes/lengths"].all().tolist()
        if run == 8:
            assert lengths == [10, 15, 5]
            assert buffer.arrays["episodes/whole"].all().tolist() == [True, True, False]
            assert buffer.metadata["environment"] == {"terminals_end_episodes": False}
            assert "They were taken for goals" in buffer.metadata["warnings"][0]
        else:
            assert lengths.count(1) == 6


@pytest.mark.parametrize("flag", ["terminals", "timeouts"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_flags_and_rewards_may_have_other_forms(tmp_path, new_path, flag, dtype):
    given = columns()
    other = {**given, flag: given[flag].astype(dtype)[:, None], "rewards": given["rewards"][:, None]}
    with converted(tmp_path, given, new_path) as expected, converted(tmp_path, other, new_path) as found:
        assert found.fingerprint == expected.fingerprint


def test_arrays_of_the_whole_are_extras_and_scalars(tmp_path, new_path):
    more = {
        "metadata/policy/w": np.eye(STEPS),
        "metadata/iteration": np.int32(5),
        "metadata/algorithm": np.array("SAC"),
    }
    with converted(tmp_path, columns(**more, empty=np.zeros((0, 2))), new_path) as buffer:
        np.testing.assert_array_equal(buffer.extra("metadata/policy/w"), np.eye(STEPS))
        assert buffer.metadata["scalars"] == {
            "metadata/iteration": {"dtype": "int32", "value": 5},
            "metadata/algorithm": {"dtype": "str", "value": "SAC"},
        }
        assert buffer.metadata["left_out"] == ["'empty', whose dtype float64 or shape (0, 2) cannot be stored"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "expected arrays rewards; found actions, observations, terminals, timeouts"),
        ({"observations": None}, "expected arrays observations; found"),
        ({"terminals": None, "actions": None}, "expected arrays actions, terminals"),
        ({"actions": np.zeros(6)}, "expected 7 rows in 'actions', like 'rewards'; found 6 rows"),
        ({"terminals": np.full(STEPS, b"x")}, r"expected numbers of at most 8 bytes in 'terminals', found \|S1"),
        ({"rewards": np.zeros(STEPS, complex)}, "expected numbers of at most 8 bytes in 'rewards', found complex128"),
        (
            {"next_observations": np.zeros((STEPS, 3, 2))},
            r"expected rows of shape \(3,\) in 'next_observations', like 'observations'; found \(3, 2\)",
        ),
        ({"episodes/starts": np.zeros(STEPS)}, "the format has an array 'episodes/starts' already"),
        ({"timeouts": np.array(True)}, "expected 7 rows in 'timeouts', like 'rewards'; found a scalar"),
    ],
)
def test_what_is_missing_or_uneven_is_named(tmp_path, change, message):
    np.savez(tmp_path / "x.npz", **columns(**change))
    with pytest.raises(FormatError, match=rf"x\.npz: {message}"):
        NpzSource(tmp_path / "x.npz")


def test_a_file_cut_short_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **columns())
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        NpzSource(tmp_path / "x.npz")


def test_other_files_are_refused(tmp_path):
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    for content in (b"text", pickle.dumps({"observations": 1}), single.getvalue()):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(FormatError, match="expected a NumPy archive"):
            NpzSource(tmp_path / "x.npz")
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        NpzSource(tmp_path / "nothing.npz")


def test_objects_are_never_loaded(tmp_path, new_path):
    with converted(tmp_path, columns(infos=np.array([{}] * STEPS, object)), new_path) as buffer:
        assert buffer.metadata["left_out"] == ["'infos', which holds Python objects (a pickle)"]
        assert len(buffer) == STEPS


def test_a_needed_column_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **columns(observations=None, obs=np.array([None] * STEPS, object)))
    with pytest.raises(FormatError, match=r"expected numbers in obs, found Python objects \(a pickle\)"):
        NpzSource(tmp_path / "x.npz")
