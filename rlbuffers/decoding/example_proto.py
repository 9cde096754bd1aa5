"""``tf.train.Example`` messages without TensorFlow: features of fixed length, whole batches at once.

The wire format is that of Protocol Buffers (protobuf.dev/programming-guides/encoding) and the
message that of TensorFlow's ``core/example/feature.proto``::

    Example  { Features features = 1; }
    Features { map<string, Feature> feature = 1; }          # entries: key = 1, value = 2
    Feature  { BytesList = 1 | FloatList = 2 | Int64List = 3 }   # each: repeated value = 1

The parser itself is in ``example_kernel.py``, compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rlbuffers.decoding.tfrecord import RecordBatch
from rlbuffers.errors import CorruptDataError, FormatError

__all__ = ["Feature", "ParsedExamples", "parse_examples"]

Int64 = np.ndarray[Any, np.dtype[np.int64]]
_KINDS = {"bytes": 1, "float": 2, "int64": 3}


@dataclass(frozen=True)
class Feature:
    """A feature that every Example has with a fixed number of values."""

    name: str
    kind: Literal["bytes", "float", "int64"]
    count: int = 1


@dataclass(frozen=True)
class ParsedExamples:
    """Values of a batch of Examples.

    Parameters
    ----------
    values : mapping of name to array of shape (B, count)
        int64 and float32 values of the numeric features.
    offsets, lengths : mapping of name to int64 array of shape (B, count)
        Where each value of a bytes feature lies in the batch's data.
    unknown : int64, shape (B,)
        Number of features in each Example that were not asked for.
    """

    values: dict[str, np.ndarray[Any, Any]]
    offsets: dict[str, Int64]
    lengths: dict[str, Int64]
    unknown: Int64


def parse_examples(batch: RecordBatch, features: Sequence[Feature], where: str) -> ParsedExamples:
    """Parse every record of a batch as an Example.

    Raises
    ------
    CorruptDataError
        If a record is not a well-formed Example.
    FormatError
        If a feature is missing, repeated, of another kind or of another length; names the record.
    """
    from rlbuffers.decoding import example_kernel  # numba takes longer to import than all of this package

    key_bytes = b"".join(feature.name.encode() for feature in features)
    key_stops = np.cumsum([len(feature.name.encode()) for feature in features])
    counts = np.array([feature.count for feature in features], np.int64)
    slots = np.concatenate([[0], np.cumsum(counts)])
    first = np.zeros((len(batch), int(slots[-1])), np.int64)
    second = np.zeros_like(first)
    unknown = np.zeros(len(batch), np.int64)
    record, status, feature_index, found = example_kernel.parse(
        np.frombuffer(batch.data, np.uint8),
        batch.starts,
        batch.stops,
        np.frombuffer(key_bytes, np.uint8),
        key_stops,
        np.array([_KINDS[feature.kind] for feature in features], np.int64),
        counts,
        slots,
        first,
        second,
        unknown,
    )
    if status < 0:
        place = f"{where}: record {batch.first_record + record}"
        raise _problem(place, status, features[feature_index], found)
    values: dict[str, np.ndarray[Any, Any]] = {}
    offsets: dict[str, Int64] = {}
    lengths: dict[str, Int64] = {}
    for index, feature in enumerate(features):
        columns = slice(slots[index], slots[index + 1])
        if feature.kind == "bytes":
            offsets[feature.name], lengths[feature.name] = first[:, columns], second[:, columns]
        elif feature.kind == "float":
            values[feature.name] = first[:, columns].astype(np.uint32).view(np.float32)
        else:
            values[feature.name] = first[:, columns]
    return ParsedExamples(values, offsets, lengths, unknown)


def _problem(place: str, status: int, feature: Feature, found: int) -> FormatError:
    from rlbuffers.decoding import example_kernel

    wanted = f"feature {feature.name!r} ({feature.count} {feature.kind} value{'s' * (feature.count > 1)})"
    if status == example_kernel.MALFORMED:
        return CorruptDataError(f"{place}: not a well-formed tf.train.Example")
    if status == example_kernel.WRONG_KIND:
        return FormatError(f"{place}: expected {wanted}, found another kind of list")
    if status == example_kernel.WRONG_COUNT:
        return FormatError(f"{place}: expected {wanted}, found {found} values")
    if status == example_kernel.TWICE:
        return FormatError(f"{place}: {wanted} occurs twice")
    return FormatError(f"{place}: expected {wanted}, which is missing")
