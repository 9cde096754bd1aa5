"""The content fingerprint: one hash of what a buffer holds, whatever container holds it.

An array's digest is the SHA-256 of the XXH3-128 digests (16 bytes, big-endian) of its blocks of
`BLOCK_ROWS` rows, each block as little-endian C-ordered bytes; the last block may be shorter. The
fingerprint is the SHA-256 of the compact JSON list ``[[name, dtype, [rows, *row_shape], digest], ...]``
sorted by name. Blocks are hashed apart so that several processes can share the work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

__all__ = ["BLOCK_ROWS", "ArrayDigest", "block_digests", "fingerprint_of"]

BLOCK_ROWS = 256


def block_digests(rows: np.ndarray[Any, Any]) -> list[bytes]:
    """Hash rows in blocks of `BLOCK_ROWS`; only the last block may be shorter."""
    little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
    return [
        xxhash.xxh3_128_digest(little[start : start + BLOCK_ROWS].data.cast("B") if little.size else b"")
        for start in range(0, len(little), BLOCK_ROWS)
    ]


class ArrayDigest:
    """The running digest of one array, fed with whole blocks in row order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def update(self, digests: Iterable[bytes]) -> None:
        """Add the digests of the next blocks, as :func:`block_digests` gives them."""
        for digest in digests:
            self._sha256.update(digest)

    def hexdigest(self) -> str:
        """Return the digest of all blocks so far."""
        return self._sha256.hexdigest()


def fingerprint_of(arrays: Iterable[tuple[str, str, tuple[int, ...], str]]) -> str:
    """Combine (name, dtype name, shape, digest) of every stored array into the fingerprint."""
    rows = sorted([name, dtype, list(shape), digest] for name, dtype, shape, digest in arrays)
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
