"""What the modules of compiled loops share; only they import it, because it imports numba.

The machine code of a loop is cached on disk after its first use. Loops run without Python's lock.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as _intrinsic

__all__ = ["call", "copy_bytes", "intrinsic", "jit", "load_32", "load_64", "store_64", "trailing_zeros"]

# Of an intrinsic's parameters, the first one is no argument of a call, which a type checker does not know.
intrinsic: Any = _intrinsic


def jit(function: Any) -> Any:
    """Compile a function at its first call."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to cache in: neither beside the module nor in the user's home
        return numba.njit(nogil=True)(function)


@intrinsic
def call(_context, address, arguments):
    """Call the C function at an address with integers and pointers, all as int64; returns an int64."""
    signature = types.int64(address, arguments)

    def generate(_target, builder, _signature, values):
        word = ir.IntType(64)
        count = len(arguments)
        function = builder.inttoptr(values[0], ir.FunctionType(word, [word] * count).as_pointer())
        return builder.call(function, [builder.extract_value(values[1], index) for index in range(count)])

    return signature, generate


@intrinsic
def load_64(_context, address):
    """Return the 8 bytes at an address, aligned or not, as a uint64."""
    return types.uint64(address), _loader(64)


@intrinsic
def load_32(_context, address):
    """Return the 4 bytes at an address, aligned or not, as a uint32."""
    return types.uint32(address), _loader(32)


def _loader(bits):
    def generate(_target, builder, _signature, values):
        loaded = builder.load(builder.inttoptr(values[0], ir.IntType(bits).as_pointer()))
        loaded.align = 1
        return loaded

    return generate


@intrinsic
def store_64(_context, address, value):
    """Write 8 bytes to an address, aligned or not."""
    signature = types.void(address, types.uint64)

    def generate(context, builder, _signature, values):
        stored = builder.store(values[1], builder.inttoptr(values[0], ir.IntType(64).as_pointer()))
        stored.align = 1
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def trailing_zeros(_context, value):
    """Return how many bits below the lowest one bit of a uint64 are zero."""

    def generate(_target, builder, _signature, values):
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(value), generate


@intrinsic
def copy_bytes(_context, target, source, size):
    """Copy bytes from an address to another one; they do not overlap."""
    signature = types.void(target, source, size)

    def generate(context, builder, _signature, values):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer, ir.IntType(64), ir.IntType(1)])
        copy = builder.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, ir.IntType(64)], kind)
        places = [builder.inttoptr(value, pointer) for value in values[:2]]
        builder.call(copy, [*places, values[2], ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return signature, generate
