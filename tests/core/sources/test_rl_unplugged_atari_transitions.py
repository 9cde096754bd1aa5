from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from reference import assert_same_rows
from wire import PNG_SIGNATURE, delimited, entry, example, feature, png, transition, write_shard

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError, UsageError
from rlbuffers.sources.rl_unplugged.atari_transitions import BATCH_RECORDS, RLUAtariSource
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES, shard_name, shard_url

SIZE = (84, 84)
DTYPES = {
    "actions": "int64",
    "discounts": "float32",
    "episode_ids": "int64",
    "episode_returns": "float32",
    "next_actions": "int64",
    "next_observations": "uint8",
    "observations": "uint8",
    "rewards": "float32",
    "terminals": "bool",
}


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_every_column_is_what_tensorflow_reads(shard, game, truth, new_path, store):
    path = new_path(store)
    report = rlbuffers.convert(RLUAtariSource(shard, game), path)
    expected = {**truth, "terminals": truth["discounts"] == 0.0}
    with rlbuffers.open(path) as buffer:
        assert_same_rows(buffer[:], expected)
        assert {name: values.dtype.name for name, values in buffer[:].items()} == DTYPES
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": ATARI_GAMES[game]}
        assert (buffer.spec.layout, buffer.spec.order, buffer.spec.stack) == ("transitions", "shuffled", 4)
    assert report.transitions == 300
    assert report.read.reward_sum == pytest.approx(truth["rewards"].astype(np.float64).sum())
    assert report.left_out == []
    assert rlbuffers.validate(path).ok


def test_what_is_known_about_the_shard_is_stored(shard, game, truth, new_path):
    path = new_path("memory")
    rlbuffers.convert(RLUAtariSource(shard, game, facts={"run_id": 1, "url": "http://x"}), path)
    metadata = rlbuffers.open(path).metadata
    content = shard.read_bytes()
    file = {"name": shard.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert metadata["source"].pop("reader_version") >= 2
    assert metadata["source"] == {"format": "rl-unplugged", "files": [file], "run_id": 1, "url": "http://x"}
    assert metadata["environment"]["id"] == game
    ids = truth["episode_ids"]
    measured = dict(metadata["measurements"])
    assert measured.pop("reward_alignment")["rewards"] == np.count_nonzero(truth["rewards"])
    assert measured == {
        "records": 300,
        "episodes_seen": len(set(ids.tolist())),
        "frames_oldest_first": 1.0,
        "frames_newest_first": 0.0,
        "discount_values": count_values(truth["discounts"]),
        "discounts_equal_to_zero": int((truth["discounts"] == 0).sum()),
        "neighbours_of_one_episode": (ids[1:] == ids[:-1]).sum() / 299,
        "rewards_outside_clipping": 0,
    }


def count_values(values):
    found, counts = np.unique(values, return_counts=True)
    return {str(float(value)): int(count) for value, count in zip(found, counts, strict=True)}


def convert_records(path, records, **options):
    """Convert a hand-made shard; return its rows and metadata."""
    write_shard(path / "shard", records)
    target = f"memory:{path}"
    rlbuffers.convert(RLUAtariSource(path / "shard", "Breakout", **options), target)
    with rlbuffers.open(target) as buffer:
        return buffer[:], buffer.metadata


def frames(count, seed=0):
    """Return random pictures of large squares, which compress well: the test's checksums are slow."""
    squares = np.random.default_rng(seed).integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return squares.repeat(14, axis=1).repeat(14, axis=2)


def windows(seed):
    five = frames(5, seed)
    return five[:4], five[1:]


def test_stacks_that_overlap_need_no_warning(tmp_path):
    stacks = [windows(seed) for seed in range(3)]
    rows, metadata = convert_records(
        tmp_path, [transition(pair, d_t=float(number)) for number, pair in enumerate(stacks[:2])]
    )
    np.testing.assert_array_equal(rows["observations"], [before for before, _ in stacks[:2]])
    np.testing.assert_array_equal(rows["next_observations"], [after for _, after in stacks[:2]])
    np.testing.assert_array_equal(rows["terminals"], [True, False])
    assert metadata["warnings"] == []


def test_stacks_ordered_newest_first_are_kept_and_reported(tmp_path):
    stacks = [tuple(stack[::-1] for stack in windows(seed)) for seed in range(5)]
    rows, metadata = convert_records(tmp_path, [transition(pair, d_t=0.0) for pair in stacks])
    np.testing.assert_array_equal(rows["observations"], [before for before, _ in stacks])
    np.testing.assert_array_equal(rows["next_observations"], [after for _, after in stacks])
    assert metadata["measurements"]["frames_newest_first"] == 1.0
    assert metadata["measurements"]["frames_oldest_first"] == 0.0
    assert any("newest first" in warning for warning in metadata["warnings"])
    assert any("In 5 of 5 transitions o_tp1[0:3] differs" in warning for warning in metadata["warnings"])


def test_stacks_that_do_not_overlap_are_kept_and_counted(tmp_path):
    stacks = [windows(seed) for seed in range(6)]
    for number in (1, 4):
        stacks[number] = (frames(4, 50 + number), frames(4, 60 + number))
    stacks[5] = (stacks[5][0], np.concatenate([stacks[5][1][:2], frames(2, 70)]))  # one frame of three differs
    rows, metadata = convert_records(tmp_path, [transition(pair, d_t=0.0) for pair in stacks])
    np.testing.assert_array_equal(rows["observations"], [before for before, _ in stacks])
    np.testing.assert_array_equal(rows["next_observations"], [after for _, after in stacks])
    assert metadata["counts"]["next_overrides"] == 3
    assert metadata["measurements"]["frames_oldest_first"] == 0.5
    assert [warning[:21] for warning in metadata["warnings"]] == ["In 3 of 6 transitions"]


def test_equal_pictures_in_different_files_overlap(tmp_path):
    before, after = windows(0)
    facts = {name: feature("int64", [1]) for name in ("a_t", "a_tp1", "episode_id")}
    facts |= {name: feature("float", [0.0]) for name in ("r_t", "d_t", "episode_return")}
    facts["o_t"] = feature("bytes", [png(frame, [2] * 84, level=1) for frame in before])
    facts["o_tp1"] = feature("bytes", [png(frame, [4] * 84, level=9) for frame in after])
    rows, metadata = convert_records(tmp_path, [example(facts)])
    np.testing.assert_array_equal(rows["next_observations"], [after])
    assert metadata["warnings"] == []


def scored(number, *, rewarded, change):
    """Stacks of a step of Asterix whose score was redrawn before frame `change`, of five."""
    pictures = frames(5, number)
    pictures[:, 70:74] = 7
    if rewarded:
        pictures[change:, 70:74] = 9
    return transition((pictures[:4], pictures[1:]), r_t=float(rewarded), d_t=0.0)


@pytest.mark.parametrize(
    ("change", "best", "told"),
    [
        (4, 0, ""),
        (3, 1, "THE REWARDS SEEM TO STAND IN OTHER ROWS"),
        (5, "unclear", "THE PICTURE DOES NOT CHANGE WITH THE REWARDS (60 of them"),
    ],
)
def test_with_which_change_of_the_picture_rewards_go_is_measured(tmp_path, change, best, told):
    write_shard(tmp_path / "shard", [scored(n, rewarded=n % 2, change=change) for n in range(120)])
    rlbuffers.convert(RLUAtariSource(tmp_path / "shard", "Asterix"), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        measured = buffer.metadata["measurements"]["reward_alignment"]
        assert measured["best_offset"] == best
        assert measured["expected_offset"] == 0
        assert measured["rewards"] == 60
        assert [text[: len(told)] for text in buffer.metadata["warnings"]] == [told] * bool(told)
        assert buffer[:]["rewards"].tolist() == [float(n % 2) for n in range(120)]  # as the file has them


def test_a_shard_of_whole_episodes_is_recognized(tmp_path):
    episodes = {"observations": feature("bytes", [png(frames(1)[0])]), "actions": feature("int64", [1])}
    with pytest.raises(FormatError, match="a shard of whole episodes, read with --layout episodes"):
        convert_records(tmp_path, [example(episodes)])


def test_a_shard_without_terminals_is_loudly_reported(tmp_path):
    rows, metadata = convert_records(tmp_path, [transition(windows(seed)) for seed in range(3)])
    assert not rows["terminals"].any()
    assert [warning[:41] for warning in metadata["warnings"]] == ["No discount is 0: the shard marks no term"]


def test_odd_numbers_are_kept_and_reported(tmp_path):
    records = [
        transition(windows(0), d_t=0.99, r_t=5.0),
        transition(windows(1), d_t=0.0, r_t=-1.0, a_t=-7, episode_id=-(2**40)),
        transition(windows(2), d_t=float("nan"), r_t=-3.0),
    ]
    rows, metadata = convert_records(tmp_path, records)
    np.testing.assert_array_equal(rows["discounts"], np.array([0.99, 0.0, np.nan], np.float32))
    np.testing.assert_array_equal(rows["rewards"], [5.0, -1.0, -3.0])
    np.testing.assert_array_equal(rows["actions"], [1, -7, 1])
    np.testing.assert_array_equal(rows["episode_ids"], [3, -(2**40), 3])
    warnings = " ".join(metadata["warnings"])
    assert "Discounts other than 0 and 1 occur: [0.0, 0.99" in warnings
    assert "2 rewards lie outside [-1, 1]" in warnings


def test_features_that_are_not_kept_are_named(tmp_path):
    more = delimited(1, entry("o_tp2", feature("bytes", [b"x"])))
    _, metadata = convert_records(tmp_path, [transition(windows(0), d_t=0.0), transition(windows(1)) + more])
    assert metadata["left_out"] == [
        "features other than o_t, o_tp1, a_t, a_tp1, r_t, d_t, episode_id, episode_return, in 1 records"
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_limit_leaves_out_what_follows_and_says_so(tmp_path, limit):
    stacks = [windows(seed) for seed in range(3)]
    rows, metadata = convert_records(tmp_path, [transition(pair, d_t=0.0) for pair in stacks], limit=limit)
    count = min(limit, 3)
    np.testing.assert_array_equal(rows["observations"], [before for before, _ in stacks[:count]])
    said = [f"records after the first {count}, if there are more (--limit)"] if limit <= 3 else []
    assert metadata["left_out"] == said


def test_batches_of_records_make_no_difference(tmp_path):
    """More records than one batch, so that pieces are put together."""
    stack = windows(0)
    records = [transition(stack, episode_id=number, d_t=0.0) for number in range(BATCH_RECORDS + 3)]
    rows, metadata = convert_records(tmp_path, records)
    np.testing.assert_array_equal(rows["episode_ids"], np.arange(BATCH_RECORDS + 3))
    assert metadata["measurements"]["neighbours_of_one_episode"] == 0.0
    np.testing.assert_array_equal(rows["observations"][-1], stack[0])


def spoiled_frame(change):
    features = {name: feature("int64", [1]) for name in ("a_t", "a_tp1", "episode_id")}
    features |= {name: feature("float", [0.0]) for name in ("r_t", "d_t", "episode_return")}
    files = [png(frame) for frame in frames(5)]
    features["o_t"] = feature("bytes", files[:4])
    features["o_tp1"] = feature("bytes", [*files[1:4], change(files[4])])
    return example(features)


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        (b"", FormatError, "record 2: expected feature 'o_t'"),
        (b"\x0a", CorruptDataError, "record 2: not a well-formed"),
        (spoiled_frame(lambda file: b""), FormatError, "record 2: one of its frames is not a PNG file"),
        (spoiled_frame(lambda file: b"\xff\xd8\xff" + bytes(99)), FormatError, "record 2: .* not a PNG file"),
        (spoiled_frame(lambda file: file[:-20]), CorruptDataError, "record 2: one of its frames is damaged"),
        (
            spoiled_frame(lambda file: png(np.zeros((84, 83), np.uint8))),
            FormatError,
            "record 2: one of its frames is not an 8-bit gray PNG of 84×84 pixels",
        ),
        (
            spoiled_frame(lambda file: PNG_SIGNATURE + bytes(99)),
            FormatError,
            "record 2: one of its frames is not an 8-bit gray PNG",
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, record, error, message):
    good = transition(windows(0))
    with pytest.raises(error, match=rf"shard: {message}"):
        convert_records(tmp_path, [good, good, record, good])
    with pytest.raises(rlbuffers.errors.BufferNotFoundError):
        rlbuffers.open(f"memory:{tmp_path}")


def test_a_bad_frame_in_a_next_stack_that_does_not_overlap_is_named(tmp_path):
    before, _ = windows(0)
    other = [png(frame) for frame in frames(4, 9)]
    other[1] = other[1][:-20]
    features = {name: feature("int64", [1]) for name in ("a_t", "a_tp1", "episode_id")}
    features |= {name: feature("float", [0.0]) for name in ("r_t", "d_t", "episode_return")}
    features["o_t"] = feature("bytes", [png(frame) for frame in before])
    features["o_tp1"] = feature("bytes", other)
    with pytest.raises(CorruptDataError, match="record 1: one of its frames is damaged"):
        convert_records(tmp_path, [transition(windows(0)), example(features)])


def test_an_unknown_game_is_refused_with_a_suggestion(shard):
    with pytest.raises(UsageError, match="did you mean Breakout"):
        RLUAtariSource(shard, "breakout-v4")
    with pytest.raises(UsageError, match="choose one of Alien, Amidar"):
        RLUAtariSource(shard, "x")


def test_the_suite_has_46_games():
    assert len(ATARI_GAMES) == 46
    assert all(3 <= actions <= 18 for actions in ATARI_GAMES.values())


def test_shards_are_named_as_published():
    assert shard_name(1, 7) == "run_1-00007-of-00100"
    assert shard_url("Pong", 5, 99) == "https://storage.googleapis.com/rl_unplugged/atari/Pong/run_5-00099-of-00100"
    for run_id, shard_id in ((0, 0), (6, 0), (1, -1), (1, 100)):
        with pytest.raises(UsageError, match="expected"):
            shard_name(run_id, shard_id)


def test_every_game_has_the_number_of_actions_of_its_emulator():
    ale_py = pytest.importorskip("ale_py")
    from ale_py import roms

    for game, actions in list(ATARI_GAMES.items())[::9]:
        ale = ale_py.ALEInterface()
        ale.loadROM(roms.get_rom_path(re.sub(r"(?<!^)(?=[A-Z])", "_", game).lower()))
        assert len(ale.getMinimalActionSet()) == actions, game
