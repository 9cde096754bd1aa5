from __future__ import annotations

import math

import numpy as np
import pytest

from rlbuffers.errors import UsageError
from rlbuffers_train.playing.confidence import student_t, summarize_runs


def test_one_and_two_degrees_have_closed_forms() -> None:
    assert student_t(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-12)
    assert student_t(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)


@pytest.mark.parametrize(
    ("degrees", "published"), [(3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (29, 2.045), (120, 1.980)]
)
def test_others_are_those_of_printed_tables(degrees: int, published: float) -> None:
    assert student_t(degrees) == pytest.approx(published, abs=6e-4)


def test_an_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for values in rng.normal(3.0, 2.0, (4000, 4)):
        found = summarize_runs(values.tolist())
        assert found.half_width is not None
        held += abs(found.mean - 3.0) < found.half_width
    assert held / 4000 == pytest.approx(0.95, abs=0.012)


def test_one_run_has_no_interval() -> None:
    found = summarize_runs([7.5])
    assert (found.mean, found.half_width, str(found)) == (7.5, None, "7.5 (one run)")
    with pytest.raises(UsageError, match="at least 1 degree of freedom"):
        student_t(0)
