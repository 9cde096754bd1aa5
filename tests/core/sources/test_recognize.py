"""Every fixture is recognized, and what is none is not."""

from __future__ import annotations

import numpy as np
import pytest
from reference import Recipe, make, write
from truth import DATA

from rlbuffers.sources.recognize import BUFFER, recognized

FIXTURES = {
    DATA / "d3rlpy" / "cartpole-v2.h5": "d3rlpy",
    DATA / "diffusion_policy" / "pusht.zarr": "diffusion-policy",
    DATA / "dopamine" / "Breakout" / "1" / "replay_logs": "dopamine",
    DATA / "minari" / "fixture" / "cartpole-hdf5-v0": "minari",
    DATA / "minari" / "fixture" / "cartpole-hdf5-v0" / "data" / "main_data.hdf5": "minari",
    DATA / "minari" / "fixture" / "cartpole-arrow-v0": "minari",
    DATA / "reverb" / "pendulum": "reverb",
    DATA / "robomimic" / "lift.hdf5": "robomimic",
    DATA / "lerobot" / "v2.1": "lerobot",
    DATA / "lerobot" / "v3.0": "lerobot",
    DATA / "robomimic" / "isaac_lab.hdf5": "robomimic",
    DATA / "rl_unplugged" / "Pong" / "run_1-00001-of-00100": "rl-unplugged",
    DATA / "rllib" / "batches": "rllib",
    DATA / "rllib" / "steps.jsonl": "rllib",
    DATA / "rllib" / "steps": "rllib",
    DATA / "tfds" / "mini_rlds" / "vectors" / "1.0.0": "tfds",
    DATA / "tianshou" / "pong-vector-stack4.hdf5": "tianshou",
    **dict.fromkeys(sorted((DATA / "d4rl" / "mini").rglob("*.hdf5")), "d4rl"),
}


@pytest.mark.parametrize(("path", "name"), FIXTURES.items(), ids=str)
def test_fixtures(path, name):
    assert recognized(path) == name


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_buffers(tmp_path, store):
    assert recognized(write(tmp_path / f"x.{store}", make(Recipe("episodes", (3,))))) == BUFFER


def test_archives_and_what_is_nothing(tmp_path):
    np.savez(tmp_path / "x.npz", rewards=np.zeros(3))
    assert recognized(tmp_path / "x.npz") == "npz"
    (tmp_path / "x.txt").write_text("once upon a time")
    (tmp_path / "cut.hdf5").write_bytes((DATA / "tianshou" / "cartpole.hdf5").read_bytes()[:100])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "x.json").write_text('{"license": "MIT"}')
    for name in ("x.txt", "x.json", "cut.hdf5", "empty", "missing", "."):
        assert recognized(tmp_path / name) is None
