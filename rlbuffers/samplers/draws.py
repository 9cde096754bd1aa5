"""The contract of drawing: from a numpy Generator to the items of a batch."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.windows.items import Items

__all__ = ["Drawn", "Draws", "generator_state", "set_generator_state", "whole_number"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Drawn:
    """What was drawn for one batch, before anything is read.

    Parameters
    ----------
    items : int64, shape (B,)
        Numbers of rows or episodes.
    extras : mapping of str to array, shape (B,)
        What the batch has beside the columns, such as ``importance_weights``.
    ends_epoch : bool
        Whether every item has been drawn once with this batch.
    """

    items: Indices
    extras: Mapping[str, Array] = field(default_factory=dict)
    ends_epoch: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        extras = {name: {"dtype": values.dtype.name, "values": values.tolist()} for name, values in self.extras.items()}
        return {"items": self.items.tolist(), "extras": extras, "ends_epoch": self.ends_epoch}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Drawn:
        """Build from :meth:`to_json`'s result."""
        extras = {name: np.array(found["values"], found["dtype"]) for name, found in state["extras"].items()}
        return cls(np.array(state["items"], np.int64), extras, bool(state["ends_epoch"]))

    def content(self) -> bytes:
        """Return the bytes that say what was drawn, the same on every machine."""
        parts = [np.asarray(self.items, "<i8").tobytes()]
        for name in sorted(self.extras):
            values = self.extras[name]
            parts += [name.encode(), values.astype(values.dtype.newbyteorder("<")).tobytes()]
        return b"".join(parts)


class Draws(ABC):
    """Chooses items.

    What is chosen depends only on the items' number, the generator's state and what the constructor
    was given: never on the store, or on when a batch is read.

    Parameters
    ----------
    items : Items
        What may be chosen.
    generator : numpy.random.Generator
        The only source of randomness; owned from here on.
    """

    kind: ClassVar[str]

    def __init__(self, items: Items, generator: np.random.Generator) -> None:
        self.items = items
        self.generator = generator

    @abstractmethod
    def draw(self, count: int) -> Drawn:
        """Choose the items of one batch: `count` of them, or fewer where an epoch ends.

        Raises
        ------
        UsageError
            If there is nothing to choose from.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values; priorities are the one exception, an array."""
        return {"generator": generator_state(self.generator)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken.

        Raises
        ------
        UsageError
            If the state is not one of draws of this kind from as many items.
        """
        set_generator_state(self.generator, state)

    def bounds(self) -> tuple[int, int]:
        """Return the first place and one past the last; see `Items`.

        Raises
        ------
        UsageError
            If there is none between them.
        """
        first, last = self.items.bounds
        if first == last:
            raise UsageError("the ring holds no complete transition yet; append more steps first")
        return first, last


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return a generator's state as JSON values; the arrays in some of them become lists."""
    state: dict[str, Any] = json.loads(json.dumps(generator.bit_generator.state, default=lambda array: array.tolist()))
    return state


def set_generator_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Set what :func:`generator_state` returned, under the key ``generator``.

    Raises
    ------
    UsageError
        If it is no state of a generator of this kind.
    """
    try:
        generator.bit_generator.state = state["generator"]
    except (KeyError, TypeError, ValueError) as error:
        kind = type(generator.bit_generator).__name__
        raise UsageError(f"not the state of a sampler whose generator is a {kind}: {error!r}") from error


def whole_number(state: Mapping[str, Any], name: str, limit: int) -> int:
    """Return a number of a state that must lie between 0 and `limit`, exclusive.

    Raises
    ------
    UsageError
        If it is absent or something else.
    """
    value = state.get(name)
    if not isinstance(value, int) or not 0 <= value < limit:
        raise UsageError(f"not the state of such a sampler: {name!r} is {value!r}, expected 0 to {limit - 1:,}")
    return value
