"""The one way into a buffer: rows in, chunks out, one commit at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rlbuffers.atomic import AtomicPath
from rlbuffers.episode import EncodedRows, Episode, Transitions, check_rows
from rlbuffers.episode_block import EpisodeBlock
from rlbuffers.errors import BufferExistsError, SpecError, UsageError
from rlbuffers.fingerprint import fingerprint_of
from rlbuffers.listing import listed, nearest
from rlbuffers.metadata import render_metadata, written_by
from rlbuffers.paths import located
from rlbuffers.remarks import NOTICED
from rlbuffers.schema import (
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_WHOLE,
    EXTRAS_GROUP,
    FRAMES,
    OVERRIDE_OBSERVATIONS,
    OVERRIDE_ROWS,
    REWARDS,
    STACK_INDEX,
    BufferSpec,
    stored_arrays,
)
from rlbuffers.stats import total_reward
from rlbuffers.stores import format_of, is_in_memory, writer_class
from rlbuffers.stores.base import StoreWriter
from rlbuffers.writing.array_writer import ArrayWriter
from rlbuffers.writing.checkpoints import Checkpoints
from rlbuffers.writing.chunk_encoder import ChunkEncoder
from rlbuffers.writing.episode_facts import EpisodeFacts
from rlbuffers.writing.journal import JournalWriter, interrupted_of, remove_interrupted
from rlbuffers.writing.noticed import Noticed
from rlbuffers.writing.storage_options import StorageOptions
from rlbuffers.writing.summary import ColumnSummary
from rlbuffers.writing.views import views_of

__all__ = ["BufferWriter", "create"]

Array = np.ndarray[Any, Any]


class BufferWriter:
    """Writes a new buffer; nothing stands under its path until `commit` has succeeded.

    A context manager: leaving the block commits, leaving it by an exception discards.

    Parameters
    ----------
    path : str or Path
        Name ending in ``.hdf5``, ``.zarr`` or ``.zarr.zip``, or ``memory:NAME``.
    spec : BufferSpec
        Columns and layout.
    metadata : mapping, optional
        Facts to store: ``environment``, ``behavior_policy``, ``source``, ... (docs/format.md). The
        attribute `metadata` may be changed until the commit.
    overwrite : bool, default False
        Whether an existing buffer is replaced, at the commit.
    storage : StorageOptions, optional
        Chunks and compression other than the defaults.
    into : Path, optional
        Where to write in place of `path`, for a caller who gives what is there its name, or removes it.

    Raises
    ------
    BufferExistsError, BufferBusyError, UsageError
        If the path is taken, being written by another process, or of no known format.
    """

    def __init__(
        self,
        path: str | Path,
        spec: BufferSpec,
        metadata: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
        storage: StorageOptions | None = None,
        into: Path | None = None,
    ) -> None:
        format_name = format_of(located(path))
        self.path = Path(path)
        self.spec = spec
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.early_metadata: dict[str, Any] = {}  # for the journal: facts that are known before the others
        self._is_finished = False
        _render(self.path, {**self.metadata, "spec": spec.to_json()})  # not only after hours of recording
        store_class = writer_class(format_name)
        self._target: AtomicPath | None = None
        if into is None and not is_in_memory(self.path):
            self._target = AtomicPath(self.path, overwrite=overwrite)
        elif into is None and not overwrite:
            _refuse_taken_memory(self.path)
        self._place = into or (self._target.partial if self._target else self.path)
        self._summary = ColumnSummary(spec)
        self._noticed = Noticed(spec)
        try:
            self._store: StoreWriter = store_class(self._place)
            self._arrays = {
                name: ArrayWriter(array, spec, storage or StorageOptions(), self._store, self._observer_of(name))
                for name, array in stored_arrays(spec).items()
            }
            self._checkpoints = self._begin_checkpoints()
        except BaseException:
            self.abort()
            raise
        self._episodes = EpisodeFacts()
        self._override_rows: list[int] = []
        self.num_transitions = 0

    def _observer_of(self, name: str) -> Callable[[Array], None] | None:
        """Return what looks at the rows of an array before they are encoded, or None if nothing does."""
        summarize, notice = self._summary.observer_of(name), self._noticed.observer_of(name)
        if summarize is None or notice is None:
            return summarize or notice

        def observe(rows: Array) -> None:
            summarize(rows)
            notice(rows)

        return observe

    def _begin_checkpoints(self) -> Checkpoints | None:
        # The members of a ZIP file are only there when they are whole: nothing to put together again.
        if self._target is None or format_of(self.path) == "zip":
            return None
        journal = JournalWriter(self._target.partial)
        return Checkpoints(journal, format_of(self.path), self.spec, self._store, self._arrays)

    def encoder_of(self, name: str) -> ChunkEncoder:
        """Return the encoder of a stored array, for encoding its rows in another process."""
        return self._arrays[name].encoder

    def append_episode(self, episode: Episode) -> None:
        """Add an episode to a buffer of the ``episodes`` layout.

        Raises
        ------
        SpecError
            If the episode does not fit the spec; nothing of it was added.
        """
        self._require_open()
        if self.spec.layout != "episodes":
            raise SpecError("append_episode needs layout='episodes'; use append_transitions")
        rows = episode.rows_of(self.spec)
        start, length = self.num_transitions, len(episode)
        if self.spec.stack:
            first_frame = start + len(self._episodes) * self.spec.stack
            rows[STACK_INDEX] = first_frame + np.add.outer(np.arange(length), np.arange(self.spec.stack + 1))
        final_known = bool(rows.pop(EPISODE_FINAL_KNOWN)[0])
        self._episodes.add([start], [length], [total_reward(rows[REWARDS])], [bool(episode.whole)], [final_known])
        self._noticed.add_episodes(rows, np.array([length]))
        self._append_rows(rows, length)

    def append_episodes(self, block: EpisodeBlock) -> None:
        """Add many episodes at once; the same as adding each, and much faster where they are short.

        Raises
        ------
        SpecError
            If the block does not fit the spec; nothing of it was added.
        """
        self._require_open()
        if self.spec.layout != "episodes":
            raise SpecError("append_episodes needs layout='episodes'; use append_transitions")
        rows = block.rows_of(self.spec)
        lengths = rows.pop(EPISODE_LENGTHS)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        if self.spec.stack:
            # Row t of episode e begins at frame t + e k.
            firsts = self.num_transitions + np.arange(len(block))
            firsts += np.repeat(np.arange(len(lengths)) + len(self._episodes), lengths) * self.spec.stack
            rows[STACK_INDEX] = np.add.outer(firsts, np.arange(self.spec.stack + 1))
        # Each return summed by itself: sums of another order round differently, and would change the fingerprint.
        rewards = rows[REWARDS].astype(np.float64)
        bounds = zip(starts.tolist(), ends.tolist(), strict=True)
        with np.errstate(over="ignore", invalid="ignore"):
            returns = [float(rewards[start:end].sum()) for start, end in bounds]
        whole, final_known = rows.pop(EPISODE_WHOLE), rows.pop(EPISODE_FINAL_KNOWN)
        first_rows = starts + self.num_transitions
        self._episodes.add(first_rows.tolist(), lengths.tolist(), returns, whole.tolist(), final_known.tolist())
        self._noticed.add_episodes(rows, lengths)
        self._append_rows(rows, len(block))

    def append_transitions(self, transitions: Transitions | Mapping[str, Array]) -> None:
        """Add independent transitions to a buffer of the ``transitions`` layout.

        A mapping holds every column of the spec; stacked observations are split into frames.

        Raises
        ------
        SpecError
            If they do not fit the spec; nothing of them was added.
        """
        self._require_open()
        if self.spec.layout != "transitions":
            raise SpecError("append_transitions needs layout='transitions'; use append_episode")
        if isinstance(transitions, Transitions):
            transitions.check(self.spec)
        else:
            transitions = Transitions.from_columns(transitions, self.spec)
        rows = {name: np.asarray(values) for name, values in transitions.columns.items()}
        if self.spec.stack:
            depth = self.spec.stack + 1
            first = self.num_transitions * depth
            rows[STACK_INDEX] = first + np.arange(len(transitions) * depth).reshape(-1, depth)
            if isinstance(transitions.windows, EncodedRows):
                self._arrays[FRAMES].append_encoded(transitions.windows)
            elif transitions.windows is not None:
                rows[FRAMES] = transitions.windows.reshape(-1, *transitions.windows.shape[2:])
            if transitions.override_rows is not None and transitions.override_observations is not None:
                override_rows = transitions.override_rows + self.num_transitions
                self._override_rows.extend(override_rows.tolist())
                rows[OVERRIDE_ROWS] = override_rows
                rows[OVERRIDE_OBSERVATIONS] = transitions.override_observations
        self._append_rows(rows, len(transitions))

    def append_extra(self, name: str, rows: Array) -> None:
        """Add entries along axis 0 to one of the spec's extras.

        Raises
        ------
        SpecError
            If the spec lists no such extra, or it has another dtype or shape.
        """
        self._require_open()
        column = self.spec.extras.get(name)
        if column is None:
            hint, known = nearest(name, self.spec.extras), listed(sorted(self.spec.extras))
            raise SpecError(f"there is no extra {name!r}; the spec lists {known or 'none'}{hint}")
        self._arrays[f"{EXTRAS_GROUP}/{name}"].append(check_rows(name, rows, column.dtype, column.shape))

    def _append_rows(self, rows: Mapping[str, Array], count: int) -> None:
        for name, values in rows.items():
            self._arrays[name].append(values)
        self.num_transitions += count
        if self._checkpoints is not None:
            self._checkpoints.take_if_due(self.num_transitions, self._episodes_so_far(), self._facts_so_far)

    def _episodes_so_far(self) -> dict[str, Sequence[Any]]:
        return self._episodes.to_checkpoint() if self.spec.layout == "episodes" else {}

    def _facts_so_far(self) -> dict[str, Any]:
        return {**self.early_metadata, **self.metadata}

    @property
    def num_episodes(self) -> int:
        """Number of episodes so far; 0 in the ``transitions`` layout."""
        return len(self._episodes)

    def commit(self, check: Callable[[Path], None] | None = None) -> Path:
        """Make the buffer whole and readable under its path.

        Parameters
        ----------
        check : callable, optional
            Is given the path of the finished buffer before it gets its name; what it raises
            discards the buffer.

        Raises
        ------
        SpecError
            If no transition was added.
        UsageError
            If the writer is finished already, or `metadata` is no JSON.
        """
        self._require_open()
        try:
            if self.num_transitions == 0:
                raise SpecError(f"{self.path}: there are no transitions; no buffer was written")
            self._append_episode_facts()
            for array in self._arrays.values():
                array.flush()
            lengths = {name: array.num_rows for name, array in self._arrays.items()}
            views = views_of(self.spec, self._episodes, self.num_transitions, self._override_rows)
            self._store.finish(lengths, _render(self.path, self._document()), views)
            if check is not None:
                check(self._place)
            if self._target:
                self._target.publish()
                self._is_finished = True
                with suppress(OSError):  # the buffer is there; what an earlier run left may stay
                    remove_interrupted(self.path, written_by()["command"])
            self._is_finished = True
        except BaseException:
            self.abort()
            raise
        return self.path

    def _append_episode_facts(self) -> None:
        """Write what was collected one value an episode."""
        for name, values in self._episodes.stored().items():
            if name in self._arrays:
                self._arrays[name].append(np.array(values, self._arrays[name].spec.dtype))

    def abort(self, *, keep: bool = False) -> None:
        """Give up: remove what was written and leave the path as it was. Does nothing after a commit.

        Parameters
        ----------
        keep : bool, default False
            Leave what was appended beside the path, for `rlbuffers.repair`, if it took long enough for a
            checkpoint.
        """
        if self._is_finished:
            return
        self._is_finished = True
        kept = False
        try:
            if keep and self._checkpoints is not None and self._checkpoints.has_begun:
                self._checkpoints.take(self.num_transitions, self._episodes_so_far(), self._facts_so_far())
                kept = True
        finally:
            self._let_go(kept=kept)

    def _let_go(self, *, kept: bool) -> None:
        try:
            if hasattr(self, "_store"):
                self._store.abort()
        finally:
            if self._target and kept:
                self._target.leave()
            elif self._target:
                self._target.discard()

    @property
    def interrupted(self) -> Path | None:
        """Where an earlier writer of the path was interrupted and left something that can be salvaged."""
        found = interrupted_of(self.path)
        return found if self._target is not None and found.exists() else None

    def _require_open(self) -> None:
        if self._is_finished:
            raise UsageError(f"{self.path}: this writer has finished; make a new one")

    def __enter__(self) -> BufferWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
        elif not self._is_finished:
            self.commit()

    def _document(self) -> dict[str, Any]:
        described: dict[str, dict[str, Any]] = {
            name: {
                "dtype": array.spec.dtype.name,
                "shape": [array.num_rows, *array.spec.row_shape],
                "digest": array.digest.hexdigest(),
            }
            for name, array in self._arrays.items()
        }
        fingerprint = fingerprint_of(
            (name, facts["dtype"], tuple(facts["shape"]), facts["digest"]) for name, facts in described.items()
        )
        return {
            **self.metadata,
            "spec": self.spec.to_json(),
            "arrays": described,
            "fingerprint": fingerprint,
            "counts": self._counts(),
            "statistics": {**self._summary.statistics(), **self._episodes.statistics()},
            NOTICED: self._noticed.to_json(self._episodes.lengths, self._episodes.whole),
        }

    def _counts(self) -> dict[str, int]:
        counts = {"transitions": self.num_transitions, **self._summary.flag_counts}
        if self.spec.layout == "episodes":
            counts |= self._episodes.counts()
        if self.spec.stack:
            counts["frames"] = self._arrays[FRAMES].num_rows
        if self._override_rows:
            counts["next_overrides"] = len(self._override_rows)
        return counts


def create(
    path: str | Path,
    spec: BufferSpec,
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    storage: StorageOptions | None = None,
) -> BufferWriter:
    """Begin a new buffer; see :class:`BufferWriter`.

    Examples
    --------
    >>> import numpy as np
    >>> import rlbuffers
    >>> spec = rlbuffers.BufferSpec(
    ...     "episodes",
    ...     [
    ...         rlbuffers.ColumnSpec("observations", np.float32, (3,)),
    ...         rlbuffers.ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
    ...         rlbuffers.ColumnSpec("rewards", np.float32),
    ...         rlbuffers.ColumnSpec("terminals", np.bool_),
    ...     ],
    ... )
    >>> with rlbuffers.create("mine.zarr", spec, {"environment": {"id": "Mine-v0"}}) as writer:
    ...     columns = {"actions": np.array([0, 1]), "rewards": np.ones(2, "f4"), "terminals": np.array([False, True])}
    ...     writer.append_episode(rlbuffers.Episode(columns, {"observations": np.zeros((3, 3), "f4")}))
    """
    return BufferWriter(path, spec, metadata, overwrite=overwrite, storage=storage)


def _render(path: Path, facts: Mapping[str, Any]) -> str:
    try:
        return render_metadata(facts)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: the metadata cannot be written as JSON: {error}") from error


def _refuse_taken_memory(path: Path) -> None:
    from rlbuffers.stores.memory_store import MemoryReader

    if MemoryReader.exists(path):
        raise BufferExistsError(f"{path}: exists already; pass overwrite=True to replace it")
