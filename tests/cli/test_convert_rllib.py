"""`rlbuffers convert rllib`."""

from __future__ import annotations

import json

import pytest
from rllib_files import agents_batch, write_lines
from truth import DATA

import rlbuffers

FIXTURES = DATA / "rllib"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("name", ["batches", "steps.jsonl", "steps"])
def test_recordings_become_a_buffer(run, tmp_path, name, store):
    result = run("convert", "rllib", FIXTURES / name, "--buffer-dir", tmp_path, "--format", store)
    assert result.exit_code == 0
    assert "4 episodes, 24 transitions" in result.output
    path = tmp_path / "rllib" / f"{name.removesuffix('.jsonl')}.{store}"
    with rlbuffers.open(path) as buffer:
        assert buffer.metadata["source"]["format"] == "rllib"
        assert len(buffer.metadata["source"]["files"]) == len(list((FIXTURES / name).glob("*")) or [name])
    assert run("validate", path).exit_code == 0


def test_files_in_the_order_given_are_one_recording(run, tmp_path):
    files = sorted((FIXTURES / "batches").iterdir())
    for name, order in (("forth", files), ("whole", [FIXTURES / "batches"])):
        assert run("convert", "rllib", *order, "-o", tmp_path / f"{name}.hdf5").exit_code == 0
    with rlbuffers.open(tmp_path / "forth.hdf5") as first, rlbuffers.open(tmp_path / "whole.hdf5") as second:
        assert first.fingerprint == second.fingerprint
        assert first.arrays["episodes/lengths"].all().tolist() == [6, 5, 9, 4]


def test_what_cannot_be_told_from_dones_is_said(run, tmp_path):
    result = run("convert", "rllib", FIXTURES / "steps.jsonl", "-o", tmp_path / "x.hdf5")
    assert result.stderr.startswith("Warning: The files have only 'dones'")


def test_a_policy_is_chosen(run, tmp_path):
    columns = {"obs": [[0.0], [1.0]], "actions": [0, 1], "rewards": [1.0, 2.0], "dones": [False, True]}
    path = write_lines(tmp_path / "x.json", [agents_batch({"a": columns, "b": columns})])
    result = run("convert", "rllib", path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        f"Error: {path}: line 1: a batch of 2 policies (a, b); choose one with --policy"
    )
    assert run("convert", "rllib", path, "--policy", "b", "-o", tmp_path / "x.hdf5").exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.json: expected transitions, found none"),
        ("{", "x.json: line 1: damaged or cut short: not JSON: Expecting property name"),
        (json.dumps({"obs": 1, "actions": 1, "rewards": 1}), "x.json: expected terminateds or dones in every batch"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(run, tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    result = run("convert", "rllib", tmp_path / "x.json", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert message in line
    assert not list(tmp_path.glob("*.hdf5"))


def test_files_that_were_given_to_another_format_are_recognized(run, tmp_path):
    result = run("convert", "npz", FIXTURES / "steps.jsonl", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "looks like one of `rlbuffers convert rllib`" in result.stderr
