"""Prepared datasets of TensorFlow Datasets: where they are, and which files belong to a split.

A prepared dataset is a directory ``DATA_DIR/NAME[/CONFIG]/VERSION`` with ``dataset_info.json``,
``features.json`` and shards. Only finding or preparing one that is not there needs TensorFlow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, DownloadError, FormatError, UnsupportedError, UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.local_inputs import require_inside
from rlbuffers.optional import require
from rlbuffers.sources.json_text import described, field, whole_number
from rlbuffers.sources.tfds.features import read_json

__all__ = ["INFO_FILE", "DatasetInfo", "Shard", "default_data_dir", "find_version_dir", "prepared_dir", "read_info"]

INFO_FILE = "dataset_info.json"
_DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_INDEX = "{SHARD_INDEX}"
_MIN_DIGITS = 5
MAX_SHARDS = 1 << 17
"""How many files a split may have; the largest of TFDS have some ten thousand."""
_NAME = re.compile(r"(?P<name>\w+)(/(?P<config>[\w+.\-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
# NAME/CONFIG/VERSION below a data_dir.
_LEVELS = 3


@dataclass(frozen=True)
class Shard:
    """One file of a split, and how many Examples it must hold."""

    directory: Path
    name: str
    length: int

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory / self.name


@dataclass(frozen=True)
class DatasetInfo:
    """What ``dataset_info.json`` says.

    Parameters
    ----------
    name, version : str
        Of the dataset.
    config : str
        Empty where there is none.
    shuffled : bool
        Whether TFDS sorted the Examples by the hashes of their keys.
    license, citation : str
        Empty where not stated.
    splits : mapping of name to list of Shard
        In the file's order.
    """

    name: str
    version: str
    config: str
    shuffled: bool
    license: str
    citation: str
    splits: Mapping[str, list[Shard]]

    def select(self, split: str | None, where: str) -> list[str]:
        """Return the names of the splits to read.

        Parameters
        ----------
        split : str or None
            A name, ``all``, or None for the only one, or ``train``.
        where : str
            For messages.

        Raises
        ------
        UsageError
            If there is no such split, or it is not clear which one; lists them.
        """
        if split == "all" and "all" not in self.splits:
            return list(self.splits)
        if split is None:
            split = next(iter(self.splits)) if len(self.splits) == 1 else "train"
        if split not in self.splits:
            hint = nearest(split, self.splits)
            raise UsageError(f"{where}: there is no split {split!r}; choose one of {listed(self.splits)}, or all{hint}")
        return [split]


def read_info(directory: Path) -> DatasetInfo:
    """Read ``dataset_info.json``.

    Raises
    ------
    BufferNotFoundError, FormatError
        If there is no such file, or it is not that.
    UnsupportedError
        If the shards are not TFRecord.
    """
    path = require_inside(directory, directory / INFO_FILE)
    info = read_json(path)
    where = str(path)
    file_format = field(info, "fileFormat", "a text", where, "") or "tfrecord"
    if file_format != "tfrecord":
        raise UnsupportedError(
            f"{directory}: the shards are {file_format}, which is not read here; prepare the dataset again with "
            "file_format='tfrecord', or run: tfds convert_format --out_file_format=tfrecord"
        )
    name = field(info, "name", "a text", where)
    terms = field(info, "redistributionInfo", "an object", where, {})
    splits = {}
    for number, split in enumerate(field(info, "splits", "a list", where)):
        place = f"{where}: split {number}"
        if not isinstance(split, dict):
            raise FormatError(f"{place}: expected an object, found {described(split)}")
        splits[field(split, "name", "a text", place)] = _shards(directory, name, split, place)
    return DatasetInfo(
        name=name,
        version=field(info, "version", "a text", where),
        config=field(info, "configName", "a text", where, ""),
        shuffled=not field(info, "disableShuffling", "true or false", where, False),
        license=field(terms, "license", "a text", where, ""),
        citation=field(info, "citation", "a text", where, ""),
        splits=splits,
    )


def _shards(directory: Path, dataset: str, split: Mapping[str, Any], where: str) -> list[Shard]:
    stated = field(split, "shardLengths", "a list", where, [])
    if len(stated) > MAX_SHARDS:
        raise FormatError(f"{where}: expected at most {MAX_SHARDS:,} shards, found {len(stated):,}")
    lengths = [whole_number(length, "shardLengths", where) for length in stated]
    if min(lengths, default=0) < 0:
        raise FormatError(f"{where}: expected numbers of examples in 'shardLengths', found {min(lengths):,}")
    template = field(split, "filepathTemplate", "a text", where, "") or _DEFAULT_TEMPLATE
    count = f"{len(lengths):0{max(_MIN_DIGITS, len(str(len(lengths))))}}"
    values = {
        "DATASET": dataset,
        "SPLIT": str(split["name"]),
        "FILEFORMAT": "tfrecord",
        "NUM_SHARDS": count,
        "SHARD_X_OF_Y": f"{_INDEX}-of-{count}",
    }
    for key, value in values.items():
        template = template.replace(f"{{{key}}}", value)
    if Path(template).is_absolute() or ".." in Path(template).parts:
        raise FormatError(f"{where}: the file name {template!r:.200} leads out of the dataset")
    shards = []
    for number, length in enumerate(lengths):
        if length:
            shards.append(Shard(directory, template.replace(_INDEX, f"{number:0{len(count)}}"), length))
    return shards


def default_data_dir() -> Path:
    """Return where TFDS keeps prepared datasets: ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_version_dir(path: Path) -> Path:
    """Return `path` if it is the directory of a prepared version, or the only such one below it.

    Raises
    ------
    BufferNotFoundError
        If there is none.
    UsageError
        If there are several; lists them.
    """
    if (path / INFO_FILE).is_file():
        return path
    found = sorted(
        info.parent for level in range(1, _LEVELS + 1) for info in path.glob("/".join(["*"] * level + [INFO_FILE]))
    )
    if not found:
        raise BufferNotFoundError(
            f"{path}: expected the directory of a prepared TFDS dataset, with {INFO_FILE} and features.json in it"
        )
    if len(found) > 1:
        names = listed(str(directory.relative_to(path)) for directory in found)
        raise UsageError(f"{path}: several prepared datasets are there; name one of {names}")
    return found[0]


def prepared_dir(dataset: str, data_dir: Path) -> Path:
    """Return the directory of a dataset's newest prepared version; prepare it if there is none.

    Parameters
    ----------
    dataset : str
        ``NAME[/CONFIG][:VERSION]``, as TFDS names it.
    data_dir : Path
        Where prepared datasets are, and come to be.

    Raises
    ------
    UsageError
        If it is no such name, or TFDS has no such dataset.
    MissingDependencyError
        If it has to be prepared and tensorflow-datasets is not installed.
    DownloadError
        If tensorflow-datasets fails.
    """
    match = _NAME.fullmatch(dataset)
    if match is None:
        raise UsageError(
            f"{dataset!r}: expected the name of a TFDS dataset, such as d4rl_mujoco_halfcheetah/v2-medium or "
            "rlu_atari/Pong_run_1:1.3.0; a directory is given with --dir"
        )
    parent = data_dir / match["name"] / (match["config"] or "")
    versions = [match["version"]] if match["version"] else _versions(parent)
    for version in versions:
        if (parent / version / INFO_FILE).is_file():
            return parent / version
    return _prepare(dataset, data_dir)


def _versions(parent: Path) -> list[str]:
    """Return the names of versions below a directory, newest first."""
    names = [path.name for path in parent.glob("*") if _VERSION.fullmatch(path.name)]
    return sorted(names, key=lambda name: [int(number) for number in name.split(".")], reverse=True)


def _prepare(dataset: str, data_dir: Path) -> Path:
    tfds = require("tensorflow_datasets", extra="tfds", purpose=f"Preparing {dataset}, which is not in {data_dir},")
    try:
        builder = tfds.builder(dataset, data_dir=data_dir, file_format="tfrecord")
        builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError as error:
        raise UsageError(f"TensorFlow Datasets has no dataset {dataset!r}: {_first_line(error)}") from error
    except (AssertionError, AttributeError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise DownloadError(f"{dataset}: TensorFlow Datasets could not prepare it: {_first_line(error)}") from error
    return Path(os.fspath(builder.data_dir))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
