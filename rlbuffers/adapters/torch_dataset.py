"""A buffer as a map-style ``torch.utils.data.Dataset``, which reads from the file as it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from rlbuffers.reader import Buffer

__all__ = ["TransitionDataset", "to_torch_dataset"]


class TransitionDataset(Dataset[dict[str, torch.Tensor]]):
    """Single transitions as dicts of tensors under the buffer's column names.

    ``DataLoader`` asks for a batch at once, which is one read of the buffer. Works with any number
    of workers, forked or spawned.

    Parameters
    ----------
    buffer : Buffer
        Where to read; not closed. Rows that are not terminal and whose next observation is not known
        are not items.

    Raises
    ------
    UsageError
        If no row is left.
    """

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self._rows = buffer.usable_rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Return several transitions, read at once; what ``DataLoader`` calls."""
        batch = self.buffer.rows(self._rows[np.asarray(indices, dtype=np.int64)])
        tensors = {name: torch.from_numpy(np.ascontiguousarray(rows)) for name, rows in batch.items()}
        return [{name: rows[place] for name, rows in tensors.items()} for place in range(len(indices))]


def to_torch_dataset(buffer: Buffer) -> TransitionDataset:
    """Return the transitions of a buffer as a `TransitionDataset`."""
    return TransitionDataset(buffer)
