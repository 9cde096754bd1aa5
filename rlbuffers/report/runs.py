"""Training runs on the page: what their folders say, without torch and without TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.local_inputs import read_document
from rlbuffers.report.events import EVENT_FILES, read_scalars

__all__ = ["describe_run"]

Json = dict[str, Any]
_MAX_POINTS = 500
_CONFIG, _SUMMARY = "config.json", "summary.json"


def describe_run(folder: Path, fingerprint: str) -> Json:
    """Return the curves of a run and what it was trained on.

    Parameters
    ----------
    folder : Path
        As `rlbuffers train` leaves it, or any folder with TensorBoard's event files.
    fingerprint : str
        Of the buffer that the page is about.

    Raises
    ------
    BufferNotFoundError
        If there is no such folder.
    FormatError
        If it holds no event files, or its ``config.json`` is no JSON object.
    """
    if not folder.is_dir():
        raise BufferNotFoundError(f"{folder}: there is no such folder; --run names the folder of a training run")
    if not any(folder.glob(EVENT_FILES)):
        raise FormatError(f"{folder}: expected a training run, found no {EVENT_FILES}; name the folder that holds them")
    config, summary = _read_json(folder / _CONFIG), _read_json(folder / _SUMMARY)
    scalars, complaints = read_scalars(folder)
    return {
        "label": _label(config.get("algorithm"), folder.resolve().name),
        "data": _data(config.get("buffer_fingerprint"), fingerprint),
        "best": summary.get("best"),
        "curves": {tag: _thinned(curve) for tag, curve in scalars.items()},
        "complaints": complaints,
    }


def _label(algorithm: Any, name: str) -> str:
    """Return what the run is called: algorithm and folder, unless both are the same word."""
    return name if algorithm in (None, "", name) else f"{algorithm}, {name}"


def _data(trained_on: Any, fingerprint: str) -> str:
    if not trained_on:
        return "does not say on which data it was trained"
    return "trained on this buffer" if trained_on == fingerprint else f"trained on OTHER data ({str(trained_on)[:12]})"


def _read_json(path: Path) -> Json:
    if not path.exists():
        return {}
    try:
        found = json.loads(read_document(path))
    except ValueError as error:
        raise FormatError(f"{path}: expected JSON ({error}); the run's folder is damaged") from error
    if not isinstance(found, dict):
        raise FormatError(f"{path}: expected a JSON object, got {type(found).__name__}; the run's folder is damaged")
    return found


def _thinned(curve: Sequence[tuple[int, float]]) -> Json:
    """Return steps and values; of long curves every nth point, the last one included."""
    every = math.ceil(len(curve) / _MAX_POINTS)
    kept = list(curve[::-1][::every])[::-1]
    values = [round(value, 6) if math.isfinite(value) else None for _, value in kept]
    return {"x": [step for step, _ in kept], "y": values, "every": every}
