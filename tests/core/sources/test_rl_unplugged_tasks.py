"""What is known of the tasks: against numbers that the publisher states."""

from __future__ import annotations

import pytest

from rlbuffers.errors import UsageError
from rlbuffers.sources.rl_unplugged.tasks import (
    BSUITE_TASKS,
    CONTROL_SUITE_TASKS,
    DMLAB_TASKS,
    LOCOMOTION_TASKS,
    RWRL_TASKS,
    bsuite_shards,
    check_bsuite_task,
    check_task,
    control_suite_shards,
    dmlab_shards,
    locomotion_shards,
    rwrl_shards,
)

BUCKET = "https://storage.googleapis.com/rl_unplugged"


def test_how_many_there_are():
    assert len(CONTROL_SUITE_TASKS) == 9
    assert len(LOCOMOTION_TASKS) == 7
    assert len(RWRL_TASKS) == 4
    assert len({name.split("/")[0] for name in DMLAB_TASKS}) == 5
    assert len({name.split("/")[0] for name in BSUITE_TASKS}) == 3


@pytest.mark.parametrize(
    ("name", "numbers", "actions"),
    [
        ("cartpole_swingup", 5, 1),
        ("cheetah_run", 17, 6),
        ("finger_turn_hard", 12, 2),
        ("fish_swim", 24, 5),
        ("humanoid_run", 67, 21),
        ("manipulator_insert_ball", 44, 5),
        ("manipulator_insert_peg", 44, 5),
        ("walker_stand", 24, 6),
        ("walker_walk", 24, 6),
    ],
)
def test_sizes_of_the_control_suite(name, numbers, actions):
    """Those of table 5 of the paper."""
    task = CONTROL_SUITE_TASKS[name]
    assert (sum(task.observations.values()), task.action_size) == (numbers, actions)


@pytest.mark.parametrize(
    ("shards", "url"),
    [
        (
            control_suite_shards(CONTROL_SUITE_TASKS["fish_swim"]),
            "dm_control_suite/fish_swim/train-00002-of-00100",
        ),
        (
            control_suite_shards(CONTROL_SUITE_TASKS["fish_swim"], episodes=True),
            "dm_control_suite_episodes/fish_swim/train-00002-of-00100",
        ),
        (
            locomotion_shards(LOCOMOTION_TASKS["rodent_mazes"]),
            "dm_locomotion/rodent_mazes/seq40/train-00002-of-00100",
        ),
        (
            locomotion_shards(LOCOMOTION_TASKS["humanoid_gaps"]),
            "dm_locomotion/humanoid_gaps/seq2/train-00002-of-00100",
        ),
        (
            locomotion_shards(LOCOMOTION_TASKS["rodent_mazes"], episodes=True),
            "dm_locomotion_episodes/rodent_mazes/train-00002-of-00100",
        ),
        (
            rwrl_shards(RWRL_TASKS["humanoid_walk"], "easy", 20),
            "rwrl/combined_challenge_easy/humanoid/walk/20_percent/episodes.tfrecord-00002-of-00244",
        ),
        (
            dmlab_shards(DMLAB_TASKS["seekavoid_arena_01/snapshot_1_eps_0.25"]),
            "dmlab/seekavoid_arena_01/snapshot_1_eps_0.25/tfrecord-00002-of-00500",
        ),
    ],
)
def test_where_shards_are(shards, url):
    assert shards.url(2) == f"{BUCKET}/{url}"
    assert url == f"{shards.folder}/{shards.name(2)}"


def test_bsuite_is_one_file():
    shards = bsuite_shards(BSUITE_TASKS["cartpole/0_0.3"])
    assert shards.url(0) == f"{BUCKET}/bsuite/cartpole/0_0.3/0_full-00000-of-00001"
    with pytest.raises(UsageError, match="shard id 1: expected 0 to 0"):
        shards.name(1)


@pytest.mark.parametrize("number", [-1, 100])
def test_shards_that_are_not_there(number):
    with pytest.raises(UsageError, match=f"shard id {number}: expected 0 to 99"):
        control_suite_shards(CONTROL_SUITE_TASKS["fish_swim"]).name(number)


def test_names_that_are_nearly_right():
    with pytest.raises(UsageError, match=r"'fish_swimm' is not one of the 9 tasks .* did you mean fish_swim\?"):
        check_task("fish_swimm", CONTROL_SUITE_TASKS, "control-suite")
    with pytest.raises(UsageError, match="name its run too: rooms_watermaze/training_0, "):
        check_task("rooms_watermaze", DMLAB_TASKS, "dmlab")
    with pytest.raises(UsageError, match="choose one of "):
        check_task("zzz", RWRL_TASKS, "rwrl")
    with pytest.raises(UsageError, match=r"did you mean cartpole/0_0\.0\?"):
        check_bsuite_task("cartpol/0_0.0")
    with pytest.raises(UsageError, match="expected none or easy, and 1, 5, 20, 40, 100 percent"):
        rwrl_shards(RWRL_TASKS["walker_walk"], "hard", 1)
