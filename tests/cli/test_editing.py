"""`subset`, `merge`, `split`, `filter`, `repack`, `normalize -o`: what they print, and what they refuse."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from patience import PATIENCE_SECONDS
from reference import Recipe, make, write
from varied import all_cases, read_episodes, write_varied

import rlbuffers


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs.hdf5"
    write_varied(path, all_cases())
    return path


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def told(path):
    """Counts of a buffer, in words, from its rewards."""
    with rlbuffers.open(path) as buffer:
        total = buffer[:]["rewards"].astype(np.float64).sum()
        return f"{buffer.num_episodes:,} episodes, {len(buffer):,} transitions, rewards sum to {total:,.10g}"


def page(result):
    """Return the output without the progress bar, times and spaces at the ends of lines."""
    lines = [line.rstrip() for line in result.stdout.splitlines() if "━" not in line]
    return [re.sub(r"^time( +).*", r"time\1T", line) for line in lines]


def facts(path, **more):
    with rlbuffers.open(path) as buffer:
        size = f"{buffer.store_disk_bytes / 1000:,.1f} KB"
        shown = {
            "buffer": path,
            **more,
            "out": told(path),
            "size": size,
            "time": "T",
            "fingerprint": buffer.fingerprint,
        }
    return [f"{name:<11}  {value}" for name, value in shown.items()]


def parent(path):
    return f"{path}: {told(path)}"


@pytest.fixture(autouse=True)
def wide(run, monkeypatch):
    from rlbuffers_cli import console

    monkeypatch.setattr(console.console, "width", 300)


@pytest.mark.parametrize(
    ("words", "title", "transitions"),
    [
        (["subset", "--size", "10"], "Chosen", 11),
        (["subset", "--size", "50%", "--by", "random", "--cut"], "Chosen", 12),
        (["subset", "--size", "0.5", "--by", "random", "--cut"], "Chosen", 12),
        (["filter", "--where", "length >= 3"], "Filtered", 18),
        (["filter", "--top-returns", "0.25"], "Filtered", None),
        (["filter", "--min-length", "6"], "Filtered", 6),
        (["repack", "--level", "3"], "Repacked", 24),
        (["normalize"], "Normalized", 24),
    ],
)
def test_what_was_made_is_told(run, path, tmp_path, words, title, transitions):
    output = tmp_path / "new.hdf5"
    result = run(words[0], path, *words[1:], "-o", output)
    assert result.exit_code == 0, result.output
    assert page(result) == [title, *facts(output, **{"in": parent(path)})]
    notes = "Warning: 1 transitions more than 10: the last chosen episode is kept whole\n"
    assert result.stderr == (notes if words[-1] == "10" else "")
    if transitions is not None:
        assert len(rlbuffers.open(output)) == transitions
    assert names_in(tmp_path) == ["new.hdf5", "runs.hdf5"]
    again = run(words[0], path, *words[1:], "-o", output)
    assert again.exit_code == 1
    assert again.stderr == f"Error: {output}: exists already; pass --overwrite (overwrite=True) to replace it\n"
    assert run(words[0], path, *words[1:], "-o", output, "--overwrite").exit_code == 0


def test_merged_buffers_are_told_one_by_one(run, path, tmp_path):
    second, output = tmp_path / "second.zarr", tmp_path / "all.hdf5"
    write_varied(second, all_cases((2, 2), seed=1))
    result = run("merge", path, second, path, "-o", output)
    assert result.exit_code == 0, result.output
    expected = {"in 1": parent(path), "in 2": parent(second), "in 3": parent(path)}
    assert page(result) == ["Merged", *facts(output, **expected)]
    assert result.stderr == (f"Warning: {path} holds the same as {path}: every row stands in the new buffer twice\n")
    assert len(read_episodes(output)) == 18


def test_parts_are_told_one_by_one(run, path, tmp_path):
    result = run("split", path, "--fractions", "0.75,0.25", "--names", "train,test", "--seed", "2")
    assert result.exit_code == 0, result.output
    train, test = (tmp_path / f"runs-{name}.hdf5" for name in ("train", "test"))
    assert page(result) == ["Split", *facts(train, **{"in": parent(path)}), *facts(test)]
    assert names_in(tmp_path) == ["runs-test.hdf5", "runs-train.hdf5", "runs.hdf5"]


@pytest.mark.parametrize(
    "words",
    [
        ["subset", "--size", "5", "-o", "new.zarr"],
        ["filter", "--where", "length < 3", "-o", "new.zarr"],
        ["repack", "-o", "new.zarr"],
        ["normalize", "-o", "new.zarr"],
    ],
)
def test_json_is_the_report_and_nothing_else(run, path, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    result = run(words[0], path, *words[1:], "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    with rlbuffers.open("new.zarr") as buffer:
        assert report["operation"] == words[0]
        assert report["fingerprint"] == buffer.fingerprint
        assert report["written"]["transitions"] == len(buffer)
        assert report["path"] == "new.zarr"
    assert report["parents"][0]["tally"]["transitions"] == 24


def test_json_of_several_parts_is_a_list(run, path):
    result = run("split", path, "--parts", "2", "--json")
    assert [report["written"]["episodes"] for report in json.loads(result.stdout)] == [4, 4]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["subset", "runs.hdf5", "--size", "99", "-o", "x.hdf5"], 2, "Error: size 99: runs.hdf5 has 24 transitions"),
        (["subset", "runs.hdf5", "--size", "many", "-o", "x.hdf5"], 2, "expected a number of transitions such as"),
        (["subset", "runs.hdf5", "--size", "200%", "-o", "x.hdf5"], 2, "Error: size 2.0: a fraction must be above 0"),
        (["subset", "runs.hdf5", "--size", "5", "-o", "x.csv"], 2, "Error: x.csv: the name must end in .hdf5"),
        (
            ["subset", "runs.hdf5", "--size", "5", "-o", "runs.hdf5", "--overwrite"],
            2,
            "is what is read; choose another",
        ),
        (["subset", "no.hdf5", "--size", "5", "-o", "x.hdf5"], 1, "Error: no.hdf5: there is no such file"),
        (["subset", "runs.hdf5", "-o", "x.hdf5"], 2, "Missing option '--size'"),
        (["merge", "runs.hdf5", "-o", "x.hdf5"], 2, "Error: merge needs two buffers or more"),
        (["merge", "runs.hdf5", "rows.zarr", "-o", "x.hdf5"], 1, "Error: rows.zarr: layout 'transitions' instead of"),
        (["split", "runs.hdf5"], 2, "Error: say how to split by one of"),
        (["split", "runs.hdf5", "--fractions", "a,b"], 2, "expected numbers separated by commas, such as 0.9,0.1"),
        (["split", "rows.zarr", "--episodes-per-part", "2"], 1, "Error: rows.zarr: independent transitions have no"),
        (["filter", "runs.hdf5", "-o", "x.hdf5"], 2, "Error: say what to keep"),
        (
            ["filter", "runs.hdf5", "--where", "retrun > 1", "-o", "x.hdf5"],
            2,
            "Error: 'retrun > 1', character 1: there is no 'retrun'; did you mean 'return'? Known are actions, ",
        ),
        (["filter", "runs.hdf5", "--where", "return > 1e9", "-o", "x.hdf5"], 2, "no episode of 8 is left; returns go"),
        (["repack", "runs.hdf5", "--level", "9", "-o", "x.hdf5"], 2, "Error: level 9: expected 0 to 3 (gzip by ISA-L)"),
        (["normalize", "runs.hdf5"], 2, "Error: give either --stats"),
        (["normalize", "runs.hdf5", "--stats", "-o", "x.hdf5"], 2, "Error: give either --stats"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(run, path, tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.zarr", make(Recipe("transitions", (5,))))
    result = run(*words)
    assert result.exit_code == code
    assert message in result.stderr.splitlines()[-1]
    assert names_in(tmp_path) == ["rows.zarr", "runs.hdf5"]


def split_and_stop(source):
    """Split in a process of its own, press Ctrl-C before a file gets its name, and return (exit code, errors)."""
    code = (
        "import time, rlbuffers.atomic as atomic\n"
        "from rlbuffers_cli.main import main\n"
        "atomic.os.fsync = lambda descriptor: (print('writing', flush=True), time.sleep(600))\n"
        "main()"
    )
    command = [sys.executable, "-c", code, "split", str(source), "--parts", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "writing" not in process.stdout.readline():
        assert process.poll() is None, process.communicate()
    assert list(source.parent.glob(".*partial*"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, errors


def test_ctrl_c_leaves_nothing(tmp_path):
    source = tmp_path / "in.hdf5"
    made = make(Recipe("episodes", (50,), observations=(("observations", "float32", (4096,)),)))
    with rlbuffers.create(source, made.spec) as writer:
        for _ in range(100):
            writer.append_episode(made.pieces[0])
    code, errors = split_and_stop(source)
    assert code == 130, errors
    assert "Stopped; nothing was left half written." in errors
    assert names_in(tmp_path) == ["in.hdf5"]
