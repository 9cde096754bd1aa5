import lzma
import struct

import numcodecs
import pytest
import zstandard

from rlbuffers.decoding.chunk_sizes import COMPRESSORS, require_chunk_fits
from rlbuffers.errors import CorruptDataError

CODECS = [
    numcodecs.Blosc(),
    numcodecs.Zlib(),
    numcodecs.GZip(),
    numcodecs.Zstd(),
    numcodecs.LZ4(),
    numcodecs.BZ2(),
    numcodecs.LZMA(),
    numcodecs.LZMA(format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]),
]
# What numcodecs decodes to the end, one stream behind the other.
SEVERAL_STREAMS = [codec for codec in CODECS if codec.codec_id in ("gzip", "zstd", "bz2")] + [numcodecs.LZMA()]
CONTENT = bytes(range(256)) * 400


def names(codecs: list) -> list[str]:
    return [f"{codec.codec_id}-{number}" for number, codec in enumerate(codecs)]


def zstd_without_size(content: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(content) + stream.flush()


def test_every_codec_that_is_read_has_its_case():
    assert {codec.codec_id for codec in CODECS} == set(COMPRESSORS)


@pytest.mark.parametrize("codec", CODECS, ids=names(CODECS))
def test_a_chunk_may_become_just_what_the_array_has_room_for(codec):
    data = bytes(codec.encode(CONTENT))
    assert bytes(codec.decode(data)) == CONTENT
    require_chunk_fits(data, codec, len(CONTENT), "x")
    with pytest.raises(CorruptDataError, match=r"^x: the chunk becomes .* room for 102,399$"):
        require_chunk_fits(data, codec, len(CONTENT) - 1, "x")


@pytest.mark.parametrize("codec", SEVERAL_STREAMS, ids=names(SEVERAL_STREAMS))
def test_all_streams_of_a_chunk_count(codec):
    data = bytes(codec.encode(b"x")) + bytes(codec.encode(CONTENT))
    assert bytes(codec.decode(data)) == b"x" + CONTENT
    require_chunk_fits(data, codec, 1 + len(CONTENT), "x")
    with pytest.raises(CorruptDataError, match="room for 102,400"):
        require_chunk_fits(data, codec, len(CONTENT), "x")
    with pytest.raises(CorruptDataError, match="one stream, found more than 64"):
        require_chunk_fits(bytes(codec.encode(b"x")) * 65, codec, len(CONTENT), "x")


@pytest.mark.parametrize(
    "before",
    [b"", struct.pack("<II", 0x184D2A51, 3) + b"abc", zstandard.ZstdCompressor(write_checksum=True).compress(b"ab")],
    ids=["alone", "behind a frame that is skipped", "behind a frame with a checksum"],
)
def test_frames_of_zstd_that_state_no_size_are_counted(before):
    codec = numcodecs.Zstd()
    data = before + zstd_without_size(CONTENT)
    content = bytes(codec.decode(data))
    require_chunk_fits(data, codec, len(content), "x")
    with pytest.raises(CorruptDataError, match="has room for"):
        require_chunk_fits(data, codec, len(content) - 1, "x")


@pytest.mark.parametrize("codec", CODECS, ids=names(CODECS))
def test_damaged_chunks_are_refused_here_or_left_to_the_codec(codec):
    data = bytes(codec.encode(CONTENT))
    for damaged in (b"", data[:3], data[:10], data[: len(data) // 2], b"\xff" * 40, data[:9] + b"\xff" * 30):
        try:
            require_chunk_fits(damaged, codec, len(CONTENT), "x")
        except CorruptDataError as error:
            assert str(error).startswith("x: ")  # noqa: PT017  either is right
