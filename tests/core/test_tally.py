from __future__ import annotations

import numpy as np
import pytest

from rlbuffers.errors import CorruptDataError
from rlbuffers.tally import Tally, require_equal

REWARDS = np.array([1e6, -1e6, 3.0])


@pytest.mark.parametrize("after", [Tally(2, 3, 3.0), Tally(None, 3, 3.0), Tally(2, 3, 3.0 + 1e-4)])
def test_equal_counts_and_rounded_sums_pass(after):
    require_equal(Tally(2, 3, 3.0), after, REWARDS, "x")


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (Tally(2, 4, 3.0), "x: 4 transitions were written of 3 read"),
        (Tally(1, 3, 3.0), "x: 1 episodes were written of 2 read"),
        (Tally(2, 3, 3.1), "x: rewards sum to 3.1, those of the source to 3.0"),
    ],
)
def test_what_differs_is_named(after, message):
    with pytest.raises(CorruptDataError, match=message):
        require_equal(Tally(2, 3, 3.0), after, REWARDS, "x")


def test_sums_that_overflow_are_left_to_other_checks():
    require_equal(Tally(2, 3, np.inf), Tally(2, 3, np.nan), REWARDS, "x")
