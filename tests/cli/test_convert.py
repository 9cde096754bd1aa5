"""`rlbuffers convert rl-unplugged`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from patience import PATIENCE_SECONDS
from wire import transition, write_shard

import rlbuffers
from rlbuffers.writer import BufferWriter

NAME = "run_1-00001-of-00100"


@pytest.fixture
def convert(run, dataset_dir, tmp_path):
    """A function that converts shard 1 of run 1 into ``tmp_path / "buffers"``; more words come last and win."""

    def convert_words(*words, task="Breakout"):
        places = ["--dataset-dir", dataset_dir, "--buffer-dir", tmp_path / "buffers"]
        return run("convert", "rl-unplugged", "--task", task, "--shard-id", 1, *places, "--workers", 0, *words)

    return convert_words


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def facts_of(output):
    """Read the table of names and values back; folded values are joined."""
    facts, name = {}, ""
    for line in output.splitlines():
        found = re.match(r"(\S.*?) {2,}(.*)", line)
        if found:
            name = found[1]
            facts[name] = found[2].strip()
        elif name and line.startswith(" "):
            facts[name] += line.strip()
    return facts


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_shard_becomes_a_buffer(convert, tmp_path, truth, game, store):
    result = convert("--format", store, task=game)
    assert result.exit_code == 0
    buffer = tmp_path / "buffers" / game / f"{NAME}.{store}"
    with rlbuffers.open(buffer) as opened:
        np.testing.assert_array_equal(opened[:]["observations"], truth["observations"])
        assert opened.metadata["source"]["published_at"].endswith(f"/{game}/{NAME}")
        fingerprint = opened.fingerprint
    facts = facts_of(result.output)
    assert facts["buffer"] == str(buffer)
    counted = f"300 transitions, rewards sum to {truth['rewards'].sum():,.10g}"
    assert (facts["in"], facts["out"]) == (counted, counted)
    assert facts["fingerprint"] == fingerprint
    assert facts["discounts equal to zero"] == "0"
    assert facts["frames oldest first"] == "1"
    assert re.fullmatch(r"[\d.]+ KB \(\d+% of the source\)", facts["size"])


def test_what_is_wrong_with_a_shard_is_a_warning(convert):
    """The published games whose discounts are all 1.0 look like this."""
    result = convert()
    assert result.stderr.splitlines() == [
        "Warning: No discount is 0: the shard marks no terminal at all. Every row's `terminals` is False as the file "
        "says, which is not credible; do not train a value function on it."
    ]


def test_a_shard_with_terminals_needs_no_warning(convert, tmp_path):
    frames = np.zeros((5, 84, 84), np.uint8)
    records = [transition((frames[:4], frames[1:]), d_t=float(number % 2)) for number in range(4)]
    write_shard(tmp_path / "own" / "Breakout" / NAME, records)
    result = convert("--dataset-dir", tmp_path / "own")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert facts_of(result.stdout)["discount values"] == "0.0: 2, 1.0: 2"


def test_other_processes_make_no_difference(convert, tmp_path):
    fingerprints = [
        facts_of(convert("--workers", workers, "--buffer-dir", tmp_path / str(workers)).output)["fingerprint"]
        for workers in (0, 1)
    ]
    assert fingerprints[0] == fingerprints[1]


def test_a_limit_is_told(convert, tmp_path):
    result = convert("--limit", 7)
    assert result.exit_code == 0
    facts = facts_of(result.output)
    assert facts["out"].startswith("7 transitions, ")
    assert facts["left out 1"] == "records after the first 7, if there are more (--limit)"
    with rlbuffers.open(tmp_path / "buffers" / "Breakout" / f"{NAME}.hdf5") as buffer:
        assert len(buffer) == 7


def test_an_existing_buffer_is_refused_unless_overwriting(convert, tmp_path):
    convert("--limit", 5)
    buffer = tmp_path / "buffers" / "Breakout" / f"{NAME}.hdf5"
    content = buffer.read_bytes()
    result = convert()
    assert result.exit_code == 1
    assert result.stderr == f"Error: {buffer}: exists already; pass --overwrite to replace it\n"
    assert result.stdout == ""
    assert buffer.read_bytes() == content
    assert convert("--overwrite").exit_code == 0
    with rlbuffers.open(buffer) as opened:
        assert len(opened) == 300
    assert files_in(tmp_path / "buffers") == [f"Breakout/{NAME}.hdf5"]


@pytest.mark.parametrize(
    ("game", "hint"),
    [("breakout", "did you mean Breakout?"), ("MsPackman", "did you mean MsPacman?"), ("x", "choose one of Alien, ")],
)
def test_an_unknown_game_is_refused_with_a_suggestion(convert, tmp_path, game, hint):
    result = convert(task=game)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {game!r} is not one of the 46 Atari games of RL Unplugged; {hint}")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "buffers").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run-id", 6], "Error: run id 6: expected 1 to 5"),
        (["--shard-id", 100], "Error: shard id 100: expected 0 to 99"),
        (["--limit", 0], "Error: Invalid value for '--limit': 0 is not in the range x>=1."),
        (["--format", "npz"], "Error: Invalid value for '--format': 'npz' is not one of 'hdf5', 'zarr', 'zip'."),
        (["--workers", -1], "Error: Invalid value for '--workers': -1 is not in the range x>=0."),
    ],
)
def test_arguments_that_cannot_be_obeyed(convert, words, message):
    result = convert(*words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == message


def test_the_game_must_be_named(run):
    result = run("convert", "rl-unplugged")
    assert result.exit_code == 2
    assert "Missing option '--task'" in result.stderr


def test_a_missing_shard_without_a_network_is_one_line(convert, tmp_path, monkeypatch, closed_port):
    monkeypatch.setattr("rlbuffers.sources.rl_unplugged.games._BUCKET", f"http://127.0.0.1:{closed_port}/atari")
    shards = tmp_path / "shards"
    result = convert("--dataset-dir", shards, "--run-id", 2)
    assert result.exit_code == 1
    url, path = f"http://127.0.0.1:{closed_port}/atari/Breakout/run_2-00001-of-00100", shards / "Breakout"
    assert re.fullmatch(
        rf"Error: cannot download {url} \(.*refused\)\. Try again .* put it at {path}/run_2-00001-of-00100\n",
        result.stderr,
    )
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not a GZIP file (its first bytes are 3c68)"),
        (None, "cut short; the GZIP stream has no end after 200000 bytes"),
    ],
)
def test_a_shard_that_cannot_be_read_is_one_line(convert, tmp_path, breakout_shard, content, message):
    shard = tmp_path / "bad" / "Breakout" / NAME
    shard.parent.mkdir(parents=True)
    shard.write_bytes(breakout_shard.read_bytes()[:200_000] if content is None else content)
    result = convert("--dataset-dir", tmp_path / "bad")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {shard}: {message}\n"
    assert files_in(tmp_path / "buffers") == []


def test_a_folder_that_cannot_be_written_is_one_line(convert, tmp_path):
    (tmp_path / "file").write_text("")
    result = convert("--buffer-dir", tmp_path / "file" / "below")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path}/file/below/Breakout: Not a directory\n"


def test_an_interruption_leaves_nothing(convert, tmp_path, monkeypatch):
    append = BufferWriter.append_transitions

    def append_and_stop(self, rows):
        append(self, rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(BufferWriter, "append_transitions", append_and_stop)
    result = convert()
    assert result.exit_code == 130
    assert result.stderr == "\nStopped; nothing was left half written. The same command starts again.\n"
    assert files_in(tmp_path) == []
    monkeypatch.undo()
    assert convert().exit_code == 0


def start(code, dataset_dir, buffer_dir, *words):
    """Run the command in a process and a session of its own, after some code that changes its world."""
    places = ["--dataset-dir", dataset_dir, "--buffer-dir", buffer_dir]
    command = ["convert", "rl-unplugged", "--task", "Pong", "--shard-id", 1, *places, *words]
    return subprocess.Popen(
        [sys.executable, "-c", f"{code}\nfrom rlbuffers_cli.main import main\nmain()", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_in_a_terminal_ends_all_processes(dataset_dir, tmp_path):
    """The whole group gets the signal, as from a keyboard, while the finished file is about to get its name."""
    code = (
        "import time, rlbuffers.atomic as atomic\n"
        "atomic.os.fsync = lambda descriptor: (print('writing', flush=True), time.sleep(600))"
    )
    started = start(code, dataset_dir, tmp_path / "buffers", "--workers", 1)
    while "writing" not in started.stdout.readline():
        assert started.poll() is None
    os.killpg(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 130
    assert errors == "\nStopped; nothing was left half written. The same command starts again.\n"
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_full_disk_is_one_line(dataset_dir, tmp_path, store):
    """A limit on the size of files stands for a disk without space."""
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    )
    started = start(code, dataset_dir, tmp_path / "buffers", "--workers", 0, "--format", store)
    _, errors = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 1
    assert re.fullmatch(r"Error: .*File too large\n", errors)
    assert files_in(tmp_path) == []
