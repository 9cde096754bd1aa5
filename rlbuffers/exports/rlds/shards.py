"""The shards of a dataset as TensorFlow Datasets names and describes them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from rlbuffers.decoding.example_writer import framed_record

__all__ = ["SHARD_BYTES", "TFDSShards"]

SHARD_BYTES = 256 << 20
"""Size in bytes at which the next shard is begun."""
_SPLIT = "train"
_MIN_DIGITS = 5


class TFDSShards:
    """TFRecord files that are begun anew when they are large enough, and named when all are written.

    Parameters
    ----------
    folder : Path
        Where they stand.
    dataset : str
        Name of the dataset, with which theirs begin.
    """

    def __init__(self, folder: Path, dataset: str) -> None:
        self.lengths: list[int] = []
        self.num_bytes = 0
        self._folder = folder
        self._dataset = dataset
        self._written = SHARD_BYTES
        self._files = ExitStack()
        self._file: BinaryIO

    def __enter__(self) -> TFDSShards:
        return self

    def add(self, example: bytes) -> None:
        """Append one record."""
        if self._written >= SHARD_BYTES:
            self._files.close()
            self._file = self._files.enter_context(self._unnamed(len(self.lengths)).open("xb"))
            self.lengths.append(0)
            self._written = 0
        self._written += self._file.write(framed_record(example))
        self.lengths[-1] += 1
        self.num_bytes += len(example)

    def info(self) -> dict[str, Any]:
        """Return what dataset_info.json says of the split."""
        return {
            "name": _SPLIT,
            "numBytes": str(self.num_bytes),
            "shardLengths": [str(length) for length in self.lengths],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }

    def _unnamed(self, number: int) -> Path:
        return self._folder / f"shard-{number}"

    def __exit__(self, *error: object) -> None:
        self._files.close()
        count = len(self.lengths)
        digits = max(_MIN_DIGITS, len(str(count)))
        for number in range(count):
            name = f"{self._dataset}-{_SPLIT}.tfrecord-{number:0{digits}}-of-{count:0{digits}}"
            self._unnamed(number).rename(self._folder / name)
