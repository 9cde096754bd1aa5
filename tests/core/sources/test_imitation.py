from __future__ import annotations

import numpy as np
import pytest
from npz_files import write_imitation

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.imitation import ImitationSource

LENGTHS = (3, 1, 4)


def trajectories():
    rng = np.random.default_rng(8)
    seen = [rng.normal(size=(length + 1, 2)).astype(np.float32) for length in LENGTHS]
    return seen, [rng.integers(0, 3, length) for length in LENGTHS], [rng.normal(size=length) for length in LENGTHS]


def converted(path, new_path):
    target = new_path("memory")
    rlbuffers.convert(ImitationSource(path), target)
    return rlbuffers.open(target)


def test_trajectories_have_one_observation_more_than_actions(tmp_path, new_path):
    seen, acts, rews = trajectories()
    path = write_imitation(tmp_path / "final.pkl.npz", seen, acts, [True, False, True], rews)
    with converted(path, new_path) as buffer:
        rows = buffer[:]
        np.testing.assert_array_equal(rows["observations"], np.concatenate([part[:-1] for part in seen]))
        np.testing.assert_array_equal(rows["next_observations"], np.concatenate([part[1:] for part in seen]))
        np.testing.assert_array_equal(rows["actions"], np.concatenate(acts))
        np.testing.assert_array_equal(rows["rewards"], np.concatenate(rews))
        assert {name: str(column.dtype) for name, column in buffer.spec.columns.items()} == {
            "observations": "float32",
            "actions": "int64",
            "rewards": "float64",
            "terminals": "bool",
            "timeouts": "bool",
        }
        assert np.flatnonzero(rows["terminals"]).tolist() == [2, 7]
        assert np.flatnonzero(rows["timeouts"]).tolist() == [3]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, False, True]
        assert len(buffer.rows_without_next) == 0
        assert buffer.metadata["left_out"] == ["'infos', which holds Python objects (a pickle)"]
        assert "by its task or by a time limit" in buffer.metadata["warnings"][0]


def test_rewards_may_be_absent(tmp_path, new_path):
    seen, acts, _ = trajectories()
    with converted(write_imitation(tmp_path / "x.npz", seen, acts, [True] * 3, None), new_path) as buffer:
        assert not buffer[:]["rewards"].any()
        assert buffer.metadata["notes"] == ["There are no rewards in the file: zeros stand in their place."]


def test_an_archive_of_one_trajectory_has_no_indices(tmp_path, new_path):
    seen, acts, rews = trajectories()
    with converted(write_imitation(tmp_path / "x.npz", seen[:1], acts[:1], [True], rews[:1]), new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3]


def archive(**change):
    seen, acts, rews = trajectories()
    made = {
        "obs": np.concatenate(seen),
        "acts": np.concatenate(acts),
        "rews": np.concatenate(rews),
        "terminal": np.ones(3, bool),
        "indices": np.array([3, 4]),
    }
    return {name: rows for name, rows in {**made, **change}.items() if rows is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": None}, "expected arrays indices, as the imitation library saves trajectories; found acts, obs"),
        ({"indices": np.array([4, 3])}, "expected ascending rows up to 8 in 'indices'"),
        ({"indices": np.array([3, 40])}, "expected ascending rows up to 8 in 'indices'"),
        ({"indices": np.array([3.0, 4.0])}, "expected whole numbers in 'indices', found float64"),
        ({"terminal": np.ones(2)}, "expected 3 rows in 'terminal' for 3 trajectories of 8 actions, found 2"),
        ({"obs": np.zeros((8, 2))}, "expected 11 rows in 'obs' for 3 trajectories of 8 actions, found 8"),
        ({"rews": np.zeros(7)}, "expected 8 rows in 'rews' for 3 trajectories of 8 actions, found 7"),
        ({"rews": np.zeros((8, 1))}, r"expected one number a row in 'rews', found \(8, 1\)"),
        ({"obs": np.array(["a"] * 11)}, "expected an array of numbers in 'obs', found <U1"),
        ({"acts": np.zeros(0), "rews": np.zeros(0), "indices": np.array([0, 0])}, "expected transitions, found none"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    np.savez(tmp_path / "x.npz", **archive(**change))
    with pytest.raises(FormatError, match=rf"x\.npz: {message}"):
        ImitationSource(tmp_path / "x.npz")


def test_damaged_and_missing_files(tmp_path):
    np.savez(tmp_path / "x.npz", **archive())
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[:-30])
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        ImitationSource(tmp_path / "x.npz")
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        ImitationSource(tmp_path / "nothing.npz")
