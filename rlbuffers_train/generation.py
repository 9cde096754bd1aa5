"""Recording a policy: it is trained where it has to be, plays, and becomes a buffer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rlbuffers.conversion.convert import Progress, convert
from rlbuffers.environments import MAX_SEED
from rlbuffers.errors import BufferExistsError, UsageError
from rlbuffers.listing import listed
from rlbuffers.paths import DEFAULT_LOG_DIR, generated_buffer_path
from rlbuffers.reader import open_buffer
from rlbuffers.sources.policy_rollout import Policy, PolicyRolloutSource
from rlbuffers.stores import format_of
from rlbuffers_train.algorithms import entries_of
from rlbuffers_train.checkpoint import load_checkpoint
from rlbuffers_train.default_data import DEFAULT_DATA, POLICIES
from rlbuffers_train.expert import train_online
from rlbuffers_train.levels import LEVELS, medium_return
from rlbuffers_train.loaded_policy import LoadedPolicy, load_policy, task_of_checkpoint, untrained_policy
from rlbuffers_train.policy import checked_eps
from rlbuffers_train.replay_recorder import ReplayRecorder
from rlbuffers_train.running.interrupts import TrainingInterrupted
from rlbuffers_train.running.reporting import Reporter
from rlbuffers_train.running.run_folder import LAST, POLICY, find_checkpoint, new_logdir
from rlbuffers_train.running.run_summary import RunSummary
from rlbuffers_train.running.training_request import TrainingRequest

__all__ = ["DEFAULT_BUFFER_SIZE", "GeneratedBuffer", "Generation", "generate"]

DEFAULT_BUFFER_SIZE = 100_000
# Streams of random numbers that belong to one seed: the training's, the policy's actions, the environments'.
_ACTION_STREAM = 1
_REPLAY = "medium-replay"


@dataclass(frozen=True)
class GeneratedBuffer:
    """What was recorded.

    Parameters
    ----------
    path : Path
        The buffer.
    transitions, episodes : int
        How many are in it.
    whole_episodes : int
        Episodes that were played to their end.
    mean_return, std_return : float or None
        Of the whole episodes; None if there is none.
    num_bytes : int
        Size on disk.
    fingerprint : str
        Content hash of the buffer.
    seconds : float
        Time that recording took; for ``medium-replay`` the training's.
    warnings : sequence of str
        What a user must know.
    """

    path: Path
    transitions: int
    episodes: int
    whole_episodes: int
    mean_return: float | None
    std_return: float | None
    num_bytes: int
    fingerprint: str
    seconds: float
    warnings: Sequence[str] = ()


def generate(
    path: str | Path | None = None,
    *,
    policy: str | Policy | None = None,
    level: str | None = None,
    eps: float | None = None,
    task: str | None = None,
    buffer_size: int | None = None,
    stop_at: float | None = None,
    resume_path: str | Path | None = None,
    seed: int = 0,
    num_envs: int = 10,
    device: str = "auto",
    overwrite: bool = False,
    reporter: Reporter | None = None,
    on_progress: Progress | None = None,
) -> GeneratedBuffer:
    """Record transitions of a policy, as ``rlbuffers generate`` does.

    Rewards are the environment's, unclipped, and games are played to their end. A policy that is a distribution is
    drawn from. Every environment plays the same number of steps; the episode that it is in at the last one is cut.

    Parameters
    ----------
    path : str or Path, optional
        The buffer: a name that ends in ``.hdf5``, ``.zarr`` or ``.zarr.zip``, or ``memory:NAME``. By default
        ``~/.rl_unplugged/buffers/TASK/POLICY-LEVEL-epsEPS.hdf5``.
    policy : str or object, optional
        ``"qrdqn"`` or ``"sac"``, which are trained first and kept in ``~/.rl_unplugged/runs``; or an object whose
        ``act(observations)`` returns actions, shape (num_envs,) or (num_envs, D), for observations of shape
        (num_envs, ...). By default the checkpoint's, or ``"qrdqn"``.
    level : {"random", "medium", "medium-replay", "expert"}, optional
        How well the policy is trained, in D4RL's sense; ``"expert"`` by default. ``medium-replay`` is everything that
        was played until a policy was a medium one. For a trained policy it is only noted in the metadata.
    eps : float, optional
        Share of random actions, in [0, 1]. By default 0.2 for numbered actions, 0 for vectors.
    task : str, optional
        Environment id. By default the checkpoint's, or CartPole-v1 and Pendulum-v1.
    buffer_size : int, optional
        Number of transitions, 100,000 by default.
    stop_at : float, optional
        Mean return at which the training ends. By default the task's; for a medium policy, a third of the way from
        D4RL's random return to its expert return.
    resume_path : str or Path, optional
        Checkpoint of any algorithm, or the folder of a run: the policy that plays.
    seed : int, default 0
        Of training, environments and random actions. The same seed gives the same content.
    num_envs : int, default 10
        Environments that are played side by side.
    device : str, default "auto"
        Where the policy computes: ``cpu``, ``cuda``, ...
    overwrite : bool, default False
        Whether an existing buffer is replaced.
    reporter : Reporter, optional
        Shows the training; nothing is shown by default.
    on_progress : callable, optional
        Is given (transitions done, transitions in all, transitions so far) after each episode.

    Returns
    -------
    GeneratedBuffer
        Counts, returns and the fingerprint of the buffer.

    Raises
    ------
    BufferExistsError
        If the path is taken; this is found before anything is trained.
    UsageError
        If there is no such policy, level or task, the policy does not fit the task, a number is out of range, or an
        argument would have no effect.
    BufferNotFoundError, FormatError, CorruptDataError
        If the checkpoint is missing, something else, or damaged.
    TrainingInterrupted
        After Ctrl-C while training.

    Examples
    --------
    >>> import rlbuffers_train
    >>> recorded = rlbuffers_train.generate("random.hdf5", level="random", task="CartPole-v1", buffer_size=500)
    >>> recorded.transitions
    500
    >>> class Right:
    ...     def act(self, observations):
    ...         return [1] * len(observations)
    >>> rlbuffers_train.generate("right.zarr", policy=Right(), task="CartPole-v1", buffer_size=50).transitions
    50
    >>> rlbuffers_train.generate("run.hdf5", resume_path="runs/bcq/seed0")  # doctest: +SKIP
    """
    generation = Generation(
        path,
        policy=policy,
        level=level,
        eps=eps,
        task=task,
        buffer_size=buffer_size,
        stop_at=stop_at,
        resume_path=resume_path,
        seed=seed,
        num_envs=num_envs,
        device=device,
        overwrite=overwrite,
    )
    if generation.needs_training:
        generation.train(reporter)
    return generation.record(on_progress)


class _Player(NamedTuple):
    """Who plays: a name, where, of which kind its actions are, and its file or the object itself."""

    name: str
    task: str
    kind: str | None = None
    checkpoint: Path | None = None
    itself: Policy | None = None


class Generation:
    """A recording in its steps, for who shows them: everything is checked when this is made, before any training.

    Parameters
    ----------
    path, policy, level, eps, task, buffer_size, stop_at, resume_path, seed, num_envs, device, overwrite
        See :func:`generate`.
    named : callable
        Turns the name of an argument into what messages call it, such as an option of the command line.

    Attributes
    ----------
    path : Path
        Where the buffer will be.
    policy, task, level : str
        Who plays, where, and how well it is to be trained.
    needs_training : bool
        Whether :meth:`train` must come before :meth:`record`.
    plays : bool
        Whether :meth:`record` lets the policy play; a recorded training has made the buffer already.
    num_transitions : int
        How many are played.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        policy: str | Policy | None,
        level: str | None,
        eps: float | None,
        task: str | None,
        buffer_size: int | None,
        stop_at: float | None,
        resume_path: str | Path | None,
        seed: int,
        num_envs: int,
        device: str,
        overwrite: bool,
        named: Callable[[str], str] = str,
    ) -> None:
        if level is not None and level not in LEVELS:
            raise UsageError(f"{named('level')} {level!r}: expected one of {listed(LEVELS)}")
        given = {"level": level, "stop_at": stop_at, "buffer_size": buffer_size, "eps": eps}
        _refuse_what_has_no_effect(policy, resume_path, given, named)
        for name, value in (("buffer_size", buffer_size), ("num_envs", num_envs)):
            if value is not None and value < 1:
                raise UsageError(f"{named(name)} {value}: expected 1 or more")
        if not 0 <= seed < MAX_SEED:
            raise UsageError(f"{named('seed')} {seed}: expected 0 to {MAX_SEED - 1}")
        player = _player(policy, resume_path, task, named)
        default_eps = 0.0 if player.kind is None else DEFAULT_DATA[player.kind].eps
        self._eps = default_eps if eps is None else checked_eps(eps)
        is_trained = player.checkpoint is not None or player.itself is not None
        self.policy, self.task, self.level = player.name, player.task, level or "expert"
        if path is None and player.itself is not None:
            raise UsageError(f"{named('path')}: name the buffer that the policy's transitions go to")
        default = generated_buffer_path(player.task, player.name, self._eps, self.level)
        self.path = default if path is None else Path(path).expanduser()
        format_of(self.path)
        if self.path.exists() and not overwrite:
            raise BufferExistsError(f"{self.path}: exists already; pass {named('overwrite')} to replace it")
        if self.level.startswith("medium") and stop_at is None and not is_trained:
            stop_at = medium_return(player.task, named("stop_at"))
        # Only who names a trained policy can know how well it is trained.
        self._known_level = level if is_trained else self.level
        self.needs_training = not is_trained and self.level != "random"
        self.plays = not (self.needs_training and self.level == _REPLAY)
        self.num_transitions = DEFAULT_BUFFER_SIZE if buffer_size is None else buffer_size
        self._player, self._stop_at, self._seed = player, stop_at, seed
        self._num_envs, self._device, self._overwrite = num_envs, device, overwrite
        self._replay_seconds = 0.0

    def train(self, reporter: Reporter | None = None) -> RunSummary:
        """Train the policy, or continue a training that an earlier call began.

        A training that is recorded begins anew, in a folder of its own: the buffer holds all of it.

        Raises
        ------
        TrainingInterrupted
            After Ctrl-C.
        """
        started = time.perf_counter()
        try:
            summary = self._train_kept(reporter) if self.plays else self._train_recorded(reporter)
        except TrainingInterrupted as interruption:
            next_time = "continue the training" if self.plays else "begin anew: all of a training is recorded"
            raise TrainingInterrupted(f"stopped; no buffer was written. Run it again to {next_time}") from interruption
        self._player = self._player._replace(checkpoint=summary.logdir / POLICY)
        self._replay_seconds = time.perf_counter() - started
        return summary

    def record(self, on_progress: Progress | None = None) -> GeneratedBuffer:
        """Let the policy play and write the buffer; the buffer of ``medium-replay`` is there already."""
        if not self.plays:
            return _described(self.path, self._replay_seconds)
        behavior = self._behavior()
        source = PolicyRolloutSource(
            behavior,
            self._facts(behavior),
            self.task,
            size=self.num_transitions,
            num_envs=self._num_envs,
            seed=self._seed,
        )
        report = convert(source, self.path, overwrite=self._overwrite, on_progress=on_progress, keep_interrupted=True)
        return _described(self.path, report.seconds, report.warnings)

    def _train_kept(self, reporter: Reporter | None) -> RunSummary:
        logdir = DEFAULT_LOG_DIR.expanduser() / self.task / self.policy / f"{self.level}-seed{self._seed}"
        return train_online(self._request(logdir), reporter)

    def _train_recorded(self, reporter: Reporter | None) -> RunSummary:
        facts = {"name": self.policy, "level": self.level, "seed": self._seed, "stop_at": self._stop_at}
        with ReplayRecorder(self.path, self.task, facts, overwrite=self._overwrite) as recorder:
            return train_online(self._request(new_logdir(self.task, self.policy, self._seed)), reporter, recorder)

    def _request(self, logdir: Path) -> TrainingRequest:
        begun = logdir / LAST
        return TrainingRequest(
            self.policy,
            task=self.task,
            logdir=logdir,
            resume_path=begun if begun.exists() else None,
            device=self._device,
            settings={"seed": self._seed, "stop_at": self._stop_at},
        )

    def _behavior(self) -> Policy:
        if self._player.itself is not None:
            return self._player.itself
        generator = np.random.default_rng([self._seed, _ACTION_STREAM])
        shared: dict[str, Any] = {"eps": self._eps, "generator": generator, "device": self._device}
        if self._player.checkpoint is None:
            return untrained_policy(self.policy, self.task, seed=self._seed, **shared)
        # D4RL's policies draw from their distributions; one without a distribution ignores it.
        return load_policy(self._player.checkpoint, samples=True, **shared)

    def _facts(self, behavior: Policy) -> Mapping[str, Any]:
        """Return what the buffer's metadata say of the policy."""
        facts: dict[str, Any] = {"name": self.policy}
        if self._known_level is not None:
            facts["level"] = self._known_level
        if isinstance(behavior, LoadedPolicy):
            checkpoint = self._player.checkpoint
            facts |= {
                "exploration": "epsilon-greedy, drawn anew at each step",
                "epsilon": behavior.eps,
                "trained_on": behavior.task,
                "checkpoint": None if checkpoint is None else checkpoint.name,
                "checkpoint_sha256": behavior.checkpoint_sha256,
            }
        if self._player.itself is None:
            facts["seed"] = [self._seed, _ACTION_STREAM]
        return facts


def _refuse_what_has_no_effect(
    policy: str | Policy | None,
    resume_path: str | Path | None,
    given: Mapping[str, Any],
    named: Callable[[str], str],
) -> None:
    """Refuse arguments that would be ignored, as somebody who gives them counts on them."""
    untrained = {"level": given["level"] if given["level"] in ("random", _REPLAY) else None}
    of_training = {**untrained, "stop_at": given["stop_at"]}
    if policy is not None and not isinstance(policy, str):
        reason = f"{named('policy')} acts as it does"
        refused = {**of_training, "eps": given["eps"], "resume_path": resume_path}
    elif resume_path is not None:
        reason = f"{named('resume_path')} names a policy that is trained already"
        refused = of_training
    elif given["level"] == _REPLAY:
        reason = f"{_REPLAY} is what a training played, all of it"
        refused = {name: given[name] for name in ("buffer_size", "eps")}
    else:
        return
    for name, value in refused.items():
        if value is not None:
            raise UsageError(f"{named(name)} has no effect: {reason}; leave it out")


def _player(
    policy: str | Policy | None, resume_path: str | Path | None, task: str | None, named: Callable[[str], str]
) -> _Player:
    """Return who plays, and where, before it does."""
    if policy is not None and not isinstance(policy, str):
        if not callable(getattr(policy, "act", None)):
            raise UsageError(f"{named('policy')}: expected a name, or an object with a method act, got {policy!r:.80}")
        task = task or getattr(policy, "task", None)
        if task is None:
            raise UsageError(f"{named('task')}: name the environment that the policy is to play in")
        name = policy.algorithm if isinstance(policy, LoadedPolicy) else type(policy).__name__
        return _Player(name, task, itself=policy)
    if resume_path is not None:
        path = find_checkpoint(resume_path)
        checkpoint = load_checkpoint(path, torch.device("cpu"))
        if policy not in (None, checkpoint.algorithm):
            raise UsageError(
                f"{path} is a policy of {checkpoint.algorithm}, not of {policy}; leave {named('policy')} out"
            )
        task = task_of_checkpoint(path, checkpoint, task)
        return _Player(checkpoint.algorithm, task, checkpoint.problem.actions.kind, checkpoint=path)
    policy = policy or POLICIES[0]
    if policy not in POLICIES:
        raise UsageError(f"{named('policy')} {policy!r}: expected one of {listed(POLICIES)}")
    kind = entries_of(policy)[0].actions
    return _Player(policy, task or DEFAULT_DATA[kind].task, kind)


def _described(path: Path, seconds: float, warnings: Sequence[str] = ()) -> GeneratedBuffer:
    with open_buffer(path) as buffer:
        returns = buffer.metadata["statistics"].get("episode_returns") or {}
        return GeneratedBuffer(
            path=path,
            transitions=len(buffer),
            episodes=buffer.num_episodes,
            whole_episodes=int(buffer.metadata["counts"].get("whole_episodes", 0)),
            mean_return=returns.get("mean"),
            std_return=returns.get("std"),
            num_bytes=buffer.store_disk_bytes,
            fingerprint=buffer.fingerprint,
            seconds=seconds,
            warnings=tuple(warnings),
        )
