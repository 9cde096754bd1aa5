"""A buffer of everything that online training plays: D4RL's ``medium-replay``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from rlbuffers.environments import environment_facts
from rlbuffers.errors import UsageError
from rlbuffers.online.recording import EpisodeRecording, spec_of_environment
from rlbuffers.writer import create

__all__ = ["ReplayRecorder"]

Array = np.ndarray[Any, Any]


class ReplayRecorder:
    """Writes each episode when it ends. A context manager: an error or Ctrl-C leaves no buffer.

    Parameters
    ----------
    path : Path
        Where the buffer goes, when training is over.
    task : str
        Environment trained in.
    behavior_policy : mapping
        What the metadata say of the policy, which changes from step to step.
    overwrite : bool
        Whether an existing buffer is replaced.

    Raises
    ------
    UsageError
        If training sees other rewards or ends than the task has, as for Atari games.
    """

    def __init__(self, path: Path, task: str, behavior_policy: Mapping[str, Any], *, overwrite: bool = False) -> None:
        facts = environment_facts(task)
        if facts["preprocessing"]:
            raise UsageError(f"{task}: training clips rewards and cuts episodes at lost lives; play a policy instead")
        self._spec = spec_of_environment(facts, episode_columns=("env_indices",))
        metadata = {
            "environment": facts,
            "behavior_policy": dict(behavior_policy),
            "source": {"format": "training", "rewards": "the environment's, unclipped"},
            "warnings": [],
            "left_out": [],
            "license": "MIT",
            "citation": "",
            "notes": [
                "Every step of an online training from its beginning, in the order in which episodes ended; the last "
                "episode of each environment is cut: timeouts is set on its last row and episodes/whole is False."
            ],
        }
        self._writer = create(path, self._spec, metadata, overwrite=overwrite)
        self._running: list[EpisodeRecording] = []
        self._follows_end = np.zeros(0, np.bool_)

    def begin(self, observations: Array) -> None:
        """Take the first observations of all environments, shape (num_envs, *obs)."""
        self._running = [EpisodeRecording(first, self._spec) for first in observations]
        self._follows_end = np.zeros(len(observations), np.bool_)

    def add(self, actions: Array, rewards: Array, terminated: Array, truncated: Array, observations: Array) -> None:
        """Take one step of every environment: what was done, and what followed."""
        for index, recording in enumerate(self._running):
            if self._follows_end[index]:  # this step was the reset: its action did nothing
                self._running[index] = EpisodeRecording(observations[index], self._spec)
                continue
            recording.add(actions[index], rewards[index], terminated[index], truncated[index], observations[index])
            if terminated[index] or truncated[index]:
                self._append(index, whole=True)
        self._follows_end = terminated | truncated

    def _append(self, index: int, *, whole: bool) -> None:
        self._writer.append_episode(self._running[index].episode({"env_indices": index}, whole=whole))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            for index, recording in enumerate(self._running):
                if len(recording) and not self._follows_end[index]:
                    self._append(index, whole=False)
        self._writer.__exit__(kind, error, traceback)
