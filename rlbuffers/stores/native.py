"""Decoding many chunks in one call that does not hold Python's lock.

The wheels of `deflate`, `zstandard` and `google_crc32c`, which decode chunks one at a time, carry the C
libraries that do it, with their stable C interfaces in reach: libdeflate, libzstd, libcrc32c. A small
compiled loop (``native_kernel.py``) calls these for a whole batch, from the file into the array that is
handed out: no object a chunk, no copy, and other threads run meanwhile. Where a wheel is built otherwise
and shows no such function, everything works as before, through the wheels' Python interfaces.

The loop is loaded once a process has decoded so many chunks that loading it pays.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.stores.codecs import Codec, ZlibCodec, ZstdCodec

__all__ = [
    "DECODER_VARIABLE",
    "NativeDecoder",
    "decode_alone",
    "decoder_names",
    "native_decoder",
    "set_decode_threads",
]

DECODER_VARIABLE = "RLBUFFERS_DECODER"
# In Python these take some 20 ms; loading the compiled loop takes half a second.
_CHUNKS_BEFORE_LOADING = 2048
# Handing a part to another thread costs about 30 µs, in which a megabyte of frames is decoded nearly half.
_MIN_PART_BYTES = 1 << 20

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Library:
    """C functions of one compression library, as addresses."""

    kind: str
    functions: tuple[int, int, int, int]
    allocate: Callable[[], int]
    free: Callable[[int], None]


class _Context:
    """One thread's decompressor and its working memory."""

    def __init__(self, library: _Library) -> None:
        self.address = library.allocate()
        if not self.address:
            raise MemoryError(f"no memory for a {library.kind} decompressor")
        self.scratch = np.empty(0, np.uint8)
        weakref.finalize(self, library.free, self.address)

    def scratch_of(self, size: int) -> Array:
        """Return at least `size` bytes of working memory."""
        if len(self.scratch) < size:
            self.scratch = np.empty(size + size // 4, np.uint8)
        return self.scratch


class NativeDecoder:
    """Decodes chunks of one kind of codec; used by any number of threads at once."""

    def __init__(self, library: _Library) -> None:
        from rlbuffers.stores import native_kernel

        self._library = library
        self._decode: Callable[..., int] = native_kernel.decode_chunks
        self._kind = native_kernel.ZLIB if library.kind == "zlib" else native_kernel.ZSTD
        self._functions = np.array(library.functions, np.int64)
        self._local = threading.local()

    def decode(
        self,
        files: Array,
        positions: Array,
        sizes: Array,
        target: Array,
        chunk_bytes: int,
        item_bytes: int,
        *,
        largest: int,
    ) -> int:
        """Decode chunks into `target`; see `native_kernel.decode_chunks`.

        Parameters
        ----------
        largest : int
            No size is above it.

        Returns
        -------
        int
            -1, or the number of the first chunk that cannot be read or is not whole.
        """

        def work(piece: slice) -> int:
            part = target[piece.start * chunk_bytes : piece.stop * chunk_bytes]
            found = self._decode_part(
                files[piece], positions[piece], sizes[piece], part, chunk_bytes, item_bytes, largest
            )
            return found if found < 0 else piece.start + found

        parts = self._num_parts(len(target), len(sizes))
        if parts == 1:
            return self._decode_part(files, positions, sizes, target, chunk_bytes, item_bytes, largest)
        bounds = [len(sizes) * part // parts for part in range(parts + 1)]
        pieces = [slice(start, stop) for start, stop in itertools.pairwise(bounds)]
        others = [_threads.pool.submit(work, piece) for piece in pieces[1:]]
        results = [work(pieces[0]), *(other.result() for other in others)]
        return next((bad for bad in results if bad >= 0), -1)

    @staticmethod
    def _num_parts(num_bytes: int, num_chunks: int) -> int:
        if num_bytes < 2 * _MIN_PART_BYTES or getattr(_threads.local, "is_alone", False):
            return 1
        return max(min(_threads.count, num_bytes // _MIN_PART_BYTES, num_chunks), 1)

    def _decode_part(
        self,
        files: Array,
        positions: Array,
        sizes: Array,
        target: Array,
        chunk_bytes: int,
        item_bytes: int,
        largest: int,
    ) -> int:
        context: _Context | None = getattr(self._local, "context", None)
        if context is None:
            context = self._local.context = _Context(self._library)
        scratch = context.scratch_of(chunk_bytes + largest)
        return self._decode(
            self._kind, self._functions, context.address, files, positions, sizes, scratch, target, chunk_bytes,
            item_bytes,
        )  # fmt: skip


class _Threads:
    """Threads that share the decoding of large batches; none survives a fork."""

    def __init__(self) -> None:
        self.count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.local = threading.local()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max(self.count - 1, 1), thread_name_prefix="rlbuffers-decode")
        return self._pool

    def forget(self) -> None:
        self._pool = None


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.forget)
_num_decoded = 0


def set_decode_threads(count: int) -> None:
    """Set how many threads share the decoding of one large batch; by default one for each core.

    The result is the same with any number.
    """
    _threads.count = max(count, 1)
    _threads.forget()


def decode_alone() -> None:
    """Let the calling thread decode by itself from now on, because others decode at the same time."""
    _threads.local.is_alone = True


def native_decoder(codec: Codec, num_chunks: int) -> NativeDecoder | None:
    """Return the compiled decoder for a codec, or None where Python is to decode.

    Parameters
    ----------
    codec : Codec
        The array's codec.
    num_chunks : int
        How many chunks are to be decoded now: what counts towards loading the compiled loop.
    """
    global _num_decoded
    kind = _KINDS.get(type(codec))
    wanted = os.environ.get(DECODER_VARIABLE, "auto")
    if kind is None or wanted == "python":
        return None
    if _num_decoded < _CHUNKS_BEFORE_LOADING:
        _num_decoded += num_chunks
        if _num_decoded < _CHUNKS_BEFORE_LOADING and wanted != "native":
            return None
    return _decoder(kind)


def decoder_names() -> dict[str, str]:
    """Say what decodes each codec on this machine: codec name to ``"native (...)"`` or ``"python (...)"``."""
    if os.environ.get(DECODER_VARIABLE) == "python":
        return dict.fromkeys(_LIBRARIES, f"python ({DECODER_VARIABLE}=python)")
    return {kind: _described(kind) for kind in _LIBRARIES}


def _described(kind: str) -> str:
    try:
        _LIBRARIES[kind]()
    except (ImportError, OSError, AttributeError) as error:
        return f"python ({error})"
    return f"native (libraries in the wheels of {', '.join(_WHEELS[kind])})"


@functools.cache
def _decoder(kind: str) -> NativeDecoder | None:
    try:
        return NativeDecoder(_LIBRARIES[kind]())
    except (ImportError, OSError, AttributeError):
        return None  # another platform or another build of the wheel; `decoder_names` says which


@functools.cache
def _zlib_library() -> _Library:
    library = _opened("deflate._deflate")
    allocate = library.libdeflate_alloc_decompressor
    free = library.libdeflate_free_decompressor
    inflate = _address(library.libdeflate_zlib_decompress)
    return _Library("zlib", (_pread(), inflate, 0, 0), *_typed(allocate, free))


@functools.cache
def _zstd_library() -> _Library:
    library = _opened("zstandard._cffi")
    checksum = _opened("google_crc32c._crc32c")  # finds what the module itself is linked with
    functions = (
        _pread(),
        _address(library.ZSTD_decompressDCtx),
        _address(library.ZSTD_getFrameContentSize),
        _address(checksum.crc32c_value),
    )
    return _Library("zstd", functions, *_typed(library.ZSTD_createDCtx, library.ZSTD_freeDCtx))


_KINDS: dict[type[Any], str] = {ZlibCodec: "zlib", ZstdCodec: "zstd"}
_LIBRARIES: dict[str, Callable[[], _Library]] = {"zlib": _zlib_library, "zstd": _zstd_library}
_WHEELS = {"zlib": ["deflate"], "zstd": ["zstandard", "google-crc32c"]}


def _typed(allocate: Any, free: Any) -> tuple[Callable[[], int], Callable[[int], None]]:
    allocate.restype = ctypes.c_void_p
    free.argtypes, free.restype = [ctypes.c_void_p], None
    return lambda: int(allocate() or 0), free


def _opened(module: str) -> ctypes.CDLL:
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{package} is not installed")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} has no {module}")
    return ctypes.CDLL(spec.origin)


def _pread() -> int:
    process = ctypes.CDLL(None)
    # On a few systems `pread` takes a 32-bit offset.
    return _address(process.pread64 if hasattr(process, "pread64") else process.pread)


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
