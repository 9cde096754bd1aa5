"""How a checkpoint of a Dopamine replay log follows the one before it.

Dopamine dumps its whole ring each time. Row r of all rows ever added stands in row ``r % capacity`` of
every checkpoint that still holds it, so two checkpoints of a run can be compared where they overlap. A
DQN Replay log ends with a dump whose count begins anew; what it did not overwrite shows where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlbuffers.sources.dopamine.checkpoints import Checkpoint, Segment, Survey

__all__ = ["Link", "link_between", "may_overlap"]


@dataclass(frozen=True)
class Link:
    """What two checkpoints show of each other.

    Parameters
    ----------
    before, after : Checkpoint
        In the order of their numbers.
    kind : {"goes on", "final", "gap", "differs", "unknown"}
        ``final`` for a dump at the end of training that counts from the last one on; ``gap`` where rows were
        overwritten before the second dump; ``differs`` where rows that both should hold are not equal.
    common : int
        Rows that both should hold.
    number : int
        Of ``gap``, rows that no dump holds; of ``differs``, rows that differ.
    """

    before: Checkpoint
    after: Checkpoint
    kind: Literal["goes on", "final", "gap", "differs", "unknown"]
    common: int = 0
    number: int = 0

    @property
    def is_joined(self) -> bool:
        """Whether rows of the second checkpoint follow the last one of the first."""
        return self.kind in ("goes on", "final")

    @property
    def repeated(self) -> int:
        """Rows of the second checkpoint that the first one gave already."""
        return self.common if self.kind == "goes on" else 0

    def segments(self) -> list[Segment]:
        """Return the rows of the second checkpoint that are new, in time order."""
        before, after = self.before, self.after
        last = after.capacity - 1
        if self.kind == "final":
            return [Segment(after, last, last + 1, before.number), *Segment.of_rows(after, 0, after.add_count)]
        if self.kind != "goes on":
            return Segment.own_rows(after)
        if not before.ends_before_last_row or self.common:
            return Segment.of_rows(after, before.add_count, after.add_count)
        first, *others = Segment.of_rows(after, before.add_count, after.add_count)
        return [Segment(after, first.start, first.stop, before.number), *others]

    def warning(self) -> str | None:
        """Say what is wrong, if anything is."""
        before, after = self.before, self.after
        if self.is_joined:
            return None
        counts = f"add_count {before.add_count:,} and {after.add_count:,}"
        if self.kind == "gap":
            return (
                f"{self.number:,} rows between checkpoint {before.number} and checkpoint {after.number} are in neither "
                f"({counts}, capacity {after.capacity:,}): they were overwritten before they were dumped. An episode "
                "that goes on there is cut."
            )
        if self.kind == "differs":
            return (
                f"CHECKPOINT {after.number} IS NOT OF THE SAME RUN AS CHECKPOINT {before.number}: of {self.common:,} "
                f"rows that both should hold ({counts}), {self.number:,} differ. Nothing was merged; both are in the "
                "buffer. Convert the runs apart with --checkpoint."
            )
        return (
            f"Nothing shows that checkpoint {after.number} goes on where checkpoint {before.number} ends ({counts}): "
            "it may be of another run, or repeat rows. Nothing was merged; an episode that goes on there is cut."
        )


def may_overlap(before: Checkpoint, after: Checkpoint) -> bool:
    """Whether the counts of two checkpoints say that there are rows which both hold."""
    has_grown = before.capacity == after.capacity and before.add_count <= after.add_count
    return has_grown and after.oldest < before.add_count


def link_between(before: Survey, after: Survey) -> Link:
    """Compare two checkpoints, of which the first has the lower number.

    Parameters
    ----------
    before, after : Survey
        With digests of the frames where `may_overlap` says so.
    """
    ours, theirs = before.checkpoint, after.checkpoint
    if may_overlap(ours, theirs):
        common = ours.add_count - theirs.oldest
        differing = sum(
            _differing(before, after, slice(part.start, part.stop))
            for part in Segment.of_rows(theirs, theirs.oldest, ours.add_count)
        )
        return Link(ours, theirs, "differs" if differing else "goes on", common, differing)
    if ours.capacity != theirs.capacity:
        return Link(ours, theirs, "unknown")
    if theirs.oldest > ours.add_count:
        return Link(ours, theirs, "gap", number=theirs.oldest - ours.add_count)
    if ours.number + 1 == theirs.number:
        if theirs.oldest == ours.add_count and theirs.add_count > ours.add_count:
            return Link(ours, theirs, "goes on")
        if _is_final(before, after):
            return Link(ours, theirs, "final")
    return Link(ours, theirs, "unknown")


def _is_final(before: Survey, after: Survey) -> bool:
    """Whether the rows that a dump of fewer rows than the ring has did not overwrite are still those before it."""
    ours, theirs = before.checkpoint, after.checkpoint
    kept = slice(theirs.add_count, ours.capacity - 1)
    return ours.ends_before_last_row and kept.start < kept.stop and _differing(before, after, kept) == 0


def _differing(before: Survey, after: Survey, rows: slice) -> int:
    """Count the rows that are not equal; frames are compared where both have digests."""
    pairs = [
        (before.columns.actions, after.columns.actions),
        (before.columns.rewards, after.columns.rewards),
        (before.columns.terminals, after.columns.terminals),
    ]
    if before.frame_digests is not None and after.frame_digests is not None:
        pairs.append((before.frame_digests, after.frame_digests))
    different = np.zeros(rows.stop - rows.start, bool)
    for one, other in pairs:
        different |= one[rows] != other[rows]
    return int(different.sum())
