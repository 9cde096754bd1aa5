from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbuffers.errors import UsageError
from rlbuffers_train.batch import make_batch
from rlbuffers_train.networks.discrete import QuantileNetwork, TwoHeadedNetwork
from rlbuffers_train.networks.features import FlatFeatures, PixelFeatures

CPU = torch.device("cpu")


def test_nature_features_have_the_published_size() -> None:
    assert PixelFeatures((4, 84, 84)).num_features == 3136


@pytest.mark.parametrize(("scales", "divisor"), [(True, 255.0), (False, 1.0)])
def test_pixels_are_divided_by_255_inside_the_network_unless_told_otherwise(scales: bool, divisor: float) -> None:
    features = PixelFeatures((4, 84, 84), scales_pixels=scales)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84), np.uint8))
    with torch.no_grad():
        expected = features.convolutions(pixels.float() / divisor)
        torch.testing.assert_close(features(pixels), expected)


@pytest.mark.parametrize(("shape", "is_enough"), [((4, 36, 36), True), ((4, 35, 84), False), ((84, 84, 4), False)])
def test_frames_that_are_too_small_are_refused(shape: tuple[int, ...], is_enough: bool) -> None:
    if is_enough:
        features = PixelFeatures(shape)
        assert features(torch.zeros(2, *shape, dtype=torch.uint8)).shape == (2, features.num_features)
    else:
        with pytest.raises(UsageError, match="convolutions need frames first, and 36 x 36 pixels at least"):
            PixelFeatures(shape)


def test_output_shapes() -> None:
    vectors = torch.zeros((3, 2, 2))
    quantiles = QuantileNetwork(FlatFeatures((2, 2)), (8,), 5, 7)(vectors)
    assert quantiles.shape == (3, 5, 7)
    values, logits = TwoHeadedNetwork(FlatFeatures((2, 2)), (8,), 5)(vectors)
    assert values.shape == logits.shape == (3, 5)


def test_overlapping_and_read_only_views_become_right_tensors() -> None:
    rng = np.random.default_rng(0)
    windows = rng.integers(0, 256, (6, 5, 3, 4), np.uint8)
    columns = {
        "observations": windows[:, :4],
        "next_observations": windows[:, 1:],
        "actions": rng.integers(0, 3, 6).astype(np.int32),
        "rewards": rng.normal(size=6),
        "terminals": np.array([0, 1, 0, 0, 1, 0], bool),
    }
    columns["rewards"].flags.writeable = False
    batch = make_batch(columns, 0.9, CPU)
    np.testing.assert_array_equal(batch.observations.numpy(), windows[:, :4])
    np.testing.assert_array_equal(batch.next_observations.numpy(), windows[:, 1:])
    assert (batch.actions.dtype, batch.rewards.dtype) == (torch.int64, torch.float32)
    np.testing.assert_allclose(batch.rewards.numpy(), columns["rewards"], rtol=1e-6)
    np.testing.assert_allclose(batch.discounts.numpy(), [0.9, 0.0, 0.9, 0.9, 0.0, 0.9], rtol=1e-6)


def test_a_timeout_bootstraps() -> None:
    columns = {
        "observations": np.zeros((2, 1), np.float32),
        "next_observations": np.zeros((2, 1), np.float32),
        "actions": np.zeros(2, np.int64),
        "rewards": np.zeros(2, np.float32),
        "terminals": np.array([False, True]),
        "timeouts": np.array([True, False]),
    }
    np.testing.assert_allclose(make_batch(columns, 0.5, CPU).discounts.numpy(), [0.5, 0.0])


def test_what_was_not_read_has_no_rows() -> None:
    columns = {"observations": np.ones((6, 2), np.float32), "actions": np.zeros(6, np.int64)}
    batch = make_batch(columns, 0.9, CPU)
    assert torch.equal(batch.observations, torch.ones(6, 2))
    assert batch.next_observations.shape == (0, 2)
    assert batch.rewards.shape == batch.discounts.shape == (0,)
