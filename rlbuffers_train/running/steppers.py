"""The two kinds of training step: an update from a buffer, and acting online followed by updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rlbuffers.loading.loader import Loader
from rlbuffers.online.ring import RingBuffer
from rlbuffers.samplers.sampler import Sampler
from rlbuffers_train.algorithms.base import Algorithm
from rlbuffers_train.batch import TransitionBatch
from rlbuffers_train.replay_recorder import ReplayRecorder
from rlbuffers_train.running.stopwatch import Stopwatch

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

__all__ = ["OfflineStepper", "OnlineStepper"]

Array = np.ndarray[Any, Any]
_DATA, _UPDATE, _ENVIRONMENT = "waiting for data", "update", "acting and stepping"


class OfflineStepper:
    """One update from a batch of a fixed buffer.

    Parameters
    ----------
    algorithm : Algorithm
        What is updated.
    loader : Loader
        Where batches come from; not closed.
    """

    step_name = "updates"
    time_names: tuple[str, ...] = (_DATA, _UPDATE)

    def __init__(self, algorithm: Algorithm[Any], loader: Loader[TransitionBatch]) -> None:
        self.step = 0
        self._algorithm = algorithm
        self._loader = loader

    def advance(self, watch: Stopwatch) -> Mapping[str, torch.Tensor | float]:
        """Take a batch and update."""
        with watch.measure(_DATA):
            batch = next(self._loader)
        with watch.measure(_UPDATE):
            metrics = self._algorithm.update(batch)
        self.step += 1
        return metrics

    def streams(self) -> dict[str, Any]:
        """Return the states of the loader and of the policy's generator."""
        policy = self._algorithm.policy
        return {"sampler": self._loader.state_dict(), "policy": policy.generator.bit_generator.state}

    def resume(self, step: int, streams: Mapping[str, Any]) -> None:
        """Go on where `streams` was taken."""
        self.step = step
        self._loader.load_state_dict(streams["sampler"])
        self._algorithm.policy.generator.bit_generator.state = streams["policy"]


class OnlineStepper:
    """One step of every environment, stored for replay, and the updates that are due.

    A resumed run starts new episodes and an empty replay: neither games nor 0.7 GB of frames are
    kept in checkpoints. It updates again once the replay holds `min_history` transitions.

    Parameters
    ----------
    algorithm : Algorithm
        Acts and is updated.
    envs : VectorEnv
        Where it acts; seeded already.
    replay : RingBuffer
        Holds the recent steps.
    sampler : Sampler
        Draws from the replay.
    to_batch : callable
        Turns drawn columns into a `TransitionBatch`.
    update_per_step : float
        Number of updates per step of one environment.
    min_history : int
        Number of transitions in the replay from which on updates are made.
    eps_of_step : callable
        Probability of a random action after a number of steps.
    recorder : ReplayRecorder, optional
        Is told every step.
    """

    step_name = "environment steps"
    time_names: tuple[str, ...] = (_ENVIRONMENT, _DATA, _UPDATE)

    def __init__(
        self,
        algorithm: Algorithm[Any],
        envs: VectorEnv[Any, Any, Any],
        replay: RingBuffer,
        sampler: Sampler,
        to_batch: Callable[[Mapping[str, Array]], TransitionBatch],
        *,
        update_per_step: float,
        min_history: int,
        eps_of_step: Callable[[int], float],
        recorder: ReplayRecorder | None = None,
    ) -> None:
        self.step = 0
        self._algorithm = algorithm
        self._envs = envs
        self._replay = replay
        self._sampler = sampler
        self._to_batch = to_batch
        self._update_per_step = update_per_step
        self._min_history = min_history
        self._eps_of_step = eps_of_step
        self._recorder = recorder
        self._updates_due = 0.0
        self._observations, _ = envs.reset()
        if recorder is not None:
            recorder.begin(self._observations)
        self._follows_end = np.zeros(envs.num_envs, np.bool_)
        self._returns = np.zeros(envs.num_envs)

    def advance(self, watch: Stopwatch) -> Mapping[str, torch.Tensor | float]:
        """Act, store, and update as often as is due."""
        policy = self._algorithm.policy
        policy.eps_training = self._eps_of_step(self.step)
        metrics: dict[str, torch.Tensor | float] = {"eps": policy.eps_training}
        with watch.measure(_ENVIRONMENT):
            actions = policy.act(self._observations)
            following, rewards, terminated, truncated, _ = self._envs.step(actions)
            self._replay.append(
                {
                    "observations": self._observations,
                    "actions": actions,
                    "rewards": rewards.astype(np.float32, copy=False),
                    "terminals": terminated,
                    "timeouts": truncated,
                }
            )
            if self._recorder is not None:
                self._recorder.add(actions, rewards, terminated, truncated, following)
            metrics.update(self._finished_returns(rewards, terminated | truncated))
            self._observations = following
        self.step += self._envs.num_envs
        if self._sampler.num_items >= self._min_history:
            self._updates_due += self._update_per_step * self._envs.num_envs
        while self._updates_due >= 1.0:
            self._updates_due -= 1.0
            with watch.measure(_DATA):
                columns = self._sampler.sample()
            with watch.measure(_UPDATE):
                metrics.update(self._algorithm.update(self._to_batch(columns)))
        return metrics

    def _finished_returns(self, rewards: Array, ends: Array) -> dict[str, float]:
        self._returns += np.where(self._follows_end, 0.0, rewards)
        finished = self._returns[ends]
        self._returns[ends] = 0.0
        self._follows_end = ends
        return {"training_return": float(finished.mean())} if len(finished) else {}

    def streams(self) -> dict[str, Any]:
        """Return the states of the replay's sampler and of the policy's generator."""
        policy = self._algorithm.policy
        return {"replay": self._sampler.state_dict(), "policy": policy.generator.bit_generator.state}

    def resume(self, step: int, streams: Mapping[str, Any]) -> None:
        """Go on counting at `step`, with the randomness that followed it."""
        self.step = step
        self._sampler.load_state_dict(streams["replay"])
        self._algorithm.policy.generator.bit_generator.state = streams["policy"]

    def close(self) -> None:
        """Let go of the environments."""
        self._envs.close()
