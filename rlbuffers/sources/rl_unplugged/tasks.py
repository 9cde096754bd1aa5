"""The tasks of RL Unplugged beyond Atari: what is known of each, and where its shards are published.

Gulcehre et al., "RL Unplugged: A Suite of Benchmarks for Offline Reinforcement Learning", NeurIPS
2020, and "Regularized Behavior Value Estimation", 2021, for DM Lab and bsuite. The Atari games are in
``games.py``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlbuffers.errors import UsageError

__all__ = [
    "BSUITE_TASKS",
    "CITATION_2020",
    "CITATION_2021",
    "CONTROL_SUITE_TASKS",
    "DMLAB_TASKS",
    "LICENSE",
    "LOCOMOTION_TASKS",
    "RWRL_CHALLENGES",
    "RWRL_PERCENTAGES",
    "RWRL_TASKS",
    "KnownTask",
    "ShardSet",
    "bsuite_shards",
    "check_bsuite_task",
    "check_task",
    "control_suite_shards",
    "dmlab_shards",
    "locomotion_shards",
    "rwrl_shards",
]

_BUCKET = "https://storage.googleapis.com/rl_unplugged"
LICENSE = "not stated by the publisher (the code beside the data is Apache-2.0)"
CITATION_2020 = (
    "@inproceedings{gulcehre2020rl, "
    "title={RL Unplugged: A Suite of Benchmarks for Offline Reinforcement Learning}, "
    "author={Gulcehre, Caglar and Wang, Ziyu and Novikov, Alexander and Paine, Thomas and Gómez, Sergio and "
    "Zolna, Konrad and Agarwal, Rishabh and Merel, Josh S. and Mankowitz, Daniel J. and Paduraru, Cosmin and "
    "Dulac-Arnold, Gabriel and Li, Jerry and Norouzi, Mohammad and Hoffman, Matthew and Heess, Nicolas and "
    "de Freitas, Nando}, "
    "booktitle={Advances in Neural Information Processing Systems}, volume={33}, pages={7248--7259}, year={2020}}"
)
CITATION_2021 = (
    "@misc{gulcehre2021rbve, title={Regularized Behavior Value Estimation}, "
    "author={Gulcehre, Caglar and Gómez Colmenarejo, Sergio and Wang, Ziyu and Sygnowski, Jakub and Paine, Thomas and "
    "Zolna, Konrad and Chen, Yutian and Hoffman, Matthew and Pascanu, Razvan and de Freitas, Nando}, "
    "year={2021}, eprint={2103.09575}, archivePrefix={arXiv}, primaryClass={cs.LG}}"
)
Kind = Literal["seq2", "seq40"]


@dataclass(frozen=True)
class KnownTask:
    """What is known of a task before its shards are read.

    Parameters
    ----------
    name : str
        As on the command line and in the metadata.
    suite : str
        The part of RL Unplugged that it belongs to.
    behavior : str
        What played.
    citation : str
        BibTeX.
    observations : mapping of key to int, optional
        Numbers in one observation under each key; empty if the publisher does not say.
    action_size : int, optional
        Numbers in one action, or None if not known.
    num_actions : int, optional
        Number of discrete actions, or None if actions are continuous.
    num_rows : int, optional
        Rows of every episode, where that is fixed.
    sequences : {"seq2", "seq40"}, default "seq2"
        Steps in the records of the shuffled files.
    environment : mapping, optional
        More facts for ``environment`` in the metadata.
    """

    name: str
    suite: str
    behavior: str
    citation: str = CITATION_2020
    observations: Mapping[str, int] = field(default_factory=dict)
    action_size: int | None = None
    num_actions: int | None = None
    num_rows: int | None = None
    sequences: Kind = "seq2"
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardSet:
    """The files that one data set is published in.

    Parameters
    ----------
    folder : str
        Below the bucket; local copies have the same folders.
    prefix : str
        What the name of a file begins with.
    count : int
        Number of files.
    """

    folder: str
    prefix: str
    count: int

    def name(self, shard_id: int) -> str:
        """Return the name of a file, such as ``train-00000-of-00100``.

        Raises
        ------
        UsageError
            If there is no such shard.
        """
        if not 0 <= shard_id < self.count:
            raise UsageError(f"shard id {shard_id}: expected 0 to {self.count - 1}")
        return f"{self.prefix}-{shard_id:05d}-of-{self.count:05d}"

    def url(self, shard_id: int) -> str:
        """Return where a file is published."""
        return f"{_BUCKET}/{self.folder}/{self.name(shard_id)}"


# Keys and sizes of the observations, and the size of the actions.
_MANIPULATOR = {
    "arm_pos": 16,
    "arm_vel": 8,
    "touch": 5,
    "hand_pos": 4,
    "object_pos": 4,
    "object_vel": 3,
    "target_pos": 4,
}
_WALKER = {"orientations": 14, "velocity": 9, "height": 1}
_CONTROL_SUITE_SHAPES: dict[str, tuple[dict[str, int], int]] = {
    "cartpole_swingup": ({"position": 3, "velocity": 2}, 1),
    "cheetah_run": ({"position": 8, "velocity": 9}, 6),
    "finger_turn_hard": (
        {"position": 4, "velocity": 3, "touch": 2, "target_position": 2, "dist_to_target": 1},
        2,
    ),
    "fish_swim": ({"target": 3, "velocity": 13, "upright": 1, "joint_angles": 7}, 5),
    "humanoid_run": (
        {
            "velocity": 27,
            "com_velocity": 3,
            "torso_vertical": 3,
            "extremities": 12,
            "head_height": 1,
            "joint_angles": 21,
        },
        21,
    ),
    "manipulator_insert_ball": (_MANIPULATOR, 5),
    "manipulator_insert_peg": (_MANIPULATOR, 5),
    "walker_stand": (_WALKER, 6),
    "walker_walk": (_WALKER, 6),
}
_CAMERA = {"egocentric_camera": 64 * 64 * 3}
_HUMANOID = {
    "joints_vel": 56,
    "sensors_velocimeter": 3,
    "sensors_gyro": 3,
    "joints_pos": 56,
    "world_zaxis": 3,
    "body_height": 1,
    "sensors_accelerometer": 3,
    "end_effectors_pos": 12,
    **_CAMERA,
}
_RODENT = {
    "joints_pos": 30,
    "joints_vel": 30,
    "tendons_pos": 8,
    "tendons_vel": 8,
    "appendages_pos": 15,
    "world_zaxis": 3,
    "sensors_accelerometer": 3,
    "sensors_velocimeter": 3,
    "sensors_gyro": 3,
    "sensors_touch": 4,
    **_CAMERA,
}
_LOCOMOTION_FILES: dict[str, Kind] = {
    "humanoid_corridor": "seq2",
    "humanoid_gaps": "seq2",
    "humanoid_walls": "seq40",
    "rodent_bowl_escape": "seq2",
    "rodent_gaps": "seq2",
    "rodent_mazes": "seq40",
    "rodent_two_touch": "seq40",
}
_NORMALISED = {"actions": "normalised to [-1, 1]; the publisher's environment wrapper clips them"}

CONTROL_SUITE_TASKS = {
    name: KnownTask(
        name,
        "RL Unplugged Control Suite",
        "V-MPO, online training runs" if name.startswith("manipulator") else "D4PG, online training runs",
        observations=observations,
        action_size=action_size,
        environment=_NORMALISED,
    )
    for name, (observations, action_size) in _CONTROL_SUITE_SHAPES.items()
}
LOCOMOTION_TASKS = {
    name: KnownTask(
        name,
        "RL Unplugged Locomotion",
        "partially trained agents, online training runs",
        observations=_HUMANOID if name.startswith("humanoid") else _RODENT,
        action_size=56 if name.startswith("humanoid") else 38,
        sequences=kind,
        environment=_NORMALISED,
    )
    for name, kind in _LOCOMOTION_FILES.items()
}

RWRL_PERCENTAGES = (1, 5, 20, 40, 100)
RWRL_CHALLENGES = ("none", "easy")
_RWRL_DOMAINS = {
    "cartpole_swingup": "cartpole/swingup",
    "humanoid_walk": "humanoid/walk",
    "quadruped_walk": "quadruped/walk",
    "walker_walk": "walker/walk",
}
# Number of files for each of the percentages.
_RWRL_COUNTS = {
    ("none", "cartpole_swingup"): (3, 3, 6, 6, 7),
    ("none", "quadruped_walk"): (3, 3, 4, 7, 10),
    ("none", "walker_walk"): (3, 6, 14, 48, 94),
    ("none", "humanoid_walk"): (9, 123, 125, 344, 391),
    ("easy", "cartpole_swingup"): (2, 3, 8, 8, 14),
    ("easy", "quadruped_walk"): (3, 3, 9, 10, 15),
    ("easy", "walker_walk"): (11, 17, 78, 137, 371),
    ("easy", "humanoid_walk"): (18, 98, 244, 410, 769),
}
RWRL_TASKS = {
    name: KnownTask(name, "RL Unplugged RWRL", "partially trained agents, online training runs", num_rows=1001)
    for name in _RWRL_DOMAINS
}

_DMLAB_ROWS = {
    "explore_object_rewards_few": 1351,
    "explore_object_rewards_many": 1801,
    "rooms_select_nonmatching_object": 181,
    "rooms_watermaze": 1801,
    "seekavoid_arena_01": 301,
}
_TRAINING_RUNS = tuple(f"training_{number}" for number in range(3))
_SNAPSHOTS = tuple(f"snapshot_{number}_eps_{eps}" for number in range(2) for eps in ("0.0", "0.01", "0.1", "0.25"))


def _dmlab_task(level: str, run: str) -> KnownTask:
    trained = "during a training run" if run in _TRAINING_RUNS else f"{run.replace('_eps_', ', epsilon ')}"
    return KnownTask(
        f"{level}/{run}",
        "RL Unplugged DM Lab",
        f"R2D2, {trained}",
        CITATION_2021,
        observations={"pixels": 72 * 96 * 3, "action": 15, "reward": 1},
        num_actions=15,
        num_rows=_DMLAB_ROWS[level],
        environment={"frame_skip": 4},
    )


DMLAB_TASKS = {
    f"{level}/{run}": _dmlab_task(level, run)
    for level in _DMLAB_ROWS
    for run in (*_TRAINING_RUNS, *(_SNAPSHOTS if level == "seekavoid_arena_01" else ()))
}
# Probability with which an action was replaced by a random one.
_BSUITE_NOISES = ("0.0", "0.1", "0.2", "0.3", "0.4", "0.5")
_BSUITE_ENVIRONMENTS = ("cartpole", "catch", "mountain_car")


def _bsuite_task(environment: str, run: str, noise: str) -> KnownTask:
    return KnownTask(
        f"{environment}/{run}_{noise}",
        "RL Unplugged bsuite",
        "DQN (Acme's default), online training run",
        CITATION_2021,
        num_actions=3,
        environment={"random_action_probability": float(noise)},
    )


# The publisher's example is of number 0; other numbers are accepted by `check_bsuite_task`.
BSUITE_TASKS = {
    f"{environment}/0_{noise}": _bsuite_task(environment, "0", noise)
    for environment in _BSUITE_ENVIRONMENTS
    for noise in _BSUITE_NOISES
}


def check_task(name: str, tasks: Mapping[str, KnownTask], what: str) -> KnownTask:
    """Return the task of that name.

    Parameters
    ----------
    name : str
        As the user gave it.
    tasks : mapping
        One of the tables above.
    what : str
        The suite, for the message.

    Raises
    ------
    UsageError
        If there is none; names the nearest match.
    """
    if name in tasks:
        return tasks[name]
    raise UsageError(f"{name!r} is not one of the {len(tasks)} tasks of RL Unplugged {what}; {_hint(name, tasks)}")


def check_bsuite_task(name: str) -> KnownTask:
    """Return the task of a bsuite folder, ``ENVIRONMENT/NUMBER_NOISE``.

    Raises
    ------
    UsageError
        If it is not of that form; names the nearest match.
    """
    found = re.fullmatch(rf"({'|'.join(_BSUITE_ENVIRONMENTS)})/(\d+)_(0\.[0-5])", name)
    return _bsuite_task(*found.groups()) if found else check_task(name, BSUITE_TASKS, "bsuite")


def _hint(name: str, tasks: Iterable[str]) -> str:
    completions = [task for task in tasks if task.startswith(f"{name.rstrip('/')}/")]
    if completions:
        return f"name its run too: {', '.join(completions)}"
    near = difflib.get_close_matches(name.lower(), tasks, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(tasks)}"


def control_suite_shards(task: KnownTask, *, episodes: bool = False) -> ShardSet:
    """Return the files of a control suite task: shuffled pairs of steps, or whole episodes."""
    return ShardSet(f"dm_control_suite{'_episodes' * episodes}/{task.name}", "train", 100)


def locomotion_shards(task: KnownTask, *, episodes: bool = False) -> ShardSet:
    """Return the files of a locomotion task: shuffled sequences of steps, or whole episodes."""
    folder = f"dm_locomotion_episodes/{task.name}" if episodes else f"dm_locomotion/{task.name}/{task.sequences}"
    return ShardSet(folder, "train", 100)


def rwrl_shards(task: KnownTask, challenge: str, percent: int) -> ShardSet:
    """Return the files of a real-world RL task.

    Raises
    ------
    UsageError
        If the challenge is not one of `RWRL_CHALLENGES` or the percentage not one of `RWRL_PERCENTAGES`.
    """
    if (challenge, task.name) not in _RWRL_COUNTS or percent not in RWRL_PERCENTAGES:
        raise UsageError(
            f"challenge {challenge!r} at {percent} percent: expected {' or '.join(RWRL_CHALLENGES)}, and "
            f"{', '.join(map(str, RWRL_PERCENTAGES))} percent"
        )
    folder = f"rwrl/combined_challenge_{challenge}/{_RWRL_DOMAINS[task.name]}/{percent}_percent"
    return ShardSet(folder, "episodes.tfrecord", _RWRL_COUNTS[challenge, task.name][RWRL_PERCENTAGES.index(percent)])


def dmlab_shards(task: KnownTask) -> ShardSet:
    """Return the files of a DM Lab level and run."""
    return ShardSet(f"dmlab/{task.name}", "tfrecord", 500)


def bsuite_shards(task: KnownTask) -> ShardSet:
    """Return the files of a bsuite environment and noise."""
    return ShardSet(f"bsuite/{task.name}", "0_full", 1)
