from __future__ import annotations

import pickle

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import UsageError
from rlbuffers.transforms import ClipRewards, ConvertDtypes, NormalizeObservations, ScaleObservations, ScaleRewards

VECTORS = Recipe(
    "episodes", (40, 60), observations=(("observations/a", "float64", (3,)), ("observations/b", "int16", ()))
)


@pytest.fixture(scope="module")
def buffer(new_path):
    return rlbuffers.open(write(new_path("memory"), make(VECTORS)))


def test_observations_are_normalized_by_the_stored_statistics(buffer):
    table = make(VECTORS).table
    transform = NormalizeObservations.of(buffer, epsilon=0.5)
    batch = transform(buffer[:])
    for name in ("a", "b"):
        stored = table[f"observations/{name}"].astype(np.float64)
        mean, std = stored.mean(axis=0), stored.std(axis=0)
        for column in (f"observations/{name}", f"next_observations/{name}"):
            assert batch[column].dtype == np.float32
            np.testing.assert_allclose(batch[column], (table[column] - mean) / (std + 0.5), rtol=1e-3, atol=1e-4)
    assert batch["rewards"] is not None
    assert batch["actions"].dtype == np.int64


def test_there_are_no_statistics_of_images(new_path):
    with rlbuffers.open(write(new_path("memory"), make(Recipe("episodes", (5,), stack=2)))) as images:
        with pytest.raises(UsageError, match="no mean and standard deviation of 'observations' to normalize by"):
            NormalizeObservations.of(images)
        batch = ScaleObservations()(images[:2])
        np.testing.assert_allclose(batch["observations"], images[:2]["observations"] / 255, rtol=1e-6)
        assert batch["next_observations"].dtype == np.float32


def test_constant_observations_stay_finite():
    transform = NormalizeObservations({"observations": [1.0, 2.0]}, {"observations": [0.0, 1.0]})
    found = transform({"observations": np.array([[1.0, 3.0]])})["observations"]
    np.testing.assert_allclose(found, [[0.0, 1 / 1.001]], rtol=1e-6)


@pytest.mark.parametrize(("given", "wanted"), [("int8", "float32"), ("float16", "float32"), ("float64", "float64")])
def test_rewards_are_scaled(given, wanted):
    rewards = np.array([1, -2, 3], given)
    found = ScaleRewards(0.1, -1)({"rewards": rewards})["rewards"]
    np.testing.assert_allclose(found, [-0.9, -1.2, -0.7], rtol=1e-6)
    assert found.dtype == wanted
    assert rewards.tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("given", "wanted"), [("int8", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_rewards_are_clipped(given, wanted):
    for low, high in ((-1, 1), (-0.5, 0.25)):
        found = ClipRewards(low, high)({"rewards": np.array([-100, 0, 1, 100], given)})["rewards"]
        assert found.tolist() == [low, 0, high, high]
        assert found.dtype == wanted
    with pytest.raises(UsageError, match=r"clipped to \[1, 0\]"):
        ClipRewards(1, 0)


def test_dtypes_are_converted_by_name_or_dtype():
    batch = {"a": np.zeros(2, "f8"), "b": np.zeros(2, "f8"), "c": np.zeros(2, "i4")}
    found = ConvertDtypes({"float64": "float32", "b": "float16"})(batch)
    assert [values.dtype.name for values in found.values()] == ["float32", "float16", "int32"]
    assert found["c"] is batch["c"]


def test_columns_that_are_not_there_are_no_matter_and_inputs_stay():
    batch = {"actions": np.arange(3)}
    normalize = NormalizeObservations({"observations": 0.0}, {"observations": 1.0})
    for transform in (ScaleRewards(2), ClipRewards(), normalize, ScaleObservations(), ConvertDtypes({"float64": "f4"})):
        assert list(transform(batch)) == ["actions"]
        copied = pickle.loads(pickle.dumps(transform))
        given = {"rewards": np.array([0.5, 4.0]), "observations": np.array([[1.0], [2.0]])}
        kept = {name: values.copy() for name, values in given.items()}
        first, second = transform(given), copied(given)
        for name, values in kept.items():
            np.testing.assert_array_equal(given[name], values)
            np.testing.assert_array_equal(first[name], second[name])
