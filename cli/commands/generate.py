"""`rlbuffers generate`: record the rollouts of a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.paths import DEFAULT_BUFFER_DIR
from rlbuffers_cli.option_types import OutputPath
from rlbuffers_train.levels import LEVELS

if TYPE_CHECKING:
    from rlbuffers_train.loaded_policy import LoadedPolicy

__all__ = ["generate"]

_POLICIES = ("qrdqn", "sac")
_TASKS = {"qrdqn": "CartPole-v1", "sac": "Pendulum-v1"}
_EPS = {"discrete": 0.2, "box": 0.0}  # by the kind of actions
_SIZE = 100_000


@click.command()
@click.option("--policy", type=click.Choice(_POLICIES), help="What acts.  [default: the checkpoint's, or qrdqn]")
@click.option("--level", type=click.Choice(LEVELS), help="How well it is trained.  [default: expert]")
@click.option("--eps", type=click.FloatRange(0, 1), help="Share of random actions.  [default: qrdqn 0.2; sac 0]")
@click.option(
    "--task",
    help="Environment id, e.g. PongNoFrameskip-v4.  [default: the checkpoint's; qrdqn CartPole-v1; sac Pendulum-v1]",
)
@click.option("--buffer-size", type=click.IntRange(min=1), help=f"Transitions.  [default: {_SIZE}]")
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
    type=OutputPath(),
    help=f"The buffer: .hdf5, .zarr, .zarr.zip.  [default: {DEFAULT_BUFFER_DIR}/TASK/POLICY-LEVEL-epsEPS.hdf5]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--num-envs", type=click.IntRange(min=1), default=10, show_default=True, help="Played side by side.")
@click.option("--device", default="auto", show_default=True, help="Where the policy computes: cpu, cuda, ...")
@click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
def generate(
    policy: str | None,
    level: str | None,
    eps: float | None,
    task: str | None,
    buffer_size: int | None,
    stop_at: float | None,
    resume_path: Path | None,
    output: Path | None,
    seed: int,
    num_envs: int,
    device: str,
    overwrite: bool,
) -> None:
    """Record transitions of a policy, trained to one of D4RL's levels.

    Rewards are the environment's, unclipped, and games are played to their end. A policy that is a distribution
    is drawn from. medium-replay is everything that was played until a policy was a medium one: its size is what
    that took.
    """
    from rlbuffers.errors import BufferExistsError
    from rlbuffers.paths import generated_buffer_path
    from rlbuffers.stores import format_of
    from rlbuffers_cli.behaviors import facts_of, find_behavior, load_behavior, train_behavior
    from rlbuffers_train.algorithms import entries_of
    from rlbuffers_train.levels import medium_return

    _refuse_what_has_no_effect(level, resume_path, {"stop_at": stop_at}, {"buffer_size": buffer_size, "eps": eps})
    checkpoint = None
    if resume_path is None:
        policy = policy or _POLICIES[0]
        task = task or _TASKS[policy]
        actions: str = entries_of(policy)[0].actions
    else:
        checkpoint, policy, task, actions = find_behavior(resume_path, policy, task)
    eps = _EPS[actions] if eps is None else eps
    path = (output or generated_buffer_path(task, policy, eps, level or "expert")).expanduser()
    format_of(path)
    if path.exists() and not overwrite:  # before a policy is trained
        raise BufferExistsError(f"{path}: exists already; pass --overwrite to replace it")
    if (level or "").startswith("medium") and stop_at is None and resume_path is None:
        stop_at = medium_return(task)
    if level == "medium-replay":
        _record_training(path, policy, task, seed=seed, device=device, stop_at=stop_at, overwrite=overwrite)
        return
    if checkpoint is None and level != "random":
        checkpoint = train_behavior(policy, level or "expert", task, seed=seed, device=device, stop_at=stop_at)
    behavior = load_behavior(policy, task, checkpoint, seed=seed, eps=eps, device=device)
    # How well somebody else's policy is trained only who names it can know.
    known_level = level or (None if resume_path else "expert")
    facts = facts_of(behavior, known_level, checkpoint, eps=eps, seed=seed)
    size = _SIZE if buffer_size is None else buffer_size
    _record(behavior, facts, path, task, size, num_envs=num_envs, seed=seed, overwrite=overwrite)


def _refuse_what_has_no_effect(
    level: str | None, resume_path: Path | None, of_training: dict[str, Any], of_playing: dict[str, Any]
) -> None:
    """Refuse options that would be ignored, as somebody who gives them counts on them."""
    from rlbuffers.errors import UsageError

    if resume_path is not None:
        reason = "--resume-path names a policy that is trained already"
        refused = {"level": level if level in ("random", "medium-replay") else None, **of_training}
    elif level == "medium-replay":
        reason = "medium-replay is what a training played, all of it"
        refused = of_playing
    else:
        return
    for name, value in refused.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')} has no effect: {reason}; leave it out")


def _record(
    behavior: LoadedPolicy, facts: dict[str, Any], path: Path, task: str, size: int, *, overwrite: bool, **options: int
) -> None:
    """Let a policy play, and tell what was recorded."""
    from rlbuffers.conversion.convert import convert
    from rlbuffers.sources.policy_rollout import PolicyRolloutSource
    from rlbuffers_cli.console import console, progress_bar, size_text, warn
    from rlbuffers_cli.conversions import told_of_interruptions

    source = PolicyRolloutSource(behavior, facts, task, size=size, **options)
    with progress_bar() as progress, told_of_interruptions(path):
        bar = progress.add_task(f"Playing {task}", total=size)
        report = convert(
            source,
            path,
            overwrite=overwrite,
            on_progress=lambda done, total, count: progress.update(bar, completed=done, total=total, count=count),
            keep_interrupted=True,
        )
    for warning in report.warnings:
        warn(warning)
    returns = report.statistics.get("episode_returns")
    told = (
        f"return {returns['mean']:.1f} ± {returns['std']:.1f} over {report.whole_episodes:,} whole episodes"
        if returns
        else "no whole episode"
    )
    console.print(
        f"{report.path}: {report.transitions:,} transitions, {told}, "
        f"{size_text(report.buffer_bytes)}, {report.seconds:.1f} s",
        soft_wrap=True,
    )


def _record_training(path: Path, policy: str, task: str, *, overwrite: bool, **training: Any) -> None:
    """Record a training from its beginning until the policy is a medium one."""
    from rlbuffers.reader import open_buffer
    from rlbuffers_cli.behaviors import train_behavior
    from rlbuffers_cli.console import console
    from rlbuffers_train.replay_recorder import ReplayRecorder

    facts = {
        "name": policy,
        "level": "medium-replay",
        "seed": training["seed"],
        "stop_at": training["stop_at"],
    }
    with ReplayRecorder(path, task, facts, overwrite=overwrite) as recorder:
        train_behavior(policy, "medium-replay", task, recorder=recorder, **training)
    with open_buffer(path) as buffer:
        console.print(f"{path}: {len(buffer):,} transitions of {buffer.num_episodes:,} episodes", soft_wrap=True)
