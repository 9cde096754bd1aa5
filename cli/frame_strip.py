"""Frames in the terminal: two pixels a character, as the two halves of a block in their own colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

__all__ = ["Thumbnail", "as_pictures", "draw", "is_picture", "lines_of_strip", "scaled"]

Array = np.ndarray[Any, Any]

_UPPER_HALF = "▀"
_SHADES = " .:-=+*#%@"  # dark to light, for terminals and files without colors
_GAP = 2
_THUMBNAIL_WIDTH = 25  # below this a game cannot be made out
_MAX_ENLARGEMENT = 4
_MIN_SIDE = 2


@dataclass(frozen=True)
class Thumbnail:
    """Pictures that belong to one row, and what stands under them.

    Parameters
    ----------
    pictures : sequence of uint8 arrays, shape (height, width) or (height, width, 3)
        From left to right.
    captions : sequence of Text
        Lines below them.
    """

    pictures: Sequence[Array]
    captions: Sequence[Text]


def is_picture(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Whether a row of this type can be drawn: bytes in two dimensions, or in three of frames or colors."""
    return dtype == np.uint8 and len(shape) in (2, 3) and sorted(shape)[-2] >= _MIN_SIDE


def as_pictures(row: Array, *, is_stack: bool = False) -> list[Array]:
    """Cut a row into pictures: a stack of grey frames into each, colors in front or behind into one.

    Three planes in front are taken for colors unless `is_stack` says otherwise.
    """
    if row.ndim == 2:
        return [row]
    if is_stack:
        return list(row)
    if row.shape[-1] in (1, 3):
        return [row if row.shape[-1] == 3 else row[..., 0]]
    if row.shape[0] == 3:
        return [np.moveaxis(row, 0, -1)]
    return list(row)


def scaled(picture: Array, height: int, width: int) -> Array:
    """Resize by averaging the area under each new pixel; uint8."""
    values = picture.astype(np.float64)
    rows, columns = _weights(picture.shape[0], height), _weights(picture.shape[1], width)
    resized = np.einsum("hH,HW...,wW->hw...", rows, values, columns, optimize=True)
    rounded: Array = np.rint(resized).astype(np.uint8)
    return rounded


def _weights(old: int, new: int) -> Array:
    """Return how much each old pixel counts for each new one, shape (new, old); rows sum to 1."""
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cover = np.minimum(high, np.arange(1, old + 1)) - np.maximum(low, np.arange(old))
    covered = np.clip(cover, 0, None)
    weights: Array = covered / covered.sum(axis=1, keepdims=True)
    return weights


def draw(picture: Array, width: int, *, colors: bool) -> list[Text]:
    """Draw a picture `width` characters wide, one Text a line.

    Without colors a line is made of characters from dark to light.
    """
    height = max(2, round(picture.shape[0] * width / picture.shape[1] / 2) * 2)
    pixels = scaled(picture, height, width)
    pairs = zip(pixels[0::2], pixels[1::2], strict=True)
    return [_colored(upper, lower) if colors else _shaded(upper, lower) for upper, lower in pairs]


def _colored(upper: Array, lower: Array) -> Text:
    line = Text()
    for above, below in zip(upper, lower, strict=True):
        line.append(_UPPER_HALF, Style(color=_color(above), bgcolor=_color(below)))
    return line


def _color(pixel: Array) -> Color:
    red, green, blue = (int(pixel),) * 3 if pixel.ndim == 0 else map(int, pixel)
    return Color.from_rgb(red, green, blue)


def _shaded(upper: Array, lower: Array) -> Text:
    levels = np.stack([upper, lower]).astype(np.float64).reshape(2, len(upper), -1).mean(axis=(0, 2))
    return Text("".join(_SHADES[int(level) * len(_SHADES) // 256] for level in levels))


def lines_of_strip(thumbnails: Sequence[Thumbnail], width: int, *, colors: bool) -> list[Text]:
    """Lay thumbnails out in lines of at most `width` characters, each with its captions below."""
    pictures_each = max(len(thumbnail.pictures) for thumbnail in thumbnails)
    pictures_a_line = max((width + _GAP) // (_THUMBNAIL_WIDTH + _GAP), 1)
    thumbnails_a_line = max(pictures_a_line // pictures_each, 1)
    across = thumbnails_a_line * pictures_each
    enlarged = thumbnails[0].pictures[0].shape[1] * _MAX_ENLARGEMENT
    picture_width = max(min((width + _GAP) // across - _GAP, enlarged), 1)
    lines: list[Text] = []
    for start in range(0, len(thumbnails), thumbnails_a_line):
        group = thumbnails[start : start + thumbnails_a_line]
        lines += _side_by_side([_block(thumbnail, picture_width, colors=colors) for thumbnail in group])
        if lines[-1].plain.strip():
            lines.append(Text())
    return lines


def _block(thumbnail: Thumbnail, picture_width: int, *, colors: bool) -> list[Text]:
    """Return the lines of one thumbnail, all of the same width."""
    drawn = [draw(picture, picture_width, colors=colors) for picture in thumbnail.pictures]
    lines = _side_by_side(drawn)
    width = len(lines[0])
    for caption in thumbnail.captions:
        line = caption.copy()
        line.truncate(width, overflow="ellipsis", pad=True)
        lines.append(line)
    return lines


def _side_by_side(blocks: Sequence[Sequence[Text]]) -> list[Text]:
    height = max(len(block) for block in blocks)
    lines = []
    for index in range(height):
        cells = [block[index] if index < len(block) else Text(" " * len(block[0])) for block in blocks]
        lines.append(Text(" " * _GAP).join(cells))
    return lines
