"""No source and no export ever gives an episode's end the first observation of the next one: one property for all."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from clock import EPISODE_ENDS, LONGEST, WRITERS, npz
from hypothesis import given, settings
from hypothesis import strategies as st

import rlbuffers
import rlbuffers.sources
from rlbuffers.exports import EXPORTS
from rlbuffers.schema import next_name
from rlbuffers.sources.base import Source
from rlbuffers.sources.d3rlpy.replay_buffer import D3rlpySource
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
from rlbuffers.sources.lerobot.dataset import LeRobotSource
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.npz import NpzSource
from rlbuffers.sources.ogbench import OGBenchSource
from rlbuffers.sources.reverb.server import ReverbServerSource
from rlbuffers.sources.robomimic.dataset import RobomimicSource
from rlbuffers.sources.stated_actions import StatedActionsSource
from rlbuffers.sources.tfds.rlds import RLDSSource
from rlbuffers.sources.tianshou.hdf5 import TianshouSource

EPISODES = st.lists(st.tuples(st.integers(1, LONGEST), st.sampled_from(EPISODE_ENDS)), min_size=2, max_size=4)
# What reads an export again; a buffer is opened as it is.
AGAIN = {
    "d3rlpy": D3rlpySource,
    "d4rl": D4RLSource,
    "hdf5": None,
    "lerobot": LeRobotSource,
    "minari": lambda path: MinariSource(path / "data"),
    "npz": NpzSource,
    "ogbench": OGBenchSource,
    "rlds": RLDSSource,
    "robomimic": RobomimicSource,
    "tianshou": TianshouSource,
    "zarr": None,
}
PASSES_ROWS_ON = {StatedActionsSource}
NEEDS_A_SERVER = {ReverbServerSource}  # its rows come from the same code as those of ReverbSource


def all_sources():
    """Every class under `rlbuffers.sources` that can be made."""
    found = set()
    for module in pkgutil.walk_packages(rlbuffers.sources.__path__, "rlbuffers.sources."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Source) and not inspect.isabstract(kind) and kind.__module__ == module.name:
                found.add(kind)
    return found


def test_every_source_and_every_export_is_covered():
    assert set(WRITERS) | NEEDS_A_SERVER | PASSES_ROWS_ON == all_sources()
    assert set(AGAIN) == set(EXPORTS)


def assert_next_is_one_more(buffer, rows):
    """Observations show where they stand: one more is the next step of the same episode."""
    batch = buffer.rows(rows)
    for name in buffer.spec.observation_names:
        if name in ("observations/reward", "observations/action"):  # of DM Lab, which show no number
            continue
        here, following = (batch[key].astype(float)[:, ..., -1] for key in (name, next_name(name)))
        here, following = (shown[:, -1] if shown.ndim > 1 else shown for shown in (here, following))
        np.testing.assert_array_equal(following, here + 1)


def known_rows(buffer):
    unknown = buffer.rows_without_next if buffer.spec.layout == "episodes" else []
    return np.setdiff1d(np.arange(len(buffer)), unknown)


@pytest.mark.parametrize("kind", WRITERS, ids=lambda kind: kind.__name__)
@settings(max_examples=6)
@given(episodes=EPISODES)
def test_a_next_observation_is_of_the_same_episode(new_path, kind, episodes):
    folder = Path(f"{new_path('hdf5')}.files")
    folder.mkdir()
    for source in WRITERS[kind](folder, episodes):
        assert type(source) is kind
        path = new_path("memory")
        rlbuffers.convert(source, path)
        with rlbuffers.open(path) as buffer:
            rows = known_rows(buffer)
            if kind is D4RLQLearningSource:  # exactly as D4RL has it: behind a terminal, where nobody looks, any row
                rows = rows[~buffer.rows(rows, ["terminals"])["terminals"]]
            assert_next_is_one_more(buffer, rows)


@pytest.mark.parametrize("to", EXPORTS)
@settings(max_examples=6)
@given(episodes=EPISODES)
def test_nor_does_an_export_look_into_another_episode(new_path, to, episodes):
    folder = Path(f"{new_path('hdf5')}.files")
    folder.mkdir()
    for number, source in enumerate(npz(folder, [(2, "terminal"), *episodes])):
        path = new_path("memory")
        rlbuffers.convert(source, path)
        with rlbuffers.open(path) as buffer, pytest.MonkeyPatch.context() as patch:
            patch.setenv("MINARI_DATASETS_PATH", str(folder))
            output = folder / f"out{number}{'.zarr' if to == 'zarr' else '.hdf5'}"
            exported = rlbuffers.export(buffer, f"test/out-v{number}" if to == "minari" else output, to).path
        read = AGAIN[to]
        if read is not None:
            rlbuffers.convert(read(exported), exported := new_path("memory"))
        with rlbuffers.open(exported) as buffer:
            rows = known_rows(buffer)
            if to in (
                "minari",
                "ogbench",
            ):  # zeros stand for what is not known behind a terminal; the closing lines count them
                rows = rows[~buffer.rows(rows, ["terminals"])["terminals"]]
            assert_next_is_one_more(buffer, rows)
