"""The datasets that D4RL published: where each is, what its file is like, and how scores are normalized.

Fu et al., "D4RL: Datasets for Deep Data-Driven Reinforcement Learning", 2020, arXiv 2004.07219. One
HDF5 file a dataset. Where names follow a rule, the table is built by the rule. Sizes and SHA-256 are
those that TensorFlow Datasets recorded; a file that was uploaded again since differs.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rlbuffers.errors import UsageError
from rlbuffers.sources.d4rl.checksums import NUM_BYTES, SHA256

__all__ = ["D4RLDataset", "all_datasets", "dataset_of_file", "find_dataset"]

Scores = tuple[float, float]
Timeouts = Literal["horizon", "none", "unknown"]
_BASE_URL = "https://rail.eecs.berkeley.edu/datasets/offline_rl"


@dataclass(frozen=True)
class D4RLDataset:
    """One published file under one of its names.

    Parameters
    ----------
    id : str
        D4RL's name, such as ``halfcheetah-medium-v2``.
    family : str
        ``gym``, ``antmaze``, ``maze2d``, ``adroit``, ``kitchen``, ``flow``, ``carla`` or ``minigrid``.
    path : str
        Place below the base URL.
    horizon : int
        The environment's limit in steps. Episodes in the file may be longer.
    scores : (float, float), optional
        Returns that count as 0 and as 1, where D4RL states them.
    level : str
        What made the data, as the id says: ``random``, ``medium``, ``human``, ``play``, ...
    environment : str
        What the environment is called; D4RL's own id where it has no other name.
    row_sizes : (int, int), optional
        Numbers in an observation and in an action, where they are the same in all files of the environment.
    timeouts : {"horizon", "none", "unknown"}
        Where episodes are cut in a file without ``timeouts``: every `horizon` steps, nowhere, or at
        places that cannot be told.
    terminals_end_episodes : bool
        False where a terminal marks a goal and play goes on.
    num_bytes, sha256 : optional
        Of the file, where recorded.
    """

    id: str
    family: str
    path: str
    horizon: int
    scores: Scores | None
    level: str
    environment: str = ""
    row_sizes: tuple[int, int] | None = None
    timeouts: Timeouts = "horizon"
    terminals_end_episodes: bool = True
    num_bytes: int | None = None
    sha256: str | None = None

    @property
    def url(self) -> str:
        """Where the file is published."""
        return f"{_BASE_URL}/{self.path}"

    @property
    def file_name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def version(self) -> str:
        """``v0``, ``v1`` or ``v2``."""
        return self.id.rpartition("-")[2]


def find_dataset(dataset_id: str) -> D4RLDataset:
    """Return the dataset of this id.

    Raises
    ------
    UsageError
        If there is none; names the nearest one.
    """
    table = all_datasets()
    if dataset_id in table:
        return table[dataset_id]
    near = difflib.get_close_matches(dataset_id.lower(), table, n=1)
    hint = f"did you mean {near[0]}?" if near else "ids look like halfcheetah-medium-v2, antmaze-umaze-v2, pen-human-v1"
    raise UsageError(f"{dataset_id!r} is not one of the {len(table)} datasets of D4RL; {hint}")


def dataset_of_file(name: str) -> D4RLDataset | None:
    """Return the dataset that the name of a file says: the name under which it was published, or its id.

    Capitals, ``_`` for ``-`` in an id, ``.h5``, a ``d4rl-`` before it and the ``(1)`` of a browser's second download
    make no difference. Of several datasets that share a published file it is the first one.
    """
    stem = _COPY.sub("", _SUFFIX.sub("", name.lower())).removeprefix("d4rl").lstrip("-_. ")
    return _datasets_by_stem().get(stem) or all_datasets().get(stem.replace("_", "-"))


_SUFFIX = re.compile(r"\.(hdf5|h5)$")
_COPY = re.compile(r" ?\(\d+\)$")


@functools.cache
def _datasets_by_stem() -> dict[str, D4RLDataset]:
    """Return the datasets by the names of their files."""
    found: dict[str, D4RLDataset] = {}
    for dataset in all_datasets().values():
        found.setdefault(_SUFFIX.sub("", dataset.file_name.lower()), dataset)
    return found


@functools.cache
def all_datasets() -> dict[str, D4RLDataset]:
    """Return every dataset by id."""
    made = (_gym, _antmaze, _maze2d, _adroit, _kitchen, _flow, _carla, _bullet, _minigrid)
    return {found.id: _with_record(found) for family in made for found in family()}


def _with_record(found: D4RLDataset) -> D4RLDataset:
    recorded = found.id.replace("-longhorizon", "")  # the same file
    return replace(
        found,
        environment=found.environment or found.id,
        num_bytes=NUM_BYTES.get(recorded),
        sha256=SHA256.get(recorded),
    )


# Environment, reference scores, and numbers in an observation and in an action.
_MUJOCO: dict[str, tuple[str, Scores, tuple[int, int]]] = {
    "halfcheetah": ("HalfCheetah-v2", (-280.178953, 12135.0), (17, 6)),
    "hopper": ("Hopper-v2", (-20.272305, 3234.3), (11, 3)),
    "walker2d": ("Walker2d-v2", (1.629008, 4592.3), (17, 6)),
    "ant": ("Ant-v2", (-325.6, 3879.7), (111, 8)),
}
_LEVELS_V0 = ("random", "medium", "expert", "medium-replay", "medium-expert")
_LEVELS = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")


def _gym() -> Iterator[D4RLDataset]:
    for env, (gym_id, scores, sizes) in _MUJOCO.items():
        for level in _LEVELS_V0:
            stem = "walker_mixed" if (env, level) == ("walker2d", "medium-replay") else f"{env}_{_level_v0(level)}"
            path = f"gym_mujoco/{stem}.hdf5"
            yield D4RLDataset(f"{env}-{level}-v0", "gym", path, 1000, scores, level, gym_id, sizes)
        for version in ("v1", "v2"):
            for level in _LEVELS:
                path = f"gym_mujoco_{version}/{env}_{level.replace('-', '_')}-{version}.hdf5"
                yield D4RLDataset(f"{env}-{level}-{version}", "gym", path, 1000, scores, level, gym_id, sizes)
    gym_id, _, sizes = _MUJOCO["ant"]
    path = "gym_mujoco/ant_random_expert.hdf5"
    yield D4RLDataset("ant-random-expert-v0", "gym", path, 1000, None, "random-expert", gym_id, sizes)


def _level_v0(level: str) -> str:
    return "mixed" if level == "medium-replay" else level.replace("-", "_")


# Of each maze: its name in the files of v0 and v2, in those of v1 and eval, and the horizon.
_ANT_MAZES = {"umaze": ("u-maze", 700), "medium": ("big-maze", 1000), "large": ("hardest-maze", 1000)}
# Task to (maze, many starts, many goals). The eval files of the larger mazes have the goals the other way round.
_ANT_TASKS = {
    "umaze": ("umaze", False, False),
    "umaze-diverse": ("umaze", True, True),
    "medium-play": ("medium", True, False),
    "medium-diverse": ("medium", True, True),
    "large-play": ("large", True, False),
    "large-diverse": ("large", True, True),
}


def _antmaze() -> Iterator[D4RLDataset]:
    for task, (maze, starts, goals) in _ANT_TASKS.items():
        old_name, horizon = _ANT_MAZES[maze]
        rest = f"noisy_multistart_{starts}_multigoal_{goals}_sparse"
        eval_goals = goals if maze == "umaze" else not goals
        paths = {
            f"antmaze-{task}-v0": f"ant_maze_new/Ant_maze_{old_name}_{rest}.hdf5",
            f"antmaze-{task}-v1": f"ant_maze_v1/Ant_maze_{maze}_{rest}.hdf5",
            f"antmaze-{task}-v2": f"ant_maze_v2/Ant_maze_{old_name}_{rest}_fixed.hdf5",
            f"antmaze-eval-{task}-v0": (
                f"ant_maze_new/Ant_maze_{maze}_eval_noisy_multistart_True_multigoal_{eval_goals}_sparse.hdf5"
            ),
        }
        level = task.removeprefix(maze).removeprefix("-") or "fixed goal"
        for name, path in paths.items():
            yield D4RLDataset(
                name,
                "antmaze",
                path,
                horizon,
                (0.0, 1.0),
                level,
                row_sizes=(29, 8),
                timeouts="unknown",
                terminals_end_episodes=False,
            )


# Suffix of the id to (horizon, scores), by maze; sparse rewards, then dense ones.
_POINT_MAZES: dict[str, tuple[int, Scores, Scores]] = {
    "open-v0": (150, (0.01, 20.66), (11.17817, 27.166538620695782)),
    "umaze-v0": (150, (0.94, 62.6), (23.249793, 81.78995240126592)),
    "medium-v0": (250, (5.77, 85.14), (19.47762, 96.03474232952358)),
    "large-v0": (600, (4.83, 191.99), (27.38831, 215.09965671563742)),
    "umaze-v1": (300, (23.85, 161.86), (68.537689, 193.66285642381482)),
    "medium-v1": (600, (13.13, 277.39), (44.264742, 297.4552547777125)),
    "large-v1": (800, (6.7, 273.99), (30.569041, 303.4857382709002)),
    "eval-umaze-v1": (300, (36.63, 141.4), (56.95455, 178.21373133248397)),
    "eval-medium-v1": (600, (13.07, 204.93), (42.28578, 235.5658957482388)),
    "eval-large-v1": (800, (16.4, 302.22), (56.95455, 326.09647655082637)),
}
_BULLET_MAZES: dict[str, tuple[int, Scores]] = {
    "open": (150, (8.75, 64.15)),
    "umaze": (300, (32.46, 153.99)),
    "medium": (600, (14.87, 238.05)),
    "large": (800, (1.82, 285.92)),
}


def _maze2d() -> Iterator[D4RLDataset]:
    for name, (horizon, *both) in _POINT_MAZES.items():
        maze, _, version = name.rpartition("-")
        end = "" if version == "v0" else f"-{version}"
        for kind, infix, scores in zip(("sparse", "dense"), ("", "-dense"), both, strict=True):
            path = f"maze2d/maze2d-{maze}-{kind}{end}.hdf5"
            yield _stream(f"maze2d-{maze}{infix}-{version}", path, horizon, scores)
    for maze, (horizon, scores) in _BULLET_MAZES.items():
        yield _stream(f"bullet-maze2d-{maze}-v0", f"bullet/bullet-maze2d-{maze}-sparse.hdf5", horizon, scores)


def _stream(name: str, path: str, horizon: int, scores: Scores) -> D4RLDataset:
    """Describe a dataset of one long trajectory from goal to goal."""
    return D4RLDataset(
        name,
        "maze2d",
        path,
        horizon,
        scores,
        "planner",
        row_sizes=None if name.startswith("bullet") else (4, 2),
        timeouts="none",
        terminals_end_episodes=False,
    )


# Hand to (horizon, horizon of the long version, scores, numbers in an observation and in an action).
_HANDS: dict[str, tuple[int, int, Scores, tuple[int, int]]] = {
    "pen": (100, 200, (96.262799, 3076.8331017826877), (45, 24)),
    "hammer": (200, 600, (-274.856578, 12794.134825156867), (46, 26)),
    "door": (200, 300, (-56.512833, 2880.5693087298737), (39, 28)),
    "relocate": (200, 500, (-6.425911, 4233.877797728884), (39, 30)),
}
_HAND_FILES_V0 = {"human": "v0_demos_clipped", "cloned": "demos-v0-bc-combined", "expert": "v0_expert_clipped"}


def _adroit() -> Iterator[D4RLDataset]:
    for hand, (horizon, long_horizon, scores, sizes) in _HANDS.items():
        for level, stem in _HAND_FILES_V0.items():
            # Demonstrations are longer than the horizon, and cloned data hold them too.
            rule: Timeouts = "horizon" if level == "expert" else "unknown"
            for version, path in (("v0", f"hand_dapg/{hand}-{stem}"), ("v1", f"hand_dapg_v1/{hand}-{level}-v1")):
                name = f"{hand}-{level}-{version}"
                found = D4RLDataset(name, "adroit", f"{path}.hdf5", horizon, scores, level, name, sizes, timeouts=rule)
                yield found
                if level == "human":
                    name = f"{hand}-human-longhorizon-{version}"
                    yield replace(found, id=name, environment=name, horizon=long_horizon)


def _kitchen() -> Iterator[D4RLDataset]:
    for level, stem in {
        "complete": "mini_kitchen_microwave_kettle_light_slider",
        "partial": "kitchen_microwave_kettle_light_slider",
        "mixed": "kitchen_microwave_kettle_bottomburner_light",
    }.items():
        path = f"kitchen/{stem}-v0.hdf5"
        name = f"kitchen-{level}-v0"
        yield D4RLDataset(name, "kitchen", path, 280, (0.0, 4.0), level, name, (60, 9), timeouts="none")


def _flow() -> Iterator[D4RLDataset]:
    for road, horizon, scores in (("ring", 500, (-165.22, 24.42)), ("merge", 750, (118.67993, 330.03179))):
        for level, stem in (("random", "random"), ("controller", "idm")):
            path = f"flow/flow-{road}-v0-{stem}.hdf5"
            yield D4RLDataset(f"flow-{road}-{level}-v0", "flow", path, horizon, scores, level)


def _carla() -> Iterator[D4RLDataset]:
    lane, town = (-0.8503839912088142, 1023.5784385429523), (-114.81579500772153, 2440.1772022247314)
    for name, stem, horizon, scores in (
        ("lane", "lane_follow_flat", 250, lane),
        ("town", "town_subsamp_flat", 1000, town),
        ("town-full", "town_flat", 1000, None),
    ):
        yield D4RLDataset(f"carla-{name}-v0", "carla", f"carla/carla_{stem}-v0.hdf5", horizon, scores, "")


def _bullet() -> Iterator[D4RLDataset]:
    for env, scores in (
        ("halfcheetah", (-1275.766996, 2381.6725)),
        ("hopper", (20.058972, 1441.8059623430963)),
        ("ant", (373.705955, 2650.495)),
        ("walker2d", (16.523877, 1623.6476303317536)),
    ):
        for level in _LEVELS_V0:
            path = f"bullet/bullet-{env}_{level.replace('-', '_')}.hdf5"
            yield D4RLDataset(f"bullet-{env}-{level}-v0", "gym", path, 1000, scores, level)


def _minigrid() -> Iterator[D4RLDataset]:
    for infix, stem, level in (("", "", ""), ("-random", "_random", "random")):
        path = f"minigrid/minigrid4rooms{stem}.hdf5"
        yield D4RLDataset(f"minigrid-fourrooms{infix}-v0", "minigrid", path, 50, (0.01442, 2.89685), level)
