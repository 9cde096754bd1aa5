from __future__ import annotations

import gzip

import numpy as np
import pytest
from rlu_records import encoded
from truth import DATA, assert_is_truth, load_truth
from wire import png, transition, write_shard

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, UsageError
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
from rlbuffers.sources.rl_unplugged.games import episodes_shard_name, episodes_shard_url

SHARDS = DATA / "rl_unplugged" / "atari_episodes_ordered" / "Pong"
STORES = ("hdf5", "zarr")


def frame(value):
    return np.full((84, 84), value, np.uint8)


def episode(rows, *, terminal=True, **change):
    """Row t shows t + 1, was answered by action 1 and rewarded with 0; keywords replace features, None removes one."""
    discounts = np.ones(rows, np.float32)
    discounts[-1:] = not terminal
    made = {
        "observations": [png(frame(t + 1)) for t in range(rows)],
        "actions": np.ones(rows, np.int64),
        "clipped_rewards": np.zeros(rows, np.float32),
        "unclipped_rewards": np.zeros(rows, np.float32),
        "discounts": discounts,
        "checkpoint_idx": np.array([7]),
        "episode_idx": np.array([3]),
        "episode_return": np.array([2.5]),
        "clipped_episode_return": np.array([0.0]),
    }
    return encoded({name: values for name, values in {**made, **change}.items() if values is not None})


def floats(*values):
    return np.array(values, np.float32)


def bare(rows, **change):
    """An episode whose last row looks like an observation only."""
    return episode(rows, actions=np.array([1] * (rows - 1) + [0]), **change)


@pytest.fixture
def converted(tmp_path, new_path):
    """A function that converts hand-made records and opens the buffer."""

    def convert_records(records, **options):
        shard = write_shard(tmp_path / "shard", records)
        path = new_path("hdf5")
        rlbuffers.convert(RLUAtariEpisodesSource(shard, "Pong", **options), path)
        return rlbuffers.open(path)

    return convert_records


def stacks(frames, lengths, depth):
    """Stack single frames one row at a time; before an episode's first frame there are zeros."""
    found = np.zeros((len(frames), depth, 84, 84), np.uint8)
    start = 0
    for length in lengths:
        for t in range(length):
            for back in range(min(depth, t + 1)):
                found[start + t, depth - 1 - back] = frames[start + t - back]
        start += length
    return found


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("stack", [1, 4])
def test_both_readings_come_out_right_by_themselves(shard, store, stack, new_path):
    fixture = SHARDS / f"run_1-{shard:05d}-of-00050"
    truth = load_truth(fixture)
    path = new_path(store)
    rlbuffers.convert(RLUAtariEpisodesSource(fixture, "Pong", stack=stack), path)
    assert_is_truth(path, truth, ignore=("observations", "next_observations"))
    with rlbuffers.open(path) as buffer:
        rows = buffer[:]
        lengths = truth["episode_lengths"]
        np.testing.assert_array_equal(rows["observations"], stacks(truth["observations"], lengths, stack))
        known = truth["next_defined"]
        np.testing.assert_array_equal(rows["next_observations"][known, -1], truth["next_observations"][known])
        assert not rows["next_observations"][~known, -1].any()
        assert buffer.arrays["episodes/episode_idx"].all().tolist() == [0, 1, 2]
        assert buffer.arrays["episodes/checkpoint_idx"].all().tolist() == [shard] * 3
        assert buffer.arrays["episodes/episode_return"].all().tolist() == [-2.0, 0.0, -2.0]
        assert buffer.arrays["episodes/whole"].all().all()
        facts = buffer.metadata
        assert facts["measurements"]["last_row"]["read_as"] == ["transition", "observation"][shard]
        assert facts["measurements"]["last_row"]["decided_by"] == "the data"
        assert facts["source"]["files"][0]["sha256"]
        # Shard 1 has only three episodes, whose last actions could be 0 by chance.
        assert [text for text in facts["warnings"] if "not certain" in text] == facts["warnings"]
        assert len(facts["warnings"]) == shard


def test_never_is_a_next_observation_that_of_another_episode(converted):
    records = [episode(5, terminal=False), episode(4, observations=[png(frame(200 + t)) for t in range(4)])]
    for last_row in ("transition", "observation"):
        with converted(records, last_row=last_row) as buffer:
            rows = buffer[:]
            for row in np.flatnonzero(rows["timeouts"]):
                assert rows["next_observations"][row].max() < 200


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_row_read_as_a_transition(converted, terminal):
    rewards = floats(1, 0, -1)
    record = episode(3, terminal=terminal, clipped_rewards=rewards, actions=np.array([1, 2, 3]))
    with converted([record], last_row="transition") as buffer:
        rows = buffer[:]
        assert rows["actions"].tolist() == [1, 2, 3]
        assert rows["rewards"].tolist() == [1, 0, -1]
        assert rows["discounts"].tolist() == [1, 1, float(not terminal)]
        assert rows["terminals"].tolist() == [False, False, terminal]
        assert rows["timeouts"].tolist() == [False, False, not terminal]
        assert rows["observations"][:, -1, 0, 0].tolist() == [1, 2, 3]
        assert buffer.rows_without_next.tolist() == [2]
        assert buffer.metadata["left_out"] == []


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_row_read_as_an_observation(converted, terminal):
    """A discount comes with the observation after, so discounts move by one row; actions and rewards do not."""
    rewards, discounts = floats(1, 0, -1), floats(0.25, 1, 0 if terminal else 1)
    record = episode(3, clipped_rewards=rewards, actions=np.array([1, 2, 3]), discounts=discounts)
    with converted([record], last_row="observation") as buffer:
        rows = buffer[:]
        assert rows["actions"].tolist() == [1, 2]
        assert rows["rewards"].tolist() == [1, 0]
        assert rows["discounts"].tolist() == [1, float(not terminal)]
        assert rows["terminals"].tolist() == [False, terminal]
        assert rows["timeouts"].tolist() == [False, not terminal]
        assert rows["next_observations"][:, -1, 0, 0].tolist() == [2, 3]
        assert len(buffer.rows_without_next) == 0
        (left_out,) = buffer.metadata["left_out"]
        assert "(1 of these actions and 1 rewards are not 0)" in left_out


def reward_last(stated):
    return {"clipped_rewards": floats(0, 1), "clipped_episode_return": floats(stated)}


@pytest.mark.parametrize(
    ("records", "reading", "doubt"),
    [
        ([episode(2, **reward_last(1))], "transition", ""),  # one return that counts the last reward is enough
        ([episode(2, **reward_last(0))], "observation", ""),
        ([episode(2)], "transition", "only 1 episodes speak for it"),
        ([episode(2), *[bare(2)] * 11], "transition", ""),  # some last actions are 0
        ([bare(2)] * 3, "observation", "only 3 episodes speak for it"),
        ([bare(2)] * 12, "observation", ""),
        ([episode(2, **reward_last(1)), episode(2, **reward_last(0)), episode(2)], "transition", "1 returns count"),
        (
            [episode(2, **reward_last(0))] * 2 + [episode(2, **reward_last(1))],
            "observation",
            "1 returns count the last reward and 2 do not",
        ),
    ],
)
def test_what_decides(converted, records, reading, doubt):
    with converted(records) as buffer:
        assert buffer.metadata["measurements"]["last_row"]["read_as"] == reading
        warnings = buffer.metadata["warnings"]
        assert [doubt in text and "--last-row settles it" in text for text in warnings] == [True] * bool(doubt)


def test_a_forced_reading_against_the_evidence_warns(converted):
    with converted([episode(2, **reward_last(1))], last_row="observation") as buffer:
        (warning,) = buffer.metadata["warnings"]
        assert warning.endswith("as asked for, although the shard itself speaks for 'transition'.")
        assert buffer.metadata["measurements"]["last_row"]["decided_by"] == "--last-row"


def test_the_size_of_a_checkpoint_is_evidence_too():
    from rlbuffers.sources.rl_unplugged.last_row import LastRowEvidence

    assert LastRowEvidence(episodes=500, rows=1_000_100).size_fits == "transition"
    assert LastRowEvidence(episodes=500, rows=1_000_480).size_fits == "observation"
    assert LastRowEvidence(episodes=500, rows=998_000).size_fits is None
    assert LastRowEvidence(episodes=500, rows=1_000_500, actions=400).doubts() == [
        "the 1,000,500 rows fit 'observation'"
    ]
    assert LastRowEvidence(episodes=500, rows=1_000_500).doubts() == []


def test_episodes_of_one_row(converted):
    with converted([episode(1), episode(2, terminal=False)], last_row="transition") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [1, 2]
        assert buffer[:]["terminals"].tolist() == [True, False, False]
    with converted([episode(1), episode(2), episode(1)], last_row="observation") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [1]
        assert "2 episodes of one observation: they have no transition" in buffer.metadata["left_out"]


def test_other_features_and_odd_discounts_are_told(converted):
    odd = episode(3, discounts=floats(0, 0.5, 1), extra=np.array([1]))
    with converted([odd, episode(2, unclipped_rewards=floats(0, 3))], last_row="transition") as buffer:
        assert buffer.metadata["left_out"] == ["feature 'extra', in 1 records"]
        assert buffer.metadata["warnings"][0].startswith("1 discounts of 0 stand before the last row")
        assert buffer.metadata["warnings"][1] == "Discounts other than 0 and 1 occur: 0.5."
        assert buffer.metadata["measurements"]["rewards_that_differ_unclipped"] == 1
        assert buffer[:]["unclipped_rewards"].tolist() == [0, 0, 0, 0, 3]
        assert buffer[:]["terminals"].tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, "expected features actions; found checkpoint_idx, clipped_episode_return"),
        ({"actions": np.ones(2, np.int64)}, "expected 3 int64 values in 'actions', found 2 int64 values"),
        ({"actions": floats(1, 1, 1)}, "expected 3 int64 values in 'actions', found 3 float32 values"),
        ({"discounts": []}, "expected 3 float32 values in 'discounts', found 0 bytes values"),
        ({"episode_idx": np.array([1, 2])}, "expected 1 int64 values in 'episode_idx', found 2 int64 values"),
        ({"observations": []}, "expected 1 to 152,174 PNGs in 'observations', found 0 values"),
        ({"observations": floats(1, 2, 3)}, "expected 1 to 152,174 PNGs in 'observations', found 3 values"),
        ({"observations": [b"GIF"] * 3}, "frame 0 is not a PNG file"),
        ({"observations": [png(frame(1)), png(frame(2)[:80]), png(frame(3))]}, "frame 1 is not an 8-bit gray PNG"),
        ({"clipped_rewards": floats(0, np.nan, 0)}, "expected finite rewards, found nan in row 4"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(converted, tmp_path, change, message):
    with pytest.raises(FormatError, match=message) as caught:
        converted([episode(3), episode(3, **change)], last_row="transition")
    assert str(tmp_path / "shard") in str(caught.value)
    assert list(tmp_path.rglob("*.hdf5")) == []


def test_a_shard_of_the_other_layout_is_recognized(converted):
    loose = transition((np.zeros((4, 84, 84), np.uint8), np.zeros((4, 84, 84), np.uint8)))
    with pytest.raises(FormatError, match="a shard of loose transitions, read with --layout transitions"):
        converted([loose])


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_a_shard_cut_short_is_refused(tmp_path, new_path, keep):
    shard = write_shard(tmp_path / "shard", [episode(3)] * 3)
    content = shard.read_bytes()
    shard.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CorruptDataError, match="cut short"):
        rlbuffers.convert(RLUAtariEpisodesSource(shard, "Pong"), new_path("hdf5"))


def test_files_that_are_no_shard_are_refused(tmp_path, new_path):
    shard = tmp_path / "shard"
    for content, message in ((b"text", "not a GZIP file"), (gzip.compress(b""), "found none"), (b"", "is empty")):
        shard.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            rlbuffers.convert(RLUAtariEpisodesSource(shard, "Pong"), new_path("hdf5"))
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        RLUAtariEpisodesSource(tmp_path / "nothing", "Pong")


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        ("Pong", {"stack": 0}, "stack 0: expected at least 1 frame"),
        ("Pong", {"last_row": "both"}, "last row 'both': expected one of auto, transition, observation"),
        ("pong", {}, "did you mean Pong"),
    ],
)
def test_arguments_that_cannot_be_obeyed(game, options, message):
    with pytest.raises(UsageError, match=message):
        RLUAtariEpisodesSource(SHARDS / "run_1-00000-of-00050", game, **options)


def test_other_processes_make_no_difference(new_path):
    reports = [
        rlbuffers.convert(
            RLUAtariEpisodesSource(SHARDS / "run_1-00000-of-00050", "Pong"), new_path("hdf5"), workers=workers
        )
        for workers in (0, 1)
    ]
    assert reports[0].fingerprint == reports[1].fingerprint


def test_shards_are_read_each_in_its_own_way(new_path):
    parts = [RLUAtariEpisodesSource(SHARDS / f"run_1-{shard:05d}-of-00050", "Pong") for shard in (0, 1)]
    source, path = ConcatenatedSource(parts), new_path("hdf5")
    rlbuffers.convert(source, path)
    assert source.done == source.total
    with rlbuffers.open(path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [60, 45, 50, 60, 45, 50]
        assert buffer.arrays["episodes/final_known"].all().tolist() == [False] * 3 + [True] * 3
        assert buffer.rows_without_next.tolist() == [59, 104, 154]


def test_names_and_addresses_of_shards():
    assert episodes_shard_name("Pong", 5, 49) == "run_5-00049-of-00050"
    assert episodes_shard_name("Carnival", 1, 48) == "run_1-00048-of-00049"
    assert episodes_shard_url("Pong", 1, 0) == (
        "http://storage.googleapis.com/rl_unplugged/atari_episodes_ordered/Pong/run_1-00000-of-00050"
    )
    for game, run, shard in (("Pong", 1, 50), ("StarGunner", 1, 49), ("Pong", 0, 0), ("Pong", 6, 0), ("Pung", 1, 0)):
        with pytest.raises(UsageError, match=r"expected|did you mean"):
            episodes_shard_name(game, run, shard)
