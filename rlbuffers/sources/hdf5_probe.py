"""What runs in a process of its own before an HDF5 file from elsewhere is read: everything that may not end well.

Heaps, B-trees and headers of a damaged file make the HDF5 library loop without end or crash, in C, where Python can do
nothing about it. So all that the sources ask of a file, but for plain numbers, is asked here first: its names, types,
attributes, chunk indices, and the content of what stands in heaps. `rlbuffers.sources.hdf5_safety` starts this process
and reads the answers.

Each step is announced in a file that both processes know, and has a limit of CPU time, after which the process ends by
SIGPROF. What h5py merely raises is no matter here: it will do so again where it can be handled.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py

from rlbuffers.hdf5_errors import HDF5_ERRORS
from rlbuffers.hdf5_links import leads_outside, shown

__all__ = ["serve"]

_BUFFER_ATTRIBUTE = "rlbuffers"
_MAX_ATTRIBUTE_BYTES = 64 << 20
_MEMORY = 2 << 30
_IDLE_SECONDS = 60
_PIECE_ROWS = 256
_EXPANSION, _UNSUSPICIOUS_BYTES = 1100, 1 << 20  # as `check_size` allows
_PLAIN_KINDS = "biufSV"
_PLAIN_CLASSES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
# Deflate is read past the library; these three of it are simple, and written by everyone.
_TRUSTED_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MAX_DEPTH = 100
_NAME_BYTES = 4096


class _TooMuchError(Exception):
    """The file asks for more memory than anything in it can need."""


class _Steps:
    """Announces each step, and limits its CPU time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seconds = 0.0
        self.is_deep = False

    def __call__(self, name: str | bytes) -> bool:
        """Announce a step; True if it is in more groups than is allowed."""
        encoded = name.encode(errors="replace") if isinstance(name, str) else name
        os.pwrite(self._descriptor, encoded[:_NAME_BYTES].ljust(1, b"/") + b"\0", 0)
        signal.setitimer(signal.ITIMER_PROF, self.seconds)
        self.is_deep = self.is_deep or encoded.count(b"/") > _MAX_DEPTH
        return self.is_deep

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)


def serve(descriptor: int) -> None:
    """Answer requests on standard input, a line of JSON each, until it ends or nothing was asked for a minute.

    Parameters
    ----------
    descriptor : int
        Of the file in which each step is announced.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit_resources()
    steps = _Steps(descriptor)
    while select.select([0], [], [], _IDLE_SECONDS)[0]:
        line = sys.stdin.buffer.readline()
        if not line:
            return
        request = json.loads(line)
        steps.seconds, steps.is_deep = request["seconds"], False
        answer = _answer(request["path"], steps)
        steps.end()
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _limit_resources() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(path: str, steps: _Steps) -> dict[str, Any]:
    try:
        steps("/")
        with h5py.File(path, "r", locking=False) as file:
            if _BUFFER_ATTRIBUTE in file.attrs:
                return {"buffer": True}
            problems: list[_TooMuchError | MemoryError] = []
            # The library's walk leaves out where it begins.
            _look_at(steps, problems, "/", h5py.h5o.open(file.id, b"/"))
            outside = list(leads_outside(file, steps, partial(_look_at, steps, problems)))
            if steps.is_deep:
                raise _TooMuchError(f"has groups in more than {_MAX_DEPTH} groups")
            if problems:
                raise problems[0]
            return {"outside": outside}
    except (_TooMuchError, MemoryError) as error:
        return {"problem": str(error) or "needs more memory than anything in it can need"}
    except HDF5_ERRORS as error:
        return {"raised": str(error).strip("'\"").partition("\n")[0] or repr(error)}


def _look_at(steps: _Steps, problems: list[_TooMuchError | MemoryError], name: str, opened: Any) -> None:
    """Look at one object; what it asks too much of is kept, as the library's walk must not be left by an exception."""
    if problems:
        return
    steps(name)
    try:
        _attempt(lambda: _attributes(opened, name, steps))
        if isinstance(opened, h5py.h5d.DatasetID) and not _is_simple(opened):
            _attempt(lambda: _dataset(h5py.Dataset(opened), name, steps))
    except (_TooMuchError, MemoryError) as problem:
        problems.append(problem)
    except HDF5_ERRORS:
        return


def _item(opened: Any) -> Any:
    kinds = {h5py.h5d.DatasetID: h5py.Dataset, h5py.h5g.GroupID: h5py.Group, h5py.h5t.TypeID: h5py.Datatype}
    return next((item(opened) for kind, item in kinds.items() if isinstance(opened, kind)), None)


def _is_simple(opened: Any) -> bool:
    """Whether a dataset is numbers in one piece in the file: nothing else is looked at to read it."""
    created = opened.get_create_plist()
    in_one_piece = created.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) and not created.get_external_count()
    return in_one_piece and opened.get_type().get_class() in _PLAIN_CLASSES


def _attempt(call: Callable[[], None]) -> None:
    with suppress(*HDF5_ERRORS):
        call()


def _attributes(opened: Any, name: str, steps: _Steps) -> None:
    item = None
    for number in range(h5py.h5a.get_num_attrs(opened)):
        attribute = h5py.h5a.open(opened, index=number)
        key = attribute.name
        steps(f"{name}@{shown(key)}")
        is_plain = attribute.get_type().get_class() in _PLAIN_CLASSES
        if is_plain and attribute.get_storage_size() <= _UNSUSPICIOUS_BYTES:
            continue
        item = item or _item(opened)
        _attempt(lambda key=key, item=item: _attribute(item, name, key))  # type: ignore[misc]


def _attribute(item: Any, name: str, key: str | bytes) -> None:
    found = item.attrs.get_id(key)
    claimed = math.prod(found.shape or ()) * found.dtype.itemsize
    if claimed > _MAX_ATTRIBUTE_BYTES:
        raise _TooMuchError(f"announces {claimed:,} bytes in the attribute '{name}@{shown(key)}'")
    item.attrs[key]


def _dataset(item: h5py.Dataset, name: str, steps: _Steps) -> None:
    shape, dtype = item.shape, item.dtype
    if shape is None:
        return
    created = item.id.get_create_plist()
    filters = {created.get_filter(number)[0] for number in range(created.get_nfilters())}
    if item.is_virtual:
        item.virtual_sources()
        return
    stored = item.id.get_storage_size()
    if item.chunks is not None and stored:
        item.id.get_num_chunks()
        item.id.chunk_iter(lambda chunk: None)
    if item.external or item.nbytes > stored * _EXPANSION + _UNSUSPICIOUS_BYTES:
        return
    is_plain = dtype.kind in _PLAIN_KINDS and dtype.names is None and h5py.check_vlen_dtype(dtype) is None
    if is_plain and shape and filters <= _TRUSTED_FILTERS:
        return
    if not shape:
        item[()]
        return
    rows = max(item.chunks[0] if item.chunks else 0, _PIECE_ROWS)
    for start in range(0, shape[0], rows):
        steps(name)
        _rows(item, start, min(start + rows, shape[0]))


def _rows(item: h5py.Dataset, start: int, stop: int) -> None:
    try:
        item[start:stop]
    except MemoryError:
        if stop - start < 2:
            raise
        middle = (start + stop) // 2
        _rows(item, start, middle)
        _rows(item, middle, stop)
