"""`rlbuffers info`."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode


@pytest.fixture
def small_buffer(tmp_path):
    """A buffer of known numbers, with facts that look like markup."""
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (2,), {"type": "box", "low": 0, "high": None}),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 3}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    facts = {
        "environment": {"id": "[red]Maze[/red]-v0", "size": [5, 6]},
        "behavior_policy": {"name": "random", "epsilon": 1.0},
        "source": {"format": "rows", "files": [{"name": "a", "bytes": 10}, {"name": "b", "bytes": 20}]},
        "license": "CC-BY-4.0",
        "notes": ["first", "second"],
        "left_out": ["images"],
        "warnings": ["rewards are odd"],
    }
    with rlbuffers.create(tmp_path / "small.hdf5", spec, facts) as writer:
        for length in (1, 3):
            columns = {
                "actions": np.arange(length) % 3,
                "rewards": np.full(length, 2, np.float32),
                "terminals": np.arange(length) == length - 1,
            }
            writer.append_episode(Episode(columns, {"observations": np.ones((length + 1, 2), np.float32)}))
    return writer.path


def lines_of(result):
    """Return the output's lines without the spaces that fill a table."""
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_the_whole_page(run, small_buffer):
    result = run("info", small_buffer)
    assert result.exit_code == 0
    assert result.stderr == "Warning: rewards are odd\n"
    size = small_buffer.stat().st_size
    with rlbuffers.open(small_buffer) as buffer:
        fingerprint = buffer.fingerprint
    assert lines_of(result) == [
        "Buffer",
        f"path            {small_buffer}",
        f"fingerprint     {fingerprint}",
        "layout          episodes, order: time",
        "episodes        2",
        "terminals       2",
        "transitions     4",
        "whole episodes  2",
        "",
        "Columns",
        "name               dtype    shape  values",
        'actions            int64    ()     {"n": 3, "type": "discrete"}',
        'next_observations  float32  (2,)   {"type": "box"} derived from the next step',
        'observations       float32  (2,)   {"type": "box"}',
        "rewards            float32  ()",
        "terminals          bool     ()",
        "",
        "Statistics",
        "action counts    2, 1, 1",
        "episode lengths  max 3, mean 2, median 2, min 1, q25 1.5, q75 2.5, std 1",
        "episode returns  max 6, mean 4, median 4, min 2, q25 3, q75 5, std 2",
        "observations     mean and std of 2 elements stored",
        "reward sum       8",
        "rewards          max 2, mean 2, min 2, std 0",
        "",
        "Sizes",
        f"on disk                                    {size / 1000:.1f} KB",
        f"per transition                             {size / 4:,.0f} bytes on disk, 29 decoded",
        "RAM to train from the file                 152 B",
        "RAM with all columns decoded, frames once  152 B",
        "RAM with every stack stored apart          116 B",
        "",
        "In a cache of 1GiB",
        "decoded  episodes/final_known, episodes/whole, terminals, episodes/final_observations,",
        "         episodes/lengths, episodes/returns, episodes/starts, rewards, actions, observations: 152",
        "         B",
        "",
        "Environment",
        "id    [red]Maze[/red]-v0",
        "size  [5, 6]",
        "",
        "Behavior policy",
        "epsilon  1.0",
        "name     random",
        "",
        "Source",
        "files 1 bytes  10",
        "files 1 name   a",
        "files 2 bytes  20",
        "files 2 name   b",
        "format         rows",
        "",
        "Terms and notes",
        "license     CC-BY-4.0",
        "notes 1     first",
        "notes 2     second",
        "left out 1  images",
    ]


def test_json_is_the_metadata_and_the_sizes(run, small_buffer):
    result = run("info", small_buffer, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    with rlbuffers.open(small_buffer) as buffer:
        plan = {name: dataclasses.asdict(planned) for name, planned in buffer.plan.items()}
        expected = {**buffer.metadata, "path": str(small_buffer), "sizes": found["sizes"], "plan": plan}
    assert found == expected
    assert found["sizes"]["disk_bytes"] == small_buffer.stat().st_size


def test_a_converted_shard(run, pong_buffer):
    result = run("info", pong_buffer)
    assert result.exit_code == 0
    lines = lines_of(result)
    assert "layout       transitions, order: shuffled" in lines
    assert 'observations       uint8    (4, 84, 84)  {"type": "box"}' in lines
    assert any(line.startswith("command             ") for line in lines)
    assert result.stderr.startswith("Warning: No discount is 0")


@pytest.mark.parametrize("stack", [0, 2])
@pytest.mark.parametrize("layout", ["episodes", "transitions"])
def test_buffers_without_any_facts_have_a_page_too(run, new_path, store, layout, stack):
    path = write(new_path(store), make(Recipe(layout, (3, 2), stack=stack)))
    result = run("info", path)
    assert result.exit_code == 0
    assert lines_of(result)[-1] == "Terms and notes"
    assert json.loads(run("info", "--json", path).stdout)["counts"]["transitions"] == 5


def test_a_path_without_a_buffer_is_one_line(run, tmp_path):
    path = tmp_path / "nothing.hdf5"
    result = run("info", path)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {path}: there is no such file; `rlbuffers convert` or `generate` makes buffers\n"
    assert result.stdout == ""


@pytest.mark.parametrize("content", [b"", b"text\nin two lines"])
def test_a_file_that_is_no_buffer_is_one_line(run, tmp_path, content):
    path = tmp_path / "x.hdf5"
    path.write_bytes(content)
    for words in (["info", path], ["info", "--json", path]):
        result = run(*words)
        assert result.exit_code == 1
        message = "not an HDF5 file (its first bytes are not HDF5's signature)"
        assert result.stderr == f"Error: {path}: {message}\n"


def test_the_buffer_must_be_named(run):
    result = run("info")
    assert result.exit_code == 2
    assert "Missing argument 'BUFFER'" in result.stderr


def test_what_stands_beside_the_rows_is_listed(run, tmp_path):
    spec = rlbuffers.BufferSpec(
        "episodes",
        [
            rlbuffers.ColumnSpec("observations", np.float32),
            rlbuffers.ColumnSpec("actions", np.int64),
            rlbuffers.ColumnSpec("rewards", np.float32),
        ],
        episode_columns=[rlbuffers.ColumnSpec("seeds", np.int64)],
        extras=[rlbuffers.ColumnSpec("policy/w", np.float64, (3,))],
    )
    facts = {"scalars": {"iteration": {"dtype": "int32", "value": 7}}}
    with rlbuffers.create(tmp_path / "x.hdf5", spec, facts) as writer:
        columns = {"actions": np.zeros(1, np.int64), "rewards": np.zeros(1, np.float32)}
        writer.append_episode(
            rlbuffers.Episode(columns, {"observations": np.zeros(1, np.float32)}, {"seeds": 1}, whole=False)
        )
        writer.append_extra("policy/w", np.zeros((4, 3)))
    lines = [" ".join(line.split()) for line in run("info", tmp_path / "x.hdf5").stdout.splitlines()]
    assert "episodes/seeds int64 () once an episode" in lines
    assert "extras/policy/w float64 (4, 3) of the whole buffer" in lines
    assert "iteration 7" in lines
    assert "final observations unknown 1" in lines


def test_where_a_derived_buffer_comes_from(run, small_buffer, tmp_path):
    part, both = tmp_path / "part.hdf5", tmp_path / "both.hdf5"
    first = rlbuffers.subset(small_buffer, part, 3, by="random", seed=4, cut=True).parents[0].fingerprint
    rlbuffers.merge([small_buffer, part], both)
    lines = lines_of(run("info", both))
    place = lines.index("Derivation")
    with rlbuffers.open(part) as buffer:
        second = buffer.fingerprint
    assert lines[place : place + 7] == [
        "Derivation",
        "merge of",
        f"  small.hdf5: 4 transitions, {first[:16]}, here from row 0",
        f"  part.hdf5: 3 transitions, {second[:16]}, here from row 4",
        "    subset (by random, cut True, seed 4, size 3) of",
        f"      small.hdf5: 4 transitions, {first[:16]}",
        "",
    ]
