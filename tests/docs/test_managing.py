"""Every command and every piece of Python of docs/managing.md runs, in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner
from varied import Varied, write_varied

import rlbuffers
from rlbuffers_cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "managing.md").read_text()


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("runs.hdf5", "more.hdf5")):
        flags = tuple((True, True, episode % 2 == 0, episode % 2 == 1) for episode in range(40))
        write_varied(tmp_path / name, Varied(tuple(range(5, 45)), flags, seed=number))
    commands = re.findall(r"^    (rlbuffers .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 15
    for command in commands:
        result = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
        assert result.exit_code == 0, (command, result.output)
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(code) == 3
    with rlbuffers.open("runs.hdf5") as buffer:
        names = {"rlbuffers": rlbuffers, "observation": buffer[3]["observations"]}
    for piece in code:
        exec(piece, names)
    assert abs(names["as_in_the_environment"] - names["observation"]).max() < 1e-5
    assert names["report"].written.transitions > 0
