"""A file of one format given to the converter of another: one line that says what it looks to be."""

from __future__ import annotations

import pytest
from truth import DATA

FILES = {
    "d3rlpy": DATA / "d3rlpy" / "cartpole-v2.h5",
    "d4rl": DATA / "d4rl" / "mini" / "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed.hdf5",
    "tianshou": DATA / "tianshou" / "cartpole.hdf5",
    "lerobot": DATA / "lerobot" / "v2.1",
    "minari": DATA / "minari" / "fixture" / "cartpole-hdf5-v0",
    "tfds": DATA / "tfds" / "mini_rlds" / "vectors" / "1.0.0",
    "reverb": DATA / "reverb" / "pendulum",
    "robomimic": DATA / "robomimic" / "lift.hdf5",
    "dopamine": DATA / "dopamine" / "Breakout" / "1" / "replay_logs",
}
WORDS = {
    "d3rlpy": ["d3rlpy"],
    "d4rl": ["d4rl", "--file"],
    "lerobot": ["lerobot"],
    "minari": ["minari"],
    "npz": ["npz"],
    "reverb": ["reverb"],
    "robomimic": ["robomimic"],
    "tfds": ["tfds", "--dir"],
    "tianshou": ["tianshou"],
}


@pytest.mark.parametrize("given", FILES)
@pytest.mark.parametrize("to", WORDS)
def test_another_format(run, tmp_path, given, to):
    if given == to:
        return
    result = run("convert", *WORDS[to], FILES[given], "-o", tmp_path / "x.hdf5")
    assert result.exit_code in (1, 2)
    line = result.stderr.strip().splitlines()[-1]
    if result.exit_code == 1:
        assert len(result.stderr.splitlines()) == 1
        assert f"looks like one of `rlbuffers convert {given}`" in line
    assert str(FILES[given]) in line
    assert list(tmp_path.iterdir()) == []


def test_a_buffer(run, pong_copy, tmp_path):
    for words in (["d4rl", "--file"], ["tianshou"], ["d3rlpy"], ["npz"]):
        result = run("convert", *words, pong_copy, "-o", tmp_path / "x.zarr")
        assert result.exit_code == 1
        assert f"{pong_copy} is an rlbuffers buffer already; `rlbuffers export` writes it" in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("form", [["-o", "{}"], ["--output={}"], ["-o{}"]])
def test_an_output_that_is_there_is_no_input(run, pong_copy, tmp_path, form):
    """It is a buffer, and nobody asked what it looks like."""
    output = [part.format(pong_copy) for part in form]
    for words in (["npz", FILES["d4rl"]], ["tfds", "--dir", tmp_path]):
        result = run("convert", *words, *output, "--overwrite")
        assert result.exit_code == 1
        assert "is an rlbuffers buffer already" not in result.stderr
        assert ("looks like one of `rlbuffers convert d4rl`" in result.stderr) == (words[0] == "npz")
