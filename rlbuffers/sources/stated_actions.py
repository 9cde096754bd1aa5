"""Any source, with a space of actions that the user states because the source does not record one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.schema import ACTIONS, BufferSpec
from rlbuffers.sources.base import Decoder, Rows, Source
from rlbuffers.spaces import checked_space
from rlbuffers.stated_actions import StatedActions, refuse_outside
from rlbuffers.tally import Tally

__all__ = ["StatedActionsSource"]


class StatedActionsSource(Source[Any]):
    """The rows of another source; their actions have the stated space, and are compared with it.

    Parameters
    ----------
    source : Source
        Where rows come from.
    stated : StatedActions
        What is known of their actions.

    Raises
    ------
    UsageError
        If actions are of another kind, or the source records another space; later, if an action lies outside.
    """

    def __init__(self, source: Source[Any], stated: StatedActions) -> None:
        self._source = source
        self._stated = stated
        spec = source.spec
        column = spec.columns[ACTIONS]
        self._space = checked_space(stated.space_for(column, source.where), column.dtype, column.shape)
        columns = {**spec.columns, ACTIONS: replace(column, space=self._space)}
        self._spec = BufferSpec(spec.layout, columns, spec.order, spec.stack, spec.episode_columns, spec.extras)

    @property
    def where(self) -> str:
        """That of the source."""
        return self._source.where

    @property
    def files(self) -> Sequence[Path]:
        """Those of the source."""
        return self._source.files

    @property
    def spec(self) -> BufferSpec:
        """That of the source, but for the space of actions."""
        return self._spec

    @property
    def decoder(self) -> Decoder[Any]:
        """That of the source."""
        return self._source.decoder

    def pieces(self) -> Iterator[Any]:
        """Yield the source's pieces."""
        return self._source.pieces()

    def observe(self, rows: Rows) -> None:
        """Show rows to the source, and refuse actions outside of the stated space."""
        self._source.observe(rows)
        refuse_outside(np.asarray(rows.columns[ACTIONS]), self._space, self.where, self._stated)

    def finished(self, rows: Rows) -> Rows:
        """Return rows as the source finishes them."""
        return self._source.finished(rows)

    def tally(self) -> Tally:
        """Return the source's counts."""
        return self._source.tally()

    def extras(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the source's extras."""
        return self._source.extras()

    def early_metadata(self) -> dict[str, Any]:
        """Return what the source knows."""
        return self._source.early_metadata()

    def metadata(self) -> dict[str, Any]:
        """Return what the source knows, and who stated the space of actions."""
        facts = self._source.metadata()
        note = f"The space of actions was stated when the data were converted: {self._stated}."
        return {**facts, "notes": [*facts.get("notes", []), note]}

    @property
    def total(self) -> int | None:
        """That of the source."""
        return self._source.total

    @property
    def done(self) -> int:
        """That of the source."""
        return self._source.done
