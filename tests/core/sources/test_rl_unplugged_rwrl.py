"""RL Unplugged's real-world RL suite: actions, rewards and discounts stand at the observation that followed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlu_records import encoded
from wire import tfrecord

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.rl_unplugged.rwrl import RLURwrlSource
from rlbuffers.sources.rl_unplugged.tasks import RWRL_TASKS

TASK = RWRL_TASKS["cartpole_swingup"]
FULL = 1001


def episode_rows(count, *, last_discount=1.0, **changes):
    t = np.arange(count, dtype=np.float32)
    discounts = np.ones(count, np.float32)
    discounts[-1] = last_discount
    made = {
        "observation:position": np.repeat(t[:, None], 3, axis=1),
        "observation:inner:velocity": np.repeat(t[:, None] + 0.5, 2, axis=1),
        "action": np.where(t > 0, t - 1, 0).astype(np.float32) / 8,
        "reward": np.where(t > 0, t * 10, 0).astype(np.float32),
        "discount": discounts,
    }
    merged = {**made, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def write_plain(path, episodes):
    path.write_bytes(b"".join(tfrecord(encoded(rows)) for rows in episodes))
    return path


def converted(path, episodes, new_path):
    rlbuffers.convert(RLURwrlSource(write_plain(path, episodes), TASK), output := new_path("memory"))
    return rlbuffers.open(output)


@given(episodes=st.lists(st.tuples(st.sampled_from([2, 5, FULL]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=3))
def test_everything_but_observations_moves_by_one(new_path, episodes):
    made = [episode_rows(count, last_discount=discount) for count, discount in episodes]
    with converted(new_path("shard"), made, new_path) as buffer:
        for number, (count, discount) in enumerate(episodes):
            found = buffer.episode(number)
            t = np.arange(count, dtype=np.float32)
            np.testing.assert_array_equal(found["observations/position"][:, 2], t)
            np.testing.assert_array_equal(found["observations/inner/velocity"][:, 0], t + 0.5)
            np.testing.assert_array_equal(found["actions"], t[:-1, None] / 8)
            np.testing.assert_array_equal(found["rewards"], t[1:] * 10)
            assert found["rewards"].dtype == np.float32
            ends = discount == 0
            assert not found["terminals"][:-1].any()
            assert not found["timeouts"][:-1].any()
            assert found["terminals"][-1] == ends
            assert found["timeouts"][-1] == (count == FULL and not ends)
            assert buffer.arrays["episodes/whole"].all()[number] == (ends or count == FULL)
        short = sorted({count for count, _ in episodes} - {FULL})
        said = " ".join(buffer.metadata["warnings"])
        assert ("is documented to have 1,001 rows" in said) == bool(short)
        assert any("Actions, rewards and discounts were shifted by one" in note for note in buffer.metadata["notes"])


def test_placeholders_that_are_none_are_counted(tmp_path, new_path):
    odd = episode_rows(FULL, action=np.ones(FULL, np.float32))
    published = episode_rows(FULL, action=np.concatenate([[-1], np.ones(FULL - 1)]).astype(np.float32))
    with converted(tmp_path / "shard", [odd, published, episode_rows(FULL)], new_path) as buffer:
        assert buffer.metadata["measurements"]["placeholders_with_meaning"] == 1
        assert "In 1 episodes action or reward at index 0 is not the placeholder" in buffer.metadata["warnings"][0]
    with converted(tmp_path / "other", [published], new_path) as buffer:
        assert buffer.metadata["warnings"] == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (episode_rows(5, reward=None), "record 1: .* found no feature 'reward'"),
        (episode_rows(5, discount=np.ones(4)), "record 1: expected 5 float values in 'discount', found 4"),
        (episode_rows(5, reward=np.array([0, 0, np.nan, 0, 0])), "expected finite rewards, found nan in row 5"),
    ],
)
def test_wrong_records(tmp_path, new_path, rows, message):
    with pytest.raises(FormatError, match=message):
        converted(tmp_path / "shard", [episode_rows(5), rows], new_path)


def test_wrong_files(tmp_path, new_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(FormatError, match="at least one record, found none"):
        RLURwrlSource(tmp_path / "empty", TASK)
    whole = write_plain(tmp_path / "whole", [episode_rows(5)] * 2)
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-3])
    with pytest.raises(CorruptDataError, match=r"cut: .*record 1"):
        rlbuffers.convert(RLURwrlSource(tmp_path / "cut", TASK), new_path("memory"))
    damaged = bytearray(whole.read_bytes())
    damaged[-100] ^= 1
    (tmp_path / "damaged").write_bytes(bytes(damaged))
    with pytest.raises(CorruptDataError, match="record 1"):
        rlbuffers.convert(RLURwrlSource(tmp_path / "damaged", TASK), new_path("memory"))


def test_decoder_and_records_can_be_sent_to_other_processes(tmp_path):
    source = RLURwrlSource(write_plain(tmp_path / "shard", [episode_rows(3)]), TASK)
    decoder, piece = pickle.loads(pickle.dumps((source.decoder, next(source.pieces()))))
    assert decoder(piece).columns["rewards"].tolist() == [10.0, 20.0]
