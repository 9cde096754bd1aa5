"""Run as ``python -m rlbuffers.diagnosis.self_test``: write, read and validate a small buffer in each container.

Prints what only a working core can tell, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers.exports import EXPORTS
from rlbuffers.sources import SOURCES
from rlbuffers.stores.native import decoder_names

__all__ = ["main"]

_STEPS = 600


def main() -> None:
    """Test and print; exits with 1 and a line if a buffer does not hold what was written."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("hdf5", "zarr"):
            try:
                _write_and_read(Path(folder) / f"self-test.{suffix}")
            except RlbuffersError as error:
                sys.exit(str(error))
    sys.stdout.write(json.dumps({"enables": _enabled_by_extras(), "decoders": decoder_names()}))


def _write_and_read(path: Path) -> None:
    columns = [
        rlbuffers.ColumnSpec("observations", np.dtype(np.uint8), (2, 8, 8)),
        rlbuffers.ColumnSpec("actions", np.dtype(np.float32), (3,)),
        rlbuffers.ColumnSpec("rewards", np.dtype(np.float64)),
    ]
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(_STEPS, 3)).astype(np.float32)
    frames = rng.integers(0, 256, (_STEPS + 2, 8, 8), np.uint8)
    with rlbuffers.create(path, rlbuffers.BufferSpec("episodes", columns, stack=2)) as writer:
        rows: dict[str, np.ndarray[Any, Any]] = {"actions": actions, "rewards": np.arange(_STEPS, dtype=np.float64)}
        writer.append_episode(rlbuffers.Episode(rows, {"frames": frames}))
    report = rlbuffers.validate(path)
    if not report.ok:
        sys.exit(f"a buffer that was just written is not valid: {report.errors[0].message}")
    with rlbuffers.open(path) as buffer:
        read = buffer[:]
    if not np.array_equal(read["actions"], actions) or not np.array_equal(read["observations"][:, 1], frames[1:-1]):
        sys.exit(f"{path.suffix}: what was read is not what was written")


def _enabled_by_extras() -> dict[str, list[str]]:
    enabled: dict[str, list[str]] = {}
    for verb, table in (("convert", SOURCES), ("export --to", EXPORTS)):
        for name, entry in sorted(table.items()):
            if entry.extra:
                purpose = f" ({entry.needed_for})" if entry.needed_for else ""
                enabled.setdefault(entry.extra, []).append(f"{verb} {name}{purpose}")
    return enabled


if __name__ == "__main__":
    main()
