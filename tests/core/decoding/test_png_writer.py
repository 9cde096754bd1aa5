from __future__ import annotations

import numpy as np
import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlbuffers.decoding.gray_png import decode_gray_pngs
from rlbuffers.decoding.images import decode_images
from rlbuffers.decoding.png_writer import PNG_CHANNELS, encode_pngs

SHAPES = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.sampled_from(PNG_CHANNELS))


@given(hnp.arrays(np.uint8, SHAPES))
def test_pillow_reads_the_same_pixels(images):
    files = encode_pngs(images)
    np.testing.assert_array_equal(decode_images(files, images.shape[1:], "x", extra="images"), images)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.just(1))))
def test_our_decoder_of_gray_images_reads_them(images):
    files = encode_pngs(images)
    sizes = np.array([len(file) for file in files])
    found = decode_gray_pngs(b"".join(files), np.cumsum(sizes) - sizes, sizes, images.shape[1:3])
    np.testing.assert_array_equal(found, images[..., 0])


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (3, 2), (4, 6)])
def test_the_header_is_that_of_the_specification(channels, colour):
    (file,) = encode_pngs(np.zeros((1, 3, 5, channels), np.uint8))
    assert file.startswith(wire.PNG_SIGNATURE + wire.png_header(5, 3, colour=colour))
    assert file.endswith(wire.png_chunk(b"IEND", b""))
