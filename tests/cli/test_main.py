"""The group of all commands."""

from __future__ import annotations

import subprocess
import sys

import click
import numpy as np
import pytest

import rlbuffers
from rlbuffers.errors import FormatError, UsageError
from rlbuffers_cli.console import size_text
from rlbuffers_cli.main import cli


def test_the_version_is_that_of_the_package(run):
    assert run("--version").stdout == f"rlbuffers, version {rlbuffers.__version__}\n"


def test_help_names_every_command(run):
    for flag in ("-h", "--help"):
        result = run(flag)
        assert result.exit_code == 0
        assert all(f"  {name} " in result.stdout for name in cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name}")


def test_an_unknown_command_is_refused(run):
    result = run("convrt")
    assert result.exit_code == 2
    assert "No such command 'convrt'" in result.stderr


@pytest.fixture
def failing(run, monkeypatch):
    """A function that runs a command which raises this."""

    def run_failing(error):
        def fail():
            raise error

        monkeypatch.setitem(cli.commands, "fail", click.Command("fail", callback=fail))
        return run("fail")

    return run_failing


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (FormatError("x.hdf5: this\n  is wrong"), 1, "Error: x.hdf5: this is wrong\n"),
        (UsageError("n: 3"), 2, "Error: n: 3\n"),
        (OSError(28, "No space left on device", "/x"), 1, "Error: /x: No space left on device\n"),
        (OSError("odd"), 1, "Error: odd\n"),
        (KeyboardInterrupt(), 130, "\nStopped; nothing was left half written. The same command starts again.\n"),
    ],
)
def test_errors_become_one_line_and_a_code(failing, error, code, text):
    result = failing(error)
    assert result.exit_code == code
    assert result.stderr == text
    assert result.stdout == ""


def test_mistakes_of_ours_are_not_hidden(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_a_pipe_that_is_closed_early_is_no_error(pong_buffer):
    """As in ``rlbuffers info x | head -1``, with more output than a pipe holds."""
    code = (
        "import rlbuffers_cli.console as c; from rlbuffers_cli.main import main\n"
        "table = c.facts_table\n"
        "c.facts_table = lambda title, facts: table(title, {**facts, 'long': 'x' * 300_000})\n"
        "main()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code, "info", pong_buffer], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    started.stdout.readline()
    started.stdout.close()
    errors = started.stderr.read()
    started.stderr.close()
    assert started.wait() == 1
    assert errors == ""


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1_536_000, "1.5 MB"),
        (2.5e9, "2.5 GB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_sizes_are_decimal(size, text):
    assert size_text(size) == text


def test_the_package_runs_as_a_module_and_records_the_command(tmp_path):
    source = tmp_path / "x.npz"
    np.savez(
        source,
        observations=np.zeros((3, 2), "f4"),
        terminals=np.arange(3) == 2,
        actions=np.zeros(3, "i8"),
        rewards=np.zeros(3, "f4"),
    )
    words = ["convert", "npz", source, "-o", tmp_path / "x.hdf5", "--num-actions", "2", "--workers", "1"]
    done = subprocess.run([sys.executable, "-m", "rlbuffers", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer.metadata["written_by"]["command"].startswith("rlbuffers convert npz ")
