"""`rlbuffers convert --follow-links`, an option of every source."""

from __future__ import annotations

import shutil

import h5py
import pytest
from round_trips import invoke
from truth import DATA

import rlbuffers
from rlbuffers.sources import SOURCES

MINARI = DATA / "minari" / "fixture" / "cartpole-hdf5-v0"


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_the_option(name):
    assert "--follow-links" in invoke("convert", name, "--help").output


def test_rows_of_another_file_are_taken_only_when_asked_for(tmp_path):
    shutil.copytree(MINARI, tmp_path / "given")
    shutil.copytree(MINARI, tmp_path / "other")
    with h5py.File(tmp_path / "given" / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_0"]
        file["episode_0"] = h5py.ExternalLink(str(tmp_path / "other" / "data" / "main_data.hdf5"), "episode_0")
    command = ["convert", "minari", tmp_path / "given", "-o", tmp_path / "x.hdf5"]
    refused = invoke(*command)
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "'episode_0' is an external link to" in refused.stderr
    assert "--follow-links" in refused.stderr
    assert not (tmp_path / "x.hdf5").exists()
    assert invoke(*command, "--follow-links").exit_code == 0
    assert invoke("convert", "minari", MINARI, "-o", tmp_path / "y.hdf5").exit_code == 0
    with rlbuffers.open(tmp_path / "x.hdf5") as first, rlbuffers.open(tmp_path / "y.hdf5") as second:
        assert first.fingerprint == second.fingerprint
