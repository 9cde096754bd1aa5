"""Episodes on the page: how they came out, over the whole recording, and a few of them step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.report.columns import is_image
from rlbuffers.report.histograms import histogram
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    EPISODE_STARTS,
    EPISODE_WHOLE,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
)

__all__ = ["choose_episodes", "episode_figures", "episode_steps"]

Array = np.ndarray[Any, Any]
Json = dict[str, Any]
_MAX_POINTS = 1_500
_GROUPS = 500
_MAX_STEPS = 5_000
_MAX_LINES = 32
_DIGITS = 5


def episode_figures(buffer: Buffer) -> dict[str, Json]:
    """Return the histograms of returns and lengths of whole episodes, and returns in the order of the recording."""
    returns, lengths, whole = (buffer.arrays[name].all() for name in (EPISODE_RETURNS, EPISODE_LENGTHS, EPISODE_WHOLE))
    if not whole.any():
        return {}
    figures = {}
    for name, values in (("returns", returns[whole]), ("lengths", lengths[whole])):
        found = histogram(lambda values=values: [values])  # type: ignore[misc]
        if found is not None:
            figures[name] = found.to_json() | {"mean": _number(values.mean()), "median": _number(np.median(values))}
    if len(returns) > 1:
        figures["recording"] = _over_recording(returns[whole], np.flatnonzero(whole))
    return figures


def _over_recording(returns: Array, numbers: Array) -> Json:
    """Return each episode's return, or of many episodes mean, least and greatest of neighbours."""
    if len(returns) <= _MAX_POINTS:
        return {"x": numbers.tolist(), "y": [_number(value) for value in returns]}
    groups = np.array_split(np.arange(len(returns)), _GROUPS)
    return {
        "x": [int(numbers[group].mean()) for group in groups],
        "y": [_number(returns[group].mean()) for group in groups],
        "low": [_number(returns[group].min()) for group in groups],
        "high": [_number(returns[group].max()) for group in groups],
        "grouped": round(len(returns) / _GROUPS),
    }


def choose_episodes(buffer: Buffer) -> dict[int, str]:
    """Return the episodes worth a look and why; only whole ones, if there are any."""
    returns, lengths, whole = (buffer.arrays[name].all() for name in (EPISODE_RETURNS, EPISODE_LENGTHS, EPISODE_WHOLE))
    numbers = np.flatnonzero(whole & np.isfinite(returns))
    if not len(numbers):
        numbers = np.arange(len(returns))
    order = numbers[np.argsort(returns[numbers], kind="stable")]
    wanted = {
        "best return": order[-1],
        "median return": order[(len(order) - 1) // 2],
        "worst return": order[0],
        "first": numbers[0],
        "longest": numbers[np.argmax(lengths[numbers])],
        "last": numbers[-1],
    }
    reasons: dict[int, list[str]] = {}
    for reason, number in wanted.items():
        reasons.setdefault(int(number), []).append(reason)
    return {number: ", ".join(words) for number, words in reasons.items()}


def episode_steps(buffer: Buffer, number: int) -> Json:
    """Return an episode step by step: rewards, actions, how it ended, and the vectors that were observed."""
    start = int(buffer.arrays[EPISODE_STARTS].all()[number])
    length = int(buffer.arrays[EPISODE_LENGTHS].all()[number])
    shown = min(length, _MAX_STEPS)
    rows = np.arange(start, start + shown)
    taken = {name: buffer.arrays[name].take(rows) for name in (ACTIONS, REWARDS)}
    actions = taken[ACTIONS].reshape(shown, -1)
    return {
        "number": number,
        "length": length,
        "steps": shown,
        "return": _number(buffer.arrays[EPISODE_RETURNS].all()[number]),
        "whole": bool(buffer.arrays[EPISODE_WHOLE].all()[number]),
        "rewards": [_number(value) for value in taken[REWARDS]],
        "actions": [_numbers(column) for column in actions.T[:_MAX_LINES]],
        "numActions": actions.shape[1],
        "terminals": _marks(buffer, TERMINALS, rows),
        "timeouts": _marks(buffer, TIMEOUTS, rows),
        "lines": _lines(buffer, rows),
    }


def _marks(buffer: Buffer, name: str, rows: Array) -> list[int]:
    """Return the steps at which a flag is set."""
    if name not in buffer.spec.columns:
        return []
    return list(np.flatnonzero(buffer.arrays[name].take(rows)).tolist())


def _lines(buffer: Buffer, rows: Array) -> list[Json]:
    """Return the elements of vector observations as lines, up to a number that can be told apart."""
    found: list[Json] = []
    for name in buffer.spec.observation_names:
        column = buffer.spec.columns[name]
        if is_image(column):
            continue
        room = _MAX_LINES - len(found)
        if room < 1 or math.prod(column.shape) > 4096:
            continue
        values = buffer.arrays[name].take(rows).reshape(len(rows), -1)
        label = name.removeprefix("observations").removeprefix("/")
        for at in range(min(values.shape[1], room)):
            element = f"[{at}]" if column.shape else ""
            found.append({"name": f"{label}{element}" or "observation", "values": _numbers(values[:, at])})
    return found


def _numbers(values: Array) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Any) -> float | int | None:
    """Return a number with the digits that a picture can show, or None if it is not finite."""
    given = float(value)
    if not math.isfinite(given):
        return None
    rounded = float(f"{given:.{_DIGITS}g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded
