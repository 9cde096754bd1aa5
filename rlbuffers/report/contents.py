"""Everything that the page draws, gathered from a buffer as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlbuffers.metadata import episode_statistics
from rlbuffers.reader import Buffer
from rlbuffers.report.columns import action_figure, observation_figures, reward_figure
from rlbuffers.report.episodes import choose_episodes, episode_figures, episode_steps
from rlbuffers.report.film import average_frames, episode_film, image_column, transition_sheet
from rlbuffers.report.runs import describe_run

__all__ = ["Contents", "gather"]

Json = dict[str, Any]


@dataclass
class Contents:
    """What the page draws.

    Parameters
    ----------
    figures : mapping of key to JSON
        One entry a figure.
    episodes : list of JSON
        Episodes step by step.
    films : mapping of episode number to JSON
        Their frames.
    runs : list of JSON
        Training runs.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    episodes: list[Json] = field(default_factory=list)
    films: dict[str, Json] = field(default_factory=dict)
    runs: list[Json] = field(default_factory=list)


def gather(buffer: Buffer, runs: Sequence[Path], max_frame_bytes: int, on_step: Callable[[str], None]) -> Contents:
    """Look at a buffer; runs are read first, so that a wrong path is told at once."""
    contents = Contents(runs=[describe_run(folder, buffer.fingerprint) for folder in runs])
    contents.figures |= _curves(contents.runs, buffer.metadata)
    if buffer.spec.layout == "episodes":
        on_step("episodes")
        contents.figures |= episode_figures(buffer)
    for name, look in {"rewards": reward_figure, "actions": action_figure}.items():
        on_step(name)
        found = look(buffer)
        if found is not None:
            contents.figures[name] = found
    on_step("observations")
    contents.figures |= observation_figures(buffer)
    images = image_column(buffer)
    if images is not None:
        on_step("frames")
        contents.figures["average"] = average_frames(buffer, images)
    if buffer.spec.layout == "episodes":
        _add_episodes(buffer, images, max_frame_bytes, contents)
    elif images is not None:
        contents.figures["transitions"] = transition_sheet(buffer, images)
    return contents


def _add_episodes(buffer: Buffer, images: str | None, max_frame_bytes: int, contents: Contents) -> None:
    chosen = choose_episodes(buffer)
    names = (contents.figures.get("actions") or {}).get("names")
    left = max_frame_bytes
    for shown, (number, reason) in enumerate(chosen.items()):
        episode = episode_steps(buffer, number) | {"reason": reason, "actionNames": names}
        contents.episodes.append(episode)
        if images is not None:
            film = episode_film(buffer, images, number, left // (len(chosen) - shown))
            left -= sum(len(strip) for strip in film["strips"])
            contents.films[str(number)] = film


def _curves(runs: Sequence[Json], metadata: Mapping[str, Any]) -> dict[str, Json]:
    """Return one figure a tag, with a line a run; the spread of returns is a band around their mean."""
    tags = sorted(
        {tag for run in runs for tag in run["curves"]} - {"return/std"}, key=lambda tag: (tag != "return/mean", tag)
    )
    behavior = (episode_statistics(metadata, "episode_returns", "mean") or {}).get("mean")
    found: dict[str, Json] = {}
    for tag in tags:
        lines = [
            {
                "name": run["label"],
                "color": color,
                **run["curves"][tag],
                **({"spread": _spread(run)} if tag == "return/mean" else {}),
            }
            for color, run in enumerate(runs)
            if tag in run["curves"]
        ]
        marks = [{"y": behavior, "label": "behavior policy"}] if tag == "return/mean" and behavior is not None else []
        found[f"curve/{tag}"] = {"lines": lines, "marks": marks, "yLabel": tag}
    return found


def _spread(run: Json) -> list[float | None] | None:
    """Return the standard deviations that belong to the mean returns, if each has one."""
    means, spreads = run["curves"].get("return/mean"), run["curves"].get("return/std")
    return spreads["y"] if spreads and means and spreads["x"] == means["x"] else None
