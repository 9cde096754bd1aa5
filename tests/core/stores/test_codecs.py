from __future__ import annotations

import contextlib
import pickle
import zlib

import numpy as np
import pytest
import zstandard
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st
from threads import at_once

from rlbuffers.stores.codecs import CodecError, RawCodec, ZlibCodec, ZstdCodec

CODECS = [RawCodec(), ZlibCodec(), ZlibCodec(shuffle_bytes=4), ZlibCodec(image_bytes=40), ZstdCodec(), ZstdCodec(-1)]
SIZE = 400


def chunks_of(count, seed=0):
    rows = np.random.default_rng(seed).integers(0, 9, (count, SIZE // 4))
    return list(rows.astype(np.float32))


def decoded(codec, stored, size=SIZE):
    target = bytearray(size * len(stored))
    codec.decode([memoryview(chunk) for chunk in stored], size, memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("codec", CODECS)
@given(count=st.integers(0, 5), seed=st.integers(0, 99))
def test_chunks_come_back_in_order(codec, count, seed):
    chunks = chunks_of(count, seed)
    assert decoded(codec, [codec.encode(chunk) for chunk in chunks]) == b"".join(chunk.tobytes() for chunk in chunks)


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_travel_to_other_processes(codec):
    assert pickle.loads(pickle.dumps(codec)) == codec


def test_zlib_chunks_are_what_hdf5_writes():
    (chunk,) = chunks_of(1)
    assert zlib.decompress(ZlibCodec().encode(chunk)) == chunk.tobytes()
    items = np.frombuffer(chunk.tobytes(), np.uint8).reshape(-1, 4)
    shuffled = b"".join(items[:, byte].tobytes() for byte in range(4))
    assert zlib.decompress(ZlibCodec(shuffle_bytes=4).encode(chunk)) == shuffled


def test_zstandard_chunks_are_what_zarr_writes():
    (chunk,) = chunks_of(1)
    stored = ZstdCodec().encode(chunk)
    assert zstandard.ZstdDecompressor().decompress(stored[:-4]) == chunk.tobytes()
    assert crc32c(stored[:-4]).to_bytes(4, "little") == stored[-4:]


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_flipped_bit_is_noticed_or_harmless(codec):
    (chunk,) = chunks_of(1)
    stored = codec.encode(chunk)
    for place in range(len(stored)):
        for bit in range(8):
            damaged = bytearray(stored)
            damaged[place] ^= 1 << bit
            with contextlib.suppress(CodecError):
                assert decoded(codec, [bytes(damaged)]) == chunk.tobytes()


def with_crc(frame):
    return frame + crc32c(frame).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("codec", "stored"),
    [
        (RawCodec(), b"x" * (SIZE - 1)),
        (RawCodec(), b"x" * (SIZE + 1)),
        (ZlibCodec(), b""),
        (ZlibCodec(), zlib.compress(bytes(SIZE - 1))),
        (ZlibCodec(), zlib.compress(bytes(SIZE + 1))),
        (ZlibCodec(), zlib.compress(bytes(SIZE))[:-1]),
        (ZlibCodec(shuffle_bytes=4), zlib.compress(bytes(SIZE - 1))),
        (ZstdCodec(), b""),
        (ZstdCodec(), b"abc"),
        (ZstdCodec(), with_crc(b"")),
        (ZstdCodec(), with_crc(b"not a frame")),
        (ZstdCodec(), with_crc(zstandard.compress(bytes(SIZE - 1)))),
        (ZstdCodec(), with_crc(zstandard.compress(bytes(1 << 20)))),
        (ZstdCodec(), with_crc(zstandard.compress(bytes(SIZE))[:-3])),
        (ZstdCodec(), with_crc(zstandard.ZstdCompressor(write_content_size=False).compress(bytes(SIZE)))),
    ],
)
def test_a_chunk_that_does_not_decode_to_its_size_is_told(codec, stored):
    good = codec.encode(chunks_of(1)[0])
    with pytest.raises(CodecError) as error:
        decoded(codec, [good, good, stored, good])
    assert error.value.index == 2


def test_threads_may_decode_at_once():
    codec = ZstdCodec()
    chunks = chunks_of(200)
    stored = [codec.encode(chunk) for chunk in chunks]
    expected = b"".join(chunk.tobytes() for chunk in chunks)
    assert at_once(lambda _: decoded(codec, stored) == expected, range(4)) == [True] * 4
