"""`rlbuffers convert tfds`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import rlds
from rlds import plain_episode, write_dataset
from truth import DATA, assert_is_truth, load_truth

import rlbuffers

TFDS = DATA / "tfds"
FIXTURES = [
    "mini_rlds/vectors",
    "mini_rlds/pixels",
    "d4rl_mujoco_hopper/v0-medium",
    "d4rl_mujoco_hopper/v1-medium-replay",
]


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_fixture_is_its_truth(run, tmp_path, fixture, store):
    output = tmp_path / f"x.{store}"
    result = run("convert", "tfds", "--dir", TFDS / fixture, "-o", output, "--workers", 0)
    assert result.exit_code == 0, result.output
    truth = load_truth(TFDS / fixture)
    assert_is_truth(output, truth, ignore=("episode_id",))
    with rlbuffers.open(output) as buffer:
        if "episode_id" in truth:
            once = buffer.arrays["episodes/episode_id"].all()
            np.testing.assert_array_equal(np.repeat(once, truth["episode_lengths"]), truth["episode_id"])
    words = " ".join(result.stdout.split())
    counted = f"{len(truth['episode_lengths'])} episodes, {len(truth['rewards']):,} transitions"
    assert f"in {counted}" in words
    assert f"out {counted}" in words


def test_a_prepared_dataset_is_found_by_its_name(run, tmp_path):
    result = run("convert", "tfds", "mini_rlds/vectors", "--data-dir", TFDS, "--buffer-dir", tmp_path / "b")
    assert (result.exit_code, result.stderr) == (0, "")
    with rlbuffers.open(tmp_path / "b" / "mini_rlds" / "vectors-1.0.0.hdf5") as buffer:
        assert len(buffer) == 32


def test_options_reach_the_source(run, tmp_path):
    folder = write_dataset(tmp_path / "d", [plain_episode(3), plain_episode(4)], splits={"a": [1], "b": [1]})
    words = ["convert", "tfds", "--dir", folder, "-o", tmp_path / "x.hdf5", "--last-row", "transition", "--split", "b"]
    assert run(*words).exit_code == 0
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert len(buffer) == 4


def test_actions_and_rewards_by_options(run, tmp_path):
    step = {name: node for name, node in rlds.PLAIN_STEP.items() if name != "reward"}
    step["action"] = rlds.fields({"move": rlds.tensor("float32", 2), "grip": rlds.tensor("float32")})
    fields = {"steps/action/move": np.arange(6, dtype=np.float32), "steps/action/grip": np.ones(3, np.float32)}
    folder = write_dataset(tmp_path / "d", [{**plain_episode(3), **fields}], step=step)
    words = ["convert", "tfds", "--dir", folder, "-o", tmp_path / "x.hdf5", "--action", "grip", "--action", "move"]
    refused = run(*words)
    assert refused.exit_code == 1
    assert "--reward none reads a dataset without rewards and stores zeros" in refused.stderr
    result = run(*words, "--reward", "none")
    assert result.exit_code == 0
    assert "Warning: The dataset has no rewards" in result.stderr
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer[:]["actions"].tolist() == [[1, 0, 1], [1, 2, 3]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a dataset, such as d4rl_mujoco_halfcheetah/v2-medium"),
        (["x", "--dir", "y"], "name a dataset, such as d4rl_mujoco_halfcheetah/v2-medium"),
        (["--dir", TFDS / "mini_rlds"], "several prepared datasets are there; name one of pixels/1.0.0, vectors/1.0.0"),
        (["--dir", DATA / "d4rl"], "expected the directory of a prepared TFDS dataset"),
        (
            ["mini_rlds/vectors", "--data-dir", TFDS, "--split", "x"],
            "there is no split 'x'; choose one of train, or all",
        ),
        (["mini_rlds/vectors", "--data-dir", TFDS, "--action", "x"], "choose it with --action, of no fields"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(run, tmp_path, words, message):
    result = run("convert", "tfds", *words, "-o", tmp_path / "x.hdf5")
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_shard_leaves_nothing(run, tmp_path):
    folder = shutil.copytree(TFDS / "mini_rlds" / "vectors" / "1.0.0", tmp_path / "d")
    shard = next(folder.glob("*.tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    result = run("convert", "tfds", "--dir", folder, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "cut short" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
