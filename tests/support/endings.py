"""Small buffers whose episodes end in every way: `buffer_of`."""

from __future__ import annotations

import numpy as np
from reference import random_rows

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode

ENDS = ("terminal", "timeout", "both", "neither")


def buffer_of(
    path, lengths, kinds, *, known=True, stack=0, dtype="float32", facts=(), whole=None, columns=(), actions="float32"
):
    """Write episodes of random rows that end as `kinds` say."""
    rng = np.random.default_rng(3)
    shape = (stack, 2, 3) if stack else (2,)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8 if stack else dtype, shape),
            ColumnSpec("actions", actions, (2,) if actions.startswith("float") else ()),
            ColumnSpec("rewards", np.float64),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
            *(ColumnSpec(name, np.int16) for name in columns),
        ],
        stack=stack,
        episode_columns=[ColumnSpec(name, np.int64) for name in facts],
    )
    with rlbuffers.create(path, spec) as writer:
        for number, (length, kind) in enumerate(zip(lengths, kinds, strict=True)):
            last = np.arange(length) == length - 1
            if stack:
                frames = random_rows(rng, "uint8", (length + known, 2, 3))
                observed = {"frames": np.concatenate([np.repeat(frames[:1], stack - 1, axis=0), frames])}
            else:
                observed = {"observations": random_rows(rng, dtype, (length + known, 2))}
            rows = {
                "actions": random_rows(rng, actions, (length, 2) if actions.startswith("float") else (length,)),
                "rewards": rng.normal(size=length),
                "terminals": last & (kind in ("terminal", "both")),
                "timeouts": last & (kind in ("timeout", "both")),
                **{name: np.arange(length, dtype=np.int16) for name in columns},
            }
            is_whole = kind != "neither" if whole is None else whole[number]
            writer.append_episode(Episode(rows, observed, dict.fromkeys(facts, number), is_whole))
    return path
