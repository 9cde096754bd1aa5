"""The words of the page: its heading, and the figures with their captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlbuffers.cards.buffer_card import summary_sentence
from rlbuffers.cards.licenses import find_license
from rlbuffers.metadata import episode_statistics
from rlbuffers.reader import Buffer
from rlbuffers.report.contents import Contents
from rlbuffers.report.film import image_column, reduction
from rlbuffers.report.html import definitions, escape, figure, listing
from rlbuffers.report.numbers import number_text, size_text

__all__ = ["figures_html", "head_html"]

Json = Mapping[str, Any]


def head_html(buffer: Buffer, title: str) -> str:
    """Return heading, summary, the most important facts, and the warnings."""
    metadata = buffer.metadata
    warnings = buffer.warnings
    faults = f'<aside class="faults"><h2>Known faults</h2>{listing(warnings)}</aside>' if warnings else ""
    return (
        f"<h1>{escape(title)}</h1>\n<p class='summary'>{escape(summary_sentence(metadata))}</p>\n"
        f"{definitions(_headline(buffer))}\n{faults}"
    )


def _headline(buffer: Buffer) -> dict[str, str]:
    metadata, counts = buffer.metadata, buffer.metadata["counts"]
    facts = {"Transitions": f"{len(buffer):,}"}
    if "episodes" in counts:
        facts["Episodes"] = f"{counts['episodes']:,}"
        if counts.get("whole_episodes") != counts["episodes"]:
            facts["Episodes"] += f" ({counts.get('whole_episodes', 0):,} whole)"
    for name in ("terminals", "timeouts"):
        facts[name.capitalize()] = f"{counts[name]:,}" if name in counts else "not recorded"
    facts |= _results(metadata)
    facts["Layout"] = f"{metadata['spec']['layout']}, {metadata['spec']['order']} order"
    size = buffer.store_disk_bytes
    facts["On disk"] = f"{size_text(size)}, {size / len(buffer):,.0f} bytes a transition"
    source = metadata.get("source") or {}
    told = [str(source[key]) for key in ("format", "dataset") if source.get(key)]
    made = (metadata.get("derivation") or {}).get("operation")
    facts["Source"] = ", ".join([*told, *([f"made by {made}"] if made else [])]) or "not stated"
    facts["License"] = find_license(metadata.get("license")).text or "not stated"
    facts["Fingerprint"] = buffer.fingerprint
    return facts


def _results(metadata: Json) -> dict[str, str]:
    facts = {}
    returns, lengths = (
        episode_statistics(metadata, f"episode_{name}", "mean", "std") for name in ("returns", "lengths")
    )
    if returns:
        facts["Return"] = f"{number_text(returns['mean'])} ± {number_text(returns['std'])}"
        scores = (metadata.get("environment") or {}).get("reference_scores")
        if scores and scores["max"] != scores["min"]:
            score = 100 * (returns["mean"] - scores["min"]) / (scores["max"] - scores["min"])
            facts["Normalized score"] = f"{score:.1f}"
    if lengths:
        facts["Episode length"] = f"{number_text(lengths['mean'])} ± {number_text(lengths['std'])} steps"
    return facts


def figures_html(buffer: Buffer, contents: Contents) -> str:
    """Return the sections with figures, in the order in which one wants to know."""
    numbered = _Numbered()
    sections = [
        ("Episodes", list(_episode_figures(buffer, contents, numbered))),
        ("Steps", list(_step_figures(buffer, contents, numbered))),
        ("Observations", list(_observation_figures(contents, numbered))),
        ("Training", list(_training_figures(contents, numbered))),
    ]
    return "\n".join(
        f'<section><h2>{title}</h2><div class="figures">{"".join(parts)}</div></section>'
        for title, parts in sections
        if parts
    )


class _Numbered:
    """Counts figures."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, kind: str, key: str, title: str, caption: str, *, wide: bool = False) -> str:
        self.count += 1
        return figure(self.count, kind, key, title, caption, wide=wide)


def _episode_figures(buffer: Buffer, contents: Contents, add: _Numbered) -> Iterator[str]:
    figures = contents.figures
    for key, title in (("returns", "Returns"), ("lengths", "Lengths")):
        if key in figures:
            found = figures[key]
            caption = (
                f"{sum(found['counts']):,} whole episodes; mean {number_text(found['mean'])}, "
                f"median {number_text(found['median'])}. The lines mark both."
            )
            yield add("histogram", key, title, caption)
    if "recording" in figures:
        grouped = figures["recording"].get("grouped")
        each = (
            f"Each point is the mean of about {grouped:,} episodes, the band their least and greatest return."
            if grouped
            else "One point a whole episode."
        )
        yield add("recording", "recording", "Returns in the order of the file", each, wide=True)
    if contents.episodes:
        yield add("player", "episodes", *_player_caption(buffer, contents), wide=True)
    elif buffer.spec.layout == "transitions" and "transitions" not in figures:
        yield "<p class='note'>Rows are independent transitions: there are no episodes to show.</p>"


def _player_caption(buffer: Buffer, contents: Contents) -> tuple[str, str]:
    words = ["Space plays and pauses; the arrow keys step (with Shift ten steps), Home and End jump."]
    if contents.films:
        cut = [name for name, film in contents.films.items() if film["count"] < film["total"]]
        shown = sum(film["count"] for film in contents.films.values())
        words.append(f"The page holds {shown:,} frames without loss.")
        if cut:
            words.append(f"For want of room the frames of episodes {', '.join(cut)} end early; their rewards do not.")
        reduced = _reduced(buffer)
        if reduced > 1:
            words.append(f"Frames are averaged over {reduced} × {reduced} pixels.")
    short = [str(episode["number"]) for episode in contents.episodes if episode["steps"] < episode["length"]]
    if short:
        words.append(f"Of episodes {', '.join(short)} the first {contents.episodes[0]['steps']:,} steps are shown.")
    return f"{len(contents.episodes)} of {buffer.num_episodes:,} episodes step by step", " ".join(words)


def _reduced(buffer: Buffer) -> int:
    name = image_column(buffer)
    return reduction(buffer.spec.columns[name]) if name else 1


def _step_figures(buffer: Buffer, contents: Contents, add: _Numbered) -> Iterator[str]:
    figures = contents.figures
    if "rewards" in figures:
        total = sum(figures["rewards"]["counts"])
        yield add("histogram", "rewards", "Rewards", f"{total:,} steps.{_not_finite(figures['rewards'])}")
    actions = figures.get("actions")
    if actions and actions["kind"] == "discrete":
        yield add("bars", "actions", "Actions", f"How often each of {len(actions['counts'])} actions was taken.")
    elif actions and actions["kind"] == "values":
        yield add("histogram", "actions", "Actions", "How often each value was taken.")
    elif actions:
        yield add("elements", "actions", "Actions", _elements_caption(actions), wide=True)
    if "transitions" in figures:
        words = "Frames of the observation, oldest first, and the newest frame of the next observation (framed)."
        if not buffer.spec.stack:
            words = "Observation and next observation (framed)."
        yield add(
            "sheet", "transitions", f"{len(figures['transitions'])} of {len(buffer):,} transitions", words, wide=True
        )


def _observation_figures(contents: Contents, add: _Numbered) -> Iterator[str]:
    for key, found in contents.figures.items():
        if key.startswith("observations"):
            yield add("elements", key, key.capitalize(), _elements_caption(found), wide=True)
    average = contents.figures.get("average")
    if average:
        caption = (
            f"Mean (left) and standard deviation (right, white is {average['brightest']:g} of 255) of each pixel over "
            f"{average['frames']:,} of {average['of']:,} frames, taken evenly from the whole buffer."
        )
        yield add("average", "average", "The average frame", caption, wide=True)


def _elements_caption(found: Json) -> str:
    if found["histograms"]:
        words = (
            "Each row is an element: its histogram from minimum to maximum, its mean (dot) and one standard "
            "deviation (bar)."
        )
    else:
        words = f"Mean, one standard deviation (dark) and range (light) of {found['size']:,} elements."
    return words + _not_finite(found)


def _not_finite(found: Json) -> str:
    return f" {found['notFinite']:,} values are not finite and are left out." if found["notFinite"] else ""


def _training_figures(contents: Contents, add: _Numbered) -> Iterator[str]:
    if contents.runs:
        yield f'<div class="note">{listing(_run_sentence(run) for run in contents.runs)}</div>'
    for key in contents.figures:
        if key == "curve/return/mean":
            words = "Evaluation episodes of the policy in training; the band is one standard deviation of the episodes."
            yield add("lines", key, "Return", words, wide=True)
        elif key.startswith("curve/"):
            yield add("lines", key, key.removeprefix("curve/").replace("_", " ").capitalize(), "")


def _run_sentence(run: Json) -> str:
    best = run["best"]
    score = ""
    if best:
        mean, std = number_text(best["mean"]), number_text(best["std"])
        score = f"; its best policy reaches {mean} ± {std} over {best['num_episodes']:,} fresh episodes"
    complaints = "".join(f" {text}." for text in run["complaints"])
    return f"{run['label']}: {run['data']}{score}.{complaints}"
