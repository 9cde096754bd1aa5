"""`rlbuffers evaluate`: what a trained policy is worth."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers.optional import require
from rlbuffers_cli.option_types import OutputPath

if TYPE_CHECKING:
    from rlbuffers_train.comparing.checkpoint_evaluation import CheckpointEvaluation

__all__ = ["evaluate"]

# Options by what they are a part of: with --fqe nothing is played, without it no buffer is read.
_OF_PLAYING = ("episodes", "task", "num_envs", "video")
_OF_DATA = ("buffer", "updates", "gamma")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="How many are played.")
@click.option("--task", help="Environment.  [default: that of the training's evaluation]")
@click.option("--eps", type=click.FloatRange(0, 1), help="Share of random actions.  [default: the training's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--num-envs", type=click.IntRange(min=1), default=10, show_default=True, help="Played side by side.")
@click.option("--video", type=OutputPath(dir_okay=False), help="Draw one more episode: a GIF.")
@click.option("--fqe", is_flag=True, help="Play nothing: estimate the value from --buffer (Fitted Q Evaluation).")
@click.option("--buffer", metavar="PATH", help="With --fqe: the data, best some held out of training.")
@click.option(
    "--updates", type=click.IntRange(min=1), help="With --fqe: of the regression.  [default: 30000; images 20000]"
)
@click.option(
    "--gamma", type=click.FloatRange(0, 1), help="With --fqe: discount of one step.  [default: the training's, or 0.99]"
)
@click.option("--device", default="cpu", show_default=True, help="Where networks compute: cpu, cuda, ...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the return of each episode.")
@click.pass_context
def evaluate(
    context: click.Context,
    checkpoint: Path,
    episodes: int,
    task: str | None,
    eps: float | None,
    seed: int,
    num_envs: int,
    video: Path | None,
    fqe: bool,
    buffer: str | None,
    updates: int | None,
    gamma: float | None,
    device: str,
    as_json: bool,
) -> None:
    """Play whole episodes with the policy of a CHECKPOINT, or of the best epoch of a run's folder.

    Rewards are the environment's, unclipped. The episodes are none of those that chose the policy, whatever
    the seed. Where there is no environment, --fqe estimates from data what the policy earns.
    """
    require("torch", extra="train", purpose="Evaluating a policy")
    _refuse_what_has_no_effect(context, fqe)
    if fqe:
        from rlbuffers_cli.off_policy import estimate

        estimate(
            checkpoint,
            _required(buffer),
            as_json=as_json,
            updates=updates,
            gamma=gamma,
            eps=eps,
            seed=seed,
            device=device,
        )
        return
    from rlbuffers_cli.console import console, facts_table, print_json, progress_bar, warn
    from rlbuffers_train.comparing.checkpoint_evaluation import JudgedPolicy
    from rlbuffers_train.playing.video import check_video, record_video
    from rlbuffers_train.seeds import Stream

    judged = JudgedPolicy(checkpoint, task=task, seed=seed, eps=eps, device=device)
    if video is not None:
        check_video(video, judged.task)
    for warning in judged.warnings:
        warn(warning)
    with nullcontext() if as_json else progress_bar() as progress:
        bar = None if progress is None else progress.add_task(f"Playing {judged.task}", total=episodes)

        def on_episode(count: int) -> None:
            if progress is not None and bar is not None:
                progress.update(bar, completed=count, count=count)

        found = judged.play(episodes, num_envs=num_envs, on_episode=on_episode)
    if as_json:
        print_json(found.to_json())
    else:
        console.print(facts_table("", _facts(found)))
    if video is not None:
        shown = record_video(judged.policy, judged.task, judged.generator(Stream.VIDEO), video)
        if not as_json:
            console.print(str(shown), soft_wrap=True)


def _facts(found: CheckpointEvaluation) -> dict[str, Any]:
    values = found.to_json()
    returns, lengths = values["return"], values["length"]
    normalized = "none: no reference scores of this task are known"
    if found.scores is not None:
        low, high = found.scores.low, found.scores.high
        normalized = f"{found.normalized:.1f}, where {low:g} makes 0 and {high:g} makes 100: {found.scores.about}"
    return {
        "policy": f"{found.algorithm} after {found.step:,} {found.step_name}, {found.path}",
        "task": found.task,
        "episodes": f"{values['num_episodes']}, seed {found.seed}, {found.eps:.0%} random actions",
        "return": f"{returns['mean']:.1f} ± {returns['std']:.1f}, median {returns['median']:.1f}, "
        f"{returns['min']:.1f} to {returns['max']:.1f}",
        "length": f"{lengths['mean']:.1f}, {lengths['min']:.0f} to {lengths['max']:.0f} steps",
        "normalized": normalized,
    }


def _refuse_what_has_no_effect(context: click.Context, fqe: bool) -> None:
    """Refuse options that would be ignored, as somebody who gives them counts on them."""
    for name in _OF_PLAYING if fqe else _OF_DATA:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            reason = "with --fqe nothing is played" if fqe else "it is a part of --fqe; add that or leave this one out"
            raise click.UsageError(f"--{name.replace('_', '-')} has no effect: {reason}")


def _required(buffer: str | None) -> str:
    if buffer is None:
        raise click.UsageError("--fqe needs data: name them with --buffer")
    return buffer
