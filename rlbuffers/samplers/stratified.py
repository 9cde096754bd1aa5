"""A fixed share of every batch for each value of a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.errors import UsageError
from rlbuffers.samplers.draws import Drawn, Draws
from rlbuffers.samplers.shares import checked_shares, divided
from rlbuffers.windows.items import Items

__all__ = ["StratifiedDraws"]

_MAX_STRATA = 10_000


class StratifiedDraws(Draws):
    """Divides each batch among the values of a label, equally or by given shares.

    Every batch holds of each value its share, rounded up or down at random; within a value, items are
    equally likely, with replacement.

    Parameters
    ----------
    items : Items
        What may be chosen; of a fixed number.
    generator : numpy.random.Generator
        The only source of randomness.
    labels : array, shape (capacity,)
        Of each place: a task, a level, an action.
    shares : mapping of label to float, optional
        Relative sizes of the parts; labels that are not named are never drawn. Equal by default.

    Raises
    ------
    UsageError
        If there are more than 10,000 values, a share names none of them, or shares are no shares.
    """

    kind = "stratified"

    def __init__(
        self,
        items: Items,
        generator: np.random.Generator,
        labels: np.ndarray[Any, Any],
        shares: Mapping[Any, float] | None = None,
    ) -> None:
        super().__init__(items, generator)
        values, place_labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(values) > _MAX_STRATA:
            raise UsageError(f"{len(values):,} different values are too many to stratify by; group them first")
        names = values.tolist()
        given = dict.fromkeys(names, 1.0) if shares is None else dict(shares)
        unknown = sorted(set(given) - set(names), key=repr)
        if unknown:
            raise UsageError(f"a share is given for {unknown[0]!r}, which no item has; there are {names[:10]}")
        self._shares = checked_shares([given.get(name, 0.0) for name in names], "shares")
        self._places = np.argsort(place_labels.ravel(), kind="stable")
        self._counts = counts
        self._starts = np.cumsum(counts) - counts

    def draw(self, count: int) -> Drawn:
        """Choose the items of the next batch."""
        strata = np.repeat(np.arange(len(self._shares)), divided(count, self._shares, self.generator))
        within = self.generator.integers(self._counts[strata])
        return Drawn(self.items.at(self._places[self._starts[strata] + within]))
