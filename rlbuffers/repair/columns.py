"""Columns that a salvaged buffer can do without, and arrays that it cannot work out from others."""

from __future__ import annotations

from collections.abc import Collection

from rlbuffers.schema import (
    ACTIONS,
    EPISODES_GROUP,
    EXTRAS_GROUP,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    TIMEOUTS,
    BufferSpec,
    is_observation,
)

__all__ = ["optional_columns", "row_arrays", "spec_without"]

_ESSENTIAL = (ACTIONS, REWARDS, TERMINALS, TIMEOUTS)


def optional_columns(spec: BufferSpec) -> list[str]:
    """Return the columns that a buffer can do without; of episodes and extras as ``episodes/NAME``, ``extras/NAME``."""
    columns = [name for name in spec.columns if name not in _ESSENTIAL and not _is_any_observation(name)]
    facts = [f"{EPISODES_GROUP}/{name}" for name in spec.episode_columns]
    return [*columns, *facts, *(f"{EXTRAS_GROUP}/{name}" for name in spec.extras)]


def _is_any_observation(name: str) -> bool:
    return is_observation(name) or is_observation(name.removeprefix("next_"))


def row_arrays(spec: BufferSpec) -> list[str]:
    """Return the arrays with a row for each transition that cannot be worked out from others."""
    stacked = [name for name in spec.columns if spec.stack and _is_any_observation(name)]
    return [name for name in spec.columns if name not in (*stacked, STACK_INDEX)]


def spec_without(spec: BufferSpec, left_out: Collection[str]) -> BufferSpec:
    """Return a spec that lacks some of its `optional_columns`."""
    return BufferSpec(
        spec.layout,
        [column for name, column in spec.columns.items() if name not in left_out],
        spec.order,
        spec.stack,
        [column for name, column in spec.episode_columns.items() if f"{EPISODES_GROUP}/{name}" not in left_out],
        [column for name, column in spec.extras.items() if f"{EXTRAS_GROUP}/{name}" not in left_out],
    )
