"""LeRobot datasets made by hand with pyarrow, as LeRobot lays them out in versions 2.1 and 3.0.

Run as a program to write the fixtures of tests/data/lerobot again.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
FPS = 10
SIZE = (32, 40, 3)
TASKS = ("Pick the cube.", "Place the cube.")


def frames(steps: int, number: int = 0, **more: Any) -> dict[str, Any]:
    """Return the rows of an episode under LeRobot's names; row t of episode e shows e and t."""
    shown = np.stack([np.full(steps, number), np.arange(steps)], axis=1).astype(np.float32)
    plain = {
        "observation.state": shown,
        "action": np.linspace(-1, 1, steps * 3, dtype=np.float32).reshape(steps, 3),
        "timestamp": (np.arange(steps) / FPS).astype(np.float32),
        "frame_index": np.arange(steps),
        "task_index": np.full(steps, number % len(TASKS)),
    }
    return {name: rows for name, rows in (plain | more).items() if rows is not None}


def rewarded(steps: int, *, success: bool) -> dict[str, Any]:
    """Return reward, done and success of an episode."""
    last = np.arange(steps) == steps - 1
    return {
        "next.reward": (last & success).astype(np.float32),
        "next.done": last,
        "next.success": last & success,
    }


def picture(value: int) -> bytes:
    """Return a PNG file of one colour."""
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(np.full(SIZE, value, np.uint8)).save(written, "PNG")
    return written.getvalue()


def described(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the info says of the features of an episode's rows."""
    found = {}
    for name, values in rows.items():
        if isinstance(values, list):
            kind = "image" if isinstance(values[0], bytes) else "string"
            found[name] = {"dtype": kind, "shape": list(SIZE) if kind == "image" else [1], "names": None}
        else:
            found[name] = {"dtype": values.dtype.name, "shape": list(values.shape[1:]) or [1], "names": None}
    return found


def table(rows: Mapping[str, Any], *, fixed: bool = True) -> Any:
    """Return a table of an episode's rows; lists of numbers are of a fixed size or not."""
    import pyarrow as pa

    arrays = {}
    for name, values in rows.items():
        if isinstance(values, list) and isinstance(values[0], bytes):
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            arrays[name] = pa.array([{"bytes": value, "path": None} for value in values], kind)
        elif isinstance(values, list) or values.ndim == 1:
            arrays[name] = pa.array(values)
        elif values.ndim == 2 and fixed:
            arrays[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        else:
            arrays[name] = pa.array(values.tolist(), _nested_lists(values))
    return pa.table(arrays)


def _nested_lists(values: Array) -> Any:
    import pyarrow as pa

    kind = pa.from_numpy_dtype(values.dtype)
    for _ in values.shape[1:]:
        kind = pa.list_(kind)
    return kind


def numbered(episodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the number of the episode and of the row."""
    found, row = [], 0
    for number, rows in enumerate(episodes):
        steps = len(rows["timestamp"])
        own = {"episode_index": np.full(steps, number), "index": row + np.arange(steps)}
        found.append({**own, **rows})
        row += steps
    return found


def info(version: str, episodes: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return what info.json says."""
    features = described(episodes[0]) | more.pop("features", {})
    return {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(episodes),
        "total_frames": sum(len(rows["timestamp"]) for rows in episodes),
        "total_tasks": len(TASKS),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "features": features,
        **more,
    }


def write_v21(
    folder: Path, episodes: Sequence[Mapping[str, Any]], *, fixed: bool = True, said: Any = (), **more: Any
) -> Path:
    """Write a dataset of version 2.1; `said` is what episodes.jsonl says of each episode beyond the usual."""
    import pyarrow.parquet

    rows = numbered(episodes)
    (folder / "meta").mkdir(parents=True)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    _lines(folder / "meta" / "tasks.jsonl", [{"task_index": n, "task": text} for n, text in enumerate(TASKS)])
    lines = [
        {
            "episode_index": number,
            "tasks": [TASKS[number % len(TASKS)]],
            "length": len(own["timestamp"]),
            **(said[number] if number < len(said) else {}),
        }
        for number, own in enumerate(rows)
    ]
    _lines(folder / "meta" / "episodes.jsonl", lines)
    (folder / "meta" / "info.json").write_text(json.dumps(info("v2.1", rows, **more)))
    for number, own in enumerate(rows):
        path = folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
        pyarrow.parquet.write_table(table(own, fixed=fixed), path)
    return folder


def write_v30(folder: Path, episodes: Sequence[Mapping[str, Any]], *, per_file: int = 2, **more: Any) -> Path:
    """Write a dataset of version 3.0, with so many episodes a file."""
    import pyarrow as pa
    import pyarrow.parquet

    rows = numbered(episodes)
    for inner in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / inner).mkdir(parents=True)
    tasks = pa.table({"task_index": np.arange(len(TASKS)), "__index_level_0__": list(TASKS)})
    pyarrow.parquet.write_table(tasks, folder / "meta" / "tasks.parquet")
    lengths = [len(own["timestamp"]) for own in rows]
    stops = np.cumsum(lengths)
    said = {
        "episode_index": np.arange(len(rows)),
        "tasks": [[TASKS[number % len(TASKS)]] for number in range(len(rows))],
        "length": lengths,
        "data/chunk_index": np.zeros(len(rows), np.int64),
        "data/file_index": np.arange(len(rows)) // per_file,
        "dataset_from_index": stops - lengths,
        "dataset_to_index": stops,
        "stats/action/min": [[-1.0] * 3] * len(rows),
        "meta/episodes/chunk_index": np.zeros(len(rows), np.int64),
        "meta/episodes/file_index": np.zeros(len(rows), np.int64),
    }
    pyarrow.parquet.write_table(pa.table(said), folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    (folder / "meta" / "info.json").write_text(json.dumps(info("v3.0", rows, **more)))
    for number in range(0, len(rows), per_file):
        path = folder / "data" / "chunk-000" / f"file-{number // per_file:03d}.parquet"
        pyarrow.parquet.write_table(pa.concat_tables([table(own) for own in rows[number : number + per_file]]), path)
    return folder


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_fixtures(folder: Path) -> None:
    """Write the fixtures."""
    write_v21(folder / "v2.1", [frames(steps, number) for number, steps in enumerate((4, 1, 3))])
    episodes = [
        frames(steps, number, **rewarded(steps, success=number != 1))
        | {"observation.images.top": [picture(10 * number + t) for t in range(steps)]}
        for number, steps in enumerate((3, 2, 1))
    ]
    video = {"observation.images.wrist": {"dtype": "video", "shape": [480, 640, 3], "names": None}}
    write_v30(folder / "v3.0", episodes, features=video)


if __name__ == "__main__":
    write_fixtures(Path(sys.argv[1]))
