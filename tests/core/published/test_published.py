"""Published datasets by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import rlbuffers
from rlbuffers.errors import BufferExistsError, UsageError
from rlbuffers.published import Downloads, named_source
from rlbuffers.sources.d4rl.datasets import all_datasets
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES
from rlbuffers_cli.main import cli

DATA = Path(__file__).parents[2] / "data"
SHARD = DATA / "rl_unplugged" / "Pong" / "run_1-00001-of-00100"
NAMES = [dataset.name for dataset in rlbuffers.datasets()]


class AskedFor(Exception):  # noqa: N818  not an error: where a download would begin
    pass


def asked_for(name, tmp_path):
    """Return the address that a name leads to."""

    def fetch(url, path, num_bytes, sha256):
        raise AskedFor(url)

    with pytest.raises(AskedFor) as asked:
        named_source(name, Downloads(tmp_path, fetch))
    return str(asked.value)


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)


def test_every_listed_dataset_has_a_file_of_its_own_name(tmp_path):
    addresses = {name: asked_for(name, tmp_path) for name in NAMES}
    assert len(NAMES) == len(set(NAMES))
    assert {name.partition(":")[2] for name in NAMES if name.startswith("d4rl:")} == set(all_datasets())
    assert sum(name.count("/run_") for name in NAMES) == len(ATARI_GAMES) * 5 * 2
    for name, address in addresses.items():
        assert "://" in address
        if name.startswith("d4rl:"):
            assert address == all_datasets()[name.removeprefix("d4rl:")].url
    shards = [address for name, address in addresses.items() if name.startswith("rl-unplugged:")]
    assert len(shards) == len(set(shards))


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("Breakout", "/atari/Breakout/run_1-00000-of-00100"),
        ("atari/Breakout/run_3/shard_7", "/atari/Breakout/run_3-00007-of-00100"),
        ("Breakout/episodes/run_2/shard_49", "/atari_episodes_ordered/Breakout/run_2-00049-of-00050"),
        ("control-suite/cheetah_run/shard_9", "/dm_control_suite/cheetah_run/train-00009-of-00100"),
        ("control-suite/cheetah_run/episodes", "/dm_control_suite_episodes/cheetah_run/train-00000-of-00100"),
        ("dmlab/rooms_watermaze/training_0", "/dmlab/rooms_watermaze/training_0/tfrecord-00000-of-00500"),
        (
            "rwrl/walker_walk/challenge_easy/percent_20/shard_1",
            "/rwrl/combined_challenge_easy/walker/walk/20_percent/episodes.tfrecord-00001-of-00078",
        ),
    ],
)
def test_a_name_says_suite_layout_run_and_shard(name, end, tmp_path):
    assert asked_for(f"rl-unplugged:{name}", tmp_path).endswith(end)


def test_a_file_that_is_there_is_converted_as_by_the_command(tmp_path):
    place = tmp_path / "home" / ".rl_unplugged" / "datasets" / "Pong" / SHARD.name
    place.parent.mkdir(parents=True)
    shutil.copy(SHARD, place)
    report = rlbuffers.convert("rl-unplugged:Pong/run_1/shard_1", tmp_path / "x.hdf5")
    words = ["convert", "rl-unplugged", "--task", "Pong", "--shard-id", "1", "--workers", "0"]
    done = CliRunner().invoke(cli, [*words, "-o", str(tmp_path / "y.hdf5")])
    assert done.exit_code == 0, done.output
    with rlbuffers.open(tmp_path / "x.hdf5") as ours, rlbuffers.open(tmp_path / "y.hdf5") as theirs:
        assert ours.fingerprint == theirs.fingerprint == report.fingerprint
        assert ours.metadata["source"] == theirs.metadata["source"]
    with pytest.raises(BufferExistsError):
        rlbuffers.convert("rl-unplugged:Pong/run_1/shard_2", tmp_path / "x.hdf5")


def test_where_d4rl_keeps_a_file_is_looked_at_first(tmp_path, monkeypatch):
    dataset = all_datasets()["hopper-medium-v2"]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / dataset.file_name).touch()
    monkeypatch.setenv("D4RL_DATASET_DIR", str(theirs))
    with pytest.raises(Exception, match=str(theirs / dataset.file_name)):
        named_source("d4rl:hopper-medium-v2", Downloads(tmp_path / "ours"))


@pytest.mark.parametrize("pattern", ["d4rl:hopper-*-v2", "HOPPER-*-V2", "d4rl:hopper-medium-v2"])
def test_a_pattern_or_a_part_of_a_name_chooses(pattern):
    found = {dataset.name for dataset in rlbuffers.datasets(pattern)}
    assert "d4rl:hopper-medium-v2" in found
    assert found <= {name for name in NAMES if "hopper" in name}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("halfcheetah-medium-v2", "names look like d4rl:halfcheetah-medium-v2"),
        ("d4r:halfcheetah-medium-v2", "did you mean"),
        ("d4rl:", "names look like"),
        ("d4rl:halfcheeta-medium-v2", "did you mean halfcheetah-medium-v2"),
        ("rl-unplugged:Brekout", "did you mean Breakout"),
        ("rl-unplugged:Breakout/run_x", "expected a number"),
        ("rl-unplugged:Breakout/shard_100", "expected 0 to 99"),
        ("rl-unplugged:control-suite/cheetah_run/run_1", "--run-id does not fit --suite control-suite"),
        ("rl-unplugged:rwrl/walker_walk/challenge_hard", "expected none or easy"),
        ("rl-unplugged:rwrl/walker_walk/percent_x", "expected a number"),
    ],
)
def test_a_name_that_is_none_is_refused(name, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        rlbuffers.convert(name, tmp_path / "x.hdf5")
