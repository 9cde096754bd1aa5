"""`rlbuffers train`: algorithms on buffers, and the expert that makes data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rlbuffers_train.reporting import Reporter
    from rlbuffers_train.run import RunSummary
    from rlbuffers_train.training_request import TrainingRequest

__all__ = ["train"]

_EXIT_INTERRUPTED = 130
_RECOMMENDED = "recommended for images or vectors"
_OFFLINE_SETTINGS = ("seed", "epoch", "update_per_epoch", "eval_episodes", "clip_rewards")
_ONLINE_SETTINGS = (
    "seed",
    "epoch",
    "step_per_epoch",
    "eval_episodes",
    "num_envs",
    "n_step",
    "update_per_step",
    "replay_capacity",
    "stop_at",
)
_HYPERPARAMETERS = (
    "lr",
    "batch_size",
    "gamma",
    "target_update_freq",
    "unlikely_action_threshold",
    "imitation_logits_penalty",
    "num_quantiles",
)

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def train() -> None:
    """Train an algorithm on a buffer, or an expert that makes one."""


def _common_options(command: Command) -> Command:
    """Add the options that every algorithm has."""
    path = click.Path(path_type=Path)
    options = [
        click.option("--epoch", type=click.IntRange(min=1), help=f"Number of epochs.  [{_RECOMMENDED}]"),
        click.option("--batch-size", type=click.IntRange(min=1), help=f"Transitions in an update.  [{_RECOMMENDED}]"),
        click.option("--lr", type=float, help=f"Learning rate of Adam.  [{_RECOMMENDED}]"),
        click.option("--gamma", type=float, help="Discount of one step.  [default: 0.99]"),
        click.option(
            "--target-update-freq",
            type=click.IntRange(min=1),
            help=f"Updates from one copy of the target network to the next.  [{_RECOMMENDED}]",
        ),
        click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.  [default: 0]"),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ..."),
        click.option("--logdir", type=path, help="Folder of the run; new by default."),
        click.option("--resume-path", type=path, help="Checkpoint (last.pth) of a run to go on with."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@train.command()
@click.option(
    "--buffer",
    type=click.Path(path_type=Path),
    help="Data to train on.  [default: what `rlbuffers generate` wrote for the task]",
)
@click.option("--task", help="Environment to evaluate in.  [default: the buffer's, or CartPole-v1]")
@_common_options
@click.option("--update-per-epoch", type=click.IntRange(min=1), help=f"Updates an epoch.  [{_RECOMMENDED}]")
@click.option(
    "--unlikely-action-threshold",
    type=click.FloatRange(0, 1, max_open=True),
    help="Actions less likely than this, relative to the likeliest, are not considered.  [default: 0.3]",
)
@click.option("--imitation-logits-penalty", type=float, help="Weight of the squared imitation logits.  [default: 0.01]")
@click.option("--clip-rewards", is_flag=True, default=None, help="Clip rewards to [-1, 1].")
@click.option("--eval-episodes", type=click.IntRange(min=0), help="Episodes an evaluation; 0 for none.  [default: 10]")
def bcq(**options: Any) -> None:
    """Discrete BCQ (Fujimoto et al. 2019), from a buffer."""
    from rlbuffers_train import train_offline

    _run("bcq", options, _OFFLINE_SETTINGS, train_offline)


@train.command()
@click.option("--task", help="Environment to train in.  [default: CartPole-v1]")
@_common_options
@click.option("--step-per-epoch", type=click.IntRange(min=1), help=f"Environment steps an epoch.  [{_RECOMMENDED}]")
@click.option("--num-envs", type=click.IntRange(min=1), help="Environments side by side.  [default: 10]")
@click.option("--num-quantiles", type=click.IntRange(min=1), help=f"Quantiles of the return.  [{_RECOMMENDED}]")
@click.option("--n-step", type=click.IntRange(min=1), help=f"Rewards summed before bootstrapping.  [{_RECOMMENDED}]")
@click.option("--update-per-step", type=float, help="Updates per environment step.  [default: 0.1]")
@click.option("--replay-capacity", type=click.IntRange(min=1), help=f"Steps kept for replay.  [{_RECOMMENDED}]")
@click.option("--eval-episodes", type=click.IntRange(min=1), help=f"Episodes an evaluation.  [{_RECOMMENDED}]")
@click.option("--stop-at", type=float, help="Mean return that ends training.  [default: the task's threshold]")
def qrdqn(**options: Any) -> None:
    """QR-DQN (Dabney et al. 2018), online: the expert whose rollouts become data."""
    from rlbuffers_train import train_online

    _run("qrdqn", options, _ONLINE_SETTINGS, train_online)


def _run(
    algorithm: str,
    options: dict[str, Any],
    settings: tuple[str, ...],
    trainer: Callable[[TrainingRequest, Reporter], RunSummary],
) -> None:
    from rlbuffers_cli.console import console
    from rlbuffers_train import ALGORITHMS, LiveTable, TrainingInterrupted, TrainingRequest

    request = TrainingRequest(
        algorithm,
        task=options["task"],
        buffer=options.get("buffer"),
        logdir=options["logdir"],
        resume_path=options["resume_path"],
        device=options["device"],
        hyperparameters={name: options[name] for name in _HYPERPARAMETERS if name in options},
        settings={name: options[name] for name in settings},
    )
    try:
        with LiveTable(console, f"{algorithm}: {ALGORITHMS[algorithm].paper}") as table:
            summary = trainer(request, table)
    except TrainingInterrupted as interruption:
        click.echo(str(interruption), err=True)
        raise click.exceptions.Exit(_EXIT_INTERRUPTED) from None
    for line in summary.lines():
        console.print(line, soft_wrap=True)
