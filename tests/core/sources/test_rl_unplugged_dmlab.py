"""RL Unplugged's DeepMind Lab: episodes of fixed length whose images have red and blue swapped."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image
from rlu_records import encoded
from wire import write_shard

import rlbuffers
from rlbuffers.errors import FormatError
from rlbuffers.sources.rl_unplugged.dmlab import RLUDmlabSource
from rlbuffers.sources.rl_unplugged.tasks import DMLAB_TASKS

TASK = DMLAB_TASKS["rooms_select_nonmatching_object/training_0"]
FULL = 181


def picture(number):
    """An RGB image, and the PNG that OpenCV writes of it if nobody tells it that it is not BGR."""
    image = np.zeros((72, 96, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = number % 256, 100, 200
    image[number % 72, number % 96] = 1
    file = io.BytesIO()
    Image.fromarray(image[..., ::-1].copy()).save(file, "PNG")
    return image, file.getvalue()


def episode_rows(count, *, last_reward=0.0, late=False, **changes):
    t = np.arange(count)
    rewards = (t % 3).astype(np.float32)
    rewards[-1] = last_reward
    previous = np.concatenate([[0], rewards[:-1]]).astype(np.float32)
    actions = t % 15
    made = {
        "observations_pixels": [picture(number)[1] for number in t],
        "observations_reward": rewards if late else previous,
        "observations_action": np.eye(15, dtype=np.float32)[np.concatenate([[0], actions[:-1]])],
        "actions": actions,
        "rewards": rewards,
        "discounts": np.ones(count, np.float32),
        "discounted_rewards": rewards * 2,
        "episode_id": np.array([7]),
        "start_idx": np.array([0]),
        "episode_return": np.array([rewards.sum()], np.float32),
    }
    merged = {**made, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def converted(path, episodes, new_path, **options):
    shard = write_shard(path, [encoded(rows) for rows in episodes])
    rlbuffers.convert(RLUDmlabSource(shard, TASK, **options), output := new_path("memory"))
    return rlbuffers.open(output)


def test_the_last_row_is_an_observation(tmp_path, new_path):
    rows = episode_rows(FULL)
    with converted(tmp_path / "shard", [rows], new_path) as buffer:
        found = buffer.episode(0)
        assert len(buffer) == FULL - 1
        np.testing.assert_array_equal(found["observations/pixels"], [picture(number)[0] for number in range(FULL)])
        np.testing.assert_array_equal(found["observations/reward"][:, 0], rows["observations_reward"])
        np.testing.assert_array_equal(found["observations/action"], rows["observations_action"])
        for name, feature in (("actions", "actions"), ("rewards", "rewards"), ("discounts", "discounts")):
            np.testing.assert_array_equal(found[name], rows[feature][:-1])
        assert found["actions"].dtype == np.int64
        np.testing.assert_array_equal(found["discounted_rewards"], rows["discounted_rewards"][:-1])
        assert found["timeouts"].tolist() == [False] * (FULL - 2) + [True]
        assert not found["terminals"].any()
        assert len(buffer.rows_without_next) == 0
        assert buffer.arrays["episodes/episode_ids"].all().tolist() == [7]
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 15}
        assert any("read as the final observation only" in text for text in buffer.metadata["left_out"])
        measured = buffer.metadata["measurements"]
        assert measured["rewards_compared"] == measured["rewards_seen_one_row_later"] > 0


def test_the_last_row_as_a_transition(tmp_path, new_path):
    rows = episode_rows(FULL, last_reward=5.0)
    with converted(tmp_path / "a", [rows], new_path, last_row="transition") as buffer:
        assert len(buffer) == FULL
        assert buffer[:]["rewards"][-1] == 5
        assert buffer.rows_without_next.tolist() == [FULL - 1]
        assert buffer[:]["timeouts"][-1]
        assert buffer.metadata["measurements"]["last_row_read_as"] == "transition"
    with converted(tmp_path / "b", [rows], new_path) as buffer:
        assert "In 1 episodes the last row has a reward" in buffer.metadata["warnings"][0]


def test_ends(tmp_path, new_path):
    zeros = np.ones(4, np.float32)
    zeros[2] = 0
    episodes = [episode_rows(4, discounts=zeros), episode_rows(5)]
    with converted(tmp_path / "shard", episodes, new_path) as buffer:
        assert buffer[:]["terminals"].tolist() == [False, False, True, False, False, False, False]
        assert not buffer[:]["timeouts"].any()
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, False]
        assert "documented to have 181 rows; some have 4, 5" in buffer.metadata["warnings"][0]


def test_rewards_that_stand_late_are_noticed(tmp_path, new_path):
    with converted(tmp_path / "shard", [episode_rows(FULL, late=True)], new_path) as buffer:
        assert any("seem to stand one row later than documented" in text for text in buffer.metadata["warnings"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (episode_rows(3, observations_pixels=[b"no image"] * 3), "record 1: image 0"),
        (episode_rows(3, observations_pixels=[picture(0)[1]] * 2), "expected 3 bytes values in 'observations_pixels'"),
        (episode_rows(3, actions=None), "found no feature 'actions'"),
        (episode_rows(3, rewards=np.array([0, np.nan, 0])), "expected finite rewards"),
    ],
)
def test_wrong_records(tmp_path, new_path, rows, message):
    with pytest.raises(FormatError, match=message):
        converted(tmp_path / "shard", [episode_rows(3), rows], new_path)


def test_an_image_of_another_size(tmp_path, new_path):
    file = io.BytesIO()
    Image.fromarray(np.zeros((72, 72, 3), np.uint8)).save(file, "PNG")
    rows = episode_rows(3, observations_pixels=[file.getvalue()] * 3)
    with pytest.raises(FormatError, match=r"record 0: image 0.*\(72, 96, 3\)"):
        converted(tmp_path / "shard", [rows], new_path)


def test_decoder_and_records_can_be_sent_to_other_processes(tmp_path):
    source = RLUDmlabSource(write_shard(tmp_path / "shard", [encoded(episode_rows(3))]), TASK)
    decoder, piece = pickle.loads(pickle.dumps((source.decoder, next(source.pieces()))))
    assert decoder(piece).columns["rewards"].tolist() == [0.0, 1.0]
