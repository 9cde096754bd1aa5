"""HDF5 buffers as plain h5py sees them, with none of our code in between."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from reference import Recipe, assert_same_rows, make, recipes, taken, write

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError


def plain_columns(path, names):
    with h5py.File(path) as file:
        return {name: file[name][()] for name in names}


@given(recipe=recipes())
def test_h5py_shows_every_column_under_its_name(new_path, recipe):
    made = make(recipe)
    path = write(new_path("hdf5"), made)
    assert_same_rows(plain_columns(path, made.table), made.table)
    with h5py.File(path) as file:
        for row in {0, len(made) // 2, len(made) - 1}:
            assert_same_rows({name: file[name][row] for name in made.table}, taken(made.table, row))


@pytest.mark.parametrize("apart", [0.0, 0.01, 0.5, 1.0])
def test_next_stacks_that_do_not_overlap_are_in_the_view(new_path, apart):
    made = make(Recipe("transitions", (600,), stack=4, size=(2, 2), apart=apart, seed=3))
    path = write(new_path("hdf5"), made)
    assert_same_rows(plain_columns(path, made.table), made.table)


def test_views_of_many_episodes(new_path):
    """More episodes than one mapping of a view describes."""
    for recipe in (Recipe("episodes", (1, 2, 3) * 400), Recipe("episodes", (2, 1, 3) * 400, stack=2, size=(1, 1))):
        made = make(recipe)
        path = write(new_path("hdf5"), made)
        assert_same_rows(plain_columns(path, made.table), made.table)


def test_frames_are_stored_once(new_path):
    made = make(Recipe("transitions", (10,), stack=4, size=(84, 84)))
    with h5py.File(write(new_path("hdf5"), made)) as file:
        stored = [name for name in file if isinstance(file[name], h5py.Dataset) and not file[name].is_virtual]
        assert sorted(stored) == ["actions", "frames", "rewards", "stack_index", "terminals", "timeouts"]
        assert file["frames"].shape == (50, 84, 84)
        assert file["frames"].chunks == (5, 84, 84)
        assert file["frames"].compression == "gzip"
        assert file["observations"].is_virtual


def test_episode_arrays_are_readable(new_path):
    with h5py.File(write(new_path("hdf5"), make(Recipe("episodes", (3, 1, 4))))) as file:
        assert file["episodes/starts"][:].tolist() == [0, 3, 4]
        assert file["episodes/lengths"][:].tolist() == [3, 1, 4]
        assert file["episodes/whole"][:].tolist() == [True, True, True]


def test_the_file_may_be_named_h5(tmp_path):
    made = make(Recipe("episodes", (3,)))
    assert_same_rows(rlbuffers.open(write(tmp_path / "buffer.h5", made))[:], made.table)


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"not HDF5, but long enough to have a signature" * 9])
def test_what_is_no_hdf5_file_is_refused(tmp_path, content):
    path = tmp_path / "buffer.hdf5"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not an HDF5 file"):
        rlbuffers.open(path)


def test_an_hdf5_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "buffer.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"] = np.zeros((3, 2))
    with pytest.raises(FormatError, match="not an rlbuffers buffer; `rlbuffers convert`"):
        rlbuffers.open(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_file_that_was_cut_short_is_refused(new_path, share):
    path = write(new_path("hdf5"), make(Recipe("transitions", (40,), stack=4, size=(20, 20))))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptDataError, match=path.name):
        rlbuffers.open(path)


def changed(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(file, name, values, **options):
    del file[name]
    file.create_dataset(name, data=values, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.pop("rewards"),
        lambda file: file.create_dataset("more", data=np.zeros(3), chunks=(3,), compression="gzip"),
        lambda file: replace(file, "rewards", np.zeros(8, "f4")),
        lambda file: replace(file, "rewards", np.zeros(8, "f4"), chunks=(4,), compression="lzf"),
        lambda file: replace(file, "rewards", np.zeros(8, "f8"), chunks=(4,), compression="gzip"),
        lambda file: replace(file, "rewards", np.zeros(7, "f4"), chunks=(4,), compression="gzip"),
        lambda file: replace(file, "rewards", ["a"] * 8, chunks=(4,), compression="gzip"),
        lambda file: replace(file, "episodes/final_observations", np.zeros((1, 3), "f4"), chunks=(1, 2), compression=3),
        lambda file: file.attrs.create("rlbuffers", 3),
        lambda file: file.attrs.create("rlbuffers", b"\xff\xfe"),
        lambda file: file.attrs.create("rlbuffers", "{}"),
        lambda file: file.attrs.create("rlbuffers", "[1]"),
        lambda file: file.attrs.create("rlbuffers", file.attrs["rlbuffers"].decode().replace("float32", "float64")),
    ],
)
def test_a_file_whose_arrays_are_not_as_stated_is_refused(new_path, change):
    path = changed(write(new_path("hdf5"), make(Recipe("episodes", (8,)))), change)
    with pytest.raises(FormatError, match=path.name):
        rlbuffers.open(path)


def test_a_missing_chunk_is_named(new_path):
    made = make(Recipe("transitions", (40,), observations=(("observations", "float64", (4096,)),)))
    path = write(new_path("hdf5"), made)

    def shrink(file):
        shape = file["observations"].shape
        file["observations"].resize(9, axis=0)
        file["observations"].resize(shape[0], axis=0)

    with rlbuffers.open(changed(path, shrink)) as buffer:
        with pytest.raises(CorruptDataError, match=r"array 'observations': chunk 2 is missing"):
            buffer[39]
        assert_same_rows(buffer.rows([0], ["rewards"]), {"rewards": made.table["rewards"][:1]})
    assert not rlbuffers.validate(path).ok


def test_a_damaged_chunk_is_named_with_its_place(new_path):
    made = make(Recipe("transitions", (40,), stack=4, size=(20, 20)))
    path = write(new_path("hdf5"), made)
    with h5py.File(path) as file:
        chunk = file["frames"].id.get_chunk_info(7)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    place = rf"{path.name}: array 'frames', chunk 7 \(offset {chunk.byte_offset}, {chunk.size} bytes\)"
    with rlbuffers.open(path, cache=0) as buffer:
        with pytest.raises(CorruptDataError, match=place):
            buffer[7]
        assert_same_rows(buffer[:7], taken(made.table, slice(7)))


@pytest.mark.parametrize("recipe", [Recipe("episodes", (5, 3), stack=2), Recipe("episodes", (5, 3))])
def test_damaged_mappings_never_reach_the_library(new_path, recipe):
    """HDF5 looks at the checksum of a view's mappings too late: some damage to them makes it crash."""
    path = write(new_path("hdf5"), make(recipe))
    content = path.read_bytes()
    heap = content.index(b"GCOL\x01\x00\x00\x00")
    size = int.from_bytes(content[heap + 8 : heap + 16], "little")
    for place in range(heap, heap + size, 37):
        damaged = bytearray(content)
        damaged[place] ^= 0x81
        path.write_bytes(damaged)
        with pytest.raises(CorruptDataError, match="the mappings of its virtual datasets"):
            rlbuffers.open(path)


@pytest.mark.parametrize("scanned", [5, 16, 17, 1000])
def test_every_heap_has_its_digest_wherever_a_block_of_the_scan_ends(new_path, monkeypatch, scanned):
    monkeypatch.setattr("rlbuffers.stores.hdf5_views._BLOCK_BYTES", scanned)
    path = write(new_path("hdf5"), make(Recipe("episodes", (1, 2, 3) * 400)))
    content, heaps = path.read_bytes(), []
    place = content.find(b"GCOL\x01\x00\x00\x00")
    while place >= 0:
        heaps.append([place, int.from_bytes(content[place + 8 : place + 16], "little")])
        place = content.find(b"GCOL\x01\x00\x00\x00", place + 1)
    with h5py.File(path) as file:
        stored = json.loads(file.attrs["rlbuffers_views"])
    assert heaps
    assert [entry[:2] for entry in stored] == heaps


@pytest.mark.parametrize("error", [SystemError("<callback> returned NULL"), RuntimeError("\nsecond"), KeyError("x")])
def test_whatever_the_library_raises_is_one_line(tmp_path, monkeypatch, error):
    path = tmp_path / "x.hdf5"
    write(path, make(Recipe("episodes", (3,))))

    def visititems(self, visit):
        raise error

    monkeypatch.setattr(h5py.Group, "visititems", visititems)
    with pytest.raises(CorruptDataError, match=r"damaged; the HDF5 library says: [^\n]*\Z"):
        rlbuffers.open(path)
