"""The documents of a Zarr v3 buffer, `zarr.json`: what is written, and what reading depends on (docs/format.md).

Levels of compression, attributes and names of axes change nothing of what is read, and may be any. All else has one
form: another one might be read in another way by another library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from rlbuffers.listing import shortened
from rlbuffers.schema import DTYPES

__all__ = ["ArrayDocument", "array_document", "group_document", "is_group", "parsed_array"]

Json = dict[str, Any]
_LITTLE: Json = {"name": "bytes", "configuration": {"endian": "little"}}
_BYTES: Json = {"name": "bytes"}
_CRC32C: Json = {"name": "crc32c"}
_MAX_AXES = 32
_SHOWN = 100
_ZSTD_LEVELS = range(-(1 << 17), 23)
_ARRAY_KEYS = {
    *("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "zarr_format", "node_type"),
}
_HARMLESS = {"attributes", "dimension_names", "storage_transformers"}


@dataclass(frozen=True)
class ArrayDocument:
    """What reading an array depends on.

    Parameters
    ----------
    data_type : str
        One of `rlbuffers.schema.DTYPES`.
    shape : tuple of int
        Rows first.
    chunk_rows : int
        Rows of an inner chunk.
    chunks_per_shard : int
        Inner chunks of a shard.
    """

    data_type: str
    shape: tuple[int, ...]
    chunk_rows: int
    chunks_per_shard: int


def group_document(attributes: Json) -> Json:
    """Describe a group."""
    return {"attributes": attributes, "zarr_format": 3, "node_type": "group"}


def is_group(document: Mapping[str, Any]) -> bool:
    """Whether a document describes a group, whatever its attributes and whatever else it says."""
    return (
        _is(document.get("zarr_format"), 3)
        and document.get("node_type") == "group"
        and isinstance(document.get("attributes", {}), dict)
    )


def array_document(
    shape: tuple[int, ...], dtype: np.dtype[Any], chunk_rows: int, chunks_per_shard: int, level: int
) -> Json:
    """Describe an array as the Zarr v3 specification says and zarr-python writes it."""
    inner = [_inner_bytes(dtype), {"name": "zstd", "configuration": {"level": level, "checksum": False}}, _CRC32C]
    sharding = {
        "chunk_shape": [chunk_rows, *shape[1:]],
        "codecs": inner,
        "index_codecs": [_LITTLE, _CRC32C],
        "index_location": "end",
    }
    grid = {"chunk_shape": [chunk_rows * chunks_per_shard, *shape[1:]]}
    return {
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dtype.type(0).item(),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _inner_bytes(dtype: np.dtype[Any]) -> Json:
    return _LITTLE if dtype.itemsize > 1 else _BYTES


def parsed_array(document: Mapping[str, Any]) -> ArrayDocument:
    """Return what a document says of an array, after checking all that reading depends on.

    Raises
    ------
    ValueError
        If something is missing or otherwise; says what.
    """
    missing, unknown = _ARRAY_KEYS - set(document), set(document) - _ARRAY_KEYS - _HARMLESS
    if missing or unknown:
        raise ValueError(f"unexpected {', '.join(shortened(key, _SHOWN) for key in sorted(missing | unknown)[:3])}")
    _require(document, "zarr_format", 3)
    _require(document, "node_type", "array")
    if not isinstance(document.get("attributes", {}), dict):
        _refuse("attributes", document["attributes"])
    if not isinstance(document.get("dimension_names", []), list):
        _refuse("dimension_names", document["dimension_names"])
    if not _is(document.get("storage_transformers", []), []):
        _refuse("storage_transformers", document["storage_transformers"])
    _require(document, "chunk_key_encoding", {"name": "default", "configuration": {"separator": "/"}})
    data_type = document["data_type"]
    if data_type not in DTYPES:
        _refuse("data_type", data_type)
    dtype = np.dtype(data_type)
    _require(document, "fill_value", dtype.type(0).item())
    shape = _sizes(document["shape"], "shape", least=0)
    shards = _configured(document["chunk_grid"], "chunk_grid", "regular", {"chunk_shape"})
    shard_shape = _sizes(shards["chunk_shape"], "chunk_grid", least=1)
    codecs = document["codecs"]
    if not isinstance(codecs, list) or len(codecs) != 1:
        _refuse("codecs", codecs)
    known = {"chunk_shape", "codecs", "index_codecs", "index_location"}
    sharding = _configured(codecs[0], "codecs", "sharding_indexed", known)
    _require(sharding, "index_codecs", [_LITTLE, _CRC32C])
    _require(sharding, "index_location", "end")
    _check_inner(sharding["codecs"], dtype)
    chunk_shape = _sizes(sharding["chunk_shape"], "chunk_shape", least=1)
    if not shape[1:] == shard_shape[1:] == chunk_shape[1:] or shard_shape[0] % chunk_shape[0]:
        _refuse("chunk_shape", sharding["chunk_shape"])
    return ArrayDocument(data_type, shape, chunk_shape[0], shard_shape[0] // chunk_shape[0])


def _check_inner(codecs: Any, dtype: np.dtype[Any]) -> None:
    if not isinstance(codecs, list) or len(codecs) != 3:
        _refuse("codecs", codecs)
    if not (_is(codecs[0], _inner_bytes(dtype)) and _is(codecs[2], _CRC32C)):
        _refuse("codecs", codecs)
    zstd = _configured(codecs[1], "codecs", "zstd", {"level", "checksum"})
    if type(zstd["level"]) is not int or zstd["level"] not in _ZSTD_LEVELS or type(zstd["checksum"]) is not bool:
        _refuse("codecs", zstd)


def _configured(value: Any, what: str, name: str, keys: set[str]) -> Json:
    """Return the configuration of a named entry that has these keys and no others."""
    if not isinstance(value, dict) or set(value) != {"name", "configuration"} or value["name"] != name:
        _refuse(what, value)
    configuration = value["configuration"]
    if not isinstance(configuration, dict) or set(configuration) != keys:
        _refuse(what, value)
    return configuration


def _sizes(value: Any, what: str, least: int) -> tuple[int, ...]:
    fits = isinstance(value, list) and 1 <= len(value) <= _MAX_AXES
    if not fits or not all(type(size) is int and least <= size < 1 << 63 for size in value):
        _refuse(what, value)
    return tuple(value)


def _require(document: Mapping[str, Any], key: str, expected: Any) -> None:
    if not _is(document.get(key), expected):
        _refuse(key, document.get(key))


def _is(value: Any, expected: Any) -> bool:
    """Whether a JSON value is this one: 1, 1.0 and true are equal in Python, but not to every reader."""
    if isinstance(expected, dict):
        return (
            isinstance(value, dict)
            and set(value) == set(expected)
            and all(_is(value[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(_is, value, expected))
    return type(value) is type(expected) and bool(value == expected)


def _refuse(what: str, value: Any) -> NoReturn:
    raise ValueError(f"unexpected {what}: {shortened(repr(value), _SHOWN)}")
