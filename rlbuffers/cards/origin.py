"""Where a buffer comes from, as sections of its card: source files, parts, parents, and the command that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlbuffers.cards.markdown import facts_table, literal, rows_table

__all__ = ["parents_of", "source_section", "written_section"]

_SHOWN_FILES = 100


def source_section(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sections on sources and parents, if there are any."""
    source = metadata.get("source") or {}
    derivation = metadata.get("derivation") or {}
    if not source and not derivation:
        return
    yield "## Source"
    plain = {name: value for name, value in source.items() if name not in ("files", "parts")}
    if plain:
        yield facts_table(plain)
    files = source.get("files") or []
    if files:
        yield _files(files)
    parts = source.get("parts") or []
    if parts:
        rows = [[part.get("name", ""), part.get("first_row", ""), part.get("transitions", "")] for part in parts]
        yield rows_table(["part", "first row", "transitions"], rows)
    if derivation:
        yield from _parents(derivation)


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    rows = [[file.get("name", ""), file.get("bytes", ""), file.get("sha256", "not read whole")] for file in files]
    table = rows_table(["file", "bytes", "SHA-256"], rows[:_SHOWN_FILES])
    left_out = len(files) - _SHOWN_FILES
    return f"{table}\n\nand {left_out:,} more files, which the metadata name." if left_out > 0 else table


def _parents(derivation: Mapping[str, Any]) -> Iterator[str]:
    arguments = {f"argument {name}": value for name, value in (derivation.get("arguments") or {}).items()}
    yield facts_table({"made by": derivation.get("operation", "unknown"), **arguments})
    rows = [
        [depth, parent.get("name", ""), parent.get("fingerprint", ""), parent.get("counts", {}).get("transitions", "")]
        for depth, parent in parents_of(derivation)
    ]
    if rows:
        yield rows_table(["generation back", "parent", "fingerprint", "transitions"], rows)


def parents_of(derivation: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield every buffer that this one descends from, with how many generations back it is."""
    for parent in derivation.get("parents") or []:
        yield depth, parent
        if parent.get("derivation"):
            yield from parents_of(parent["derivation"], depth + 1)


def written_section(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on the command that wrote the buffer, if it is known."""
    written = metadata.get("written_by") or {}
    if not written:
        return
    yield "## How it was made"
    versions = ", ".join(f"{name} {version}" for name, version in sorted((written.get("versions") or {}).items()))
    facts = {name: written[name] for name in ("created", "platform", "python") if name in written}
    yield facts_table({**facts, **({"versions": versions} if versions else {})})
    if written.get("command"):
        yield literal(written["command"])
