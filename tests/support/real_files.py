"""Files that others wrote, and what a right conversion of each gives.

A manifest lists entries: files with SHA-256, command lines, and facts that were derived without this project. What
an entry does not name is not checked. A digest is the first 16 hexadecimal digits of the SHA-256 of an array in C
order, as little-endian float64 (floats), int64 (integers and flags) or uint8 (pictures).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.reader import Buffer
from rlbuffers.schema import ACTIONS, REWARDS, TERMINALS, TIMEOUTS

Array = np.ndarray[Any, Any]
_DIGEST_DTYPES = {"f": "<f8", "i": "<i8", "b": "<i8", "u": "<i8"}


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of ``manifest.json`` in a folder."""
    entries: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text())["entries"]
    return entries


def absent(entry: Mapping[str, Any], folder: Path) -> str:
    """Say which file of an entry is not there, or is another one; empty if all are as they should be."""
    for file in entry["files"]:
        path = folder / file["path"]
        if not path.is_file():
            return f"{file['path']} is not there"
        if hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
            return f"{file['path']} is another file: its SHA-256 differs"
    return ""


def digest(rows: Array) -> str:
    """Return the digest of an array, as manifests have it."""
    dtype = np.dtype("u1") if rows.dtype == np.uint8 and rows.ndim > 1 else np.dtype(_DIGEST_DTYPES[rows.dtype.kind])
    return hashlib.sha256(np.ascontiguousarray(rows, dtype).tobytes()).hexdigest()[:16]


def differences(buffer: Buffer, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a buffer is not as the facts of an entry say."""
    rows = buffer[:]
    for name, find in _FACTS.items():
        if name in facts:
            found = find(buffer, rows, facts[name])
            same = np.isclose(found, facts[name]) if isinstance(found, float) else found == facts[name]
            if not same:
                yield f"{name}: expected {facts[name]}, found {found}"
    for name, column in facts.get("columns", {}).items():
        if name not in rows:
            yield f"column {name}: expected one, found {', '.join(rows)}"
        else:
            values = rows[name][:, -1] if column.get("newest_of_stack") and buffer.spec.stack else rows[name]
            described = {"dtype": values.dtype.name, "shape": list(values.shape[1:]), "digest": digest(values)}
            yield from (
                f"column {name}: expected {what} {column[what]}, found {found}"
                for what, found in described.items()
                if what in column and column[what] != found
            )
    known = buffer.arrays["episodes/final_known"].all() if "last_observations" in facts else None
    for name, expected in facts.get("last_observations", {}).items():
        stored = f"episodes/final_{name}"
        if digest(buffer.arrays[stored].all()[known]) != expected:
            yield f"last observations of {name}: not those of the file"


def _lengths(buffer: Buffer) -> Array:
    return buffer.arrays["episodes/lengths"].all()


_FACTS: Mapping[str, Callable[[Buffer, Mapping[str, Array], Any], Any]] = {
    "episodes": lambda buffer, rows, fact: buffer.num_episodes,
    "transitions": lambda buffer, rows, fact: len(rows[ACTIONS]),
    "episode_lengths_first_8": lambda buffer, rows, fact: _lengths(buffer)[:8].tolist(),
    "terminals": lambda buffer, rows, fact: int(rows[TERMINALS].sum()),
    "terminals_digest": lambda buffer, rows, fact: digest(rows[TERMINALS]),
    "timeouts": lambda buffer, rows, fact: int(rows[TIMEOUTS].sum()) if TIMEOUTS in rows else 0,
    "timeouts_digest": lambda buffer, rows, fact: digest(rows.get(TIMEOUTS, np.zeros(len(rows[ACTIONS]), bool))),
    "reward_sum": lambda buffer, rows, fact: float(rows[REWARDS].astype(np.float64).sum()),
    "rewards_digest": lambda buffer, rows, fact: digest(rows[REWARDS]),
    "nonzero_rewards_episode_0": lambda buffer, rows, fact: np.flatnonzero(rows[REWARDS][: _lengths(buffer)[0]])[
        : max(len(fact), 10)
    ].tolist(),
    "last_observations_known": lambda buffer, rows, fact: int(buffer.arrays["episodes/final_known"].all().sum()),
}
