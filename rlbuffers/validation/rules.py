"""The table of the rules of `validate`, in the order in which they are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rlbuffers.reader import Buffer
from rlbuffers.validation.ending_rules import (
    episodes_within_limit,
    terminals_at_limits,
    terminals_plausible,
    timeouts_plausible,
)
from rlbuffers.validation.finding import Finding
from rlbuffers.validation.origin_rules import reader_is_sound
from rlbuffers.validation.storage_rules import checksums, chunks_in_place, views_agree
from rlbuffers.validation.structure_rules import (
    counts_equal_stored,
    equal_lengths,
    next_observations_continue,
    returns_equal_stored,
)
from rlbuffers.validation.value_rules import finite_values, no_duplicates, values_in_space

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Parameters
    ----------
    check : callable
        Is given the buffer, and yields findings, or nothing where all is well.
    all_is_well : str
        What is said where nothing was found.
    is_structural : bool, default False
        Whether rows cannot be put together where it fails: the rules after it are then left out.
    """

    check: Callable[[Buffer], Iterator[Finding]]
    all_is_well: str
    is_structural: bool = False


RULES = {
    "reader": Rule(reader_is_sound, "no fault is known of the version that converted the source"),
    "checksums": Rule(checksums, "every chunk passes its checksum and the content has the stored fingerprint"),
    "equal-lengths": Rule(equal_lengths, "all columns have the same number of rows", is_structural=True),
    "next-observations": Rule(
        next_observations_continue, "next observations continue their observations", is_structural=True
    ),
    "counts": Rule(counts_equal_stored, "the counts in the metadata are those of the data"),
    "finite-values": Rule(finite_values, "no number is NaN or infinite"),
    "values-in-space": Rule(values_in_space, "all values lie inside their declared spaces"),
    "terminals-plausible": Rule(terminals_plausible, "terminals occur and fit the episodes"),
    "terminals-at-limits": Rule(terminals_at_limits, "terminals do not only mark the ends of episodes of one length"),
    "episode-lengths": Rule(episodes_within_limit, "no episode is longer than the stated limit, and all are whole"),
    "timeouts-plausible": Rule(timeouts_plausible, "timeouts fit the episodes and exclude terminals"),
    "returns-equal-stored": Rule(returns_equal_stored, "rewards sum to the stored returns"),
    "no-duplicates": Rule(no_duplicates, "nothing stands in the buffer twice"),
    "views-agree": Rule(views_agree, "the container's own library reads the same values"),
    "chunk-tables": Rule(chunks_in_place, "the container's own library finds the chunks in the same places"),
}
