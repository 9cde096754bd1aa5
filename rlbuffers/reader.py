"""Reading a buffer: transitions, slices, episodes and batches, the same over every store."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from rlbuffers.errors import OutOfRangeError, SpecError, UnsupportedError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.metadata import parse_metadata
from rlbuffers.optional import require
from rlbuffers.paths import located
from rlbuffers.reader_versions import warnings_of
from rlbuffers.reading.batch_columns import BatchColumns
from rlbuffers.reading.cache_plan import ArrayPlan, plan_cache
from rlbuffers.reading.checked_spec import checked_spec
from rlbuffers.reading.stored_rows import StoredRows
from rlbuffers.reading.tiled_episodes import check_tiling
from rlbuffers.remarks import content_notes
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_STARTS,
    EXTRAS_GROUP,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    TERMINALS,
)
from rlbuffers.sizes import parse_bytes
from rlbuffers.stores import open_store

if TYPE_CHECKING:
    from rlbuffers.loading.loader import Loader
    from rlbuffers.samplers.making import SamplerOptions
    from rlbuffers.samplers.sampler import Sampler

__all__ = ["DEFAULT_CACHE_BYTES", "Buffer", "open_buffer"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
DEFAULT_CACHE_BYTES = 1 << 30


class Buffer:
    """A finished buffer, open for reading. A context manager.

    ``len(buffer)`` is the number of transitions; ``buffer[i]`` is one of them and ``buffer[a:b]``
    several, as a dict of arrays under the column names. Threads may read at once, a buffer works on after a
    fork, and pickling carries it to other processes by its path. A stacked observation and its next one are
    overlapping views of the same memory: copy before writing into them.

    Parameters
    ----------
    path : str or Path
        A ``.hdf5`` or ``.zarr.zip`` file, a ``.zarr`` directory, ``memory:NAME``, or an address such as
        ``s3://bucket/x.zarr`` or ``https://server/x.hdf5``, of which only what is needed is fetched.
    cache : int or str, default 1 GiB
        How much memory may hold what was read, in bytes or as ``"2GB"``. The smallest arrays are kept decoded,
        those that then fit only compressed are kept compressed, others are read from the file each time;
        `plan` says which. Small arrays get into memory at their first use, large ones once an eighth of
        them has been read.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is nothing, no buffer, or a damaged one.
    """

    def __init__(self, path: str | Path, *, cache: int | str = DEFAULT_CACHE_BYTES) -> None:
        self.path = located(path)
        self._cache_bytes = parse_bytes(cache)
        self._store = open_store(self.path)
        self.metadata: Mapping[str, Any] = parse_metadata(self._store.metadata, str(self.path))
        self.spec = checked_spec(self.metadata, self._store.arrays, str(self.path))
        self.plan: Mapping[str, ArrayPlan] = plan_cache(
            self._store.arrays.values(), self._store.stored_bytes, self._cache_bytes
        )
        self._rows = {name: StoredRows(self._store, name, planned.place) for name, planned in self.plan.items()}
        if self.spec.layout == "episodes":
            check_tiling(self._rows, self._store, len(self), str(self.path))
        self._columns = BatchColumns(self.spec, self._rows, len(self))

    def __len__(self) -> int:
        return int(self.metadata["counts"]["transitions"])

    def __repr__(self) -> str:
        return f"<Buffer {self.path}: {len(self):,} transitions, layout {self.spec.layout}>"

    @property
    def fingerprint(self) -> str:
        """Hash of the content, the same for every store (hexadecimal SHA-256)."""
        return str(self.metadata["fingerprint"])

    @property
    def warnings(self) -> list[str]:
        """What a user must know: faults of the version that converted the source, what its reader said, odd values."""
        return warnings_of(self.metadata)

    @property
    def notes(self) -> list[str]:
        """What else its metadata say of its content, a sentence each."""
        return [*map(str, self.metadata.get("notes") or ()), *content_notes(self.metadata)]

    @property
    def num_episodes(self) -> int:
        """Number of episodes; 0 in the ``transitions`` layout."""
        return len(self._rows[EPISODE_STARTS]) if self.spec.layout == "episodes" else 0

    @property
    def arrays(self) -> Mapping[str, StoredRows]:
        """The stored arrays by name, for tools that look at a buffer as it is stored."""
        return self._rows

    @property
    def store_disk_bytes(self) -> int:
        """Size of the buffer on disk in bytes."""
        return self._store.disk_bytes()

    def stored_view(self, name: str, rows: Sequence[int]) -> Array | None:
        """Read rows of a derived column through the container's own library; None without such a view."""
        return self._store.read_view(name, rows)

    def container_problems(self) -> Iterator[str]:
        """Yield what contradicts itself in how the container keeps the chunks, a sentence each; for `validate`."""
        return self._store.problems()

    def rows(self, indices: Sequence[int] | Array, columns: Sequence[str] | None = None) -> dict[str, Array]:
        """Return the transitions at `indices`.

        Parameters
        ----------
        indices : int array, shape (B,)
            Rows in any order, repeats allowed; negative ones count from the end.
        columns : sequence of str, optional
            Which columns; all of ``spec.batch_names`` by default.

        Returns
        -------
        dict of name to array, shape (B, *row)

        Raises
        ------
        OutOfRangeError
            If an index is out of range.
        UsageError
            If the buffer is closed, or the indices are no integers.
        SpecError
            If a column does not exist.
        CorruptDataError
            If a chunk that is needed is damaged.
        """
        names = self.spec.batch_names if columns is None else list(columns)
        for name in names:
            self.spec.batch_column(name)
        return self._columns.take(self._checked_indices(indices), names)

    def take(self, rows: Indices, columns: Sequence[str]) -> dict[str, Array]:
        """Return columns at rows: :meth:`rows` for samplers, which draw what exists.

        Parameters
        ----------
        rows : int64, shape (B,)
            Not negative and less than the number of transitions.
        columns : sequence of str
            Columns of batches, see ``spec.batch_names``.

        Returns
        -------
        dict of name to array, shape (B, *row)

        Raises
        ------
        UsageError
            If the buffer is closed.
        CorruptDataError
            If a chunk that is needed is damaged.
        """
        self._require_open()
        return self._columns.take(rows, columns)

    def _require_open(self) -> None:
        if not self._rows:
            raise UsageError(f"{self.path}: the buffer is closed")

    def _checked_indices(self, indices: Sequence[int] | Array) -> Indices:
        self._require_open()
        wanted = np.asarray(indices)
        if wanted.size == 0:
            wanted = wanted.astype(np.int64)
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise UsageError(f"row indices must be a 1-D sequence of integers, got {wanted.dtype} {wanted.shape}")
        wanted = wanted.astype(np.int64)
        if len(wanted) and (wanted.min() < -len(self) or wanted.max() >= len(self)):
            wrong = int(wanted[(wanted < -len(self)) | (wanted >= len(self))][0])
            raise OutOfRangeError(f"{self.path}: there is no row {wrong}; the buffer has {len(self):,}")
        return np.where(wanted < 0, wanted + len(self), wanted)

    @cached_property
    def rows_without_next(self) -> Indices:
        """Rows whose next observation the source did not hold, ascending, int64.

        They end an episode; `next_observations` is zero there. Where such a row is not terminal, a
        value function has nothing to bootstrap from: samplers leave it out.
        """
        if self.spec.layout != "episodes":
            return np.empty(0, np.int64)
        unknown = ~self._rows[EPISODE_FINAL_KNOWN].all()
        rows: Indices = (self._columns.episode_starts + self._columns.episode_lengths - 1)[unknown]
        return rows

    @cached_property
    def usable_rows(self) -> Indices:
        """Rows that can be learned from: terminal ones, and those whose next observation is known; int64.

        Raises
        ------
        UsageError
            If there is none.
        """
        left_out = self.rows_without_next
        if len(left_out) and TERMINALS in self.spec.columns:
            left_out = left_out[~self._rows[TERMINALS].take(left_out)]
        rows = np.delete(np.arange(len(self)), left_out)
        if not len(rows):
            raise UsageError(f"{self.path}: no transition is terminal or has a next observation")
        return rows

    def extra(self, name: str) -> Array:
        """Return one of ``spec.extras``, an array that belongs to the buffer as a whole.

        Raises
        ------
        SpecError
            If there is none of that name.
        """
        if name not in self.spec.extras:
            hint = nearest(name, self.spec.extras)
            raise SpecError(f"there is no extra {name!r}; the buffer has {listed(self.spec.extras) or 'none'}{hint}")
        return self._rows[f"{EXTRAS_GROUP}/{name}"].all()

    def episode_of(self, rows: Sequence[int] | Array) -> Indices:
        """Return the number of the episode that holds each row, int64, shape (B,).

        Raises
        ------
        UnsupportedError
            In the ``transitions`` layout, whose rows are not stored in time order.
        """
        self._require_episodes("episode_of")
        return self._columns.episodes_at(self._checked_indices(rows))

    def _require_episodes(self, what: str) -> None:
        if self.spec.layout != "episodes":
            raise UnsupportedError(
                f"{self.path}: {what} needs episodes; this buffer holds independent transitions "
                f"(order: {self.spec.order}), whose neighbours in the file are not neighbours in time"
            )

    def episode(self, number: int) -> dict[str, Array]:
        """Return a whole episode of T steps.

        Observation columns have T + 1 rows, the observation after the last action included, or T where
        the source did not hold that one; all other columns have T.

        Raises
        ------
        UnsupportedError
            In the ``transitions`` layout.
        OutOfRangeError
            If there is no episode of that number.
        """
        self._require_episodes("episode()")
        count = self.num_episodes
        index = operator.index(number)
        if not -count <= index < count:
            raise OutOfRangeError(f"{self.path}: there is no episode {index}; the buffer has {count}")
        start, length = int(self._columns.episode_starts[index]), int(self._columns.episode_lengths[index])
        found = self[start : start + length]
        known = self._rows[EPISODE_FINAL_KNOWN].all()[index]
        for name in self.spec.observation_names:
            last = found.pop(NEXT_OBSERVATIONS + name.removeprefix(OBSERVATIONS))[-1:]
            if known:
                found[name] = np.concatenate([found[name], last])
        return found

    def episodes(self) -> Iterator[dict[str, Array]]:
        """Yield every episode in order; see :meth:`episode`."""
        self._require_episodes("episodes()")
        for number in range(self.num_episodes):
            yield self.episode(number)

    def __getitem__(self, key: int | slice) -> dict[str, Array]:
        if isinstance(key, slice):
            return self.rows(np.arange(*key.indices(len(self)), dtype=np.int64))
        return {name: values[0] for name, values in self.rows(np.array([operator.index(key)])).items()}

    def sampler(
        self, batch_size: int, seed: int | np.random.Generator = 0, **options: Unpack[SamplerOptions]
    ) -> Sampler:
        """Return a sampler of random batches; see `rlbuffers.samplers.make_sampler` for the options."""
        from rlbuffers.samplers.making import make_sampler

        return make_sampler(self, batch_size, seed, **options)

    def loader(
        self,
        batch_size: int,
        seed: int | np.random.Generator = 0,
        *,
        prefetch: int | None = None,
        workers: int = 1,
        device: Any = None,
        **options: Unpack[SamplerOptions],
    ) -> Loader[Any]:
        """Return a loader over a sampler, which reads ahead; see `rlbuffers.loading.making.make_loader`."""
        sampler = self.sampler(batch_size, seed, **options)
        return sampler.loader(prefetch=prefetch, workers=workers, device=device)

    def to_tianshou(self) -> Any:
        """Return the transitions as a ``tianshou.data.ReplayBuffer``; see `rlbuffers.adapters.tianshou_buffer`."""
        return self._adapted("tianshou_buffer", "to_tianshou")

    def to_d3rlpy(self) -> Any:
        """Return the episodes as a ``d3rlpy.dataset.ReplayBuffer``; see `rlbuffers.adapters.d3rlpy_buffer`."""
        return self._adapted("d3rlpy_buffer", "to_d3rlpy")

    def to_torchrl(self) -> Any:
        """Return the transitions as a TorchRL replay buffer; see `rlbuffers.adapters.torchrl_buffer`."""
        return self._adapted("torchrl_buffer", "to_torchrl")

    def to_minari(self, dataset_id: str) -> Any:
        """Write a Minari dataset and return it opened; see `rlbuffers.adapters.minari_dataset`."""
        return self._adapted("minari_dataset", "to_minari", dataset_id)

    def to_torch_dataset(self) -> Any:
        """Return a map-style ``torch.utils.data.Dataset``; see `rlbuffers.adapters.torch_dataset`."""
        require("torch", extra="train", purpose="to_torch_dataset()")
        return self._adapted("torch_dataset", "to_torch_dataset")

    def _adapted(self, module: str, function: str, *arguments: Any) -> Any:
        """Call an adapter, which alone imports the other library."""
        return getattr(importlib.import_module(f"rlbuffers.adapters.{module}"), function)(self, *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the path, which is opened there."""
        return partial(Buffer, self.path, cache=self._cache_bytes), ()

    def close(self) -> None:
        """Let go of the file; arrays that were returned stay valid."""
        self._rows = {}
        self._columns = BatchColumns(self.spec, {}, 0)
        self._store.close()

    def __enter__(self) -> Buffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_buffer(path: str | Path, *, cache: int | str = DEFAULT_CACHE_BYTES) -> Buffer:
    """Open a finished buffer for reading; public as ``rlbuffers.open``. See :class:`Buffer`.

    Examples
    --------
    >>> import rlbuffers
    >>> with rlbuffers.open("runs.hdf5") as buffer:
    ...     batch = buffer.sampler(batch_size=32, seed=0).sample()
    >>> batch["observations"].shape, batch["rewards"].shape
    ((32, 3), (32,))
    """
    return Buffer(path, cache=cache)
