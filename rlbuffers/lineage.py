"""How far back the metadata of a buffer tell where it comes from: as far as readers of nested JSON can bear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlbuffers.json_documents import MAX_NESTING

__all__ = ["CUT_LINEAGE", "with_short_lineage"]

CUT_LINEAGE = "The lineage is cut: the oldest parents are left out"
# Three for a generation: what they were made with, and what an export puts around them, take the rest.
_DEEPEST = MAX_NESTING - 50
_OLDER = ("derivation", "exported_from")


def with_short_lineage(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata without the oldest ancestors if there are more than some 50 generations, and a note of it.

    Parameters
    ----------
    facts : mapping
        JSON values. They are not changed.
    """
    cut = False

    def short(value: Any, depth: int) -> Any:
        nonlocal cut
        if isinstance(value, Mapping):
            dropped = _OLDER if depth >= _DEEPEST else ()
            cut = cut or any(key in value for key in dropped)
            return {key: short(item, depth + 1) for key, item in value.items() if key not in dropped}
        if isinstance(value, list | tuple) and depth < _DEEPEST:
            return [short(item, depth + 1) for item in value]
        return value

    found = dict(facts) | {key: short(facts[key], 1) for key in ("source", "derivation") if key in facts}
    if cut and CUT_LINEAGE not in (notes := list(found.get("notes") or [])):
        found["notes"] = [*notes, CUT_LINEAGE]
    return found
