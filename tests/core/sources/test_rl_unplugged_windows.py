"""RL Unplugged's shuffled windows of up to 40 steps (seq40)."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlu_records import FIRST, LAST, MID, control_rows, encoded
from wire import write_shard

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS
from rlbuffers.sources.rl_unplugged.windows import RLUWindowsSource

CHEETAH = CONTROL_SUITE_TASKS["cheetah_run"]


def test_joined_cameras_and_features_without_values(tmp_path, new_path):
    made = [
        {
            **control_rows(first, count),
            "observation/walker/egocentric_camera": [b"".join(bytes([n]) * (64 * 64 * 3) for n in range(count))],
            "observation/walker/sensors_force": np.empty(0, np.float32),
        }
        for first, count in ((5, 3), (9, 2))
    ]
    with converted(tmp_path / "shard", [encoded(rows) for rows in made], new_path)[0] as buffer:
        assert buffer.episode(0)["observations/egocentric_camera"][:, 0, 0, 0].tolist() == [0, 1, 2]
        assert buffer.episode(1)["observations/egocentric_camera"][:, 0, 0, 0].tolist() == [0, 1]
        assert "feature 'observation/walker/sensors_force', which holds no values" in buffer.metadata["left_out"]


def test_whole_episodes_are_recognized(tmp_path, new_path):
    with pytest.raises(FormatError, match="expected at most 40 steps, found 41; whole episodes are read with --layout"):
        converted(tmp_path / "shard", [encoded(control_rows(1, 41))], new_path)


def converted(path, records, new_path):
    report = rlbuffers.convert(RLUWindowsSource(write_shard(path, records), CHEETAH), output := new_path("memory"))
    return rlbuffers.open(output), report


@given(
    windows=st.lists(
        st.tuples(st.integers(0, 9), st.lists(st.sampled_from([MID, MID, LAST]), min_size=1, max_size=8)),
        min_size=1,
        max_size=5,
    ).filter(lambda windows: any(len(kinds) > 1 and kinds[0] == MID for _, kinds in windows)),
    discount=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_window_is_cut_after_a_last_step(new_path, windows, discount):
    """Against a loop: a row begins a transition if a row follows it and it is not the one of a last observation."""
    records, expected = [], []
    for first, kinds in windows:
        count = len(kinds)
        step_types = np.array(kinds, np.float32)
        if first == 0:
            step_types[0] = FIRST if step_types[0] == MID else step_types[0]
        discounts = np.ones(count, np.float32)
        discounts[:-1][step_types[1:] == LAST] = discount
        rows = control_rows(first, count, step_type=step_types, discount=discounts)
        records.append(encoded(rows))
        run = []
        for t in range(count - 1):
            if step_types[t] == LAST:
                expected += [run] if run else []
                run = []
                continue
            ends = step_types[t + 1] == LAST
            terminal = ends and discount == 0
            run.append((first + t, rows["reward"][t], discounts[t], terminal, ends and not terminal))
        expected += [run] if run else []
    with converted(new_path("shard"), records, new_path)[0] as buffer:
        assert buffer.num_episodes == len(expected)
        for number, run in enumerate(expected):
            episode = buffer.episode(number)
            t = np.array([row[0] for row in run], np.float32)
            np.testing.assert_array_equal(episode["observations/position"][:, 0], np.append(t, t[-1] + 1) + 0.25)
            np.testing.assert_array_equal(episode["observations/velocity"][:, 8], np.append(t, t[-1] + 1) + 0.5)
            np.testing.assert_array_equal(episode["actions"][:, 0], t / np.float32(100))
            np.testing.assert_array_equal(episode["next_actions"][:, 0], (t + 1) / np.float32(100))
            for place, name in enumerate(("rewards", "discounts", "terminals", "timeouts"), 1):
                np.testing.assert_array_equal(episode[name], [row[place] for row in run], err_msg=name)
        whole = [run[0][0] == 0 and bool(run[-1][3] or run[-1][4]) for run in expected]
        assert buffer.arrays["episodes/whole"].all().tolist() == whole
        assert len(buffer.rows_without_next) == 0


def test_what_it_says(tmp_path, new_path):
    single = encoded(control_rows(3, 1))
    buffer, _ = converted(tmp_path / "shard", [encoded(control_rows(0, 5, last=True)), single], new_path)
    metadata = buffer.metadata
    assert metadata["measurements"]["records"] == 2
    assert metadata["measurements"]["most_steps_in_a_window"] == 5
    assert "1 steps without a successor: no transition can be made of them" in metadata["left_out"]
    assert any("most transitions occur twice" in note for note in metadata["notes"])
    assert any("Nothing was shifted" in note for note in metadata["notes"])
    assert metadata["environment"]["id"] == "cheetah_run"
    assert metadata["warnings"] == []


def test_discounts_of_zero_within_a_window(tmp_path, new_path):
    discounts = np.array([1, 0, 1, 1], np.float32)
    buffer, _ = converted(tmp_path / "shard", [encoded(control_rows(0, 4, discount=discounts))], new_path)
    assert buffer[:]["terminals"].tolist() == [False, True, False]
    assert buffer.metadata["environment"]["terminals_end_episodes"] is False
    assert "1 discounts of 0 stand before the end of an episode" in buffer.metadata["warnings"][0]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (control_rows(0, 3, reward=None), "record 1: .* found no feature 'reward'"),
        (control_rows(0, 3, action=np.zeros(17)), "record 1: expected 18 float values in 'action', found 17"),
        (control_rows(0, 3, reward=np.array([0, np.nan, 0])), "expected finite rewards, found nan in row 3"),
    ],
)
def test_wrong_records(tmp_path, new_path, second, message):
    with pytest.raises(FormatError, match=message):
        converted(tmp_path / "shard", [encoded(control_rows(0, 3)), encoded(second)], new_path)


def test_a_shard_that_is_cut_short(tmp_path, new_path):
    whole = write_shard(tmp_path / "whole", [encoded(control_rows(t, 30)) for t in range(20)])
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(CorruptDataError, match="cut short"):
        rlbuffers.convert(RLUWindowsSource(tmp_path / "cut", CHEETAH), new_path("memory"))


def test_decoder_and_windows_can_be_sent_to_other_processes(tmp_path):
    source = RLUWindowsSource(write_shard(tmp_path / "shard", [encoded(control_rows(0, 4))]), CHEETAH)
    decoder, piece = pickle.loads(pickle.dumps((source.decoder, next(source.pieces()))))
    assert decoder(piece).columns["rewards"].tolist() == [1.0, 2.0, 3.0]
