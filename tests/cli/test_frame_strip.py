"""Frames as characters: every color on the screen is that of the pixels below it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from rlbuffers_cli.frame_strip import Thumbnail, as_pictures, draw, is_picture, lines_of_strip, scaled


def colors_on_screen(lines):
    """Return the colors of the pixels that half blocks show, (2 * lines, width, 3)."""
    rows = []
    for line in lines:
        assert set(line.plain) == {"▀"}
        styles = [span.style for span in line.spans]
        rows += [[style.color.triplet for style in styles], [style.bgcolor.triplet for style in styles]]
    return np.array(rows)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_a_picture_of_the_right_size_is_drawn_pixel_for_pixel(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = colors_on_screen(draw(picture, 8, colors=True))
    np.testing.assert_array_equal(found, picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))


@given(factor=st.integers(1, 4), height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_shrinking_by_a_whole_number_averages_blocks(factor, height, width, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height * factor, width * factor), np.uint8)
    found = scaled(picture, height, width)
    for y in range(height):
        for x in range(width):
            block = picture[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            assert abs(found[y, x] - block.mean()) <= 0.5 + 1e-9


@given(sides=st.tuples(*[st.integers(1, 30)] * 4), value=st.integers(0, 255))
def test_an_even_picture_stays_even_at_any_size(sides, value):
    old_height, old_width, height, width = sides
    found = scaled(np.full((old_height, old_width), value, np.uint8), height, width)
    assert found.shape == (height, width)
    assert (found == value).all()


def test_without_colors_lighter_is_denser():
    picture = np.repeat(np.array([0, 100, 255], np.uint8)[None], 2, axis=0)
    (line,) = draw(picture, 3, colors=False)
    assert line.plain[0] == " "
    assert line.plain[2] == "@"
    assert len(line.plain) == 3


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((84, 84), 1), ((4, 84, 84), 4), ((64, 64, 3), 1), ((3, 64, 64), 1), ((1, 9, 9), 1), ((9, 9, 1), 1), ((7,), 0)],
)
def test_what_can_be_drawn(shape, drawn):
    assert is_picture(np.dtype(np.uint8), shape) == bool(drawn)
    assert not is_picture(np.dtype(np.float32), shape)
    if drawn:
        pictures = as_pictures(np.zeros(shape, np.uint8))
        assert len(pictures) == drawn
        assert all(picture.ndim == 2 or picture.shape[2] == 3 for picture in pictures)


@given(count=st.integers(1, 7), depth=st.integers(1, 4), width=st.integers(20, 150))
def test_a_strip_stays_within_the_width_and_shows_every_caption(count, depth, width):
    pictures = [np.full((20, 30), 9, np.uint8)] * depth
    thumbnails = [Thumbnail(pictures, [Text(f"r{number}"), Text("x" * 99)]) for number in range(count)]
    lines = [line.plain for line in lines_of_strip(thumbnails, width, colors=False)]
    assert all(len(line) <= width for line in lines)
    words = " ".join(lines).split()
    assert [word for word in words if word.startswith("r")] == [f"r{number}" for number in range(count)]
