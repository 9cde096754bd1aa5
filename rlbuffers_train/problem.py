"""What networks and policies must know of a task: observations, their statistics, and actions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers.schema import ColumnSpec
from rlbuffers.spaces import restricts
from rlbuffers_train.typed import MOST_NUMBERS, typed, typed_fields

__all__ = [
    "ActionKind",
    "BoxActions",
    "DiscreteActions",
    "ObservationNormalization",
    "ObservationStatistics",
    "ProblemSpec",
    "actions_of_space",
    "unlearnable_actions",
]

Array = np.ndarray[Any, Any]
ActionKind = str  # "discrete" or "box", the types of `rlbuffers.spaces`


@dataclass(frozen=True)
class DiscreteActions:
    """Numbered choices.

    Parameters
    ----------
    num_actions : int
        From the spec of the action space, never from the actions that occur in data.
    start : int
        Number of the first choice: what networks call action k is start + k in data and environments.
    """

    num_actions: int
    start: int = 0
    kind: ClassVar[ActionKind] = "discrete"

    def __post_init__(self) -> None:
        if not 1 <= self.num_actions <= MOST_NUMBERS:
            raise UsageError(f"expected 1 to {MOST_NUMBERS:,} numbered actions, got {self.num_actions}")

    def draw(self, count: int, generator: np.random.Generator) -> Array:
        """Return uniformly random actions, int64 (count,)."""
        return generator.integers(self.num_actions, size=count) + self.start

    def numbered(self, chosen: Any) -> Any:
        """Return what networks chose, an array or a tensor, as environments number it."""
        return chosen + self.start if self.start else chosen

    def __str__(self) -> str:
        last = self.start + self.num_actions - 1
        return f"{self.num_actions} actions" + (f" ({self.start} to {last})" if self.start else "")


@dataclass(frozen=True)
class BoxActions:
    """Vectors of D numbers between finite bounds.

    Parameters
    ----------
    low, high : tuple of float
        Bounds of each of the D elements.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    kind: ClassVar[ActionKind] = "box"

    def __post_init__(self) -> None:
        if (
            not self.low
            or len(self.low) != len(self.high)
            or not all(low < high and math.isfinite(high - low) for low, high in zip(self.low, self.high, strict=True))
        ):
            raise UsageError(f"actions need finite bounds, low below high; got {_few(self.low)} and {_few(self.high)}")

    @property
    def size(self) -> int:
        """D."""
        return len(self.low)

    def draw(self, count: int, generator: np.random.Generator) -> Array:
        """Return uniformly random actions, float32 (count, D)."""
        return generator.uniform(self.low, self.high, (count, self.size)).astype(np.float32)

    def numbered(self, chosen: Any) -> Any:
        """Return what networks chose: vectors have no numbers."""
        return chosen

    @property
    def center(self) -> Array:
        """Middle between the bounds, float32 (D,)."""
        center: Array = (np.array(self.low) + np.array(self.high)) / 2
        return center.astype(np.float32)

    @property
    def half_range(self) -> Array:
        """Distance from the middle to a bound, float32 (D,)."""
        half_range: Array = (np.array(self.high) - np.array(self.low)) / 2
        return half_range.astype(np.float32)

    def __str__(self) -> str:
        return f"vectors of {self.size} as actions"


@dataclass(frozen=True)
class ObservationStatistics:
    """Mean and standard deviation of each element of an observation, flattened."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ObservationNormalization(ObservationStatistics):
    """By what the observations in the data were normalized before: ``(x - mean) / (std + epsilon)``."""

    epsilon: float


@dataclass(frozen=True)
class ProblemSpec:
    """What networks must know of a task and of the data.

    Parameters
    ----------
    observation_shape : tuple of int
        Shape of one observation.
    observation_dtype : str
        Such as ``uint8``.
    actions : DiscreteActions or BoxActions
        What can be done.
    statistics : ObservationStatistics or None
        Of the observations in the data; None online, and for images.
    normalization : ObservationNormalization or None
        What the environment's observations must go through to be like those in the data; None where these are the
        environment's own.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    actions: DiscreteActions | BoxActions
    statistics: ObservationStatistics | None = None
    normalization: ObservationNormalization | None = None

    @property
    def is_pixels(self) -> bool:
        """Whether an observation is a stack of images: uint8 (frames, height, width)."""
        return self.observation_dtype == "uint8" and len(self.observation_shape) == 3

    @property
    def num_actions(self) -> int:
        """Number of discrete actions.

        Raises
        ------
        UsageError
            If actions are vectors.
        """
        if not isinstance(self.actions, DiscreteActions):
            raise UsageError(f"discrete actions are needed, the task has {self.actions}")
        return self.actions.num_actions

    @property
    def first_action(self) -> int:
        """Number of the first discrete action; 0 for vectors."""
        return self.actions.start if isinstance(self.actions, DiscreteActions) else 0

    @property
    def box(self) -> BoxActions:
        """Bounds of actions that are vectors.

        Raises
        ------
        UsageError
            If actions are discrete.
        """
        if not isinstance(self.actions, BoxActions):
            raise UsageError(f"actions that are vectors are needed, the task has {self.actions}")
        return self.actions

    def fits(self, other: ProblemSpec) -> bool:
        """Whether a policy for `other` can see and act here; bounds may differ where only one side knows them."""
        mine, theirs = self.actions, other.actions
        if isinstance(mine, BoxActions) and isinstance(theirs, BoxActions):
            return self.observation_shape == other.observation_shape and mine.size == theirs.size
        return (self.observation_shape, mine) == (other.observation_shape, theirs)

    def __str__(self) -> str:
        return f"observations {self.observation_shape} and {self.actions}"

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON types."""
        actions = {"type": self.actions.kind, **asdict(self.actions)}
        if not self.first_action:
            actions.pop("start", None)  # as releases that know no other start write and read it
        return {**asdict(self), "actions": actions}

    @classmethod
    def from_json(cls, values: Any, where: str = "problem") -> ProblemSpec:
        """Build a problem from :meth:`to_json`'s result.

        Raises
        ------
        FormatError, UsageError
            If a value is not of its type, or sizes contradict each other.
        """
        found = typed_fields(values, _StoredProblem, where)
        actions = dict(found.actions)
        kinds: dict[Any, type[DiscreteActions | BoxActions]] = {"discrete": DiscreteActions, "box": BoxActions}
        made = kinds.get(typed(actions.pop("type", None), str, f"{where}: actions: type"))
        if made is None:
            raise FormatError(f"{where}: actions: type: expected {' or '.join(kinds)}")
        size = math.prod(found.observation_shape)
        if min(found.observation_shape, default=1) < 1 or len(found.observation_shape) > 32 or size > _MOST_ELEMENTS:
            raise FormatError(
                f"{where}: observation_shape: expected positive sizes of at most {_MOST_ELEMENTS:,} numbers"
            )
        if found.observation_dtype not in _DTYPES:
            raise FormatError(f"{where}: observation_dtype: expected one of {', '.join(_DTYPES)}")
        for statistics in (found.statistics, found.normalization):
            if statistics is not None and {len(statistics.mean), len(statistics.std)} != {size}:
                raise FormatError(f"{where}: expected mean and std of {size:,} numbers each, as observations have")
        return cls(
            found.observation_shape,
            found.observation_dtype,
            typed_fields(actions, made, f"{where}: actions"),
            found.statistics,
            found.normalization,
        )


_DTYPES = (
    "bool",
    *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
)
_MOST_ELEMENTS = 1 << 30  # of one observation; its networks are bounded by their memory


@dataclass(frozen=True)
class _StoredProblem:
    """A problem as JSON has it."""

    observation_shape: tuple[int, ...]
    observation_dtype: str
    actions: Mapping[str, Any]
    statistics: ObservationStatistics | None
    normalization: ObservationNormalization | None = None  # older checkpoints have none


def _few(values: Sequence[float]) -> str:
    return f"({listed(map(str, values), 4)})"


def actions_of_space(space: Mapping[str, Any], shape: tuple[int, ...]) -> DiscreteActions | BoxActions | None:
    """Return the actions that a column's space describes, or None where it gives no finite bounds.

    Parameters
    ----------
    space : mapping
        See `rlbuffers.spaces`.
    shape : tuple of int
        Of one action: () or (1,) for discrete ones.
    """
    if space.get("type") == "discrete" and shape in ((), (1,)):
        return DiscreteActions(int(space["n"]), int(space.get("start", 0)))
    if space.get("type") != "box" or len(shape) != 1:
        return None
    bounds = []
    for key in ("low", "high"):
        values = np.broadcast_to(np.array(space.get(key), np.float64), shape)  # None becomes NaN
        bounds.append(tuple(values.tolist()))
    if not all(math.isfinite(value) for bound in bounds for value in bound):
        return None
    return BoxActions(*bounds)


def unlearnable_actions(column: ColumnSpec) -> str | None:
    """Say what kind of actions a column holds if no algorithm learns such; None if some do."""
    space, shape, dtype = column.space or {}, column.shape, column.dtype
    told = f"{dtype.name} of shape {shape}"
    # Minari's spaces that are kept as boxes, see `rlbuffers.sources.minari.spaces`.
    described = space.get("minari")
    kind = described.get("type") if isinstance(described, Mapping) else None
    if kind in ("MultiDiscrete", "MultiBinary"):
        what = f"actions are {kind}, several whole numbers at once ({told})"
    elif dtype.kind in "biu" and space.get("type") == "box" and restricts(space, dtype):
        what = f"actions are a box of whole numbers ({told})"
    elif dtype.kind in "biu" and shape not in ((), (1,)):
        what = f"actions are several whole numbers at once ({told})"
    elif not shape and dtype.kind == "f":
        what = f"actions are single numbers of type {dtype.name}"
        return f"{what}; numbered actions must be stored as whole numbers, others as vectors of shape (1,)"
    elif len(shape) > 1:
        what = f"actions are arrays with {len(shape)} axes ({told})"
    else:
        return None
    return f"{what}; no algorithm here learns such: they learn one numbered action, or a vector of float numbers"
