"""The compiled decoder against the one in Python: the same rows, and the same words for the same damage."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, recipes, taken, write
from threads import at_once

import rlbuffers
from rlbuffers.errors import CorruptDataError
from rlbuffers.stores import native
from rlbuffers.stores.codecs import RawCodec, ZlibCodec, ZstdCodec

STORES_ON_DISK = ("hdf5", "zarr")
FRAMES = Recipe("transitions", (40,), stack=4, size=(20, 20), apart=0.1)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    monkeypatch.setenv(native.DECODER_VARIABLE, "native")


@pytest.mark.parametrize("codec", [ZlibCodec(), ZlibCodec(shuffle_bytes=4), ZlibCodec(shuffle_bytes=8), ZstdCodec()])
def test_this_machine_decodes_natively(codec):
    """What the pinned wheels export; where this fails, everything works and is slower."""
    assert native.native_decoder(codec, 1) is not None
    assert all(name.startswith("native") for name in native.decoder_names().values())


def test_what_needs_no_decompressor_has_none():
    assert native.native_decoder(RawCodec(), 1 << 20) is None


@pytest.mark.parametrize("store", STORES_ON_DISK)
@given(recipe=recipes(), seed=st.integers(0, 99))
def test_the_same_rows(new_path, store, recipe, seed):
    expected = make(recipe)
    path = write(new_path(store), expected)
    rows = np.random.default_rng(seed).integers(len(expected), size=9)
    with rlbuffers.open(path, cache=0) as buffer:
        assert_same_rows(buffer[:], expected.table)
        assert_same_rows(buffer.rows(rows), taken(expected.table, rows))


def message_of(path, row):
    with rlbuffers.open(path, cache=0) as buffer, pytest.raises(CorruptDataError) as error:
        buffer.rows([0, row, 1])
    return str(error.value)


def place_of(path, chunk):
    with rlbuffers.open(path, cache=0) as buffer:
        places = buffer.arrays["frames"].table.places(np.array([chunk]))
        return places.files.name(0), int(places.offsets[0]), int(places.sizes[0])


@pytest.mark.parametrize("store", STORES_ON_DISK)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_same_words_for_the_same_damage(new_path, monkeypatch, store, share):
    path = write(new_path(store), make(FRAMES))
    file, offset, size = place_of(path, 7)
    with open(file, "r+b") as opened:
        opened.seek(offset + int(share * (size - 1)))
        (byte,) = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))
    compiled = message_of(path, 7)
    monkeypatch.setenv(native.DECODER_VARIABLE, "python")
    assert message_of(path, 7) == compiled
    assert compiled.startswith(f"{file}: array 'frames', chunk 7 (offset {offset}, {size} bytes): ")


@pytest.mark.parametrize("store", STORES_ON_DISK)
@pytest.mark.parametrize("name", ["native", "python"])
def test_a_file_that_is_cut_short_after_opening(new_path, monkeypatch, store, name):
    monkeypatch.setenv(native.DECODER_VARIABLE, name)
    path = write(new_path(store), make(FRAMES))
    file, offset, size = place_of(path, 39)
    with rlbuffers.open(path, cache=0) as buffer:
        buffer.rows([0])
        os.truncate(file, offset + size - 1)
        with pytest.raises(CorruptDataError, match="cut short"):
            buffer.rows([0, 39])


@pytest.mark.parametrize("codec", [ZlibCodec(), ZlibCodec(shuffle_bytes=4), ZstdCodec()])
@given(data=st.data())
def test_damaged_bytes_never_reach_beyond_the_target(codec, data):
    chunk = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 3, 120).astype(np.float32)
    stored = bytearray(codec.encode(chunk))
    for place in data.draw(st.lists(st.integers(0, len(stored) - 1), min_size=1, max_size=3)):
        stored[place] ^= data.draw(st.integers(1, 255))
    block = np.frombuffer(bytes(stored), np.uint8)
    guarded = np.full(3 * chunk.nbytes, 7, np.uint8)
    target = guarded[chunk.nbytes : 2 * chunk.nbytes]
    decode = native.native_decoder(codec, 1).decode
    address = np.array([block.__array_interface__["data"][0]])
    item_bytes = getattr(codec, "shuffle_bytes", 1)
    result = decode(
        np.array([-1]), address, np.array([len(block)], np.int32), target, chunk.nbytes, item_bytes, largest=len(block)
    )
    assert (guarded[: chunk.nbytes] == 7).all()
    assert (guarded[2 * chunk.nbytes :] == 7).all()
    if result == -1:
        assert target.tobytes() == chunk.tobytes()


@pytest.mark.parametrize("store", STORES_ON_DISK)
def test_several_threads_share_a_large_batch(new_path, monkeypatch, store):
    monkeypatch.setattr(native, "_MIN_PART_BYTES", 4000)
    expected = make(Recipe("transitions", (300,), stack=4, size=(20, 20)))
    path = write(new_path(store), expected)
    native.set_decode_threads(3)
    try:
        with rlbuffers.open(path, cache=0) as buffer:
            assert_same_rows(buffer[:], expected.table)
            file, offset, _ = place_of(path, 200)
            with open(file, "r+b") as opened:
                opened.seek(offset)
                opened.write(b"\xff\xff")
            with pytest.raises(CorruptDataError, match="chunk 200 "):
                buffer[:]
    finally:
        native.set_decode_threads(os.cpu_count())


@pytest.mark.parametrize("name", ["native", "python"])
@pytest.mark.parametrize("store", STORES_ON_DISK)
def test_threads_read_one_buffer_at_once(new_path, monkeypatch, store, name):
    monkeypatch.setenv(native.DECODER_VARIABLE, name)
    expected = make(Recipe("transitions", (600,), stack=4, size=(8, 8), apart=0.1))
    wrong = []
    with rlbuffers.open(write(new_path(store), expected), cache=0) as buffer:

        def read(seed):
            for rows in np.random.default_rng(seed).integers(600, size=(60, 16)):
                batch = buffer.rows(rows)
                wrong.extend(name for name, values in batch.items() if (values != expected.table[name][rows]).any())

        at_once(read, range(4))
    assert not wrong


@pytest.mark.parametrize("store", STORES_ON_DISK)
def test_a_buffer_goes_on_after_a_fork(new_path, store):
    path = write(new_path(store), make(FRAMES))
    code = (
        "import os, numpy, rlbuffers\n"
        f"buffer = rlbuffers.open({str(path)!r}, cache=0)\n"
        "before = buffer[:]['observations'].sum()\n"
        "child = os.fork()\n"
        "after = buffer[:]['observations'].sum()\n"
        "if not child:\n"
        "    os._exit(0 if after == before else 3)\n"
        "assert after == before\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("library", ["deflate._deflate", "zstandard._cffi", "google_crc32c._crc32c"])
def test_a_wheel_without_the_functions_is_read_in_python(new_path, monkeypatch, library):
    opened = native._opened

    def refuse(module):
        if module == library:
            raise AttributeError(f"{module}: undefined symbol")
        return opened(module)

    cached = (native._decoder, native._zlib_library, native._zstd_library)
    monkeypatch.setattr(native, "_opened", refuse)
    for function in cached:
        function.cache_clear()
    try:
        names = native.decoder_names()
        assert names["zlib" if "deflate" in library else "zstd"] == f"python ({library}: undefined symbol)"
        for store in STORES_ON_DISK:
            assert_same_rows(rlbuffers.open(write(new_path(store), make(FRAMES)), cache=0)[:], make(FRAMES).table)
    finally:
        for function in cached:
            function.cache_clear()


def test_it_is_loaded_once_it_pays(new_path, monkeypatch):
    monkeypatch.setenv(native.DECODER_VARIABLE, "auto")
    monkeypatch.setattr(native, "_num_decoded", 0)
    assert native.native_decoder(ZlibCodec(), 2000) is None
    assert native.native_decoder(ZlibCodec(), 48) is not None
    assert native.native_decoder(ZlibCodec(), 1) is not None


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(native.DECODER_VARIABLE, "python")
    assert native.native_decoder(ZlibCodec(), 1 << 20) is None
    assert native.decoder_names() == dict.fromkeys(["zlib", "zstd"], "python (RLBUFFERS_DECODER=python)")


def test_without_a_folder_for_the_machine_code():
    """An installation and a home that cannot be written to: compiled again in each process."""
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from rlbuffers.stores import native_kernel, native\n"
        "from rlbuffers.stores.codecs import ZlibCodec\n"
        "assert native.native_decoder(ZlibCodec(), 1) is not None\n"
        "print(type(native_kernel.decode_chunks._cache).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "NullCache\n"
