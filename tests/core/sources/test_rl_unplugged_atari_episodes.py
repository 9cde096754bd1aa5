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

ORDERED = DATA / "rl_unplugged" / "atari_episodes_ordered" / "Pong" / "run_1-00000-of-00050"
# The older version of the bucket.
OLDER = DATA / "rl_unplugged" / "atari_episodes" / "Pong" / "run_1-00001-of-00100"
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


@pytest.fixture
def converted(tmp_path, new_path):
    """A function that converts hand-made records and opens the buffer."""

    def convert_records(records, game="Pong"):
        shard = write_shard(tmp_path / "shard", records)
        path = new_path("hdf5")
        rlbuffers.convert(RLUAtariEpisodesSource(shard, game), path)
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


@pytest.mark.parametrize("fixture", [ORDERED, OLDER])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("stack", [1, 4])
def test_what_was_played_comes_out(fixture, store, stack, new_path):
    """The truth is what the emulator gave; the shards have rewards one row early, as the published ones."""
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
        np.testing.assert_array_equal(rows["unclipped_rewards"], truth["rewards"])
        assert buffer.arrays["episodes/episode_return"].all().tolist() == [-2.0, 0.0, -2.0]
        assert buffer.arrays["episodes/whole"].all().all()
        assert buffer.metadata["source"]["files"][0]["sha256"]
        assert buffer.metadata["warnings"] == []
        assert buffer.metadata["measurements"]["first_rewards_unknown"] == 3


def test_the_two_versions_of_the_bucket_name_episodes_in_their_ways(new_path):
    for fixture, dataset, names in (
        (ORDERED, "atari_episodes_ordered", {"checkpoint_idx": [0, 0, 0], "episode_idx": [0, 1, 2]}),
        (OLDER, "atari_episodes", {"episode_id": [5146070659759079425 + number for number in range(3)]}),
    ):
        path = new_path("hdf5")
        rlbuffers.convert(RLUAtariEpisodesSource(fixture, "Pong"), path)
        with rlbuffers.open(path) as buffer:
            assert buffer.metadata["source"]["dataset"] == f"rl_unplugged/{dataset}"
            assert {*buffer.spec.episode_columns} == {*names, "episode_return", "clipped_episode_return"}
            assert {name: buffer.arrays[f"episodes/{name}"].all().tolist() for name in names} == names


def test_never_is_a_next_observation_that_of_another_episode(converted):
    records = [episode(5, terminal=False), episode(4, observations=[png(frame(200 + t)) for t in range(4)])]
    with converted(records) as buffer:
        rows = buffer[:]
        for row in np.flatnonzero(rows["timeouts"]):
            assert rows["next_observations"][row].max() < 200


@pytest.mark.parametrize("terminal", [True, False])
def test_rewards_move_to_the_action_that_earned_them_and_nothing_else_moves(converted, terminal):
    records = [
        episode(
            3,
            terminal=terminal,
            clipped_rewards=floats(1, -1, 0),
            unclipped_rewards=floats(1, -1, 0),
            actions=np.array([1, 2, 3]),
        ),
        episode(2, terminal=terminal, clipped_rewards=floats(1, 0), unclipped_rewards=floats(5, 0)),
    ]
    with converted(records) as buffer:
        rows = buffer[:]
        assert rows["actions"].tolist() == [1, 2, 3, 1, 1]
        assert rows["rewards"].tolist() == [0, 1, -1, 0, 1]
        assert rows["unclipped_rewards"].tolist() == [0, 1, -1, 0, 5]
        assert rows["discounts"].tolist() == [1, 1, float(not terminal), 1, float(not terminal)]
        assert rows["terminals"].tolist() == [False, False, terminal, False, terminal]
        assert rows["timeouts"].tolist() == [False, False, not terminal, False, not terminal]
        assert rows["observations"][:, -1, 0, 0].tolist() == [1, 2, 3, 1, 2]
        assert buffer.rows_without_next.tolist() == [2, 4]
        assert buffer.metadata["left_out"] == buffer.metadata["warnings"] == []
        assert buffer.metadata["measurements"]["rewards_that_differ_unclipped"] == 1


def test_a_reward_in_the_last_row_follows_no_action_and_is_told(converted):
    with converted([episode(3, clipped_rewards=floats(0, 1, 1)), episode(2)]) as buffer:
        assert buffer[:]["rewards"].tolist() == [0, 0, 1, 0, 0]
        assert buffer.metadata["left_out"] == [
            "the rewards in the last rows of 1 episodes, which follow no action",
        ]
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("In 1 of 2 episodes the last row has a reward.")


def scored(rewarded, *, early=1, count=60):
    """An Asterix episode whose score is redrawn one frame after the actions `rewarded`; everything else moves too."""
    rng = np.random.default_rng(0)
    score = np.cumsum(np.isin(np.arange(count), np.asarray(rewarded) + 1))
    frames = rng.integers(0, 2, (count, 84, 84)).astype(np.uint8)
    frames[:, 70:74] = score[:, None, None]
    earned = np.isin(np.arange(count), rewarded).astype(np.float32)
    stored = np.zeros_like(earned)
    stored[: count - early] = earned[early:]
    return episode(
        count, observations=[png(picture) for picture in frames], clipped_rewards=stored, unclipped_rewards=stored
    )


REWARDED = list(range(4, 56, 4))


def test_where_rewards_stand_is_measured_on_the_pictures(converted):
    with converted([scored(REWARDED)], game="Asterix") as buffer:
        measured = buffer.metadata["measurements"]["reward_alignment"]
        assert (measured["expected_offset"], measured["best_offset"], measured["strength"]) == (-1, -1, 1.0)
        assert measured["rewards"] == len(REWARDED)
        assert np.flatnonzero(buffer[:]["rewards"]).tolist() == REWARDED
        assert buffer.metadata["warnings"] == []


def test_pictures_that_contradict_the_reader_are_told_loudly(converted):
    with converted([scored(REWARDED, early=0)], game="Asterix") as buffer:
        assert buffer.metadata["measurements"]["reward_alignment"]["best_offset"] == 0
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("THE REWARDS SEEM TO STAND IN OTHER ROWS")
        assert "offset +0 (strength 1.00), where -1 was expected" in warning


def test_where_little_speaks_nothing_is_concluded(converted):
    for records, game in (([scored([8, 20], early=0)], "Asterix"), ([scored(REWARDED, early=0)], "Gravitar")):
        with converted(records, game=game) as buffer:
            assert buffer.metadata["warnings"] == []


def test_episodes_of_one_row(converted):
    with converted([episode(1), episode(2, terminal=False)]) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [1, 2]
        assert buffer[:]["terminals"].tolist() == [True, False, False]


def test_other_features_and_odd_discounts_are_told(converted):
    odd = episode(3, discounts=floats(0, 0.5, 1), extra=np.array([1]))
    with converted([odd, episode(2)]) as buffer:
        assert buffer.metadata["left_out"] == ["feature 'extra', in 1 records"]
        assert buffer.metadata["warnings"][0].startswith("1 discounts of 0 stand before the last row")
        assert buffer.metadata["warnings"][1] == "Discounts other than 0 and 1 occur: 0.5."
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
        ({"clipped_rewards": floats(0, np.nan, 0)}, "expected finite rewards, found nan in row 5"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(converted, tmp_path, change, message):
    with pytest.raises(FormatError, match=message) as caught:
        converted([episode(3), episode(3, **change)])
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
        ("pong", {}, "did you mean Pong"),
    ],
)
def test_arguments_that_cannot_be_obeyed(game, options, message):
    with pytest.raises(UsageError, match=message):
        RLUAtariEpisodesSource(ORDERED, game, **options)


def test_other_processes_make_no_difference(new_path):
    reports = [
        rlbuffers.convert(RLUAtariEpisodesSource(ORDERED, "Pong"), new_path("hdf5"), workers=workers)
        for workers in (0, 1)
    ]
    assert reports[0].fingerprint == reports[1].fingerprint


def test_versions_of_the_bucket_are_not_mixed(new_path):
    parts = [RLUAtariEpisodesSource(fixture, "Pong") for fixture in (ORDERED, OLDER)]
    with pytest.raises(FormatError, match="only equal columns can be joined"):
        ConcatenatedSource(parts)


def test_names_and_addresses_of_shards():
    assert episodes_shard_name("Pong", 5, 49) == "run_5-00049-of-00050"
    assert episodes_shard_name("Carnival", 1, 48) == "run_1-00048-of-00049"
    assert episodes_shard_url("Pong", 1, 0) == (
        "https://storage.googleapis.com/rl_unplugged/atari_episodes_ordered/Pong/run_1-00000-of-00050"
    )
    for game, run, shard in (("Pong", 1, 50), ("StarGunner", 1, 49), ("Pong", 0, 0), ("Pong", 6, 0), ("Pung", 1, 0)):
        with pytest.raises(UsageError, match=r"expected|did you mean"):
            episodes_shard_name(game, run, shard)
