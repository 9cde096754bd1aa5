"""What ``generate`` records and ``train`` looks for where nothing is named."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DEFAULT_DATA", "POLICIES", "DefaultData"]


class DefaultData(NamedTuple):
    """A policy that plays by default.

    Attributes
    ----------
    policy : str
        Its algorithm.
    eps : float
        Share of random actions.
    task : str
        Environment.
    """

    policy: str
    eps: float
    task: str


# By the kind of actions.
DEFAULT_DATA = {
    "discrete": DefaultData("qrdqn", 0.2, "CartPole-v1"),
    "box": DefaultData("sac", 0.0, "Pendulum-v1"),
}
POLICIES = tuple(data.policy for data in DEFAULT_DATA.values())  # what is trained online
