"""A reporter that draws a table which grows while training goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.running.reporting import Progress

__all__ = ["LiveTable"]

_SECONDS_BETWEEN_DRAWINGS = 0.25
_LINES_BESIDE_ROWS = 8  # title, frame, heading, status that wraps
_FIRST_COLUMNS = ("epoch", "step", "return")
_FRAME = 3  # a line and a space on either side
_NUMBER = 10  # characters that four digits may take, such as -1.234e-05


class LiveTable:
    """One row an epoch and a line on the current one. A context manager.

    Where the console is no terminal, nothing is redrawn: each finished epoch is printed as a line.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw.
    title : str
        Heading of the table.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._records: list[EpochRecord] = []
        self._status = Text()
        self._progress: Progress | None = None
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._drawn_at = 0.0
        self._has_begun = False

    def __enter__(self) -> Self:
        return self

    def _begin(self) -> None:
        """Show the title once there is something to tell: a refused run prints its error only."""
        if self._has_begun:
            return
        self._has_begun = True
        if self._live is not None:
            self._live.start()
        else:
            self._console.print(Text(self._title), soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None and self._has_begun:
            self._status = Text()
            self._draw(len(self._records))
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Redraw the line on the current epoch, a few times a second at most."""
        self._progress = progress
        if self._live is None or time.monotonic() - self._drawn_at < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._begin()
        self._status = Text(
            f"epoch {progress.epoch}/{progress.num_epochs}  {progress.activity}  "
            f"{progress.step:,} {progress.step_name} ({progress.steps_per_second:,.0f}/s)  "
            f"time: {progress.time_shares}"
        )
        self._draw(self._console.height - _LINES_BESIDE_ROWS)

    def epoch_done(self, record: EpochRecord) -> None:
        """Add a row, or print a line."""
        self._begin()
        self._records.append(record)
        if self._live is not None:
            self._draw(self._console.height - _LINES_BESIDE_ROWS)
            return
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in record.metrics.items())
        self._console.print(
            Text(f"epoch {record.epoch}  step {record.step:,}  return {_return_of(record)}  {metrics}{self._speed()}"),
            soft_wrap=True,
        )

    def _speed(self) -> str:
        """Word how fast training is and where its time goes, as the line on the current epoch does on a terminal."""
        progress = self._progress
        return "" if progress is None else f"  {progress.steps_per_second:,.0f}/s  time: {progress.time_shares}"

    def note(self, message: str) -> None:
        """Print one line above the table."""
        self._begin()
        self._console.print(Text(message), soft_wrap=True)

    def _draw(self, max_rows: int) -> None:
        """Draw the newest rows; rich would cut a table that is taller than the terminal at its lower end."""
        if self._live is None:
            return
        records = self._records[-max(max_rows, 1) :]
        names = self._metrics_that_fit(records)
        table = Table(title=self._title, title_justify="left")
        for heading in (*_FIRST_COLUMNS, *names, "minutes"):  # headings of metrics may wrap, numbers may not
            table.add_column(heading.replace("_", " "), justify="right", no_wrap=heading not in names)
        for record in records:
            values = (f"{record.metrics[name]:.4g}" if name in record.metrics else "" for name in names)
            table.add_row(*_first_cells(record), *values, f"{record.seconds / 60:.1f}")
        self._live.update(Group(table, self._status), refresh=True)
        self._drawn_at = time.monotonic()

    def _metrics_that_fit(self, records: Sequence[EpochRecord]) -> list[str]:
        """Return the metrics that have a place, so that each epoch stays one line."""
        names = dict.fromkeys(name for record in records for name in record.metrics)
        cells = [_FIRST_COLUMNS, *(_first_cells(record) for record in records)]
        room = self._console.width - 1 - sum(_FRAME + max(map(len, column)) for column in zip(*cells, strict=True))
        room -= _FRAME + len("minutes")
        fitting = []
        for name in names:
            room -= _FRAME + max(_NUMBER, *(len(word) for word in name.split("_")))
            if room < 0:
                break
            fitting.append(name)
        return fitting


def _first_cells(record: EpochRecord) -> tuple[str, str, str]:
    result = record.evaluation
    told = "none" if result is None else f"{result.mean:.1f} ± {result.std:.1f}"
    return str(record.epoch), f"{record.step:,}", told


def _return_of(record: EpochRecord) -> str:
    return "not evaluated" if record.evaluation is None else str(record.evaluation)
