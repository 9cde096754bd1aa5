"""The citation of a buffer: what its metadata say, or the buffer itself; read far enough to name its authors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["authors", "citation_of", "entry_lines"]

_ENTRY = re.compile(r"@(?P<kind>\w+)\s*\{\s*(?P<key>[^,\s]+)\s*,(?P<body>.*)\}\s*$", re.DOTALL)
_NAME = re.compile(r"[\s,]*([\w-]+)\s*=\s*")


def citation_of(metadata: Mapping[str, Any], name: str) -> str:
    """Return the BibTeX of a buffer, one field a line.

    Where the metadata have none, the buffer itself is cited by its name and fingerprint.
    """
    stated = str(metadata.get("citation") or "").strip()
    if stated:
        return entry_lines(stated)
    fingerprint = str(metadata["fingerprint"])
    year = str(metadata.get("written_by", {}).get("created", ""))[:4]
    lines = [
        f"@misc{{rlbuffers-{fingerprint[:12]},",
        f"  title = {{{_plain(name)}}},",
        *([f"  year = {{{year}}},"] if year else []),
        f"  note = {{Replay buffer, rlbuffers fingerprint {fingerprint}}}",
        "}",
    ]
    return "\n".join(lines)


def entry_lines(text: str) -> str:
    """Put each field of a BibTeX entry on its own line; what is no single entry is returned as it is."""
    found = _ENTRY.match(text.strip())
    fields = _fields(found["body"]) if found else None
    if found is None or not fields:
        return text.strip()
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{found['kind']}{{{found['key']},\n{lines}\n}}"


def authors(text: str) -> list[str]:
    """Return the authors of a BibTeX entry as "Given Family"; "others" is left out."""
    found = _ENTRY.match(text.strip())
    fields = {name.lower(): value for name, value in ((_fields(found["body"]) if found else None) or {}).items()}
    stated = fields.get("author", "")
    names = [" ".join(name.split()) for name in re.split(r"\s+and\s+", stated) if name.strip()]
    return [" ".join(reversed(name.split(", ", 1))) for name in names if name != "others"]


def _plain(text: str) -> str:
    """Drop what would end a braced value."""
    return text.replace("{", "").replace("}", "").replace("\\", "")


def _fields(body: str) -> dict[str, str] | None:
    """Cut the fields of an entry; None if they are not `name = {value}`, `"value"` or a word each."""
    found: dict[str, str] = {}
    position = 0
    while body[position:].strip(" \t\r\n,"):
        name = _NAME.match(body, position)
        if name is None:
            return None
        stop = _end_of_value(body, name.end())
        if stop is None:
            return None
        value = body[name.end() : stop].strip()
        found[name[1]] = " ".join((value[1:-1] if value[:1] in '{"' else value).split())
        position = stop
    return found


def _end_of_value(body: str, start: int) -> int | None:
    """Return where the value that begins at `start` ends, or None if it does not."""
    if body[start : start + 1] == '"':
        end = body.find('"', start + 1)
        return None if end < 0 else end + 1
    if body[start : start + 1] != "{":
        end = body.find(",", start)
        return len(body) if end < 0 else end
    depth = 0
    for position in range(start, len(body)):
        depth += {"{": 1, "}": -1}.get(body[position], 0)
        if depth == 0:
            return position + 1
    return None
