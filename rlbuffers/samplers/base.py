"""What every sampler does: hand out batches, count and hash them, save and restore where it is."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rlbuffers.errors import UsageError
from rlbuffers.samplers.draws import Drawn
from rlbuffers.windows.base import Batch

if TYPE_CHECKING:
    from rlbuffers.loading.loader import Loader

__all__ = ["BatchSampler"]

# Between the steps of a training the code that hashes leaves the processor's cache: one batch alone takes four times as
# long as one of many.
_HASHED_TOGETHER = 64


class BatchSampler(ABC):
    """Hands out batches.

    A batch comes in three steps, so that a loader can do the second one elsewhere: :meth:`draw` decides
    what is in it (cheap, in order, the only step with state), :meth:`read` reads it (the work, in any
    order and by any thread), :meth:`deliver` notes that somebody got it.

    Parameters
    ----------
    batch_size : int
        Number of items in a batch, at least 1.
    data : str
        Names the data, such as fingerprints; a state of other data is refused.

    Raises
    ------
    UsageError
        If `batch_size` is less than 1.
    """

    #: Whether the data stay as they are; a ring's do not, and cannot be read ahead.
    is_fixed: ClassVar[bool] = True

    def __init__(self, batch_size: int, data: str) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size = batch_size
        self.data = data
        self._waiting: deque[Drawn] = deque()  # drawn and not delivered when the state was saved
        self.num_batches = 0
        self._stream_hash = ""
        self._unhashed: list[bytes] = []

    @abstractmethod
    def read(self, drawn: Drawn) -> Batch:
        """Return the batch that was drawn: name to array; the arrays are the caller's.

        Raises
        ------
        CorruptDataError
            If a chunk that is needed is damaged.
        """

    def read_together(self, drawn: Sequence[Drawn]) -> list[Batch]:
        """Return several batches, the same as :meth:`read` gives one by one; in fewer calls where that is possible."""
        return [self.read(one) for one in drawn]

    @abstractmethod
    def _draw(self) -> Drawn:
        """Decide what the next batch is."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return the state of what draws."""

    @abstractmethod
    def _load_state(self, state: Mapping[str, Any]) -> None:
        """Set what :meth:`_state` returned."""

    def draw(self) -> Drawn:
        """Decide what the next batch is."""
        return self._waiting.popleft() if self._waiting else self._draw()

    def deliver(self, drawn: Drawn) -> None:
        """Count a batch and add it to :attr:`stream_hash`."""
        self.num_batches += 1
        self._unhashed.append(drawn.content())
        if len(self._unhashed) >= _HASHED_TOGETHER:
            self._hash_delivered()

    @property
    def stream_hash(self) -> str:
        """SHA-256 (hexadecimal) of the last batch that was delivered, and of this hash before it."""
        self._hash_delivered()
        return self._stream_hash

    def _hash_delivered(self) -> None:
        for content in self._unhashed:
            self._stream_hash = hashlib.sha256(self._stream_hash.encode() + content).hexdigest()
        self._unhashed.clear()

    def sample(self) -> Batch:
        """Return the next batch: name to array."""
        drawn = self.draw()
        batch = self.read(drawn)
        self.deliver(drawn)
        return batch

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end, over all epochs."""
        while True:
            yield self.sample()

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches that are left of this epoch.

        Raises
        ------
        UsageError
            If there are no epochs, as with replacement.
        """
        self.require_epochs()
        while True:
            drawn = self.draw()
            batch = self.read(drawn)
            self.deliver(drawn)
            yield batch
            if drawn.ends_epoch:
                return

    def require_epochs(self) -> None:
        """Raise an error where batches have no epochs."""
        raise UsageError("drawing with replacement has no epochs; use replacement=False, or iterate over the sampler")

    def loader(self, *, prefetch: int | None = None, workers: int = 1, device: Any = None) -> Loader[Any]:
        """Return a loader, which reads ahead; see `rlbuffers.loading.making.make_loader` for its options."""
        from rlbuffers.loading.making import make_loader

        return make_loader(self, prefetch=prefetch, workers=workers, device=device)

    def state_dict(self, undelivered: list[Drawn] | None = None) -> dict[str, Any]:
        """Return where the stream of batches is, as JSON values; priorities are an array beside them.

        Parameters
        ----------
        undelivered : list of Drawn, optional
            What was drawn since and is not delivered yet, in order; a loader gives it.
        """
        waiting = [*(undelivered or ()), *self._waiting]
        return {
            "data": self.data,
            "num_batches": self.num_batches,
            "stream_hash": self.stream_hash,
            "waiting": [drawn.to_json() for drawn in waiting],
            **self._state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken, of this sampler or of a loader over one like it.

        Raises
        ------
        UsageError
            If it is the state of another kind of sampler, or of other data.
        """
        if not isinstance(state, Mapping):
            raise UsageError(f"not the state of a sampler: {state!r}")
        if state.get("data", self.data) != self.data:
            raise UsageError("the state is that of a sampler of other data (their fingerprints differ)")
        try:
            waiting = [Drawn.from_json(drawn) for drawn in state.get("waiting", ())]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"not the state of a sampler: {error!r}") from error
        self._load_state(state)
        self._waiting = deque(waiting)
        self.num_batches = int(state.get("num_batches", 0))
        self._stream_hash = str(state.get("stream_hash", ""))
        self._unhashed.clear()
