"""What RL Unplugged's shuffled pieces of episodes have in common: records of a few consecutive steps.

Format: ``rl_unplugged/dm_control_suite.py`` and ``bsuite.ipynb`` of google-deepmind/deepmind-research.
Each record is a ``tf.train.Example`` of L consecutive steps; every list is the L rows of one feature.
``reward[t]`` and ``discount[t]`` follow ``action[t]`` taken at ``observation[t]``, so L steps are L - 1
transitions; ``step_type[t]`` belongs to ``observation[t]``. The row of an episode's last observation holds
placeholders and is no transition.

What the documentation leaves open is measured: how many records have one step only, and whether the
rewards stand where the publisher's reader expects them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS, ColumnSpec
from rlbuffers.sources.rl_unplugged.rows import (
    CAMERA_SHAPE,
    DISCOUNTS,
    LAST_STEP,
    STEP_TYPES,
    RowsLayout,
    control_column,
    lay_out,
    raw_images,
)
from rlbuffers.sources.rl_unplugged.shards import Record, ShardSource
from rlbuffers.sources.rl_unplugged.tasks import KnownTask

__all__ = [
    "AFTER_LAST",
    "NEXT_ACTIONS",
    "ONE_STEP",
    "RECORDS",
    "DiscountEnds",
    "Ends",
    "LastStepEnds",
    "SequenceSource",
    "rows_of",
    "step_counts",
]

Array = np.ndarray[Any, Any]
Piece = TypeVar("Piece")
NEXT_ACTIONS = "next_actions"
RECORDS, ONE_STEP, AFTER_LAST = "records", "records_of_one_step", "pairs_across_a_reset"
_STARTS, _STARTS_REWARDED = "first_steps", "first_steps_with_reward"
_LASTS, _LASTS_REWARDED = "last_rows", "last_rows_with_reward"


class Ends(Protocol):
    """Tells where an episode ends from a transition's discount and the step type of its next observation."""

    @property
    def note(self) -> str:
        """The rule in words, for the metadata."""

    def __call__(self, discounts: Array, following: Array) -> tuple[Array, Array, Array]:
        """Return discounts, terminals and timeouts, each of shape (N,)."""


class DiscountEnds:
    """The discounts tell: 0 is a terminal; a last step that they do not mark is a timeout."""

    note = "terminals: discount 0. timeouts: the next observation is an episode's last, and the discount not 0."

    def __call__(self, discounts: Array, following: Array) -> tuple[Array, Array, Array]:
        """Return the discounts as they are, and the flags."""
        terminals = discounts == 0
        return discounts, terminals, (following == LAST_STEP) & ~terminals


class LastStepEnds:
    """The step types tell: every last step is a terminal (bsuite)."""

    note = (
        "The discount is set to 0 where the next observation is an episode's last, as the publisher's reader does; "
        "terminals: discount 0. No timeout can be told."
    )

    def __call__(self, discounts: Array, following: Array) -> tuple[Array, Array, Array]:
        """Return masked discounts, and the flags."""
        masked = np.where(following == LAST_STEP, 0, discounts).astype(discounts.dtype)
        return masked, masked == 0, np.zeros(len(masked), np.bool_)


def rows_of(layout: RowsLayout, record: Record) -> dict[str, Array]:
    """Return the rows of all columns of a checked record."""
    images = {name: raw_images(files, record.where) for name, files in layout.images(record).items()}
    return {**layout.numbers(record), **images}


def step_counts(first: Array, last: Array, first_rewards: Array, last_rewards: Array) -> Counter[str]:
    """Count first steps and last rows, and those with a reward: the alignment shows in them.

    Parameters
    ----------
    first, last : bool, shape (N,)
        Whether a row is its episode's first step; whether it is the row of a last observation.
    first_rewards, last_rewards : float, shape (N,)
        The rewards of the same rows.
    """
    return Counter(
        {
            _STARTS: int(first.sum()),
            _STARTS_REWARDED: int((first_rewards[first] != 0).sum()),
            _LASTS: int(last.sum()),
            _LASTS_REWARDED: int((last_rewards[last] != 0).sum()),
        }
    )


class SequenceSource(ShardSource[Piece]):
    """One shard of shuffled records of a few steps.

    Parameters
    ----------
    path : Path
        The shard; any name.
    task : KnownTask
        What was recorded.
    ends : Ends
        How ends of episodes are told.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no such file, or its first record is no such sequence.
    """

    def __init__(self, path: Path, task: KnownTask, ends: Ends, *, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, task, facts=facts)
        self._first = self._shard.first()
        self._layout = lay_out(
            self._first,
            control_column,
            counted="reward",
            needed=(ACTIONS, REWARDS, DISCOUNTS, STEP_TYPES),
            image_shape=CAMERA_SHAPE,
        )
        self._ends = ends
        self._counters: Counter[str] = Counter()
        self._reward_sum = 0.0

    def step_columns(self) -> list[ColumnSpec]:
        """Return what each transition has, besides next observations."""
        columns = list(self._layout.columns.values())
        actions = next(column for column in columns if column.name == ACTIONS)
        is_discrete = self.task.num_actions is not None and actions.dtype.kind == "i"
        space = {"type": "discrete", "n": self.task.num_actions} if is_discrete else None
        return [
            *(column for column in columns if column.name not in (ACTIONS, STEP_TYPES)),
            *(ColumnSpec(name, actions.dtype, actions.shape, space) for name in (ACTIONS, NEXT_ACTIONS)),
            ColumnSpec(TERMINALS, np.dtype(np.bool_)),
            ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
        ]

    def measurements(self) -> dict[str, Any]:
        """Return what was counted."""
        names = (RECORDS, ONE_STEP, _STARTS, _STARTS_REWARDED, _LASTS, _LASTS_REWARDED)
        return {name: self._counters[name] for name in names}

    def warnings(self) -> list[str]:
        """Say how the shard differs from what is documented."""
        counters = self._counters
        found = [*super().warnings(), *self._layout.unlike(self.task)]
        if counters[_STARTS] and counters[_LASTS_REWARDED] and not counters[_STARTS_REWARDED]:
            found.append(
                f"No reward at an episode's first step is other than 0, while {counters[_LASTS_REWARDED]:,} of "
                f"{counters[_LASTS]:,} rows of a last observation have one: the rewards seem to stand one row later "
                "than documented. They are stored as documented."
            )
        return found

    def left_out(self) -> list[str]:
        """Name what is no transition."""
        counters = self._counters
        texts = self._layout.left_out()
        if counters[ONE_STEP]:
            texts.append(f"{counters[ONE_STEP]:,} steps without a successor: no transition can be made of them")
        if counters[AFTER_LAST]:
            texts.append(f"{counters[AFTER_LAST]:,} pairs of a last observation and the next episode's first one")
        return texts
