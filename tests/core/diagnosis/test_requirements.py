from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rlbuffers.diagnosis import requirements
from rlbuffers.diagnosis.requirements import CORE, Need, needs

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_needs_are_those_of_the_project():
    found = needs()
    assert {need.name: need.asked for need in found[CORE]} == {
        Requirement(text).name: str(Requirement(text).specifier) for text in PROJECT["dependencies"]
    }
    for extra, texts in PROJECT["optional-dependencies"].items():
        if extra in ("all", "dev"):
            assert extra not in found
            continue
        asked = {Requirement(text).name for text in texts} - {"rlbuffers"}
        assert asked <= {need.name for need in found[extra]}
    assert {need.name for need in found["train"]} < {need.name for need in found["atari"]}


def test_every_module_has_the_right_name():
    """Every package that is installed here can be imported under the name that is derived for it."""
    for need in {need.name: need for group in needs().values() for need in group}.values():
        if need.installed is not None:
            assert importlib.import_module(need.module)


@pytest.mark.parametrize(
    ("asked", "installed", "fits"),
    [(">=2", "2.0.1", True), (">=2", "1.9", False), ("<4.12", "4.12.0", False), ("", "1", True), ("", None, False)],
)
def test_versions(asked, installed, fits):
    assert Need("x", asked, installed).fits is fits


def test_markers_are_obeyed(monkeypatch):
    texts = [
        "numpy>=1",
        'old; python_version < "3"',
        'torch>=2; extra == "train"',
        'rlbuffers[train]; extra == "games"',
        'gone; python_version < "3" and extra == "games"',
    ]
    monkeypatch.setattr(requirements.importlib.metadata, "requires", lambda name: texts)
    assert {name: [need.name for need in group] for name, group in needs().items()} == {
        CORE: ["numpy"],
        "games": ["torch"],
        "train": ["torch"],
    }
