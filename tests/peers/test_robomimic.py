"""robomimic's own dataset against our writer and reader: the same values, row by row.

Its loader of sequences is imported, which needs neither a simulator nor torchvision.
"""

from __future__ import annotations

import inspect
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from robomimic_files import demo, write_demos
from truth import DATA
from varied import Varied, all_cases, varied_buffers, write_varied

import rlbuffers
from rlbuffers.exports.export import export
from rlbuffers.sources.robomimic.dataset import RobomimicSource

SequenceDataset = pytest.importorskip(
    "robomimic.utils.dataset", reason="robomimic is not installed; see benchmarks/peers/without-dependencies.txt"
).SequenceDataset
obs_utils = pytest.importorskip("robomimic.utils.obs_utils")


def loaded(path, keys, **more):
    """Open a file with robomimic, every key as plain numbers."""
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(keys), "rgb": []}})
    given = {"hdf5_path": str(path), "obs_keys": list(keys), "dataset_keys": ["actions", "rewards", "dones"], **more}
    if "action_keys" in inspect.signature(SequenceDataset).parameters:  # robomimic 0.4
        given |= {"action_keys": ["actions"], "action_config": {"actions": {"normalization": None}}}
    return SequenceDataset(hdf5_use_swmr=False, **given)


def keys_of(path):
    with h5py.File(path) as file:
        (first, *_) = file["data"].values()
        return list(first["obs"])


def assert_is_the_buffer(dataset, buffer, key_of):
    """Compare each item of robomimic with a row, and what it has once with the file's number of demos."""
    rows = buffer[:]
    assert len(dataset) == len(buffer)
    assert dataset.n_demos == buffer.num_episodes
    for number in range(len(dataset)):
        item = dataset[number]
        actions, rewards = item["actions"][0], np.squeeze(item["rewards"])  # float32 where robomimic caches
        np.testing.assert_array_equal(actions, np.atleast_1d(rows["actions"][number]).astype(actions.dtype))
        np.testing.assert_array_equal(rewards, rows["rewards"][number].astype(rewards.dtype))
        for name in buffer.spec.observation_names:
            np.testing.assert_array_equal(item["obs"][key_of(name)][0], rows[name][number])
            if "next_obs" in item:
                following = rows[f"next_{name}"][number]
                np.testing.assert_array_equal(item["next_obs"][key_of(name)][0], following)
        dones = rows["infos/dones"] if "infos/dones" in rows else rows["terminals"]
        assert np.squeeze(item["dones"]) == dones[number]


def key_of(name):
    return name.removeprefix("observations").strip("/").replace("/", "_") or "flat"


@pytest.mark.parametrize("cache", ["all", "low_dim", None])
@pytest.mark.parametrize("nested", [False, True])
def test_robomimic_reads_what_is_exported(tmp_path, cache, nested):
    """Episodes of which the last observation is known."""
    flags = tuple((True, whole, terminal, not terminal) for whole in (True, False) for terminal in (True, False))
    write_varied(tmp_path / "x.hdf5", Varied((3, 1, 5, 2), flags, nested=nested))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y.hdf5", "robomimic")
        dataset = loaded(tmp_path / "y.hdf5", keys_of(tmp_path / "y.hdf5"), hdf5_cache_mode=cache)
        assert_is_the_buffer(dataset, buffer, key_of)


@settings(max_examples=10)
@given(varied=varied_buffers())
def test_robomimic_reads_any_export(new_path, varied):
    """Also where the last transitions are left out, which it could not read: what it reads is what is read again."""
    write_varied(path := new_path("memory"), varied)
    with rlbuffers.open(path) as buffer:
        output = export(buffer, new_path("hdf5"), "robomimic").path
    rlbuffers.convert(RobomimicSource(output), again := new_path("memory"))
    with rlbuffers.open(again) as buffer, h5py.File(output) as file:
        has_next = all("next_obs" in group for group in file["data"].values())
        dataset = loaded(output, keys_of(output), load_next_obs=has_next)
        assert_is_the_buffer(dataset, buffer, lambda name: name.removeprefix("observations/"))


def test_sequences_and_stacks_stay_inside_a_demo(tmp_path):
    write_varied(tmp_path / "x.hdf5", all_cases())
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y.hdf5", "robomimic")
    dataset = loaded(tmp_path / "y.hdf5", ["flat"], frame_stack=2, seq_length=3)
    assert dataset[0]["obs"]["flat"].shape == (4, 2)


@pytest.mark.parametrize("split", [None, "train", "valid"])
def test_we_read_what_robomimic_reads(tmp_path, split):
    path = shutil.copy(DATA / "robomimic" / "lift.hdf5", tmp_path)  # robomimic keeps it open
    rlbuffers.convert(RobomimicSource(path, split), tmp_path / "x.hdf5")
    dataset = loaded(path, ["object", "agentview_image"], filter_by_attribute=split)
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert_is_the_buffer(dataset, buffer, lambda name: name.removeprefix("observations/"))


def test_the_order_of_demos_is_robomimics(tmp_path):
    demos = {f"demo_{number}": demo(2, number) for number in (10, 9, 0, 101)}
    path = write_demos(tmp_path / "x.hdf5", demos)
    rlbuffers.convert(RobomimicSource(path), tmp_path / "y.hdf5")
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        numbers = buffer.arrays["episodes/demo_numbers"].all()
        assert [f"demo_{number}" for number in numbers] == loaded(path, ["object"]).demos
