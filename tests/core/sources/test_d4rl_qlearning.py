from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import DATA

import rlbuffers
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.sources.d4rl.datasets import dataset_of_file, find_dataset
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource, counted_timeouts

MINI = DATA / "d4rl" / "mini"


def row_by_row(arrays, horizon):
    """What D4RL gives, one row after the other, as the format's facts say."""
    kept = {name: [] for name in ("observations", "actions", "next_observations", "rewards", "terminals")}
    count = 0
    for row in range(len(arrays["rewards"]) - 1):
        terminal = bool(arrays["terminals"][row])
        at_limit = bool(arrays["timeouts"][row]) if "timeouts" in arrays else count == horizon - 1
        if at_limit:
            count = 0
            continue
        if terminal:
            count = 0
        kept["observations"].append(np.float32(arrays["observations"][row]))
        kept["actions"].append(np.float32(arrays["actions"][row]))
        kept["next_observations"].append(np.float32(arrays["observations"][row + 1]))
        kept["rewards"].append(np.float32(arrays["rewards"][row]))
        kept["terminals"].append(terminal)
        count += 1
    return {name: np.array(values) for name, values in kept.items()}


def read(path):
    with h5py.File(path) as file:
        names = ("observations", "actions", "rewards", "terminals", "timeouts")
        arrays = {name: file[name][:] for name in names if name in file}
    return {**arrays, "rewards": arrays["rewards"].reshape(-1)}


def assert_same(target, expected):
    with rlbuffers.open(target) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        rows = buffer[:]
        assert sorted(rows) == sorted(expected)
        for name, values in expected.items():
            assert rows[name].dtype == values.dtype
            np.testing.assert_array_equal(rows[name], values, err_msg=name)


@pytest.mark.parametrize("block_bytes", [16 << 20, 1, 2000])
@pytest.mark.parametrize("path", sorted(MINI.rglob("*.hdf5")), ids=lambda path: path.stem[:20])
def test_every_fixture_gives_what_d4rl_gives(new_path, monkeypatch, path, block_bytes):
    monkeypatch.setattr("rlbuffers.sources.d4rl.qlearning._BLOCK_BYTES", block_bytes)
    dataset = dataset_of_file(path.name)
    target = new_path("memory")
    report = rlbuffers.convert(D4RLQLearningSource(path, dataset), target)
    arrays = read(path)
    expected = row_by_row(arrays, dataset.horizon)
    assert_same(target, expected)
    dropped = len(arrays["rewards"]) - 1 - len(expected["rewards"])
    assert report.measurements == {"rows_in_the_file": len(arrays["rewards"]), "rows_dropped_at_timeouts": dropped}
    assert f"{dropped:,} rows at a timeout, where the following row is another episode's first" in report.left_out


@given(flags=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30), horizon=st.integers(1, 6))
@pytest.mark.parametrize("has_timeouts", [True, False])
def test_any_flags_give_what_d4rl_gives(tmp_path_factory, new_path, flags, horizon, has_timeouts):
    count = len(flags)
    arrays = {
        "observations": np.arange(count * 2.0).reshape(count, 2),
        "actions": np.arange(count, dtype=np.int64),
        "rewards": np.arange(count) / 3,
        "terminals": np.array([terminal for terminal, _ in flags]),
    }
    if has_timeouts:
        arrays["timeouts"] = np.array([timeout for _, timeout in flags])
    expected = row_by_row(arrays, horizon)
    path = tmp_path_factory.mktemp("files") / "x.hdf5"
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    dataset = dataclasses.replace(find_dataset("hopper-medium-v0"), horizon=horizon)
    target = new_path("memory")
    if not len(expected["rewards"]):
        with pytest.raises(FormatError, match="expected transitions, found none"):
            rlbuffers.convert(D4RLQLearningSource(path, dataset), target)
        return
    rlbuffers.convert(D4RLQLearningSource(path, dataset), target)
    assert_same(target, expected)


def test_the_count_restarts_at_1_after_a_terminal_and_at_0_after_a_dropped_row():
    terminals = np.zeros(14, bool)
    terminals[3] = True
    # 0 1 2 3(terminal) | 1 2 3 4(dropped) | 0 1 2 3 4(dropped) | 0
    assert np.flatnonzero(counted_timeouts(terminals, 5)).tolist() == [7, 12]


def test_what_is_left_out_is_listed(new_path):
    report = rlbuffers.convert(D4RLQLearningSource(MINI / "hopper_medium-v2.hdf5"), new_path("memory"))
    left_out = "\n".join(report.left_out)
    for named in ("the last row of the file", "next_observations of the file", "infos/qpos", "metadata/algorithm"):
        assert named in left_out


def test_a_file_without_timeouts_needs_to_be_known():
    with pytest.raises(UsageError, match="has no timeouts, so D4RL counts steps up to the environment's limit; name"):
        D4RLQLearningSource(MINI / "before-timeouts" / "hopper_medium.hdf5")


def test_observations_of_several_arrays_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name in ("observations/a", "actions", "rewards", "terminals", "timeouts"):
            file[name] = np.zeros(3)
    with pytest.raises(FormatError, match="expected one array 'observations'"):
        D4RLQLearningSource(tmp_path / "x.hdf5")
