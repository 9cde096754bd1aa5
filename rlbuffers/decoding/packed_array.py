"""Arrays as RLlib packs them into texts: Base64 of an LZ4 frame of a pickled NumPy array.

Nothing is unpickled. NumPy writes an array as a short, fixed program for pickle's machine; what is here knows
the few instructions of that program and the three names in it, takes dtype, shape and bytes from it, and refuses
everything else. No name is looked up, imported or called. Origin: ``rllib/utils/compression.py`` of
ray-project/ray, and PEP 574 for the instructions.
"""

from __future__ import annotations

import base64
import binascii
import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlbuffers.decoding.claims import FREE_BYTES, RECORD_GROWTH, require_room
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.optional import require

__all__ = ["is_packed", "unpack_array"]

Array = np.ndarray[Any, Any]
# The Base64 of an LZ4 frame's magic number.
_START = "BCJNG"
_PIECE = 1 << 20
_DTYPE = re.compile(r"[<>|=]?[biuf][1248]")
_ARRAY_MODULES = ("numpy.core.numeric", "numpy._core.numeric", "numpy.core.multiarray", "numpy._core.multiarray")
_MARK = object()
_PLAIN = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = ("BININT", "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BYTEARRAY")


@dataclass(frozen=True)
class _Name:
    """A name that the program would import."""

    module: str
    name: str


@dataclass
class _Dtype:
    """A dtype of which the byte order comes later."""

    code: str
    order: str = ""

    def dtype(self) -> np.dtype[Any]:
        order = self.order if self.order in ("<", ">") else ""
        return np.dtype(f"{order}{self.code.lstrip('<>|=')}")


@dataclass
class _Empty:
    """An array of which everything comes later."""

    array: Array | None = None


def is_packed(text: object) -> bool:
    """Whether a value looks like a packed one."""
    return isinstance(text, str) and text.startswith(_START)


def unpack_array(text: str, where: str, *, extra: str, purpose: str) -> Array:
    """Return the array that a text holds.

    Parameters
    ----------
    text : str
        One that `is_packed`.
    where : str
        What is read, for messages.
    extra, purpose : str
        For the message where pyarrow, which knows LZ4, is missing; see `require`.

    Raises
    ------
    CorruptDataError
        If it is cut short or damaged.
    FormatError
        If it does not hold one array of numbers.
    """
    content = _decompressed(text, where, require("pyarrow", extra=extra, purpose=purpose))
    try:
        found = _run(content)
    except _NoArrayError as error:
        raise FormatError(
            f"{where}: expected one packed array of numbers, found {error}; it is not unpickled"
        ) from None
    except (ValueError, IndexError, TypeError, OverflowError, StopIteration) as error:
        raise CorruptDataError(f"{where}: the packed array is damaged: {error}") from error
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def _decompressed(text: str, where: str, pyarrow: Any) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        packed = base64.b64decode(text, validate=True)
        with pyarrow.CompressedInputStream(pyarrow.py_buffer(packed), "lz4") as stream:
            while part := stream.read(_PIECE):
                parts.append(part)
                size += len(part)
                require_room(size, max(FREE_BYTES, RECORD_GROWTH * len(packed)), f"{where}: a packed array")
    except RlbuffersError:
        raise
    except (binascii.Error, ValueError, OSError, pyarrow.ArrowException) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CorruptDataError(f"{where}: a packed array is damaged or cut short: {reason}") from error
    return b"".join(parts)


class _NoArrayError(Exception):
    """The program makes something else than an array."""


def _made(called: Any, arguments: Any) -> Any:
    if called == _Name("numpy", "dtype"):
        if not _DTYPE.fullmatch(str(arguments[0])):
            raise _NoArrayError(f"a dtype {arguments[0]!r}")
        return _Dtype(str(arguments[0]))
    if isinstance(called, _Name) and called.module in _ARRAY_MODULES:
        if called.name == "_frombuffer":
            return _array(*arguments)
        if called.name == "_reconstruct":
            return _Empty()
    what = f"{called.module}.{called.name}" if isinstance(called, _Name) else type(called).__name__
    raise _NoArrayError(what)


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise _NoArrayError("an array that is not bytes")
    kind = dtype.dtype()
    if math.prod(shape) * kind.itemsize != len(content):
        raise ValueError(f"{len(content):,} bytes for a shape {shape} of {kind}")
    return np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C")


def _run(content: bytes) -> Array:
    """Follow the program up to its end, which must leave one array."""
    stack: list[Any] = []
    memo: list[Any] = []
    for instruction, argument, _ in pickletools.genops(content):
        match instruction.name:
            case "STOP":
                break
            case "PROTO" | "FRAME":
                pass
            case "MEMOIZE":
                memo.append(stack[-1])
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" | "MARK" as name:
                stack.append(_PLAIN[name])
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                _gather(stack, len(stack) - int(name[-1]))
            case "TUPLE":
                _gather(stack, _last_mark(stack) + 1)
                del stack[-2]
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_Name(module, name))
            case "REDUCE":
                arguments, called = stack.pop(), stack.pop()
                stack.append(_made(called, arguments))
            case "BUILD":
                _fill(stack[-2], stack.pop())
            case name:
                if not name.startswith(_LITERALS):
                    raise _NoArrayError(f"the instruction {name}")
                stack.append(argument)
    found = stack[-1]
    array = found.array if isinstance(found, _Empty) else found
    if not isinstance(array, np.ndarray):
        raise _NoArrayError(type(found).__name__)
    return array


def _last_mark(stack: list[Any]) -> int:
    return len(stack) - 1 - next(back for back, item in enumerate(reversed(stack)) if item is _MARK)


def _gather(stack: list[Any], start: int) -> None:
    """Replace all from a place on by a tuple of them."""
    if start < 0:
        raise ValueError("too few items for a tuple")
    stack[start:] = [tuple(stack[start:])]


def _fill(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype):
        target.order = str(state[1])
    elif isinstance(target, _Empty):
        _, shape, dtype, is_fortran, content = state
        target.array = _array(content, dtype, shape, "F" if is_fortran else "C")
    else:
        raise _NoArrayError(type(target).__name__)
