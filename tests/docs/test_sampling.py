"""docs/sampling.md: its Python runs as it stands there, in order."""

import re
from pathlib import Path

from played import Game, play

TEXT = (Path(__file__).parents[2] / "docs" / "sampling.md").read_text()


def test_python_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    play(
        [Game(400, "timeout"), Game(300, "terminal"), Game(200, "both"), Game(200, "neither")], tmp_path / "medium.hdf5"
    )
    play([Game(500, "terminal")], tmp_path / "expert.hdf5", seed=1)
    pieces = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(pieces) >= 15
    namespace = {}
    for piece in pieces:
        exec(piece, namespace)
    namespace["buffer"].close()


def test_every_option_is_explained():
    from rlbuffers.samplers.making import SamplerOptions

    for option in SamplerOptions.__annotations__:
        assert re.search(rf"\b{option}\b", TEXT), option
