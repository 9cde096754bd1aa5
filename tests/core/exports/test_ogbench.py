"""What is written for OGBench, read with numpy by the rule of its loader."""

from __future__ import annotations

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.schema import BufferSpec, ColumnSpec

LENGTHS = (3, 1, 4)
ENDS = ("timeout", "terminal", "neither")


def write_buffer(path, ends=ENDS, *, rewards=True, known=(True, True, True)):
    """Write three episodes: row t of episode e is observed as 100 e + t."""
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.dtype(np.float32), (2,)),
            ColumnSpec("actions", np.dtype(np.int64)),
            ColumnSpec("rewards", np.dtype(np.float64)),
            ColumnSpec("terminals", np.dtype(np.bool_)),
            ColumnSpec("timeouts", np.dtype(np.bool_)),
            ColumnSpec("qpos", np.dtype(np.float64), (1,)),
        ],
        extras=[ColumnSpec("weights", np.dtype(np.float32))],
    )
    with rlbuffers.create(path, spec) as writer:
        for number, (length, end, is_known) in enumerate(zip(LENGTHS, ends, known, strict=True)):
            seen = np.repeat(100.0 * number + np.arange(length + 1), 2).reshape(-1, 2).astype(np.float32)
            last = np.arange(length) == length - 1
            columns = {
                "actions": np.arange(length),
                "rewards": np.arange(length) + 1.0 if rewards else np.zeros(length),
                "terminals": last & (end == "terminal"),
                "timeouts": last & (end == "timeout"),
                "qpos": np.arange(length)[:, None] / 2,
            }
            observations = {"observations": seen if is_known else seen[:-1]}
            writer.append_episode(rlbuffers.Episode(columns, observations, {}, end != "neither"))
        writer.append_extra("weights", np.arange(5, dtype=np.float32))
    return path


def exported(path):
    output = path.with_suffix(".npz")
    with rlbuffers.open(path) as buffer:
        report = export(buffer, output, "ogbench")
    with np.load(output) as archive:
        return dict(archive), report


def test_each_trajectory_has_a_row_for_its_last_observation(tmp_path):
    arrays, report = exported(write_buffer(tmp_path / "x.hdf5"))
    lasts = [3, 5, 10]
    assert np.flatnonzero(arrays["terminals"]).tolist() == lasts
    assert arrays["observations"][:, 0].tolist() == [0, 1, 2, 3, 100, 101, 200, 201, 202, 203, 204]
    steps = ~arrays["terminals"]
    assert arrays["actions"][steps].tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert arrays["rewards"][steps].tolist() == [1, 2, 3, 1, 1, 2, 3, 4]
    assert np.flatnonzero(arrays["masks"] == 0).tolist() == [4]
    assert arrays["qpos"].shape == (11, 1)
    assert arrays["weights"].tolist() == [0, 1, 2, 3, 4]
    assert {name: arrays[name].dtype.name for name in ("observations", "actions", "terminals")} == {
        "observations": "float32",
        "actions": "int64",
        "terminals": "bool",
    }
    assert (report.written.episodes, report.written.transitions, report.written.reward_sum) == (3, 8, 17)
    assert report.left_out[0].startswith("that 2 episodes did not end by a time limit")
    assert report.left_out[-1].startswith("rewards and masks, for OGBench's own loader")


def test_without_rewards_the_archive_is_as_published(tmp_path):
    arrays, report = exported(write_buffer(tmp_path / "x.hdf5", ["timeout"] * 3, rewards=False))
    assert set(arrays) == {"observations", "actions", "terminals", "qpos", "weights"}
    assert report.left_out == []


def test_unknown_last_observations_cost_a_transition_or_are_zeros(tmp_path):
    arrays, report = exported(write_buffer(tmp_path / "x.hdf5", known=(False, False, True)))
    assert arrays["observations"][:, 0].tolist() == [0, 1, 2, 100, 0, 200, 201, 202, 203, 204]
    assert np.flatnonzero(arrays["terminals"]).tolist() == [2, 4, 9]
    assert (report.read.transitions, report.written.transitions) == (8, 7)
    assert report.left_out[0].startswith("the last transition of 1 episodes without a terminal")
    assert report.left_out[1].startswith("that the last observation of 1 terminal episodes is not known")


TWO = (("observations/a", "float32", (1,)), ("observations/b", "float32", ()))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("transitions", (2,)), "OGBench holds trajectories"),
        (
            Recipe(
                "episodes", (2,), observations=(("observations/a", "float32", (1,)), ("observations/b", "float32", ()))
            ),
            "OGBench holds one array of observations",
        ),
    ],
)
def test_what_it_cannot_hold_is_refused(new_path, tmp_path, recipe, message):
    with (
        rlbuffers.open(write(new_path("memory"), make(recipe))) as buffer,
        pytest.raises(UnsupportedError, match=message),
    ):
        export(buffer, tmp_path / "x.npz", "ogbench")
    assert list(tmp_path.iterdir()) == []


def test_blocks_make_no_difference(tmp_path, monkeypatch):
    path = write_buffer(tmp_path / "x.hdf5")
    expected, _ = exported(path)
    monkeypatch.setattr("rlbuffers.exports.base.BLOCK_BYTES", 1)
    path.with_suffix(".npz").unlink()
    found, _ = exported(path)
    for name, rows in expected.items():
        np.testing.assert_array_equal(found[name], rows)
