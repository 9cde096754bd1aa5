"""Encoding rows of one array into chunks and digests, in the writer's process or in another one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rlbuffers.episode import EncodedRows
from rlbuffers.fingerprint import BLOCK_ROWS, block_digests
from rlbuffers.stores.codecs import Codec

__all__ = ["ChunkEncoder"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ChunkEncoder:
    """Encodes rows of one array; picklable, so that other processes can do it."""

    codec: Codec
    chunk_rows: int

    @cached_property
    def unit_rows(self) -> int:
        """Rows that fill both chunks and fingerprint blocks exactly; only these are worth encoding elsewhere."""
        return math.lcm(self.chunk_rows, BLOCK_ROWS)

    def encode(self, rows: Array) -> EncodedRows:
        """Encode rows; the last chunk is padded with zeros to its full size."""
        little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
        chunks = []
        for start in range(0, len(little), self.chunk_rows):
            chunk = little[start : start + self.chunk_rows]
            if len(chunk) < self.chunk_rows:
                padding = np.zeros((self.chunk_rows - len(chunk), *chunk.shape[1:]), chunk.dtype)
                chunk = np.concatenate([chunk, padding])
            chunks.append(self.codec.encode(chunk))
        return EncodedRows(chunks, block_digests(little), len(little))
