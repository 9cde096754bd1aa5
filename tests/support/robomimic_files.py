"""robomimic files made by hand with h5py, as robomimic, MimicGen and Isaac Lab lay them out.

Run as a program to write the fixtures of tests/data/robomimic again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Array = np.ndarray[Any, Any]
ENV_ARGS = {"env_name": "Lift", "type": 1, "env_kwargs": {"robots": ["Panda"], "horizon": 400}}


def demo(steps: int, number: int = 0, *, success: int = 1, ends: bool = False, **arrays: Any) -> dict[str, Any]:
    """Return the arrays of a demo under robomimic's names; observation t of demo e shows e and t.

    The last `success` rows reach success: reward 1 and done. With `ends` the last row is done in any case.
    """
    seen = np.stack([np.full(steps + 1, number), np.arange(steps + 1)], axis=1).astype(np.float64)
    image = np.zeros((steps + 1, 4, 4, 3), np.uint8) + np.arange(steps + 1, dtype=np.uint8)[:, None, None, None]
    successful = np.arange(steps) >= steps - success
    plain = {
        "actions": np.linspace(-1, 1, steps * 2).reshape(steps, 2),
        "rewards": successful.astype(np.float64),
        "dones": (successful | (np.arange(steps) == steps - 1) & ends).astype(np.int64),
        "states": np.arange(steps * 3.0).reshape(steps, 3) + number,
        "obs/object": seen[:-1],
        "obs/agentview_image": image[:-1],
        "next_obs/object": seen[1:],
        "next_obs/agentview_image": image[1:],
    }
    return {name: rows for name, rows in (plain | arrays).items() if rows is not None}


def write_demos(
    path: Path,
    demos: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]],
    masks: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    of_demos: Mapping[str, Mapping[str, Any]] | None = None,
    compression: str | None = None,
) -> Path:
    """Write a file; demos without names are ``demo_0``, ``demo_1``, ..."""
    named = demos if isinstance(demos, Mapping) else {f"demo_{number}": arrays for number, arrays in enumerate(demos)}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for name, arrays in named.items():
            group = data.create_group(name)
            for array, rows in arrays.items():
                group.create_dataset(array, data=rows, compression=compression)
            group.attrs["num_samples"] = len(arrays.get("actions", ()))
            group.attrs.update((of_demos or {}).get(name, {}))
        data.attrs["total"] = sum(len(arrays.get("actions", ())) for arrays in named.values())
        data.attrs["env_args"] = json.dumps(ENV_ARGS)
        data.attrs.update(attributes or {})
        for mask, names in (masks or {}).items():
            file[f"mask/{mask}"] = np.array(list(names), "S")
    return path


def isaac_demo(steps: int, number: int = 0) -> dict[str, Any]:
    """Return what Isaac Lab's recorders write: no rewards, no next observations, states and observations nested."""
    seen = np.stack([np.full(steps, number), np.arange(steps)], axis=1).astype(np.float32)
    return {
        "actions": np.full((steps, 7), 0.5, np.float32),
        "processed_actions": np.full((steps, 9), 0.25, np.float32),
        "obs/eef_pos": seen,
        "obs/policy/joint_pos": seen * 2,
        "obs/datagen_info/subtask_term_signals/grasp": np.arange(steps) > 1,
        "initial_state/articulation/robot/joint_position": np.full((1, 9), number, np.float32),
        "states/articulation/robot/joint_position": np.repeat(seen, 5, axis=1)[:, :9],
    }


def write_fixtures(folder: Path) -> None:
    """Write the fixtures."""
    folder.mkdir(parents=True, exist_ok=True)
    demos = {
        "demo_0": demo(5, 0, success=2),
        "demo_2": demo(1, 2, success=0),
        "demo_10": demo(4, 10, success=1),
    }
    masks = {"train": ["demo_0", "demo_10"], "valid": ["demo_2"], "20_percent": ["demo_10", "demo_55"]}
    models = {name: {"model_file": f"<mujoco model='{name}'>{'x' * 5000}</mujoco>"} for name in demos}
    write_demos(folder / "lift.hdf5", demos, masks, of_demos=models)
    write_demos(
        folder / "isaac_lab.hdf5",
        [isaac_demo(3, 0), isaac_demo(2, 1)],
        attributes={"env_args": json.dumps({"env_name": "Isaac-Lift-v0", "type": 2})},
        of_demos={"demo_0": {"success": True, "seed": 7}, "demo_1": {"success": False, "seed": 8}},
    )


if __name__ == "__main__":
    write_fixtures(Path(sys.argv[1]))
