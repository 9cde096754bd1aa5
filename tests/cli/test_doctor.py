"""`rlbuffers doctor`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rlbuffers.diagnosis import report
from rlbuffers.diagnosis.requirements import CORE, Need

FINE = Need("numpy", ">=1.26", "1.26.4")


@pytest.fixture
def installed(monkeypatch):
    """A function that sets what is installed beyond a core that works."""

    def pretend(**groups):
        monkeypatch.setattr(report, "needs", lambda: {CORE: [FINE], **groups})

    return pretend


def test_the_page(run, installed):
    installed(minari=[Need("absent", ">=1", None)])
    result = run("doctor")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "numpy 1.26.4 >=1.26" in lines
    assert (
        "minari missing convert minari (Arrow files and JPEG images) [needs absent: pip install 'rlbuffers[minari]']"
        in lines
    )
    assert lines[-1] == "everything that is installed works"


def test_a_problem_is_an_exit_code_and_a_line(run, installed):
    installed(x=[Need("numpy", ">=99", "1.26.4")])
    result = run("doctor")
    assert result.exit_code == 1
    problem = "numpy 1.26.4 is installed, >=99 is needed: pip install 'numpy>=99'"
    assert result.stdout.splitlines()[-2:] == [problem, "1 problem"]
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == [problem]


def run_entry(tmp_path, *words):
    """Run the command with a numpy that cannot be imported."""
    (tmp_path / "numpy.py").write_text("raise ImportError('built for another Python')")
    code = "import sys; from rlbuffers_cli.entry import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env={"PYTHONPATH": tmp_path}
    )


def test_it_runs_where_nothing_else_does(tmp_path):
    done = run_entry(tmp_path, "info", "x")
    assert done.returncode == 1
    expected = "Error: built for another Python. `rlbuffers doctor` says what is wrong with this installation\n"
    assert done.stderr == expected
    done = run_entry(tmp_path, "doctor", "--json")
    assert done.returncode == 1
    assert any("built for another Python" in problem for problem in json.loads(done.stdout)["problems"])


def test_help_is_that_of_every_command(tmp_path):
    done = run_entry(tmp_path, "doctor", "-h")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: rlbuffers doctor [OPTIONS]")
