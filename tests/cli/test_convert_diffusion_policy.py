"""`rlbuffers convert diffusion-policy`."""

from __future__ import annotations

import numpy as np
import pytest
from diffusion_policy_files import write_demonstrations
from truth import DATA

import rlbuffers

FIXTURE = DATA / "diffusion_policy" / "pusht.zarr"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_demonstrations_become_a_buffer(run, tmp_path, store):
    result = run("convert", "diffusion-policy", FIXTURE, "--buffer-dir", tmp_path, "--format", store)
    assert result.exit_code == 0
    assert "3 episodes, 18 transitions" in result.output
    assert result.stderr == "Warning: The file has no rewards: zeros stand in their place.\n"
    path = tmp_path / "diffusion-policy" / f"pusht.{store}"
    with rlbuffers.open(path) as buffer:
        assert buffer.spec.observation_names == ["observations/img", "observations/state"]
    assert run("validate", path).exit_code == 0


def test_several_become_one_and_observations_are_chosen(run, tmp_path):
    other = write_demonstrations(
        tmp_path / "b.zarr.zip",
        {"action": np.zeros((4, 2), np.float32), "state": np.ones((4, 5), np.float32)},
        [4],
    )
    words = ["--observation", "state", "-o", tmp_path / "x.hdf5"]
    assert run("convert", "diffusion-policy", other, other, *words).exit_code == 0
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 4]


def test_what_cannot_be_read_is_said_in_a_line(run, tmp_path):
    for path, message in (
        (tmp_path, "expected a Zarr group (version 2) with 'data' and 'meta/episode_ends'"),
        (DATA / "tianshou" / "cartpole.hdf5", "looks like one of `rlbuffers convert tianshou`"),
    ):
        result = run("convert", "diffusion-policy", path, "-o", tmp_path / "x.hdf5")
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert message in line
    assert not list(tmp_path.glob("*.hdf5"))
    result = run("convert", "npz", FIXTURE, "-o", tmp_path / "x.hdf5")
    assert "there is no .npz file in this directory" in result.stderr
    assert "looks like one of `rlbuffers convert diffusion-policy`" in result.stderr
