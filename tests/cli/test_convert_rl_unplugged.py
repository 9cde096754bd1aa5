"""`rlbuffers convert rl-unplugged`: every fixture gives its truth, and wrong words get one line."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from truth import DATA, assert_is_truth, load_truth

import rlbuffers

RLU = DATA / "rl_unplugged"
SHARD = "train-00000-of-00100"
RWRL = RLU / "rwrl/combined_challenge_none/cartpole/swingup/1_percent/episodes.tfrecord-00000-of-00003"
EPISODES = ("--layout", "episodes")
# Suite, task, shard, and the words that its layout needs.
FIXTURES = [
    ("control-suite", "cheetah_run", RLU / "dm_control_suite" / "cheetah_run" / SHARD, ()),
    ("control-suite", "walker_walk", RLU / "dm_control_suite" / "walker_walk" / SHARD, ()),
    ("control-suite", "cheetah_run", RLU / "dm_control_suite_episodes" / "cheetah_run" / SHARD, EPISODES),
    ("control-suite", "walker_walk", RLU / "dm_control_suite_episodes" / "walker_walk" / SHARD, EPISODES),
    ("locomotion", "humanoid_corridor", RLU / "dm_locomotion" / "humanoid_corridor" / "seq2" / SHARD, ()),
    ("locomotion", "rodent_two_touch", RLU / "dm_locomotion" / "rodent_two_touch" / "seq40" / SHARD, ()),
    ("locomotion", "humanoid_corridor", RLU / "dm_locomotion_episodes" / "humanoid_corridor" / SHARD, EPISODES),
    ("locomotion", "rodent_two_touch", RLU / "dm_locomotion_episodes" / "rodent_two_touch" / SHARD, EPISODES),
    ("rwrl", "cartpole_swingup", RWRL, ("--difficulty", "1")),
]
NAMES = [f"{suite} {task} {'episodes' if words == EPISODES else ''}".strip() for suite, task, _, words in FIXTURES]


def words_for(suite, task, path, words):
    return ["convert", "rl-unplugged", "--suite", suite, "--task", task, "--file", path, *words, "--workers", "0"]


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_every_fixture_gives_its_truth(run, tmp_path, fixture, store):
    output = tmp_path / f"x.{store}"
    result = run(*words_for(*fixture), "-o", output)
    assert result.exit_code == 0, result.output
    truth = load_truth(fixture[2])
    assert_is_truth(output, truth)
    assert f"{len(truth['rewards']):,} transitions" in result.stdout
    if "sequence_lengths" in truth:
        with rlbuffers.open(output) as buffer:
            if buffer.spec.layout == "episodes":
                lengths = buffer.arrays["episodes/lengths"].all()
                np.testing.assert_array_equal(lengths, truth["sequence_lengths"])
            else:
                assert (truth["sequence_lengths"] == 1).all()


@pytest.mark.parametrize(
    "shard", ["atari_episodes_ordered/Pong/run_1-00000-of-00050", "atari_episodes/Pong/run_1-00001-of-00100"]
)
@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_atari_episodes_give_their_truth(run, tmp_path, shard, store):
    path = RLU / shard
    result = run(*words_for("atari", "Pong", path, EPISODES), "-o", tmp_path / f"x.{store}")
    assert result.exit_code == 0, result.output
    truth = load_truth(path)
    with rlbuffers.open(tmp_path / f"x.{store}") as buffer:
        rows = buffer[:]
        for name in ("actions", "rewards", "terminals", "timeouts"):
            np.testing.assert_array_equal(rows[name], truth[name])
            assert rows[name].dtype == truth[name].dtype
        np.testing.assert_array_equal(rows["observations"][:, -1], truth["observations"])
        known = truth["next_defined"]
        np.testing.assert_array_equal(rows["next_observations"][known][:, -1], truth["next_observations"][known])
        np.testing.assert_array_equal(buffer.rows_without_next, np.flatnonzero(~known))
        np.testing.assert_array_equal(buffer.arrays["episodes/lengths"].all(), truth["episode_lengths"])


def test_shards_become_one_buffer_that_names_them(run, tmp_path):
    folder = tmp_path / "data" / "dm_control_suite_episodes" / "cheetah_run"
    folder.mkdir(parents=True)
    content = FIXTURES[2][2].read_bytes()
    for number in (3, 4):
        (folder / f"train-0000{number}-of-00100").write_bytes(content)
    words = ["--suite", "control-suite", "--task", "cheetah_run", "--layout", "episodes", "--shard-id", 3]
    result = run(
        "convert", "rl-unplugged", *words, "--shard-id", 4, "--dataset-dir", tmp_path / "data", "--buffer-dir", tmp_path
    )
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.rglob("*.hdf5")
    assert path.name == "train-00003-of-00100+1.hdf5"
    with rlbuffers.open(path) as buffer:
        assert len(buffer) == 2 * len(load_truth(FIXTURES[2][2])["rewards"])
        parts = buffer.metadata["source"]["parts"]
        assert [part["files"][0]["name"] for part in parts] == ["train-00003-of-00100", "train-00004-of-00100"]
        assert [part["shard_id"] for part in parts] == [3, 4]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ((), {"dataset": "rl_unplugged/rwrl"}),
        (("--difficulty", "1"), {"dataset": "rl_unplugged/rwrl", "percent": 1}),
        (("--challenge", "easy"), {"dataset": "rl_unplugged/rwrl", "combined_challenge": "easy"}),
    ],
)
def test_of_a_file_only_what_the_user_says_is_known(run, tmp_path, words, facts):
    result = run(*words_for("rwrl", "cartpole_swingup", RWRL, words), "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 0, result.output
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        source = buffer.metadata["source"]
        assert {name: source[name] for name in source if name not in ("format", "reader_version", "files")} == facts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "control-suite", "--task", "cheeta_run"], "did you mean cheetah_run?"),
        (["--suite", "rwrl", "--task", "cartpole"], "did you mean cartpole_swingup?"),
        (["--suite", "dmlab", "--task", "rooms_watermaze"], "name its run too: rooms_watermaze/training_0"),
        (["--suite", "bsuite", "--task", "catch/0_0.9"], "is not one of"),
        (["--suite", "rwrl", "--task", "cartpole_swingup", "--layout", "transitions"], "--layout"),
        (["--suite", "bsuite", "--task", "catch/0_0.1", "--layout", "episodes"], "--layout"),
        (["--suite", "control-suite", "--task", "cheetah_run", "--run-id", "2"], "--run-id"),
        (["--suite", "control-suite", "--task", "cheetah_run", "--challenge", "easy"], "--challenge"),
        (["--suite", "locomotion", "--task", "rodent_gaps", "--layout", "episodes", "--limit", "3"], "--limit"),
        (["--suite", "locomotion", "--task", "rodent_gaps", "--last-row", "transition"], "--last-row"),
        (["--suite", "control-suite", "--task", "cheetah_run", "--shard-id", "100"], "100"),
        (["--task", "Pong", "--layout", "transitions", "--stack", "4"], "--stack"),
    ],
)
def test_words_that_do_not_go_together(run, tmp_path, words, message):
    result = run("convert", "rl-unplugged", *words, "--dataset-dir", tmp_path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suite", ["control-suite", "rwrl", "dmlab", "bsuite"])
def test_the_shard_of_another_suite(run, tmp_path, suite):
    tasks = {"rwrl": "walker_walk", "dmlab": "rooms_watermaze/training_0", "bsuite": "catch/0_0.1"}
    path = RLU / "Pong" / "run_1-00001-of-00100"
    result = run(*words_for(suite, tasks.get(suite, "cheetah_run"), path, ()), "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_damaged_shards_leave_nothing(run, tmp_path, fixture, damage):
    content = fixture[2].read_bytes()
    broken = {"cut": content[: len(content) * 2 // 3], "empty": b"", "text": b"once upon a time"}[damage]
    if damage == "empty" and fixture[0] != "rwrl":
        broken = gzip.compress(b"")
    shard = tmp_path / "shard"
    shard.write_bytes(broken)
    result = run(*words_for(fixture[0], fixture[1], shard, fixture[3]), "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(shard) in result.stderr
    assert list(tmp_path.iterdir()) == [shard]
