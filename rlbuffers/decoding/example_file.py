"""TFRecord files of ``tf.train.Example`` messages that are not compressed, such as TensorFlow Datasets writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rlbuffers.decoding.claims import most_bytes
from rlbuffers.decoding.example_values import FeatureValues, parse_example
from rlbuffers.decoding.tfrecord import read_records
from rlbuffers.local_inputs import refuse_special

__all__ = ["read_examples"]

_READ_BYTES = 1 << 20


def read_examples(
    path: Path, on_read: Callable[[bytes], None] | None = None
) -> Iterator[tuple[dict[str, FeatureValues], str]]:
    """Yield the features of every Example, verified, each with its name for error messages.

    Parameters
    ----------
    path : Path
        The file.
    on_read : callable, optional
        Is given the bytes as they are read, for hashing and progress.

    Raises
    ------
    CorruptDataError
        If the file is cut short, fails a checksum, is no such file, or a record announces more than it can hold.
    """
    most = most_bytes(refuse_special(path))
    for batch in read_records(_pieces(path, on_read), str(path), 1, most=most):
        batch.verify(str(path))
        where = f"{path}: record {batch.first_record}"
        yield parse_example(memoryview(batch.data)[batch.starts[0] : batch.stops[0]], where, most), where


def _pieces(path: Path, on_read: Callable[[bytes], None] | None) -> Iterator[bytes]:
    with refuse_special(path).open("rb") as file:
        while piece := file.read(_READ_BYTES):
            if on_read is not None:
                on_read(piece)
            yield piece
