"""`rlbuffers show` and `rlbuffers head`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reference import Recipe, make, write

from rlbuffers_cli import console as console_module


@pytest.fixture
def vectors(tmp_path):
    made = make(Recipe("episodes", (3, 5, 9), extra=(("infos/qpos", "float64", (40,)),)))
    return write(tmp_path / "v.hdf5", made), made


@pytest.fixture
def images(tmp_path):
    made = make(Recipe("episodes", (3, 5), stack=3, size=(8, 8)))
    return write(tmp_path / "i.zarr", made), made


@pytest.fixture
def terminal(monkeypatch):
    """A terminal 80 columns wide."""
    monkeypatch.setattr(console_module.console, "width", 80)
    monkeypatch.setattr(type(console_module.console), "is_terminal", True)


def shown_rows(result):
    words = [line.split() for line in result.stdout.splitlines()]
    return [int(first) for first, *rest in words if first.isdigit() and "of" not in rest]


def test_head_is_the_first_rows(run, vectors):
    path, made = vectors
    result = run("head", path)
    assert result.exit_code == 0
    assert result.stdout == run("show", path, ":5").stdout
    lines = result.stdout.splitlines()
    expected = "row episode step observations actions rewards terminals timeouts infos/qpos"
    assert " ".join(lines[0].split()) == expected
    assert [line.split()[:3] for line in lines[1:6]] == [
        ["0", "0", "0"],
        ["1", "0", "1"],
        ["2", "0", "2"],
        ["3", "1", "0"],
        ["4", "1", "1"],
    ]
    assert f"{made.table['rewards'][4]:.4g}" in lines[5]
    assert lines[-1] == "5 of 17 transitions"
    assert shown_rows(run("head", path, "-n", 2)) == [0, 1]


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ([], range(10)),
        (["7"], [7]),
        (["--rows", "15:"], [15, 16]),
        (["-2:"], [15, 16]),
        (["1,12:14"], [1, 12, 13]),
        (["--episode", "1"], range(3, 8)),
        (["--episode", "-1", "0,-1"], [8, 16]),
    ],
)
def test_which_rows(run, vectors, words, rows):
    path, made = vectors
    assert shown_rows(run("show", path, *words)) == list(rows)
    found = json.loads(run("show", path, *words, "--json").stdout)
    for item, row in zip(found, rows, strict=True):
        assert item["row"] == row
        assert made.bounds[item["episode"]][0] + item["step"] == row
        for name in ("observations", "actions", "rewards", "terminals", "infos/qpos"):
            np.testing.assert_array_equal(np.array(item[name], made.table[name].dtype), made.table[name][row])


def test_columns(run, vectors):
    path, made = vectors
    (item,) = json.loads(run("show", path, "2", "--columns", "rewards,next_observations", "--json").stdout)
    assert list(item) == ["row", "episode", "step", "rewards", "next_observations"]
    np.testing.assert_array_equal(np.float32(item["next_observations"]), made.table["next_observations"][2])


def test_a_table_fits_the_terminal_and_says_what_it_leaves_out(run, vectors, terminal):
    path, _ = vectors
    lines = run("show", path).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines[:-2])
    assert "infos/qpos" not in lines[0]
    assert lines[-2] == "not shown: infos/qpos (--columns shows them)"


def test_many_rows_are_read_in_blocks(run, tmp_path):
    path = write(tmp_path / "x.zarr", make(Recipe("transitions", (300,))))
    assert shown_rows(run("show", path, ":")) == list(range(300))
    assert [item["row"] for item in json.loads(run("show", path, "::-1", "--json").stdout)] == list(range(300))[::-1]


def test_numbers_that_are_not_finite_are_null(run, tmp_path):
    made = make(Recipe("transitions", (2,)))
    made.pieces[0]["rewards"][:] = [np.nan, -np.inf]
    path = write(tmp_path / "x.hdf5", made)
    assert [item["rewards"] for item in json.loads(run("show", path, "--json").stdout)] == [None, None]
    assert "nan" in run("show", path).stdout


def test_a_pipe_gets_a_table_of_frames(run, images):
    path, made = images
    lines = run("show", path).stdout.splitlines()
    assert f"3x8x8, mean {made.table['observations'][0].mean():.1f}" in lines[1]
    (item,) = json.loads(run("show", path, "4", "--json").stdout)
    assert "observations" not in item
    (item,) = json.loads(run("show", path, "4", "--json", "--columns", "observations").stdout)
    np.testing.assert_array_equal(np.uint8(item["observations"]), made.table["observations"][4])


def test_a_terminal_gets_a_strip(run, images, terminal):
    path, made = images
    result = run("show", path, "1:8")
    words = " ".join(result.stdout.split())
    for row in range(1, 8):
        episode = int(row >= 3)
        assert f"row {row}, ep {episode} step {row - made.bounds[episode][0]}" in words
        assert f"action {made.table['actions'][row]}" in words
    assert words.count("TERMINAL") == made.table["terminals"][1:8].sum() == 2
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert "row episode" in " ".join(run("show", path, "--no-frames").stdout.split())


def test_the_stack_is_drawn_on_request(run, images):
    path, _ = images
    newest, whole = (run("show", path, "0", "--frames", *more).stdout.splitlines() for more in ((), ("--stack",)))
    assert len(newest[0].rstrip()) < len(whole[0].rstrip())
    assert "action" in " ".join(whole)


def test_the_end_of_a_recording_is_marked(run, tmp_path, terminal):
    made = make(Recipe("episodes", (3,), stack=2, size=(8, 8)))
    made.pieces[0].columns["terminals"][:] = False
    path = write(tmp_path / "x.hdf5", made)
    assert run("show", path).stdout.count("LAST OF EPISODE") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["99"], 2, "there is no row 99; there are 17"),
        (["a"], 2, "rows 'a': expected numbers and slices"),
        (["1", "--rows", "2"], 2, "rows are given twice"),
        (["--episode", "3"], 2, "there is no episode 3; the buffer has 3"),
        (["--columns", "reward"], 1, "there is no column 'reward'"),
    ],
)
def test_what_is_not_there_is_one_line(run, vectors, words, code, message):
    result = run("show", vectors[0], *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_independent_transitions_have_no_episodes(run, tmp_path):
    path = write(tmp_path / "x.zarr", make(Recipe("transitions", (4,))))
    result = run("show", path, "--episode", 0)
    assert result.exit_code == 1
    assert "independent transitions" in result.stderr
    assert shown_rows(run("show", path)) == [0, 1, 2, 3]
