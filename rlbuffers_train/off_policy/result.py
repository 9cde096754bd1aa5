"""What an evaluation by data alone found, and how much to believe of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.paths import Url
from rlbuffers_train.off_policy.fitted_q import FittedQSettings

__all__ = ["MeanOfStates", "OffPolicyEvaluation"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MeanOfStates:
    """A mean over states, or over the episodes that begin with them.

    Parameters
    ----------
    mean : float
        Of them.
    standard_error : float or None
        Of the mean, as if the states alone were uncertain; None for a single one.
    count : int
        How many.
    """

    mean: float
    standard_error: float | None
    count: int

    @classmethod
    def of(cls, values: Array) -> MeanOfStates:
        """Sum up values, shape (E,), at least one."""
        count = len(values)
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else None
        return cls(float(values.mean()), error, count)


@dataclass(frozen=True)
class OffPolicyEvaluation:
    """What Fitted Q Evaluation found.

    Parameters
    ----------
    path : Path
        Checkpoint.
    algorithm : str
        What trained it.
    step : int
        How far, in `step_name`.
    step_name : str
        Such as ``updates``.
    buffer : Path or Url
        The data.
    num_transitions : int
        In the data.
    is_training_data : bool or None
        Whether the policy was trained on these very data; None where it was trained online.
    gamma, eps : float
        Discount of one step, and share of random actions.
    seed : int
        Of batches, weights and draws.
    settings : FittedQSettings
        Of the regression.
    value : MeanOfStates
        The estimate: discounted value of the policy.
    at_first_states : bool
        Whether `value` is that of the states with which whole episodes begin; else of states drawn from all of
        the data, which is another number.
    recorded : MeanOfStates or None
        Discounted returns of the same episodes, as they were recorded; None without whole episodes.
    continued : MeanOfStates or None
        The same, with what the policy is estimated to earn after episodes that were cut by a timeout. None where that
        is not known.
    closeness_name : str
        What `closeness` is.
    closeness : float
        How near the policy is to the actions in the data, on average.
    td_error : float
        Mean absolute error of the Bellman equation in the end, in units of rewards.
    history : sequence of float
        The estimate after each tenth of the updates.
    warnings : sequence of str
        Why the estimate may be wrong.
    """

    path: Path
    algorithm: str
    step: int
    step_name: str
    buffer: Path | Url
    num_transitions: int
    is_training_data: bool | None
    gamma: float
    eps: float
    seed: int
    settings: FittedQSettings
    value: MeanOfStates
    at_first_states: bool
    recorded: MeanOfStates | None
    continued: MeanOfStates | None
    closeness_name: str
    closeness: float
    td_error: float
    history: Sequence[float]
    warnings: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        values = {**asdict(self), "checkpoint": str(self.path), "buffer": str(self.buffer)}
        del values["path"]
        return values
