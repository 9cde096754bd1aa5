"""Which feature of an RLDS dataset becomes which column, and an Example as an `Episode`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
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

__all__ = ["STEPS", "Column", "Plan", "RLDSDecoder", "RawEpisode", "make_plan"]

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
class Column:
    """What one column is made of.

    Parameters
    ----------
    leaves : tuple of Leaf
        The feature; several are concatenated in this order; without any, the column is zeros.
    dtype : numpy.dtype
        Of the column.
    shape : tuple of int
        Of a row.
    """

    leaves: tuple[Leaf, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def rows(self, features: Mapping[str, FeatureValues], count: int, where: str) -> Array:
        """Return the rows of an Example, shape (count, *shape); raises as `Leaf.rows`."""
        if not self.leaves:
            return np.zeros((count, *self.shape), self.dtype)
        parts = [leaf.rows(features.get(leaf.key), count, where) for leaf in self.leaves]
        if len(parts) == 1:
            return parts[0].reshape(count, *self.shape)
        return np.concatenate(
            [part.reshape(count, math.prod(part.shape[1:])) for part in parts], axis=1, dtype=self.dtype
        )


def _plain_column(leaf: Leaf) -> Column:
    return Column((leaf,), leaf.array_dtype, leaf.row_shape)


@dataclass(frozen=True)
class Plan:
    """The features that are read, by the names that they get.

    Parameters
    ----------
    observations, facts : mapping of name to Leaf
        Of observations, and of what an episode has once.
    columns : mapping of name to Column
        The other columns of steps.
    flags : mapping of name to Leaf
        ``terminals`` and ``timeouts`` where the dataset has these beside RLDS's own flags.
    is_terminal : Leaf, optional
        RLDS's own flag.
    left_out : list of str
        Sentences about features that cannot be read.
    """

    observations: Mapping[str, Leaf]
    columns: Mapping[str, Column]
    facts: Mapping[str, Leaf]
    flags: Mapping[str, Leaf]
    is_terminal: Leaf | None
    left_out: Sequence[str]

    @property
    def keys(self) -> set[str]:
        """Names of the features of an Example that are needed to build an episode."""
        terminal = [] if self.is_terminal is None else [self.is_terminal]
        return {leaf.key for leaf in [*self.leaves.values(), *self.flags.values(), *terminal]}

    @property
    def leaves(self) -> dict[str, Leaf]:
        """Every feature that is kept, under its column's name; those that are concatenated under their own."""
        joined = {
            name if len(column.leaves) == 1 else leaf.key: leaf
            for name, column in self.columns.items()
            for leaf in column.leaves
        }
        return {**self.observations, **joined, **self.facts}

    @property
    def row_bytes(self) -> int:
        """How many bytes the features of a step are, unpacked and decoded."""
        steps = {leaf for leaf in self.leaves.values() if leaf.path[0] == STEPS}
        return sum(math.prod(leaf.row_shape) * leaf.array_dtype.itemsize for leaf in steps)

    @property
    def action_fields(self) -> list[dict[str, Any]]:
        """Which numbers of an action are which field, where the dataset's actions are a dict: JSON values."""
        fields, start = [], 0
        for leaf in self.columns[ACTIONS].leaves:
            stop = start + math.prod(leaf.row_shape)
            fields.append({"field": _field(leaf), "dtype": leaf.dtype, "start": start, "stop": stop})
            start = stop
        return fields if fields[0]["field"] else []

    def column_specs(self, spaces: Mapping[str, Any]) -> list[ColumnSpec]:
        """Describe the columns; `spaces` by name come first, the number of a label's classes after them.

        Raises
        ------
        SpecError
            If a name or a space cannot be stored.
        """
        specs = [ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)]
        observed = {name: _plain_column(leaf) for name, leaf in self.observations.items()}
        for name, column in {**observed, **self.columns}.items():
            classes = column.leaves[0].num_classes if len(column.leaves) == 1 else None
            labels = {"type": "discrete", "n": classes} if classes else None
            specs.append(ColumnSpec(name, column.dtype, column.shape, spaces.get(name, labels)))
        return specs


def make_plan(
    leaves: Sequence[Leaf], *, action: Sequence[str], no_rewards: bool, exact_flags: bool, skip: set[str], where: str
) -> Plan:
    """Decide what each feature becomes.

    Parameters
    ----------
    leaves : sequence of Leaf
        The whole dataset's.
    action : sequence of str
        Which fields of a dict of actions become ``actions``, concatenated in this order; none: the only one.
    no_rewards : bool
        Whether the user knows that there are no rewards, so that zeros are stored.
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
        If there are several actions and `action` names none of them, or such as cannot be concatenated; or there
        are rewards although the user says otherwise.
    """
    observations: dict[str, Leaf] = {}
    columns: dict[str, Column] = {}
    facts: dict[str, Leaf] = {}
    flags: dict[str, Leaf] = {}
    left_out = []
    _require_rlds(leaves, where)
    chosen = _chosen_actions(leaves, action, where)
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
        elif leaf in chosen:
            columns[ACTIONS] = _joined(chosen, where)
        elif exact_flags and leaf.path[1:] in [(TERMINALS,), (TIMEOUTS,)]:
            flags[leaf.path[1]] = leaf
        elif _column_name(leaf) in columns:
            raise FormatError(f"{where}: {leaf.key!r} and another feature would both be column {_column_name(leaf)!r}")
        else:
            columns[_column_name(leaf)] = _plain_column(leaf)
    if not observations:
        raise FormatError(f"{where}: expected an RLDS feature 'steps/observation' of numbers, found none")
    columns[REWARDS] = _rewards(columns.get(REWARDS), no_rewards=no_rewards, where=where)
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
                f"found {listed(sorted(found)) or 'none'}"
            )


def _rewards(found: Column | None, *, no_rewards: bool, where: str) -> Column:
    if found is not None and found.shape in ((), (1,)):
        if no_rewards:
            raise UsageError(f"{where}: the dataset has rewards; drop --reward none")
        return Column(found.leaves, found.dtype, ())
    if no_rewards and found is None:
        return Column((), np.dtype(np.float32), ())
    shape = "none" if found is None else f"shape {found.shape}"
    hint = "; --reward none reads a dataset without rewards and stores zeros" if found is None else ""
    raise FormatError(f"{where}: expected an RLDS feature 'steps/reward' of numbers, found {shape}{hint}")


def _chosen_actions(leaves: Sequence[Leaf], action: Sequence[str], where: str) -> list[Leaf]:
    found = {_field(leaf): leaf for leaf in leaves if leaf.path[:2] == (STEPS, "action")}
    readable = {name: leaf for name, leaf in found.items() if leaf.unreadable is None}
    if not readable:
        told = listed(str(leaf.unreadable) for leaf in found.values()) or "none"
        raise FormatError(f"{where}: expected an RLDS feature 'steps/action' of numbers, found {told}")
    if not action and len(readable) == 1:
        return list(readable.values())
    unknown = [name for name in action if not name or name not in readable]
    if not action or unknown:
        asked = "actions are a dict" if not action else f"there is no action {unknown[0]!r}"
        fields = [name for name in readable if name]
        choices = f"{listed(fields)}; several are concatenated" if fields else "no fields: drop --action"
        raise UsageError(
            f"{where}: {asked}, and a buffer has one column of actions; choose it with --action, of {choices}"
        )
    if len(set(action)) < len(action):
        raise UsageError(f"{where}: --action names a field twice: {listed(action)}")
    return [readable[name] for name in action]


def _field(leaf: Leaf) -> str:
    """Return the name of a field of a dict of actions; empty where actions are no dict."""
    return "/".join(leaf.path[2:])


def _joined(leaves: Sequence[Leaf], where: str) -> Column:
    """Return the column of some fields, one after the other; flags count as 0 and 1 beside numbers."""
    if len(leaves) == 1:
        return _plain_column(leaves[0])
    kinds = {leaf.array_dtype.kind: _field(leaf) for leaf in leaves}
    whole = [kinds[kind] for kind in "iu" if kind in kinds]
    if "f" in kinds and whole:
        raise UsageError(
            f"{where}: action {whole[0]!r} is of whole numbers and {kinds['f']!r} of fractions; one column of actions "
            "holds the ones or the others: choose fields of one kind with --action"
        )
    dtype = np.result_type(*(leaf.array_dtype for leaf in leaves))
    if whole and dtype.kind == "f":
        raise UsageError(f"{where}: no integer type holds all of the actions {listed(map(_field, leaves))}")
    return Column(tuple(leaves), dtype, (sum(math.prod(leaf.row_shape) for leaf in leaves),))


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
        columns = {
            name: column.rows(piece.features, ending.rows, piece.where) for name, column in self.plan.columns.items()
        }
        if self.early:
            columns = as_played(columns, is_terminal=ending.is_terminal)
        columns = {name: rows[:count] for name, rows in columns.items()}
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
