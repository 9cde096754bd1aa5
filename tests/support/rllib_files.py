"""RLlib's offline files, as its writers lay them out: JSON lines of batches or steps, and Parquet."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

Columns = Mapping[str, Any]


def packed(value: Any) -> str:
    """Pack a value as ``rllib/utils/compression.py`` does: pickled, an LZ4 frame, Base64."""
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "lz4") as stream:
        stream.write(pickle.dumps(value, 5))
    return base64.b64encode(sink.getvalue().to_pybytes()).decode("ascii")


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def batch(columns: Columns, pack: Sequence[str] = ()) -> dict[str, Any]:
    """Return a SampleBatch."""
    values = {name: packed(value) if name in pack else plain(value) for name, value in columns.items()}
    return {"type": "SampleBatch", **values}


def agents_batch(policies: Mapping[str, Columns]) -> dict[str, Any]:
    """Return a MultiAgentBatch."""
    batches = {
        name: {key: value for key, value in batch(columns).items() if key != "type"}
        for name, columns in policies.items()
    }
    return {"type": "MultiAgentBatch", "count": 1, "policy_batches": batches}


def steps(columns: Columns) -> list[dict[str, Any]]:
    """Return an object for each step."""
    lists = {name: plain(value) for name, value in columns.items()}
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def write_lines(path: Path, objects: Sequence[Mapping[str, Any]]) -> Path:
    """Write objects as lines of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(found)}\n" for found in objects))
    return path


def write_parquet(path: Path, columns: Columns, *, tensors: bool = False) -> Path:
    """Write a step a row; with `tensors` arrays are flat lists whose shape is noted as Ray Data does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays, fields = [], []
    for name, value in columns.items():
        noted = None
        if tensors and isinstance(value, np.ndarray) and value.ndim > 1:
            noted = {
                "ARROW:extension:name": "ray.data.arrow_tensor_v2",
                "ARROW:extension:metadata": json.dumps(list(value.shape[1:])),
            }
            value = value.reshape(len(value), -1)
        items = list(value) if isinstance(value, np.ndarray) and value.ndim == 2 else plain(value)
        arrays.append(pyarrow.array(items))
        fields.append(pyarrow.field(name, arrays[-1].type, metadata=noted))
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), path)
    return path
