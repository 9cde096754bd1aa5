"""`rlbuffers formats`."""

from __future__ import annotations

import importlib.util
import json

import pytest

from rlbuffers.exports import EXPORTS
from rlbuffers.sources import SOURCES


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_every_format_is_listed(run):
    result = run("formats")
    assert result.exit_code == 0
    for name in {*SOURCES, *EXPORTS}:
        assert f"\n{name} " in result.stdout


def test_what_is_missing_is_said_with_its_remedy(run, nothing_installed):
    listed = json.loads(run("formats", "--json").stdout)
    by_name = {row["name"]: row for row in listed["convert"]}
    assert by_name["minari"]["missing"] == ["pyarrow", "PIL"]
    assert by_name["d4rl"]["missing"] == []
    shown = " ".join(run("formats").stdout.split())
    assert "partly: needs pip install 'rlbuffers[minari]'" in shown


def test_what_is_installed_is_said(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    listed = json.loads(run("formats", "--json").stdout)
    assert all(row["missing"] == [] for rows in listed.values() for row in rows)


def test_each_source_has_a_command(run):
    shown = run("convert", "--help").stdout
    for name in SOURCES:
        assert f"\n  {name} " in shown
        assert run("convert", name, "--help").exit_code == 0
