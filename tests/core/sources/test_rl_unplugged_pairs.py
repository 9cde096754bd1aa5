"""RL Unplugged's shuffled pairs of steps (seq2)."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from rlu_records import LAST, control_rows, encoded
from wire import delimited, entry, feature, write_shard

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, LOCOMOTION_TASKS

CHEETAH = CONTROL_SUITE_TASKS["cheetah_run"]
CAMERA = 64 * 64 * 3


def pair(first, **changes):
    return encoded(control_rows(first, 2, **changes))


@pytest.fixture
def converted(tmp_path, new_path):
    """A function from records to the buffer made of them, and to what its metadata say."""

    def convert_records(*records, task=CHEETAH, **options):
        path = new_path("memory")
        rlbuffers.convert(RLUPairsSource(write_shard(tmp_path / "shard", records), task, **options), path)
        with rlbuffers.open(path) as buffer:
            return buffer[:], buffer.metadata

    return convert_records


def test_a_pair_is_the_transition_of_its_first_step(converted):
    rows, metadata = converted(pair(0), pair(5), pair(1))
    t = np.array([0, 5, 1], np.float32)
    np.testing.assert_array_equal(rows["observations/position"], np.repeat(t[:, None] + 0.25, 8, axis=1))
    np.testing.assert_array_equal(rows["next_observations/position"], np.repeat(t[:, None] + 1.25, 8, axis=1))
    np.testing.assert_array_equal(rows["observations/velocity"], np.repeat(t[:, None] + 0.5, 9, axis=1))
    np.testing.assert_array_equal(rows["actions"][:, 0], t / np.float32(100))
    np.testing.assert_array_equal(rows["next_actions"][:, 0], (t + 1) / np.float32(100))
    np.testing.assert_array_equal(rows["rewards"], t + 1)
    np.testing.assert_array_equal(rows["episodic_rewards"], np.full(3, 77, np.float32))
    assert not rows["terminals"].any()
    assert not rows["timeouts"].any()
    assert metadata["spec"]["layout"] == "transitions"
    assert metadata["spec"]["order"] == "shuffled"
    assert "step_types" not in rows
    assert metadata["warnings"] == []
    assert metadata["measurements"]["records"] == 3


@pytest.mark.parametrize(
    ("discount", "step_type", "terminal", "timeout"),
    [(1.0, 1.0, False, False), (1.0, LAST, False, True), (0.0, LAST, True, False), (0.0, 1.0, True, False)],
)
def test_ends_of_episodes(converted, discount, step_type, terminal, timeout):
    """Terminal and timeout are told apart by the discount of the first step; that of the second is another's."""
    changes = {
        "discount": np.array([discount, 0.5], np.float32),
        "step_type": np.array([1.0, step_type], np.float32),
    }
    rows, _ = converted(pair(3, **changes))
    assert rows["terminals"].tolist() == [terminal]
    assert rows["timeouts"].tolist() == [timeout]
    assert rows["discounts"].tolist() == [discount]


@pytest.mark.parametrize("joined", [True, False])
def test_cameras_as_one_value_or_two_and_features_without_values(converted, joined):
    def record(first):
        images = [bytes([first]) * CAMERA, bytes([first + 1]) * CAMERA]
        camera = [b"".join(images)] if joined else images
        return encoded(
            {
                **control_rows(first, 2),
                "observation/walker/egocentric_camera": camera,
                "observation/walker/sensors_force": np.empty(0, np.float32),
            }
        )

    rows, metadata = converted(record(0), record(5))
    assert rows["observations/egocentric_camera"].shape == (2, 64, 64, 3)
    assert rows["observations/egocentric_camera"][:, 9, 9, 1].tolist() == [0, 5]
    assert rows["next_observations/egocentric_camera"][:, 9, 9, 1].tolist() == [1, 6]
    assert "feature 'observation/walker/sensors_force', which holds no values" in metadata["left_out"]


def test_whole_episodes_are_recognized(converted):
    with pytest.raises(FormatError, match="found 3; whole episodes are read with --layout episodes"):
        converted(encoded(control_rows(0, 3)))


def test_a_single_step_is_left_out_and_counted(converted):
    single = encoded(control_rows(9, 1, last=True))
    rows, metadata = converted(pair(0), single, pair(1), single)
    assert rows["rewards"].tolist() == [1.0, 2.0]
    assert metadata["measurements"]["records_of_one_step"] == 2
    assert "2 steps without a successor: no transition can be made of them" in metadata["left_out"]


def test_a_single_step_may_come_first(converted):
    rows, _ = converted(encoded(control_rows(9, 1)), pair(1))
    assert rows["rewards"].tolist() == [2.0]


def test_nothing_but_single_steps_is_no_buffer(tmp_path, new_path):
    shard = write_shard(tmp_path / "shard", [encoded(control_rows(9, 1))])
    with pytest.raises(FormatError, match="expected transitions, found none"):
        rlbuffers.convert(RLUPairsSource(shard, CHEETAH), new_path("memory"))


def test_a_last_row_never_begins_a_transition(converted):
    across = pair(4, step_type=np.array([LAST, 0.0], np.float32), reward=np.array([0.0, 9.0], np.float32))
    rows, metadata = converted(pair(0), across)
    assert rows["rewards"].tolist() == [1.0]
    assert "1 pairs of a last observation and the next episode's first one" in metadata["left_out"]


def test_rewards_that_arrive_late_are_noticed(converted):
    """Were the files arrival-aligned, the first step would have no reward and the last row one."""
    records = [
        pair(0, reward=np.array([0.0, 1.0], np.float32)),
        pair(8, last=True, reward=np.array([3.0, 4.0], np.float32)),
    ]
    _, metadata = converted(*records)
    assert "seem to stand one row later than documented" in metadata["warnings"][0]


def test_without_episodic_reward(converted):
    """The rodents have none."""
    rows, _ = converted(pair(0, episodic_reward=None))
    assert "episodic_rewards" not in rows


def camera_rows(first, **changes):
    images = [bytes([first + row]) * CAMERA for row in range(2)]
    changes = {"observation/walker/egocentric_camera": images, **changes}
    return {**control_rows(first, 2), **changes}


def test_the_camera_is_raw_bytes(converted):
    records = [encoded(camera_rows(3)), encoded(camera_rows(7))]
    rows, metadata = converted(*records, task=LOCOMOTION_TASKS["humanoid_corridor"])
    camera = rows["observations/egocentric_camera"]
    assert camera.shape == (2, 64, 64, 3)
    assert camera.dtype == np.uint8
    assert camera[:, 5, 6, 1].tolist() == [3, 7]
    assert rows["next_observations/egocentric_camera"][:, 5, 6, 1].tolist() == [4, 8]
    assert "differ from those documented for humanoid_corridor" in metadata["warnings"][0]


def test_a_camera_image_of_another_size_is_named(tmp_path, new_path):
    records = [
        encoded(camera_rows(1)),
        encoded(camera_rows(1, **{"observation/walker/egocentric_camera": [b"12"] * 2})),
    ]
    source = RLUPairsSource(write_shard(tmp_path / "shard", records), LOCOMOTION_TASKS["humanoid_corridor"])
    with pytest.raises(FormatError, match=r"record 1: image 0: expected 12288 bytes .* found 2"):
        rlbuffers.convert(source, new_path("memory"))


def test_sizes_unlike_the_documented_ones_are_a_warning(converted):
    changes = {"observation/position": np.zeros((2, 7), np.float32), "observation/velocity": None}
    rows, metadata = converted(encoded({k: v for k, v in {**control_rows(0, 2), **changes}.items() if v is not None}))
    assert rows["observations/position"].shape == (1, 7)
    assert metadata["warnings"] == [
        "The sizes of a row differ from those documented for cheetah_run: position (7 instead of 8), "
        "velocity (absent instead of 9)."
    ]


def test_other_features_are_left_out_by_name(converted):
    rows, metadata = converted(pair(0, rumour=np.array([1, 2])), pair(1, rumour=np.array([3, 4])))
    assert "rumour" not in rows
    assert "feature 'rumour', which is not part of the format" in metadata["left_out"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (control_rows(0, 3), "record 1: expected 1 or 2 steps, found 3"),
        (
            control_rows(0, 2, reward=None),
            "record 1: expected the features of the first record, found no feature 'reward'",
        ),
        (control_rows(0, 2, more=np.zeros(2)), "record 1: .* found a feature 'more'"),
        (
            control_rows(0, 2, action=np.zeros(11)),
            "record 1: expected 12 float values in 'action', found 11 float values",
        ),
        (
            control_rows(0, 2, action=np.zeros(12, int)),
            "record 1: expected 12 float values in 'action', found 12 int64",
        ),
        (control_rows(0, 2, discount=np.ones(1)), "record 1: expected 2 float values in 'discount', found 1 float"),
    ],
)
def test_later_records_must_agree_with_the_first(tmp_path, new_path, second, message):
    shard = write_shard(tmp_path / "shard", [pair(0), encoded(second)])
    with pytest.raises(FormatError, match=message):
        rlbuffers.convert(RLUPairsSource(shard, CHEETAH), new_path("memory"))


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (
            control_rows(0, 2, reward=None),
            "record 0: expected features for actions, rewards, discounts, step_types, obs",
        ),
        (
            control_rows(0, 2, discount=None),
            "record 0: expected features for discounts; found action, episodic_reward, ",
        ),
        (control_rows(0, 2, action=np.zeros(11)), "record 0: expected a multiple of 2 values in 'action', found 11"),
        (control_rows(0, 2, step_type=np.zeros(3)), "record 0: expected 2 values in 'step_type', found 3"),
        (control_rows(0, 2, action=[b"a", b"b"]), "record 0: expected numbers in 'action', found bytes"),
        ({"o_t": [b"png"]}, "record 0: expected features for .*; found o_t"),
    ],
)
def test_the_first_record_must_be_a_sequence(tmp_path, first, message):
    shard = write_shard(tmp_path / "shard", [encoded(first)])
    with pytest.raises(FormatError, match=message):
        RLUPairsSource(shard, CHEETAH)


def test_files_that_are_no_shards(tmp_path, new_path):
    with pytest.raises(BufferNotFoundError, match="no such file"):
        RLUPairsSource(tmp_path / "missing", CHEETAH)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(FormatError, match="not a GZIP file"):
        RLUPairsSource(tmp_path / "other", CHEETAH)
    with pytest.raises(FormatError, match="at least one record, found none"):
        RLUPairsSource(write_shard(tmp_path / "none", []), CHEETAH)
    with pytest.raises(CorruptDataError, match=r"record 0: not a well-formed tf\.train\.Example"):
        RLUPairsSource(write_shard(tmp_path / "wrong", [b"\xff\xff"]), CHEETAH)
    whole = write_shard(tmp_path / "whole", [pair(t) for t in range(50)])
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(CorruptDataError, match="cut short"):
        rlbuffers.convert(RLUPairsSource(tmp_path / "cut", CHEETAH), new_path("memory"))


def test_nan_rewards_are_refused(tmp_path, new_path):
    bad = pair(2, reward=np.array([np.nan, 1.0], np.float32))
    shard = write_shard(tmp_path / "shard", [pair(1), bad])
    with pytest.raises(FormatError, match="expected finite rewards, found nan in row 1"):
        rlbuffers.convert(RLUPairsSource(shard, CHEETAH), new_path("memory"))


def test_a_limit_is_told(converted):
    rows, metadata = converted(pair(0), pair(1), pair(2), limit=2)
    assert rows["rewards"].tolist() == [1.0, 2.0]
    assert "records after the first 2, if there are more (--limit)" in metadata["left_out"]
    assert "sha256" in metadata["source"]["files"][0]  # so small a file is read at once


def test_batches_make_no_difference(tmp_path, new_path, monkeypatch):
    shard = write_shard(tmp_path / "shard", [pair(t) for t in range(7)] + [encoded(control_rows(9, 1))])
    fingerprints = []
    for count in (1, 3, 4096):
        monkeypatch.setattr("rlbuffers.sources.rl_unplugged.pairs._MAX_BATCH_RECORDS", count)
        fingerprints.append(rlbuffers.convert(RLUPairsSource(shard, CHEETAH), new_path("memory")).fingerprint)
    assert len(set(fingerprints)) == 1


def test_decoder_and_batches_can_be_sent_to_other_processes(tmp_path):
    source = RLUPairsSource(write_shard(tmp_path / "shard", [pair(3)]), CHEETAH)
    decoder, piece = pickle.loads(pickle.dumps((source.decoder, next(source.pieces()))))
    assert decoder(piece).columns["rewards"].tolist() == [4.0]


def test_a_feature_given_twice_is_refused(tmp_path, new_path):
    rows = control_rows(0, 2)
    body = b"".join(
        entry(name, feature("float", np.ravel(values).tolist()))
        for name, values in [*rows.items(), ("reward", [1.0, 2.0])]
    )
    twice = delimited(1, body)
    shard = write_shard(tmp_path / "shard", [pair(0), twice])
    with pytest.raises(FormatError, match="record 1: feature 'reward' occurs twice"):
        rlbuffers.convert(RLUPairsSource(shard, CHEETAH), new_path("memory"))
