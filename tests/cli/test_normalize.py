"""`rlbuffers normalize --stats`."""

from __future__ import annotations

import json

import numpy as np
import pytest

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec
from rlbuffers.metadata import render_metadata
from rlbuffers.standardization import NORM_EPSILON


@pytest.fixture
def path(tmp_path):
    spec = BufferSpec(
        "transitions",
        [
            ColumnSpec("observations", np.float32, (2,)),
            ColumnSpec("next_observations", np.float32, (2,)),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
        ],
    )
    observations = np.array([[1, 0], [3, 0]], np.float32)
    columns = {"observations": observations, "next_observations": observations}
    with rlbuffers.create(tmp_path / "x.zarr", spec) as writer:
        writer.append_transitions({**columns, "actions": np.arange(2), "rewards": np.array([0.5, 1.5], np.float32)})
    return tmp_path / "x.zarr"


def test_statistics_that_are_those_of_the_data(run, path):
    result = run("normalize", path, "--stats")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines() if "━" not in line] == [
        "Statistics",
        "column           mean  std  min  max",
        "observations[0]  2     1    1    3",
        "observations[1]  0     0    0    0",
        "rewards          1     0.5  0.5  1.5",
        f"{path}: the stored statistics are those of the data",
    ]


def test_statistics_that_are_not(run, path):
    document = json.loads((path / "zarr.json").read_text())
    facts = document["attributes"]["rlbuffers"]
    facts["statistics"]["rewards"]["std"] = 0.6
    document["attributes"]["rlbuffers"] = json.loads(render_metadata(facts))
    (path / "zarr.json").write_text(json.dumps(document))
    result = run("normalize", path, "--stats")
    assert result.exit_code == 1
    assert result.stderr == (
        "Warning: rewards: the stored statistics are not those of the data; `rlbuffers validate` checks the rest\n"
    )
    result = run("normalize", path, "--stats", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["wrong"] == ["rewards"]
    assert (report["stored"]["rewards"]["std"], report["found"]["rewards"]["std"]) == (0.6, 0.5)


def test_help_says_the_default_that_is_used(run):
    """The command does not import the constant, which would load numpy for every command."""
    assert f"[default: {NORM_EPSILON}]" in run("normalize", "--help").output
