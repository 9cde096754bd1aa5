"""The algorithms by name and kind of action. Adding one is one file and one entry here."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rlbuffers.errors import UsageError

if TYPE_CHECKING:
    from rlbuffers_train.algorithms.base import Algorithm

__all__ = [
    "ACTION_KINDS",
    "ALGORITHMS",
    "AlgorithmEntry",
    "algorithm_names",
    "entries_of",
    "find_entry",
    "load_algorithm",
]


@dataclass(frozen=True)
class AlgorithmEntry:
    """What an algorithm is and where.

    Parameters
    ----------
    name : str
        What ``rlbuffers train`` calls it; one name may stand for several kinds of action.
    actions : str
        Kind of action: ``discrete`` or ``box``, the types of `rlbuffers.spaces`.
    summary, paper : str
        One line each.
    module, class_name : str
        Where it is.
    data : str
        ``buffer``, or ``online`` if it learns in the environment itself.
    """

    name: str
    actions: Literal["discrete", "box"]
    summary: str
    paper: str
    module: str
    class_name: str
    data: Literal["buffer", "online"] = "buffer"


# What the kinds of `rlbuffers.spaces` are called in messages.
ACTION_KINDS = {"discrete": "discrete actions", "box": "continuous actions"}
# What others call them.
_OTHER_NAMES = {"bc": "il", "behavior-cloning": "il", "behavioral-cloning": "il", "imitation": "il"}

_HOME = "rlbuffers_train.algorithms."
ALGORITHMS: Sequence[AlgorithmEntry] = (
    AlgorithmEntry(
        "il",
        "discrete",
        "Behavior cloning: classification of the actions in the data",
        "Pomerleau 1988, ALVINN, NIPS",
        _HOME + "il_discrete",
        "DiscreteIL",
    ),
    AlgorithmEntry(
        "il",
        "box",
        "Behavior cloning: regression on the actions in the data",
        "Pomerleau 1988, ALVINN, NIPS",
        _HOME + "il_continuous",
        "ContinuousIL",
    ),
    AlgorithmEntry(
        "bcq",
        "discrete",
        "Q-learning over the actions that the behavior policy is likely to take",
        "Fujimoto et al. 2019, Benchmarking Batch Deep RL Algorithms, arXiv:1910.01708",
        _HOME + "bcq_discrete",
        "DiscreteBCQ",
    ),
    AlgorithmEntry(
        "bcq",
        "box",
        "The best of some actions that the behavior policy might take, perturbed",
        "Fujimoto et al. 2019, Off-Policy Deep RL without Exploration, arXiv:1812.02900",
        _HOME + "bcq_continuous",
        "ContinuousBCQ",
    ),
    AlgorithmEntry(
        "cql",
        "discrete",
        "QR-DQN with lower values for actions that the data do not have",
        "Kumar et al. 2020, Conservative Q-Learning for Offline RL, arXiv:2006.04779",
        _HOME + "cql_discrete",
        "DiscreteCQL",
    ),
    AlgorithmEntry(
        "cql",
        "box",
        "SAC with lower values for actions that the data do not have",
        "Kumar et al. 2020, Conservative Q-Learning for Offline RL, arXiv:2006.04779",
        _HOME + "cql_continuous",
        "ContinuousCQL",
    ),
    AlgorithmEntry(
        "crr",
        "discrete",
        "Behavior cloning of the actions that are better than the policy",
        "Wang et al. 2020, Critic Regularized Regression, arXiv:2006.15134",
        _HOME + "crr_discrete",
        "DiscreteCRR",
    ),
    AlgorithmEntry(
        "td3-bc",
        "box",
        "TD3 with a term that keeps the actor near the data",
        "Fujimoto & Gu 2021, A Minimalist Approach to Offline RL, arXiv:2106.06860",
        _HOME + "td3_bc",
        "TD3BC",
    ),
    AlgorithmEntry(
        "iql",
        "box",
        "Values of actions in the data only, and cloning weighted by advantage",
        "Kostrikov et al. 2022, Offline RL with Implicit Q-Learning, arXiv:2110.06169",
        _HOME + "iql",
        "IQL",
    ),
    AlgorithmEntry(
        "rebrac",
        "box",
        "TD3+BC that keeps the critics near the data too, deeper and normalized",
        "Tarasov et al. 2023, Revisiting the Minimalist Approach to Offline RL, arXiv:2305.09836",
        _HOME + "rebrac",
        "ReBRAC",
    ),
    AlgorithmEntry(
        "qrdqn",
        "discrete",
        "Q-learning of the quantiles of the return: the expert that makes data",
        "Dabney et al. 2018, Distributional RL with Quantile Regression, arXiv:1710.10044",
        _HOME + "qrdqn",
        "QRDQN",
        data="online",
    ),
    AlgorithmEntry(
        "sac",
        "box",
        "An actor that earns return and entropy: the expert that makes data",
        "Haarnoja et al. 2018, Soft Actor-Critic Algorithms and Applications, arXiv:1812.05905",
        _HOME + "sac",
        "SAC",
        data="online",
    ),
)


def algorithm_names() -> list[str]:
    """Return every name once, in order."""
    return list(dict.fromkeys(entry.name for entry in ALGORITHMS))


def entries_of(name: str) -> list[AlgorithmEntry]:
    """Return the algorithms of one name, at most one for each kind of action.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    found = [entry for entry in ALGORITHMS if entry.name == name]
    if not found:
        plain = name.lower().replace("_", "-").replace("+", "-")
        nearest = difflib.get_close_matches(_OTHER_NAMES.get(plain, plain), algorithm_names(), n=1)
        hint = f"did you mean {nearest[0]!r}? There are" if nearest else "there are"
        raise UsageError(f"there is no algorithm {name!r}; {hint} {', '.join(algorithm_names())}")
    return found


def find_entry(name: str, actions: str) -> AlgorithmEntry:
    """Return the algorithm of a name for a kind of action.

    Raises
    ------
    UsageError
        If there is none of that name, or not for such actions.
    """
    entries = entries_of(name)
    for entry in entries:
        if entry.actions == actions:
            return entry
    data = entries[0].data
    others = list(dict.fromkeys(entry.name for entry in ALGORITHMS if (entry.actions, entry.data) == (actions, data)))
    raise UsageError(
        f"{name} is for {ACTION_KINDS[entries[0].actions]}, here are {ACTION_KINDS[actions]}; "
        f"for these there are {', '.join(others)}"
    )


def load_algorithm(name: str, actions: str) -> type[Algorithm[Any]]:
    """Return the class of an algorithm for a kind of action; see :func:`find_entry`."""
    entry = find_entry(name, actions)
    loaded: type[Algorithm[Any]] = getattr(importlib.import_module(entry.module), entry.class_name)
    return loaded
