"""Which feature of an RLDS dataset becomes which column, and an Example as an `Episode`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.schema import (
    ACTIONS,
    DISCOUNTS,
    EPISODES_GROUP,
    EXTRAS_GROUP,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    TIMEOUTS,
    ColumnSpec,
)
from rlbuffers.sources.tfds.atari import as_played
from rlbuffers.sources.tfds.endings import Ending
from rlbuffers.sources.tfds.features import Leaf

__all__ = ["STEPS", "Plan", "RLDSDecoder", "RawEpisode", "make_plan"]

Array = np.ndarray[Any, Any]
STEPS = "steps"
_FLAGS = ("is_first", "is_last", "is_terminal")
_RENAMED = {"reward": REWARDS, "discount": DISCOUNTS}
_TAKEN = {
    *(OBSERVATIONS, NEXT_OBSERVATIONS, ACTIONS, REWARDS, TERMINALS, TIMEOUTS, DISCOUNTS),
    *(EPISODES_GROUP, EXTRAS_GROUP, FRAMES, STACK_INDEX, "next_overrides"),
}
_TAKEN_FACTS = {"starts", "lengths", "returns", "whole", "final_known", "final_observations"}


@dataclass(frozen=True)
class Plan:
    """The features that are read, by the names that they get.

    Parameters
    ----------
    observations, columns, facts : mapping of name to Leaf
        Of observations, of the other columns of steps, and of what an episode has once.
    flags : mapping of name to Leaf
        ``terminals`` and ``timeouts`` where the dataset has these beside RLDS's own flags.
    is_terminal : Leaf, optional
        RLDS's own flag.
    left_out : list of str
        Sentences about features that cannot be read.
    """

    observations: Mapping[str, Leaf]
    columns: Mapping[str, Leaf]
    facts: Mapping[str, Leaf]
    flags: Mapping[str, Leaf]
    is_terminal: Leaf | None
    left_out: Sequence[str]

    @property
    def keys(self) -> set[str]:
        """Names of the features of an Example that are needed to build an episode."""
        kinds = (self.observations, self.columns, self.facts, self.flags)
        terminal = [] if self.is_terminal is None else [self.is_terminal]
        return {leaf.key for leaf in [*(leaf for kind in kinds for leaf in kind.values()), *terminal]}

    def column_specs(self, spaces: Mapping[str, Any]) -> list[ColumnSpec]:
        """Describe the columns; `spaces` by name come first, the number of a label's classes after them.

        Raises
        ------
        SpecError
            If a name or a space cannot be stored.
        """
        specs = [ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)]
        for name, leaf in {**self.observations, **self.columns}.items():
            shape = () if name == REWARDS else leaf.row_shape
            labels = {"type": "discrete", "n": leaf.num_classes} if leaf.num_classes else None
            specs.append(ColumnSpec(name, leaf.array_dtype, shape, spaces.get(name, labels)))
        return specs


def make_plan(leaves: Sequence[Leaf], *, action: str | None, exact_flags: bool, skip: set[str], where: str) -> Plan:
    """Decide what each feature becomes.

    Parameters
    ----------
    leaves : sequence of Leaf
        The whole dataset's.
    action : str, optional
        Which field of a dict of actions becomes ``actions``.
    exact_flags : bool
        Whether step features ``terminals`` and ``timeouts`` are the columns of these names.
    skip : set of str
        Keys that are not read.
    where : str
        Names the dataset in error messages.

    Raises
    ------
    FormatError
        If there are no steps, or no observation, action or reward that can be read.
    UsageError
        If there are several actions and `action` names none of them.
    """
    observations: dict[str, Leaf] = {}
    columns: dict[str, Leaf] = {}
    facts: dict[str, Leaf] = {}
    flags: dict[str, Leaf] = {}
    left_out = []
    _require_rlds(leaves, where)
    chosen = _chosen_action(leaves, action, where)
    for leaf in leaves:
        step = leaf.path[0] == STEPS
        if leaf.key in skip or (step and leaf.path[1:] in [(flag,) for flag in _FLAGS]):
            continue
        if leaf.unreadable is not None:
            left_out.append(f"{leaf.key!r}, which is {leaf.unreadable}")
        elif not step:
            name = leaf.key
            facts[f"source_{name}" if leaf.path[0] in _TAKEN_FACTS else name] = leaf
        elif leaf.path[1] == "observation":
            observations["/".join([OBSERVATIONS, *leaf.path[2:]])] = leaf
        elif leaf is chosen:
            columns[ACTIONS] = leaf
        elif exact_flags and leaf.path[1:] in [(TERMINALS,), (TIMEOUTS,)]:
            flags[leaf.path[1]] = leaf
        elif _column_name(leaf) in columns:
            raise FormatError(f"{where}: {leaf.key!r} and another feature would both be column {_column_name(leaf)!r}")
        else:
            columns[_column_name(leaf)] = leaf
    reward = columns.get(REWARDS)
    if not observations or reward is None or reward.row_shape not in ((), (1,)):
        missing = "observation" if not observations else "reward"
        found = "none" if not observations or reward is None else f"shape {reward.row_shape}"
        raise FormatError(f"{where}: expected an RLDS feature 'steps/{missing}' of numbers, found {found}")
    is_terminal = next((leaf for leaf in leaves if leaf.path == (STEPS, "is_terminal")), None)
    if is_terminal is not None and (is_terminal.dtype, is_terminal.shape, is_terminal.encoding) != ("bool", (), "none"):
        raise FormatError(f"{where}: expected 'steps/is_terminal' to be one bool, found {is_terminal}")
    return Plan(observations, columns, facts, flags, is_terminal, left_out)


def _require_rlds(leaves: Sequence[Leaf], where: str) -> None:
    found = {leaf.key for leaf in leaves}
    for flag in ("is_first", "is_last"):
        if f"{STEPS}/{flag}" not in found:
            raise FormatError(
                f"{where}: expected an RLDS dataset, with features 'steps/is_first' and 'steps/is_last'; "
                f"found {', '.join(sorted(found)) or 'none'}"
            )


def _chosen_action(leaves: Sequence[Leaf], action: str | None, where: str) -> Leaf:
    found = {"/".join(leaf.path[2:]): leaf for leaf in leaves if leaf.path[:2] == (STEPS, "action")}
    readable = {name: leaf for name, leaf in found.items() if leaf.unreadable is None}
    if not readable:
        told = ", ".join(str(leaf.unreadable) for leaf in found.values())
        raise FormatError(f"{where}: expected an RLDS feature 'steps/action' of numbers, found {told or 'none'}")
    if action is None and len(readable) == 1:
        return next(iter(readable.values()))
    if action is None or action not in readable:
        asked = "actions are a dict" if action is None else f"there is no action {action!r}"
        listed = ", ".join(name for name in readable if name) or "no fields: drop --action"
        raise UsageError(
            f"{where}: {asked}, and a buffer has one column of actions; choose it with --action, of {listed}"
        )
    return readable[action]


def _column_name(leaf: Leaf) -> str:
    if leaf.path[1:] == (leaf.path[-1],) and leaf.path[-1] in _RENAMED:
        return _RENAMED[leaf.path[-1]]
    name = "/".join(leaf.path[1:])
    return f"infos/{name}" if leaf.path[1] in _TAKEN else name


@dataclass(frozen=True)
class RawEpisode:
    """One Example as it was read: the features that are needed, and how it ends."""

    features: Mapping[str, FeatureValues]
    ending: Ending
    where: str


@dataclass(frozen=True)
class RLDSDecoder:
    """Turns Examples into episodes; runs in worker processes.

    Parameters
    ----------
    plan : Plan
        The features that are read.
    early : bool, default False
        Whether rewards stand a row early, and discounts too, as TFDS's ``rlu_atari`` has them.
    """

    plan: Plan
    early: bool = False

    def __call__(self, piece: RawEpisode) -> Episode:
        """Unpack and decode one Example."""
        ending = piece.ending
        count = ending.transitions
        columns = {name: self._rows(piece, leaf) for name, leaf in self.plan.columns.items()}
        if self.early:
            columns = as_played(columns, is_terminal=ending.is_terminal)
        columns = {name: rows[:count] for name, rows in columns.items()}
        columns[REWARDS] = columns[REWARDS].reshape(count)
        columns |= self._flags(piece)
        return Episode(
            columns=columns,
            observations={
                name: self._rows(piece, leaf)[: count + ending.final_known]
                for name, leaf in self.plan.observations.items()
            },
            facts={
                name: leaf.rows(piece.features.get(leaf.key), 1, piece.where)[0]
                for name, leaf in self.plan.facts.items()
            },
            whole=ending.whole,
        )

    @staticmethod
    def _rows(piece: RawEpisode, leaf: Leaf) -> Array:
        return leaf.rows(piece.features.get(leaf.key), piece.ending.rows, piece.where)

    def _flags(self, piece: RawEpisode) -> dict[str, Array]:
        """Return terminals and timeouts: as they are stored, or what RLDS's flags say of each transition."""
        count = piece.ending.transitions
        if self.plan.flags:
            return {name: self._rows(piece, leaf)[:count] for name, leaf in self.plan.flags.items()}
        states = np.zeros(piece.ending.rows, np.bool_)
        if self.plan.is_terminal is not None:
            states = self._rows(piece, self.plan.is_terminal)
        # A flag belongs to an observation, or to the action beside it if the last row is a transition.
        terminals = states[piece.ending.rows - count :]
        timeouts = np.zeros(count, np.bool_)
        timeouts[-1:] = piece.ending.is_last & ~terminals[-1:]
        return {TERMINALS: terminals, TIMEOUTS: timeouts}
