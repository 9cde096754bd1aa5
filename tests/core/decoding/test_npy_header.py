import io
from contextlib import suppress

import numpy as np
import pytest

from rlbuffers.decoding.npy_header import read_header
from rlbuffers.errors import FormatError


def header(shape, descr="'<f8'", order="False", version=1):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text


def read(content):
    return read_header(io.BytesIO(content).read, "here")


@pytest.mark.parametrize("dtype", ["<f4", ">i8", "|u1", "|b1", "<f2"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_writes(dtype, shape, order):
    file = io.BytesIO()
    np.save(file, np.zeros(shape, dtype, order=order))
    found = read(file.getvalue())
    assert found == (np.dtype(dtype), shape, order == "F" and len(shape) > 1)


def test_the_second_version():
    assert read(header("(5,)", version=2)) == (np.dtype("<f8"), (5,), False)


@pytest.mark.parametrize(
    "shape",
    [
        *("(-3,)", "(True,)", "(2, -1)", "(1.0,)", "('x',)", "(None,)", f"({1 << 70},)", f"({1 << 62}, 2)", "3", "[3]"),
        *("(" + "1, " * 40 + ")", "(" * 200 + ")" * 200, "(0, " + f"{1 << 40}, " * 30 + ")", "(0x7fffffffffffffff,)"),
    ],
)
def test_shapes_that_no_array_has(shape):
    with pytest.raises(FormatError, match=r"here: its \.npy header (announces|cannot be understood)"):
        read(header(shape))


@pytest.mark.parametrize(
    "descr", ["'<f99'", "'x' * 9", "3", "None", "'<f8', 'a': 1", "[('a',)]", "('<f8', 5)", "{'a': 1}", "[[[]]]", "''"]
)
def test_types_that_there_are_not(descr):
    with suppress(FormatError):
        dtype, _, _ = read(header("(3,)", descr))
        assert isinstance(dtype, np.dtype)


def test_a_header_that_goes_on_without_end_is_not_read():
    asked = []

    def read_zeros(count):
        asked.append(count)
        return (b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b" " * count)[sum(asked[:-1]) :][:count]

    with pytest.raises(FormatError, match="cannot be understood"):
        read_header(read_zeros, "here")
    assert max(asked) <= 10_000
