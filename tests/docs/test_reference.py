"""The reference of the Python interface: every public name is in it, and its examples run."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import rlbuffers
import rlbuffers_train
from rlbuffers import BufferSpec, ColumnSpec, Episode

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "api.md").read_text()
PUBLIC = [f"{package.__name__}.{name}" for package in (rlbuffers, rlbuffers_train) for name in package.__all__]
# What is no function or class stands in a sentence.
MENTIONED = {"rlbuffers.__version__", *(f"rlbuffers_train.{name}" for name in ("ALGORITHMS", "BEST", "LAST", "POLICY"))}
FUNCTIONS = [getattr(rlbuffers, name) for name in rlbuffers.__all__ if inspect.isfunction(getattr(rlbuffers, name))]


def test_every_public_name_is_in_the_reference():
    described = set(re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE))
    assert set(PUBLIC) - described == MENTIONED
    assert all(name.partition(".")[2] in REFERENCE for name in MENTIONED - {"rlbuffers.__version__"})


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "data_cards").glob("*.md")]
    assert [page.name for page in pages if f"{page.parent.name}/{page.name}" not in text] == []


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two buffers of four episodes, and a file of D4RL's form."""
    monkeypatch.chdir(tmp_path)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (3,)),
            ColumnSpec("actions", np.float32, (2,)),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    for seed, name in enumerate(("runs.hdf5", "more.hdf5")):
        rng = np.random.default_rng(seed)
        with rlbuffers.create(name, spec) as writer:
            for length in (10, 20, 30, 40):
                last = np.arange(length) == length - 1
                columns = {"terminals": last, "timeouts": np.zeros(length, bool), "rewards": np.ones(length, "f4")}
                columns["actions"] = rng.uniform(-1, 1, (length, 2)).astype("f4")
                observations = rng.normal(size=(length + 1, 3)).astype("f4")
                writer.append_episode(Episode(columns, {"observations": observations}))
    with rlbuffers.open("runs.hdf5") as buffer:
        rlbuffers.export(buffer, "runs.h5", "d4rl")


@pytest.mark.parametrize(
    "function",
    [*FUNCTIONS, rlbuffers_train.generate],
    ids=lambda function: f"{function.__module__}.{function.__name__}",
)
def test_the_example_of_a_function_runs(function, files):
    (test,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert test.examples, f"{function.__name__} has no example"
    outcome = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(test)
    assert outcome.failed == 0
