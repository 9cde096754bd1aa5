"""docs/formats.md has a section for every format, and its Python runs as it stands there."""

import re
import shutil
from pathlib import Path

import pytest
from truth import DATA

import rlbuffers
from rlbuffers.exports import EXPORTS
from rlbuffers.sources import SOURCES

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_section(name):
    assert re.search(rf"^### {name}\b", TEXT, flags=re.MULTILINE)
    assert f"rlbuffers convert {name}" in TEXT


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_has_a_line(name):
    assert f"| `{name}`" in TEXT or f", `{name}` |" in TEXT


def test_python_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("1", "2"):
        shutil.copy(DATA / "tianshou" / "cartpole.hdf5", tmp_path / "runs" / f"{name}.hdf5")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    namespace = {}
    exec(code, namespace)
    assert rlbuffers.validate("runs.zarr").ok
    assert (tmp_path / "runs.h5").is_file()
    assert namespace["exported"].read == namespace["report"].written
