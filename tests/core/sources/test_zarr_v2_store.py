import shutil
import zipfile

import numcodecs
import numpy as np
import pytest
import zarr
from foreign_inputs import DATA

from rlbuffers.decoding.chunk_sizes import COMPRESSORS
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.zarr_v2_store import CheckedStore

FIXTURE = DATA / "diffusion_policy" / "pusht.zarr"
ARRAY = "data/action"


@pytest.fixture
def group(tmp_path):
    return shutil.copytree(FIXTURE, tmp_path / "x.zarr")


def zipped(group, **members):
    path = group.with_suffix(".zarr.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(group.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(group).as_posix())
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(path, room=None, codec="its own"):
    store = CheckedStore(path)
    array = zarr.open_group(store, mode="r", zarr_format=2)[ARRAY]
    stated = array.metadata.compressor if codec == "its own" else codec
    store.with_room(ARRAY, stated, array.chunks[0] * 8 if room is None else room, filtered=False)
    return array[:]


@pytest.mark.parametrize("make", [lambda group: group, zipped], ids=["directory", "ZIP"])
def test_a_group_is_read_as_zarr_reads_it(group, make):
    path = make(group)
    np.testing.assert_array_equal(read(path), zarr.open_group(FIXTURE, mode="r")[ARRAY][:])
    store = CheckedStore(path)
    files = [file for file in group.rglob("*") if file.is_file()]
    assert store.sizes == {file.relative_to(group).as_posix(): file.stat().st_size for file in files}
    assert store.num_bytes == sum(file.stat().st_size for file in files)
    assert len(store.chunks_of(ARRAY)) == len(list((group / ARRAY).glob("[0-9]*")))


@pytest.mark.parametrize("make", [lambda group: group, zipped], ids=["directory", "ZIP"])
def test_a_chunk_that_becomes_more_than_its_array_has_room_for(group, make):
    chunk = group / ARRAY / "0.0"
    chunk.write_bytes(numcodecs.Zstd().encode(b"x") + numcodecs.Zstd().encode(bytes(1 << 20)))
    with pytest.raises(CorruptDataError, match=r"'data/action/0\.0': the chunk becomes 1,048,577 bytes or more"):
        read(make(group), codec=numcodecs.Zstd())


@pytest.mark.parametrize("codec", [None, numcodecs.Zlib()], ids=["stored as it is", "compressed"])
def test_a_sparse_chunk_is_refused_before_it_is_read(group, codec):
    with (group / ARRAY / "0.0").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CorruptDataError, match="the chunk has 1,099,511,627,776 bytes, and the array has room for"):
        read(group, codec=codec)
    assert max(CheckedStore(group).chunks_of(ARRAY)) < 1 << 20


@pytest.mark.parametrize("codec", sorted(COMPRESSORS))
def test_numbers_that_do_not_shrink_may_be_larger_than_their_chunk(tmp_path, codec):
    rows = np.random.default_rng(0).integers(0, 1 << 62, (4000, 2))
    path = tmp_path / "y.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.create_array(ARRAY, data=rows, chunks=(1000, 2), compressors=numcodecs.get_codec({"id": codec}))
    np.testing.assert_array_equal(read(path, room=16_000), rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100 + "]" * 100, "levels"),
        ("{" + " " * (1 << 20) + "}", "expected a document of at most 1,048,576 bytes"),
        ("nothing", "not JSON"),
    ],
    ids=["nested", "long", "no JSON"],
)
def test_documents_that_are_none(group, text, message):
    (group / ARRAY / ".zarray").write_text(text)
    with pytest.raises(CorruptDataError, match=message):
        read(group)


def test_members_of_a_zip_file_that_become_far_more_than_is_stored(group):
    path = zipped(group, **{"data/action/9.0": bytes(65 << 20)})
    with pytest.raises(CorruptDataError, match=r"data/action/9\.0': it announces 68,157,440 bytes in memory"):
        CheckedStore(path)


def test_links_out_of_the_group_are_refused(group, tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    (group / ARRAY / "9.0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match=r"9\.0: a symbolic link to .*elsewhere"):
        CheckedStore(group)
