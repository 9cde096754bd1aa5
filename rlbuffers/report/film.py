"""Frames on the page: an episode as strips of PNG, the average of many frames, and single transitions side by side.

Frames of an episode stand one below the other in strips, so that the compression finds what does not change from one
to the next: a strip of Atari frames takes a third to a tenth of the same frames one by one.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from rlbuffers.decoding.png_writer import encode_pngs
from rlbuffers.reader import Buffer
from rlbuffers.report.columns import is_image
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_FINAL_KNOWN,
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    FRAMES,
    NEXT_OBSERVATIONS,
    OBSERVATIONS,
    REWARDS,
    STACK_INDEX,
    TERMINALS,
    ColumnSpec,
    final_name,
    next_name,
)

__all__ = ["average_frames", "episode_film", "image_column", "reduction", "transition_sheet"]

Array = np.ndarray[Any, Any]
Json = dict[str, Any]
_STRIP_FRAMES = 32
_MAX_SIDE = 256
_SAMPLED_FRAMES = 1_000
_SHEET_ROWS = 12
_SEARCHED_ROWS = 1 << 20


def image_column(buffer: Buffer) -> str | None:
    """Return the first observation column that holds images, or None."""
    names = [name for name in buffer.spec.observation_names if is_image(buffer.spec.columns[name])]
    return OBSERVATIONS if buffer.spec.stack else (names[0] if names else None)


def episode_film(buffer: Buffer, name: str, number: int, max_bytes: int) -> Json:
    """Return an episode's frames, from its beginning until `max_bytes` of text are used up.

    Frame t is what was observed before step t; the last one is what was observed after the last step, if that is known.
    """
    total = int(buffer.arrays[EPISODE_LENGTHS].all()[number])
    total += bool(buffer.arrays[EPISODE_FINAL_KNOWN].all()[number])
    strips: list[str] = []
    used, done, height, width = 0, 0, 0, 0
    while done < total:
        images = _shrunk(_frames(buffer, name, number, done, min(total, done + _STRIP_FRAMES)))
        count, height, width = images.shape[:3]
        strip = _png_text(images.reshape(count * height, width, -1))
        if strips and used + len(strip) > max_bytes:
            break
        strips.append(strip)
        used += len(strip)
        done += count
    return {
        "width": width,
        "height": height,
        "perStrip": _STRIP_FRAMES,
        "count": done,
        "total": total,
        "strips": strips,
    }


def _frames(buffer: Buffer, name: str, number: int, first: int, last: int) -> Array:
    """Return frames `first` to `last`, exclusive, of an episode, shape (B, height, width, channels)."""
    start = int(buffer.arrays[EPISODE_STARTS].all()[number])
    length = int(buffer.arrays[EPISODE_LENGTHS].all()[number])
    if buffer.spec.stack:
        newest = int(buffer.arrays[STACK_INDEX].take(np.array([start]))[0, buffer.spec.stack - 1])
        return buffer.arrays[FRAMES].slice(newest + first, newest + last)[..., np.newaxis]
    rows = buffer.arrays[name].slice(start + first, start + min(last, length))
    if last > length:
        rows = np.concatenate([rows, buffer.arrays[final_name(name)].take(np.array([number]))])
    return _as_images(rows)


def average_frames(buffer: Buffer, name: str) -> Json:
    """Return the mean and the standard deviation of each pixel over frames taken evenly from the whole buffer."""
    if buffer.spec.stack:
        count = len(buffer.arrays[FRAMES])
        rows = _evenly(count, _SAMPLED_FRAMES)
        taken = (buffer.arrays[FRAMES].take(part)[..., np.newaxis] for part in np.array_split(rows, _parts(len(rows))))
    else:
        count = len(buffer)
        rows = _evenly(count, _SAMPLED_FRAMES)
        taken = (_as_images(buffer.arrays[name].take(part)) for part in np.array_split(rows, _parts(len(rows))))
    total: Any = 0.0
    squares: Any = 0.0
    for images in taken:
        gray = images.astype(np.float64)
        total, squares = total + gray.sum(axis=0), squares + (gray**2).sum(axis=0)
    mean = total / len(rows)
    spread = np.sqrt(np.maximum(squares / len(rows) - mean**2, 0.0))
    brightest = max(float(spread.max()), 1e-9)
    pictures = {"mean": mean, "std": spread * (255.0 / brightest)}
    encoded = {
        key: _png_text(_shrunk(np.clip(np.rint(picture), 0, 255).astype(np.uint8)[np.newaxis])[0])
        for key, picture in pictures.items()
    }
    return {**encoded, "brightest": round(brightest, 1), "frames": len(rows), "of": count}


def _parts(count: int) -> int:
    return max(1, count // 64)


def transition_sheet(buffer: Buffer, name: str) -> list[Json]:
    """Return a few independent transitions: every frame of observation and next observation in a row."""
    numbers = _worth_a_look(buffer)
    rows = buffer.rows(numbers, list(dict.fromkeys(_sheet_columns(buffer, name))))
    sheet = []
    for at, number in enumerate(numbers.tolist()):
        if buffer.spec.stack:
            stacks = (rows[OBSERVATIONS][at], rows[NEXT_OBSERVATIONS][at][-1:])
            images = np.concatenate(stacks)[..., np.newaxis]
        else:
            images = _as_images(np.stack([rows[name][at], rows[next_name(name)][at]]))
        images = _shrunk(images)
        sheet.append(
            {
                "row": number,
                "image": _png_text(np.concatenate(list(images), axis=1)),
                "frames": len(images),
                "action": rows[ACTIONS][at].tolist(),
                "reward": float(rows[REWARDS][at]),
                "terminal": bool(rows[TERMINALS][at]) if TERMINALS in rows else False,
            }
        )
    return sheet


def _sheet_columns(buffer: Buffer, name: str) -> list[str]:
    flags = [TERMINALS] if TERMINALS in buffer.spec.columns else []
    return [name, next_name(name), ACTIONS, REWARDS, *flags]


def _worth_a_look(buffer: Buffer) -> Array:
    """Return rows from all over the buffer, up to half of them with a reward."""
    rewarded = np.flatnonzero(buffer.arrays[REWARDS].slice(0, min(len(buffer), _SEARCHED_ROWS)))
    chosen = np.unique(rewarded[_evenly(len(rewarded), _SHEET_ROWS // 2)])
    rest: Array = np.setdiff1d(_evenly(len(buffer), _SHEET_ROWS), chosen)[: _SHEET_ROWS - len(chosen)]
    return np.union1d(chosen, rest)


def _evenly(count: int, wanted: int) -> Array:
    """Return up to `wanted` different numbers below `count`, evenly spaced."""
    numbers: Array = np.unique(np.linspace(0, max(count - 1, 0), min(count, wanted)).astype(np.int64))
    return numbers


def _as_images(rows: Array) -> Array:
    """Return rows as (B, height, width, channels) with 1 or 3 channels; of a stack of channels the last one."""
    if rows.ndim == 3:
        return rows[..., np.newaxis]
    if rows.shape[-1] in (1, 3):
        return rows
    if rows.shape[1] in (1, 3):
        return np.moveaxis(rows, 1, -1)
    if rows.shape[1] < rows.shape[-1]:
        return rows[:, -1][..., np.newaxis]
    return rows[..., -1:]


def _shrunk(images: Array) -> Array:
    """Return images no side of which is longer than what a page needs, averaged in blocks."""
    count, height, width, channels = images.shape
    factor = _factor(height, width)
    if factor == 1:
        return images
    cut = images[:, : height // factor * factor, : width // factor * factor]
    blocks = cut.reshape(count, height // factor, factor, width // factor, factor, channels)
    averaged: Array = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return averaged


def reduction(column: ColumnSpec) -> int:
    """Return how many pixels each way are averaged into one of the page's."""
    return _factor(*sorted(column.shape)[-2:])


def _factor(height: int, width: int) -> int:
    return -(-max(height, width) // _MAX_SIDE)


def _png_text(image: Array) -> str:
    (encoded,) = encode_pngs(np.ascontiguousarray(image[np.newaxis]))
    return base64.b64encode(encoded).decode()
