"""Packed arrays are read without unpickling."""

from __future__ import annotations

import base64
import contextlib
import pickle

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from rlbuffers.decoding.packed_array import is_packed, unpack_array
from rlbuffers.errors import CorruptDataError, FormatError


def packed(content):
    """Base64 of an LZ4 frame, as RLlib makes it."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(content)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode("ascii")


def unpack(text):
    return unpack_array(text, "x.json: line 1", extra="rllib", purpose="Reading packed columns")


@given(
    array=npst.arrays(
        npst.integer_dtypes() | npst.unsigned_integer_dtypes() | npst.floating_dtypes() | npst.boolean_dtypes(),
        npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    protocol=st.sampled_from([4, 5]),
    order=st.sampled_from("CF"),
)
def test_arrays_come_back(array, protocol, order):
    array = np.array(array, order=order)
    text = packed(pickle.dumps(array, protocol))
    assert is_packed(text)
    found = unpack(text)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def test_views_and_more_names_of_modules():
    array = np.arange(12.0).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(unpack(packed(pickle.dumps(array, 5))), array)
    renamed = pickle.dumps(np.arange(3), 5).replace(b"\x12numpy.core.numeric", b"\x13numpy._core.numeric")
    np.testing.assert_array_equal(unpack(packed(renamed)), np.arange(3))


def test_a_text_of_another_kind():
    for value in ("once upon a time", "", None, 3, b"BCJNG"):
        assert not is_packed(value)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (self.path.touch, ())


@pytest.mark.parametrize("inside", [lambda trap: trap, lambda trap: [trap], lambda trap: np.array([trap], object)])
def test_nothing_in_it_is_run(tmp_path, inside):
    with pytest.raises(FormatError, match=r"^x\.json: line 1: expected one packed array of numbers, .*unpickled$"):
        unpack(packed(pickle.dumps(inside(Trap(tmp_path / "sprung")), 5)))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "value", [{"a": np.zeros(3)}, [1, 2], "text", 3, None, np.array(["a"]), np.zeros(3, "c16"), np.zeros(2, "M8[s]")]
)
def test_what_is_no_array_of_numbers(value):
    with pytest.raises(FormatError, match="expected one packed array of numbers, found"):
        unpack(packed(pickle.dumps(value, 5)))


def test_old_protocols_are_refused():
    with pytest.raises(FormatError, match="the instruction GLOBAL"):
        unpack(packed(pickle.dumps(np.zeros(3), 3)))


@given(cut=st.floats(0, 1, exclude_max=True), place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_whatever_is_damaged_gives_an_error_or_an_array(cut, place, byte):
    content = bytearray(pickle.dumps(np.arange(6, dtype=np.float32).reshape(2, 3), 5))
    content[int(place * len(content))] = byte
    for text in (packed(bytes(content)), packed(bytes(content[: int(cut * len(content))]))):
        with contextlib.suppress(FormatError, CorruptDataError):
            assert isinstance(unpack(text), np.ndarray)


def test_a_frame_that_is_cut_or_not_base64():
    text = packed(pickle.dumps(np.arange(1000), 5))
    for broken in (text[: len(text) // 2], text[:40], "BCJNG", "BCJNG!!!"):
        with pytest.raises(CorruptDataError, match=r"x\.json: line 1: "):
            unpack(broken)


def test_a_bomb_is_refused():
    with pytest.raises(
        CorruptDataError, match=r"a packed array: it announces .* more than 67,108,864 are not plausible"
    ):
        unpack(packed(bytes(70 << 20)))
