from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers_train.networks import linear
from rlbuffers_train.networks.critics import CriticEnsemble
from rlbuffers_train.networks.linear import OutputLayer, chain, is_worth_it, onednn_as
from rlbuffers_train.networks.orthogonal import make_orthogonal


@pytest.fixture(autouse=True, params=["on", "off", "public"])
def multiplied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Products by oneDNN where it is, by torch, and by oneDNN between torch's public functions."""
    if request.param == "public":
        monkeypatch.setattr(linear, "_RELU_GRADIENT", None)
    with onednn_as("on" if request.param == "public" else request.param):
        yield request.param


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(256, 40, 200), (32, 700, 90), (3, 5, 4), (9000, 150, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_layer_and_gradients_are_those_of_plain_products(
    rows: int, inputs: int, outputs: int, transposed: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, inputs, generator=generator, requires_grad=True)
    shape = (inputs, outputs) if transposed else (outputs, inputs)
    stored = (torch.randn(shape, generator=generator) / inputs**0.5).requires_grad_()
    bias = torch.randn(outputs, generator=generator, requires_grad=True)
    slope = torch.randn(rows, outputs, generator=generator)
    found = chain(x, [(stored.t() if transposed else stored, bias)])
    gradients = torch.autograd.grad((found * slope).sum(), [x, stored, bias])
    exact_x, exact_weight, exact_slope = x.detach().double(), stored.detach().double(), slope.double()
    weight = exact_weight.t() if transposed else exact_weight
    of_weight = exact_slope.t() @ exact_x
    expected = [
        exact_x @ weight.t() + bias.detach().double(),
        exact_slope @ weight,
        of_weight.t() if transposed else of_weight,
        exact_slope.sum(dim=0),
    ]
    for mine, right in zip([found, *gradients], expected, strict=True):
        assert mine.dtype == torch.float32
        assert (mine.double() - right).norm() < 1e-5 * right.norm()


@pytest.mark.parametrize("rectifies", [False, True])
@pytest.mark.parametrize("wanted", ["all", "inputs", "last layer", "biases", "nothing"])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_a_chain_are_those_of_its_parts(rectifies: bool, wanted: str, transposed: bool) -> None:
    """Whoever asks for some gradients gets these; incoming ones stay as they are."""
    torch.manual_seed(0)
    sizes = (17, 256, 200, 6)  # products that oneDNN computes, and smaller ones
    inputs, slope = torch.randn(256, sizes[0]), torch.randn(256, sizes[-1])
    layers = []
    for before, after in itertools.pairwise(sizes):
        weight = torch.randn((before, after) if transposed else (after, before)) / before**0.5
        layers.append((weight, torch.randn(after)))
    leaves = {
        "all": [inputs, *itertools.chain(*layers)],
        "inputs": [inputs],
        "last layer": list(layers[-1]),
        "biases": [bias for _, bias in layers],
        "nothing": [],
    }[wanted]
    for leaf in leaves:
        leaf.requires_grad_()
    found = chain(inputs, [(w.t() if transposed else w, b) for w, b in layers], rectifies=rectifies)
    assert found.requires_grad == bool(leaves)
    exact = inputs.double()
    for number, (weight, bias) in enumerate(layers):
        exact = exact @ (weight if transposed else weight.t()).double() + bias.double()
        if number < len(layers) - 1 or rectifies:
            exact = exact.relu()
    assert (found - exact).norm() < 1e-5 * exact.norm()
    if leaves:
        kept = slope.clone()
        gradients = torch.autograd.grad(found, leaves, slope)
        assert torch.equal(slope, kept)
        for mine, right in zip(gradients, torch.autograd.grad(exact, leaves, slope.double()), strict=True):
            assert (mine - right).norm() < 1e-5 * right.norm()


def test_onednn_multiplies_what_is_large_and_float32(multiplied: str) -> None:
    capable = (
        multiplied != "off"
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    )
    large, weight = torch.zeros(256, 256), torch.zeros(256, 256)
    assert is_worth_it(large, weight) == capable
    assert not is_worth_it(large[:4], weight)
    assert not is_worth_it(large, weight[:1])
    assert not is_worth_it(large.double(), weight.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_worth_it(large, weight)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("size", [8, 256])  # computed in batched products, and one member after the other
def test_critics_are_independent_networks(size: int, layer_norm: bool) -> None:
    torch.manual_seed(0)
    critics = CriticEnsemble(3, 17, 6, (size, size), layer_norm=layer_norm)
    for norm in critics.norms:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    observations, actions = torch.randn(256, 17), torch.randn(256, 6)
    values = critics(observations, actions)
    assert values.shape == (3, 256)
    for member in range(3):
        hidden = torch.cat([observations, actions], dim=1).double()
        for number, layer in enumerate(critics.hidden):
            hidden = F.relu(hidden @ layer.weight[member].double() + layer.bias[member].double())
            if layer_norm:
                norm = critics.norms[number]
                centered = hidden - hidden.mean(dim=1, keepdim=True)
                hidden = centered / (centered.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
                hidden = hidden * norm.weight[member].double() + norm.bias[member].double()
        expected = hidden @ critics.last.weight[member].double() + critics.last.bias[member].double()
        torch.testing.assert_close(values[member].double(), expected[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 256])
def test_judging_gives_gradients_to_actions_alone(size: int) -> None:
    torch.manual_seed(0)
    critics = CriticEnsemble(2, 17, 6, (size, size))
    observations, actions = torch.randn(256, 17), torch.randn(256, 6, requires_grad=True)
    values = critics(observations, actions)
    judged = critics.judge(observations, actions)
    assert torch.equal(judged, values)
    torch.testing.assert_close(critics.judge(observations, actions, 1), values[:1])
    (expected,) = torch.autograd.grad(values[1].sum(), actions)
    judged[1].sum().backward()
    torch.testing.assert_close(actions.grad, expected)
    assert all(parameter.grad is None for parameter in critics.parameters())


def test_output_layers_stay_float32_in_bfloat16() -> None:
    layer = OutputLayer(16, 4)
    inputs = torch.randn(8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(inputs.bfloat16())
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, F.linear(inputs.bfloat16().float(), layer.weight, layer.bias))


def test_orthogonal_weights_keep_lengths() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 32, 8), nn.Linear(50, 20), OutputLayer(20, 3))
    make_orthogonal(network)
    for layer, gain in zip(network, (2.0, 2.0, 1.0), strict=True):
        rows = layer.weight.detach().flatten(start_dim=1)
        torch.testing.assert_close(rows @ rows.t(), gain * torch.eye(len(rows)), atol=1e-5, rtol=0)
        assert not layer.bias.any()
