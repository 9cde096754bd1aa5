"""Tables of a running Reverb server, through dm-reverb.

A server hands out items only as its table's sampler draws them. Items are drawn here until each has come up once, so
this takes some N log N draws of a uniform sampler, and the order in which they were inserted is lost. A checkpoint
has neither drawback, see ``checkpoint.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from rlbuffers.errors import DownloadError, FormatError, UnsupportedError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.optional import require
from rlbuffers.schema import REWARDS, ColumnSpec, is_observation
from rlbuffers.sources.reverb.names import NEEDED, target_names
from rlbuffers.sources.reverb.shapes import is_next, item_shape
from rlbuffers.sources.reverb.table import TableItem, TableSource

__all__ = ["ReverbServerSource"]

Array = np.ndarray[Any, Any]
T = TypeVar("T")
_TIMEOUT_SECONDS = 10
_STORABLE = "biuf"
_RANDOM = ("uniform", "prioritized")
# A rate limiter of which the cursor may fall below this does not hold back samples.
_UNLIMITED = -1e300
# Of N items drawn uniformly, one is missed 30 N times in a row with the probability exp(-30).
_MISSES_PER_ITEM = 30
_MORE_MISSES = 1000
_INSTEAD = "Call client.checkpoint() and convert the checkpoint instead."


class ReverbServerSource(TableSource):
    """One table of a running server, in the order in which its sampler draws the items.

    The table must not change meanwhile. Drawing counts as sampling: the items' ``times_sampled`` go up.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    table : str, optional
        Name of the table; needed if there are several.
    names : mapping of str to str, optional
        Column of the table, or the part of nested names before a ``/``, to its name in the buffer.

    Raises
    ------
    MissingDependencyError
        If dm-reverb is not installed.
    DownloadError
        If no server answers.
    UsageError
        If the table or a column in `names` does not exist, or there are several tables and no `table`.
    UnsupportedError
        If the table cannot be read by sampling it.
    FormatError
        If it cannot be told what its columns are.
    """

    def __init__(self, address: str, table: str | None = None, names: Mapping[str, str] | None = None) -> None:
        reverb = require("reverb", extra="reverb", purpose="Reading from a Reverb server")
        self._address = address
        self._table = table or ""
        self._client = reverb.Client(address)
        info = self._answer(lambda: self._client.server_info(timeout=_TIMEOUT_SECONDS))
        self._info = _chosen(info, table, address)
        self._table = self._info.name
        self._require_readable()
        self._num_items = int(self._info.current_size)
        self._seen: set[int] = set()
        sample = next(self._draws(1))
        columns, left_out = self._describe(sample.data, names or {})
        shape = item_shape(self._lengths(sample.data), frozenset(self._squeezed), self.where)
        left_out.append("keys of the items, the order in which they were inserted, and the episodes that they are of")
        super().__init__(columns, shape, [ColumnSpec("priorities", np.dtype(np.float64))], "shuffled", left_out)

    @property
    def where(self) -> str:
        """Address of the server and name of the table."""
        return f"{self._address}: table {self._table!r}" if self._table else self._address

    def _answer(self, ask: Callable[[], T]) -> T:
        """Ask the server, and translate what dm-reverb raises where it does not answer."""
        errors = require("reverb", extra="reverb", purpose="Reading from a Reverb server").errors
        try:
            return ask()
        except (errors.ReverbError, RuntimeError) as error:
            raise DownloadError(f"{self.where}: no answer from a Reverb server: {error}") from error

    def _require_readable(self) -> None:
        info, limiter = self._info, self._info.rate_limiter_info
        sampler = info.sampler_options.WhichOneof("distribution")
        reason = None
        if info.current_size == 0:
            raise FormatError(f"{self.where}: has no items")
        if info.max_times_sampled > 0:
            reason = f"removes an item once it was sampled {info.max_times_sampled:,} times"
        elif sampler not in _RANDOM:
            reason = f"has the sampler {sampler!r}, which draws the same item again and again"
        elif limiter.min_diff > _UNLIMITED or info.current_size < limiter.min_size_to_sample:
            reason = "has a rate limiter that holds back samples"
        if reason:
            raise UnsupportedError(f"{self.where}: {reason}. {_INSTEAD}")

    def _draws(self, count: int) -> Iterator[Any]:
        samples = self._client.sample(self._table, count, emit_timesteps=False)
        for _ in range(count):
            yield self._answer(lambda: next(samples))

    def _describe(self, data: Sequence[Array], chosen: Mapping[str, str]) -> tuple[dict[str, ColumnSpec], list[str]]:
        """Tell what each column is and becomes, from the first sample and the signature."""
        specs = _flat_signature(self._info.signature, len(data))
        if len(specs) != len(data):
            raise FormatError(f"{self.where}: expected {len(specs)} columns by its signature, found {len(data)}")
        sources = [name for name, _ in specs]
        described = listed(f"{name!r} ({rows.dtype} {rows.shape})" for name, rows in zip(sources, data, strict=True))
        targets = target_names(sources, chosen, described, self.where)
        self._source_names = dict(zip(targets, sources, strict=True))
        self._varying = {target for target, (_, is_varying) in zip(targets, specs, strict=True) if is_varying}
        by_name = dict(zip(targets, data, strict=True))
        self._squeezed = {
            target
            for target, rows in by_name.items()
            if target not in self._varying and not _has_time(target, rows, by_name[REWARDS], by_name)
        }
        columns, left_out = {}, []
        self._targets: dict[int, str] = {}
        for number, (target, rows) in enumerate(zip(targets, data, strict=True)):
            shape = rows.shape if target in self._squeezed else rows.shape[1:]
            if rows.dtype.kind not in _STORABLE or 0 in shape:
                if target in NEEDED or is_observation(target) or is_next(target):
                    raise FormatError(f"{self.where}: {sources[number]!r} ({rows.dtype} {shape}) cannot be stored")
                left_out.append(
                    f"column {sources[number]!r}, whose type {rows.dtype} or shape {shape} cannot be stored"
                )
                continue
            columns[target] = ColumnSpec(target, rows.dtype, shape)
            self._targets[number] = target
        return columns, left_out

    def _lengths(self, data: Sequence[Array]) -> dict[str, tuple[int, int]]:
        """Return the rows that items have of each column; a length that may vary is taken for that of windows."""
        found = {}
        for number, name in self._targets.items():
            length = 1 if name in self._squeezed else len(data[number])
            found[name] = (1, max(length, 3)) if name in self._varying else (length, length)
        return found

    def items(self) -> Iterator[TableItem]:
        """Draw until every item was seen."""
        misses = 0
        while len(self._seen) < self._num_items:
            for sample in self._draws(self._num_items):
                if sample.info.table_size != self._num_items:
                    raise UnsupportedError(
                        f"{self.where}: had {self._num_items:,} items and has {sample.info.table_size:,} now. A table "
                        f"that changes cannot be read by sampling. {_INSTEAD}"
                    )
                misses += 1
                if sample.info.key not in self._seen:
                    misses = 0
                    self._seen.add(sample.info.key)
                    yield self._item(sample)
                if len(self._seen) == self._num_items:
                    break
                if misses > _MISSES_PER_ITEM * self._num_items + _MORE_MISSES:
                    raise UnsupportedError(
                        f"{self.where}: {self._num_items - len(self._seen):,} of {self._num_items:,} items were not "
                        f"drawn in {misses:,} samples; their priorities may be too low. {_INSTEAD}"
                    )

    def _item(self, sample: Any) -> TableItem:
        rows = {
            name: sample.data[number][np.newaxis] if name in self._squeezed else sample.data[number]
            for number, name in self._targets.items()
        }
        return TableItem(f"{self.where}: item {len(self._seen) - 1}", rows, {"priorities": sample.info.priority})

    def source_facts(self) -> dict[str, Any]:
        """Name the server and the table."""
        return {
            "files": [],
            "server": self._address,
            "table": {"name": self._table, "max_size": int(self._info.max_size)},
            "columns": self._source_names,
        }

    @property
    def total(self) -> int:
        """Number of items."""
        return self._num_items

    @property
    def done(self) -> int:
        """Number of items seen."""
        return len(self._seen)


def _chosen(info: Mapping[str, Any], table: str | None, address: str) -> Any:
    names = listed(repr(name) for name in sorted(info))
    if table is None and len(info) == 1:
        return next(iter(info.values()))
    if table is None:
        raise UsageError(f"{address}: has the tables {names or 'none'}; say which with --table")
    if table not in info:
        raise UsageError(f"{address}: has no table {table!r}; its tables are {names or 'none'}{nearest(table, info)}")
    return info[table]


def _flat_signature(signature: Any, num_columns: int) -> list[tuple[str, bool]]:
    """Return for each column its name, and whether the first size in its shape may vary."""
    if signature is None:
        return [(str(number), False) for number in range(num_columns)]
    tree = require("tree", extra="reverb", purpose="Reading from a Reverb server")
    leaves = tree.flatten_with_path(signature)
    return [
        ("/".join(str(part) for part in path) or str(number), _varies(spec))
        for number, (path, spec) in enumerate(leaves)
    ]


def _varies(spec: Any) -> bool:
    rank = spec.shape.rank
    return rank is None or (rank > 0 and spec.shape[0] is None)


def _has_time(name: str, rows: Array, rewards: Array, targets: Mapping[str, Array]) -> bool:
    """Tell whether a column has an axis of time: a client does not get to know.

    One reward is a single step, and its observations are two if there are no next observations.
    """
    has_next = any(is_next(other) for other in targets)
    if rewards.ndim == 0:
        return is_observation(name) and not has_next
    lengths = (len(rewards), len(rewards) + (not has_next))
    observed = [other for target, other in targets.items() if is_observation(target)]
    if not all(other.ndim and len(other) in lengths for other in observed):
        return False  # the reward is a vector of one number
    return rows.ndim > 0 and len(rows) in (len(rewards), len(rewards) + 1)
