"""Everything needed to go on bit for bit, in one file that runs no code when it is read.

A checkpoint is a file of `torch.save` with tensors, numbers and texts only. Whatever is no tensor is
one JSON text. It is written under a temporary name and renamed, so a killed run leaves the old one.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, UsageError
from rlbuffers.local_inputs import refuse_special
from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.problem import ProblemSpec

__all__ = ["Checkpoint", "build_algorithm", "file_sha256", "load_checkpoint", "save_checkpoint"]

_FORMAT = "rlbuffers-checkpoint"
_VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run between two updates.

    Parameters
    ----------
    algorithm : str
        Name in the table of algorithms.
    task : str or None
        What the policy is evaluated on; None without evaluation.
    problem : ProblemSpec
        Observations and actions that the networks were made for.
    config : mapping
        The algorithm's hyperparameters, JSON types.
    settings : mapping
        The trainer's settings, JSON types.
    buffer_fingerprint : str or None
        Of the data trained on; None for online training.
    step : int
        Number of updates, or of environment steps for online training.
    history : sequence of mapping
        One record an epoch, JSON types.
    streams : mapping
        States of the random generators and samplers by name, JSON types.
    algorithm_state : mapping
        Weights, target weights, optimizers, noise.
    torch_random_state : uint8 tensor
        State of torch's generator.
    environment : mapping
        What the metadata of the data say of their environment, such as its ``id``; empty for online training.
    unfinished_epoch : mapping
        Of a training that was stopped within an epoch: the ``metrics`` of it so far, and the ``seconds`` of all.
    """

    algorithm: str
    task: str | None
    problem: ProblemSpec
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    buffer_fingerprint: str | None
    step: int
    history: Sequence[Mapping[str, Any]]
    streams: Mapping[str, Any]
    algorithm_state: Mapping[str, Any]
    torch_random_state: torch.Tensor
    environment: Mapping[str, Any] = field(default_factory=dict)
    unfinished_epoch: Mapping[str, Any] = field(default_factory=dict)


_TENSOR_FIELDS = ("algorithm_state", "torch_random_state")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; afterwards the file is the old or the new one, whole."""
    facts = {name: value for name, value in vars(checkpoint).items() if name not in _TENSOR_FIELDS}
    facts["problem"] = checkpoint.problem.to_json()
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "facts": json.dumps(facts),
        **{name: getattr(checkpoint, name) for name in _TENSOR_FIELDS},
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, stream.getvalue())


def load_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    CorruptDataError
        If the file is damaged.
    FormatError
        If it is something else or of another version.
    """
    refuse_special(path)
    if not path.exists():
        raise BufferNotFoundError(f"{path}: there is no such checkpoint")
    _check_archive(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise FormatError(f"{path}: not a checkpoint of rlbuffers ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise FormatError(f"{path}: not a checkpoint of rlbuffers")
    if content.get("version") != _VERSION:
        version = content.get("version")
        hint = "; upgrade rlbuffers" if isinstance(version, int) and version > _VERSION else ""
        raise FormatError(f"{path}: checkpoint version {version!r}, this release reads {_VERSION}{hint}")
    try:
        facts = json.loads(content["facts"])
        problem = ProblemSpec.from_json(facts.pop("problem"))
        tensors = {name: content[name] for name in _TENSOR_FIELDS}
        # torch's generator takes its state from the CPU whatever device the weights are on.
        tensors["torch_random_state"] = tensors["torch_random_state"].cpu()
        return Checkpoint(problem=problem, **facts, **tensors)
    except (LookupError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise FormatError(f"{path}: the checkpoint's facts cannot be understood: {error!r}") from error


def _check_archive(path: Path) -> None:
    """Check the zip archive that `torch.save` writes; `torch.load` reads damaged weights in silence."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise FormatError(f"{path}: not a checkpoint of rlbuffers (its members are compressed)")
            # What a damaged directory calls a folder has no bytes for torch, whatever its checksum says.
            if any(member.external_attr or member.is_dir() for member in archive.infolist()):
                raise CorruptDataError(f"{path}: damaged, its directory says what no checkpoint's does")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        raise CorruptDataError(f"{path}: not a checkpoint, or a damaged one ({error})") from error
    if damaged is not None:
        raise CorruptDataError(f"{path}: damaged, {damaged!r} fails its checksum; use another checkpoint")


def build_algorithm(checkpoint: Checkpoint, generator: np.random.Generator, device: torch.device) -> Algorithm[Any]:
    """Return the algorithm of a checkpoint with its weights; `generator` is for its policy.

    Raises
    ------
    FormatError
        If weights and networks do not fit each other.
    """
    algorithm_class = load_algorithm(checkpoint.algorithm, checkpoint.problem.actions.kind)
    config = algorithm_class.config_class.from_json(checkpoint.config)
    algorithm = algorithm_class(checkpoint.problem, config, generator, device)
    try:
        algorithm.load_state_dict(checkpoint.algorithm_state)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise FormatError(f"the weights of the checkpoint do not fit {checkpoint.algorithm}: {reason}") from error
    return algorithm


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with refuse_special(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
