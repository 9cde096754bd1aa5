"""RL Unplugged's control suite and locomotion as whole episodes: rewards stand where they arrived."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlu_records import FIRST, LAST, MID, control_rows, encoded
from wire import write_shard

import rlbuffers
from rlbuffers.errors import FormatError
from rlbuffers.sources.rl_unplugged.control_episodes import RLUControlEpisodesSource
from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, LOCOMOTION_TASKS

CHEETAH = CONTROL_SUITE_TASKS["cheetah_run"]


def episode_rows(count, *, last_discount=1.0, last=True, **changes):
    """An episode of `count` rows: reward and discount t came with observation t, placeholders at 0."""
    discounts = np.ones(count, np.float32)
    discounts[-1] = last_discount
    step_types = np.full(count, MID, np.float32)
    step_types[0] = FIRST
    if last:
        step_types[-1] = LAST
    facts = {"reward": np.arange(count, dtype=np.float32), "discount": discounts, "step_type": step_types}
    return control_rows(0, count, **{"last": True, **facts, **changes})


def converted(path, episodes, new_path, task=CHEETAH):
    source = RLUControlEpisodesSource(write_shard(path, [encoded(rows) for rows in episodes]), task)
    rlbuffers.convert(source, output := new_path("memory"))
    return rlbuffers.open(output)


@given(
    episodes=st.lists(
        st.tuples(st.integers(2, 7), st.sampled_from([0.0, 0.99, 1.0]), st.booleans()), min_size=1, max_size=4
    )
)
def test_rewards_move_to_the_action_that_they_follow(new_path, episodes):
    made = [episode_rows(count, last_discount=discount, last=last) for count, discount, last in episodes]
    with converted(new_path("shard"), made, new_path) as buffer:
        assert buffer.num_episodes == len(episodes)
        for number, ((count, discount, last), rows) in enumerate(zip(episodes, made, strict=True)):
            found = buffer.episode(number)
            np.testing.assert_array_equal(found["observations/position"], rows["observation/position"])
            np.testing.assert_array_equal(found["observations/velocity"], rows["observation/velocity"])
            np.testing.assert_array_equal(found["actions"], rows["action"][:-1])
            np.testing.assert_array_equal(found["rewards"], rows["reward"][1:])
            np.testing.assert_array_equal(found["discounts"], rows["discount"][1:])
            np.testing.assert_array_equal(found["episodic_rewards"], rows["episodic_reward"][1:])
            assert found["terminals"].tolist() == [False] * (count - 2) + [discount == 0]
            assert found["timeouts"].tolist() == [False] * (count - 2) + [last and discount != 0]
            assert buffer.arrays["episodes/whole"].all()[number] == (last or discount == 0)
        assert len(buffer.rows_without_next) == 0
        assert any("shifted by one" in note for note in buffer.metadata["notes"])


def test_facts_of_an_episode_are_kept_once(tmp_path, new_path):
    made = [episode_rows(3, episode_id=np.array([number]), timestamp=np.array([9])) for number in (5, 7)]
    with converted(tmp_path / "shard", made, new_path) as buffer:
        assert buffer.arrays["episodes/episode_ids"].all().tolist() == [5, 7]
        assert buffer.arrays["episodes/timestamps"].all().tolist() == [9, 9]


def test_placeholders_that_are_none_are_counted(tmp_path, new_path):
    odd = episode_rows(3, reward=np.array([4, 1, 2], np.float32), action=np.ones((3, 6), np.float32))
    with converted(tmp_path / "shard", [episode_rows(4), odd], new_path) as buffer:
        measured = buffer.metadata["measurements"]
        assert measured["first_rewards_not_zero"] == 1
        assert measured["last_actions_not_zero"] == 1
        assert measured["episodes_without_last_step"] == 0
        assert measured["rows_in_a_record"] == [3, 4]
        assert "In 1 episodes the reward at index 0 is not 0" in buffer.metadata["warnings"][0]
        assert any("(not 0 in 1 episodes)" in text for text in buffer.metadata["left_out"])


def test_a_single_observation_is_no_episode(tmp_path, new_path):
    with converted(tmp_path / "shard", [episode_rows(3), episode_rows(1)], new_path) as buffer:
        assert buffer.num_episodes == 1
        assert "1 episodes of a single observation: they have no transition" in buffer.metadata["left_out"]


def test_the_camera_is_raw_bytes(tmp_path, new_path):
    images = [bytes([number]) * (64 * 64 * 3) for number in (1, 2, 3)]
    rows = {**episode_rows(3), "observation/walker/egocentric_camera": images}
    with converted(tmp_path / "shard", [rows], new_path, LOCOMOTION_TASKS["rodent_gaps"]) as buffer:
        camera = buffer.episode(0)["observations/egocentric_camera"]
        assert camera.shape == (3, 64, 64, 3)
        assert camera.dtype == np.uint8
        assert camera[:, 1, 2, 0].tolist() == [1, 2, 3]


def test_a_camera_may_be_one_value_and_a_feature_may_hold_nothing(tmp_path, new_path):
    """As in the published records of locomotion: T pictures joined, and features without a value."""
    made = []
    for count in (3, 2):
        images = b"".join(bytes([number]) * (64 * 64 * 3) for number in range(count))
        made.append(
            {
                **episode_rows(count),
                "observation/walker/egocentric_camera": [images],
                "observation/walker/sensors_force": np.empty(0, np.float32),
            }
        )
    with converted(tmp_path / "shard", made, new_path, LOCOMOTION_TASKS["rodent_gaps"]) as buffer:
        assert buffer.episode(0)["observations/egocentric_camera"][:, 5, 5, 2].tolist() == [0, 1, 2]
        assert buffer.episode(1)["observations/egocentric_camera"][:, 5, 5, 2].tolist() == [0, 1]
        assert "observations/sensors_force" not in buffer.spec.columns
        assert "feature 'observation/walker/sensors_force', which holds no values" in buffer.metadata["left_out"]


def test_placeholders_of_nan_raise_no_alarm(tmp_path, new_path):
    nan_first = {name: np.array([np.nan, 1, 1], np.float32) for name in ("reward", "discount")}
    with converted(tmp_path / "shard", [episode_rows(3, **nan_first)], new_path) as buffer:
        assert buffer.metadata["warnings"] == []
        assert buffer[:]["rewards"].tolist() == [1, 1]
        assert buffer[:]["discounts"].tolist() == [1, 1]


def test_shuffled_pieces_are_recognized(tmp_path, new_path):
    with pytest.raises(FormatError, match=r"record 1: .* from its first step on; .* --layout transitions"):
        converted(tmp_path / "shard", [episode_rows(3), control_rows(4, 2)], new_path)


@pytest.mark.parametrize("extra", [{}, {"observation/walker/sensors_touch": np.zeros((3, 10), np.float32)}])
def test_more_than_is_documented_raises_no_alarm_and_less_does(tmp_path, new_path, extra):
    sizes = dict(LOCOMOTION_TASKS["humanoid_gaps"].observations)
    sizes.pop("egocentric_camera")
    walker = {f"observation/walker/{name}": np.zeros((3, size), np.float32) for name, size in sizes.items()}
    made = {**episode_rows(3, action=np.zeros((3, 56), np.float32)), **walker, **extra}
    made["observation/walker/egocentric_camera"] = [bytes(3 * 64 * 64 * 3)]
    for name in ("observation/position", "observation/velocity"):
        made.pop(name)
    with converted(tmp_path / "a", [made], new_path, LOCOMOTION_TASKS["humanoid_gaps"]) as buffer:
        assert buffer.metadata["warnings"] == []
    made.pop("observation/walker/body_height")
    with converted(tmp_path / "b", [made], new_path, LOCOMOTION_TASKS["humanoid_gaps"]) as buffer:
        (warning,) = buffer.metadata["warnings"]
        assert warning.endswith("documented for humanoid_gaps: body_height (absent instead of 1).")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (episode_rows(3, step_type=None), "record 1: .* found no feature 'step_type'"),
        (episode_rows(3, discount=np.ones(2)), "record 1: expected 3 float values in 'discount', found 2"),
        (episode_rows(3, episode_id=np.array([1])), "record 1: .* found a feature 'episode_id'"),
        (episode_rows(3, reward=np.array([0, np.inf, 0])), "expected finite rewards, found inf in row 2"),
    ],
)
def test_wrong_records(tmp_path, new_path, rows, message):
    with pytest.raises(FormatError, match=message):
        converted(tmp_path / "shard", [episode_rows(3), rows], new_path)


def test_decoder_and_records_can_be_sent_to_other_processes(tmp_path):
    source = RLUControlEpisodesSource(write_shard(tmp_path / "shard", [encoded(episode_rows(3))]), CHEETAH)
    decoder, piece = pickle.loads(pickle.dumps((source.decoder, next(source.pieces()))))
    assert decoder(piece).columns["rewards"].tolist() == [1.0, 2.0]
