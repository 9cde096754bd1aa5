"""Replay buffers of Diffusion Policy: demonstrations in a Zarr group (version 2), as a directory or a ZIP file.

Format: ``diffusion_policy/common/replay_buffer.py`` of real-stanford/diffusion_policy. The arrays in ``data`` have one
row a step; ``meta/episode_ends`` says behind which rows episodes end. There are no rewards and no terminals, and what
was seen after an episode's last action was never stored.
"""

from __future__ import annotations

import itertools
import lzma
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from rlbuffers.decoding.chunk_sizes import COMPRESSORS
from rlbuffers.decoding.claims import (
    FREE_BYTES,
    FREE_STREAM_BYTES,
    IMAGE_GROWTH,
    STREAM_GROWTH,
    require_room,
)
from rlbuffers.episode import Episode
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import FileSource, blamed_on
from rlbuffers.sources.files import file_facts
from rlbuffers.sources.json_text import parse_json_object
from rlbuffers.sources.zarr_v2_store import FILTERS, CheckedStore
from rlbuffers.stats import total_reward
from rlbuffers.tally import Tally

__all__ = ["DiffusionPolicySource"]

Array = np.ndarray[Any, Any]
_ENDS = "meta/episode_ends"
_NAMES = {"action": ACTIONS, "actions": ACTIONS, "reward": REWARDS, "rewards": REWARDS}
# Arrays of the real robots' recordings that the policies do not see.
_NO_OBSERVATIONS = ("timestamp", "stage")
# What zarr and its codecs raise on bytes that are not what their metadata say.
_DAMAGE = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    EOFError,
    MemoryError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
_DTYPE = re.compile(r"[<>|][biuf][1248]")
_ARRAY = re.compile(r"data/[^/]+/\.zarray")
_NOTES = [
    "The demonstrations end where their recording ended, so each ends with a timeout; whether the task was done is not "
    "in the files.",
    "What was seen after an episode's last action was never stored (episodes/final_known).",
]


class DiffusionPolicySource(FileSource[Episode]):
    """Demonstrations, in the order of the file.

    Parameters
    ----------
    path : str or Path
        The group: a directory such as ``pusht.zarr``, or a ZIP file of one.
    observations : sequence of str, optional
        Which arrays in ``data`` are observations. All by default but actions, rewards, ``timestamp`` and ``stage``.
        Other arrays become columns of their own.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError, UsageError
        If there is no such group, or it is not such a buffer; says what was expected.
    """

    def __init__(self, path: str | Path, observations: Sequence[str] = ()) -> None:
        super().__init__(path)
        if not self.path.exists():
            raise BufferNotFoundError(f"{self.path}: there is no such file or directory")
        if self.path.is_file() and not zipfile.is_zipfile(self.path):
            raise FormatError(f"{self.path}: expected a directory or a ZIP file with a Zarr group (version 2)")
        self._left_out: list[str] = []
        with self._told():
            self._store = CheckedStore(self.path)
            root = zarr.open_group(self._store, mode="r", zarr_format=2, use_consolidated=False)
            self._stops = self._read_stops(root)
            self._arrays = self._read_arrays(root)
            self._check_sizes()
        self._names = self._named(observations)
        self._missing_chunks = 0
        self._reward_sum = 0.0
        self._spec = self._make_spec()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Translate what zarr and its codecs raise where a group is damaged, or none."""
        try:
            with warnings.catch_warnings():  # of fill values that do not fit
                warnings.simplefilter("ignore", RuntimeWarning)
                yield
        except RlbuffersError:
            raise
        except (zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError) as error:
            raise FormatError(f"{self.path}: expected a Zarr group (version 2) with 'data' and '{_ENDS}'") from error
        except _DAMAGE as error:
            reason = (str(error) or repr(error)).strip("'\"").splitlines()[0]
            raise CorruptDataError(f"{self.path}: damaged, or stored in an unknown way: {reason}") from error

    def _read_stops(self, root: Any) -> list[int]:
        ends = root.get(_ENDS)
        if not isinstance(ends, zarr.Array) or ends.ndim != 1 or ends.dtype.kind not in "iu":
            raise FormatError(f"{self.path}: expected whole numbers in '{_ENDS}', which say where episodes end")
        self._check_storage(_ENDS, ends)
        require_room(ends.shape[0] * ends.dtype.itemsize, FREE_BYTES, f"{self.path}: '{_ENDS}'")
        stops = [int(stop) for stop in np.asarray(ends[:])]
        if not stops:
            raise FormatError(f"{self.path}: expected transitions, found none")
        if any(stop <= start for start, stop in zip([0, *stops], stops, strict=False)):
            raise FormatError(f"{self.path}: expected ascending numbers in '{_ENDS}', found {str(stops)[:60]}")
        return stops

    def _read_arrays(self, root: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, dtype in sorted(self._stored_dtypes().items()):
            if not _DTYPE.fullmatch(dtype):
                self._left_out.append(f"'data/{name}', whose dtype {dtype!r} cannot be stored")
                continue
            array = root[f"data/{name}"]
            if not array.ndim or 0 in array.shape[1:]:
                self._left_out.append(f"'data/{name}', whose shape {array.shape} is none of rows")
            elif array.shape[0] < self._stops[-1]:
                raise FormatError(
                    f"{self.path}: expected {self._stops[-1]:,} rows in 'data/{name}', as many as '{_ENDS}' says; "
                    f"found {array.shape[0]:,}"
                )
            else:
                self._check_storage(f"data/{name}", array)
                found[name] = array
                if array.shape[0] > self._stops[-1]:
                    self._left_out.append(
                        f"'data/{name}': {array.shape[0] - self._stops[-1]:,} rows behind the last episode"
                    )
        return found

    def _stored_dtypes(self) -> dict[str, str]:
        """Return the dtype of each array in `data`, as its metadata have it: zarr refuses a group for one odd array."""
        found = {}
        for place in filter(_ARRAY.fullmatch, self._store.sizes):
            text = sync(self._store.get(place, default_buffer_prototype()))
            where = f"{self.path}: {place!r}"
            document = {} if text is None else parse_json_object(text.to_bytes(), where)
            # Of records it is a list.
            found[place.split("/")[1]] = str(document.get("dtype"))
        return found

    def _check_storage(self, name: str, array: Any) -> None:
        """Refuse chunks whose decoding would run code, or that are larger than what is stored can become."""
        compressor, filters = array.metadata.compressor, list(array.metadata.filters or ())
        for codec, known in ((compressor, COMPRESSORS), *((codec, FILTERS) for codec in filters)):
            if codec is not None and codec.codec_id not in known:
                raise FormatError(f"{self.path}: '{name}' is stored with {codec.codec_id!r}, which is not read")
        chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
        stored = sum(self._store.chunks_of(name))
        require_room(chunk_bytes, max(FREE_BYTES, IMAGE_GROWTH * stored), f"{self.path}: a chunk of '{name}'")
        self._store.with_room(name, compressor, chunk_bytes, filtered=bool(filters))

    def _check_sizes(self) -> None:
        """Compare the longest episode, and all of them, with what is stored; missing chunks are zeros, without end."""
        row_bytes = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in self._arrays.values())
        longest = max(stop - start for start, stop in itertools.pairwise([0, *self._stops]))
        stored = sum(self._store.stored.values())
        where = f"{self.path}: an episode of {longest:,} rows"
        require_room(longest * row_bytes, max(FREE_BYTES, IMAGE_GROWTH * stored), where)
        most = max(FREE_STREAM_BYTES, STREAM_GROWTH * stored)
        require_room(self._stops[-1] * row_bytes, most, f"{self.path}: {self._stops[-1]:,} rows")

    def _named(self, observations: Sequence[str]) -> dict[str, str]:
        """Return the column of each array."""
        for name in observations:
            if name not in self._arrays:
                hint = nearest(name, self._arrays)
                raise UsageError(f"{self.path}: there is no array 'data/{name}'; found {listed(self._arrays)}{hint}")
        others = [name for name in self._arrays if name not in _NAMES]
        observed = list(observations) or [name for name in others if name not in _NO_OBSERVATIONS]
        names = {name: _NAMES[name] for name in self._arrays if name in _NAMES}
        if ACTIONS not in names.values() or not observed:
            raise FormatError(
                f"{self.path}: expected 'data/action' and an array of observations; found "
                f"{listed(self._arrays) or 'none'}"
            )
        single = len(observed) == 1
        return {
            **{name: f"infos/{name}" if name in (TERMINALS, TIMEOUTS) else name for name in others},
            **names,
            **{name: OBSERVATIONS if single else f"{OBSERVATIONS}/{name}" for name in observed},
        }

    def _make_spec(self) -> BufferSpec:
        columns = [
            ColumnSpec(column, self._arrays[name].dtype, _row_shape(column, self._arrays[name].shape))
            for name, column in self._names.items()
        ]
        if REWARDS not in self._names.values():
            columns.append(ColumnSpec(REWARDS, np.dtype(np.float32)))
        flags = [ColumnSpec(name, np.dtype(np.bool_)) for name in (TERMINALS, TIMEOUTS)]
        with blamed_on(self.path):
            return BufferSpec(layout="episodes", columns=[*columns, *flags])

    @property
    def spec(self) -> BufferSpec:
        """Episodes, with every array of numbers."""
        return self._spec

    def pieces(self) -> Iterator[Episode]:
        """Yield the episodes in order."""
        with self._told():
            self._missing_chunks = sum(
                array.nchunks - len(self._store.chunks_of(f"data/{name}")) for name, array in self._arrays.items()
            )
        start = 0
        for stop in self._stops:
            with self._told():
                rows = {column: np.asarray(self._arrays[name][start:stop]) for name, column in self._names.items()}
            rows = {column: values.reshape(-1, *_row_shape(column, values.shape)) for column, values in rows.items()}
            is_last = np.arange(stop - start) == stop - start - 1
            rows.setdefault(REWARDS, np.zeros(stop - start, np.float32))
            self._reward_sum += total_reward(rows[REWARDS])
            observations = {name: values for name, values in rows.items() if name.partition("/")[0] == OBSERVATIONS}
            columns = {name: values for name, values in rows.items() if name not in observations}
            yield Episode({**columns, TERMINALS: is_last & False, TIMEOUTS: is_last}, observations)
            self._done = start = stop

    def tally(self) -> Tally:
        """Count what `episode_ends` says, and sum the rewards as they were read."""
        return Tally(len(self._stops), self._stops[-1], self._reward_sum)

    def metadata(self) -> dict[str, Any]:
        """Describe the group."""
        is_file = self.path.is_file()
        return {
            "environment": {},
            "behavior_policy": {},
            "source": source_facts(
                "diffusion-policy", files=[file_facts(self.path)] if is_file else [], name=self.path.name
            ),
            "measurements": {"missing_chunks": self._missing_chunks} if self._missing_chunks else {},
            "warnings": self._warnings(),
            "left_out": self._left_out,
            "license": "",
            "citation": "",
            "notes": _NOTES,
        }

    def _warnings(self) -> list[str]:
        found = []
        if REWARDS not in self._names.values():
            found.append("The file has no rewards: zeros stand in their place.")
        if self._missing_chunks:
            found.append(
                f"{self._missing_chunks:,} chunks are not in the file: the fill value (mostly 0) stands in their "
                "place. Was it copied in full?"
            )
        return found

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._stops[-1]


def _row_shape(column: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a row; rewards of shape (N, 1) are one number a row."""
    return () if column == REWARDS and shape[1:] == (1,) else shape[1:]
