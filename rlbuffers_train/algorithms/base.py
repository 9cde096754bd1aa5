"""The contract of an algorithm, and what those with a value network and a target network share."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import nn

from rlbuffers.errors import FormatError, UsageError
from rlbuffers_train.batch import TransitionBatch, to_tensor
from rlbuffers_train.networks import FlatFeatures, PixelFeatures
from rlbuffers_train.policy import EpsilonGreedyPolicy

__all__ = ["Algorithm", "AlgorithmConfig", "ProblemSpec", "config_with"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ProblemSpec:
    """What networks must know of a task.

    Parameters
    ----------
    observation_shape : tuple of int
        Shape of one observation.
    observation_dtype : str
        Such as ``uint8``.
    num_actions : int
        From the spec of the action space, never from the actions that occur in data.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    num_actions: int

    @property
    def is_pixels(self) -> bool:
        """Whether an observation is a stack of images: uint8 (frames, height, width)."""
        return self.observation_dtype == "uint8" and len(self.observation_shape) == 3

    def make_features(self) -> PixelFeatures | FlatFeatures:
        """Return the part of a network that turns observations into vectors."""
        make = PixelFeatures if self.is_pixels else FlatFeatures
        return make(self.observation_shape)


@dataclass(frozen=True)
class AlgorithmConfig:
    """Hyperparameters that all algorithms with a target network have.

    Parameters
    ----------
    lr : float
        Learning rate of Adam.
    adam_eps : float
        Added to the denominator of Adam's step.
    batch_size : int
        Number of transitions in an update.
    gamma : float
        Discount of one step, in [0, 1].
    target_update_freq : int
        Number of updates between copies of the network to the target network.
    hidden_sizes : tuple of int
        Widths of the fully connected layers between features and outputs.
    eps_inference : float
        Probability of a random action when the policy is evaluated.
    """

    lr: float
    adam_eps: float
    batch_size: int
    gamma: float
    target_update_freq: int
    hidden_sizes: tuple[int, ...]
    eps_inference: float

    def __post_init__(self) -> None:
        self._require(self.lr > 0, "lr must be above 0")
        self._require(self.batch_size >= 1, "batch_size must be at least 1")
        self._require(0 <= self.gamma <= 1, "gamma must lie in [0, 1]")
        self._require(self.target_update_freq >= 1, "target_update_freq must be at least 1")
        self._require(0 <= self.eps_inference <= 1, "eps_inference must lie in [0, 1]")

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            raise UsageError(f"{message}; got {self}")

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build a config from :meth:`to_json`'s result."""
        if set(values) != {field.name for field in fields(cls)}:
            raise FormatError(f"expected the hyperparameters of {cls.__name__}, got {sorted(values)}")
        # JSON has lists where the config has tuples.
        arguments: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**arguments)


ConfigT = TypeVar("ConfigT", bound=AlgorithmConfig)


class Algorithm(ABC, Generic[ConfigT]):
    """One published method: networks, loss and policy.

    A subclass wires its network, derives its loss from a batch and says what its actions are worth.
    The trainers call `update`, set the flag of `policy` around it, and save `state_dict`.

    Parameters
    ----------
    problem : ProblemSpec
        Shapes of observations and number of actions.
    config : AlgorithmConfig
        Hyperparameters.
    generator : numpy.random.Generator
        Randomness of the policy. The networks' initial weights come from torch's generator.
    device : torch.device
        Where the networks live.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[AlgorithmConfig]]

    def __init__(
        self, problem: ProblemSpec, config: ConfigT, generator: np.random.Generator, device: torch.device
    ) -> None:
        self.problem = problem
        self.config = config
        self.device = device
        self.network = self.make_network().to(device)
        self.target_network = copy.deepcopy(self.network).requires_grad_(False)
        # On CPUs the fused step takes a fifth of the time of the plain one.
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.lr, eps=config.adam_eps, fused=True)
        self.num_updates = 0
        self.policy = EpsilonGreedyPolicy(
            self.act_values,
            problem.num_actions,
            generator,
            eps_training=config.eps_inference,
            eps_inference=config.eps_inference,
        )

    @classmethod
    @abstractmethod
    def recommended(cls, problem: ProblemSpec) -> ConfigT:
        """Return hyperparameters that suit images or vectors, whichever the problem has."""

    @abstractmethod
    def make_network(self) -> nn.Module:
        """Return the network whose parameters are trained."""

    @abstractmethod
    def loss(self, batch: TransitionBatch) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Return the scalar to descend and scalars to log."""

    @abstractmethod
    def action_values(self, observations: torch.Tensor) -> torch.Tensor:
        """Return what the policy maximises, float32 (B, A); -inf forbids an action."""

    def update(self, batch: TransitionBatch) -> dict[str, float]:
        """Take one step of Adam on a batch; return the loss and its parts by name."""
        loss, parts = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.num_updates += 1
        if self.num_updates % self.config.target_update_freq == 0:
            self.target_network.load_state_dict(self.network.state_dict())
        return {"loss": loss.item(), **{name: part.item() for name, part in parts.items()}}

    def act_values(self, observations: Array) -> Array:
        """Return `action_values` of NumPy observations (num_envs, *obs) as an array (num_envs, A)."""
        with torch.no_grad():
            values: Array = self.action_values(to_tensor(observations, self.device)).cpu().numpy()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return weights, target weights, optimizer and update count: tensors, numbers and dicts of them."""
        return {
            "network": self.network.state_dict(),
            "target_network": self.target_network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_updates": self.num_updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.target_network.load_state_dict(state["target_network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_updates = int(state["num_updates"])


def config_with(config: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """Return `config` with the values of `changes` that are not None."""
    given = {name: value for name, value in changes.items() if value is not None}
    return type(config).from_json({**config.to_json(), **given})
