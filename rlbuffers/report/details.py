"""The facts below the figures: columns, origin, notes, and how to load and cite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlbuffers.cards.bibtex import citation_of
from rlbuffers.cards.origin import parents_of
from rlbuffers.reader import Buffer
from rlbuffers.report.html import definitions, escape, listing, table
from rlbuffers.report.numbers import number_text

__all__ = ["details_html"]

Json = Mapping[str, Any]
_SHOWN_FILES = 100


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
        rows = [
            [file.get("name", ""), f"{file.get('bytes', 0):,}", file.get("sha256", "")] for file in files[:_SHOWN_FILES]
        ]
        parts.append(table(["file", "bytes", "SHA-256"], rows))
        if len(files) > _SHOWN_FILES:
            parts.append(f"<p class='note'>and {len(files) - _SHOWN_FILES:,} more files.</p>")
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
            lines[name] = number_text(item) if isinstance(item, float) else _short(item)
    return lines


def _short(item: Any) -> str:
    if isinstance(item, list):
        shown = ", ".join(number_text(part) if isinstance(part, int | float) else str(part) for part in item[:16])
        return shown + (f", and {len(item) - 16:,} more" if len(item) > 16 else "")
    return f"{item:,}" if isinstance(item, int) and not isinstance(item, bool) else str(item)
