"""``buffer.sampler(...)``: from arguments to a sampler, by composing draws and a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np

from rlbuffers.errors import SpecError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.samplers.blocks import BlockDraws
from rlbuffers.samplers.draws import Draws
from rlbuffers.samplers.epochs import EpochDraws
from rlbuffers.samplers.prioritized import Priorities, PrioritizedDraws
from rlbuffers.samplers.sampler import Sampler
from rlbuffers.samplers.stratified import StratifiedDraws
from rlbuffers.samplers.uniform import UniformDraws
from rlbuffers.samplers.weighted import WeightedDraws
from rlbuffers.schema import EPISODES_GROUP
from rlbuffers.transforms import Transform
from rlbuffers.windows.base import Window
from rlbuffers.windows.cached_blocks import ShuffledBlocks
from rlbuffers.windows.episodes import JoinedEpisodes, PaddedEpisodes
from rlbuffers.windows.items import Items
from rlbuffers.windows.n_step import NSteps
from rlbuffers.windows.rows import Rows
from rlbuffers.windows.sequences import Sequences
from rlbuffers.windows.transitions import DiscountedTransitions, FollowedTransitions, Transitions

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["SamplerOptions", "make_sampler"]

Array = np.ndarray[Any, Any]


class SamplerOptions(TypedDict, total=False):
    """The keyword arguments of :func:`make_sampler`."""

    replacement: bool
    drop_last: bool
    n_step: int | None
    gamma: float
    next_actions: bool
    sequence_length: int | None
    burn_in: int
    episodes: Literal["padded", "joined"] | None
    returns_to_go: float | None
    weights: Array | str | None
    priorities: Priorities | None
    stratify: Array | str | None
    shares: Mapping[Any, float] | None
    blocks: ShuffledBlocks | None
    columns: Sequence[str] | None
    transforms: Sequence[Transform]


def make_sampler(
    buffer: Table,
    batch_size: int,
    seed: int | np.random.Generator = 0,
    *,
    replacement: bool = True,
    drop_last: bool = False,
    n_step: int | None = None,
    gamma: float = 0.99,
    next_actions: bool = False,
    sequence_length: int | None = None,
    burn_in: int = 0,
    episodes: Literal["padded", "joined"] | None = None,
    returns_to_go: float | None = None,
    weights: Array | str | None = None,
    priorities: Priorities | None = None,
    stratify: Array | str | None = None,
    shares: Mapping[Any, float] | None = None,
    blocks: ShuffledBlocks | None = None,
    columns: Sequence[str] | None = None,
    transforms: Sequence[Transform] = (),
) -> Sampler:
    """Return a sampler; without options, of uniformly random transitions with replacement.

    The same seed gives the same batches from every store, with any cache and any number of workers.

    Parameters
    ----------
    buffer : Table
        Where to read; not closed by the sampler.
    batch_size : int
        Number of transitions, sequences or episodes in a batch, at least 1.
    seed : int or numpy.random.Generator
        The only source of randomness; a generator is owned by the sampler from here on.
    replacement : bool, default True
        False goes through everything once an epoch, in a new random order each; see `EpochDraws`.
    drop_last : bool, default False
        Without replacement: leave out an epoch's last batch if it is smaller.
    n_step : int, optional
        Sum up to that many rewards and give ``discounts``; see `rlbuffers.windows.n_step`. With 1, a batch has
        the discounts of single transitions.
    gamma : float, default 0.99
        Discount of one step, for `n_step`.
    next_actions : bool, default False
        Give single transitions the action that followed, too; see `FollowedTransitions`.
    sequence_length : int, optional
        Give sequences of that many steps, padded and masked; see `Sequences`.
    burn_in : int, default 0
        Number of steps before each sequence.
    episodes : {"padded", "joined"}, optional
        Give whole episodes; see `PaddedEpisodes` and `JoinedEpisodes`.
    returns_to_go : float, optional
        Add a column ``returns_to_go`` with this discount, 1 for plain sums. Needs 4 bytes of RAM a row.
    weights : array of one number a row (an episode, with `episodes`), or name of such a column, optional
        Draw in proportion to these. Episodes have the columns ``returns`` and ``lengths`` too.
    priorities : Priorities, optional
        Draw in proportion to priorities, which ``sampler.update_priorities`` changes.
    stratify : array of one label a row (an episode), or name of such a column, optional
        Give every label a fixed share of each batch.
    shares : mapping of label to float, optional
        Sizes of these shares; equal by default.
    blocks : ShuffledBlocks, optional
        Go through everything once an epoch in shuffled blocks: for buffers larger than RAM.
    columns : sequence of str, optional
        Which columns to read; all by default.
    transforms : sequence of callable, optional
        Applied to rows in this order; see `rlbuffers.transforms`.

    Raises
    ------
    UsageError
        If arguments are out of range or exclude one another, or there is nothing to draw.
    SpecError
        If a column does not exist.
    UnsupportedError
        If steps in time order are needed and the buffer holds independent transitions.
    """
    _only_one(n_step=n_step, sequence_length=sequence_length, episodes=episodes)
    _only_one(
        replacement=None if replacement or blocks is not None else False,
        weights=weights,
        priorities=priorities,
        stratify=stratify,
        blocks=blocks,
    )
    _only_one(blocks=blocks, episodes=episodes)
    several = n_step if n_step is not None and n_step > 1 else None
    _only_one(next_actions=next_actions or None, n_step=several)
    _only_one(next_actions=next_actions or None, sequence_length=sequence_length, episodes=episodes)
    _needs("drop_last", drop_last, "replacement=False or blocks", not replacement or blocks is not None)
    _needs("burn_in", burn_in, "sequence_length", sequence_length is not None)
    _needs("shares", shares is not None, "stratify", stratify is not None)
    rows = Rows(buffer, columns, transforms, returns_to_go, blocks)
    window = _window(rows, n_step, gamma, sequence_length, burn_in, episodes)
    if next_actions and isinstance(window, Transitions):
        window = FollowedTransitions(window, rows)
    generator = np.random.default_rng(seed)
    draws: Draws
    if weights is not None:
        draws = WeightedDraws(window.items, generator, _one_each(buffer, weights, window.items, "weights"))
    elif priorities is not None:
        initial = priorities.initial
        given = None if initial is None else _one_each(buffer, initial, window.items, "priorities")
        draws = PrioritizedDraws(window.items, generator, priorities, given)
    elif stratify is not None:
        labels = _one_each(buffer, stratify, window.items, "labels")
        draws = StratifiedDraws(window.items, generator, labels, shares)
    elif blocks is not None:
        draws = BlockDraws(window.items, generator, blocks, drop_last=drop_last)
    elif replacement:
        draws = UniformDraws(window.items, generator)
    else:
        draws = EpochDraws(window.items, generator, drop_last=drop_last)
    return Sampler(window, draws, batch_size, buffer.fingerprint)


def _only_one(**options: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude one another; give one of them")


def _needs(name: str, is_given: Any, other: str, is_other_given: bool) -> None:
    if is_given and not is_other_given:
        raise UsageError(f"{name} means something only together with {other}")


def _window(
    rows: Rows, n_step: int | None, gamma: float, sequence_length: int | None, burn_in: int, episodes: str | None
) -> Window:
    if n_step is not None:
        return DiscountedTransitions(rows, gamma) if n_step == 1 else NSteps(rows, n_step, gamma)
    if sequence_length is not None:
        return Sequences(rows, sequence_length, burn_in)
    return Transitions(rows) if episodes is None else _episodes(rows, episodes)


def _episodes(rows: Rows, form: str) -> Window:
    forms: dict[str, type[PaddedEpisodes | JoinedEpisodes]] = {"padded": PaddedEpisodes, "joined": JoinedEpisodes}
    if form not in forms:
        raise UsageError(f"episodes must be 'padded' or 'joined', got {form!r}")
    return forms[form](rows)


def _one_each(buffer: Table, given: Array | str, items: Items, what: str) -> Array:
    """Return one value for each place, from an array or the name of a column."""
    count = len(buffer) if items.kind == "rows" else buffer.num_episodes
    values = _column(buffer, given, items) if isinstance(given, str) else np.asarray(given)
    if values.shape != (count,):
        raise UsageError(f"{what}: expected one for each of {count:,} {items.kind}, got an array of {values.shape}")
    return values[items.at(np.arange(*items.bounds))]


def _column(buffer: Table, name: str, items: Items) -> Array:
    if items.kind == "rows":
        buffer.spec.batch_column(name)
        stored = buffer.arrays.get(name)
        return buffer.rows(np.arange(len(buffer)), [name])[name] if stored is None else stored.all()
    stored = buffer.arrays.get(f"{EPISODES_GROUP}/{name}")
    if stored is None:
        known = sorted(key.partition("/")[2] for key in buffer.arrays if key.startswith(f"{EPISODES_GROUP}/"))
        raise SpecError(f"episodes have no column {name!r}; they have {listed(known)}{nearest(name, known)}")
    return stored.all()
