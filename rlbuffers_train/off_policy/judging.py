"""What the policy of a checkpoint is worth, by a buffer alone: no environment is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlbuffers.errors import UsageError
from rlbuffers.listing import listed
from rlbuffers.paths import located
from rlbuffers.reader import Buffer, open_buffer
from rlbuffers.schema import NEXT_OBSERVATIONS, OBSERVATIONS
from rlbuffers.windows.n_step import checked_gamma
from rlbuffers_train.algorithms.base import DiscountedConfig
from rlbuffers_train.batch import COLUMNS, make_batch, observation_tensor
from rlbuffers_train.checkpoint import Checkpoint, build_algorithm, load_checkpoint
from rlbuffers_train.comparing.checkpoint_evaluation import step_name_of
from rlbuffers_train.devices import pick_device, threads_for
from rlbuffers_train.finite_data import require_finite
from rlbuffers_train.off_policy.fitted_q import FittedQ, FittedQSettings
from rlbuffers_train.off_policy.recorded_values import ValueScale, recorded_episodes
from rlbuffers_train.off_policy.result import MeanOfStates, OffPolicyEvaluation
from rlbuffers_train.off_policy.target_policy import TargetPolicy, target_policy
from rlbuffers_train.policy import checked_eps
from rlbuffers_train.problem import ProblemSpec
from rlbuffers_train.problem_of_buffer import normalization_of, observation_statistics_of, require_fitting
from rlbuffers_train.running.run_folder import find_checkpoint
from rlbuffers_train.seeds import Stream, generator_of
from rlbuffers_train.settings import with_changes
from rlbuffers_train.transition_loader import transition_loader

__all__ = ["evaluate_off_policy"]

Array = np.ndarray[Any, Any]
_GAMMA_WITHOUT_VALUES = 0.99
# At how many states of the data values are looked at.
_MOST_VECTORS, _MOST_IMAGES = 10_000, 1_000
_ROWS_AT_ONCE = 500
_LOOKS = 10  # at the estimate, while it is learned
_MOST_EXCESS = 0.1  # by which values may leave what is possible, as a share of it
_MOST_OUTSIDE = 0.01  # share of values that may leave it farther
_MOST_MOVEMENT = 0.02  # of the estimate in the last fifth of the updates, as a share of it


def evaluate_off_policy(
    path: Path | str,
    buffer: Path | str,
    *,
    updates: int | None = None,
    gamma: float | None = None,
    eps: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    on_update: Callable[[int, int], None] = lambda count, total: None,
) -> OffPolicyEvaluation:
    """Estimate the value of a policy from data by Fitted Q Evaluation; see `rlbuffers_train.off_policy.fitted_q`.

    Rewards are those of the buffer, whatever the training did with them.

    Parameters
    ----------
    path : Path or str
        Checkpoint, or the folder of a run, which means its best epoch.
    buffer : Path or str
        Data of the same problem, by path or address, best some that the policy was not trained on.
    updates : int, optional
        Of the regression; by default as `FittedQSettings` recommends.
    gamma : float, optional
        Discount of one step; by default that of the training, or 0.99 where it had none.
    eps : float, optional
        Share of random actions; by default that of the training's evaluation.
    seed : int
        Of batches, weights and draws.
    device : str
        Where networks compute.
    on_update : callable
        Is told after each update how many are done, and of how many.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If the checkpoint or the buffer is missing, something else, or damaged.
    UsageError
        If the policy does not fit the data, or a number is out of range.
    TrainingDivergedError
        If values are no numbers anymore.
    """
    torch_device = pick_device(device)
    path = find_checkpoint(path)
    checkpoint = load_checkpoint(path, torch_device)
    problem = checkpoint.problem
    with open_buffer(located(buffer).expanduser()) as data:
        missing = [name for name in COLUMNS if name not in data.spec.batch_names]
        if missing:
            raise UsageError(
                f"{data.path}: evaluation needs a column {missing[0]!r}; there are {listed(data.spec.columns)}"
            )
        require_finite(data, COLUMNS)
        require_fitting(path, problem, data)
        checkpoint = replace(checkpoint, problem=_problem_in(data, problem, path))
        algorithm = build_algorithm(checkpoint, generator_of(seed, Stream.POLICY), torch_device)
        if gamma is None:
            gamma = algorithm.gamma if isinstance(algorithm.config, DiscountedConfig) else _GAMMA_WITHOUT_VALUES
        eps = checked_eps(algorithm.config.eps_inference if eps is None else eps)
        settings = with_changes(FittedQSettings.recommended(problem), {"updates": updates})
        policy = target_policy(algorithm, eps, algorithm.policy.generator)
        evaluation = _Evaluation(policy, data, settings, checked_gamma(gamma), seed)
        with threads_for(problem, settings.batch_size * max(settings.hidden_sizes) ** 2):
            history = evaluation.learn(on_update)
            closeness, td_error, values = evaluation.look_at_rows()
        return OffPolicyEvaluation(
            path=path,
            algorithm=checkpoint.algorithm,
            step=checkpoint.step,
            step_name=step_name_of(checkpoint),
            buffer=data.path,
            num_transitions=len(data),
            is_training_data=_is_training_data(checkpoint, data),
            gamma=gamma,
            eps=eps,
            seed=seed,
            settings=settings,
            value=MeanOfStates.of(evaluation.first_values()),
            at_first_states=evaluation.episodes is not None,
            recorded=evaluation.recorded(),
            continued=evaluation.continued(),
            closeness_name=policy.closeness_name,
            closeness=closeness,
            td_error=td_error,
            history=history,
            warnings=[
                *_warnings_of_data(checkpoint, data),
                *_warnings_of_values(evaluation.scale, values),
                *_warnings_of_history(history, evaluation.scale),
            ],
        )


class _Evaluation:
    """Fitted Q on a buffer, and what it says of the buffer's states."""

    def __init__(self, policy: TargetPolicy, data: Buffer, settings: FittedQSettings, gamma: float, seed: int) -> None:
        problem = policy.algorithm.problem
        # Statistics of images, where they are so small that there are any, are not needed.
        statistics = None if problem.is_pixels else observation_statistics_of(data)
        self.scale = ValueScale.of(data, gamma)
        self._device = policy.algorithm.device
        self._fitted = FittedQ(
            policy, replace(problem, statistics=statistics), self.scale, settings, seed=seed, device=self._device
        )
        self._policy = policy
        self._data = data
        self._settings = settings
        self._gamma = gamma
        self._sampler = data.sampler(settings.batch_size, generator_of(seed, Stream.SAMPLER), columns=COLUMNS)
        generator = generator_of(seed, Stream.FITTED_Q)
        most = _MOST_IMAGES if problem.is_pixels else _MOST_VECTORS
        self._rows = np.sort(generator.permutation(data.usable_rows)[:most])
        self.episodes = recorded_episodes(data, gamma, most, generator)

    def learn(self, on_update: Callable[[int, int], None]) -> list[float]:
        """Do all updates; return the estimate after each tenth of them."""
        total = self._settings.updates
        looks = {math.ceil(total * number / _LOOKS) for number in range(1, _LOOKS + 1)}
        history = []
        with transition_loader(self._sampler, self._policy.algorithm.problem, self._gamma, self._device) as loader:
            for count in range(1, total + 1):
                self._fitted.update(next(loader))
                on_update(count, total)
                if count in looks:
                    self._fitted.require_finite()
                    history.append(float(self.first_values().mean()))
        return history

    def first_values(self) -> Array:
        """Return the policy's values where episodes begin, or without whole ones at the states looked at."""
        return self._values(self._rows if self.episodes is None else self.episodes.first_rows, OBSERVATIONS)

    def recorded(self) -> MeanOfStates | None:
        """Return what the recorded episodes earned."""
        return None if self.episodes is None else MeanOfStates.of(self.episodes.returns)

    def continued(self) -> MeanOfStates | None:
        """Return the same, with the policy's values of what would have followed where recordings were cut."""
        if self.episodes is None or not self.episodes.ends_known:
            return None
        returns = self.episodes.returns.copy()
        returns[self.episodes.cut] += self.episodes.cut_discounts * self._values(
            self.episodes.cut_rows, NEXT_OBSERVATIONS
        )
        return MeanOfStates.of(returns)

    def look_at_rows(self) -> tuple[float, float, Array]:
        """Return means of closeness and of absolute TD errors, and the value of each action, float32 (N,)."""
        closeness, errors, values = [], [], []
        problem = self._policy.algorithm.problem
        for columns in self._blocks(self._rows, COLUMNS):
            batch = make_batch(columns, self._gamma, self._device, problem.first_action)
            with torch.no_grad():
                closeness.append(self._policy.closeness(batch.observations, batch.actions))
            errors.append(self._fitted.td_errors(batch).abs())
            values.append(self._fitted.action_values(batch.observations, batch.actions))
        return float(torch.cat(closeness).mean()), float(torch.cat(errors).mean()), torch.cat(values).cpu().numpy()

    def _values(self, rows: Array, name: str) -> Array:
        """Return the values of an observation column's rows, float64 (E,)."""
        found = [
            self._fitted.state_values(observation_tensor(columns[name], self._device)).double().cpu().numpy()
            for columns in self._blocks(rows, [name])
        ]
        return np.concatenate([np.empty(0), *found])

    def _blocks(self, rows: Array, names: Sequence[str]) -> Iterator[dict[str, Array]]:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            yield self._data.rows(rows[start : start + _ROWS_AT_ONCE], names)


def _problem_in(data: Buffer, problem: ProblemSpec, path: Path) -> ProblemSpec:
    """Return what the policy must know to see the observations of these data, which may be normalized already."""
    done = normalization_of(data)
    if done is None:
        return problem
    if done != problem.normalization:
        raise UsageError(
            f"the observations of {data.path} are normalized, and not as those that {path} was trained on; "
            "take the data that they were made from"
        )
    return replace(problem, normalization=None)


def _is_training_data(checkpoint: Checkpoint, data: Buffer) -> bool | None:
    trained_on = checkpoint.buffer_fingerprint
    return None if trained_on is None else trained_on == data.fingerprint


def _warnings_of_data(checkpoint: Checkpoint, data: Buffer) -> list[str]:
    warnings = data.warnings
    recorded = (data.metadata.get("environment") or {}).get("id")
    known = {checkpoint.environment.get("id"), checkpoint.task} - {None}
    if recorded is not None and known and recorded not in known:
        warnings.append(f"the data come from {recorded}, the policy from {' and '.join(sorted(map(str, known)))}")
    return warnings


def _warnings_of_values(scale: ValueScale, values: Array) -> list[str]:
    slack = _MOST_EXCESS * max(abs(scale.low), abs(scale.high))
    share = float(np.mean((values < scale.low - slack) | (values > scale.high + slack)))
    if share <= _MOST_OUTSIDE:
        return []
    return [
        f"{share:.0%} of the values lie far outside of {scale.low:.4g} to {scale.high:.4g}, which no return of the "
        f"data's rewards leaves: they reach from {values.min():.4g} to {values.max():.4g}, do not trust the estimate"
    ]


def _warnings_of_history(history: Sequence[float], scale: ValueScale) -> list[str]:
    movement = abs(history[-1] - history[-1 - min(2, len(history) - 1)])
    if movement <= _MOST_MOVEMENT * max(abs(history[-1]), scale.spread):
        return []
    return [f"the estimate moved by {movement:.4g} in the last fifth of the updates; pass more --updates"]
