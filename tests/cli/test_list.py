"""`rlbuffers list`."""

from __future__ import annotations

import json

import pytest
from reference import Recipe, make, write

from rlbuffers_cli import console as console_module


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "games").mkdir()
    write(tmp_path / "a.hdf5", make(Recipe("episodes", (3, 5))), {"environment": {"id": "[b]Maze[/b]-v0"}})
    write(tmp_path / "games" / "b.zarr", make(Recipe("transitions", (7,))))
    return tmp_path


def test_the_table(run, shelf):
    result = run("list", shelf)
    assert result.exit_code == 0
    title, header, first, second, closing = result.stdout.splitlines()
    assert title == str(shelf)
    assert header.split() == [
        "name",
        "task",
        "layout",
        "transitions",
        "episodes",
        "return",
        "size",
        "format",
        "fingerprint",
    ]
    cells = json.loads(run("list", shelf, "--json").stdout)
    facts = cells[0]["facts"]
    assert first.split()[:5] == ["a.hdf5", "[b]Maze[/b]-v0", "episodes", "8", "2"]
    assert first.split()[-2:] == ["hdf5", facts["fingerprint"][:8]]
    assert f" {facts['mean_return']:,.1f} " in first
    assert second.split()[:3] == ["games/b.zarr", "transitions", "7"]
    assert closing.startswith("2 buffers, 15 transitions, ")


def test_json_has_everything_of_every_folder(run, shelf):
    found = json.loads(run("list", "--json", shelf / "games", shelf).stdout)
    assert [entry["path"] for entry in found] == [
        str(shelf / "games" / "b.zarr"),
        str(shelf / "a.hdf5"),
        str(shelf / "games" / "b.zarr"),
    ]


def test_damage_is_one_line(run, shelf):
    content = (shelf / "a.hdf5").read_bytes()
    (shelf / "cut.hdf5").write_bytes(content[:-100])
    (shelf / "text.h5").write_text("x")
    result = run("list", shelf)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[-2] == "text.h5: not an HDF5 file (its first bytes are not HDF5's signature)"
    assert lines[-3].startswith("cut.hdf5: ")
    assert lines[-1].endswith(", 2 damaged")


def test_an_empty_folder_says_so(run, tmp_path):
    assert run("list", tmp_path).stdout == f"{tmp_path}: no buffers here\n"
    assert json.loads(run("list", tmp_path, "--json").stdout) == []


def test_the_default_folder_need_not_exist(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("list").stdout == f"{tmp_path}/.rl_unplugged/buffers: no buffers here\n"


def test_a_folder_that_is_not_there_is_refused(run, tmp_path):
    result = run("list", tmp_path / "nothing")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize(("width", "shown"), [(200, 9), (60, 4)])
def test_a_narrow_terminal_gets_the_columns_that_fit(run, shelf, monkeypatch, width, shown):
    monkeypatch.setattr(console_module.console, "width", width)
    monkeypatch.setattr(type(console_module.console), "is_terminal", True)
    lines = run("list", shelf).stdout.splitlines()
    header = next(line for line in lines if line.startswith("name"))
    assert len(header.split()) == shown
    assert all(len(line) <= width for line in lines if line.startswith(("name", "a.hdf5", "games")))
