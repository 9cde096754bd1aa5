"""Operators of torch that have no public name: used if they are right, and replaced without a difference."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batches import box_batch
from torch import nn

from rlbuffers_train import targets
from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.networks import linear
from rlbuffers_train.networks.linear import is_worth_it, onednn_as
from rlbuffers_train.problem import BoxActions, ProblemSpec
from rlbuffers_train.settings import with_changes
from rlbuffers_train.torch_operators import find_lerp, find_onednn_linear, find_relu_gradient

CPU = torch.device("cpu")


def wrong(*arguments: Any, **others: Any) -> torch.Tensor:
    return torch.zeros(3)


def raising(*arguments: Any, **others: Any) -> torch.Tensor:
    raise RuntimeError("expected at most 2 arguments")


def operators(owner: SimpleNamespace) -> Any:
    """Return stand-ins for `torch.ops`, whose parts cannot be replaced one by one."""
    return SimpleNamespace(aten=owner, mkldnn=owner)


@pytest.mark.parametrize("find", [find_onednn_linear, find_relu_gradient])
@pytest.mark.parametrize("there", [None, wrong, raising])
def test_an_operator_that_is_missing_or_wrong_is_not_used(
    find: Callable[[], Any], there: Callable[..., Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find is find_relu_gradient:
        assert find() is not None  # in this torch
    owner = SimpleNamespace()
    if there is not None:
        owner = SimpleNamespace(_linear_pointwise=there, threshold_backward=there)
    monkeypatch.setattr(torch, "ops", operators(owner))
    assert find() is None


@pytest.mark.parametrize("there", [None, wrong, raising])
def test_a_lerp_that_is_missing_or_wrong_is_not_used(
    there: Callable[..., Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_lerp() is not None
    if there is None:
        monkeypatch.delattr(torch, "_foreach_lerp_")
    else:
        monkeypatch.setattr(torch, "_foreach_lerp_", there)
    assert find_lerp() is None


def losses(name: str) -> dict[str, float]:
    """Return what some updates of wide networks lose, and where the weights have come to."""
    problem = ProblemSpec((3,), "float32", BoxActions((-1.0, -1.0), (1.0, 1.0)))
    torch.manual_seed(0)
    algorithm_class = load_algorithm(name, "box")
    config = with_changes(algorithm_class.recommended(problem), {"norm_obs": False})
    algorithm = algorithm_class(problem, config, np.random.default_rng(0), CPU)
    many = [box_batch(seed) for seed in range(22)]  # 264 rows: products that are large enough for oneDNN
    batch = TransitionBatch(*(torch.cat(parts).float() for parts in zip(*(one[:5] for one in many), strict=True)))
    found = {}
    for number in range(4):
        found.update({f"{key} {number}": float(value) for key, value in algorithm.update(batch).items()})
    return found


@pytest.mark.parametrize("name", ["bcq", "td3-bc"])
def test_public_functions_give_the_same_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with onednn_as("on"):
        fast = losses(name)
    with onednn_as("off"):
        by_torch = losses(name)
    monkeypatch.setattr(targets, "_LERP", None)
    monkeypatch.setattr(linear, "_RELU_GRADIENT", None)
    with onednn_as("on"):
        public = losses(name)
    assert fast
    assert fast == pytest.approx(by_torch, rel=1e-3, abs=1e-5)
    assert fast == pytest.approx(public, rel=1e-3, abs=1e-5)


def test_targets_move_alike_with_and_without_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    online, first, second = nn.Linear(7, 5), nn.Linear(7, 5), nn.Linear(7, 5)
    second.load_state_dict(first.state_dict())
    expected = first.weight.detach() + 0.1 * (online.weight.detach() - first.weight.detach())
    targets.soft_update(first, online, 0.1)
    monkeypatch.setattr(targets, "_LERP", None)
    targets.soft_update(second, online, 0.1)
    for target in (first, second):
        torch.testing.assert_close(target.weight.detach(), expected)


def test_onednn_is_off_where_it_is_told_and_comes_back() -> None:
    large = torch.zeros(512, 512)
    before = is_worth_it(large, large)
    with onednn_as("off"):
        assert not is_worth_it(large, large)
        with onednn_as("on"):
            assert is_worth_it(large, large) == (find_onednn_linear() is not None)
        assert not is_worth_it(large, large)
    assert is_worth_it(large, large) == before
