"""Scalars of TensorBoard's event files, without TensorBoard: TFRecord files of ``tensorflow.Event`` messages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from rlbuffers.decoding.protobuf_wire import MalformedError, fields, int64, message, messages, text
from rlbuffers.decoding.tfrecord import read_records
from rlbuffers.errors import CorruptDataError
from rlbuffers.local_inputs import refuse_special

__all__ = ["EVENT_FILES", "read_scalars"]

EVENT_FILES = "events.out.tfevents*"
Curve = list[tuple[int, float]]
# Numbers of fields: of Event, Summary, Summary.Value and SessionLog.
_STEP, _SUMMARY, _SESSION_LOG = 2, 5, 7
_VALUE = 1
_TAG, _SIMPLE_VALUE = 1, 2
_STATUS, _START = 1, 1
_READ_BYTES = 1 << 20
_FLOAT = struct.Struct("<f")


def read_scalars(folder: Path) -> tuple[dict[str, Curve], list[str]]:
    """Return the scalars of all event files of a folder: steps and values by tag, in the order of the steps.

    A run that was resumed overwrites what it had written beyond the step from which it went on, as TensorBoard does.

    Returns
    -------
    scalars : dict of tag to list of (step, value)
    complaints : list of str
        What could not be read: the end of a file that is still being written, or a damaged one.
    """
    scalars: dict[str, dict[int, float]] = {}
    complaints = []
    for path in sorted(folder.glob(EVENT_FILES)):
        try:
            for event in _events(path):
                _add(event, scalars)
        except CorruptDataError as error:
            complaints.append(str(error))
        except MalformedError:
            complaints.append(f"{path}: a record is no event of TensorBoard; the file is damaged")
    return {tag: sorted(curve.items()) for tag, curve in sorted(scalars.items())}, complaints


def _events(path: Path) -> Iterator[memoryview]:
    for batch in read_records(_pieces(path), str(path), 1):
        batch.verify(str(path))
        yield memoryview(batch.data)[int(batch.starts[0]) : int(batch.stops[0])]


def _pieces(path: Path) -> Iterator[bytes]:
    with refuse_special(path).open("rb") as file:
        while data := file.read(_READ_BYTES):
            yield data


def _add(event: memoryview, scalars: dict[str, dict[int, float]]) -> None:
    step = 0
    values: list[tuple[str, float]] = []
    starts_anew = False
    for number, content in fields(event):
        if number == _STEP:
            step = int64(content)
        elif number == _SUMMARY:
            values += [_value(part) for key, part in messages(message(content)) if key == _VALUE]
        elif number == _SESSION_LOG:
            starts_anew = any(key == _STATUS and int64(part) == _START for key, part in fields(message(content)))
    if starts_anew:
        for curve in scalars.values():
            for passed in [at for at in curve if at >= step]:
                del curve[passed]
    for tag, value in values:
        if tag:
            scalars.setdefault(tag, {})[step] = value


def _value(part: memoryview) -> tuple[str, float]:
    """Return tag and number of a value; an empty tag if it is no plain scalar."""
    tag, value = "", None
    for number, content in fields(part):
        if number == _TAG:
            tag = text(content)
        elif number == _SIMPLE_VALUE and isinstance(content, bytes):
            value = float(_FLOAT.unpack(content)[0])
    return ("", 0.0) if value is None else (tag, value)
