"""Where chunks are: tables in HDF5 files against what h5py says, and the pieces in which tables are loaded."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, taken, write

import rlbuffers
from rlbuffers.errors import CorruptDataError, SpecError
from rlbuffers.stores import hdf5_chunk_tables, zarr_store
from rlbuffers.stores.chunk_table import ChunkTable
from rlbuffers.stores.hdf5_store import HDF5Writer
from rlbuffers.stores.local_files import LocalFiles, MemoryBlocks
from rlbuffers.stores.zarr_store import ZarrWriter

RECIPE = Recipe("transitions", (300,), stack=4, size=(6, 6))


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(hdf5_chunk_tables, "_MIN_CHUNKS", 100)
    monkeypatch.setattr(hdf5_chunk_tables, "CHUNKS_PER_PIECE", 63)
    monkeypatch.setattr("rlbuffers.stores.hdf5_store.CHUNKS_PER_PIECE", 63)


@pytest.fixture
def path(new_path, small_pieces):
    return write(new_path("hdf5"), make(RECIPE))


def asked_of_h5py(path, name):
    found = []
    with h5py.File(path) as file:
        file[name].id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))
    return found


def test_the_table_is_what_h5py_says(path):
    with h5py.File(path) as file:
        assert list(file["rlbuffers_chunks"]) == ["frames"]  # other arrays have few chunks
        rows = file["rlbuffers_chunks/frames"][()]
    pieces = [rows[start : start + 64] for start in range(0, len(rows), 64)]
    assert [tuple(row) for piece in pieces for row in piece[:-1].tolist()] == asked_of_h5py(path, "frames")
    assert rlbuffers.validate(path).ok


def test_a_buffer_of_few_chunks_has_no_table(new_path):
    with h5py.File(write(new_path("hdf5"), make(RECIPE))) as file:
        assert "rlbuffers_chunks" not in file


def never(*_):
    raise AssertionError("the library was asked for all chunks")


def test_the_table_is_used_and_only_the_pieces_that_are_needed(path, monkeypatch):
    monkeypatch.setattr("rlbuffers.stores.hdf5_store.library_table", never)
    with rlbuffers.open(path, cache=0) as buffer:
        table = buffer.arrays["frames"].table
        for rows, loaded in (([0, 200], [True, False, False, True, False]), (np.arange(300), [True] * 5)):
            expected = {"observations": make(RECIPE).table["observations"][rows]}
            assert_same_rows(buffer.rows(rows, ["observations"]), expected)
            assert table._is_loaded.tolist() == loaded


@pytest.mark.parametrize("repack", ["moved", "longer"])
def test_a_file_that_was_rewritten_is_read_all_the_same(path, tmp_path, repack):
    """As h5repack does: every object is copied to a new place, the table as it was."""
    copy = tmp_path / "copy.hdf5"
    with h5py.File(path) as old, h5py.File(copy, "w", libver=("v110", "v110")) as new:
        if repack == "longer":
            new["first"] = np.zeros(1000)
            del new["first"]
        for name in ("actions", "rlbuffers_chunks", "rewards", "stack_index", "terminals", "timeouts", "frames",
                     "next_overrides"):  # fmt: skip
            old.copy(name, new)
        text = old.attrs["rlbuffers"]
        new.attrs.create("rlbuffers", text, dtype=h5py.string_dtype("utf-8", len(text)))
    with rlbuffers.open(copy, cache=0) as buffer:
        assert_same_rows(buffer[:], make(RECIPE).table)
    report = rlbuffers.validate(copy)
    assert [finding.rule for finding in report.errors if finding.rule == "chunk-tables"] == ["chunk-tables"]


def test_a_damaged_piece_is_reported_and_does_without(path):
    with h5py.File(path) as file:
        place = file["rlbuffers_chunks/frames"].id.get_offset() + 64 * 16 + 30 * 16
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    with rlbuffers.open(path, cache=0) as buffer:
        assert_same_rows(buffer[:], make(RECIPE).table)
    (error,) = rlbuffers.validate(path).errors
    assert error.rule == "chunk-tables"
    assert error.message.startswith(f"{path}: a table of chunks (offset ")


def test_a_column_cannot_stand_where_the_tables_are(tmp_path):
    writer = HDF5Writer(tmp_path / "x.hdf5")
    with pytest.raises(SpecError, match="rename 'rlbuffers_chunks/x'"):
        writer.create_array("rlbuffers_chunks/x", np.dtype("f4"), (), 4)
    writer.abort()


@given(sizes=st.lists(st.lists(st.integers(1, 5000), max_size=40), min_size=1, max_size=4))
def test_a_writer_knows_where_its_chunks_are(tmp_path_factory, sizes):
    """As it writes, for whoever wants to find them again should it never finish."""
    folder = tmp_path_factory.mktemp("written")
    content = np.random.default_rng(0).bytes(5000)
    path = folder / "x.hdf5"
    writer = HDF5Writer(path)
    for name in ("a", "b/c"):
        writer.create_array(name, np.dtype("u1"), (), 8000)
    for batch in sizes:
        for name in ("a", "b/c"):
            writer.write_chunks(name, [content[:size] for size in batch])
    noted = {name: writer.written(name) for name in ("a", "b/c")}
    writer.finish(dict.fromkeys(noted, sum(map(len, sizes)) * 8000), "{}", [])
    for name, (offsets, lengths) in noted.items():
        assert list(zip(offsets.tolist(), lengths.tolist(), strict=True)) == asked_of_h5py(path, name)


def test_a_zarr_writer_knows_its_chunks_from_the_beginning_of_their_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_store, "_CHUNKS_PER_SHARD", 3)
    writer = ZarrWriter(tmp_path / "x.zarr")
    writer.create_array("a", np.dtype("u1"), (), 8)
    writer.write_chunks("a", [b"12345", b"123", b"1", b"1234567", b"12"])
    offsets, sizes = writer.written("a")
    assert offsets.tolist() == [0, 5, 8, 0, 7]
    assert sizes.tolist() == [5, 3, 1, 7, 2]
    assert (tmp_path / "x.zarr/a/c/0").read_bytes()[:9] == b"123451231"
    assert (tmp_path / "x.zarr/a/c/1").read_bytes() == b"123456712"


def test_places_outside_the_file_are_refused():
    files = MemoryBlocks([np.zeros(100, np.uint8)], ["block"])
    for offset, size in [(0, 101), (100, 1), (2**64 - 1, 1), (5, 2**64 - 1), (2**63, 2**63), (-1, 5), (0, 0)]:
        entry = (np.array([offset]).astype(np.uint64), np.array([size]).astype(np.uint64))
        table = ChunkTable("x", 1, files, lambda _, entry=entry: entry)
        with pytest.raises(CorruptDataError, match="block: array 'x': chunk 0 is missing"):
            table.places(np.array([0]))


@pytest.mark.parametrize("decoder", ["native", "python"])
def test_more_files_than_may_be_open(new_path, monkeypatch, decoder):
    monkeypatch.setattr(zarr_store, "_FRAME_CHUNKS_PER_SHARD", 16)
    monkeypatch.setattr("rlbuffers.stores.local_files.resource.getrlimit", lambda _: (8, 8))
    monkeypatch.setenv("RLBUFFERS_DECODER", decoder)
    expected = make(RECIPE)
    with rlbuffers.open(write(new_path("zarr"), expected), cache=0) as buffer:
        for _ in range(3):
            assert_same_rows(buffer[::-1], taken(expected.table, slice(None, None, -1)))
        files = buffer.arrays["frames"].table.files
        assert isinstance(files, LocalFiles)
        assert len(files._open) == 6
