"""NumPy archives, against numpy itself, and damaged in every byte."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from rlbuffers.decoding.npz_archive import NpzArchive, read_npz
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError

ARRAYS = {
    "plain": np.arange(12.0).reshape(3, 4),
    "folder/name": np.arange(6, dtype=np.int16),
    "big_endian": np.arange(5, dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "scalar": np.int32(7),
    "text": np.array("SAC"),
    "empty": np.zeros((0, 2), np.float32),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_what_numpy_reads(tmp_path, save):
    save(tmp_path / "x.npz", **ARRAYS)
    found, left_out = read_npz(tmp_path / "x.npz")
    assert left_out == []
    with np.load(tmp_path / "x.npz") as expected:
        assert set(found) == set(expected.files)
        for name, rows in found.items():
            np.testing.assert_array_equal(rows, expected[name])
            assert rows.dtype == expected[name].dtype.newbyteorder("=")
            assert rows.shape == expected[name].shape


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_is_an_error_or_changes_nothing(tmp_path, save):
    path = tmp_path / "x.npz"
    save(path, a=np.arange(40) // 3, b=np.ones((4, 2), np.float32))
    content = path.read_bytes()
    before, _ = read_npz(path)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        try:
            found, left_out = read_npz(path)
        except RlbuffersError:
            continue
        if left_out or set(found) != set(before):  # a letter of a name, which no checksum covers
            continue
        for name, rows in before.items():
            np.testing.assert_array_equal(found[name], rows)
            assert found[name].dtype == rows.dtype


def test_every_cut_is_an_error(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.arange(40))
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises((CorruptDataError, FormatError)):
            read_npz(path)


def test_what_is_no_array_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("readme.txt", "words")
    found, left_out = read_npz(tmp_path / "x.npz")
    assert list(found) == ["a"]
    assert left_out == ["'readme.txt', which is no array"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no array", r"'a\.npy': expected a NumPy array of numbers .* begins with 6e6f2061727261"),
        (
            b"\x93NUMPY\x03\x00\x00\x00\x00\x00",
            r"expected a NumPy array of numbers \(\.npy, version 1 or 2\); it begins with 934e554d50590300",
        ),
    ],
)
def test_members_that_are_no_arrays(tmp_path, content, message):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(FormatError, match=message):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("shape", ["(10000000000000,)", "(4,)", "()", "(3, 0)"])
def test_an_array_larger_than_its_bytes_takes_no_memory(tmp_path, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(CorruptDataError, match=r"'a\.npy' announces float64 .* and has 24 bytes"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("part_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "spans",
    [
        [(0, 20)],
        [(0, 3), (3, 4), (4, 20)],
        [(0, 6), (5, 12), (11, 20)],
        [(2, 5), (9, 10), (10, 10), (17, 20)],
        [(0, 8)],
        [],
    ],
)
def test_rows_are_those_of_numpy(tmp_path, monkeypatch, save, part_bytes, spans):
    """Spans that touch, overlap, leave rows out, and end before the array does."""
    monkeypatch.setattr("rlbuffers.decoding.npz_archive._PART_BYTES", part_bytes)
    arrays = {
        "plain": np.arange(60.0).reshape(20, 3),
        "big_endian": np.arange(20, dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(40).reshape(20, 2)),
        "flags": np.arange(20) % 3 == 0,
    }
    save(tmp_path / "x.npz", **arrays)
    found = list(NpzArchive(tmp_path / "x.npz").rows(spans, list(arrays)))
    assert len(found) == len(spans)
    for (start, stop), block in zip(spans, found, strict=True):
        for name, rows in arrays.items():
            np.testing.assert_array_equal(block[name], rows[start:stop])
            assert block[name].dtype == rows.dtype.newbyteorder("=")


def test_rows_of_a_damaged_array_are_refused_by_its_checksum(tmp_path):
    """Also where nobody asks for the rows behind."""
    np.savez(tmp_path / "x.npz", a=np.arange(1000))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[content.index(np.arange(1000).tobytes()[-16:])] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        list(NpzArchive(tmp_path / "x.npz").rows([(0, 10)], ["a"]))


def test_arrays_of_objects_are_passed_over(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3), infos=np.array([{"x": 1}, None], object))
    found, left_out = read_npz(tmp_path / "x.npz")
    assert list(found) == ["a"]
    assert left_out == ["'infos', which holds Python objects (a pickle)"]
