"""Learning curves of several runs in one picture, and as numbers."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import UsageError
from rlbuffers.optional import require
from rlbuffers_train.comparing.checkpoint_evaluation import step_name_of
from rlbuffers_train.comparing.comparison import RunGroup

__all__ = ["check_curves_path", "write_curves"]

_MAX_LEGEND_WITHIN = 5  # lines; a longer list would cover them and stands beside the panels
_MAX_LABEL_WITHIN = 40  # characters, likewise
_LABEL_WIDTH = 44  # characters of a line beside the panels
_PANEL_SIZE = (8.0, 4.5)  # inches
_LEGEND_WIDTH = 4.0
_PICTURES = (".png", ".pdf", ".svg")
_FEW_POINTS = 20  # are marked: one alone would be no line at all
_FEW_COLORS = 10


def check_curves_path(path: Path) -> None:
    """Refuse a path whose end names another kind of file.

    Raises
    ------
    UsageError
        If it ends in none of ``.png``, ``.pdf``, ``.svg`` and ``.csv``.
    """
    if path.suffix.lower() not in (*_PICTURES, ".csv"):
        raise UsageError(f"{path}: curves are drawn as .png, .pdf or .svg, listed as .csv; the table is written as .md")


def write_curves(path: Path, groups: Sequence[RunGroup]) -> None:
    """Write the curves of return over steps: a picture, or a row for each evaluation of each run.

    A group of several seeds is the mean of those steps that all were evaluated at, and a band from the lowest to the
    highest seed.

    Parameters
    ----------
    path : Path
        ``.png``, ``.pdf`` or ``.svg``; or ``.csv``.
    groups : sequence of RunGroup
        What to draw.

    Raises
    ------
    UsageError
        If the path ends in something else, or no run was evaluated.
    """
    check_curves_path(path)
    shown = [group for group in groups if group.curve()]
    if not shown:
        raise UsageError("there are no curves: none of these runs was evaluated")
    kind = path.suffix.lower()
    content = _picture(shown, kind[1:]) if kind in _PICTURES else _numbers(shown)
    write_bytes_atomically(path, content)


def _picture(groups: Sequence[RunGroup], kind: str) -> bytes:
    """Draw a panel for each task; updates and steps of an environment are not drawn over one another."""
    figure_module = require("matplotlib.figure", extra="train", purpose="Drawing curves")
    colors = _colors([group.label for group in groups])
    places = list(dict.fromkeys(_place(group) for group in groups))
    is_beside = any(_is_legend_beside([group for group in groups if _place(group) == place]) for place in places)
    width, height = _PANEL_SIZE[0] + _LEGEND_WIDTH * is_beside, _PANEL_SIZE[1] * len(places)
    # A Figure of its own draws with Agg and leaves pyplot's global state alone.
    figure = figure_module.Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = figure.subplots(len(places), 1, squeeze=False)[:, 0]
    for panel, place in zip(panels, places, strict=True):
        members = [group for group in groups if _place(group) == place]
        for group in members:
            steps, returns = zip(*group.curve(), strict=True)
            means = [sum(values) / len(values) for values in returns]
            color, marker = colors[group.label], "o" if len(steps) <= _FEW_POINTS else None
            name = textwrap.fill(_legend_of(group), _LABEL_WIDTH, subsequent_indent="  ")
            panel.plot(steps, means, color=color, marker=marker, markersize=4, linewidth=1.8, label=name)
            if len(group.runs) > 1:
                low, high = [min(values) for values in returns], [max(values) for values in returns]
                panel.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
        several = any(len(group.runs) > 1 for group in members)
        panel.set_title(f"{place[0]}" + (" (bands: lowest to highest seed)" if several else ""))
        panel.set_xlabel(place[1])
        panel.set_ylabel("mean return of an evaluation")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:,.5g}")
        panel.grid(color="0.9")
        beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if is_beside else {}
        panel.legend(fontsize="small", framealpha=0.9, **beside)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=120)
    return stream.getvalue()


def _legend_of(group: RunGroup) -> str:
    return group.label + (f", mean of {len(group.runs)} seeds" if len(group.runs) > 1 else "")


def _is_legend_beside(members: Sequence[RunGroup]) -> bool:
    return len(members) > _MAX_LEGEND_WITHIN or any(len(_legend_of(one)) > _MAX_LABEL_WITHIN for one in members)


def _place(group: RunGroup) -> tuple[str | None, str]:
    """Return what runs of one panel have in common: the task, and what a step is."""
    return group.task, step_name_of(group.runs[0].checkpoint)


def _colors(labels: Sequence[str]) -> dict[str, Any]:
    """Return a color for each label, the same in every panel."""
    color_maps = require("matplotlib", extra="train", purpose="Drawing curves").colormaps
    names = list(dict.fromkeys(labels))
    palette = color_maps["tab10" if len(names) <= _FEW_COLORS else "tab20"].colors
    return {name: palette[number % len(palette)] for number, name in enumerate(names)}


def _numbers(groups: Sequence[RunGroup]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["label", "task", "seed", "epoch", "step", "return_mean", "return_std", "num_episodes", "seconds"])
    for group in groups:
        for run in group.runs:
            for record in run.history:
                if record.evaluation is not None:
                    result = record.evaluation
                    place = [group.label, group.task, run.seed, record.epoch, record.step]
                    writer.writerow([*place, result.mean, result.std, result.num_episodes, round(record.seconds, 1)])
    return stream.getvalue().encode()
