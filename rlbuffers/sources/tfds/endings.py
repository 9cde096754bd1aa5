"""How episodes of an RLDS dataset end: what the last row of each holds.

By RLDS (github.com/google-research/rlds) the last row of an episode, marked ``is_last``, holds the
final observation only; its action, reward and discount are void, and an episode of T transitions has
T + 1 rows. It is terminal if that row says ``is_terminal``, and truncated otherwise. Some builders do
otherwise. What is known of them is one table, :data:`BUILDERS`, and what a row of it claims is checked
against the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.errors import FormatError
from rlbuffers.sources.tfds.directory import DatasetInfo
from rlbuffers.sources.tfds.features import Leaf

__all__ = [
    "BUILDERS",
    "FINAL_KNOWN",
    "RLBUFFERS",
    "WHOLE",
    "Builder",
    "Ending",
    "Endings",
    "LastRow",
    "builder_of",
    "position_of_last_key",
]

Array = np.ndarray[Any, Any]
LastRow = Literal["auto", "observation", "transition"]
FINAL_KNOWN = "final_known"
WHOLE = "whole"
_OBSERVATION = ("steps", "observation")
_VOID = (("steps", "action"), ("steps", "reward"), ("steps", "discount"))


@dataclass(frozen=True)
class Builder:
    """What is known of the datasets that one builder makes.

    Parameters
    ----------
    prefix : str
        How their names begin; empty for any other dataset.
    last_row : {"observation", "transition", "appended", "marked"}
        ``observation``: as RLDS says. ``transition``: always a transition, against RLDS. ``appended``:
        a last row whose action, reward and discount are all zero was appended and holds an observation,
        any other is a transition; appended observations may be wrong. ``marked``: the episode's
        ``final_known`` tells.
    whole_file : bool
        Whether what an episode has beside its steps belongs to the dataset as a whole.
    early : bool
        Whether rewards stand one row early; see ``atari.py``.
    """

    prefix: str
    last_row: Literal["observation", "transition", "appended", "marked"] = "observation"
    whole_file: bool = False
    early: bool = False


RLBUFFERS = Builder("", last_row="marked")
BUILDERS = (
    Builder("d4rl_", last_row="appended", whole_file=True),
    Builder("rlu_atari", last_row="transition", early=True),
    Builder(""),
)


def builder_of(info: DatasetInfo) -> Builder:
    """Return what is known of the builder of a dataset."""
    return next(builder for builder in BUILDERS if info.name.startswith(builder.prefix))


def position_of_last_key(split: str, count: int, *, shuffled: bool) -> int:
    """Return where in a split the Example stands that its builder yielded last.

    Builders that count their Examples from 0 use the count as the key. TFDS sorts Examples by the MD5
    of the split's name and the key, which is the same for everyone and can be worked out.
    """
    if not shuffled:
        return count - 1
    last = _digest(split, count - 1)
    return sum(_digest(split, key) < last for key in range(count))


def _digest(split: str, key: int) -> bytes:
    return hashlib.md5(f"{split}{key}".encode(), usedforsecurity=False).digest()


@dataclass(frozen=True)
class Ending:
    """How one episode ends.

    Parameters
    ----------
    rows : int
        Number of rows.
    transitions : int
        One less than there are rows, or as many.
    final_known : bool
        Whether the observation after the last action is in the last row.
    is_last : bool
        Whether the last row says so; otherwise the recording stopped.
    unknown : str
        Why the final observation is not known.
    whole : bool
        Whether the recording went on to the episode's end.
    is_terminal : bool
        Whether the last row says so.
    """

    rows: int
    transitions: int
    final_known: bool
    is_last: bool
    unknown: str = ""
    whole: bool = True
    is_terminal: bool = False


class Endings:
    """Decides what the last rows of a dataset's episodes are.

    Parameters
    ----------
    builder : Builder
        What is known of the dataset.
    last_row : {"auto", "observation", "transition"}
        What the user says it is; ``auto`` leaves it to `builder`.
    leaves : sequence of Leaf
        The features of a step.
    """

    def __init__(self, builder: Builder, last_row: LastRow, leaves: Sequence[Leaf]) -> None:
        self._builder = builder
        self._last_row = last_row
        self._void = [leaf for leaf in leaves if leaf.path[:2] in _VOID and leaf.unreadable is None]
        self._observed = [leaf for leaf in leaves if leaf.path[:2] == _OBSERVATION and leaf.unreadable is None]
        self._shared: list[Array] | None = None

    def compare(self, episodes: Sequence[Mapping[str, FeatureValues]]) -> None:
        """Find out from the first episodes whether the observations that were appended are all the same one."""
        if self._builder.last_row != "appended":
            return
        finals = [self._last(features, self._observed) for features in episodes if self._is_appended(features)]
        finals = [final for final in finals if _any(final)]
        if len(finals) > 1 and all(_same(final, finals[0]) for final in finals):
            self._shared = finals[0]

    def of(self, features: Mapping[str, FeatureValues], *, source_last: bool, where: str) -> Ending:
        """Tell how an episode ends.

        Parameters
        ----------
        features : mapping
            One Example.
        source_last : bool
            Whether the episode is the one at the end of the file from which the dataset was built.
        where : str
            Names the record in error messages.

        Raises
        ------
        FormatError
            If ``is_first`` or ``is_last`` stand inside the episode.
        """
        is_first, is_last = (_flags(features, name, where) for name in ("is_first", "is_last"))
        rows = len(is_first)
        if len(is_last) != rows:
            raise FormatError(f"{where}: expected {rows:,} values of 'steps/is_last', found {len(is_last):,}")
        if is_first[1:].any() or is_last[:-1].any():
            raise FormatError(f"{where}: expected is_first in the first and is_last in the last row only")
        if not rows or not (is_last[-1] or _is_terminal(features)):
            return Ending(rows, rows, False, False, "the recording stopped", whole=False)
        transition, unknown = self._last_row_of(features, source_last=source_last)
        if self._last_row != "auto":
            transition = self._last_row == "transition"
        whole = self._is_whole(features)
        is_terminal = _is_terminal(features)
        if transition:
            # Where that is the rule of a builder, a note says so.
            unknown = "" if self._builder.last_row == "transition" else "the last row is a transition"
            return Ending(rows, rows, False, True, unknown, whole, is_terminal)
        return Ending(rows, rows - 1, not unknown, True, unknown, whole, is_terminal)

    def _is_whole(self, features: Mapping[str, FeatureValues]) -> bool:
        marked = features.get(WHOLE) if self._builder.last_row == "marked" else None
        return not isinstance(marked, np.ndarray) or bool(marked.all())

    def _last_row_of(self, features: Mapping[str, FeatureValues], *, source_last: bool) -> tuple[bool, str]:
        """Return whether the last row is a transition, and why its observation is none."""
        if self._builder.last_row == "marked":
            known = features.get(FINAL_KNOWN)
            if not isinstance(known, np.ndarray) or known.all():
                return False, ""
            return not _is_terminal(features), "zeros stand in its place"
        if self._builder.last_row in ("observation", "transition"):
            return self._builder.last_row == "transition", ""
        if not self._is_appended(features):
            return True, ""
        final = self._last(features, self._observed)
        if not _any(final):
            return False, "zeros stand in its place"
        if self._shared is not None and _same(final, self._shared) and not source_last:
            return False, "the last observation of the whole source file stands in its place"
        return False, ""

    def _is_appended(self, features: Mapping[str, FeatureValues]) -> bool:
        return not _any(self._last(features, self._void))

    @staticmethod
    def _last(features: Mapping[str, FeatureValues], leaves: Sequence[Leaf]) -> list[Array]:
        """Return the last row of some features; those packed as bytes, which these builders have not, are left out."""
        rows = []
        for leaf in leaves:
            values = features.get(leaf.key)
            if isinstance(values, np.ndarray):
                rows.append(values[-int(np.prod(leaf.row_shape, dtype=np.int64)) :])
        return rows


def _flags(features: Mapping[str, FeatureValues], name: str, where: str) -> Array:
    values = features.get(f"steps/{name}")
    if values is None or (len(values) and not (isinstance(values, np.ndarray) and values.dtype.kind == "i")):
        raise FormatError(f"{where}: expected the feature 'steps/{name}' of RLDS, which is missing or no flag")
    return np.not_equal(values, 0) if isinstance(values, np.ndarray) else np.empty(0, bool)


def _is_terminal(features: Mapping[str, FeatureValues]) -> bool:
    flags = features.get("steps/is_terminal")
    return isinstance(flags, np.ndarray) and bool(flags[-1:].any())


def _any(rows: Sequence[Array]) -> bool:
    return any(bool(row.any()) for row in rows)


def _same(rows: Sequence[Array], others: Sequence[Array]) -> bool:
    return all(np.array_equal(row, other) for row, other in zip(rows, others, strict=True))
