"""Under which names, and how, the container's own library is to show what is not stored as it is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlbuffers.schema import NEXT_OBSERVATIONS, OBSERVATIONS, BufferSpec, final_name, next_name
from rlbuffers.stores.base import StackView, StepView, View
from rlbuffers.writing.episode_facts import EpisodeFacts

__all__ = ["views_of"]


def views_of(
    spec: BufferSpec, episodes: EpisodeFacts, num_transitions: int, override_rows: Sequence[int]
) -> list[View]:
    """Return the views of a whole buffer.

    Parameters
    ----------
    spec : BufferSpec
        Its columns.
    episodes : EpisodeFacts
        All of them.
    num_transitions : int
        Number of rows.
    override_rows : sequence of int
        Rows whose next observation is not the last frames of their own.
    """
    starts, lengths = np.array(episodes.starts, np.int64), np.array(episodes.lengths, np.int64)
    if not spec.stack:
        if spec.layout == "transitions":
            return []
        return [StepView(next_name(name), name, final_name(name), starts, lengths) for name in spec.observation_names]
    if spec.layout == "transitions":
        starts, lengths = np.zeros(1, np.int64), np.array([num_transitions], np.int64)
        frames, step = starts, spec.stack + 1
    else:
        frames, step = starts + np.arange(len(starts)) * spec.stack, 1
    none, overrides = np.empty(0, np.int64), np.array(override_rows, np.int64)
    return [
        StackView(OBSERVATIONS, spec.stack, 0, step, starts, frames, lengths, none),
        StackView(NEXT_OBSERVATIONS, spec.stack, 1, step, starts, frames, lengths, overrides),
    ]
