"""A buffer's card: Markdown with Hugging Face front matter. It says only what the metadata say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlbuffers.cards.bibtex import citation_of
from rlbuffers.cards.front_matter import front_matter
from rlbuffers.cards.licenses import find_license
from rlbuffers.cards.markdown import bullets, cell, facts_table, fenced, literal, rows_table
from rlbuffers.cards.origin import source_section, written_section
from rlbuffers.metadata import episode_statistics
from rlbuffers.reader_versions import warnings_of
from rlbuffers.schema import NEXT_OBSERVATIONS
from rlbuffers.task_ends import can_terminate

__all__ = ["render_card", "summary_sentence"]

_ALIGNMENT = (
    "`rewards[t]`, `terminals[t]` and `timeouts[t]` follow `actions[t]`, which was taken at `observations[t]`; "
    "`next_observations[t]` is what was observed then. A terminal ends the task; a timeout is a time limit or the end "
    "of the recording, through which a value function bootstraps."
)
_LAYOUTS = {
    "episodes": "Steps stand in the order of play; T transitions of an episode have T + 1 observations.",
    "transitions": "Rows are independent and carry their own next observation.",
}
_END_COUNTS = {
    "episodes": "episodes",
    "whole_episodes": "recorded from beginning to end",
    "terminals": "terminals",
    "timeouts": "timeouts",
    "final_observations_unknown": "last observation not held by the source",
}


def render_card(metadata: Mapping[str, Any], name: str, *, file: str | None = None) -> str:
    """Return the card of a buffer as Markdown; the same buffer gives the same text.

    Parameters
    ----------
    metadata : mapping
        ``Buffer.metadata``.
    name : str
        Title of the card.
    file : str, optional
        Name of the buffer's file or directory, if the card stands beside it.
    """
    sections = [front_matter(metadata, name, file), f"# {cell(name)}", *_sections(metadata, name, file)]
    return "\n\n".join(sections) + "\n"


def summary_sentence(metadata: Mapping[str, Any]) -> str:
    """Say in a sentence how much of what was played by whom."""
    counts = metadata["counts"]
    environment = metadata.get("environment", {}).get("id") or "an unknown environment"
    behavior = metadata.get("behavior_policy", {})
    policy = behavior.get("name") or "an unknown policy"
    epsilon = behavior.get("epsilon")
    exploring = f" (epsilon {epsilon})" if isinstance(epsilon, int | float) else ""
    episodes = f" in {counts['episodes']:,} episodes" if "episodes" in counts else ""
    return f"{counts['transitions']:,} transitions{episodes} of {environment}, played by {policy}{exploring}."


def _sections(metadata: Mapping[str, Any], name: str, file: str | None) -> Iterator[str]:
    yield f"{cell(summary_sentence(metadata))}\n\nFingerprint: `{metadata['fingerprint']}`"
    yield "## How to load it"
    yield _loading(metadata, file or "buffer.hdf5")
    yield "## Layout"
    yield _layout(metadata["spec"])
    yield "## Columns"
    yield _columns(metadata["spec"])
    yield "## Episode ends"
    yield facts_table(_ends(metadata["counts"], metadata.get("environment") or {}))
    yield "## Statistics"
    yield _statistics(metadata)
    scores = metadata.get("environment", {}).get("reference_scores")
    if scores:
        yield "## Reference scores"
        yield _reference_scores(metadata, scores)
    titles = {"environment": "Environment", "behavior_policy": "Behavior policy"}
    for key, title in titles.items():
        facts = {name: value for name, value in (metadata.get(key) or {}).items() if name != "reference_scores"}
        if facts:
            yield f"## {title}"
            yield facts_table(facts)
    yield from source_section(metadata)
    if metadata.get("measurements"):
        yield "## Measured on the source"
        yield facts_table(metadata["measurements"])
    told = {"Known faults": warnings_of(metadata), "Left out": metadata.get("left_out"), "Notes": metadata.get("notes")}
    for title, texts in told.items():
        if texts:
            yield f"## {title}"
            yield bullets(texts)
    yield from written_section(metadata)
    yield "## License and citation"
    yield f"License: {cell(find_license(metadata.get('license')).text or 'unknown')}."
    yield fenced(citation_of(metadata, name), "bibtex")


def _loading(metadata: Mapping[str, Any], file: str) -> str:
    if file.endswith(".zarr"):
        plain = f'`zarr.open_group("{file}")` reads the stored arrays without rlbuffers.'
    else:
        plain = f'`h5py.File("{file}")["observations"]` reads a column without rlbuffers.'
    return (
        "```python\n"
        "import rlbuffers\n\n"
        f'with rlbuffers.open("{file}") as buffer:\n'
        "    batch = buffer.sampler(batch_size=32, seed=0).sample()  # dict of arrays\n"
        "```\n\n"
        f"`rlbuffers validate {file}` checks every byte against the fingerprint above. {plain}"
    )


def _layout(spec: Mapping[str, Any]) -> str:
    shuffled = " They are shuffled: neighbours in the file are not neighbours in time." * (spec["order"] == "shuffled")
    stack = spec["stack"]
    stacked = f" Observations are stacks of {stack} frames, oldest first; each frame is stored once." if stack else ""
    arranged = f"Layout `{spec['layout']}`, order `{spec['order']}`. {_LAYOUTS[spec['layout']]}{shuffled}{stacked}"
    return f"{arranged}\n\n{_ALIGNMENT}"


def _columns(spec: Mapping[str, Any]) -> str:
    groups = (("", "columns", ""), ("episodes/", "episode_columns", "once an episode"))
    rows = [
        [literal(prefix + name), column["dtype"], str(tuple(column["shape"])), _space(column) or said]
        for prefix, group, said in groups
        for name, column in spec[group].items()
    ]
    rows += [
        [literal(f"extras/{name}"), column["dtype"], str(tuple(column["shape"])), "of the whole buffer"]
        for name, column in spec["extras"].items()
    ]
    if spec["layout"] == "episodes":
        rows.append([literal(NEXT_OBSERVATIONS), "", "", "derived from the next step"])
    return rows_table(["column", "dtype", "shape", "values"], rows)


def _space(column: Mapping[str, Any]) -> str:
    space = column.get("space") or {}
    if space.get("type") == "discrete":
        first = space.get("start", 0)
        return f"{first} to {first + space['n'] - 1}"
    if space.get("type") != "box":
        return ""
    low, high = space["low"], space["high"]
    if isinstance(low, list) or isinstance(high, list):
        return "box, bounds by element"
    if low is None and high is None:
        return "box, no bounds"
    return f"{'-inf' if low is None else low} to {'inf' if high is None else high}"


def _ends(counts: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {words: counts[key] for key, words in _END_COUNTS.items() if key in counts}
    found = found or {"terminals": "not recorded"}
    if can_terminate(environment) is False:
        found["the task"] = "never terminates: only time limits and the ends of recordings end an episode"
    return found


def _statistics(metadata: Mapping[str, Any]) -> str:
    """Return all numbers but the elementwise ones: the metadata have them, a page has no use for them."""
    found: dict[str, Any] = {name: count for name, count in metadata["counts"].items() if name not in _END_COUNTS}
    for name, value in metadata["statistics"].items():
        if isinstance(value, dict):
            numbers = {key: number for key, number in value.items() if isinstance(number, int | float)}
            elements = len(value["mean"]) if isinstance(value.get("mean"), list) else 0
            if numbers or elements:
                found[name] = numbers or f"min, max, mean and std of {elements} elements are in the metadata"
        elif value is not None:
            found[name] = value
    return facts_table(found)


def _reference_scores(metadata: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    low, high = float(scores["min"]), float(scores["max"])
    lines = [f"A return of {low:.10g} scores 0 and one of {high:.10g} scores 100; in between and beyond it is linear."]
    returns = episode_statistics(metadata, "episode_returns", "mean")
    if returns is not None and high != low:
        mean = returns["mean"]
        lines.append(
            f"The mean return of the whole episodes here, {mean:.6g}, scores {100 * (mean - low) / (high - low):.1f}."
        )
    return " ".join(lines)
