"""Everything needed to go on bit for bit, in one file that runs no code when it is read.

A checkpoint is a file of `torch.save` with tensors, numbers and texts only. Whatever is no tensor is
one JSON text. It is written under a temporary name and renamed, so a killed run leaves the old one.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import BufferNotFoundError, FormatError, UsageError
from rlbuffers.local_inputs import refuse_special
from rlbuffers_train.algorithms import load_algorithm
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.checkpoint_file import read_content, require_tensors, stored_bytes
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.networks.memory import weights_within
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.online_settings import OnlineSettings
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.settings import json_values
from rlbuffers_train.typed import shown_value, typed, typed_fields

__all__ = [
    "Checkpoint",
    "build_algorithm",
    "checked_environment",
    "file_sha256",
    "load_checkpoint",
    "save_checkpoint",
]

_FORMAT = "rlbuffers-checkpoint"
_VERSION = 2
_MOST_STEPS = 1 << 53
_SLACK_BYTES = 16 << 20  # what networks take while they are made
_STICKY = "sticky_action_probability"


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
    history : sequence of EpochRecord
        One an epoch.
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
    history: Sequence[EpochRecord]
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
    facts["history"] = [record.to_json() for record in checkpoint.history]
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
    """Read a checkpoint; every field of it is of its type, and all settings are within their ranges.

    Parameters
    ----------
    path : Path
        The file.
    device : torch.device
        Where the algorithm's state goes.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    CorruptDataError
        If the file is damaged.
    FormatError
        If it is something else, of another version, or a value in it is not of its type or range.
    """
    refuse_special(path)
    if not path.exists():
        raise BufferNotFoundError(f"{path}: there is no such checkpoint")
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise FormatError(f"{path}: not a checkpoint of rlbuffers")
    version = content.get("version")
    if type(version) is not int or version != _VERSION:
        hint = "; upgrade rlbuffers" if isinstance(version, int) and version > _VERSION else ""
        raise FormatError(f"{path}: checkpoint version {shown_value(version)}, this release reads {_VERSION}{hint}")
    try:
        return _checked(content, device)
    except (FormatError, UsageError) as error:
        raise FormatError(f"{path}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path}: the checkpoint's facts cannot be understood: {error!r}") from error


@dataclass(frozen=True)
class _Facts:
    """What a checkpoint holds beside tensors, as its JSON has it; see `Checkpoint`."""

    algorithm: str
    task: str | None
    problem: Mapping[str, Any]
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    buffer_fingerprint: str | None
    step: int
    history: Sequence[EpochRecord]
    streams: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    unfinished_epoch: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _UnfinishedEpoch:
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seconds: float = 0.0


def _checked(content: Mapping[str, Any], device: torch.device) -> Checkpoint:
    facts = typed_fields(json.loads(typed(content.get("facts"), str, "facts")), _Facts, "facts")
    problem = ProblemSpec.from_json(facts.problem)
    config_class = load_algorithm(facts.algorithm, problem.actions.kind).config_class
    settings_class = OnlineSettings if facts.buffer_fingerprint is None else OfflineSettings
    if not 0 <= facts.step <= _MOST_STEPS:
        raise FormatError(f"step: expected 0 to {_MOST_STEPS:,}, got {facts.step:,}")
    _check_unfinished(facts.unfinished_epoch)
    random_state: Any = content.get("torch_random_state")
    try:
        torch.Generator().set_state(random_state)
    except (TypeError, RuntimeError) as error:
        raise FormatError("torch_random_state: not the state of torch's generator") from error
    state = content.get("algorithm_state")
    typed(state, Mapping[str, object], "algorithm_state")
    require_tensors(state, "algorithm_state")
    return Checkpoint(
        algorithm=facts.algorithm,
        task=facts.task,
        problem=problem,
        config=json_values(config_class.from_json(facts.config)),
        settings=json_values(settings_class.from_json(facts.settings)),
        buffer_fingerprint=facts.buffer_fingerprint,
        step=facts.step,
        history=facts.history,
        streams=facts.streams,
        algorithm_state=_moved(state, device),
        torch_random_state=random_state,
        environment=checked_environment(facts.environment, "environment"),
        unfinished_epoch=facts.unfinished_epoch,
    )


def _check_unfinished(values: Mapping[str, Any]) -> None:
    for name, sums in typed_fields(values, _UnfinishedEpoch, "unfinished_epoch").metrics.items():
        if len(sums) != 2 or sums[1] < 1:
            raise FormatError(f"unfinished_epoch: metrics: {name}: expected a sum and a count")


def checked_environment(values: Any, where: str) -> Mapping[str, Any]:
    """Return what data say of their environment if what training and evaluation use of it is of its type.

    Raises
    ------
    FormatError
        If not.
    """
    found: Mapping[str, Any] = typed(values, Mapping[str, Any], where)
    typed(found.get("id"), str | None, f"{where}: id")
    scores: Mapping[str, Any] = typed(
        found.get("reference_scores") or {}, Mapping[str, Any], f"{where}: reference_scores"
    )
    preprocessing = typed(found.get("preprocessing") or {}, Mapping[str, Any], f"{where}: preprocessing")
    for group in (found, preprocessing):
        typed(group.get(_STICKY), float | None, f"{where}: {_STICKY}")
    for name in ("min", "max"):
        typed(scores.get(name), float | None, f"{where}: reference_scores: {name}")
    return found


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _moved(inner, device) for name, inner in value.items()}
    return type(value)(_moved(inner, device) for inner in value) if isinstance(value, list | tuple) else value


def build_algorithm(checkpoint: Checkpoint, generator: np.random.Generator, device: torch.device) -> Algorithm[Any]:
    """Return the algorithm of a checkpoint with its weights; `generator` is for its policy.

    Raises
    ------
    FormatError
        If weights and networks do not fit each other. Networks of more weights than the checkpoint has are not made.
    """
    algorithm_class = load_algorithm(checkpoint.algorithm, checkpoint.problem.actions.kind)
    config = algorithm_class.config_class.from_json(checkpoint.config)
    limit = 2 * stored_bytes(checkpoint.algorithm_state) + _SLACK_BYTES
    refusal = f"the weights of the checkpoint do not fit {checkpoint.algorithm}: its settings ask for more"
    try:
        with weights_within(limit, refusal):
            algorithm = algorithm_class(checkpoint.problem, config, generator, device)
        algorithm.load_state_dict(checkpoint.algorithm_state)
    except UsageError as error:
        raise FormatError(str(error)) from error
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise FormatError(f"the weights of the checkpoint do not fit {checkpoint.algorithm}: {reason}") from error
    return algorithm


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with refuse_special(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
