"""Learning curves of several runs in one picture, and as numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.errors import UsageError
from rlbuffers.optional import require
from rlbuffers_train.checkpoint_evaluation import step_name_of
from rlbuffers_train.comparison import RunGroup

__all__ = ["check_curves_path", "write_curves"]

_MAX_LEGEND_ROWS = 12


def check_curves_path(path: Path) -> None:
    """Refuse a path whose end names another kind of file.

    Raises
    ------
    UsageError
        If it ends in neither ``.png`` nor ``.csv``.
    """
    if path.suffix.lower() not in (".png", ".csv"):
        raise UsageError(f"{path}: curves are written as a picture, .png, or as numbers, .csv")


def write_curves(path: Path, groups: Sequence[RunGroup]) -> None:
    """Write the curves of return over steps: a picture, or a row for each evaluation of each run.

    A group of several seeds is the mean of those steps that all were evaluated at, and a band from the lowest to the
    highest seed.

    Parameters
    ----------
    path : Path
        ``.png`` or ``.csv``.
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
    content = _picture(shown) if path.suffix.lower() == ".png" else _numbers(shown)
    write_bytes_atomically(path, content)


def _picture(groups: Sequence[RunGroup]) -> bytes:
    figure_module = require("matplotlib.figure", extra="train", purpose="Drawing curves")
    tasks = list(dict.fromkeys(group.task for group in groups))
    # A Figure of its own draws with Agg and leaves pyplot's global state alone.
    figure = figure_module.Figure(figsize=(8, 4.5 * len(tasks)), layout="constrained", facecolor="white")
    panels = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
    for panel, task in zip(panels, tasks, strict=True):
        members = [group for group in groups if group.task == task]
        for group in members:
            steps, returns = zip(*group.curve(), strict=True)
            means = [sum(values) / len(values) for values in returns]
            seeds = f", mean of {len(group.runs)} seeds" if len(group.runs) > 1 else ""
            (line,) = panel.plot(steps, means, linewidth=1.8, label=group.label + seeds)
            if len(group.runs) > 1:
                low, high = [min(values) for values in returns], [max(values) for values in returns]
                panel.fill_between(steps, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        several = any(len(group.runs) > 1 for group in members)
        panel.set_title(f"{task}" + (" (bands: lowest to highest seed)" if several else ""))
        panel.set_xlabel(" or ".join(dict.fromkeys(step_name_of(group.runs[0].checkpoint) for group in members)))
        panel.set_ylabel("mean return of an evaluation")
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:,.5g}")
        panel.grid(color="0.9")
        panel.legend(fontsize="small", framealpha=0.9, ncols=1 + len(members) // _MAX_LEGEND_ROWS)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()


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
