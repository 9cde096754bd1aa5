"""Zarr buffers in one ZIP file, as zarr-python's ZipStore and Python's zipfile see them."""

from __future__ import annotations

import json
import random
import zipfile

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, recipes, taken, write

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.stores import zarr_store
from rlbuffers.stores.zarr_store import ZarrZipWriter

FRAMES = Recipe("transitions", (40,), stack=4, size=(20, 20), apart=0.1)


@pytest.fixture
def path(new_path):
    return write(new_path("zarr.zip"), make(FRAMES))


@given(recipe=recipes(), cache=st.sampled_from([0, 5000, "1GB"]))
def test_the_same_rows_as_in_a_directory(new_path, recipe, cache):
    made = make(recipe)
    path = write(new_path("zarr.zip"), made)
    rows = np.arange(len(made))[::-2]
    with rlbuffers.open(path, cache=cache) as buffer, rlbuffers.open(write(new_path("zarr"), made)) as directory:
        assert_same_rows(buffer[:], made.table)
        assert_same_rows(buffer.rows(rows), taken(made.table, rows))
        assert buffer.fingerprint == directory.fingerprint


@pytest.mark.parametrize("decoder", ["native", "python"])
@pytest.mark.parametrize("cache", [0, "1GB"])
def test_several_shards(new_path, monkeypatch, decoder, cache):
    monkeypatch.setenv("RLBUFFERS_DECODER", decoder)
    monkeypatch.setattr(zarr_store, "_FRAME_CHUNKS_PER_SHARD", 16)
    made = make(FRAMES)
    path = write(new_path("zarr.zip"), made)
    assert "frames/c/2/0/0" in zipfile.ZipFile(path).namelist()
    with rlbuffers.open(path, cache=cache) as buffer:
        assert_same_rows(buffer[::-1], taken(made.table, slice(None, None, -1)))


def test_zarr_python_reads_it(path):
    made = make(FRAMES)
    store = zarr.storage.ZipStore(path, mode="r")
    group = zarr.open_group(store, mode="r")
    stacks = group["frames"][...][group["stack_index"][...]]
    np.testing.assert_array_equal(stacks[:, :-1], made.table["observations"])
    np.testing.assert_array_equal(group["rewards"][...], made.table["rewards"])
    store.close()


def test_it_is_a_plain_archive_of_the_directory(path, new_path):
    directory = write(new_path("zarr"), make(FRAMES))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    files = {
        file.relative_to(directory).as_posix(): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }
    root, expected = (json.loads(found.pop("zarr.json")) for found in (members, files))
    assert members == files
    assert root == expected
    assert rlbuffers.validate(path).ok


def test_a_writer_knows_where_its_chunks_are(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_store, "_CHUNKS_PER_SHARD", 2)
    writer = ZarrZipWriter(tmp_path / "x.zarr.zip")
    for name in ("a", "b/é"):
        writer.create_array(name, np.dtype("u1"), (), 8)
    chunks = [b"12345", b"123", b"1", b"1234567", b"12"]
    for chunk in chunks:
        for name in ("a", "b/é"):
            writer.write_chunks(name, [chunk])
    noted = {name: writer.written(name) for name in ("a", "b/é")}
    writer.finish({"a": 40, "b/é": 40}, "{}", [])
    content = (tmp_path / "x.zarr.zip").read_bytes()
    for offsets, sizes in noted.values():
        assert [content[o : o + s] for o, s in zip(offsets.tolist(), sizes.tolist(), strict=True)] == chunks[:4]


def test_a_damaged_chunk_is_named_with_its_place(path):
    with rlbuffers.open(path, cache=0) as buffer:
        places = buffer.arrays["frames"].table.places(np.array([7]))
        (start, _), offset = buffer._store._folder.place_of("frames/c/0/0/0"), int(places.offsets[0])
    content = bytearray(path.read_bytes())
    content[start + offset + 10] ^= 1
    path.write_bytes(content)
    with rlbuffers.open(path, cache=0) as buffer:
        place = rf"{path.name}/frames/c/0/0/0: array 'frames', chunk 7 \(offset {offset}, .*CRC-32C"
        with pytest.raises(CorruptDataError, match=place):
            buffer[7]
        assert_same_rows(buffer[:7], taken(make(FRAMES).table, slice(7)))
    assert not rlbuffers.validate(path).ok


def test_a_changed_byte_is_noticed_or_harmless(path, tmp_path):
    expected, rng, target = make(FRAMES), random.Random(0), tmp_path / "damaged.zarr.zip"
    content = path.read_bytes()
    places = [rng.randrange(len(content)) for _ in range(20)] + [len(content) - 1 - 9 * n for n in range(30)]
    noticed = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= rng.randrange(1, 256)
        target.write_bytes(damaged)
        if rlbuffers.validate(target).ok:
            assert_same_rows(rlbuffers.open(target)[:], expected.table)
        else:
            noticed += 1
    assert noticed > 20


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptDataError, match=r"zarr\.zip: damaged; not a whole ZIP file"):
        rlbuffers.open(path)


def test_a_compressed_archive_is_refused(path, tmp_path):
    packed = tmp_path / "packed.zarr.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(FormatError, match="compressed or encrypted inside the ZIP file"):
        rlbuffers.open(packed)


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zarr.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match=r"zarr\.json: is missing"):
        rlbuffers.open(tmp_path / "x.zarr.zip")
