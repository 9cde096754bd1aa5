"""One seed, many streams of randomness that do not touch one another."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Stream", "generator_of"]


class Stream(IntEnum):
    """What randomness is used for; a member's value must never change."""

    SAMPLER = 0
    POLICY = 1
    EVALUATION = 2
    FINAL_EVALUATION = 3
    ENVIRONMENT = 4
    REPLAY = 5
    CONFIRMATION = 6
    LATER_EVALUATION = 7
    VIDEO = 8
    FITTED_Q = 9


def generator_of(seed: int, stream: Stream, number: int = 0) -> np.random.Generator:
    """Return the generator of a stream.

    Parameters
    ----------
    seed : int
        Of the whole run, 0 or above.
    stream : Stream
        What for.
    number : int
        Such as the epoch, where every epoch gets randomness of its own. An evaluation then gives
        the same numbers whatever happened before it, also in a resumed run.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, number)))
