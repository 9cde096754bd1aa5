"""A robomimic file, as its ``SequenceDataset`` reads it: one group of arrays a demonstration.

Format: see `rlbuffers.sources.robomimic.dataset`. robomimic's algorithms for offline RL read ``next_obs``
and do not bootstrap where ``dones`` is 1. ``terminals`` and ``timeouts``, which robomimic does not look at,
are written beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.base import Export, block_rows, episode_blocks, require_episodes
from rlbuffers.exports.episode_arrays import NumberArray
from rlbuffers.exports.kept_steps import KeptSteps
from rlbuffers.exports.newest_frames import newest_frames, next_frames
from rlbuffers.exports.robomimic.places import Places
from rlbuffers.hdf5_writing import written_hdf5
from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODES_GROUP,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
    next_name,
)
from rlbuffers.sources.robomimic.dataset import DATA, DONES, ENV_ARGS, MASK, MASKS, TOTAL
from rlbuffers.sources.robomimic.survey import DEMO_NUMBERS, DERIVED, FINAL_KNOWN, NUM_SAMPLES, column_name
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["RobomimicExport"]

Array = np.ndarray[Any, Any]
_GYM_TYPE = 2  # of robomimic's EnvType
_MAX_ATTRIBUTE_BYTES = 60_000  # HDF5 holds 64 KiB


class RobomimicExport(Export):
    """Whole episodes as demonstrations.

    Where no last observation is known, and there are no rewards or no terminals, as in recordings for imitation,
    ``next_obs`` are left out and all transitions are kept. Else each row gets a next observation: see `KeptSteps`.

    Raises
    ------
    UnsupportedError
        If the buffer has no episodes, or none of which a step would be left.
    """

    suffix = ".hdf5"

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        require_episodes(buffer, "robomimic holds episodes", "tianshou", "d4rl", "npz")
        self._places = Places(buffer)
        self._ends = KeptSteps(buffer)
        self._with_next = self._has_next()
        if not self._with_next:
            self._stops = self._ends.starts + buffer.arrays[EPISODE_LENGTHS].all()
        elif not self._ends.num_episodes:
            raise UnsupportedError(
                f"{buffer.path}: robomimic needs an observation after each action, and no episode has one; export to "
                "d4rl or npz"
            )
        else:
            self._stops = self._ends.stops
        self._unknown = np.isin(self._ends.starts + buffer.arrays[EPISODE_LENGTHS].all() - 1, buffer.rows_without_next)
        self._numbers, self._keeps_numbers = self._numbered()

    def _has_next(self) -> bool:
        """Whether next observations are written: some end is known, or there are values to learn."""
        known = len(self.buffer.rows_without_next) < self.buffer.num_episodes
        needed = (REWARDS, TERMINALS)
        return known or all(
            name in self.buffer.spec.columns and self.buffer.arrays[name].all().any() for name in needed
        )

    def _numbered(self) -> tuple[Array, bool]:
        """Return the number of each demo: that of the source if these ascend, since robomimic sorts by them."""
        if DEMO_NUMBERS in self.buffer.spec.episode_columns:
            numbers = self.buffer.arrays[f"{EPISODES_GROUP}/{DEMO_NUMBERS}"].all()
            if (numbers[0] >= 0) and (np.diff(numbers) > 0).all():
                return numbers, True
        return np.arange(self.buffer.num_episodes), False

    def write(self, path: Path, on_progress: Callable[[int], None]) -> None:
        """Write demo by demo; memory is bounded by a block of rows."""
        with written_hdf5(path, on_progress) as (file, on_progress):
            data = file.create_group(DATA)
            self._write_demos(data, on_progress)
            data.attrs[TOTAL] = int((self._stops - self._ends.starts).sum())
            data.attrs[ENV_ARGS] = json.dumps(self._env_args())
            for name, scalar in self._attributes().items():
                data.attrs[name] = scalar
            for name, numbers in self._masks().items():
                names = [f"demo_{number}" for number in numbers]
                file.create_dataset(f"{MASK}/{name}", data=np.array(names, "S"))

    def _env_args(self) -> dict[str, Any]:
        environment = self.buffer.metadata.get("environment", {})
        known = environment.get(ENV_ARGS)
        unknown: dict[str, Any] = {"env_name": environment.get("id") or "", "type": _GYM_TYPE, "env_kwargs": {}}
        return known if isinstance(known, dict) else unknown

    def _attributes(self) -> dict[str, Any]:
        """Return the scalars that the group can have as attributes."""
        found: dict[str, Any] = {}
        for name, scalar in self.buffer.metadata.get("scalars", {}).items():
            is_text = scalar["dtype"] == "str"
            if name not in (TOTAL, ENV_ARGS) and (not is_text or len(scalar["value"]) < _MAX_ATTRIBUTE_BYTES // 4):
                found[name] = scalar["value"] if is_text else np.array(scalar["value"], scalar["dtype"])
        return found

    def _masks(self) -> dict[str, Array]:
        """Return the numbers of the demos of each mask, of those that are written."""
        if not self._keeps_numbers:
            return {}
        written = self._numbers[self._stops > self._ends.starts]
        masks = {name: np.intersect1d(self.buffer.extra(name), written) for name in self._mask_names()}
        return {name.removeprefix(f"{MASKS}/"): numbers for name, numbers in masks.items() if len(numbers)}

    def _mask_names(self) -> list[str]:
        extras = self.buffer.spec.extras
        return [name for name in extras if name.startswith(f"{MASKS}/") and extras[name].dtype.kind in "iu"]

    def _write_demos(self, data: h5py.Group, on_progress: Callable[[int], None]) -> None:
        starts, stops, step = self._ends.starts, self._stops, block_rows(self.buffer)
        facts = {
            name: self.buffer.arrays[f"{EPISODES_GROUP}/{name}"].all()
            for name in (*self._places.arrays, *self._places.attributes)
        }
        for first, last in episode_blocks(starts, stops, step):
            made = {
                episode: self._make(data, episode, {name: rows[episode] for name, rows in facts.items()})
                for episode in range(first, last)
                if starts[episode] < stops[episode]
            }
            end = int(stops[last - 1])
            for begin in range(int(starts[first]), end, step):  # more than once for one long episode only
                rows = self._rows(begin, min(begin + step, end))
                for episode, arrays in made.items():
                    part = slice(max(int(starts[episode]) - begin, 0), max(int(stops[episode]) - begin, 0))
                    for name, array in arrays.items():
                        array.append(rows[name][part])
            on_progress(end)

    def _make(self, data: h5py.Group, episode: int, facts: Mapping[str, Any]) -> dict[str, NumberArray]:
        """Make the group of an episode with what it has once, and the arrays that its rows go to."""
        demo = data.create_group(f"demo_{self._numbers[episode]}")
        count = int(self._stops[episode] - self._ends.starts[episode])
        demo.attrs[NUM_SAMPLES] = count
        if self._with_next and self._unknown[episode] and not self._ends.shortened[episode]:
            demo.attrs[FINAL_KNOWN] = False
        for name, place in self._places.attributes.items():
            demo.attrs[place] = facts[name]
        for name, place in self._places.arrays.items():
            demo[place] = facts[name]
        arrays = {
            place: NumberArray(demo, place, count, column.dtype, column.shape)
            for place, column in self._arrays().items()
        }
        if DONES not in self._places.columns.values():
            demo[DONES].attrs[DERIVED] = TERMINALS
        return arrays

    def _arrays(self) -> dict[str, ColumnSpec]:
        """Return what goes into a demo, one row a step, by its name there."""
        spec = self.buffer.spec
        found = {place: spec.columns[name] for name, place in self._places.columns.items()}
        if not found[ACTIONS].shape:  # robomimic reads vectors
            found[ACTIONS] = ColumnSpec(ACTIONS, found[ACTIONS].dtype, (1,))
        found.setdefault(DONES, ColumnSpec(DONES, np.dtype(np.int64)))
        for name, key in self._places.keys.items():
            column = spec.columns[name]
            shape = (*column.shape[1:], 1) if spec.stack else column.shape
            for group in ("obs", "next_obs") if self._with_next else ("obs",):
                found[f"{group}/{key}"] = ColumnSpec(name, column.dtype, shape)
        return found

    def _rows(self, start: int, stop: int) -> dict[str, Array]:
        """Read rows by their names in a demo."""
        numbers = np.arange(start, stop)
        rows = self.buffer.rows(numbers, list(self._places.columns))
        found = {place: rows[name] for name, place in self._places.columns.items()}
        found[ACTIONS] = found[ACTIONS].reshape(len(numbers), *self._arrays()[ACTIONS].shape)
        if DONES not in found:
            terminals = found.get(TERMINALS, np.zeros(len(numbers), bool))
            found[DONES] = terminals.astype(np.int64)
        if TIMEOUTS in found and self._with_next:
            found[TIMEOUTS] = found[TIMEOUTS] | np.isin(numbers, self._ends.cut_rows)
        return found | self._observations(numbers)

    def _observations(self, numbers: Array) -> dict[str, Array]:
        keys = self._places.keys
        if self.buffer.spec.stack:
            ((_, key),) = keys.items()
            found = {f"obs/{key}": newest_frames(self.buffer, numbers)[..., None]}
            return found | (
                {f"next_obs/{key}": next_frames(self.buffer, numbers)[..., None]} if self._with_next else {}
            )
        following = [next_name(name) for name in keys] if self._with_next else []
        rows = self.buffer.rows(numbers, [*keys, *following])
        found = {f"obs/{key}": rows[name] for name, key in keys.items()}
        return found | ({f"next_obs/{key}": rows[next_name(name)] for name, key in keys.items()} if following else {})

    def expected(self, before: Tally) -> Tally:
        """Take off the transitions without a next observation, where these are written."""
        return self._ends.expected(before) if self._with_next else before

    def tally(self, path: Path) -> Tally:
        """Count the groups of the file."""
        transitions, reward_sum = 0, 0.0
        with h5py.File(path, "r") as file:
            for name in file[DATA]:  # `values` would have None for what cannot be read
                rewards = file[DATA][name][REWARDS][:]
                transitions += len(rewards)
                reward_sum += total_reward(rewards)
            return Tally(len(file[DATA]), transitions, reward_sum)

    def names_read_again(self) -> dict[str, str]:
        """See base class."""
        observed = {name: column_name(f"obs/{key}") for name, key in self._places.keys.items()}
        return observed | {name: column_name(place) for name, place in self._places.columns.items()}

    def left_out(self) -> Sequence[str]:
        """Name the columns, the rows and the marks that have no place."""
        spec, found = self.buffer.spec, list(self._places.left_out)
        if not spec.columns[ACTIONS].shape:
            found.append("that an action is one number: robomimic reads vectors, so it is a vector of one")
        if spec.stack:
            found.append(
                f"the stacking: each step has its newest frame only; robomimic makes stacks of {spec.stack} with "
                "frame_stack"
            )
        masks = [f"{MASKS}/{name}" for name in self._masks()]
        whole = [name for name in spec.extras if name not in masks]
        texts = set(self.buffer.metadata.get("scalars", {})) - set(self._attributes())
        if whole or texts:
            found.append(f"of the whole buffer: {listed([*whole, *sorted(texts)])}")
        if not self._keeps_numbers and DEMO_NUMBERS in spec.episode_columns:
            found.append("the numbers of the demos, which do not ascend: they are numbered anew")
        if ENV_ARGS not in self.buffer.metadata.get("environment", {}):
            found.append("how to make the environment, which robomimic's rollouts need: it is not known")
        if not self._with_next:
            found.append(
                "next_obs: what followed the last action of an episode is not known. Imitation needs none; set "
                "train.hdf5_load_next_obs to false in robomimic"
            )
            return found
        return [*found, *self._ends.left_out()]
