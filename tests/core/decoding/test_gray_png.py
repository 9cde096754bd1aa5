from __future__ import annotations

import contextlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import PNG_SIGNATURE, filtered, png, png_chunk, png_header

from rlbuffers.decoding.gray_png import PngError, decode_gray_pngs, equal_pngs
from rlbuffers.errors import CorruptDataError, FormatError

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
DATA = zlib.compress(filtered(IMAGE, [0, 1, 2, 3, 4, 4]))
END = png_chunk(b"IEND", b"")


def decode(pngs, size):
    """Decode files that lie behind other bytes and with gaps between them."""
    data, offsets = b"prefix", []
    for number, file in enumerate(pngs):
        data += bytes(number % 3)
        offsets.append(len(data))
        data += file
    return decode_gray_pngs(data, np.array(offsets, np.int64), np.array([len(file) for file in pngs]), size)


def images(sizes):
    return st.tuples(sizes, st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 256])).map(
        lambda drawn: np.random.default_rng(drawn[1]).integers(0, drawn[2], drawn[0], dtype=np.uint8)
    )


SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(image=images(SIZES), pieces=st.integers(1, 4), level=st.integers(0, 9), data=st.data())
def test_every_filter_is_undone(image, pieces, level, data):
    filters = data.draw(st.lists(st.integers(0, 4), min_size=len(image), max_size=len(image)))
    file = png(image, filters, pieces=pieces, level=level)
    np.testing.assert_array_equal(decode([file], image.shape), [image])


@pytest.mark.parametrize("kind", range(5))
def test_a_whole_frame_of_one_filter(kind):
    """All byte values meet all neighbours: the predictions wrap around and tie."""
    ramp = np.add.outer(np.arange(84) * 3, np.arange(84) * 5).astype(np.uint8)
    noise = np.random.default_rng(kind).integers(0, 256, (84, 84), dtype=np.uint8)
    pictures = np.stack([ramp, noise, ramp & 1, np.where(noise > 99, ramp, 0).astype(np.uint8)])
    np.testing.assert_array_equal(decode([png(picture, [kind] * 84) for picture in pictures], (84, 84)), pictures)


@pytest.mark.parametrize("library", ["PIL", "imagecodecs", "cv2"])
def test_files_of_image_libraries(library):
    module = pytest.importorskip(library)
    rng = np.random.default_rng(1)
    pictures = [np.sort(rng.integers(0, 256, (84, 84), dtype=np.uint8), axis=axis) for axis in (0, 1)] * 20
    np.testing.assert_array_equal(decode([encoded(module, picture) for picture in pictures], (84, 84)), pictures)


def encoded(module, picture):
    if module.__name__ == "PIL":
        import io

        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG", optimize=True)
        return file.getvalue()
    if module.__name__ == "cv2":
        return module.imencode(".png", picture)[1].tobytes()
    return module.png_encode(picture)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 70])
def test_many_images_whole_and_split(count):
    """More images than are undone at a time; every third has several pieces."""
    rng = np.random.default_rng(count)
    pictures = rng.integers(0, 256, (count, 5, 4), dtype=np.uint8)
    files = [png(picture, rng.integers(0, 5, 5), pieces=1 + 2 * (n % 3 == 0)) for n, picture in enumerate(pictures)]
    np.testing.assert_array_equal(decode(files, (5, 4)), pictures)


def test_other_chunks_are_skipped():
    comment = png_chunk(b"tEXt", b"Comment\x00IDAT IEND") + png_chunk(b"gAMA", struct.pack(">I", 45455))
    np.testing.assert_array_equal(decode([png(IMAGE, before=comment)], IMAGE.shape), [IMAGE])


def assemble(*chunks):
    return PNG_SIGNATURE + b"".join(chunks)


def header(**options):
    return png_header(9, 6, **options)


IDAT = png_chunk(b"IDAT", DATA)
HALVES = [png_chunk(b"IDAT", DATA[:20]), png_chunk(b"IDAT", DATA[20:])]


def idat(content):
    return png_chunk(b"IDAT", content)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "not a PNG file"),
        (b"GIF89a" + bytes(80), "not a PNG file"),
        (assemble(header(), IDAT, END)[1:], "not a PNG file"),
        (assemble(png_header(6, 9), IDAT, END), "not an 8-bit gray PNG of 6×9 pixels"),
        (assemble(header(depth=16), IDAT, END), "not an 8-bit gray PNG"),
        (assemble(header(depth=1), IDAT, END), "not an 8-bit gray PNG"),
        (assemble(header(colour=2), IDAT, END), "not an 8-bit gray PNG"),
        (assemble(header(colour=3), IDAT, END), "not an 8-bit gray PNG"),
        (assemble(header(interlace=1), IDAT, END), "not an 8-bit gray PNG"),
        (assemble(IDAT, header(), END), "not an 8-bit gray PNG"),
    ],
)
def test_what_is_no_such_png_is_refused(file, message):
    with pytest.raises(PngError, match=message) as error:
        decode([png(IMAGE), file], IMAGE.shape)
    assert error.value.index == 1
    assert error.value.kind is FormatError


@pytest.mark.parametrize(
    "file",
    [
        assemble(header(), END, IDAT),
        assemble(header(), IDAT),
        assemble(header(), png_chunk(b"tEXt", bytes(40)), END),
        assemble(header(), IDAT, END) + b"more",
        assemble(header(), IDAT, END)[:-1],
        assemble(header(), IDAT, png_chunk(b"IEND", b"x"))[:-1],
        assemble(header(), idat(DATA[:-1]), END),
        assemble(header(), idat(DATA[:-4]), END),
        assemble(header(), idat(b"\x00" + DATA[1:]), END),
        assemble(header(), idat(DATA[:-1] + bytes([DATA[-1] ^ 1])), END),
        assemble(header(), idat(zlib.compress(bytes(59))), END),
        assemble(header(), idat(zlib.compress(bytes(61))), END),
        assemble(header(), idat(zlib.compress(b"")), END),
        assemble(header(), idat(b""), png_chunk(b"tEXt", bytes(40)), END),
        assemble(header(), idat(zlib.compress(b"\x05" + bytes(59))), END),
        assemble(header(), IDAT[:-1] + bytes([IDAT[-1] ^ 1]), END),
        assemble(header(), HALVES[0], HALVES[1][:-1] + bytes([HALVES[1][-1] ^ 1]), END),
        assemble(header(), HALVES[1], HALVES[0], END),
        assemble(header(), HALVES[0], HALVES[0], END),
        assemble(header(), *(idat(part) for part in (b"", zlib.compress(bytes(61)))), END),
        assemble(header(), *(idat(part) for part in (b"", zlib.compress(bytes(59)))), END),
        assemble(header(), struct.pack(">I", 2**31) + IDAT[4:], END),
        assemble(header(), struct.pack(">I", 2**32 - 1) + IDAT[4:], END),
    ],
)
def test_damage_is_an_error(file):
    with pytest.raises(PngError) as error:
        decode([png(IMAGE)] * 40 + [file], IMAGE.shape)
    assert error.value.index == 40
    assert error.value.kind is CorruptDataError


@pytest.mark.parametrize("tail", [[idat(DATA + b"more")], [IDAT, IDAT]])
def test_bytes_behind_the_compressed_pixels_are_ignored_as_libpng_does(tail):
    np.testing.assert_array_equal(decode([assemble(header(), *tail, END)], IMAGE.shape), [IMAGE])


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_file_cut_short_anywhere_is_an_error(pieces):
    file = png(IMAGE, [4] * 6, pieces=pieces)
    for length in range(len(file)):
        with pytest.raises(PngError):
            decode([file[:length]], IMAGE.shape)


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_flipped_bit_is_noticed_or_harmless(pieces):
    file = png(IMAGE, [0, 1, 2, 3, 4, 4], pieces=pieces)
    harmless = set()
    for place in range(len(file)):
        for bit in range(8):
            damaged = bytearray(file)
            damaged[place] ^= 1 << bit
            try:
                found = decode([bytes(damaged)], IMAGE.shape)
            except PngError:
                continue
            np.testing.assert_array_equal(found, [IMAGE])
            harmless.add(place)
    checksums_of_header_and_end = {29, 30, 31, 32, *range(len(file) - 4, len(file))}
    assert harmless == checksums_of_header_and_end


@given(data=st.data())
def test_damage_of_any_kind_never_gives_a_wrong_image(data):
    file = bytearray(png(IMAGE, [0, 1, 2, 3, 4, 4], pieces=data.draw(st.integers(1, 3))))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PngError):
        np.testing.assert_array_equal(decode([bytes(file)], IMAGE.shape), [IMAGE])


def test_equal_files_are_told_from_others():
    data = np.frombuffer(b"abcabdabc", np.uint8)
    first, second, lengths = np.array([0, 0, 3, 0]), np.array([6, 3, 6, 3]), np.array([3, 3, 2, 2])
    assert equal_pngs(data, first, second, lengths).tolist() == [True, False, True, True]
    assert equal_pngs(data, first[:0], second[:0], lengths[:0]).tolist() == []
