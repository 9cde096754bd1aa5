"""The report of a buffer: gathers what is shown and fills the page.

The page is one file: style, scripts, data and frames stand in it, and its policy forbids it to load anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import rlbuffers
from rlbuffers.reader import Buffer
from rlbuffers.report.contents import Contents, gather
from rlbuffers.report.details import details_html
from rlbuffers.report.html import escape, json_script
from rlbuffers.report.sections import figures_html, head_html

__all__ = ["DEFAULT_FRAME_BYTES", "render_report"]

DEFAULT_FRAME_BYTES = 7_000_000
_SCRIPTS = ("svg.js", "charts.js", "player.js", "page.js")


def render_report(
    buffer: Buffer,
    title: str,
    runs: Sequence[Path] = (),
    *,
    max_frame_bytes: int = DEFAULT_FRAME_BYTES,
    on_step: Callable[[str], None] = lambda what: None,
) -> str:
    """Return the page of a buffer; the same buffer and runs give the same text.

    Columns are read in blocks, so buffers larger than RAM work; open the buffer with a small ``cache``.

    Parameters
    ----------
    buffer : Buffer
        What the page is about.
    title : str
        Heading of the page.
    runs : sequence of Path
        Folders of training runs whose curves are shown.
    max_frame_bytes : int, default 7,000,000
        Room for frames of episodes in the page, in bytes of text. What does not fit is left out, and the page says so.
    on_step : callable, optional
        Is told what is being done.

    Raises
    ------
    BufferNotFoundError, FormatError
        If a run's folder is missing or holds no curves.
    CorruptDataError
        If a chunk of the buffer is damaged.
    """
    contents: Contents = gather(buffer, runs, max_frame_bytes, on_step)
    data: dict[str, Any] = {"figures": contents.figures, "episodes": contents.episodes, "films": contents.films}
    page = Template(_asset("page.html"))
    return page.substitute(
        title=escape(title),
        style=_asset("report.css"),
        head=head_html(buffer, title),
        figures=figures_html(buffer, contents),
        details=details_html(buffer),
        data=json_script("report-data", data),
        script="\n".join(_asset(name) for name in _SCRIPTS),
        footer=escape(
            f"Written by rlbuffers {rlbuffers.__version__} from {buffer.path.name}, fingerprint {buffer.fingerprint}."
        ),
    )


def _asset(name: str) -> str:
    return (files("rlbuffers.report") / "assets" / name).read_text(encoding="utf-8")
