"""Streams of images against zlib, which reads them all."""

from __future__ import annotations

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threads import at_once

from rlbuffers.stores.codecs import ZlibCodec, ZstdCodec, image_bytes_of
from rlbuffers.stores.image_deflate import compress_images

# The least and the greatest distance of each symbol of RFC 1951, section 3.2.5.
_STARTS = [1, 2, 3, 4, *(2**bits + half * 2 ** (bits - 1) + 1 for bits in range(2, 15) for half in (0, 1))]
DISTANCES = sorted({*_STARTS, *(start - 1 for start in _STARTS[1:]), 32768})


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(1, 700)), max_size=30),
    st.integers(1, 40_000),
    st.integers(0, 99),
)
def test_zlib_reads_runs(runs, image_bytes, seed):
    data = np.concatenate([np.zeros(3000, np.uint8), *(np.full(count, value, np.uint8) for value, count in runs)])
    data[np.random.default_rng(seed).integers(0, len(data), 20)] ^= 3
    stream = compress_images(data, image_bytes)
    assert stream is not None
    assert zlib.decompress(stream) == data.tobytes()


@pytest.mark.parametrize("distance", DISTANCES)
def test_zlib_reads_matches_of_every_distance_and_length(distance):
    data = np.tile(noise(distance, distance), 40 + 400_000 // distance)[: max(400_000, 12 * distance)]
    # A byte that is another one ends a match: of 3 bytes, of 4, ...
    ends = distance + np.cumsum(np.arange(3, 600))
    data[ends[ends < len(data)]] ^= 255
    stream = compress_images(data, distance)
    assert stream is not None
    assert zlib.decompress(stream) == data.tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 257, 258, 259, 260, 261, 262, 516, 517, 519])
def test_zlib_reads_short_images(size):
    zeros = np.zeros(size, np.uint8)
    stream = compress_images(zeros, 7)
    assert (stream is None) == (size < 60)
    assert stream is None or zlib.decompress(stream) == zeros.tobytes()
    assert zlib.decompress(ZlibCodec(image_bytes=7).encode(zeros)) == zeros.tobytes()


def test_what_does_not_repeat_is_left_to_a_general_compressor():
    data = noise(20_000)
    assert compress_images(data, 100) is None
    assert ZlibCodec(image_bytes=100).encode(data) == ZlibCodec().encode(data)


def test_a_smaller_chunk_after_a_larger_one():
    for size in (5000, 300, 5000, 7000):
        data = np.tile(noise(5, size), size // 5)
        assert zlib.decompress(compress_images(data, 50)) == data.tobytes()


def test_threads_have_memory_of_their_own():
    images = [np.tile(noise(500, seed), 40) for seed in range(4)]

    def is_always_right(data):
        return all(zlib.decompress(compress_images(data, 500)) == data.tobytes() for _ in range(200))

    assert at_once(is_always_right, images) == [True] * 4


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        ("uint8", (84, 84), 84 * 84),
        ("uint8", (4, 84, 84), 84 * 84),
        ("uint8", (72, 96, 3), 72 * 96 * 3),
        ("uint8", (2, 72, 96, 3), 72 * 96 * 3),
        ("uint8", (17,), 0),
        ("uint8", (), 0),
        ("float32", (84, 84), 0),
        ("bool", (84, 84), 0),
    ],
)
def test_which_rows_are_images(dtype, shape, size):
    assert image_bytes_of(np.dtype(dtype), shape) == size


def test_both_containers_keep_images_in_their_own_way(new_path):
    from reference import Recipe, make, write

    import rlbuffers

    recipe = Recipe("transitions", (40,), stack=4, size=(20, 20))
    made = make(recipe)
    for store, codec in (("hdf5", ZlibCodec(image_bytes=400)), ("zarr", ZstdCodec(-1))):
        with rlbuffers.open(write(new_path(store), made)) as buffer:
            frames = buffer.arrays["frames"]
            stored = bytes(frames.table.places(np.array([7])).read()[0])
            assert stored == codec.encode(frames.decode(np.array([7])))
    path = write(new_path("hdf5"), made)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["observations"][:], made.table["observations"])
