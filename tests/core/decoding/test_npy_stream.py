from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from dopamine_log import write_npy
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.decoding.npy_stream import NpyStream
from rlbuffers.errors import CorruptDataError, FormatError


@pytest.mark.parametrize("dtype", ["bool", "u1", "<i4", ">i4", "<f8", "<f2"])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, 2, 3), (0, 2)])
def test_rows_come_in_pieces_of_any_size(tmp_path, dtype, shape):
    given_rows = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    path = write_npy(tmp_path / "a.gz", given_rows)
    for pieces in ([len(given_rows)], [1] * len(given_rows), [0, len(given_rows)]):
        stream = NpyStream(path)
        assert (stream.dtype, stream.shape) == (given_rows.dtype, shape)
        found = [stream.read(count) for count in pieces]
        stream.finish()
        np.testing.assert_array_equal(np.concatenate([np.empty_like(given_rows[:0]), *found]), given_rows)


def test_rows_are_skipped(tmp_path):
    rows = np.zeros(9_000_000, np.uint8)  # more than GZIP hands out at a time
    rows[8_999_998] = 5
    stream = NpyStream(write_npy(tmp_path / "a.gz", rows))
    stream.skip(8_999_998)
    assert stream.read(1).tolist() == [5]
    stream.skip(1)
    stream.finish()


def test_a_single_number_is_a_row(tmp_path):
    stream = NpyStream(write_npy(tmp_path / "a.gz", np.array(7)))
    assert stream.read(1).tolist() == [7]
    stream.finish()


def test_the_end_is_checked(tmp_path):
    path = write_npy(tmp_path / "a.gz", np.arange(4))
    stream = NpyStream(path)
    with pytest.raises(CorruptDataError, match=r"cut short; expected an array of shape \(4,\), it ends in row 4"):
        stream.read(6)
    stream = NpyStream(path)
    stream.read(3)
    with pytest.raises(CorruptDataError, match="bytes follow"):
        stream.finish()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([object()]), "found Python objects"),
        (np.array(["text"]), "expected numbers in C order, found <U4"),
        (np.array([1j]), "expected numbers in C order, found complex128"),
        (np.zeros(2, [("a", "i4")]), "expected numbers in C order"),
        (np.asfortranarray(np.zeros((2, 3))), r"found float64 \(2, 3\) in Fortran order"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, message):
    path = tmp_path / "a.gz"
    write_npy(path, 0)
    header = np.lib.format.header_data_from_array_1_0(array)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    path.write_bytes(gzip.compress(stream.getvalue()))
    with pytest.raises(FormatError, match=message):
        NpyStream(path)


def test_later_versions_and_other_files_are_refused(tmp_path):
    path = tmp_path / "a.gz"
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x03\x00" + bytes(50), b"PK\x03\x04" + bytes(50)):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(FormatError, match="expected a NumPy array of numbers"):
            NpyStream(path)


@given(header=st.binary(max_size=80) | st.text("{}()[],:'\"\\ \n0-1LTrueshapdc<i4", max_size=80).map(str.encode))
def test_any_header_is_read_or_refused(tmp_path_factory, header):
    path = tmp_path_factory.mktemp("npy") / "a.gz"
    path.write_bytes(gzip.compress(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header))
    with pytest.raises(FormatError, match=r"cannot be understood|expected numbers"):
        NpyStream(path)
