"""How many rows go into a chunk. Pure arithmetic, no I/O.

Small chunks make single random reads cheap, large ones compress better and keep the chunk index
small. What was measured is in docs/benchmarks.md.
"""

from __future__ import annotations

from rlbuffers.fingerprint import BLOCK_ROWS
from rlbuffers.schema import FRAMES, ArraySpec, BufferSpec

__all__ = ["chunk_rows"]

# A random stack of k + 1 frames touches one or two chunks of this many frames.
_EPISODE_FRAMES_PER_CHUNK = 12
# Rows of vectors and numbers: one chunk decodes in well under a millisecond.
_TARGET_CHUNK_BYTES = 256 * 1024
_MAX_CHUNK_ROWS = 64 * BLOCK_ROWS


def chunk_rows(array: ArraySpec, spec: BufferSpec) -> int:
    """Return the number of rows of one chunk of a stored array.

    Transitions of stacked frames get one chunk each, so that a random read decodes exactly one.
    Everything else gets a multiple of the fingerprint's block, as long as a row is small.
    """
    if array.name == FRAMES:
        return spec.stack + 1 if spec.layout == "transitions" else _EPISODE_FRAMES_PER_CHUNK
    fitting = _TARGET_CHUNK_BYTES // max(array.row_bytes, 1)
    if fitting < BLOCK_ROWS:
        return 1 << max(fitting.bit_length() - 1, 0)  # a power of two, to fill the block exactly
    return min(fitting // BLOCK_ROWS * BLOCK_ROWS, _MAX_CHUNK_ROWS)
