"""`rlbuffers generate`: record the rollouts of a policy."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers.paths import DEFAULT_BUFFER_DIR, DEFAULT_LOG_DIR

__all__ = ["generate"]

# Streams of random numbers that belong to one seed: expert's training, its actions here, the environments.
_ACTION_STREAM = 1


@click.command()
@click.option("--policy", type=click.Choice(["qrdqn"]), default="qrdqn", show_default=True, help="What acts.")
@click.option("--eps", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of random actions.")
@click.option("--task", default="CartPole-v1", show_default=True, help="Environment id, e.g. PongNoFrameskip-v4.")
@click.option("--buffer-size", type=click.IntRange(min=1), default=100_000, show_default=True, help="Transitions.")
@click.option(
    "--resume-path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Checkpoint of the policy; without it an expert is trained first, and kept.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help=f"The buffer, .hdf5, .zarr or .zarr.zip.  [default: {DEFAULT_BUFFER_DIR}/TASK/POLICY-epsEPS.hdf5]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--num-envs", type=click.IntRange(min=1), default=10, show_default=True, help="Played side by side.")
@click.option("--device", default="auto", show_default=True, help="Where the policy computes: cpu, cuda, ...")
@click.option("--overwrite", is_flag=True, help="Replace an existing buffer.")
def generate(
    policy: str,
    eps: float,
    task: str,
    buffer_size: int,
    resume_path: Path | None,
    output: Path | None,
    seed: int,
    num_envs: int,
    device: str,
    overwrite: bool,
) -> None:
    """Record transitions of an epsilon-greedy expert.

    Rewards are the environment's, unclipped, and games are played to their end.
    """
    import numpy as np

    from rlbuffers.conversion import convert
    from rlbuffers.errors import BufferExistsError
    from rlbuffers.paths import generated_buffer_path
    from rlbuffers.sources.policy_rollout import PolicyRolloutSource
    from rlbuffers.stores import format_of
    from rlbuffers_cli.console import console, progress_bar, size_text, warn
    from rlbuffers_cli.conversions import told_of_interruptions
    from rlbuffers_train import load_policy

    path = (output or generated_buffer_path(task, policy, eps)).expanduser()
    format_of(path)
    if path.exists() and not overwrite:  # before an expert is trained
        raise BufferExistsError(f"{path}: exists already; pass --overwrite to replace it")
    checkpoint = resume_path or _train_expert(task, seed, device)
    generator = np.random.default_rng([seed, _ACTION_STREAM])
    behavior = load_policy(checkpoint, eps=eps, generator=generator, device=device)
    facts = {
        "name": behavior.algorithm,
        "exploration": "epsilon-greedy, drawn anew at each step",
        "epsilon": eps,
        "trained_on": behavior.task,
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": behavior.checkpoint_sha256,
        "seed": [seed, _ACTION_STREAM],
    }
    source = PolicyRolloutSource(behavior, facts, task, size=buffer_size, num_envs=num_envs, seed=seed)
    with progress_bar() as progress, told_of_interruptions(path):
        bar = progress.add_task(f"Playing {task}", total=buffer_size)
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


def _train_expert(task: str, seed: int, device: str) -> Path:
    """Train the expert, or go on with one that an earlier call began; return its checkpoint."""
    from rlbuffers_cli.console import console
    from rlbuffers_train import LAST, POLICY, LiveTable, TrainingRequest, train_online

    logdir = DEFAULT_LOG_DIR.expanduser() / task / "qrdqn" / f"expert-seed{seed}"
    begun = logdir / LAST
    request = TrainingRequest(
        "qrdqn",
        task=task,
        logdir=logdir,
        resume_path=begun if begun.exists() else None,
        device=device,
        settings={"seed": seed},
    )
    with LiveTable(console, f"Training a QRDQN expert in {task}") as table:
        summary = train_online(request, table)
    console.print(f"expert: return {summary.best}, kept in {logdir / POLICY}", soft_wrap=True)
    return logdir / POLICY
