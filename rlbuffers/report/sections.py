"""The words of the page: heading, figures with their captions, and the facts below them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from rlbuffers.cards.bibtex import citation_of
from rlbuffers.cards.buffer_card import summary_sentence
from rlbuffers.cards.licenses import find_license
from rlbuffers.cards.origin import parents_of
from rlbuffers.reader import Buffer
from rlbuffers.report.contents import Contents
from rlbuffers.report.film import image_column, reduction
from rlbuffers.report.html import definitions, escape, figure, listing, table

__all__ = ["details_html", "figures_html", "head_html"]

Json = Mapping[str, Any]
_UNITS = ("B", "KB", "MB", "GB", "TB")


def head_html(buffer: Buffer, title: str) -> str:
    """Return heading, summary, the most important facts, and the warnings."""
    metadata = buffer.metadata
    warnings = metadata.get("warnings") or []
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
    facts["On disk"] = f"{_size(size)}, {size / len(buffer):,.0f} bytes a transition"
    source = metadata.get("source") or {}
    told = [str(source[key]) for key in ("format", "dataset") if source.get(key)]
    made = (metadata.get("derivation") or {}).get("operation")
    facts["Source"] = ", ".join([*told, *([f"made by {made}"] if made else [])]) or "not stated"
    facts["License"] = find_license(metadata.get("license")).text or "not stated"
    facts["Fingerprint"] = buffer.fingerprint
    return facts


def _results(metadata: Json) -> dict[str, str]:
    if metadata["spec"]["layout"] != "episodes":  # a column of the same name counts its episodes once a step
        return {}
    statistics = metadata["statistics"]
    facts = {}
    returns, lengths = statistics.get("episode_returns"), statistics.get("episode_lengths")
    if returns:
        facts["Return"] = f"{_number(returns['mean'])} ± {_number(returns['std'])}"
        scores = (metadata.get("environment") or {}).get("reference_scores")
        if scores and scores["max"] != scores["min"]:
            score = 100 * (returns["mean"] - scores["min"]) / (scores["max"] - scores["min"])
            facts["Normalized score"] = f"{score:.1f}"
    if lengths:
        facts["Episode length"] = f"{_number(lengths['mean'])} ± {_number(lengths['std'])} steps"
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
                f"{sum(found['counts']):,} whole episodes; mean {_number(found['mean'])}, "
                f"median {_number(found['median'])}. The lines mark both."
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
        mean, std = _number(best["mean"]), _number(best["std"])
        score = f"; its best policy reaches {mean} ± {std} over {best['num_episodes']:,} fresh episodes"
    complaints = "".join(f" {text}." for text in run["complaints"])
    return f"{run['label']}: {run['data']}{score}.{complaints}"


def details_html(buffer: Buffer) -> str:
    """Return columns, origin, notes, and how to load and cite."""
    metadata = buffer.metadata
    parts = [
        "<section><h2>Columns</h2>",
        table(["name", "dtype", "shape", "space"], _column_rows(buffer)),
        "</section>",
    ]
    for key, title in (
        ("environment", "Environment"),
        ("behavior_policy", "Behavior policy"),
        ("measurements", "Measured on the source"),
    ):
        if metadata.get(key):
            parts.append(f"<section><h2>{title}</h2>{definitions(_flat(metadata[key]))}</section>")
    parts.append(f"<section><h2>Origin</h2>{_origin(metadata)}</section>")
    for key, title in (("left_out", "Left out"), ("notes", "Notes")):
        if metadata.get(key):
            parts.append(f"<section><h2>{title}</h2>{listing(metadata[key])}</section>")
    code = (
        f'import rlbuffers\n\nwith rlbuffers.open("{buffer.path.name}") as buffer:\n'
        "    batch = buffer.sampler(batch_size=32, seed=0).sample()"
    )
    parts.append(f"<section><h2>Load and cite</h2><pre>{escape(code)}</pre>")
    parts.append(f"<pre>{escape(citation_of(metadata, buffer.path.stem))}</pre></section>")
    return "\n".join(parts)


def _column_rows(buffer: Buffer) -> Iterator[list[object]]:
    for name in buffer.spec.batch_names:
        column = buffer.spec.batch_column(name)
        stored = name in buffer.spec.columns
        yield [
            name,
            column.dtype.name,
            _shape(column.shape),
            _space(column.space) if stored else "derived from the next step",
        ]
    for name, column in buffer.spec.episode_columns.items():
        yield [f"episodes/{name}", column.dtype.name, _shape(column.shape), "once an episode"]
    for name, column in buffer.spec.extras.items():
        yield [f"extras/{name}", column.dtype.name, _shape(column.shape), "of the whole buffer"]


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def _space(space: Json | None) -> str:
    if not space:
        return ""
    if space["type"] == "discrete":
        first = space.get("start", 0)
        return f"{first} to {first + space['n'] - 1}"
    low, high = space["low"], space["high"]
    if isinstance(low, list) or isinstance(high, list):
        return "box, bounds by element"
    return f"{'−∞' if low is None else low} to {'∞' if high is None else high}"


def _origin(metadata: Json) -> str:
    source, derivation = metadata.get("source") or {}, metadata.get("derivation") or {}
    facts = _flat({name: value for name, value in source.items() if name not in ("files", "parts")})
    written = metadata.get("written_by") or {}
    facts |= {
        f"written: {name}": str(written[name])
        for name in ("command", "created", "python", "platform")
        if name in written
    }
    if derivation:
        facts["made by"] = str(derivation.get("operation"))
    parts = [definitions(facts)] if facts else []
    files = source.get("files") or []
    if files:
        rows = [[file.get("name", ""), f"{file.get('bytes', 0):,}", file.get("sha256", "")] for file in files[:100]]
        parts.append(table(["file", "bytes", "SHA-256"], rows))
        if len(files) > 100:
            parts.append(f"<p class='note'>and {len(files) - 100:,} more files.</p>")
    parents = [
        [depth, parent.get("name", ""), parent.get("fingerprint", "")] for depth, parent in parents_of(derivation)
    ]
    if parents:
        parts.append(table(["generation back", "parent", "fingerprint"], parents))
    return "".join(parts) or "<p class='note'>The metadata say nothing of it.</p>"


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    lines: dict[str, str] = {}
    for key, item in sorted(value.items()):
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(item, dict) and item:
            lines |= _flat(item, f"{name}: ")
        elif item not in (None, "", {}, []):
            lines[name] = _number(item) if isinstance(item, float) else _short(item)
    return lines


def _short(item: Any) -> str:
    if isinstance(item, list):
        shown = ", ".join(_number(part) if isinstance(part, int | float) else str(part) for part in item[:16])
        return shown + (f", and {len(item) - 16:,} more" if len(item) > 16 else "")
    return f"{item:,}" if isinstance(item, int) and not isinstance(item, bool) else str(item)


def _number(value: float | None) -> str:
    """Return a number with the digits that matter."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def _size(num_bytes: float) -> str:
    size = float(num_bytes)
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} {_UNITS[-1]}"
