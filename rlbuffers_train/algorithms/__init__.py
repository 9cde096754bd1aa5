"""The algorithms by name. Adding one is one file and one entry here."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlbuffers.errors import UsageError

if TYPE_CHECKING:
    from rlbuffers_train.algorithms.base import Algorithm

__all__ = ["ALGORITHMS", "AlgorithmEntry", "load_algorithm"]


@dataclass(frozen=True)
class AlgorithmEntry:
    """Where an algorithm is and what it is."""

    module: str
    class_name: str
    summary: str
    paper: str


ALGORITHMS: Mapping[str, AlgorithmEntry] = {
    "bcq": AlgorithmEntry(
        "rlbuffers_train.algorithms.bcq_discrete",
        "DiscreteBCQ",
        "Q-learning over the actions that the behavior policy is likely to take",
        "Fujimoto et al. 2019, Benchmarking Batch Deep RL Algorithms, arXiv:1910.01708",
    ),
    "qrdqn": AlgorithmEntry(
        "rlbuffers_train.algorithms.qrdqn",
        "QRDQN",
        "Q-learning of the quantiles of the return; trained online, the expert that makes data",
        "Dabney et al. 2018, Distributional RL with Quantile Regression, arXiv:1710.10044",
    ),
}


def load_algorithm(name: str) -> type[Algorithm[Any]]:
    """Return the class of an algorithm.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    entry = ALGORITHMS.get(name)
    if entry is None:
        nearest = difflib.get_close_matches(name, ALGORITHMS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(ALGORITHMS)}"
        raise UsageError(f"there is no algorithm {name!r}; {hint}")
    loaded: type[Algorithm[Any]] = getattr(importlib.import_module(entry.module), entry.class_name)
    return loaded
