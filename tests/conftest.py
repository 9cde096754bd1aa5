"""Fixtures shared by all tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from reference import STORES

from rlbuffers.stores import memory_store

settings.register_profile("project", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500)  # pytest --hypothesis-profile=thorough
settings.load_profile("project")

_DATA = Path(__file__).parent / "data"
SHARD_NAME = "run_1-00001-of-00100"


@pytest.fixture(scope="module", autouse=True)
def _no_memory_is_held() -> Iterator[None]:
    """Forget the buffers in memory of a file of tests, which live as long as the process: gigabytes, over all."""
    yield
    memory_store._BUFFERS.clear()


@pytest.fixture(scope="session")
def dataset_dir() -> Path:
    """The folder of RL Unplugged shards: ``GAME/run_1-00001-of-00100``."""
    return _DATA / "rl_unplugged"


@pytest.fixture(scope="session", params=["Breakout", "Pong"])
def game(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def shard(dataset_dir: Path, game: str) -> Path:
    return dataset_dir / game / SHARD_NAME


@pytest.fixture(scope="session")
def breakout_shard(dataset_dir: Path) -> Path:
    return dataset_dir / "Breakout" / SHARD_NAME


@pytest.fixture(scope="session")
def truth(dataset_dir: Path, game: str) -> dict[str, np.ndarray]:
    """What TensorFlow reads in the shard; see ``tests/data/make_truth.py``."""
    with np.load(dataset_dir / f"{game}.truth.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def new_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from the name of a store to a path that was never used; works inside Hypothesis."""
    folder = tmp_path_factory.mktemp("buffers")
    numbers = itertools.count()

    def make_path(store: str) -> Path:
        number = next(numbers)
        return Path(f"memory:{folder.name}-{number}") if store == "memory" else folder / f"{number}.{store}"

    return make_path


@pytest.fixture(scope="session", params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)
