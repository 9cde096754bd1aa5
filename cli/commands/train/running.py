"""The command of one algorithm: its options, and what it runs."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.errors import UsageError
from rlbuffers.listing import listed
from rlbuffers.optional import require
from rlbuffers_cli.commands.train.options import Defaults, SectionedCommand, options_of
from rlbuffers_cli.option_types import OutputPath, WholeNumbers
from rlbuffers_train.algorithms import ACTION_KINDS, AlgorithmEntry, entries_of, load_algorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlbuffers_train.running.training_request import TrainingRequest
    from rlbuffers_train.settings import Settings

__all__ = ["algorithm_command"]

_PATH = click.Path(path_type=Path)


def algorithm_command(name: str) -> click.Command:
    """Return the command of an algorithm; one name may stand for several kinds of action."""
    require("torch", extra="train", purpose="Training")
    from rlbuffers_train.offline_settings import OfflineSettings
    from rlbuffers_train.online_settings import OnlineSettings

    entries = entries_of(name)
    is_online = entries[0].data == "online"
    classes = [load_algorithm(name, entry.actions) for entry in entries]
    configs = [algorithm.config_class for algorithm in classes]
    settings = OnlineSettings if is_online else OfflineSettings
    presets = sorted({preset for algorithm in classes for preset in algorithm.presets})
    recommended = _recommendations(entries, is_online)

    def defaults(field: str) -> Defaults:
        return {problem: values[field] for problem, values in recommended.items() if field in values}

    own = options_of(configs, defaults)
    common = options_of([settings], defaults, leave_out=["buffer"])
    setting_names = [option.name for option in common]

    def run(**given: Any) -> None:
        _run(name, given, [str(option.name) for option in own], [str(setting) for setting in setting_names], is_online)

    about = "\n\n".join(f"{_told_kind(entry, entries)}{entry.summary}.\n\n{entry.paper}" for entry in entries)
    return SectionedCommand(
        name,
        callback=run,
        sections={
            "Options": _general_options(is_online, presets),
            **_hyperparameter_sections(
                own, {entry.actions: config for entry, config in zip(entries, configs, strict=True)}
            ),
            "Training": list(common),
        },
        help=about,
        short_help=entries[0].summary,
    )


def _told_kind(entry: AlgorithmEntry, entries: list[AlgorithmEntry]) -> str:
    return f"For {ACTION_KINDS[entry.actions]}: " if len(entries) > 1 else ""


def _hyperparameter_sections(
    options: list[click.Option], configs: Mapping[str, type[Settings]]
) -> dict[str, list[click.Parameter]]:
    """Return options by what they are for: actions of one kind, or all that the algorithm has."""
    sections: dict[str, list[click.Parameter]] = {"Hyperparameters": []}
    names = {kind: {one.name for one in fields(config)} for kind, config in configs.items()}
    for option in options:
        kinds = [kind for kind in configs if option.name in names[kind]]
        only = f"Hyperparameters for {ACTION_KINDS[kinds[0]]} only"
        sections.setdefault("Hyperparameters" if len(kinds) == len(configs) else only, []).append(option)
    return sections


def _general_options(is_online: bool, presets: list[str]) -> list[click.Parameter]:
    """Return the options that every algorithm has."""
    from_buffer = [
        click.Option(
            ["--buffer"],
            multiple=True,  # the last of several would count otherwise
            callback=_only_buffer,
            metavar="PATH",
            help="Data to train on: a path or an address.  [default: what `rlbuffers generate` wrote for the task]",
        ),
        click.Option(["--task"], help="Environment to evaluate in.  [default: the buffer's]"),
        click.Option(["--cache"], help="Memory that keeps data at hand, such as 8GB.  [default: 1GiB]"),
    ]
    in_environment = [click.Option(["--task"], help="Environment to train in.  [default: CartPole-v1 or Pendulum-v1]")]
    others = [
        click.Option(
            ["--config"],
            type=_PATH,
            help="A run to train again: config.yaml or its folder; options change it.",
        ),
        click.Option(["--device"], help="auto, cpu, cuda, ...  [default: auto]"),
        click.Option(["--logdir"], type=OutputPath(), help="Folder of the run; new by default."),
        click.Option(["--resume-path"], type=_PATH, help="A run to go on with: last.pth or its folder."),
        click.Option(["--seeds"], type=WholeNumbers(), help="Several runs, such as 0,1,2; the same command goes on."),
        click.Option(["--parallel"], type=click.IntRange(min=1), help="Runs at a time with --seeds.  [default: 1]"),
    ]
    if presets:
        others.append(
            click.Option(["--preset"], type=click.Choice(presets), help="Hyperparameters of another published code.")
        )
    return [*(in_environment if is_online else from_buffer), *others]


def _only_buffer(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> str | None:
    if len(given) > 1:
        raise UsageError(
            f"--buffer: one can be trained on, got {listed(given)}; `rlbuffers merge` makes one of several"
        )
    return given[0] if given else None


def _recommendations(entries: list[AlgorithmEntry], is_online: bool) -> dict[str, dict[str, Any]]:
    """Return what is recommended for each problem that the algorithms can have, by field."""
    from rlbuffers_train.online_settings import recommended_settings
    from rlbuffers_train.problem import BoxActions, DiscreteActions, ProblemSpec

    found = {}
    for entry in entries:
        vectors = ProblemSpec(
            (1,), "float32", DiscreteActions(2) if entry.actions == "discrete" else BoxActions((-1.0,), (1.0,))
        )
        images = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(2))
        if entry.actions == "discrete":
            problems = {"images": images, "vectors": vectors}
        else:
            problems = {"continuous actions": vectors}
        for told, problem in problems.items():
            algorithm = load_algorithm(entry.name, entry.actions)
            config = algorithm.recommended(problem)
            values = {one.name: getattr(config, one.name) for one in fields(config)}
            if is_online:
                training = recommended_settings(problem, None)
                values |= {one.name: getattr(training, one.name) for one in fields(training)}
            else:
                values |= {**_offline_defaults(), **algorithm.recommended_training(problem)}
            found[told] = values
    return found


def _offline_defaults() -> dict[str, Any]:
    from rlbuffers_train.offline_settings import OfflineSettings

    return OfflineSettings(buffer="").to_json()


def _run(name: str, given: dict[str, Any], hyperparameters: list[str], settings: list[str], is_online: bool) -> None:
    """Train, show how it goes, and print what came out."""
    from rlbuffers_cli.console import console
    from rlbuffers_train import LiveTable, TrainingRequest, train_offline, train_online

    request = TrainingRequest(
        name,
        task=given["task"],
        buffer=given.get("buffer"),
        logdir=given["logdir"],
        resume_path=given["resume_path"],
        device=given["device"] or "auto",
        preset=given.get("preset"),
        hyperparameters={field: given[field] for field in hyperparameters},
        settings={field: given[field] for field in settings},
        **({"cache": given["cache"]} if given.get("cache") else {}),
    )
    if given["config"] is not None:
        request = _with_config(request, given)
    trainer = train_online if is_online else train_offline
    if given["seeds"] is not None:
        _check_seeds(given)
        from rlbuffers_cli.commands.train.several import run_seeds

        run_seeds(trainer, request, given["seeds"], given["parallel"] or 1)
        return
    if given["parallel"] is not None:
        raise UsageError("--parallel is for several runs; name their --seeds, such as 0,1,2")
    with LiveTable(console, f"Training {name}") as table:
        summary = trainer(request, table)
    for line in summary.lines():
        console.print(line, soft_wrap=True)


def _with_config(request: TrainingRequest, given: dict[str, Any]) -> TrainingRequest:
    """Fill a request from the configuration of another run, and tell what cannot be the same."""
    from rlbuffers_cli.console import warn
    from rlbuffers_train.running.run_config import read_config

    config = read_config(given["config"])
    if config.algorithm != request.algorithm:
        raise UsageError(f"{config.path} is of {config.algorithm}, not of {request.algorithm}")
    changed = config.changed_versions()
    if changed:
        warn(f"bits may differ from the run of {config.path}, which had {listed(changed)}")
    return replace(config.under(request), device=given["device"] or config.device or "auto")


def _check_seeds(given: dict[str, Any]) -> None:
    if given["seed"] is not None:
        raise UsageError("--seed is of one run and --seeds of several; give one of them")
    if min(given["seeds"]) < 0:
        raise UsageError(f"--seeds: expected at least 0, got {min(given['seeds'])}")
