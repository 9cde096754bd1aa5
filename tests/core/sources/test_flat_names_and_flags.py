"""Flat files as people have them: other names, other flags, in archives and HDF5 files alike."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import rlbuffers
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.npz import NpzSource

STEPS = 12
NAMES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")


def rows_at(*rows):
    return np.isin(np.arange(STEPS), rows)


def steps(**change):
    """Twelve steps: the task ends after rows 3 and 8, a time limit after row 6."""
    rng = np.random.default_rng(3)
    observations = rng.normal(size=(STEPS, 2)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    following[[3, 6, 8, 11]] += 9
    made = {
        "observations": observations,
        "actions": rng.integers(0, 3, (STEPS, 1)),
        "rewards": rng.normal(size=STEPS),
        "terminals": rows_at(3, 8),
        "timeouts": rows_at(6),
        "next_observations": following,
    }
    return {name: rows for name, rows in {**made, **change}.items() if rows is not None}


def renamed(arrays, **names):
    return {names.get(name, name): rows for name, rows in arrays.items()}


def npz(folder, arrays, names, stem):
    np.savez(folder / f"{stem}.npz", **arrays)
    return NpzSource(folder / f"{stem}.npz", names)


def hdf5(folder, arrays, names, stem):
    with h5py.File(folder / f"{stem}.hdf5", "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return D4RLSource(folder / f"{stem}.hdf5", names=names)


@pytest.fixture(params=[npz, hdf5], ids=["npz", "hdf5"])
def converted(request, tmp_path, new_path):
    """A function from arrays to the buffer that is made of a file of them."""

    def convert(arrays, names=None, stem="x"):
        path = new_path("memory")
        rlbuffers.convert(request.param(tmp_path, arrays, names, stem), path)
        return rlbuffers.open(path)

    return convert


def assert_is_steps(buffer, names=NAMES):
    expected, found = steps(), buffer[:]
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
    assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 3, 2, 3]


@pytest.mark.parametrize(
    "names",
    [
        ("obs", "acts", "rews", "terminated", "truncated", "next_obs"),
        ("observation", "action", "reward", "terminal", "timeout", "next_observation"),
        ("obs", "act", "rew", "terminations", "truncations", "obs_next"),
        ("states", "a", "r", "terminal", "timeouts", "next_states"),
        ("state", "action", "reward", "is_terminal", "timeout", "next_state"),
        ("Obs", "Actions", "Reward", "Terminals", "Timeouts", "obs2"),
    ],
)
def test_usual_names_are_understood(converted, names):
    given = dict(zip(names, steps().values(), strict=True))
    with converted(given) as buffer:
        assert_is_steps(buffer)
        other = {name: own for name, own in zip(NAMES, names, strict=True) if name != own}
        assert other.items() >= buffer.metadata["source"]["columns"].items()
        assert buffer.metadata["source"]["columns"]["next_observations"] == names[-1]


@pytest.mark.parametrize(
    ("flags", "timeouts"),
    [
        ({"dones": rows_at(3, 6, 8), "timeouts": rows_at(6)}, True),
        ({"done": rows_at(3, 6, 8).astype(np.float32)[:, None], "terminals": rows_at(3, 8)}, True),
        ({"not_done": ~rows_at(3, 6, 8), "terminals": rows_at(3, 8)}, True),
        ({"dones": rows_at(3, 6, 8), "masks": (~rows_at(3, 8)).astype(np.float32)}, True),
        ({"dones_float": rows_at(3, 6, 8).astype(float), "masks": ~rows_at(3, 8)}, True),
        ({"masks": ~rows_at(3, 8), "timeouts": rows_at(6)}, True),
        ({"not_dones_no_max": ~rows_at(3, 8), "not_dones": ~rows_at(3, 6, 8)}, True),
        ({"masks": ~rows_at(3, 8), "terminals": rows_at(3, 8)}, False),
        ({"masks": ~rows_at(3, 8)}, False),
        ({"terminated": rows_at(3, 8), "terminals": rows_at(3, 8).astype(int), "timeouts": rows_at(6)}, True),
        ({"done": rows_at(3, 8), "terminals": rows_at(3, 8)}, False),
    ],
)
def test_flags_mean_what_stands_beside_them(converted, flags, timeouts):
    given = steps(terminals=None, timeouts=None) | flags
    with converted(given) as buffer:
        assert_is_steps(buffer, [name for name in NAMES if timeouts or name != "timeouts"])
        assert ("timeouts" in buffer.spec.columns) == timeouts
        assert not set(buffer.spec.columns) - set(NAMES)


def test_dones_alone_are_terminals_with_a_warning(converted):
    with converted(steps(terminals=None, timeouts=None, done=rows_at(3, 6, 8))) as buffer:
        assert np.flatnonzero(buffer[:]["terminals"]).tolist() == [3, 6, 8]
        assert "The file has only 'done', which do not tell" in buffer.metadata["warnings"][0]
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 3, 2, 3]


def test_masks_beside_other_terminals_show_that_these_are_ends_of_recordings(converted):
    """As in OGBench: play goes on where a task is done."""
    given = steps(terminals=rows_at(5, 11).astype(np.float32), timeouts=None, masks=1.0 - rows_at(2, 3, 11))
    given["next_observations"] = np.roll(given["observations"], -1, axis=0)
    given["next_observations"][[5, 11]] += 9
    with converted(given) as buffer:
        rows = buffer[:]
        assert np.flatnonzero(rows["terminals"]).tolist() == [2, 3, 11]
        assert np.flatnonzero(rows["timeouts"]).tolist() == [5, 11]
        np.testing.assert_array_equal(rows["next_observations"], given["next_observations"])
        assert buffer.arrays["episodes/lengths"].all().tolist() == [6, 6]
        assert buffer.arrays["episodes/whole"].all().all()
        assert buffer.metadata["environment"] == {"terminals_end_episodes": False}
        assert "'terminals' were taken for ends of recordings" in buffer.metadata["warnings"][0]


@pytest.mark.parametrize("stem", ["antmaze-large-navigate-v0", "cube-double-play-v0-val"])
def test_ogbench_is_known_by_its_file_names(converted, stem):
    given = steps(terminals=rows_at(3, 6, 8, 11), timeouts=None)
    with converted(given, stem=stem) as buffer:
        rows = buffer[:]
        assert not rows["terminals"].any()
        assert np.flatnonzero(rows["timeouts"]).tolist() == [3, 6, 8, 11]
        assert "no terminal is set" in buffer.metadata["notes"][0]


def test_starts_say_where_episodes_begin_and_not_how_they_ended(converted):
    with converted(steps(terminals=None, timeouts=None, episode_starts=rows_at(0, 4, 7, 9))) as buffer:
        assert not buffer[:]["terminals"].any()
        assert "timeouts" not in buffer.spec.columns
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 3, 2, 3]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, True, True, False]
        assert "not how they ended" in buffer.metadata["warnings"][0]


def test_a_file_may_begin_inside_an_episode(converted):
    with converted(steps(terminals=None, timeouts=None, episode_starts=rows_at(4, 7, 9))) as buffer:
        assert buffer.arrays["episodes/whole"].all().tolist() == [False, True, True, False]


def test_other_columns_of_such_names_stay(converted):
    """States beside observations are a simulator's; masks of many numbers, and done as row numbers, are no flags."""
    more = {
        "states": np.arange(STEPS * 5.0).reshape(STEPS, 5),
        "next_states": np.arange(STEPS * 5.0).reshape(STEPS, 5),
        "masks": np.ones((STEPS, 3)),
        "done": np.array([3, 8]),
        "d": np.arange(STEPS),
    }
    with converted(steps(**more)) as buffer:
        assert_is_steps(buffer)
        rows = buffer[:]
        for name in ("states", "next_states", "masks", "d"):
            np.testing.assert_array_equal(rows[name], more[name])
        np.testing.assert_array_equal(buffer.extra("done"), [3, 8])


def test_a_repeated_column_is_taken_once(converted):
    given = steps()
    with converted(given | {"obs": given["observations"]}) as buffer:
        assert_is_steps(buffer)
        assert "'obs', which is the same as 'observations'" in buffer.metadata["left_out"]


@pytest.mark.parametrize(
    "names",
    [
        {"my_r": "rewards", "x": "observations", "x2": "next_observations", "cut": "timeouts"},
        {"my_r": "reward", "x": "obs", "x2": "next_obs", "cut": "truncated"},
        {"rewards": "my_r", "observations": "x", "next_observations": "x2", "timeouts": "cut"},
        {"reward": "my_r", "obs": "x", "obs2": "x2", "timeout": "cut"},
    ],
)
def test_other_names_are_said_either_way_round(converted, names):
    given = renamed(steps(), rewards="my_r", observations="x", next_observations="x2", timeouts="cut")
    with converted(given, names) as buffer:
        assert_is_steps(buffer)


@pytest.mark.parametrize(("name", "role"), [("ended", "dones"), ("d", "done")])
def test_flags_are_named_too(converted, name, role):
    given = steps(terminals=None) | {name: rows_at(3, 6, 8)}
    with converted(given, {name: role}) as buffer:
        assert_is_steps(buffer)


def test_terminals_that_are_ends_by_time_are_said_to_be(converted):
    with converted(steps(terminals=rows_at(3, 6, 8), timeouts=None), {"terminals": "timeouts"}) as buffer:
        assert not buffer[:]["terminals"].any()
        assert np.flatnonzero(buffer[:]["timeouts"]).tolist() == [3, 6, 8]
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 3, 2, 3]
        assert "no terminal is set" in buffer.metadata["notes"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rewards": None, "reward": np.zeros((STEPS, 5))},
            r"expected rewards with .* found 'reward' \(12",
        ),
        (
            {"terminals": None, "done": np.zeros((3, 4))},
            r"expected terminals with .* found 'done' \(3, 4\)",
        ),
        ({"terminals": None, "masks": np.full(STEPS, 0.5)}, r"expected terminals with .* found 'masks' \(12,\)"),
        ({"observations": None, "obs": np.array(["a.png"] * STEPS, "S5")}, "expected numbers in obs, found text"),
        ({"terminals": None, "timeouts": None}, "expected arrays terminals; found actions"),
    ],
)
def test_what_has_a_usual_name_and_does_not_fit_is_named(converted, change, message):
    with pytest.raises(FormatError, match=message):
        converted(steps(**change))


def test_nested_names_are_mapped_by_their_folder(converted):
    given = steps(next_observations=None)
    given["sensors/a"], given["sensors/b"] = given.pop("observations"), np.arange(STEPS)
    with converted(given, {"sensors": "observations"}) as buffer:
        assert buffer.spec.observation_names == ["observations/a", "observations/b"]


def test_what_contradicts_itself_is_settled_by_names(converted):
    given = steps() | {"obs": np.zeros((STEPS, 2), np.float32)}
    with pytest.raises(FormatError, match=r"'observations' and 'obs' may both be observations and differ; .*--map"):
        converted(given)
    with converted(given, {"obs": "infos/obs"}) as buffer:
        assert_is_steps(buffer)
        assert not buffer[:]["infos/obs"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"terminated": rows_at(1)}, "'terminals' and 'terminated' may both be terminals and differ"),
        ({"timeouts": None, "done": rows_at(3)}, "'done' and 'terminals' contradict each other"),
        ({"masks": rows_at(3, 8)}, "'masks' and 'terminals' contradict each other"),
        ({"masks": ~rows_at(1)}, "'masks' and 'terminals' contradict each other"),
        ({"reward": np.zeros(STEPS)}, "'rewards' and 'reward' may both be rewards and differ"),
        ({"terminals": None, "done": rows_at(3), "dones": rows_at(4)}, "'dones?' and 'dones?' may both be dones"),
    ],
)
def test_contradictions_are_refused_by_both_names(converted, change, message):
    with pytest.raises(FormatError, match=rf"{message}.*--map"):
        converted(steps(**change))


def test_wrong_names_are_refused(converted):
    with pytest.raises(UsageError, match=r"--map nothing=rewards: there is no such column; it has actions, next_obs"):
        converted(steps(), {"nothing": "rewards"})
    with pytest.raises(FormatError, match="more than one column would be rewards, by --map: x and y"):
        converted(renamed(steps(y=np.zeros(STEPS)), rewards="x"), {"x": "rewards", "y": "reward"})
    with pytest.raises(FormatError, match=r"'x' and 'rewards' would both be 'rewards'|'rewards' and 'x' would both be"):
        converted(steps(x=np.zeros(STEPS)), {"x": "rewards"})


def test_a_message_never_lists_thousands_of_names(converted):
    many = {f"episode_{number}": np.zeros(2) for number in range(3000)}
    with pytest.raises(FormatError) as caught:
        converted(many)
    assert "... and 2,988 more" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_columns_are_read_in_blocks_of_rows(converted, monkeypatch):
    """Also where an archive is read row by row, a big-endian or a Fortran array among them."""
    monkeypatch.setattr("rlbuffers.sources.flat_source._BLOCK_BYTES", 1)
    more = {"big": np.arange(STEPS, dtype=">i4"), "fortran": np.asfortranarray(np.arange(STEPS * 3).reshape(STEPS, 3))}
    with converted(steps(**more)) as buffer:
        assert_is_steps(buffer)
        for name, rows in more.items():
            np.testing.assert_array_equal(buffer[:][name], rows)
