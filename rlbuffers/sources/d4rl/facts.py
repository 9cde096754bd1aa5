"""What is known of a D4RL file beyond its arrays: the metadata's facts, and the known faults of each family.

The faults are those that users and the generating scripts tell of; data_cards/d4rl.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.schema import ACTIONS, OBSERVATIONS, ColumnSpec
from rlbuffers.sources.d4rl.datasets import D4RLDataset
from rlbuffers.task_ends import ending_facts

__all__ = ["checked_dataset", "file_warnings", "known_facts", "policy_notes"]

Array = np.ndarray[Any, Any]
_LICENSE = "CC-BY-4.0"
_CITATION = (
    "@misc{fu2020d4rl, title={D4RL: Datasets for Deep Data-Driven Reinforcement Learning}, "
    "author={Fu, Justin and Kumar, Aviral and Nachum, Ofir and Tucker, George and Levine, Sergey}, "
    "year={2020}, eprint={2004.07219}, archivePrefix={arXiv}, primaryClass={cs.LG}}"
)
_POLICIES = {
    ("gym", "random"): "randomly initialized policy",
    ("gym", "medium"): "SAC, stopped early",
    ("gym", "expert"): "SAC, fully trained",
    ("gym", "medium-replay"): "SAC's replay buffer up to the medium level",
    ("gym", "full-replay"): "SAC's replay buffer of a whole training",
    ("gym", "medium-expert"): "SAC, half medium and half expert",
    ("antmaze", ""): "goal-reaching policy with noise",
    ("maze2d", ""): "planner with a controller",
    ("adroit", "human"): "human demonstrations",
    ("adroit", "cloned"): "half behavior cloning of the demonstrations, half the demonstrations",
    ("adroit", "expert"): "DAPG",
    ("kitchen", ""): "human demonstrations",
}
_FAMILY_NOTES = {
    "antmaze": [
        "A terminal marks a state near the goal that is used for evaluation, not the end of a trajectory: runs of "
        "terminals stand inside episodes, which only timeouts end.",
        "Trajectories have up to 1,001 steps, whatever the environment's limit.",
    ],
    "maze2d": [
        "The file is one long trajectory. A timeout marks that a navigation goal was reached; play goes on from there. "
        "Episodes are cut at timeouts all the same: the two rows may be duplicates, so what follows the last action "
        "is not certain, and it is left unknown.",
        "Rewards are those of the state in which an action was taken, one step earlier than the environment's.",
    ],
    "adroit": [],
    "kitchen": [
        "Terminals mark the ends of demonstrations, where nothing terminated: do not take them for states without "
        "a future.",
        "Elements 30 to 59 of an observation were overwritten with the task's goal, and rewards were computed without "
        "removing finished subtasks.",
    ],
    "carla": ["Observations are flattened images of 48 x 48 x 3."],
}


def known_facts(dataset: D4RLDataset | None) -> dict[str, Any]:
    """Return the metadata that follow from which dataset it is; empty facts if that is not known."""
    if dataset is None:
        return {"environment": {}, "behavior_policy": {}, "source": {}, "license": "", "citation": "", "notes": []}
    environment: dict[str, Any] = {"id": dataset.environment, "suite": "D4RL", "horizon": dataset.horizon}
    environment |= ending_facts(environment)
    if dataset.scores is not None:
        environment["reference_scores"] = dict(zip(("min", "max"), dataset.scores, strict=True))
    return {
        "environment": environment,
        "behavior_policy": _behavior_policy(dataset),
        "source": {"dataset": dataset.id, "published_at": dataset.url},
        "license": _LICENSE,
        "citation": _CITATION,
        "notes": [*_FAMILY_NOTES.get(dataset.family, []), *_special_notes(dataset)],
    }


def _behavior_policy(dataset: D4RLDataset) -> dict[str, str]:
    name = _POLICIES.get((dataset.family, dataset.level)) or _POLICIES.get((dataset.family, ""))
    return {**({"name": name} if name else {}), **({"level": dataset.level} if dataset.level else {})}


def _special_notes(dataset: D4RLDataset) -> list[str]:
    """Tell the faults of single versions and levels."""
    found = []
    name, version, level = dataset.id, dataset.version, dataset.level
    gym = dataset.family == "gym" and not name.startswith("bullet")
    if name == "hopper-medium-expert-v0":
        found.append("The file is reported to have 1,200,919 rows: expert data and the replay buffer, not medium.")
    if name in ("hopper-medium-v1", "hopper-expert-v1"):
        found.append("The files of hopper-medium-v1 and hopper-expert-v1 were exchanged on the server for a time.")
    if gym and version == "v1":
        found.append("infos/qpos is reported to be one step off.")
    if gym and version == "v2":
        found.append(
            "infos/qpos and infos/qvel were rebuilt from observations: coordinates that are not observed (the "
            "position of the root along x, for Ant also along y) are not the real ones."
        )
    if gym and level.endswith("replay"):
        found.append("Timeouts come from the log of the training and are not always marked.")
    if dataset.family == "antmaze" and version == "v0":
        found.append("Timeouts of v0 are out of step with the true resets; v2 corrects them.")
    if name.startswith("antmaze-umaze-diverse"):
        found.append("Each trajectory has at most one positive reward here, not a run of them.")
    if name == "maze2d-eval-large-dense-v1":
        found.append("The lower reference score equals that of maze2d-eval-umaze-dense-v1, perhaps by mistake.")
    if dataset.family == "adroit" and level == "human":
        found.append("Demonstrations are longer than the environment's limit, and most end by a timeout.")
    if dataset.family == "adroit" and level == "cloned":
        found.append("The first half are rollouts of a cloned policy, the rest repeats the human demonstrations.")
    if name.startswith("carla-town"):
        found.append("Observations are reported to be identical from element 16 on.")
    return found


def checked_dataset(
    dataset: D4RLDataset | None, columns: Mapping[str, ColumnSpec], file_name: str, *, by_name: bool
) -> tuple[D4RLDataset | None, list[str], list[str]]:
    """Hold what a file is said to be against the size of its rows.

    Parameters
    ----------
    dataset : D4RLDataset, optional
        What it is said to be.
    columns : mapping of name to ColumnSpec
        The file's.
    file_name : str
        For the sentences.
    by_name : bool
        Whether only the file's name says so. A name that the rows contradict is not believed.

    Returns
    -------
    dataset : D4RLDataset or None
        What the file is taken for.
    warnings, notes : list of str
        What a user must know of that.
    """
    if dataset is None:
        return None, [], []
    said = [f"That this is {dataset.id} is said by the name of the file only."] if by_name else []
    if dataset.row_sizes is None:
        return dataset, [], said
    unlike = {
        name: size
        for name, size in zip((OBSERVATIONS, ACTIONS), dataset.row_sizes, strict=True)
        if name in columns and columns[name].shape != (size,)
    }
    if not unlike:
        return dataset, [], said
    here = " and ".join(f"{name} of shape {columns[name].shape}" for name in unlike)
    found = f"{file_name} has {here} where {dataset.id} has {' and '.join(f'({size},)' for size in unlike.values())}"
    if by_name:
        return None, [f"{found}: it was read as a file of unknown origin, whatever its name says."], []
    return dataset, [f"{found}: it seems to be another dataset than the one that was named."], []


def file_warnings(dataset: D4RLDataset | None, facts: Mapping[str, Any]) -> list[str]:
    """Compare a file's size and SHA-256 with those that were recorded when it was published."""
    if dataset is None:
        return []
    if dataset.num_bytes not in (None, facts["bytes"]):
        return [
            f"{facts['name']} has {facts['bytes']:,} bytes; TensorFlow Datasets recorded {dataset.num_bytes:,} for "
            f"{dataset.id}. It is another upload, or another file."
        ]
    if dataset.sha256 not in (None, facts["sha256"]):
        return [
            f"{facts['name']} has SHA-256 {facts['sha256']}; TensorFlow Datasets recorded {dataset.sha256} for "
            f"{dataset.id}. The file may be damaged; fetch it again."
        ]
    return []


def policy_notes(extras: Mapping[str, Array]) -> list[str]:
    """Say which way round the weight matrices of a stored policy are; most files differ from adroit's cloned ones."""
    pairs = [
        (weight, extras[f"{name.removesuffix('weight')}bias"])
        for name, weight in extras.items()
        if name.endswith("/weight") and f"{name.removesuffix('weight')}bias" in extras
    ]
    told = [weight.shape[0] == len(bias) for weight, bias in pairs if weight.ndim == 2 and len(set(weight.shape)) == 2]
    if not told:
        return []
    if all(told):
        return ["The policy's weights are (outputs, inputs): a layer is weight @ x + bias."]
    if not any(told):
        return ["The policy's weights are (inputs, outputs), unlike most: a layer is x @ weight + bias."]
    return [
        "Some of the policy's weights are (outputs, inputs), others (inputs, outputs); compare them with the biases."
    ]
