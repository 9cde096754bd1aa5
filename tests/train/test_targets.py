"""Targets and losses against loops in float64 that follow the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlbuffers_train.targets import quantile_huber_loss, quantile_midpoints, td_target


def slow_quantile_huber(quantiles: np.ndarray, targets: np.ndarray, kappa: float) -> np.ndarray:
    """Dabney et al. 2018: the sum over i of the mean over j of |tau_i - [u < 0]| L_kappa(u) / kappa."""
    losses = []
    for predicted, sampled in zip(quantiles, targets, strict=True):
        total = 0.0
        for i, theta in enumerate(predicted):
            tau = (2 * (i + 1) - 1) / (2 * len(predicted))
            rho = []
            for target in sampled:
                u = target - theta
                huber = 0.5 * u**2 if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
                rho.append(abs(tau - float(u < 0)) * huber / kappa)
            total += sum(rho) / len(rho)
        losses.append(total)
    return np.array(losses)


@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
def test_quantile_huber_loss_equals_the_papers_formula(kappa: float) -> None:
    rng = np.random.default_rng(0)
    quantiles, targets = rng.normal(0, 3, (4, 7)), rng.normal(0, 3, (4, 5))
    found = quantile_huber_loss(
        torch.tensor(quantiles, dtype=torch.float32),
        torch.tensor(targets, dtype=torch.float32),
        quantile_midpoints(7),
        kappa,
    )
    np.testing.assert_allclose(found.numpy(), slow_quantile_huber(quantiles, targets, kappa), rtol=1e-5)


@pytest.mark.parametrize("kappa", [0.5, 1.0])
def test_gradient_of_the_quantile_huber_loss_equals_differences(kappa: float) -> None:
    rng = np.random.default_rng(1)
    quantiles, targets = rng.normal(0, 2, (2, 5)), rng.normal(0, 2, (2, 6))
    leaf = torch.tensor(quantiles, dtype=torch.float64, requires_grad=True)
    midpoints = quantile_midpoints(5).double()
    quantile_huber_loss(leaf, torch.tensor(targets), midpoints, kappa).sum().backward()
    step = 1e-6
    for index in np.ndindex(quantiles.shape):
        above, below = quantiles.copy(), quantiles.copy()
        above[index] += step
        below[index] -= step
        difference = slow_quantile_huber(above, targets, kappa).sum() - slow_quantile_huber(below, targets, kappa).sum()
        assert leaf.grad is not None
        assert leaf.grad[index].item() == pytest.approx(difference / (2 * step), rel=1e-4, abs=1e-7)


def test_minimum_lies_at_the_quantiles() -> None:
    samples = torch.from_numpy(np.random.default_rng(2).normal(0, 100, (1, 4000)))
    leaf = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([leaf], lr=5.0)
    for _ in range(300):
        optimizer.zero_grad()
        quantile_huber_loss(leaf, samples, quantile_midpoints(3).double()).sum().backward()
        optimizer.step()
    expected = np.quantile(samples.numpy(), [1 / 6, 3 / 6, 5 / 6])
    np.testing.assert_allclose(leaf.detach().numpy()[0], expected, atol=8.0)


def test_midpoints() -> None:
    np.testing.assert_allclose(quantile_midpoints(4).numpy(), [0.125, 0.375, 0.625, 0.875])


@pytest.mark.parametrize("trailing", [(), (3,)])
def test_td_target(trailing: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    rewards, discounts = rng.normal(size=4).astype(np.float32), np.array([0.9, 0.0, 0.5, 1.0], np.float32)
    values = rng.normal(size=(4, *trailing)).astype(np.float32)
    found = td_target(torch.tensor(rewards), torch.tensor(discounts), torch.tensor(values)).numpy()
    for row in range(4):
        np.testing.assert_allclose(found[row], rewards[row] + discounts[row] * values[row], rtol=1e-6)
