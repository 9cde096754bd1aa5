"""The configuration of a run as YAML: written into its folder, complete, and read to train the same again."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, UsageError
from rlbuffers.listing import nearest
from rlbuffers.local_inputs import refuse_special
from rlbuffers.metadata import written_by
from rlbuffers.paths import Url, located
from rlbuffers_train.algorithms import entries_of, load_algorithm
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.online_settings import OnlineSettings
from rlbuffers_train.running.run_folder import CONFIG
from rlbuffers_train.running.training_request import TrainingRequest, given
from rlbuffers_train.running.yaml_document import read_yaml
from rlbuffers_train.settings import Settings, check_value
from rlbuffers_train.typed import kinds_of, shown_value

__all__ = ["RunConfig", "read_config"]

_TOP = (
    "algorithm",
    "task",
    "buffer",
    "buffer_fingerprint",
    "device",
    "hyperparameters",
    "settings",
    "written_by",
    "resumed_by",
)


@dataclass(frozen=True)
class RunConfig:
    """What a run was asked for, defaults and presets resolved into values.

    Parameters
    ----------
    path : Path
        Where it was read.
    algorithm : str
        Name in the table of algorithms.
    task, device : str or None
        Where it was evaluated or trained in, and where the networks computed.
    buffer : Path, Url or None
        Data of offline training.
    buffer_fingerprint : str or None
        Of these data.
    hyperparameters, settings : mapping
        Fields of the algorithm's config and of the trainer's settings.
    versions : mapping
        Of the packages that ran.
    """

    path: Path
    algorithm: str
    task: str | None = None
    device: str | None = None
    buffer: Path | Url | None = None
    buffer_fingerprint: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def under(self, request: TrainingRequest) -> TrainingRequest:
        """Return a request with the values of this configuration where it has none of its own.

        Raises
        ------
        UsageError
            If the request begins with a preset or with the state of a run, which have values of their own.
        """
        if request.preset is not None or request.resume_path is not None:
            option = "--preset" if request.preset is not None else "--resume-path"
            raise UsageError(f"--config has the values that {option} brings too; give one of them")
        return replace(
            request,
            task=request.task or self.task,
            buffer=request.buffer or self.buffer,
            # Other data that are named on the command line are meant.
            buffer_fingerprint=None if request.buffer else self.buffer_fingerprint,
            hyperparameters={**self.hyperparameters, **given(request.hyperparameters)},
            settings={**self.settings, **given(request.settings)},
        )

    def changed_versions(self) -> list[str]:
        """Return which packages are not those of the run, for bits may differ then."""
        here = written_by()["versions"]
        return [
            f"{name} {version} (here {here[name]})"
            for name, version in self.versions.items()
            if name in here and here[name] != version
        ]


def read_config(path: Path) -> RunConfig:
    """Read a configuration, or that of the run in a folder; only ``algorithm`` must be there.

    Raises
    ------
    BufferNotFoundError
        If there is no such file.
    UsageError
        If a key or a value is none that training knows; the message names it.
    """
    path = path.expanduser()
    if path.is_dir():
        path = path / CONFIG
    refuse_special(path)
    if not path.is_file():
        raise BufferNotFoundError(f"{path}: there is no such configuration; runs write config.yaml into their folder")
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected keys and values, got {type(document).__name__}")
    _refuse_unknown(document, _TOP, f"{path}:")
    algorithm = document.get("algorithm")
    if not isinstance(algorithm, str):
        raise UsageError(f"{path}: expected the name of an algorithm under 'algorithm', got {shown_value(algorithm)}")
    try:
        entries = entries_of(algorithm)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    configs = [load_algorithm(entry.name, entry.actions).config_class for entry in entries]
    trainer = OnlineSettings if entries[0].data == "online" else OfflineSettings
    texts = {key: _text(document.get(key), f"{path}: {key}:") for key in ("task", "device", "buffer")}
    versions = _mapping(_mapping(document, "written_by", path), "versions", path)
    for name, version in versions.items():
        _text(version, f"{path}: written_by: versions: {shown_value(name)}:")
    return RunConfig(
        path=path,
        algorithm=algorithm,
        task=texts["task"],
        device=texts["device"],
        buffer=None if texts["buffer"] is None else located(texts["buffer"]),
        buffer_fingerprint=_text(document.get("buffer_fingerprint"), f"{path}: buffer_fingerprint:"),
        hyperparameters=_values(_mapping(document, "hyperparameters", path), configs, f"{path}: hyperparameters:"),
        settings=_values(_mapping(document, "settings", path), [trainer], f"{path}: settings:"),
        versions=versions,
    )


def _mapping(document: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise UsageError(f"{path}: {name}: expected keys and values, got {shown_value(value)}")
    return value


def _text(value: Any, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{where} expected text, got {shown_value(value)}")
    return value


def _refuse_unknown(found: Iterable[Any], known: Iterable[str], where: str) -> None:
    names = list(known)
    for name in found:
        if name not in names:
            raise UsageError(f"{where} there is no key {shown_value(name)}{_hint(name, names)}")


def _hint(name: Any, names: Sequence[str]) -> str:
    return (nearest(name, names) if isinstance(name, str) else "") or f"; there are {', '.join(names)}"


def _values(found: Mapping[str, Any], classes: Sequence[type[Settings]], where: str) -> dict[str, Any]:
    """Return values of the types and within the ranges of their fields, in the first class that has them."""
    known = {
        one.name: (one, kinds_of(settings)[one.name])
        for settings in reversed(classes)
        for one in fields(settings)
        if one.name != "buffer"
    }
    _refuse_unknown(found, known, where)
    return {name: _checked(value, *known[name], f"{where} {name}") for name, value in found.items()}


def _checked(value: Any, one: Field[Any], kind: Any, where: str) -> Any:
    if float in (kind, *typing.get_args(kind)):
        value = _number(value)
    elif tuple[float, ...] in (kind, *typing.get_args(kind)) and isinstance(value, list):
        value = [_number(item) for item in value]
    return check_value(one, kind, value, where)


def _number(value: Any) -> Any:
    """Return the number that a text stands for: YAML takes 3e-4, which has no point, for a text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
