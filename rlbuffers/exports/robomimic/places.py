"""Where in a demo of a robomimic file the parts of a buffer go; the way back is in the source's survey."""

from __future__ import annotations

from collections.abc import Mapping

from rlbuffers.listing import listed
from rlbuffers.reader import Buffer
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    is_observation,
)
from rlbuffers.sources.robomimic.dataset import DONES
from rlbuffers.sources.robomimic.survey import DEMO_NUMBERS, FINAL_KNOWN, INITIAL_STATE, NUM_SAMPLES

__all__ = ["Places"]

# The one key of what is no dict: robomimic's own conversion of D4RL has it too.
_ONLY_KEY = "flat"
_INFOS = "infos/"
_CORE = (ACTIONS, REWARDS, TERMINALS, TIMEOUTS)
_GROUPS = {"obs", "next_obs", INITIAL_STATE}


class Places:
    """Names in a demo for columns and facts of a buffer.

    Parameters
    ----------
    buffer : Buffer
        Of the ``episodes`` layout.

    Attributes
    ----------
    keys : mapping of str to str
        Observation columns to keys below ``obs`` and ``next_obs``; no key has a ``/``.
    columns : mapping of str to str
        All other columns that have a place to the names of their arrays.
    arrays, attributes : mapping of str to str
        What each episode has once to the name of an array, or of an attribute, of its demo.
    left_out : list of str
        A sentence for each kind of thing that has no place, or not its own name.
    """

    def __init__(self, buffer: Buffer) -> None:
        spec = buffer.spec
        self.left_out: list[str] = []
        self.keys = self._keys_of(spec.observation_names)
        others = [name for name in spec.columns if not is_observation(name)]
        self.columns: dict[str, str] = {name: name for name in others if name in _CORE}
        taken = {*_GROUPS, *_CORE, DONES}
        lost, renamed = [], []
        for name in others:
            place = name.removeprefix(_INFOS)
            if name in _CORE:
                continue
            if name == f"{_INFOS}{DONES}" and spec.columns[name].shape == ():
                self.columns[name] = DONES
            elif _in_the_way(place, taken):
                lost.append(name)
            else:
                self.columns[name] = place
                taken.add(place)
                if place == name:
                    renamed.append(name)
        if lost:
            self.left_out.append(f"columns whose names mean something else there: {listed(lost)}")
        if renamed:
            self.left_out.append(f"that columns are not infos: {listed(renamed)}")
        self.arrays, self.attributes = self._facts(buffer, taken)

    def _keys_of(self, observed: list[str]) -> dict[str, str]:
        """Name the observations; robomimic takes a key apart at ``/``."""
        keys = {name: name.removeprefix(OBSERVATIONS).lstrip("/").replace("/", "_") or _ONLY_KEY for name in observed}
        if len(set(keys.values())) < len(keys):
            keys = {name: f"{key}_{number}" for number, (name, key) in enumerate(keys.items())}
        changed = {name: key for name, key in keys.items() if f"{OBSERVATIONS}/{key}" != name}
        if changed:
            told = listed(f"{name} (now obs/{key})" for name, key in changed.items())
            self.left_out.append(f"the names of observations: {told}")
        return keys

    def _facts(self, buffer: Buffer, taken: set[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        lengths = {int(length) for length in buffer.arrays[EPISODE_LENGTHS].all()}
        arrays, attributes, lost = {}, {}, []
        for name, column in buffer.spec.episode_columns.items():
            if name == DEMO_NUMBERS:
                continue
            initial = name.startswith(f"{INITIAL_STATE}/")
            # As an array it would look like one that goes along with the steps.
            alone = column.shape == () or column.shape[0] in lengths
            if initial or (not alone and not _in_the_way(name, taken)):
                arrays[name] = name
            elif name not in (NUM_SAMPLES, FINAL_KNOWN):
                attributes[name] = name
            else:
                lost.append(name)
        if lost:
            self.left_out.append(f"what each episode has once: {listed(lost)}")
        return arrays, attributes


def _in_the_way(name: str, taken: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in taken)
