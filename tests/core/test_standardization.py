"""One formula in three places, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rlbuffers.editing.normalizer import Normalizer
from rlbuffers.standardization import Standardization
from rlbuffers.transforms import NormalizeObservations

# A pressure that hardly varies, an angle, and an element that does not vary at all.
MEAN, STD = np.array([101_325.3, 0.1, 7.0]), np.array([0.02, 1.3, 0.0])
VALUES = np.random.default_rng(0).normal(MEAN, STD, (500, 3)).astype(np.float32)


def exact(values: np.ndarray) -> np.ndarray:
    def one(value: float, mean: float, std: float) -> float:
        return float((Fraction(float(value)) - Fraction(mean)) / (Fraction(std) + Fraction(1e-3)))

    return np.array([[one(*triple) for triple in zip(row, MEAN, STD, strict=True)] for row in values])


def test_the_result_is_the_exact_one_rounded_once() -> None:
    found = Standardization(MEAN, STD).apply(VALUES, np.float32)
    expected = exact(VALUES)
    assert np.abs(found - expected).max() <= np.abs(np.spacing(expected.astype(np.float32))).max()
    np.testing.assert_allclose(Standardization(MEAN, STD).undo(expected), VALUES, rtol=1e-12)


def test_single_precision_would_not_do() -> None:
    single = (VALUES - MEAN.astype(np.float32)) / (STD.astype(np.float32) + np.float32(1e-3))
    assert np.abs(single - exact(VALUES))[:, 0].max() > 0.1


def test_buffers_batches_and_policies_agree_to_the_bit() -> None:
    torch = pytest.importorskip("torch")
    standardizer = pytest.importorskip("rlbuffers_train.standardizer")
    problem = pytest.importorskip("rlbuffers_train.problem")
    statistics = problem.ObservationStatistics(tuple(MEAN.tolist()), tuple(STD.tolist()))
    column = "observations"
    found = [
        Normalizer({column: MEAN}, {column: STD}, {column: "float32"}, 1e-3).apply(VALUES),
        NormalizeObservations({column: MEAN}, {column: STD})({column: VALUES})[column],
        standardizer.Standardizer(statistics, torch.device("cpu"))(torch.from_numpy(VALUES)).numpy(),
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
        assert other.dtype == np.float32
