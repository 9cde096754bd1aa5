"""Standardizing observations where networks compute, in the bits of `rlbuffers.standardization`."""

from __future__ import annotations

import numpy as np
import torch

from rlbuffers.standardization import NORM_EPSILON, Standardization, standardize
from rlbuffers_train.problem import ObservationNormalization, ObservationStatistics

__all__ = ["Standardizer"]


class Standardizer:
    """Subtracts a mean of observations and divides by their spread."""

    def __init__(self, statistics: ObservationStatistics, device: torch.device) -> None:
        epsilon = statistics.epsilon if isinstance(statistics, ObservationNormalization) else NORM_EPSILON
        known = Standardization(np.array(statistics.mean), np.array(statistics.std), epsilon)
        self._mean = torch.tensor(known.mean, device=device)
        self._divisor = torch.tensor(known.divisor, device=device)

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        """Map (B, *obs) to float32 (B, F)."""
        flat = observations.flatten(start_dim=1)
        standardized: torch.Tensor = standardize(flat.double(), self._mean, self._divisor)
        return standardized.to(flat.dtype)
