"""What the policy of a checkpoint is worth: episodes that no training has seen, scores, and what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers_train.checkpoint import Checkpoint, load_checkpoint
from rlbuffers_train.devices import pick_device
from rlbuffers_train.loaded_policy import policy_of, task_of_checkpoint
from rlbuffers_train.playing.episodes import PlayedEpisodes, play_episodes
from rlbuffers_train.playing.evaluation_task import environment_warnings
from rlbuffers_train.playing.reference_scores import ReferenceScores, find_reference_scores
from rlbuffers_train.running.run_folder import find_checkpoint
from rlbuffers_train.seeds import Stream, generator_of

__all__ = ["CheckpointEvaluation", "JudgedPolicy"]


@dataclass(frozen=True)
class CheckpointEvaluation:
    """Scores of a policy.

    Parameters
    ----------
    path : Path
        Checkpoint.
    algorithm, task : str
        Who played, and where.
    step : int
        How far its training was, in `step_name`.
    step_name : str
        Such as ``updates``.
    episodes : PlayedEpisodes
        What was played.
    scores : ReferenceScores or None
        What they are measured by; None where nobody published any.
    eps : float
        Share of random actions.
    seed : int
        Of the environments and of random actions.
    warnings : sequence of str
        Why scores may not be those of the recorded task.
    """

    path: Path
    algorithm: str
    task: str
    step: int
    step_name: str
    episodes: PlayedEpisodes
    scores: ReferenceScores | None
    eps: float
    seed: int
    warnings: Sequence[str]

    @property
    def normalized(self) -> float | None:
        """0 for a random player, 100 for an expert's or a human's return; None where these are not known."""
        return None if self.scores is None else self.scores.normalize(float(self.episodes.returns.mean()))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "checkpoint": str(self.path),
            "algorithm": self.algorithm,
            "task": self.task,
            "step": self.step,
            "step_name": self.step_name,
            "eps": self.eps,
            "seed": self.seed,
            "num_episodes": len(self.episodes.returns),
            "return": _statistics(self.episodes.returns),
            "length": _statistics(self.episodes.lengths),
            "normalized_score": self.normalized,
            "reference_scores": None if self.scores is None else self.scores.to_json(),
            "returns": self.episodes.returns.tolist(),
            "lengths": self.episodes.lengths.tolist(),
            "warnings": list(self.warnings),
        }


def _statistics(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "median": float(np.median(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
    }


class JudgedPolicy:
    """The policy of a checkpoint in a task that it fits.

    Its episodes come from random streams of their own: none of them chose the policy, whatever the seed.

    Parameters
    ----------
    path : Path or str
        Checkpoint, or the folder of a run, which means its best epoch.
    task : str, optional
        Environment; by default the one of the training's evaluation, or else of the data.
    seed : int
        Of the environments and of random actions.
    eps : float, optional
        Share of random actions; by default that of the training's evaluation.
    device : str
        Where the networks compute.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If the file is missing, something else, or damaged.
    UsageError
        If there is no such task, or the policy cannot see or act in it.
    """

    def __init__(
        self, path: Path | str, *, task: str | None = None, seed: int = 0, eps: float | None = None, device: str = "cpu"
    ) -> None:
        torch_device = pick_device(device)
        path = find_checkpoint(path)
        checkpoint = load_checkpoint(path, torch_device)
        self.path = path
        self.task = task_of_checkpoint(path, checkpoint, task)
        self.eps = float(checkpoint.config["eps_inference"]) if eps is None else eps
        self.seed = seed
        self.warnings = environment_warnings(checkpoint.environment, self.task)
        self.policy = policy_of(path, checkpoint, torch_device, self.eps, self.generator(Stream.POLICY))
        self._checkpoint = checkpoint

    def generator(self, stream: Stream) -> np.random.Generator:
        """Return the randomness of one purpose."""
        return generator_of(self.seed, stream)

    def play(
        self, num_episodes: int, *, num_envs: int = 10, on_episode: Callable[[int], None] = lambda count: None
    ) -> CheckpointEvaluation:
        """Play whole episodes; see `rlbuffers_train.playing.episodes.play_episodes`."""
        return CheckpointEvaluation(
            path=self.path,
            algorithm=self.policy.algorithm,
            task=self.task,
            step=self._checkpoint.step,
            step_name=step_name_of(self._checkpoint),
            episodes=play_episodes(
                self.policy,
                self.task,
                num_episodes,
                self.generator(Stream.LATER_EVALUATION),
                num_envs=num_envs,
                on_episode=on_episode,
            ),
            scores=find_reference_scores(self.task, self._checkpoint.environment),
            eps=self.eps,
            seed=self.seed,
            warnings=self.warnings,
        )


def step_name_of(checkpoint: Checkpoint) -> str:
    """Return what the checkpoint counts in ``step``."""
    return "environment steps" if checkpoint.buffer_fingerprint is None else "updates"
