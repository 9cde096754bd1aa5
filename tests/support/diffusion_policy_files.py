"""Replay buffers of Diffusion Policy, written by hand: Zarr version 2, JSON beside one zlib file for each chunk."""

from __future__ import annotations

import itertools
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_array(folder: Path, array: Any, chunk_rows: int = 4, **change: Any) -> None:
    """Write an array, chunked along its rows; the last chunk is padded, as Zarr has it."""
    array = np.asarray(array)
    chunks = [min(chunk_rows, max(len(array), 1)), *array.shape[1:]]
    folder.mkdir(parents=True)
    described = {
        "chunks": chunks,
        "compressor": {"id": "zlib", "level": 5},
        "dtype": array.dtype.str,
        "fill_value": 0,
        "filters": None,
        "order": "C",
        "shape": array.shape,
        "zarr_format": 2,
    }
    (folder / ".zarray").write_text(json.dumps({**described, **change}))
    for number in range(math.ceil(len(array) / chunks[0])):
        rows = np.zeros(chunks, array.dtype)
        part = array[number * chunks[0] : (number + 1) * chunks[0]]
        rows[: len(part)] = part
        (folder / ".".join([str(number)] + ["0"] * (array.ndim - 1))).write_bytes(zlib.compress(rows.tobytes(), 5))


def write_demonstrations(path: Path, arrays: Mapping[str, Any], lengths: Sequence[int]) -> Path:
    """Write a group with `data` and `meta/episode_ends`; to a ZIP file where the name says so."""
    folder = path.with_suffix(".folder") if path.suffix == ".zip" else path
    for group in (folder, folder / "data", folder / "meta"):
        group.mkdir(parents=True, exist_ok=True)
        (group / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    for name, array in arrays.items():
        write_array(folder / "data" / name, array)
    write_array(folder / "meta" / "episode_ends", np.array(list(itertools.accumulate(lengths)), np.int64))
    if folder != path:
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder))
    return path
