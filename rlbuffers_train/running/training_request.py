"""What a user asks of a training run, and how it meets recommendations and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers.paths import Url, located
from rlbuffers.reader import DEFAULT_CACHE_BYTES
from rlbuffers_train.algorithms import ACTION_KINDS, load_algorithm
from rlbuffers_train.algorithms.base import Algorithm, AlgorithmConfig
from rlbuffers_train.checkpoint import Checkpoint, build_algorithm, load_checkpoint
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.running.run_folder import LAST, new_logdir
from rlbuffers_train.seeds import Stream, generator_of
from rlbuffers_train.settings import SettingsT, nearest_of, option_name, with_changes

__all__ = [
    "TrainingRequest",
    "given",
    "load_resumed",
    "make_algorithm",
    "refuse_changes",
    "refuse_other_task",
    "resume_stepper",
    "resumed_path",
    "run_logdir",
    "settled",
]


class Resumable(Protocol):
    """What goes on where a checkpoint was taken."""

    def resume(self, step: int, streams: Mapping[str, Any]) -> None:
        """Go on counting at `step`, with the randomness that followed it."""


@dataclass(frozen=True)
class TrainingRequest:
    """A run to start or to resume; what is None or left out is recommended by the trainer.

    Parameters
    ----------
    algorithm : str
        Name in the table of algorithms.
    task : str, optional
        Environment to evaluate on, or to train in.
    buffer : Path or Url, optional
        Data of offline training. Paths may be given as text, too, as may addresses such as ``s3://bucket/x.zarr``.
    logdir : Path, optional
        Folder of the run.
    resume_path : Path, optional
        Checkpoint to go on from, or the folder of a run, which means its newest one.
    device : str
        ``auto``, ``cpu``, ``cuda``, ...
    preset : str, optional
        Whose hyperparameters to begin with, such as ``tianshou``; the recommended ones by default.
    hyperparameters : mapping
        Fields of the algorithm's config that differ.
    settings : mapping
        Fields of the trainer's settings.
    buffer_fingerprint : str, optional
        Of the data that are meant; others are refused.
    cache : int or str
        Memory that keeps data at hand, see `rlbuffers.open`; batches are the same whatever it is.
    """

    algorithm: str
    task: str | None = None
    buffer: Path | Url | None = None
    logdir: Path | None = None
    resume_path: Path | None = None
    device: str = "auto"
    preset: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    buffer_fingerprint: str | None = None
    cache: int | str = DEFAULT_CACHE_BYTES

    def __post_init__(self) -> None:
        if isinstance(self.buffer, str):
            object.__setattr__(self, "buffer", located(self.buffer))
        for name in ("logdir", "resume_path"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not None, as JSON types."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }


def load_resumed(request: TrainingRequest, device: torch.device, *, online: bool) -> Checkpoint | None:
    """Return the checkpoint to go on from, or None for a new run.

    Raises
    ------
    UsageError
        If the checkpoint is of another algorithm or kind of training.
    """
    path = resumed_path(request)
    if path is None:
        return None
    checkpoint = load_checkpoint(path, device)
    if checkpoint.algorithm != request.algorithm:
        raise UsageError(f"{path} is a checkpoint of {checkpoint.algorithm}, not of {request.algorithm}")
    if online != (checkpoint.buffer_fingerprint is None):
        raise UsageError(f"{path} was trained {'on a buffer' if online else 'online'}; it cannot go on differently")
    return checkpoint


def resumed_path(request: TrainingRequest) -> Path | None:
    """Return the checkpoint to go on from, the newest one where a folder is named; None for a new run."""
    if request.resume_path is None:
        return None
    path = request.resume_path.expanduser()
    return path / LAST if path.is_dir() else path


def resume_stepper(stepper: Resumable, resumed: Checkpoint, path: Path | None) -> None:
    """Let a stepper, and torch's generator, go on where a checkpoint was taken.

    Raises
    ------
    FormatError
        If the states of random generators and samplers in the checkpoint are not such.
    """
    try:
        stepper.resume(resumed.step, resumed.streams)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path}: the random states in the checkpoint cannot be restored: {error!r}") from error
    torch.set_rng_state(resumed.torch_random_state)


def refuse_other_task(request: TrainingRequest, task: str | None, before: str | None) -> None:
    """Refuse to go on in another task: one history, and the best epoch, would be of two of them.

    Raises
    ------
    UsageError
        If a run that was evaluated in a task is to go on in another one.
    """
    if task is not None and before is not None and task != before:
        raise UsageError(
            f"{request.resume_path} was trained and evaluated in {before}, not in {task}; leave --task out. "
            "`rlbuffers evaluate RUN --task` judges a policy in another task"
        )


def refuse_changes(asked: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse to resume with other values than a run began with.

    Raises
    ------
    UsageError
        If a value that was asked for differs; the message names it.
    """
    for name, value in given(asked).items():
        if name not in before:
            raise UsageError(f"there is no setting {name!r}; there are {listed(before)}")
        if value != before[name]:
            raise UsageError(
                f"{option_name(name)} is {_worded(before[name])} in the run to be resumed, not {_worded(value)}; "
                "leave it out"
            )


def settled(
    kind: type[SettingsT],
    asked: Mapping[str, Any],
    resumed: Checkpoint | None,
    *,
    recommended: Callable[[], SettingsT],
    may_change: Collection[str],
) -> SettingsT:
    """Combine what is asked with what is recommended, or with the settings of the run that is resumed.

    Parameters
    ----------
    kind : type
        Settings of the trainer.
    asked : mapping
        Names and values; None counts as not asked.
    resumed : Checkpoint or None
        Where the run goes on.
    recommended : callable
        Returns the settings of a new run.
    may_change : collection of str
        Names that may differ when a run is resumed.

    Raises
    ------
    UsageError
        If another setting than these differs from the run's.
    """
    changes = given(asked)
    if resumed is None:
        return with_changes(recommended(), changes)
    refuse_changes({name: value for name, value in changes.items() if name not in may_change}, resumed.settings)
    return with_changes(
        kind.from_json(resumed.settings), {name: value for name, value in changes.items() if name in may_change}
    )


def _worded(value: Any) -> Any:
    """Word a value as its option is given: 0 or 1 for a yes or no."""
    return int(value) if isinstance(value, bool) else value


def make_algorithm(
    request: TrainingRequest,
    problem: ProblemSpec,
    seed: int,
    resumed: Checkpoint | None,
    device: torch.device,
) -> Algorithm[Any]:
    """Return the algorithm of the checkpoint, or a new one with the hyperparameters asked for."""
    generator = generator_of(seed, Stream.POLICY)
    algorithm_class = load_algorithm(request.algorithm, problem.actions.kind)
    if resumed is not None:
        asked = given(request.hyperparameters)
        if request.preset is not None:
            asked = {**_starting_config(algorithm_class, problem, request.preset).to_json(), **asked}
        refuse_changes(given(asked), resumed.config)
        return build_algorithm(resumed, generator, device)
    start = _starting_config(algorithm_class, problem, request.preset)
    _refuse_unknown(request, problem, start)
    config = with_changes(start, given(request.hyperparameters))
    torch.manual_seed(seed)
    return algorithm_class(problem, config, generator, device)


def _refuse_unknown(request: TrainingRequest, problem: ProblemSpec, config: AlgorithmConfig) -> None:
    """Refuse hyperparameters of the algorithm's variant for other actions."""
    known = list(config.to_json())
    for name in given(request.hyperparameters):
        if name not in known:
            kind = ACTION_KINDS[problem.actions.kind]
            raise UsageError(f"{request.algorithm} for {kind} has no {option_name(name)}; {nearest_of(name, known)}")


def _starting_config(
    algorithm_class: type[Algorithm[Any]], problem: ProblemSpec, preset: str | None
) -> AlgorithmConfig:
    if preset is None:
        recommended: AlgorithmConfig = algorithm_class.recommended(problem)
        return recommended
    if preset not in algorithm_class.presets:
        there = ", ".join(algorithm_class.presets) or "none"
        raise UsageError(f"{algorithm_class.name} has no preset {preset!r} for such actions; there are: {there}")
    return algorithm_class.presets[preset]


def run_logdir(request: TrainingRequest, about: str, seed: int) -> Path:
    """Return the folder asked for, that of the checkpoint, or a new one named after `about`."""
    if request.logdir is not None:
        return request.logdir.expanduser()
    resumed = resumed_path(request)
    if resumed is not None:
        return resumed.parent
    return new_logdir(about, request.algorithm, seed)
