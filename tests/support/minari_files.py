"""Minari datasets made by hand with h5py and pyarrow, as Minari lays them out, and with its oddities."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Array = np.ndarray[Any, Any]
PADDED = ("actions", "rewards", "terminations", "truncations")
VECTOR = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1.0, float("-inf")], "high": [1.0, float("inf")]}
CHOICE = {"type": "Discrete", "dtype": "int64", "start": 0, "n": 3}


def box(dtype: str, shape: Sequence[int], low: float = 0, high: float = 255) -> dict[str, Any]:
    """Describe a Box with the same bounds everywhere."""
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": dtype, "shape": list(shape), **bounds}


def episode(steps: int, number: int = 0, end: str = "terminal", **arrays: Any) -> dict[str, Any]:
    """Return the arrays of an episode under Minari's names; observation t of episode e is (e, t)."""
    last = np.arange(steps) == steps - 1
    plain = {
        "observations": np.stack([np.full(steps + 1, number), np.arange(steps + 1)], axis=1).astype(np.float32),
        "actions": np.arange(steps) % 3,
        "rewards": np.arange(steps) + number / 8,
        "terminations": last & (end in ("terminal", "both")),
        "truncations": last & (end in ("timeout", "both")),
    }
    if any(name.startswith("observations/") for name in arrays):
        del plain["observations"]
    return {name: rows for name, rows in (plain | arrays).items() if rows is not None}


def facts(**other: Any) -> dict[str, Any]:
    """Return what metadata.json says; spaces are given as objects and become the texts that Minari writes."""
    plain = {"observation_space": VECTOR, "action_space": CHOICE, "dataset_id": "x/y-v0", "minari_version": "0.5.3"}
    said = {name: value for name, value in (plain | other).items() if value is not None}
    return {
        name: json.dumps(value) if name in ("observation_space", "action_space", "env_spec", "eval_env_spec") else value
        for name, value in said.items()
    }


def write_hdf5(
    folder: Path,
    episodes: Sequence[Mapping[str, Any]],
    said: Mapping[str, Any] | None = None,
    attributes: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write a dataset in HDF5; `said` goes into metadata.json. Returns its folder."""
    data = folder / "data"
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for number, arrays in enumerate(episodes):
            group = file.create_group(f"episode_{number}", track_order=True)
            for name, rows in arrays.items():
                if isinstance(rows, list):
                    write_images(group, name, rows)
                else:
                    group[name] = rows
            group.attrs["id"] = number
            group.attrs["total_steps"] = len(arrays["rewards"]) if "rewards" in arrays else 0
            if number < len(attributes):
                group.attrs.update(attributes[number])
    write_facts(folder, len(episodes), "hdf5", said)
    return folder


def write_images(group: h5py.Group, name: str, files: Sequence[bytes]) -> None:
    """Write image files as Minari does: a matrix if all are of one length."""
    rows = [np.frombuffer(file, np.uint8) for file in files]
    if len({len(row) for row in rows}) == 1:
        group[name] = np.stack(rows)
        return
    dataset = group.create_dataset(name, (len(rows),), h5py.vlen_dtype(np.uint8))
    for number, row in enumerate(rows):
        dataset[number] = row


def write_facts(folder: Path, episodes: int, data_format: str, said: Mapping[str, Any] | None) -> None:
    """Write metadata.json."""
    document = {"total_episodes": episodes, "data_format": data_format, **(facts() if said is None else said)}
    (folder / "data" / "metadata.json").write_text(json.dumps(document))


def write_arrow(
    folder: Path,
    episodes: Sequence[Mapping[str, Any]],
    said: Mapping[str, Any] | None = None,
    attributes: Sequence[Mapping[str, Any]] = (),
    suffix: str = "arrow",
) -> Path:
    """Write a dataset in Arrow or Parquet: actions and what follows from them are padded."""
    import pyarrow as pa
    import pyarrow.dataset

    for number, arrays in enumerate(episodes):
        inner = folder / "data" / str(number)
        inner.mkdir(parents=True)
        fields = _fields(_nested(arrays), "", len(arrays["rewards"]) + 1)
        table = pa.table([array for _, array in fields], schema=pa.schema([field for field, _ in fields]))
        if suffix == "arrow":
            with pa.ipc.new_file(inner / "part-0.arrow", table.schema) as writer:
                writer.write_table(table)
        else:
            import pyarrow.parquet

            pyarrow.parquet.write_table(table, inner / f"part-0.{suffix}")
        more = attributes[number] if number < len(attributes) else {}
        document = {"id": number, "total_steps": len(arrays["rewards"]), **more}
        (inner / "metadata.json").write_text(json.dumps(document))
    write_facts(folder, len(episodes), suffix, said)
    return folder


def _nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, rows in arrays.items():
        *folders, leaf = (part.removeprefix("_index_") for part in name.split("/"))
        place = tree
        for part in folders:
            place = place.setdefault(part, {})
        place[leaf] = rows
    return tree


def _fields(tree: Mapping[str, Any], root: str, count: int) -> list[tuple[Any, Any]]:
    """Return (field, array) of each entry; arrays of several numbers a row are flattened."""
    import pyarrow as pa

    found = []
    for name, rows in tree.items():
        top = root or name
        if isinstance(rows, dict):
            inner = _fields(rows, top, count)
            array = pa.StructArray.from_arrays([part for _, part in inner], fields=[field for field, _ in inner])
            found.append((pa.field(name, array.type), array))
        elif isinstance(rows, list):
            found.append((pa.field(name, pa.binary()), pa.array(rows, pa.binary())))
        else:
            rows = np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])
            found.append(_field(name, rows, stated=top == "infos"))
    return found


def _field(name: str, rows: Array, *, stated: bool) -> tuple[Any, Any]:
    import pyarrow as pa

    if rows.ndim == 1:
        array = pa.array(rows)
        return pa.field(name, array.type), array
    flat = rows.reshape(len(rows), -1)
    array = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    metadata = {"shape": ",".join(map(str, rows.shape[1:]))} if stated else None
    return pa.field(name, array.type, metadata=metadata), array


def image_file(image: Array, kind: str = "JPEG") -> bytes:
    """Return an image as a file."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(image).save(written, kind)
    return written.getvalue()


def decoded(file: bytes) -> Array:
    """Return what Pillow reads in an image file."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(file)))
