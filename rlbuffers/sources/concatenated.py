"""Several sources of one format, one after the other, as one source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.agreement import Part, common_columns, disagreement
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.schema import EPISODES_GROUP, BufferSpec, ColumnSpec
from rlbuffers.sources.base import Decoder, IdentityDecoder, Rows, Source
from rlbuffers.sources.unique_ids import OFFSETS, UniqueIds
from rlbuffers.tally import Tally

__all__ = ["ConcatenatedSource", "difference"]

_LISTS = ("warnings", "left_out", "notes")
# What is true of a part alone, and what each writing says anew.
_OF_PARTS = ("measurements", "scalars")
_OF_ONE = ("written_by", "derivation")


@dataclass(frozen=True)
class _Piece:
    """A piece and the number of the part it comes from."""

    part: int
    content: Any


@dataclass(frozen=True)
class _Decoder:
    """Decodes a piece with the decoder of its part; picklable if these are."""

    decoders: Sequence[Decoder[Any]]

    def __call__(self, piece: _Piece) -> Rows:
        return self.decoders[piece.part](piece.content)


class ConcatenatedSource(Source[Any]):
    """The rows of all parts in order; the metadata name each part and its rows.

    Parameters
    ----------
    parts : sequence of Source
        At least one; their columns must agree.
    copies : collection of int
        Numbers of parts that hold the same rows as one before, so that their episodes get ids of their own.

    Attributes
    ----------
    disputes : list of str
        What the parts say differently of a column, a sentence each.

    Raises
    ------
    UsageError
        If there is no part.
    FormatError
        If two parts differ in layout, columns, dtypes, shapes, or spaces neither of which holds the other; names both
        and the column.
    """

    def __init__(self, parts: Sequence[Source[Any]], *, copies: Collection[int] = ()) -> None:
        if not parts:
            raise UsageError("there is nothing to convert: no source was given")
        self._parts = list(parts)
        self._spec, self.disputes = _common_spec(self._parts)
        self._ids = UniqueIds(self._parts, self._spec, copies)
        self._sent: list[int] = []  # parts in the order in which their pieces were handed out
        self._current = 0
        self._rows = [0] * len(self._parts)

    @property
    def where(self) -> str:
        """What the current part reads."""
        return self._parts[self._current].where

    @property
    def files(self) -> Sequence[Path]:
        """Those of all parts; none if a part has none."""
        files = [part.files for part in self._parts]
        return [path for each in files for path in each] if all(files) else []

    @property
    def spec(self) -> BufferSpec:
        """What all parts have in common."""
        return self._spec

    @property
    def decoder(self) -> Decoder[Any]:
        """Asks the part's own, if there is anything to decode."""
        decoders = [part.decoder for part in self._parts]
        return IdentityDecoder() if _decode_nothing(decoders) else _Decoder(decoders)

    def pieces(self) -> Iterator[Any]:
        """Yield the pieces of each part."""
        finished = _decode_nothing([part.decoder for part in self._parts])
        for number, part in enumerate(self._parts):
            for content in part.pieces():
                self._sent.append(number)
                yield content if finished else _Piece(number, content)

    def observe(self, rows: Rows) -> None:
        """Show rows, which come back in order, to the part they come from."""
        self._current = self._sent.pop(0)
        self._rows[self._current] += len(rows)
        self._parts[self._current].observe(rows)

    def finished(self, rows: Rows) -> Rows:
        """Return rows of the part that was observed last, with ids of episodes that no part before has."""
        return self._ids.moved(self._parts[self._current].finished(rows), self._current)

    def extras(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """Return the extras of all parts, each in a folder of its own."""
        return {
            _extra_name(number, name): rows
            for number, part in enumerate(self._parts)
            for name, rows in part.extras().items()
        }

    def tally(self) -> Tally:
        """Add up the parts."""
        tallies = [part.tally() for part in self._parts]
        episodes = [tally.episodes for tally in tallies]
        known = [count for count in episodes if count is not None]
        return Tally(
            sum(known) if len(known) == len(episodes) else None,
            sum(tally.transitions for tally in tallies),
            sum(tally.reward_sum for tally in tallies),
        )

    def metadata(self) -> dict[str, Any]:
        """Merge what the parts know; ``source.parts`` says which rows come from which.

        What all parts say alike is said of the whole. Of what they say differently, each part keeps its own.

        Raises
        ------
        FormatError
            If two parts were normalized in different ways.
        """
        known = [part.metadata() for part in self._parts]
        _require_agreement(self._parts, known)
        sources = [facts.get("source", {}) for facts in known]
        first_rows = np.cumsum([0, *self._rows[:-1]]).tolist()
        parts = [
            {
                **{name: value for name, value in source.items() if name != "files"},
                "name": part.where,
                "files": source.get("files", []),
                "first_row": first,
                "transitions": count,
                **({OFFSETS: offsets} if (offsets := self._ids.offsets(number)) else {}),
                **{name: facts[name] for name in _OF_PARTS if facts.get(name)},
            }
            for number, (part, facts, source, first, count) in enumerate(
                zip(self._parts, known, sources, first_rows, self._rows, strict=True)
            )
        ]
        formats = {source["format"] for source in sources if "format" in source}
        merged: dict[str, Any] = {
            "source": {
                **({"format": formats.pop()} if len(formats) == 1 else {}),
                "files": [file for source in sources for file in source.get("files", [])],
                "parts": parts,
            }
        }
        for name in sorted({name for facts in known for name in facts} - {"source", *_OF_PARTS, *_LISTS, *_OF_ONE}):
            merged.update(self._agreed(name, known, parts))
        for name in _LISTS:
            merged[name] = _labelled(
                [(part.where, facts.get(name, [])) for part, facts in zip(self._parts, known, strict=True)]
            )
        merged["warnings"] += self.disputes
        return merged

    def _agreed(self, name: str, known: Sequence[Mapping[str, Any]], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return a fact if all parts say it, of mappings the entries on which they agree; else tell it to the parts."""
        values = [facts.get(name) for facts in known]
        if all(value == values[0] for value in values):
            return {name: values[0]}
        for part, value in zip(parts, values, strict=True):
            if value:
                part[name] = value
        first = values[0]
        if not isinstance(first, dict) or not all(isinstance(value, dict) for value in values):
            return {}
        mappings = [value for value in values if isinstance(value, dict)]
        shared = {key: entry for key, entry in first.items() if all(value.get(key) == entry for value in mappings)}
        return {name: shared}

    @property
    def total(self) -> int | None:
        """Units of work of all parts, if all know theirs."""
        totals = [part.total for part in self._parts]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def done(self) -> int:
        """Units of work finished in all parts."""
        return sum(part.done for part in self._parts)


def _decode_nothing(decoders: Sequence[Decoder[Any]]) -> bool:
    return all(isinstance(decoder, IdentityDecoder) for decoder in decoders)


def _common_spec(parts: Sequence[Source[Any]]) -> tuple[BufferSpec, list[str]]:
    """Return the spec of the whole, and what the parts say differently of its columns."""
    first, names = parts[0].spec, [part.where for part in parts]
    specs = [part.spec for part in parts]
    for part, spec in zip(parts[1:], specs[1:], strict=True):
        different = difference(first, spec)
        if different:
            raise FormatError(f"{part.where}: {different}, unlike {parts[0].where}; only equal columns can be joined")
    _require_agreement(parts, [part.early_metadata() for part in parts])
    columns, disputes = common_columns(names, [spec.columns for spec in specs])
    facts, more = common_columns(names, [spec.episode_columns for spec in specs], f"{EPISODES_GROUP}/")
    extras = [
        ColumnSpec(_extra_name(number, column.name), column.dtype, column.shape, column.space)
        for number, spec in enumerate(specs)
        for column in spec.extras.values()
    ]
    return BufferSpec(first.layout, columns, first.order, first.stack, facts, extras), [*disputes, *more]


def _require_agreement(parts: Sequence[Source[Any]], facts: Sequence[Mapping[str, Any]]) -> None:
    disputed = disagreement([Part(part.where, part.spec, known) for part, known in zip(parts, facts, strict=True)])
    if disputed:
        raise FormatError(disputed)


def difference(first: BufferSpec, other: BufferSpec) -> str:
    """Say how `other` differs from `first` in what the rows look like; an empty text if it does not."""
    for what in ("layout", "order", "stack"):
        if getattr(first, what) != getattr(other, what):
            return f"{what} {getattr(other, what)!r} instead of {getattr(first, what)!r}"
    for ours, theirs in ((first.columns, other.columns), (first.episode_columns, other.episode_columns)):
        for name in sorted({*ours, *theirs}):
            described = [
                f"{columns[name].dtype} {columns[name].shape}" if name in columns else "absent"
                for columns in (ours, theirs)
            ]
            if described[0] != described[1]:
                return f"column {name!r} is {described[1]} instead of {described[0]}"
    return ""


def _extra_name(part: int, name: str) -> str:
    return f"part{part}/{name}"


def _labelled(lists: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Say a sentence once if all parts say it, and with the part's name otherwise."""
    shared = [text for text in lists[0][1] if all(text in texts for _, texts in lists)]
    return shared + [f"{where}: {text}" for where, texts in lists for text in texts if text not in shared]
