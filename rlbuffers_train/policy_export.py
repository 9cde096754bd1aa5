"""A policy as a file that runs without this package: a program of `torch.export`, or ONNX.

TorchScript is not among them: torch has deprecated it for `torch.export`. The file maps a batch of observations, as
the environment gives them, to actions in the environment's units. Normalization and scaling are part of it; exploration
is not: a policy that is a distribution acts on its mode.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rlbuffers.atomic import AtomicPath
from rlbuffers.errors import MissingDependencyError, RlbuffersError, UnsupportedError, UsageError
from rlbuffers.metadata import written_by
from rlbuffers.optional import require
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.checkpoint import build_algorithm, file_sha256, load_checkpoint
from rlbuffers_train.comparing.checkpoint_evaluation import step_name_of
from rlbuffers_train.running.run_folder import find_checkpoint

__all__ = ["ExportedPolicy", "export_policy"]

Array = np.ndarray[Any, Any]
_PROGRAM, _ONNX = ".pt2", ".onnx"
_FACTS_FILE = "policy.json"
_NUM_CHECKS = 64
_TOLERANCE = 1e-4  # relative to the range of actions


@dataclass(frozen=True)
class ExportedPolicy:
    """What was written.

    Parameters
    ----------
    path : Path
        The file.
    facts : mapping
        What stands in it beside the networks: task, observations, actions, where it is from.
    is_checked : bool
        Whether its actions were compared with the checkpoint's; for ONNX that needs onnxruntime.
    """

    path: Path
    facts: dict[str, Any]
    is_checked: bool


def export_policy(checkpoint_path: Path | str, output: Path | str, *, overwrite: bool = False) -> ExportedPolicy:
    """Write the policy of a checkpoint.

    Parameters
    ----------
    checkpoint_path : Path or str
        Of any algorithm whose policy is a function of the observation. The folder of a run means its best epoch.
    output : Path or str
        ``.pt2`` for `torch.export.load`, ``.onnx`` for ONNX runtimes. The input ``observations`` is float32
        (B, *obs), or uint8 for stacks of images; the output ``actions`` is int64 (B,) or float32 (B, D); any B.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    UsageError
        If the output's name ends in something else.
    BufferExistsError
        If it exists.
    UnsupportedError
        If the policy draws its actions at random, as BCQ's for vectors does.
    """
    output = Path(output)
    suffix = output.suffix.lower()
    if suffix not in (_PROGRAM, _ONNX):
        hint = "; TorchScript is deprecated, .pt2 is its successor" if suffix in (".pt", ".pth", ".ts") else ""
        raise UsageError(f"{output}: policies are exported as .pt2 (torch.export) or .onnx{hint}")
    checkpoint_path = find_checkpoint(checkpoint_path)
    # Tracing takes seconds: whether the file can be written shows before.
    target = AtomicPath(output, overwrite=overwrite)
    try:
        content, facts, is_checked = _render(checkpoint_path, output)
        target.partial.write_bytes(content)
        target.publish()
    finally:
        target.discard()
    return ExportedPolicy(output, facts, is_checked)


def _render(checkpoint_path: Path, output: Path) -> tuple[bytes, dict[str, Any], bool]:
    """Return the content of the file, what it says of itself, and whether its actions were compared."""
    checkpoint = load_checkpoint(checkpoint_path, torch.device("cpu"))
    algorithm = build_algorithm(checkpoint, np.random.default_rng(0), torch.device("cpu"))
    observations = _random_observations(algorithm)
    policy = _PolicyModule(algorithm, observations).requires_grad_(False)
    expected = policy(observations)
    facts = {
        "format": "rlbuffers-policy",
        "algorithm": checkpoint.algorithm,
        "task": checkpoint.task,
        "step": checkpoint.step,
        "step_name": step_name_of(checkpoint),
        "observations": {"shape": list(algorithm.problem.observation_shape), "dtype": str(observations.dtype)[6:]},
        "actions": algorithm.problem.to_json()["actions"],
        "normalizes_observations": bool(algorithm.config.norm_obs or algorithm.problem.normalization),
        "checkpoint_sha256": file_sha256(checkpoint_path),
        "written_by": written_by(),
    }
    program = _trace(policy, observations)
    if output.suffix.lower() == _PROGRAM:
        content = _program_bytes(program, facts)
        found: torch.Tensor | None = torch.export.load(io.BytesIO(content)).module()(observations)
    else:
        content = _onnx_bytes(program, facts)
        found = _run_onnx(content, observations)
    if found is not None:
        _require_same(found, expected, output)
    return content, facts, found is not None


class _PolicyModule(nn.Module):
    """An algorithm's best actions, with the networks that they take and no others."""

    def __init__(self, algorithm: Algorithm[Any], observations: torch.Tensor) -> None:
        super().__init__()
        self._algorithm = algorithm
        self.networks = nn.ModuleDict(_networks_in_use(algorithm, observations))
        for parameter in self.networks.parameters():
            # Training may lay convolutions out otherwise; files keep tensors in torch's usual order.
            parameter.data = parameter.data.contiguous()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self._algorithm.problem.actions.numbered(_choose(self._algorithm, observations))
        return actions


class _NoRandomness:
    """Stands where a generator is expected."""

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedError(
            "the policy draws its actions at random, so it is no function of the observation; it cannot be exported"
        )


def _choose(algorithm: Algorithm[Any], observations: torch.Tensor) -> torch.Tensor:
    randomness: Any = _NoRandomness()
    return algorithm.choose(algorithm.prepare(observations), randomness, samples=False)


def _networks_in_use(algorithm: Algorithm[Any], observations: torch.Tensor) -> dict[str, nn.Module]:
    """Return the networks that are called when the policy acts."""
    called: set[nn.Module] = set()
    networks = {name: part for name, part in vars(algorithm).items() if isinstance(part, nn.Module)}
    hooks = [
        module.register_forward_hook(lambda module, *_: called.add(module))
        for network in networks.values()
        for module in network.modules()
    ]
    with torch.no_grad():
        _choose(algorithm, observations)
    for hook in hooks:
        hook.remove()
    return {name: network for name, network in networks.items() if called.intersection(network.modules())}


def _random_observations(algorithm: Algorithm[Any]) -> torch.Tensor:
    problem, generator = algorithm.problem, torch.Generator().manual_seed(0)
    shape = (_NUM_CHECKS, *problem.observation_shape)
    if problem.is_pixels:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(shape, generator=generator)


def _trace(policy: _PolicyModule, observations: torch.Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad(), _silent():
        batch = torch.export.Dim("batch")
        return torch.export.export(policy.eval(), (observations[:2],), dynamic_shapes=({0: batch},))


def _program_bytes(program: torch.export.ExportedProgram, facts: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={_FACTS_FILE: json.dumps(facts)})
    return stream.getvalue()


def _onnx_bytes(program: torch.export.ExportedProgram, facts: dict[str, Any]) -> bytes:
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx", purpose="Exporting to ONNX")
    with _silent():
        exported = torch.onnx.export(
            program, input_names=["observations"], output_names=["actions"], dynamo=True, verbose=False
        )
    if exported is None:
        raise RlbuffersError("torch wrote no ONNX")
    proto = exported.model_proto
    for name, value in facts.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value if isinstance(value, str) else json.dumps(value)
    content: bytes = proto.SerializeToString()
    return content


def _run_onnx(content: bytes, observations: torch.Tensor) -> torch.Tensor | None:
    """Return what ONNX Runtime makes of observations, or None where it is not installed."""
    try:
        runtime = require("onnxruntime", extra="onnx", purpose="Checking an exported policy")
    except MissingDependencyError:
        return None
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["actions"], {"observations": observations.numpy()})[0])


def _require_same(found: torch.Tensor, expected: torch.Tensor, output: Path) -> None:
    if expected.dtype == torch.int64:
        # Two actions of nearly the same value may change places.
        differing = float((found != expected).float().mean())
        is_same = differing <= 1.5 / _NUM_CHECKS
    else:
        scale = float(expected.abs().max()) or 1.0
        differing = float((found - expected).abs().max()) / scale
        is_same = differing <= _TOLERANCE
    if not is_same:
        raise RlbuffersError(f"{output}: the exported policy acts otherwise than the checkpoint's, by {differing:.2g}")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what torch's exporters say of their own inner workings from the user."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
