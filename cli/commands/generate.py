"""`rlbuffers generate`: record the rollouts of a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.paths import DEFAULT_BUFFER_DIR
from rlbuffers_cli.option_types import OutputPath
from rlbuffers_train.default_data import DEFAULT_DATA, POLICIES
from rlbuffers_train.levels import LEVELS

if TYPE_CHECKING:
    from rlbuffers_train.generation import GeneratedBuffer

__all__ = ["generate"]

_EPS = "; ".join(f"{data.policy} {data.eps:g}" for data in DEFAULT_DATA.values())
_TASKS = "; ".join(f"{data.policy} {data.task}" for data in DEFAULT_DATA.values())


@click.command()
@click.option(
    "--policy", type=click.Choice(POLICIES), help=f"What acts.  [default: the checkpoint's, or {POLICIES[0]}]"
)
@click.option("--level", type=click.Choice(LEVELS), help="How well it is trained.  [default: expert]")
@click.option("--eps", type=click.FloatRange(0, 1), help=f"Share of random actions.  [default: {_EPS}]")
@click.option("--task", help=f"Environment id, e.g. PongNoFrameskip-v4.  [default: the checkpoint's; {_TASKS}]")
@click.option("--buffer-size", type=click.IntRange(min=1), help="Transitions.  [default: 100000]")
@click.option(
    "--stop-at",
    type=float,
    help="Mean return at which training ends.  [default: the task's; for medium, a third of D4RL's expert]",
)
@click.option(
    "--resume-path",
    type=click.Path(path_type=Path),
    help="Checkpoint of any algorithm, or the folder of a run; without it a policy is trained first, and kept.",
)
@click.option(
    "--output",
    "path",
    type=OutputPath(),
    help=f"The buffer: .hdf5, .zarr, .zarr.zip.  [default: {DEFAULT_BUFFER_DIR}/TASK/POLICY-LEVEL-epsEPS.hdf5]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--num-envs", type=click.IntRange(min=1), default=10, show_default=True, help="Played side by side.")
@click.option("--device", default="auto", show_default=True, help="Where the policy computes: cpu, cuda, ...")
@click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
def generate(**options: Any) -> None:
    """Record transitions of a policy, trained to one of D4RL's levels.

    Rewards are the environment's, unclipped, and games are played to their end. A policy that is a distribution
    is drawn from. medium-replay is everything that was played until a policy was a medium one: its size is what
    that took.
    """
    from rlbuffers.optional import require

    require("torch", extra="train", purpose="Playing a policy")
    from rlbuffers_cli.console import console, progress_bar
    from rlbuffers_cli.conversions import told_of_interruptions
    from rlbuffers_train import POLICY, LiveTable
    from rlbuffers_train.generation import Generation
    from rlbuffers_train.settings import option_name

    generation = Generation(**options, named=option_name)
    if generation.needs_training:
        title = f"Training {generation.policy} in {generation.task}: {generation.level}"
        with LiveTable(console, title) as table:
            summary = generation.train(table)
        console.print(f"{generation.level}: return {summary.best}, kept in {summary.logdir / POLICY}", soft_wrap=True)
    with progress_bar() as progress, told_of_interruptions(generation.path):
        bar = progress.add_task(
            f"Playing {generation.task}", total=generation.num_transitions, visible=generation.plays
        )
        recorded = generation.record(
            lambda done, total, count: progress.update(bar, completed=done, total=total, count=count)
        )
    _show(recorded)


def _show(recorded: GeneratedBuffer) -> None:
    from rlbuffers_cli.console import console, size_text, warn

    for warning in recorded.warnings:
        warn(warning)
    returns = (
        f"return {recorded.mean_return:.1f} ± {recorded.std_return:.1f} over {recorded.whole_episodes:,} whole episodes"
        if recorded.whole_episodes
        else "no whole episode"
    )
    console.print(
        f"{recorded.path}: {recorded.transitions:,} transitions, {returns}, "
        f"{size_text(recorded.num_bytes)}, {recorded.seconds:.1f} s",
        soft_wrap=True,
    )
