"""`rlbuffers diff`."""

from __future__ import annotations

import json

import pytest
from varied import all_cases, write_varied

import rlbuffers


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_varied(tmp_path / "a.hdf5", all_cases(), {"license": "MIT", "environment": {"id": "Maze", "size": 3}})
    return tmp_path


def lines_of(result):
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_equal_content_in_other_containers(run, paths):
    write_varied(paths / "b.zarr", all_cases(), {"license": "MIT", "environment": {"id": "Maze", "size": 4}})
    result = run("diff", "a.hdf5", "b.zarr")
    assert result.exit_code == 0
    assert lines_of(result) == [
        "Metadata",
        "what              A  B",
        "environment.size  3  4",
        "",
        "a.hdf5 and b.zarr hold the same content",
    ]
    assert run("diff", "a.hdf5", "a.hdf5").stdout == "a.hdf5 and a.hdf5 hold the same content\n"


def test_content_that_differs(run, paths):
    rlbuffers.subset("a.hdf5", "b.hdf5", 9, cut=True)
    result = run("diff", "a.hdf5", "b.hdf5")
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = lines_of(result)
    metadata = lines.index("Metadata")
    assert lines[:metadata] == [
        "Counts",
        "what                        A   B",
        "episodes                    8   3",
        "final_observations_unknown  4   absent",
        "terminals                   4   2",
        "timeouts                    4   1",
        "transitions                 24  9",
        "whole_episodes              4   2",
        "",
    ]
    assert lines[lines.index("Values") + 1 :] == [
        "array                        differing rows  first  by at most  lengths",
        "actions                      0 of 9                             24 and 9 rows",
        "episodes/final_known         0 of 3                             8 and 3 rows",
        "episodes/final_observations  0 of 3                             8 and 3 rows",
        "episodes/goals               0 of 3                             8 and 3 rows",
        "episodes/lengths             0 of 3                             8 and 3 rows",
        "episodes/returns             0 of 3                             8 and 3 rows",
        "episodes/seeds               0 of 3                             8 and 3 rows",
        "episodes/starts              0 of 3                             8 and 3 rows",
        "episodes/whole               0 of 3                             8 and 3 rows",
        "infos/x                      0 of 9                             24 and 9 rows",
        "observations                 0 of 9                             24 and 9 rows",
        "rewards                      0 of 9                             24 and 9 rows",
        "terminals                    0 of 9                             24 and 9 rows",
        "timeouts                     0 of 9                             24 and 9 rows",
        "",
        "a.hdf5 and b.hdf5 DIFFER",
    ]


def test_json(run, paths):
    rlbuffers.normalize("a.hdf5", "b.hdf5")
    result = run("diff", "a.hdf5", "b.hdf5", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["equal"] is False
    assert [found["name"] for found in report["arrays"]] == ["episodes/final_observations", "observations"]
    assert report["arrays"][1]["differing_rows"] == 24
    assert json.loads(run("diff", "a.hdf5", "a.hdf5", "--json").stdout)["equal"] is True


def test_what_is_no_buffer(run, paths):
    result = run("diff", "a.hdf5", "no.hdf5")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no.hdf5: there is no such file")
