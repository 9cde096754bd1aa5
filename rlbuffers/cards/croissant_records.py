"""The rows of a buffer as Croissant describes them: record sets, and fields with their types and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.schema import EPISODES_GROUP, EXTRAS_GROUP, ColumnSpec

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["record_sets"]

Json = dict[str, Any]
_DATA_TYPES = {
    "bool": "sc:Boolean",
    **{f"{sign}int{bits}": f"cr:{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"cr:Float{bits}" for bits in (16, 32, 64)},
}
_MEANINGS = {
    "actions": "What the behavior policy did.",
    "rewards": "The reward that followed the action of the same row.",
    "terminals": "Whether the task ended with the action of the same row.",
    "timeouts": "Whether a time limit or the end of the recording came after the action of the same row.",
}


def record_sets(buffer: Buffer, source: Json) -> list[Json]:
    """Describe transitions, episodes and extras.

    Parameters
    ----------
    buffer : Buffer
        An open buffer.
    source : dict
        How a field names the file that holds it.
    """
    spec = buffer.spec
    columns = [spec.batch_column(name) for name in spec.batch_names]
    stored = set(spec.columns) if source.get("fileSet") else set(spec.batch_names)
    sets = [_record_set("transitions", "One step of the behavior policy in a row.", columns, "", source, stored)]
    if spec.layout == "episodes":
        facts = [ColumnSpec(name, np.dtype(np.int64)) for name in ("starts", "lengths")]
        facts += [ColumnSpec("returns", np.dtype(np.float64))]
        facts += [ColumnSpec(name, np.dtype(np.bool_)) for name in ("whole", "final_known")]
        columns = [*facts, *spec.episode_columns.values()]
        names = {column.name for column in columns}
        sets.append(_record_set(EPISODES_GROUP, "One episode in a row.", columns, f"{EPISODES_GROUP}/", source, names))
    for column in spec.extras.values():
        group = f"{EXTRAS_GROUP}/{column.name}"
        sets.append(
            _record_set(group, "An array of the whole buffer.", [column], f"{EXTRAS_GROUP}/", source, {column.name})
        )
    return sets


def _record_set(
    name: str, description: str, columns: list[ColumnSpec], prefix: str, source: Json, stored: set[str]
) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [_field(f"{name}/{column.name}", column, prefix, source, stored) for column in columns],
    }


def _field(identity: str, column: ColumnSpec, prefix: str, source: Json, stored: set[str]) -> Json:
    described: Json = {
        "@type": "cr:Field",
        "@id": identity,
        "name": identity,
        "description": _meaning(column, column.name in stored),
        "dataType": _DATA_TYPES[column.dtype.name],
        "source": {**source, "extract": {"column": prefix + column.name}},
    }
    if column.shape:
        described["isArray"] = True
        described["arrayShape"] = ",".join(map(str, column.shape))
    return described


def _meaning(column: ColumnSpec, is_stored: bool) -> str:
    words = [_MEANINGS.get(column.name) or f"Column {column.name}, {column.dtype.name} of shape {column.shape}."]
    space = column.space or {}
    if space.get("type") == "discrete":
        words.append(f"One of {space['n']} choices, numbered from {space.get('start', 0)}.")
    if not is_stored:
        words.append("Derived from other stored arrays by rlbuffers.")
    return " ".join(words)
