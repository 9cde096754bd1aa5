from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import rlds
import wire
from hypothesis import given
from hypothesis import strategies as st
from rlds import plain_episode, write_dataset
from truth import DATA, load_truth

import rlbuffers
from rlbuffers.errors import (
    BufferNotFoundError,
    CorruptDataError,
    DownloadError,
    FormatError,
    MissingDependencyError,
    UnsupportedError,
    UsageError,
)
from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
from rlbuffers.sources.rl_unplugged.shards import RecordShard
from rlbuffers.sources.tfds.directory import default_data_dir, find_version_dir, prepared_dir
from rlbuffers.sources.tfds.endings import position_of_last_key
from rlbuffers.sources.tfds.rlds import RLDSSource

TFDS = DATA / "tfds"
HOPPER_V0 = TFDS / "d4rl_mujoco_hopper" / "v0-medium"
HOPPER_V1 = TFDS / "d4rl_mujoco_hopper" / "v1-medium-replay"


def converted(directory, tmp_path, **options):
    rlbuffers.convert(RLDSSource(directory, **options), tmp_path / "x.hdf5", overwrite=True)
    return rlbuffers.open(tmp_path / "x.hdf5")


def whole(buffer):
    return buffer.arrays["episodes/whole"].all().tolist()


def unmarked(episode, *names):
    """Clear flags of the last row."""
    return {**episode, **{f"steps/{name}": episode[f"steps/{name}"] & False for name in names}}


# What last rows are.


@given(episodes=st.lists(st.tuples(st.integers(2, 6), st.booleans()), min_size=1, max_size=5))
def test_the_last_row_is_the_final_observation(new_path, episodes):
    folder = Path(f"{new_path('hdf5')}-rlds")
    raw = [plain_episode(rows, terminal=terminal, start=100.0 * i) for i, (rows, terminal) in enumerate(episodes)]
    with converted(write_dataset(folder, raw), folder) as buffer:
        assert buffer.num_episodes == len(episodes)
        for number, (rows, terminal) in enumerate(episodes):
            episode = buffer.episode(number)
            np.testing.assert_array_equal(episode["observations"], raw[number]["steps/observation"])
            assert episode["actions"].tolist() == list(range(1, rows))
            assert episode["rewards"].tolist() == [t + 0.5 for t in range(rows - 1)]
            ends = [t == rows - 2 for t in range(rows - 1)]
            assert episode["terminals"].tolist() == [end and terminal for end in ends]
            assert episode["timeouts"].tolist() == [end and not terminal for end in ends]
            assert episode["discounts"].tolist() == [0.0 if end and terminal else 1.0 for end in ends]
        # Never the first observation of the next episode.
        last = np.cumsum([rows - 1 for rows, _ in episodes]) - 1
        following = buffer.rows(last, ["next_observations"])["next_observations"]
        np.testing.assert_array_equal(following, [episode["steps/observation"][-1] for episode in raw])


@pytest.mark.parametrize("fixture", [HOPPER_V0, HOPPER_V1], ids=lambda path: path.name)
def test_strict_reading_drops_what_rlds_calls_void(fixture, tmp_path):
    truth = load_truth(fixture)
    kept = truth["strict_rlds"]
    with converted(fixture / "1.2.0", tmp_path, last_row="observation") as buffer:
        for name in ("observations", "actions", "rewards", "terminals"):
            np.testing.assert_array_equal(buffer[:][name], truth[name][kept])
        # A real transition that is dropped leaves its observation as the final one.
        known = buffer.arrays["episodes/final_known"].all()
        assert known.tolist() == ([True, *[False] * 4, True] if fixture is HOPPER_V0 else [True] + [False] * 5)
        assert any("--last-row transition" in text for text in buffer.metadata["warnings"]) == (fixture is HOPPER_V0)


def test_every_last_row_may_be_taken_for_a_transition(tmp_path):
    episodes = [plain_episode(3), plain_episode(2, terminal=True)]
    with converted(write_dataset(tmp_path / "d", episodes), tmp_path, last_row="transition") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 2]
        assert buffer[:]["terminals"].tolist() == [False] * 4 + [True]
        assert buffer[:]["timeouts"].tolist() == [False, False, True, False, False]
        assert buffer.rows_without_next.tolist() == [2, 4]
        assert buffer.metadata["source"]["last_row"] == "transition"


def test_facts_about_d4rl_go_into_the_metadata(tmp_path):
    with converted(HOPPER_V1 / "1.2.0", tmp_path) as buffer:
        facts = buffer.metadata
    assert facts["environment"]["id"] == "Hopper-v2"
    assert facts["environment"]["reference_scores"] == {"min": -20.272305, "max": 3234.3}
    assert facts["source"]["dataset"] == "hopper-medium-replay-v1"
    assert facts["scalars"]["metadata/iteration"] == {"dtype": "int32", "value": 600}
    assert facts["scalars"]["metadata/algorithm"]["value"] == "SAC"
    reason = "the last observation of the whole source file stands in its place"
    assert facts["measurements"]["final_observations_unknown"] == {reason: 5}
    assert any(
        f"In 5 of 6 episodes the observation after the last action is not known: {reason}" in text
        for text in facts["warnings"]
    )
    assert any("features.json says float64 of actions" in text for text in facts["notes"])


def test_appended_observations_that_differ_are_believed(tmp_path):
    episodes = [plain_episode(3, start=9.0 * i) for i in range(3)]
    step = {**rlds.PLAIN_STEP}
    with converted(write_dataset(tmp_path / "d", episodes, step=step, name="d4rl_fixed"), tmp_path) as buffer:
        assert buffer.arrays["episodes/final_known"].all().all()


def test_where_d4rls_last_episode_stands(tmp_path):
    shared = plain_episode(3)
    for order, shuffled in ((3, True), (3, False)):
        folder = write_dataset(tmp_path / str(shuffled), [shared] * order, name="d4rl_x", disableShuffling=not shuffled)
        with converted(folder, tmp_path) as buffer:
            known = np.flatnonzero(buffer.arrays["episodes/final_known"].all()).tolist()
        assert known == [position_of_last_key("train", order, shuffled=shuffled)]
    assert position_of_last_key("train", 6, shuffled=True) == 0  # as in the fixtures
    assert position_of_last_key("train", 6, shuffled=False) == 5


def test_policies_of_d4rl_belong_to_the_whole(tmp_path):
    weights = np.arange(6, dtype=np.float32)
    facts = {"policy": rlds.fields({"w": rlds.tensor("float32", 2, 3)}), "algorithm": rlds.text()}
    more = {"policy/w": weights, "algorithm": ["größe".encode()]}
    episodes = [{**plain_episode(3), **more}, {**plain_episode(2), **more}]
    with converted(write_dataset(tmp_path / "d", episodes, name="d4rl_x", facts=facts), tmp_path) as buffer:
        np.testing.assert_array_equal(buffer.extra("metadata/policy/w"), weights.reshape(2, 3))
        assert buffer.metadata["scalars"] == {"metadata/algorithm": {"dtype": "str", "value": "größe"}}
        assert not buffer.spec.episode_columns
    changed = {**episodes[1], "policy/w": weights + 1}
    folder = write_dataset(tmp_path / "d", [episodes[0], changed], name="d4rl_x", facts=facts)
    with pytest.raises(FormatError, match="record 1: expected 'policy/w' to be the same in every episode"):
        converted(folder, tmp_path)


ATARI_STEP = {**rlds.PLAIN_STEP, "observation": rlds.image(84, 84, 1)}
ATARI_FACTS = {name: rlds.tensor("int64") for name in ("checkpoint_id", "episode_id")}


def rlu_atari(record):
    """Return the episode that TFDS's rlu_atari builders make of a record, by the rule of its atari_utils.py."""
    rows = len(record["actions"])
    last = np.arange(rows) == rows - 1
    discounts = record["discounts"]
    if discounts[-1] == 0:
        discounts = np.append(discounts[1:], np.float32(0))
    return {
        "steps/observation": record["observations"],
        "steps/action": record["actions"],
        "steps/reward": record["clipped_rewards"],
        "steps/discount": discounts,
        "steps/is_first": np.arange(rows) == 0,
        "steps/is_last": last,
        "steps/is_terminal": last & (record["discounts"][-1] == 0),
        "checkpoint_id": record["checkpoint_idx"],
        "episode_id": record["episode_idx"],
    }


def test_an_episode_of_rlu_atari_is_that_of_the_records_it_was_made_of(tmp_path):
    shard = DATA / "rl_unplugged" / "atari_episodes_ordered" / "Pong" / "run_1-00000-of-00050"
    episodes = [rlu_atari(record.features) for record in RecordShard(shard, gzipped=True).records()]
    folder = write_dataset(
        tmp_path / "d", episodes, step=ATARI_STEP, facts=ATARI_FACTS, name="rlu_atari", configName="Pong_run_1"
    )
    rlbuffers.convert(RLUAtariEpisodesSource(shard, "Pong", stack=1), tmp_path / "raw.hdf5")
    with converted(folder, tmp_path) as buffer, rlbuffers.open(tmp_path / "raw.hdf5") as raw:
        rows, raw_rows = buffer[:], raw[:]
        for name in ("actions", "rewards", "discounts", "terminals", "timeouts"):
            np.testing.assert_array_equal(rows[name], raw_rows[name])
            assert rows[name].dtype == raw_rows[name].dtype
        np.testing.assert_array_equal(rows["observations"][..., 0], raw_rows["observations"][:, 0])
        for name in ("starts", "lengths", "returns", "whole", "final_known"):
            np.testing.assert_array_equal(buffer.arrays[f"episodes/{name}"].all(), raw.arrays[f"episodes/{name}"].all())
        assert buffer.spec.columns["actions"].space == raw.spec.columns["actions"].space
        assert buffer.metadata["environment"]["id"] == raw.metadata["environment"]["id"]
        alignment = [found.metadata["measurements"]["reward_alignment"] for found in (buffer, raw)]
        assert alignment[0] == alignment[1]
        assert buffer.metadata["warnings"] == raw.metadata["warnings"] == []


def test_a_reward_in_the_last_row_of_rlu_atari_follows_no_action(tmp_path):
    pictures = [wire.png(np.full((84, 84), t, np.uint8)) for t in range(3)]
    episode = {**plain_episode(3), "steps/observation": pictures, "steps/reward": np.array([1, 0, 2], np.float32)}
    folder = write_dataset(tmp_path / "d", [episode], step=ATARI_STEP, name="rlu_atari_checkpoints")
    with converted(folder, tmp_path) as buffer:
        assert buffer[:]["rewards"].tolist() == [0, 1, 0]
        assert buffer.metadata["measurements"]["early_rewards_not_zero"] == 1
        assert any("In 1 of 1 episodes the last row has a reward" in text for text in buffer.metadata["warnings"])


# Flags.


def test_a_recording_that_stopped(tmp_path):
    episodes = [
        unmarked(plain_episode(3), "is_last"),
        plain_episode(2),
        unmarked(plain_episode(3, terminal=True), "is_last"),
    ]
    with converted(write_dataset(tmp_path / "d", episodes), tmp_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 1, 2]
        assert whole(buffer) == [False, True, True]
        assert buffer[:]["timeouts"].tolist() == [False, False, False, True, False, False]
        assert buffer[:]["terminals"].tolist() == [False] * 5 + [True]
        assert buffer.rows_without_next.tolist() == [2]


def test_episodes_without_transitions_are_left_out(tmp_path):
    episodes = [plain_episode(1), plain_episode(3), {name: rows[:0] for name, rows in plain_episode(2).items()}]
    with converted(write_dataset(tmp_path / "d", episodes), tmp_path) as buffer:
        assert (buffer.num_episodes, len(buffer)) == (1, 2)
        assert buffer.metadata["left_out"] == ["2 episodes of one observation and no transition"]


def test_play_that_goes_on_after_is_terminal(tmp_path):
    episode = plain_episode(5)
    episode["steps/is_terminal"][2] = True
    with converted(write_dataset(tmp_path / "d", [episode]), tmp_path) as buffer:
        assert buffer[:]["terminals"].tolist() == [False, True, False, False]
        assert buffer.metadata["environment"] == {"terminals_end_episodes": False}
        assert any("1 episodes go on after is_terminal" in text for text in buffer.metadata["warnings"])


def test_without_is_terminal_every_end_is_a_timeout(tmp_path):
    step = {name: node for name, node in rlds.PLAIN_STEP.items() if name != "is_terminal"}
    with converted(write_dataset(tmp_path / "d", [plain_episode(3)], step=step), tmp_path) as buffer:
        assert (buffer[:]["terminals"].tolist(), buffer[:]["timeouts"].tolist()) == ([False] * 2, [False, True])


@pytest.mark.parametrize(
    ("flag", "row", "message"),
    [
        ("is_first", 2, "is_first in the first and is_last in the last row only"),
        ("is_last", 1, "is_first in the first and is_last in the last row only"),
    ],
)
def test_flags_inside_an_episode(tmp_path, flag, row, message):
    episode = plain_episode(4)
    episode[f"steps/{flag}"][row] = True
    with pytest.raises(FormatError, match=f"record 1: expected {message}"):
        converted(write_dataset(tmp_path / "d", [plain_episode(3), episode]), tmp_path)


# Columns.


def test_names_of_columns(tmp_path):
    step = {
        **rlds.PLAIN_STEP,
        "infos": rlds.fields({"qpos": rlds.tensor("float32", 2), "deep": rlds.fields({"er": rlds.tensor("uint8")})}),
        "rewards": rlds.tensor("float32"),
        "note": rlds.text(),
        "reward": rlds.tensor("float32", 1),
    }
    rows = np.arange(3)
    episode = {
        **plain_episode(3),
        "steps/infos/qpos": np.zeros((3, 2), np.float32),
        "steps/infos/deep/er": rows,
        "steps/rewards": rows.astype(np.float32),
        "steps/note": [b"a", b"b", b"c"],
        "seed": np.array([5]),
        "lengths": np.array([7, 8]),
        "who": [b"me"],
        "file": [b"1"],
    }
    facts = {"seed": rlds.tensor("int16"), "lengths": rlds.tensor("int64", 2), "who": rlds.text(), "file": rlds.text()}
    episodes = [episode, {**episode, "file": [b"2"], "seed": np.array([6])}]
    with converted(write_dataset(tmp_path / "d", episodes, step=step, facts=facts), tmp_path) as buffer:
        assert set(buffer.spec.columns) == {
            *("observations", "actions", "rewards", "terminals", "timeouts", "discounts"),
            *("infos/qpos", "infos/deep/er", "infos/rewards"),
        }
        assert buffer.spec.columns["rewards"].shape == ()
        assert buffer.arrays["episodes/seed"].all().tolist() == [5, 6]
        assert buffer.arrays["episodes/source_lengths"].all().tolist() == [[7, 8]] * 2
        assert buffer.metadata["scalars"] == {"who": {"dtype": "S2", "value": "me"}}
        assert buffer.metadata["left_out"] == [
            "'steps/note', which is text",
            "'file', a text that differs between episodes",
        ]


def test_dicts_of_actions(tmp_path):
    move, stop = rlds.tensor("float32", 2), rlds.tensor("bool")
    more = {"steps/action/move": np.arange(6, dtype=np.float32), "steps/action/stop": np.array([0, 1, 0])}
    episode = {**plain_episode(3), **more}
    one = {**rlds.PLAIN_STEP, "action": rlds.fields({"move": move, "words": rlds.text()})}
    with converted(write_dataset(tmp_path / "1", [episode], step=one), tmp_path) as buffer:
        assert buffer[:]["actions"].tolist() == [[0, 1], [2, 3]]
        assert buffer.metadata["left_out"] == ["'steps/action/words', which is text"]
    two = write_dataset(
        tmp_path / "2", [episode], step={**rlds.PLAIN_STEP, "action": rlds.fields({"move": move, "stop": stop})}
    )
    with converted(two, tmp_path, action="stop") as buffer:
        assert buffer[:]["actions"].tolist() == [False, True]
        assert buffer[:]["action/move"].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(UsageError, match=r"actions are a dict, .* choose it with --action, of move, stop"):
        RLDSSource(two)
    with pytest.raises(UsageError, match="there is no action 'jump'"):
        RLDSSource(two, action="jump")


ARM = {
    "move": (rlds.tensor("float32", 2), np.arange(6, dtype=np.float32)),
    "turn": (rlds.tensor("float64", encoding="bytes"), [np.float64(t / 3).tobytes() for t in range(3)]),
    "grip": (rlds.tensor("bool"), np.array([0, 1, 0])),
    "mode": (rlds.tensor("int32"), np.array([7, 8, 9])),
    "gear": (rlds.tensor("uint8", 1, 2), np.arange(6)),
    "count": (rlds.tensor("uint64"), np.arange(3)),
}


def arm_dataset(folder):
    step = {**rlds.PLAIN_STEP, "action": rlds.fields({name: node for name, (node, _) in ARM.items()})}
    episode = {**plain_episode(3), **{f"steps/action/{name}": values for name, (_, values) in ARM.items()}}
    return write_dataset(folder, [episode], step=step)


def test_fields_of_actions_are_concatenated_in_the_order_given(tmp_path):
    folder = arm_dataset(tmp_path / "d")
    with converted(folder, tmp_path, action=["grip", "turn", "move"]) as buffer:
        actions = buffer[:]["actions"]
        assert actions.dtype == np.float64
        np.testing.assert_array_equal(actions, [[0, 0, 0, 1], [1, 1 / 3, 2, 3]])
        assert buffer.metadata["source"]["action_fields"] == [
            {"field": "grip", "dtype": "bool", "start": 0, "stop": 1},
            {"field": "turn", "dtype": "float64", "start": 1, "stop": 2},
            {"field": "move", "dtype": "float32", "start": 2, "stop": 4},
        ]
        assert buffer[:]["action/mode"].tolist() == [7, 8]
        assert not {"action/grip", "action/turn", "action/move"} & set(buffer.spec.columns)
    with converted(folder, tmp_path, action=["gear", "mode", "grip"]) as buffer:
        assert buffer[:]["actions"].dtype == np.int32
        assert buffer[:]["actions"].tolist() == [[0, 1, 7, 0], [2, 3, 8, 1]]
    with converted(folder, tmp_path, action="gear") as buffer:
        assert buffer.spec.columns["actions"].shape == (1, 2)
        assert buffer.metadata["source"]["action_fields"] == [
            {"field": "gear", "dtype": "uint8", "start": 0, "stop": 2}
        ]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (["move", "mode"], "action 'mode' is of whole numbers and 'move' of fractions"),
        (["mode", "count"], "no integer type holds all of the actions mode, count"),
        (["move", "move"], "--action names a field twice"),
        (
            ["move", "jump"],
            "there is no action 'jump', .* choose it with --action, of move, turn, grip, mode, gear, co",
        ),
    ],
)
def test_fields_that_cannot_be_concatenated(tmp_path, action, message):
    with pytest.raises(UsageError, match=message):
        RLDSSource(arm_dataset(tmp_path / "d"), action=action)


def test_a_dataset_without_rewards(tmp_path):
    step = {name: node for name, node in rlds.PLAIN_STEP.items() if name != "reward"}
    folder = write_dataset(tmp_path / "d", [plain_episode(3), plain_episode(4, terminal=True)], step=step)
    with converted(folder, tmp_path, reward="none") as buffer:
        rewards = buffer[:]["rewards"]
        assert (rewards.dtype, rewards.tolist()) == (np.float32, [0.0] * 5)
        assert buffer.metadata["warnings"] == [
            "The dataset has no rewards (--reward none): zeros stand in their place, which mean nothing."
        ]
    with pytest.raises(FormatError, match="found none; --reward none reads a dataset without rewards"):
        RLDSSource(folder)
    with pytest.raises(UsageError, match="the dataset has rewards; drop --reward none"):
        RLDSSource(write_dataset(tmp_path / "e", [plain_episode(3)]), reward="none")


def test_texts_of_steps_that_never_change_are_kept(tmp_path):
    step = {**rlds.PLAIN_STEP, "task": rlds.text(), "said": rlds.text(), "gone": rlds.text()}
    first = {**plain_episode(3), "steps/task": [b"lift"] * 3, "steps/said": [b"a"] * 3}
    second = {**plain_episode(2), "steps/task": [b"lift"] * 2, "steps/said": [b"b"] * 2}
    with converted(write_dataset(tmp_path / "d", [first, second], step=step), tmp_path) as buffer:
        assert buffer.metadata["scalars"] == {"task": {"dtype": "S4", "value": "lift"}}
        assert buffer.metadata["left_out"] == ["'steps/gone', which is text", "'steps/said', which is text"]


def test_a_split_that_is_missing_and_one_that_is_there(tmp_path):
    splits = {"train": [1], "val": [1], "none": []}
    folder = write_dataset(tmp_path / "d", [plain_episode(3), plain_episode(4)], splits=splits)
    next(folder.glob("*-val.*")).unlink()
    for split in (None, "train"):
        with converted(folder, tmp_path, split=split) as buffer:
            assert len(buffer) == 2
    for split in ("val", "all"):
        with pytest.raises(BufferNotFoundError, match=r"there is no such file; .* is there \(--split train\)"):
            RLDSSource(folder, split=split)


def test_the_task_of_rl_unplugged_never_terminates(tmp_path):
    folder = write_dataset(
        tmp_path / "d", [plain_episode(3, terminal=True)], name="rlu_control_suite", configName="cartpole_swingup"
    )
    with converted(folder, tmp_path) as buffer:
        assert buffer.metadata["environment"]["id"] == "cartpole_swingup"
        assert buffer.metadata["environment"]["can_terminate"] is False
        assert "1 transition is terminal, but cartpole_swingup never terminates." in buffer.metadata["warnings"][0]


def test_images_of_a_size_that_only_the_files_tell(tmp_path):
    pictures = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    step = {**rlds.PLAIN_STEP, "observation": rlds.image(-1, -1, 1)}
    episode = {**plain_episode(3), "steps/observation": [wire.png(picture) for picture in pictures]}
    with converted(write_dataset(tmp_path / "d", [episode], step=step), tmp_path) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations"][..., 0], pictures)
    episode["steps/observation"][0] = b"no image"
    with pytest.raises(CorruptDataError, match="'steps/observation': the first image is damaged"):
        RLDSSource(write_dataset(tmp_path / "d", [episode], step=step))


def test_labels_have_a_discrete_space(tmp_path):
    step = {**rlds.PLAIN_STEP, "action": rlds.label(9)}
    with converted(write_dataset(tmp_path / "d", [plain_episode(3)], step=step), tmp_path) as buffer:
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 9}


def test_workers_decode_the_same(tmp_path):
    source = TFDS / "mini_rlds" / "pixels" / "1.0.0"
    folder = tmp_path / "d"
    folder.mkdir()
    one = rlbuffers.convert(RLDSSource(source), tmp_path / "1.hdf5")
    two = rlbuffers.convert(RLDSSource(source), tmp_path / "2.hdf5", workers=1)
    assert one.fingerprint == two.fingerprint


# Splits, shards and directories.


def test_splits(tmp_path):
    episodes = [plain_episode(rows) for rows in (2, 3, 4, 5, 6)]
    folder = write_dataset(tmp_path / "d", episodes, splits={"train": [2, 1], "test": [2], "none": []})
    lengths = {}
    for split in (None, "train", "test", "all"):
        with converted(folder, tmp_path, split=split) as buffer:
            lengths[split] = buffer.arrays["episodes/lengths"].all().tolist()
            assert buffer.metadata["source"]["splits"] == (
                ["train", "test", "none"] if split == "all" else [split or "train"]
            )
    assert lengths == {None: [1, 2, 3], "train": [1, 2, 3], "test": [4, 5], "all": [1, 2, 3, 4, 5]}
    with pytest.raises(UsageError, match="there is no split 'val'; choose one of train, test, none, or all"):
        RLDSSource(folder, split="val")
    with pytest.raises(FormatError, match="expected episodes, found none in split none"):
        RLDSSource(folder, split="none")


def test_the_only_split_and_several_without_train(tmp_path):
    with converted(write_dataset(tmp_path / "1", [plain_episode(3)], splits={"human": [1]}), tmp_path) as buffer:
        assert buffer.metadata["source"]["splits"] == ["human"]
    with pytest.raises(UsageError, match="choose one of a, b, or all"):
        RLDSSource(write_dataset(tmp_path / "2", [plain_episode(3)] * 2, splits={"a": [1], "b": [1]}))


def test_shards_without_their_count(tmp_path):
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"
    folder = write_dataset(tmp_path / "d", [plain_episode(3)] * 3, splits={"train": [2, 1]}, template=template)
    assert (folder / "some_rlds-train.tfrecord-00001").is_file()
    with converted(folder, tmp_path) as buffer:
        assert buffer.num_episodes == 3
        files = buffer.metadata["source"]["files"]
    assert [file["bytes"] for file in files] == [(folder / file["name"]).stat().st_size for file in files]
    assert len(files[0]["sha256"]) == 64


@pytest.mark.parametrize("length", [1, 3])
def test_the_number_of_episodes_must_be_that_of_the_description(tmp_path, length):
    folder = write_dataset(tmp_path / "d", [plain_episode(3)] * 2)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = [str(length)]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(CorruptDataError, match=f"dataset_info.json says {length} episodes, the file holds 2"):
        converted(folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda shard: shard.unlink(), BufferNotFoundError, "there is no such file; copy or prepare"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-9]), CorruptDataError, "cut short"),
        (lambda shard: shard.write_bytes(b""), CorruptDataError, "says 1 episodes, the file holds fewer"),
        (
            lambda shard: shard.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
            CorruptDataError,
            "not TFRecord, or damaged",
        ),
        (lambda shard: shard.write_bytes(wire.tfrecord(b"?")), CorruptDataError, "not a well-formed tf.train.Example"),
        (
            lambda shard: shard.write_bytes(wire.tfrecord(b"")),
            FormatError,
            "'steps/is_first' of RLDS, which is missing",
        ),
    ],
)
def test_wrong_shards(tmp_path, change, kind, message):
    folder = write_dataset(tmp_path / "d", [plain_episode(3)])
    change(next(folder.glob("*.tfrecord*")))
    with pytest.raises(kind, match=message):
        converted(folder, tmp_path)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("action", "expected an RLDS feature 'steps/action' of numbers, found none"),
        ("reward", "expected an RLDS feature 'steps/reward' of numbers, found none"),
        ("observation", "expected an RLDS feature 'steps/observation' of numbers, found none"),
        ("is_last", "expected an RLDS dataset, with features 'steps/is_first' and 'steps/is_last'; found"),
    ],
)
def test_features_that_must_be_there(tmp_path, missing, message):
    step = {name: node for name, node in rlds.PLAIN_STEP.items() if name != missing}
    with pytest.raises(FormatError, match=message):
        RLDSSource(write_dataset(tmp_path / "d", [plain_episode(3)], step=step))


def test_an_is_terminal_that_is_no_flag(tmp_path):
    step = {**rlds.PLAIN_STEP, "is_terminal": rlds.tensor("bool", 2)}
    with pytest.raises(FormatError, match="expected 'steps/is_terminal' to be one bool, found"):
        RLDSSource(write_dataset(tmp_path / "d", [plain_episode(3)], step=step))


def test_two_features_for_one_column(tmp_path):
    infos = rlds.fields({"rewards": rlds.tensor("float32")})
    step = {**rlds.PLAIN_STEP, "rewards": rlds.tensor("float32"), "infos": infos}
    with pytest.raises(FormatError, match="'steps/infos/rewards' and another feature would both be column"):
        RLDSSource(write_dataset(tmp_path / "d", [plain_episode(3)], step=step))


@pytest.mark.parametrize("name", ["", "..", "a\nb"])
def test_features_whose_names_cannot_be_columns(tmp_path, name):
    step = {**rlds.PLAIN_STEP, name: rlds.tensor("float32")}
    with pytest.raises(FormatError, match="expected words separated by '/'"):
        RLDSSource(write_dataset(tmp_path / "d", [plain_episode(3)], step=step))


def test_rewards_of_several_numbers(tmp_path):
    step = {**rlds.PLAIN_STEP, "reward": rlds.tensor("float32", 2)}
    with pytest.raises(FormatError, match=r"'steps/reward' of numbers, found shape \(2,\)"):
        RLDSSource(write_dataset(tmp_path / "d", [plain_episode(3)], step=step))


def test_actions_and_rewards_of_different_lengths(tmp_path):
    episode = plain_episode(4)
    with pytest.raises(FormatError, match="'steps/action': expected 4 integers, found 3 integers"):
        converted(write_dataset(tmp_path / "d", [{**episode, "steps/action": episode["steps/action"][1:]}]), tmp_path)
    with pytest.raises(FormatError, match="expected 4 values of 'steps/is_last', found 3"):
        converted(write_dataset(tmp_path / "d", [{**episode, "steps/is_last": episode["steps/is_last"][1:]}]), tmp_path)


@pytest.mark.parametrize(
    ("info", "kind", "message"),
    [
        (
            {"fileFormat": "array_record"},
            UnsupportedError,
            "array_record, .* prepare the dataset again with file_format='tfrecord'",
        ),
        ({"splits": 3}, FormatError, "dataset_info.json: expected a list as 'splits', found 3"),
        (
            {"splits": [{"name": "train", "shardLengths": ["1"], "filepathTemplate": "../{DATASET}"}]},
            FormatError,
            "leads out of",
        ),
        ({"splits": [{"name": "train", "shardLengths": ["many"]}]}, FormatError, "split 0: expected a whole number as"),
        ({"splits": [{"name": "train", "shardLengths": [-1]}]}, FormatError, "in 'shardLengths', found -1"),
        ({"splits": [{"name": "train", "shardLengths": [str(1 << 60)]}]}, CorruptDataError, "the file holds fewer"),
    ],
)
def test_wrong_descriptions(tmp_path, info, kind, message):
    folder = write_dataset(tmp_path / "d", [plain_episode(3)])
    stated = json.loads((folder / "dataset_info.json").read_text()) | info
    (folder / "dataset_info.json").write_text(json.dumps(stated))
    with pytest.raises(kind, match=message):
        RLDSSource(folder)


def test_finding_the_directory_of_a_version(tmp_path):
    folder = write_dataset(tmp_path / "data" / "name" / "config" / "1.0.0", [plain_episode(3)])
    for path in (folder, folder.parent, tmp_path / "data"):
        assert find_version_dir(path) == folder
    write_dataset(tmp_path / "data" / "name" / "config" / "1.1.0", [plain_episode(3)])
    with pytest.raises(UsageError, match=r"several .* are there; name one of config/1\.0\.0, config/1\.1\.0"):
        find_version_dir(tmp_path / "data" / "name")
    with pytest.raises(BufferNotFoundError, match="expected the directory of a prepared TFDS dataset"):
        find_version_dir(tmp_path / "nowhere")


def test_finding_a_dataset_by_name(tmp_path, monkeypatch):
    for version in ("1.2.0", "1.10.0"):
        write_dataset(tmp_path / "some_rlds" / "big" / version, [plain_episode(3)])
    write_dataset(tmp_path / "other" / "1.0.0", [plain_episode(3)])
    assert prepared_dir("some_rlds/big", tmp_path) == tmp_path / "some_rlds/big/1.10.0"
    assert prepared_dir("some_rlds/big:1.2.0", tmp_path) == tmp_path / "some_rlds/big/1.2.0"
    assert prepared_dir("other", tmp_path) == tmp_path / "other/1.0.0"
    for name in ("../x", "a b", "some_rlds/big:new", ""):
        with pytest.raises(UsageError, match="expected the name of a TFDS dataset"):
            prepared_dir(name, tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_data_dir() == Path("~/tensorflow_datasets").expanduser()


class NotFoundError(ValueError):
    """What TFDS raises for an unknown name."""


def fake_tfds(monkeypatch, prepare):
    """Put something in the place of tensorflow_datasets that prepares by calling `prepare`."""
    asked = []

    class Builder:
        def __init__(self, name, data_dir, file_format):
            asked.append((name, file_format))
            self.data_dir = str(data_dir / name / "3.0.0")

        def download_and_prepare(self):
            prepare(Path(self.data_dir))

    module = types.ModuleType("tensorflow_datasets")
    module.builder, module.core = Builder, types.SimpleNamespace(DatasetNotFoundError=NotFoundError)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return asked


def test_a_dataset_that_is_not_there_is_prepared(tmp_path, monkeypatch):
    asked = fake_tfds(monkeypatch, lambda path: write_dataset(path, [plain_episode(3)]))
    assert prepared_dir("some_rlds", tmp_path) == tmp_path / "some_rlds" / "3.0.0"
    assert prepared_dir("some_rlds", tmp_path) == tmp_path / "some_rlds" / "3.0.0"
    assert asked == [("some_rlds", "tfrecord")]


def raising(error):
    def prepare(path):
        raise error

    return prepare


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (NotFoundError("no such\nthing"), UsageError, "TensorFlow Datasets has no dataset 'x': no such$"),
        (OSError("no network"), DownloadError, "x: TensorFlow Datasets could not prepare it: no network"),
        (AssertionError(), DownloadError, "could not prepare it: AssertionError"),
    ],
)
def test_failures_of_tfds_get_one_line(tmp_path, monkeypatch, error, kind, message):
    fake_tfds(monkeypatch, raising(error))
    with pytest.raises(kind, match=message):
        prepared_dir("x", tmp_path)


def test_without_tfds_only_prepared_datasets_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MissingDependencyError, match=r"Preparing x, .* pip install 'rlbuffers\[tfds\]'"):
        prepared_dir("x", tmp_path)


def test_metadata_of_others_are_none_of_ours(tmp_path):
    folder = write_dataset(tmp_path / "d", [plain_episode(3)])
    (folder / "metadata.json").write_text('{"by": "someone"}')
    with converted(folder, tmp_path) as buffer:
        assert len(buffer) == 2
    for content in ('{"rlbuffers": 3}', '{"rlbuffers": {"derived": [{}]}}', '{"rlbuffers": {"spaces": []}}'):
        (folder / "metadata.json").write_text(content)
        with pytest.raises(FormatError, match="expected the facts that rlbuffers writes"):
            RLDSSource(folder)
    (folder / "metadata.json").write_text('{"rlbuffers": {"spaces": {"actions": {"type": "sphere"}}}}')
    with pytest.raises(FormatError, match="expected type 'discrete' or 'box'"):
        RLDSSource(folder)


def test_a_copy_of_a_fixture_with_a_flipped_bit(tmp_path):
    folder = shutil.copytree(HOPPER_V0 / "1.2.0", tmp_path / "d")
    shard = next(folder.glob("*.tfrecord*"))
    content = bytearray(shard.read_bytes())
    content[30_000] ^= 4
    shard.write_bytes(content)
    with pytest.raises(CorruptDataError, match="its CRC-32C does not fit; the file is damaged"):
        converted(folder, tmp_path)
