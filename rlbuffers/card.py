"""Data cards: a buffer's metadata as the page that people read.

The front matter follows the Hugging Face dataset card. A card says only what the metadata say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["render_card"]

_SIZE_CLASSES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
_KNOWN_LICENSES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0"}


def render_card(metadata: Mapping[str, Any], name: str) -> str:
    """Return the card of a buffer as Markdown.

    Parameters
    ----------
    metadata : mapping
        ``Buffer.metadata``.
    name : str
        Title of the card.
    """
    sections = [
        _front_matter(metadata, name),
        f"# {name}",
        _summary(metadata),
        "## Columns",
        _columns(metadata["spec"]),
        "## Statistics",
        _facts({**metadata["counts"], **_without_lists(metadata["statistics"])}),
    ]
    titles = {
        "environment": "Environment",
        "behavior_policy": "Behavior policy",
        "source": "Source",
        "measurements": "Measured on the source",
    }
    for key, title in titles.items():
        if metadata.get(key):
            sections += [f"## {title}", _facts(metadata[key])]
    for key, title in {"warnings": "Known faults", "left_out": "Left out", "notes": "Notes"}.items():
        if metadata.get(key):
            sections += [f"## {title}", "\n".join(f"- {text}" for text in metadata[key])]
    sections += ["## License and citation", f"License: {metadata.get('license') or 'unknown'}."]
    if metadata.get("citation"):
        sections.append(f"```bibtex\n{metadata['citation']}\n```")
    return "\n\n".join(sections) + "\n"


def _front_matter(metadata: Mapping[str, Any], name: str) -> str:
    count = metadata["counts"]["transitions"]
    size = next((label for limit, label in _SIZE_CLASSES if count < limit), "n>1B")
    lines = [
        "---",
        f"pretty_name: {json.dumps(name)}",
        f"license: {_KNOWN_LICENSES.get(metadata.get('license', ''), 'unknown')}",
        "task_categories:",
        "- reinforcement-learning",
        "tags:",
        "- offline-rl",
        "- rlbuffers",
        "size_categories:",
        f"- {size}",
        "viewer: false",
        "---",
    ]
    return "\n".join(lines)


def _summary(metadata: Mapping[str, Any]) -> str:
    spec, counts = metadata["spec"], metadata["counts"]
    environment = metadata.get("environment", {}).get("id", "an unknown environment")
    behavior = metadata.get("behavior_policy", {})
    played_by = behavior.get("name", "an unknown policy")
    episodes = f" in {counts['episodes']:,} episodes" if "episodes" in counts else ""
    return (
        f"{counts['transitions']:,} transitions{episodes} of {environment}, played by {played_by} "
        f"(epsilon {behavior.get('epsilon', 'unknown')}). Layout `{spec['layout']}`, order `{spec['order']}`.\n\n"
        f"Fingerprint: `{metadata['fingerprint']}`"
    )


def _columns(spec: Mapping[str, Any]) -> str:
    lines = ["| column | dtype | shape | space |", "| --- | --- | --- | --- |"]
    for name, column in spec["columns"].items():
        space = json.dumps(column["space"]) if column.get("space") else ""
        lines.append(f"| `{name}` | {column['dtype']} | {tuple(column['shape'])} | {space} |")
    for name, column in spec["episode_columns"].items():
        lines.append(f"| `episodes/{name}` | {column['dtype']} | {tuple(column['shape'])} | once an episode |")
    for name, column in spec["extras"].items():
        lines.append(f"| `extras/{name}` | {column['dtype']} | {tuple(column['shape'])} | of the whole buffer |")
    return "\n".join(lines)


def _without_lists(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out elementwise lists: the metadata have them, a page has no use for them."""
    found: dict[str, Any] = {}
    for name, value in statistics.items():
        if isinstance(value, dict):
            numbers = {key: number for key, number in value.items() if isinstance(number, int | float)}
            if numbers:
                found[name] = numbers
        elif value is not None:
            found[name] = value
    return found


def _facts(facts: Mapping[str, Any]) -> str:
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in sorted(facts.items())]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        text = json.dumps(value)
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, dict):
        text = ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = ", ".join(_cell(item) for item in value)
    else:
        text = str(value)
    return text.replace("|", "\\|")
