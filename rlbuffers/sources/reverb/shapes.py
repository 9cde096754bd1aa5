"""What a table's items are, told from the number of rows that each of their columns has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlbuffers.errors import FormatError
from rlbuffers.schema import NEXT_OBSERVATIONS, REWARDS, Layout, is_observation
from rlbuffers.sources.reverb.names import NEEDED

__all__ = ["ItemShape", "Lengths", "is_next", "item_shape"]

# Name of a column to the least and the most rows that an item has of it.
Lengths = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class ItemShape:
    """What becomes of an item.

    Parameters
    ----------
    kind : {"transition", "pair", "window"}
        One step with its next observation; two observations; or any number of steps.
    facts : frozenset of str
        Columns of windows of which an item has one row, without an axis of time.
    """

    kind: Literal["transition", "pair", "window"]
    facts: frozenset[str] = frozenset()

    @property
    def layout(self) -> Layout:
        """Layout of the buffer."""
        return "episodes" if self.kind == "window" else "transitions"


def is_next(name: str) -> bool:
    """Whether `name` is ``next_observations`` or one field of it."""
    return name == NEXT_OBSERVATIONS or name.startswith(f"{NEXT_OBSERVATIONS}/")


def item_shape(lengths: Lengths, squeezed: frozenset[str], where: str) -> ItemShape:
    """Decide what the items of a table are.

    Parameters
    ----------
    lengths : mapping of name to (int, int)
        Least and most rows over all items, under the names of the buffer.
    squeezed : frozenset of str
        Columns without an axis of time in every item.
    where : str
        What is read, for messages.

    Raises
    ------
    FormatError
        If items are single steps of which the next observation is not there.
    """
    observed = {name: ends for name, ends in lengths.items() if is_observation(name)}
    has_next = any(is_next(name) for name in lengths)
    if has_next and all(most == 1 for _, most in lengths.values()):
        return ItemShape("transition")
    if not has_next and set(observed.values()) == {(2, 2)} and lengths[REWARDS] in ((1, 1), (2, 2)):
        return ItemShape("pair")
    if lengths[REWARDS][1] == 1 and all(most == 1 for _, most in observed.values()):
        raise FormatError(
            f"{where}: expected next observations, or items of several steps; its items are single steps, and what "
            "follows them is not known. If a column holds the next observations, say so with "
            f"--map COLUMN={NEXT_OBSERVATIONS}"
        )
    needed = {name for name in lengths if is_observation(name) or is_next(name)} | NEEDED
    return ItemShape("window", squeezed - needed)
