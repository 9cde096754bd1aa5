"""What the rows of several buffers must have in common to be used as one: merged, mixed or converted together.

Equal columns are not enough. Observations that were normalized in another way, or actions of other spaces, are other
numbers for the same thing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlbuffers.schema import EPISODES_GROUP, BufferSpec, ColumnSpec, next_name
from rlbuffers.spaces import described_space, holds, without_disputes

__all__ = ["Part", "common_columns", "disagreement", "normalization_dispute"]

_KEY = "normalization"


@dataclass(frozen=True)
class Part:
    """One of several.

    Parameters
    ----------
    name : str
        For messages, such as its path.
    spec : BufferSpec
        Of its rows.
    facts : mapping
        What is known of its metadata.
    """

    name: str
    spec: BufferSpec
    facts: Mapping[str, Any]


def disagreement(parts: Sequence[Part], columns: Collection[str] | None = None) -> str:
    """Say in what the rows of two parts are other numbers for the same thing; an empty text if in nothing.

    Parameters
    ----------
    parts : sequence of Part
        With the same dtypes and shapes.
    columns : collection of str, optional
        Those of a batch that are used; all by default.
    """
    observations = {name for part in parts for name in part.spec.observation_names}
    if columns is None or {*observations, *map(next_name, observations)} & set(columns):
        for other in parts[1:]:
            found = normalization_dispute(parts[0], other)
            if found:
                return found
    used = [name for name in parts[0].spec.batch_names if columns is None or name in columns]
    for name in used:
        told = [(part.name, part.spec.batch_column(name)) for part in parts if name in part.spec.batch_names]
        found = _space_dispute(name, told)
        if found:
            return found
    for name in parts[0].spec.episode_columns if columns is None else ():
        told = [(part.name, part.spec.episode_columns[name]) for part in parts]
        found = _space_dispute(f"{EPISODES_GROUP}/{name}", told)
        if found:
            return found
    return ""


def normalization_dispute(first: Part, other: Part) -> str:
    """Say that the observations of two parts were normalized in two ways; an empty text if they were not."""
    if first.facts.get(_KEY) == other.facts.get(_KEY):
        return ""
    return (
        f"{other.name}: its observations are normalized in another way than those of {first.name}; use what they come "
        "from together, and normalize the result"
    )


def _space_dispute(name: str, told: Sequence[tuple[str, ColumnSpec]]) -> str:
    """Name two parts and their spaces if no space holds all others."""
    known = [(where, column.space) for where, column in told if column.space is not None]
    for place, (where, space) in enumerate(known):
        for other_where, other in known[:place]:
            if not (holds(space, other) or holds(other, space)):
                return (
                    f"{where}: the space of column {name!r} is {described_space(space)}, but {described_space(other)} "
                    f"in {other_where}; neither holds the other, so their numbers mean different things"
                )
    return ""


def common_columns(
    names: Sequence[str], columns: Sequence[Mapping[str, ColumnSpec]], group: str = ""
) -> tuple[list[ColumnSpec], list[str]]:
    """Return the columns of the whole, and a sentence for each whose space the parts say differently.

    The whole gets the space that holds those of all parts. Where a part says none, its values may be any, and the
    whole has none.

    Parameters
    ----------
    names : sequence of str
        Of the parts.
    columns : sequence of mapping of name to ColumnSpec
        Of each part, without a `disagreement`.
    group : str
        Before the names of columns in the sentences.
    """
    found, disputes = [], []
    for name, column in columns[0].items():
        spaces = [described[name].space for described in columns]
        known = [space for space in spaces if space is not None]
        whole = column.space
        if any(space != spaces[0] for space in spaces):
            widest = next((space for space in known if all(holds(space, inner) for inner in known)), None)
            whole = without_disputes(widest, known) if widest is not None and len(known) == len(spaces) else None
            other = next(number for number, space in enumerate(spaces) if space != spaces[0])
            disputes.append(
                f"the space of column {group + name!r} is {described_space(spaces[0])} in {names[0]}, but "
                f"{described_space(spaces[other])} in {names[other]}; the whole has {described_space(whole)}"
            )
        found.append(ColumnSpec(name, column.dtype, column.shape, whole))
    return found, disputes
