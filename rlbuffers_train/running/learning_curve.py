"""The learning curve of a run as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.optional import require
from rlbuffers_train.epoch_record import EpochRecord

__all__ = ["draw_learning_curve"]


def draw_learning_curve(path: Path, history: Sequence[EpochRecord], title: str, step_name: str) -> None:
    """Write a PNG of the return (mean and standard deviation) and the loss over the steps of a run."""
    figure_module = require("matplotlib.figure", extra="train", purpose="Drawing the learning curve")
    # A Figure of its own draws with Agg and leaves pyplot's global state alone.
    figure = figure_module.Figure(figsize=(7, 6), layout="constrained", facecolor="white")
    returns, losses = figure.subplots(2, 1, sharex=True)
    evaluated = [(record.step, record.evaluation) for record in history if record.evaluation is not None]
    if evaluated:
        steps = [step for step, _ in evaluated]
        means = [result.mean for _, result in evaluated]
        returns.plot(steps, means, marker="o", label="mean return")
        low = [result.mean - result.std for _, result in evaluated]
        high = [result.mean + result.std for _, result in evaluated]
        returns.fill_between(steps, low, high, alpha=0.2, label="± 1 standard deviation of episodes")
        returns.legend()
    returns.set_title(title)
    returns.set_ylabel("return")
    names = dict.fromkeys(name for record in history for name in record.metrics if name.endswith("loss"))
    for name in names:
        points = [(record.step, record.metrics[name]) for record in history if name in record.metrics]
        losses.plot(*zip(*points, strict=True), label=name.replace("_", " "))
    if len(names) > 1:
        losses.legend()
    losses.set_ylabel("loss")
    losses.set_xlabel(step_name)
    for panel in (returns, losses):
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.grid(color="0.9")
    returns.yaxis.set_major_formatter("{x:,.5g}")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    write_bytes_atomically(path, stream.getvalue())
