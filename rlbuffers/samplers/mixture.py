"""Batches of several buffers at once, each with its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from rlbuffers.agreement import Part, disagreement
from rlbuffers.errors import SpecError, UsageError
from rlbuffers.samplers.base import BatchSampler
from rlbuffers.samplers.draws import Drawn, generator_state, set_generator_state
from rlbuffers.samplers.making import SamplerOptions, make_sampler
from rlbuffers.samplers.sampler import Sampler
from rlbuffers.samplers.shares import checked_shares, divided
from rlbuffers.windows.base import Array, Batch

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["BUFFER_INDEX", "MixtureSampler", "mix_buffers"]

BUFFER_INDEX = "buffer_index"
_NOTHING = np.empty(0, np.int64)


class MixtureSampler(BatchSampler):
    """Draws a share of each batch with each of several samplers.

    A share of 0.9 of 256 items is 230 or 231 of them, rounded at random so that its mean is exact. Items
    of one buffer stand together, in the order of the samplers; ``buffer_index`` (int64) says whose each is.

    Parameters
    ----------
    samplers : sequence of Sampler
        Whose draws and windows are used; their batch sizes do not matter. A buffer without replacement
        begins its next epoch within a batch.
    weights : sequence of float
        Relative sizes of the shares, one a sampler.
    batch_size : int
        Number of items of all buffers together, at least 1.
    generator : numpy.random.Generator
        Rounds the shares.

    Raises
    ------
    UsageError
        If there is no sampler, or the weights are not one for each or no shares.
    SpecError
        If the batches of two samplers do not have the same columns, dtypes and shapes.
    """

    def __init__(
        self,
        samplers: Sequence[Sampler],
        weights: Sequence[float],
        batch_size: int,
        generator: np.random.Generator,
    ) -> None:
        if not samplers or len(samplers) != len(weights):
            raise UsageError(f"a mixture needs one weight for each buffer, got {len(weights)} for {len(samplers)}")
        super().__init__(batch_size, ",".join(sampler.data for sampler in samplers))
        self.samplers = list(samplers)
        self._shares = checked_shares(weights, "weights of a mixture")
        self._generator = generator
        self._check_batches()

    def _check_batches(self) -> None:
        """Compare what the samplers read, without reading anything."""
        first, *others = (sampler.window.read(_NOTHING) for sampler in self.samplers)
        for number, other in enumerate(others, 1):
            for name in sorted({*first, *other}):
                expected, found = _described(first, name), _described(other, name)
                if found != expected:
                    raise SpecError(
                        f"the buffers of a mixture must agree: column {name!r} is {expected} in buffer 0, but {found} "
                        f"in buffer {number}. Choose columns that all have, or convert with transforms"
                    )

    def _draw(self) -> Drawn:
        counts = divided(self.batch_size, self._shares, self._generator)
        parts = [self._draw_from(number, int(count)) for number, count in enumerate(counts) if count]
        extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras}
        return Drawn(np.concatenate([part.items for part in parts]), extras)

    def _draw_from(self, number: int, count: int) -> Drawn:
        parts: list[Drawn] = []
        while count:
            parts.append(self.samplers[number].draws.draw(count))
            count -= len(parts[-1].items)
        items = np.concatenate([part.items for part in parts])
        extras = {name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras}
        return Drawn(items, {**extras, BUFFER_INDEX: np.full(len(items), number)})

    def read(self, drawn: Drawn) -> Batch:
        """Return the batch that was drawn."""
        sources = drawn.extras[BUFFER_INDEX]
        parts = [self.samplers[number].window.read(drawn.items[sources == number]) for number in np.unique(sources)]
        batch = {name: _joined([part[name] for part in parts]) for name in parts[0]}
        return {**batch, **drawn.extras}

    def _state(self) -> dict[str, Any]:
        parts = [sampler.draws_state() for sampler in self.samplers]
        return {"kind": "mixture", "generator": generator_state(self._generator), "parts": parts}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        parts = state.get("parts")
        if not isinstance(parts, list) or len(parts) != len(self.samplers):
            raise UsageError(f"the state is not that of a mixture of {len(self.samplers)} buffers")
        set_generator_state(self._generator, state)
        for sampler, part in zip(self.samplers, parts, strict=True):
            sampler.load_draws_state(part)


def mix_buffers(
    buffers: Sequence[Table],
    proportions: Sequence[float],
    batch_size: int,
    seed: int = 0,
    **options: Unpack[SamplerOptions],
) -> MixtureSampler:
    """Return a sampler of several buffers, such as 0.9 medium and 0.1 expert.

    Parameters
    ----------
    buffers : sequence of Table
        Where to read; not closed by the sampler.
    proportions : sequence of float
        Relative sizes of their shares of a batch.
    batch_size : int
        Number of items of all buffers together.
    seed : int
        Of everything random.
    **options
        As for `make_sampler`, the same for every buffer; what is given by row must be given by the name of a
        column.

    Raises
    ------
    UsageError, SpecError, UnsupportedError
        As from `make_sampler`, or if the buffers' columns, dtypes or shapes differ, observations were normalized in
        different ways, or a column has spaces neither of which holds the other.

    Examples
    --------
    >>> import rlbuffers
    >>> with rlbuffers.open("runs.hdf5") as runs, rlbuffers.open("more.hdf5") as more:
    ...     batch = rlbuffers.mix_buffers([runs, more], [0.9, 0.1], batch_size=100, seed=0).sample()
    >>> int((batch["buffer_index"] == 0).sum())
    90
    """
    own, *others = np.random.default_rng(seed).spawn(len(buffers) + 1)
    samplers = [
        make_sampler(buffer, batch_size, generator, **options)
        for buffer, generator in zip(buffers, others, strict=True)
    ]
    mixture = MixtureSampler(samplers, proportions, batch_size, own)
    used = {name for sampler in samplers for name in sampler.window.read(_NOTHING)}
    disputed = disagreement([Part(str(buffer.path), buffer.spec, buffer.metadata) for buffer in buffers], used)
    if disputed:
        raise SpecError(disputed)
    return mixture


def _described(batch: Batch, name: str) -> str:
    return f"{batch[name].dtype} {batch[name].shape[1:]}" if name in batch else "absent"


def _joined(parts: Sequence[Array]) -> Array:
    """Concatenate along the batch; episodes that were padded to different lengths are padded further."""
    if len({part.shape[1:] for part in parts}) > 1:
        longest = max(part.shape[1] for part in parts)
        widths = [[(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)] for part in parts]
        parts = [np.pad(part, width) for part, width in zip(parts, widths, strict=True)]
    return np.concatenate(parts)
