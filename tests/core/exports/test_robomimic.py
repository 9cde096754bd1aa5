"""What `export --to robomimic` writes, as h5py reads it; robomimic itself reads it in tests/peers."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from reference import Recipe, make, write
from robomimic_files import demo, write_demos
from truth import DATA
from varied import all_cases, varied_buffers, write_varied

import rlbuffers
from rlbuffers.errors import CorruptDataError, UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.sources.robomimic.dataset import RobomimicSource


def exported(path, new_path):
    output = new_path("hdf5")
    with rlbuffers.open(path, cache=0) as buffer:
        return export(buffer, output, "robomimic"), output


def demos_in(path):
    """Read every demo with h5py: name to its arrays and attributes."""
    found = {}
    with h5py.File(path) as file:
        names = sorted(file["data"], key=lambda name: int(name.removeprefix("demo_")))
        for name in names:
            arrays = {}
            file["data"][name].visititems(
                lambda key, item, into=arrays: into.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
            found[name] = {**arrays, **{f"@{key}": value for key, value in file["data"][name].attrs.items()}}
        found["@"] = dict(file["data"].attrs)
        found["mask"] = {name: [text.decode() for text in array[()]] for name, array in file.get("mask", {}).items()}
    return found


def assert_is_episode(demo, episode, stack):
    """Compare a demo with an episode; the last transition without a next observation is left out unless terminal."""
    steps = len(episode["rewards"])
    names = [name for name in episode if name.startswith("observations")]
    known = len(episode[names[0]]) > steps
    kept = steps if known or episode["terminals"][-1] else steps - 1
    assert demo["@num_samples"] == kept
    np.testing.assert_array_equal(demo["actions"], episode["actions"][:kept, None])
    np.testing.assert_array_equal(demo["rewards"], episode["rewards"][:kept])
    np.testing.assert_array_equal(demo["terminals"], episode["terminals"][:kept])
    np.testing.assert_array_equal(demo["dones"], episode["terminals"][:kept].astype(np.int64))
    np.testing.assert_array_equal(demo["x"], episode["infos/x"][:kept])
    assert demo["timeouts"][-1] == (episode["timeouts"][-1] or kept < steps)
    for name in names:
        key = name.removeprefix("observations").strip("/").replace("/", "_") or "flat"
        rows = episode[name][:, -1, ..., None] if stack else episode[name]
        rows = np.concatenate([rows, np.zeros_like(rows[:1])])
        np.testing.assert_array_equal(demo[f"obs/{key}"], rows[:kept])
        np.testing.assert_array_equal(demo[f"next_obs/{key}"], rows[1 : kept + 1])
        assert demo[f"obs/{key}"].dtype == rows.dtype


def assert_written(path, episodes, stack, new_path):
    report, output = exported(path, new_path)
    demos = demos_in(output)
    names = [name for name in episodes[0] if name.startswith("observations")]
    kept = [
        number
        for number, episode in enumerate(episodes)
        if len(episode["rewards"]) > 1 or episode["terminals"][-1] or len(episode[names[0]]) > len(episode["rewards"])
    ]
    assert [name for name in demos if name.startswith("demo")] == [f"demo_{number}" for number in kept]
    for number in kept:
        assert_is_episode(demos[f"demo_{number}"], episodes[number], stack)
        assert demos[f"demo_{number}"]["@seeds"] == number * 7
    assert report.written.episodes == len(kept)
    assert demos["@"]["total"] == sum(demos[f"demo_{number}"]["@num_samples"] for number in kept)
    return report


@pytest.mark.parametrize("more", [{}, {"stack": 3}, {"nested": True}])
def test_every_way_of_ending(tmp_path, new_path, more):
    episodes = write_varied(tmp_path / "x.hdf5", all_cases(**more))
    report = assert_written(tmp_path / "x.hdf5", episodes, more.get("stack"), new_path)
    left_out = " ".join(report.left_out)
    assert "the last transition of 2 episodes without a terminal" in left_out
    assert ("the stacking" in left_out) == bool(more.get("stack"))
    assert ("observations/b/c (now obs/b_c)" in left_out) == bool(more.get("nested"))
    assert "of the whole buffer: weights" in left_out


@given(varied=varied_buffers())
def test_any_buffer(new_path, varied):
    path = new_path("memory")
    episodes = write_varied(path, varied)
    names = [name for name in episodes[0] if name.startswith("observations")]
    some_known = any(len(episode[names[0]]) > len(episode["rewards"]) for episode in episodes)
    some_value = any(episode["terminals"].any() for episode in episodes) and any(
        episode["rewards"].any() for episode in episodes
    )
    if some_known or some_value:
        assert_written(path, episodes, varied.stack, new_path)
        return
    report, output = exported(path, new_path)
    assert report.written == report.read
    assert any(text.startswith("next_obs: ") for text in report.left_out)
    for number, demo_ in enumerate(name for name in demos_in(output) if name.startswith("demo")):
        assert demo_ == f"demo_{number}"
        assert not any(name.startswith("next_obs") for name in demos_in(output)[demo_])


def test_a_robomimic_file_comes_back(new_path):
    """Everything but the model, which a buffer does not hold, and masks of demos that are not there."""
    rlbuffers.convert(RobomimicSource(DATA / "robomimic" / "lift.hdf5"), path := new_path("memory"))
    report, output = exported(path, new_path)
    assert report.left_out == []
    before, after = demos_in(DATA / "robomimic" / "lift.hdf5"), demos_in(output)
    assert after.pop("mask") == before.pop("mask") | {"20_percent": ["demo_10"]}
    assert json.loads(after["@"].pop("env_args")) == json.loads(before["@"].pop("env_args"))
    assert after.pop("@") == before.pop("@")
    assert list(after) == list(before)
    for name, arrays in before.items():
        del arrays["@model_file"]
        assert set(after[name]) - set(arrays) == {"terminals", "timeouts"}
        for array, rows in arrays.items():
            np.testing.assert_array_equal(after[name][array], rows)
            assert np.asarray(after[name][array]).dtype == np.asarray(rows).dtype


def test_isaac_lab_keeps_every_transition(new_path):
    """Nothing is learned from values there: no rewards, no last observation."""
    rlbuffers.convert(RobomimicSource(DATA / "robomimic" / "isaac_lab.hdf5"), path := new_path("memory"))
    report, output = exported(path, new_path)
    assert report.written.transitions == report.read.transitions == 5
    demos = demos_in(output)
    assert demos["demo_0"]["initial_state/articulation/robot/joint_position"].shape == (1, 9)
    assert demos["demo_1"]["@success"] == 0
    assert demos["demo_1"]["states/articulation/robot/joint_position"].shape == (2, 9)


def test_numbers_that_do_not_ascend(tmp_path, new_path):
    paths = [write_demos(tmp_path / f"{n}.hdf5", [demo(2)], {"train": ["demo_0"]}) for n in (0, 1)]
    buffers = []
    for path in paths:
        rlbuffers.convert(RobomimicSource(path), buffer := new_path("hdf5"))
        buffers.append(buffer)
    rlbuffers.merge(buffers, merged := new_path("hdf5"))
    report, output = exported(merged, new_path)
    demos = demos_in(output)
    assert [name for name in demos if name.startswith("demo")] == ["demo_0", "demo_1"]
    assert demos["mask"] == {}
    assert "the numbers of the demos, which do not ascend: they are numbered anew" in report.left_out


def test_names_that_are_taken(tmp_path, new_path):
    extra = (("infos/obs", "float32", ()), ("infos/dones", "float32", (2,)), ("policy/mean", "float32", (2,)))
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4), extra=extra)))
    report, output = exported(tmp_path / "x.hdf5", new_path)
    assert "columns whose names mean something else there: infos/dones, infos/obs" in report.left_out
    assert "that columns are not infos: policy/mean" in report.left_out
    assert demos_in(output)["demo_1"]["policy/mean"].shape == (4, 2)


def test_what_cannot_be_held(tmp_path, new_path):
    write(tmp_path / "x.hdf5", make(Recipe("transitions", (3, 4))))
    with pytest.raises(UnsupportedError, match="robomimic holds episodes; this buffer holds independent transitions"):
        exported(tmp_path / "x.hdf5", new_path)


def test_a_loss_is_found(tmp_path, new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.exports.episode_arrays.NumberArray.append", lambda *given: None)
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4))))
    with pytest.raises(CorruptDataError, match="rewards sum to"):
        exported(tmp_path / "x.hdf5", new_path)
