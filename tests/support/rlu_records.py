"""Hand-made records of RL Unplugged, beyond Atari: dicts of rows, and the Examples that hold them flattened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from wire import example, feature

FIRST, MID, LAST = 0.0, 1.0, 2.0


def encoded(rows: Mapping[str, Any]) -> bytes:
    """Encode an Example: float arrays, integer arrays or lists of bytes by feature name."""
    features = {}
    for name, values in rows.items():
        if isinstance(values, list):
            features[name] = feature("bytes", values)
        else:
            array = np.asarray(values)
            features[name] = feature("float" if array.dtype.kind == "f" else "int64", array.ravel().tolist())
    return example(features)


def control_rows(first: int, count: int, *, last: bool = False, **changes: Any) -> dict[str, Any]:
    """Rows `first`, `first + 1`, ... of an endless cheetah whose every number tells where it stands.

    Row t has observations t + 0.25 and t + 0.5, action t / 100 and reward t + 1; with `last` the final row is that of
    an episode's last observation, with placeholders. Keywords replace features, None removes one.
    """
    t = np.arange(first, first + count, dtype=np.float32)
    ends = np.zeros(count, bool)
    ends[-1] = last
    made = {
        "observation/position": np.repeat(t[:, None] + 0.25, 8, axis=1),
        "observation/velocity": np.repeat(t[:, None] + 0.5, 9, axis=1),
        "action": np.where(ends[:, None], 0, np.repeat(t[:, None] / 100, 6, axis=1)).astype(np.float32),
        "reward": np.where(ends, 0, t + 1).astype(np.float32),
        "discount": np.ones(count, np.float32),
        "episodic_reward": np.full(count, 77, np.float32),
        "step_type": np.where(ends, LAST, np.where(t == 0, FIRST, MID)).astype(np.float32),
    }
    merged = {**made, **{name.replace("__", "/"): value for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}
