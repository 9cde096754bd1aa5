"""The rows of a buffer that somebody asked to see: which they are, and what is said of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from rlbuffers.errors import OutOfRangeError, UnsupportedError
from rlbuffers.inspecting.action_names import action_names
from rlbuffers.reader import Buffer
from rlbuffers.row_ranges import rows_of_text
from rlbuffers.schema import (
    ACTIONS,
    EPISODE_LENGTHS,
    EPISODE_STARTS,
    NEXT_OBSERVATIONS,
    REWARDS,
    TERMINALS,
    TIMEOUTS,
    is_observation,
)
from rlbuffers_cli.frame_strip import Thumbnail, as_pictures, is_picture
from rlbuffers_cli.row_table import cell_text

__all__ = ["Excerpt"]

Array = np.ndarray[Any, Any]

_FIRST_COLUMNS = (ACTIONS, REWARDS, TERMINALS, TIMEOUTS)
_CAPTION_WIDTH = 24


class Excerpt:
    """Rows and columns of an open buffer.

    Parameters
    ----------
    buffer : Buffer
        Not closed.
    rows : str
        As `rlbuffers.row_ranges` reads it; within the episode if there is one.
    episode : int or None
        Number of the episode, negative ones from the end.
    columns : sequence of str
        Which columns; all but next observations if empty.

    Raises
    ------
    UsageError, OutOfRangeError
        If the rows or the episode do not exist.
    UnsupportedError
        If an episode is asked of a buffer that has none.
    SpecError
        If a column does not exist.
    """

    def __init__(self, buffer: Buffer, rows: str, episode: int | None, columns: Sequence[str]) -> None:
        self._buffer = buffer
        self._columns = list(columns)
        for name in columns:
            buffer.spec.batch_column(name)
        first, count = (0, len(buffer)) if episode is None else self._bounds(episode)
        self._ranges = [range(first + part.start, first + part.stop, part.step) for part in rows_of_text(rows, count)]

    def _bounds(self, episode: int) -> tuple[int, int]:
        buffer = self._buffer
        if buffer.spec.layout != "episodes":
            raise UnsupportedError(
                f"{buffer.path}: --episode needs episodes; this buffer holds independent transitions"
            )
        if not -buffer.num_episodes <= episode < buffer.num_episodes:
            raise OutOfRangeError(
                f"{buffer.path}: there is no episode {episode}; the buffer has {buffer.num_episodes:,}"
            )
        number = np.array([episode % buffer.num_episodes])
        start, length = (int(buffer.arrays[name].take(number)[0]) for name in (EPISODE_STARTS, EPISODE_LENGTHS))
        return start, length

    @property
    def description(self) -> str:
        """How many rows of how many."""
        shown = sum(len(part) for part in self._ranges)
        return f"{shown:,} of {len(self._buffer):,} transitions"

    def blocks(self, size: int) -> Iterator[Array]:
        """Yield the rows' indices in order, `size` at a time; int64."""
        every = itertools.chain.from_iterable(self._ranges)
        while block := list(itertools.islice(every, size)):
            yield np.array(block, np.int64)

    @property
    def table_columns(self) -> list[str]:
        """The columns of a table, the most important ones first."""
        if self._columns:
            return self._columns
        names = [name for name in self._buffer.spec.batch_names if not name.startswith(NEXT_OBSERVATIONS)]
        observed = [name for name in names if is_observation(name)]
        usual = [name for name in _FIRST_COLUMNS if name in names]
        return [*observed, *usual, *(name for name in names if name not in (*observed, *usual))]

    @property
    def json_columns(self) -> list[str]:
        """The columns of JSON: pictures only where they were asked for by name."""
        return self._columns or [name for name in self.table_columns if not self._is_picture(name)]

    @property
    def picture_column(self) -> str | None:
        """The first column that can be drawn."""
        return next((name for name in self.table_columns if self._is_picture(name)), None)

    def _is_picture(self, name: str) -> bool:
        column = self._buffer.spec.batch_column(name)
        return is_picture(column.dtype, column.shape)

    @property
    def captioned(self) -> list[str]:
        """The columns that a thumbnail and its captions show."""
        return [*([self.picture_column] if self.picture_column else []), *_FIRST_COLUMNS]

    def read(self, indices: Array, names: Sequence[str]) -> dict[str, Array]:
        """Return columns of these rows."""
        return self._buffer.rows(indices, names)

    def labels(self, indices: Array) -> dict[str, Array]:
        """Return what names each row: its number, and where it stands in which episode."""
        if self._buffer.spec.layout != "episodes":
            return {"row": indices}
        episodes = self._buffer.episode_of(indices)
        starts = self._buffer.arrays[EPISODE_STARTS].take(episodes)
        return {"row": indices, "episode": episodes, "step": indices - starts}

    def thumbnails(self, indices: Array, *, stack: bool) -> list[Thumbnail]:
        """Return the pictures of these rows with their captions; only the newest ones unless `stack`."""
        if self.picture_column is None:
            raise UnsupportedError(f"{self._buffer.path}: no column can be drawn")
        names = [name for name in self.captioned if name in self._buffer.spec.batch_names]
        rows, labels, ends = self.read(indices, names), self.labels(indices), self._last_steps(indices)
        is_stack = bool(self._buffer.spec.stack) and is_observation(self.picture_column)
        actions = self._action_names
        made = []
        for index in range(len(indices)):
            pictures = as_pictures(rows[self.picture_column][index], is_stack=is_stack)
            row = {name: values[index] for name, values in rows.items()}
            label = {name: int(numbers[index]) for name, numbers in labels.items()}
            captions = _captions(label, row, actions, is_last=bool(ends[index]))
            made.append(Thumbnail(pictures if stack else pictures[-1:], captions))
        return made

    @property
    def _action_names(self) -> dict[int, str]:
        """The names of discrete actions, as far as they are known, by number."""
        column = self._buffer.spec.columns[ACTIONS]
        space = column.space or {}
        if space.get("type") != "discrete" or column.shape:
            return {}
        names = action_names(self._buffer.metadata.get("environment") or {}, int(space["n"]))
        return dict(enumerate(names or (), int(space.get("start", 0))))

    def _last_steps(self, indices: Array) -> Array:
        """Tell which rows are the last of an episode."""
        if self._buffer.spec.layout != "episodes":
            return np.zeros(len(indices), bool)
        episodes = self._buffer.episode_of(indices)
        starts, lengths = (self._buffer.arrays[name].take(episodes) for name in (EPISODE_STARTS, EPISODE_LENGTHS))
        last: Array = indices == starts + lengths - 1
        return last


def _captions(
    labels: dict[str, int], row: dict[str, Array], actions: Mapping[int, str], *, is_last: bool
) -> list[Text]:
    place = f"row {labels['row']}"
    if "episode" in labels:
        place += f", ep {labels['episode']} step {labels['step']}"
    action = cell_text(np.asarray(row[ACTIONS]), _CAPTION_WIDTH - len("action "))
    if actions:
        action += f" ({actions.get(int(row[ACTIONS]), '?')})"
    reward = cell_text(np.asarray(row[REWARDS]), _CAPTION_WIDTH)
    ended = Text()
    if row.get(TERMINALS):
        ended.append("TERMINAL ", "bold red")
    if row.get(TIMEOUTS):
        ended.append("TIMEOUT ", "bold yellow")
    if is_last and not ended:
        ended.append("LAST OF EPISODE", "bold")
    played = (
        [Text(f"action {action}"), Text(f"reward {reward}")] if actions else [Text(f"action {action}  reward {reward}")]
    )
    return [Text(place, "cyan"), *played, ended]
