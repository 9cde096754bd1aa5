"""The contract of a window."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np

from rlbuffers.windows.items import Items

__all__ = ["Array", "Batch", "Indices", "Window"]

Array = np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Batch = dict[str, Array]


class Window(Protocol):
    """Reads a batch at drawn items.

    Attributes
    ----------
    items : Items
        What may be drawn. Of what is none of them, nothing can be learned: a value function would
        bootstrap from an observation that the source did not hold.
    is_rowwise : bool
        Whether entry i of every array of a batch is made of item i alone, so that batches may be read together
        and cut apart.
    """

    is_rowwise: ClassVar[bool]
    items: Items

    def read(self, items: Indices) -> Batch:
        """Return the batch at `items`, int64, shape (B,); called by several threads at once.

        The same items give the same batch, whatever was read before.
        """
