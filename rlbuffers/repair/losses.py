"""What damage to each array costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rlbuffers.repair.damaged import DamagedBuffer
from rlbuffers.schema import EXTRAS_GROUP

__all__ = ["Ledger", "Loss"]


@dataclass(frozen=True)
class Loss:
    """What damage to one array costs.

    Parameters
    ----------
    array : str
        Its name.
    problem : str
        What is wrong with it.
    what : str
        What is lost: ``rows``, ``episodes``, ``last observations``, ``flags``, ``the column``, or ``nothing``.
    count : int
        How many of these; an episode that lost something in several arrays counts in each.
    """

    array: str
    problem: str
    what: str
    count: int

    def to_json(self) -> dict[str, Any]:
        """Return the loss as JSON values."""
        return asdict(self)


class Ledger:
    """The losses so far."""

    def __init__(self, damaged: DamagedBuffer) -> None:
        self.losses: list[Loss] = []
        self._arrays = damaged.arrays
        self._unwritten = [f"{EXTRAS_GROUP}/{name}" for name in damaged.spec.extras] if damaged.is_interrupted else []

    def add(self, name: str, what: str, count: int) -> None:
        """Note what an array costs, unless it is sound."""
        array = self._arrays[name]
        if what == "the column" and not array.num_bad_chunks:
            asked = "not written before the interruption" if name in self._unwritten else "left out as was asked for"
            self.losses.append(Loss(name, asked, what, count))
        elif array.num_bad_chunks:
            chunks = f"{array.num_bad_chunks:,} of {array.array.num_chunks:,} chunks cannot be read"
            problem = f"{chunks}: {array.problem}" if array.problem else chunks
            self.losses.append(Loss(name, problem, what if count else "nothing", count))
        elif count:
            self.losses.append(Loss(name, array.problem or "its end is missing", what, count))
