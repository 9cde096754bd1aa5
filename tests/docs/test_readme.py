"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import numpy as np

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode

README = Path(__file__).parents[2] / "README.md"
STEPS = 120


def write_buffer(path):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (4,)),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    columns = {
        "actions": np.zeros(STEPS, np.int64),
        "rewards": np.ones(STEPS, np.float32),
        "terminals": np.arange(STEPS) == STEPS - 1,
    }
    with rlbuffers.create(path, spec) as writer:
        for _ in range(2):
            writer.append_episode(Episode(columns, {"observations": np.zeros((STEPS + 1, 4), np.float32)}))


def test_python_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_buffer(tmp_path / "buffer.hdf5")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    namespace = {}
    exec(code, namespace)
    assert namespace["batch"]["observations"].shape == (32, 4)
    assert len(namespace["episode"]["observations"]) == len(namespace["episode"]["rewards"]) + 1
    assert len(namespace["rows"]["actions"]) == 100
    with rlbuffers.open("mine.zarr") as mine:
        assert len(mine) == namespace["steps"]
        assert mine.metadata["environment"]["id"] == "Mine-v0"
    assert rlbuffers.validate("mine.zarr").ok


def test_public_names_are_no_modules():
    """A module of the same name would replace the function as soon as anything imports it."""
    package = Path(rlbuffers.__file__).parent
    modules = {path.stem for path in package.iterdir()}
    assert not modules & set(rlbuffers.__all__)
