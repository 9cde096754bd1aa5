"""Uniformly random transitions, with replacement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.errors import UsageError

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["UniformSampler"]


class UniformSampler:
    """Draws batches of uniformly random transitions, with replacement.

    The rows drawn depend only on the generator's state and the buffer's content, never on the store.
    Rows that are not terminal and whose next observation the source did not hold are never drawn:
    there is nothing to bootstrap from.

    Parameters
    ----------
    buffer : Buffer
        Where to read; not closed by the sampler.
    batch_size : int
        Number of transitions in a batch, at least 1.
    generator : numpy.random.Generator
        The only source of randomness; owned by the sampler from here on.
    columns : sequence of str, optional
        Which columns to read; all by default.

    Raises
    ------
    UsageError
        If `batch_size` is less than 1, or there is no row to draw.
    SpecError
        If a column does not exist.
    """

    def __init__(
        self,
        buffer: Buffer,
        batch_size: int,
        generator: np.random.Generator,
        columns: Sequence[str] | None = None,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        for name in columns or ():
            buffer.spec.batch_column(name)
        self.buffer = buffer
        self.batch_size = batch_size
        self.columns = columns
        self._generator = generator
        # Most buffers leave no row out, and then need no table of rows.
        self._usable = buffer.usable_rows if len(buffer.rows_without_next) else None
        self._num_drawn_from = len(buffer) if self._usable is None else len(self._usable)

    def sample(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the next batch: name to array, shape (batch_size, *row)."""
        rows = self._generator.integers(self._num_drawn_from, size=self.batch_size)
        if self._usable is not None:
            rows = self._usable[rows]
        return self.buffer.rows(rows, self.columns)

    def __iter__(self) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        """Yield batches without end."""
        while True:
            yield self.sample()

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state as JSON values."""
        state: dict[str, Any] = json.loads(json.dumps(self._generator.bit_generator.state, default=_as_list))
        return {"generator": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken.

        Raises
        ------
        UsageError
            If the state is not one of a generator of this kind.
        """
        try:
            self._generator.bit_generator.state = state["generator"]
        except (KeyError, TypeError, ValueError) as error:
            kind = type(self._generator.bit_generator).__name__
            raise UsageError(f"not the state of a sampler whose generator is a {kind}: {error!r}") from error


def _as_list(value: Any) -> list[Any]:
    """Turn the arrays in the states of some bit generators into lists."""
    listed: list[Any] = value.tolist()
    return listed
