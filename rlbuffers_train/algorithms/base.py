"""The contract of an algorithm: what trainers, policies and checkpoints know of it.

An algorithm is one file that reads like its paper: config, networks, losses, update. It

- builds its networks, optimizers and target networks in ``build``, as attributes;
- takes one training step in ``learn``, from a batch whose actions and observations are scaled;
- says in ``choose`` what it would do.

Whatever attribute is a module, an optimizer or a `Noise` is kept in checkpoints: nothing can be
forgotten. Methods for discrete actions with one network share `rlbuffers_train.algorithms.one_network`,
those for actions that are vectors `rlbuffers_train.algorithms.continuous`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rlbuffers.errors import UsageError
from rlbuffers_train.batch import COLUMNS, TransitionBatch, observation_tensor
from rlbuffers_train.devices import ComputeSettings
from rlbuffers_train.networks.memory import within_memory
from rlbuffers_train.noise import Noise
from rlbuffers_train.policy import ExploringPolicy
from rlbuffers_train.problem import ObservationStatistics, ProblemSpec
from rlbuffers_train.settings import AMOUNT, Settings, setting
from rlbuffers_train.standardizer import Standardizer
from rlbuffers_train.typed import typed

__all__ = ["Algorithm", "AlgorithmConfig", "ConfigT", "DiscountedConfig", "Metrics"]

Array = np.ndarray[Any, Any]
# Scalars by name. They stay tensors until they are logged: reading one makes the host wait for the device.
Metrics = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(Settings):
    """Hyperparameters of every algorithm."""

    batch_size: int = setting(about="Transitions in an update.", **AMOUNT)
    eps_inference: float = setting(0.0, "Share of random actions in evaluation.", at_least=0, at_most=1)
    norm_obs: bool = setting(False, "Whether observations are standardized by the buffer's mean and spread (0 or 1).")


@dataclass(frozen=True, kw_only=True)
class DiscountedConfig(AlgorithmConfig):
    """Hyperparameters of every algorithm that learns values."""

    gamma: float = setting(0.99, "Discount of one step.", at_least=0, at_most=1)
    n_step: int = setting(1, "Rewards summed before bootstrapping.", **AMOUNT)


ConfigT = TypeVar("ConfigT", bound=AlgorithmConfig)


class Algorithm(ABC, Generic[ConfigT]):
    """One published method: networks, losses and policy.

    The trainers call `update`, set the flag of `policy` around it, and save `state_dict`.

    Parameters
    ----------
    problem : ProblemSpec
        Observations and actions.
    config : AlgorithmConfig
        Hyperparameters.
    generator : numpy.random.Generator
        Randomness of the policy. The networks' initial weights and the seed of the noise in updates
        come from torch's generator.
    device : torch.device
        Where the networks live.

    Raises
    ------
    UsageError
        If the networks need more memory than `rlbuffers_train.networks.memory` allows.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[AlgorithmConfig]]
    # The columns of a buffer that `learn` needs.
    columns: ClassVar[tuple[str, ...]] = COLUMNS
    # Whether `learn` needs the actions that followed, too.
    needs_next_actions: ClassVar[bool] = False
    # The methods that `torch.compile` may compile: functions of tensors alone.
    compiled: ClassVar[tuple[str, ...]] = ()
    # Hyperparameters of other published code by name, such as Tianshou's.
    presets: ClassVar[Mapping[str, AlgorithmConfig]] = {}

    def __init__(
        self, problem: ProblemSpec, config: ConfigT, generator: np.random.Generator, device: torch.device
    ) -> None:
        self.problem = problem
        self.config = config
        self.device = device
        self.num_updates = 0
        self._is_reduced = False
        self._standardize = Standardizer(_known_statistics(problem), device) if config.norm_obs else None
        self._normalize = None if problem.normalization is None else Standardizer(problem.normalization, device)
        with within_memory():
            self.build()
        self.noise = Noise(device)
        self.policy = ExploringPolicy(
            self.choose_by_array,
            problem.actions,
            generator,
            eps_training=config.eps_inference,
            eps_inference=config.eps_inference,
            samples_inference=self.samples_inference,
        )

    @classmethod
    def recommended(cls, problem: ProblemSpec) -> AlgorithmConfig:
        """Return the config's defaults, the paper's; overridden where these do not suit every problem."""
        return cls.config_class()

    @classmethod
    def recommended_training(cls, problem: ProblemSpec) -> dict[str, Any]:
        """Return settings of the offline trainer that differ from its defaults, such as ``epoch``."""
        return {"update_per_epoch": 10_000} if problem.is_pixels else {}

    @abstractmethod
    def build(self) -> None:
        """Make networks, target networks and optimizers."""

    @abstractmethod
    def learn(self, batch: TransitionBatch) -> Metrics:
        """Take one training step; return losses and the like, detached.

        Observations are standardized already if `norm_obs` asks for it; `num_updates` counts this step.
        """

    @abstractmethod
    def choose(self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool) -> torch.Tensor:
        """Return actions for observations on the device, without gradient; see `rlbuffers_train.policy.Chooser`."""

    def probabilities(
        self, observations: torch.Tensor, generator: np.random.Generator, *, samples: bool
    ) -> torch.Tensor:
        """Return pi(a|s) of numbered actions, float32 (B, A), of observations as `choose` takes them.

        By default all of it lies on what `choose` returns. A method that knows its distribution overrides this.
        """
        chosen = self.choose(observations, generator, samples=samples)
        return F.one_hot(chosen, self.problem.num_actions).float()

    @property
    def samples_inference(self) -> bool:
        """Whether the policy draws from its distribution in evaluation; by default it acts on the mode."""
        return False

    @property
    def gamma(self) -> float:
        """Discount of one step; 1 for methods without values."""
        return self.config.gamma if isinstance(self.config, DiscountedConfig) else 1.0

    @property
    def n_step(self) -> int | None:
        """Number of rewards that are summed; None for single transitions."""
        config: AlgorithmConfig = self.config
        return config.n_step if isinstance(config, DiscountedConfig) and config.n_step > 1 else None

    def update(self, batch: TransitionBatch) -> Metrics:
        """Take one training step on a batch as it was drawn; return losses and the like by name."""
        self.num_updates += 1
        if self._standardize is not None:
            batch = batch._replace(
                observations=self._standardize(batch.observations),
                next_observations=self._standardize(batch.next_observations),
            )
        with self._reduced_precision():
            return self.learn(batch)

    @property
    def products(self) -> int:
        """Multiplications in the widest layer for a batch, about; 0 without hidden layers."""
        width = max(getattr(self.config, "hidden_sizes", (0,)))
        return int(self.config.batch_size * width * width)

    def compute_as(self, settings: ComputeSettings) -> None:
        """Compute updates and choices as `settings` say from here on; at first in float32, not compiled."""
        self._is_reduced = settings.precision == "bfloat16"
        if settings.compile:
            for name in self.compiled:
                setattr(self, name, torch.compile(getattr(self, name)))

    def _reduced_precision(self) -> AbstractContextManager[Any]:
        """Let hidden layers compute in bfloat16 where that is asked for."""
        if not self._is_reduced:
            return nullcontext()
        # Rounded weights must not be kept: an update of one network follows that of another.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    @torch.no_grad()
    def choose_by_array(self, observations: Array, generator: np.random.Generator, *, samples: bool) -> Array:
        """Return `choose`'s actions for NumPy observations (num_envs, *obs), as an array."""
        with self._reduced_precision():
            actions: Array = self.choose(self.to_inputs(observations), generator, samples=samples).cpu().numpy()
        return actions

    def to_inputs(self, observations: Array) -> torch.Tensor:
        """Return the environment's observations (num_envs, *obs) as networks take them; see :meth:`prepare`."""
        return self.prepare(observation_tensor(observations, self.device))

    def prepare(self, observations: torch.Tensor) -> torch.Tensor:
        """Return the environment's observations (B, *obs) as networks take them.

        They are normalized as the data were before training, and standardized if the config asks for it.
        """
        if self._normalize is not None:
            observations = self._normalize(observations)
        return observations if self._standardize is None else self._standardize(observations)

    def _parts(self) -> dict[str, Any]:
        return {
            name: part
            for name, part in vars(self).items()
            if isinstance(part, nn.Module | torch.optim.Optimizer | Noise)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizers, noise and update count: tensors, numbers and dicts of them."""
        return {"num_updates": self.num_updates, **{name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises
        ------
        ValueError, RuntimeError, LookupError, TypeError
            If names, shapes, dtypes or numbers are not such.
        """
        for name, part in self._parts().items():
            if isinstance(part, nn.Module):
                _require_like(part.state_dict(), state[name], name)
            before = [dict(group) for group in getattr(part, "param_groups", ())]
            part.load_state_dict(state[name])
            if isinstance(part, torch.optim.Optimizer):
                _check_optimizer(part, before, name)
        self.num_updates = typed(state["num_updates"], int, "num_updates")
        if self.num_updates < 0:
            raise ValueError(f"num_updates: expected 0 or more, got {self.num_updates}")


def _require_like(own: Mapping[str, torch.Tensor], found: Mapping[str, Any], where: str) -> None:
    """Refuse weights of another dtype, which would be cast in silence, and such as are NaN or infinite."""
    for name, tensor in own.items():
        weights = found[name]
        if not isinstance(weights, torch.Tensor) or weights.dtype != tensor.dtype or weights.shape != tensor.shape:
            raise ValueError(f"{where}: {name}: expected {tensor.dtype} of shape {tuple(tensor.shape)}")
        if not bool(torch.isfinite(weights).all()):
            raise ValueError(f"{where}: {name}: a weight is NaN or infinite")


def _check_optimizer(optimizer: torch.optim.Optimizer, before: list[dict[str, Any]], where: str) -> None:
    """Check what an optimizer has loaded; its options are those of the config but for the learning rate."""
    for group, known in zip(optimizer.param_groups, before, strict=True):
        rate = typed(group["lr"], float, f"{where}: lr")
        group.update({**known, "params": group["params"], "lr": rate})
    averages = {"step", "exp_avg", "exp_avg_sq"}
    for parameter, kept in optimizer.state.items():
        if not isinstance(parameter, torch.Tensor) or not averages <= set(kept):
            raise ValueError(f"{where}: expected {', '.join(sorted(averages))} of each weight")
        for name in averages:
            tensor = kept[name]
            shape = () if name == "step" else parameter.shape
            if not isinstance(tensor, torch.Tensor) or tensor.dtype != parameter.dtype or tensor.shape != shape:
                raise ValueError(f"{where}: {name}: expected {parameter.dtype} of shape {tuple(shape)}")
        if not float(kept["step"]) >= 0:
            raise ValueError(f"{where}: step: expected 0 or more")


def _known_statistics(problem: ProblemSpec) -> ObservationStatistics:
    if problem.statistics is None or problem.is_pixels:
        raise UsageError("there are no statistics of observations to standardize by; pass --norm-obs 0")
    return problem.statistics
