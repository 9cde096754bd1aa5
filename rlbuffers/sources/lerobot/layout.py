"""What the documents in a LeRobot dataset's ``meta`` folder say, in versions 2.0, 2.1 and 3.0."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlbuffers.decoding.parquet_claims import require_few_values
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, UnsupportedError
from rlbuffers.kept_facts import NAME
from rlbuffers.local_inputs import check_folder, refuse_special
from rlbuffers.optional import require
from rlbuffers.sources.files import in_natural_order, json_object_in
from rlbuffers.sources.json_text import parse_json_object

__all__ = ["EXTRA", "INFO", "KEPT", "SAID_ELSEWHERE", "SAID_OF_FILES", "Layout", "parquet_errors", "parquet_module"]

INFO = Path("meta") / "info.json"
KEPT = f"meta/{NAME}.json"
EXTRA = "lerobot"
_KNOWN = re.compile(r"v?(2\.[01]|3\.0)(\.\d+)?")
_MAX_LINE_BYTES = 16 << 20
# What a buffer says in other ways, or what is about the files alone.
SAID_ELSEWHERE = ("episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index")
SAID_OF_FILES = ("stats/", "data/", "videos/", "meta/")


def parquet_module() -> Any:
    """Return pyarrow's reader of Parquet, or say which extra brings it."""
    return require("pyarrow.parquet", extra=EXTRA, purpose="Reading LeRobot datasets")


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Translate what pyarrow raises on a file that is damaged or no Parquet.

    Raises
    ------
    CorruptDataError
        Instead; names the file.
    """
    arrow = require("pyarrow", extra=EXTRA, purpose="Reading LeRobot datasets")
    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise CorruptDataError(f"{path}: damaged or cut short: {reason}") from error


class Layout:
    """The documents of one dataset, and its data files.

    Parameters
    ----------
    folder : Path
        The dataset, with ``meta`` and ``data`` in it.

    Attributes
    ----------
    info : dict
        ``meta/info.json``.
    features : dict
        Names of features to what is said of each.
    tasks : dict of str to str
        Numbers of tasks, as text, to their descriptions.
    episodes : dict of int to dict
        What is said of each episode, by its number; empty if nothing is.
    documents, files : list of Path
        What was read in ``meta``, and the Parquet files in ``data`` in order.

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError, UnsupportedError, MissingDependencyError
        If it is no such dataset, or of a version that this reader was not made for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = check_folder(folder) if folder.is_dir() else folder
        if not (folder / INFO).is_file():
            raise BufferNotFoundError(f"{folder}: there is no LeRobot dataset here: {INFO} is missing")
        self.info = json_object_in(folder / INFO)
        self.documents = [folder / INFO]
        version = str(self.info.get("codebase_version"))
        if not _KNOWN.fullmatch(version):
            raise UnsupportedError(
                f"{folder / INFO}: expected codebase_version v2.0, v2.1 or v3.0, found {version!r:.40}; LeRobot "
                "converts older datasets"
            )
        self.features = self._features()
        self.tasks = self._tasks()
        self.episodes = self._episodes()
        data = folder / "data"
        self.files = in_natural_order(data.rglob("*.parquet")) if data.is_dir() else []
        if not self.files:
            raise FormatError(f"{folder}: expected Parquet files in 'data', found none")

    def _features(self) -> dict[str, dict[str, Any]]:
        features = self.info.get("features")
        if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
            raise FormatError(f"{self.folder / INFO}: expected an object 'features'")
        return features

    def stated(self, name: str) -> int | None:
        """Return a number that the info states, if it does."""
        value = self.info.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _tasks(self) -> dict[str, str]:
        rows = self._rows("tasks")
        texts = {}
        for row in rows:
            # pandas keeps the text, which is its index, under one of two names.
            text = row.get("task", row.get("__index_level_0__"))
            if isinstance(text, str) and isinstance(row.get("task_index"), int):
                texts[str(row["task_index"])] = text
        return texts

    def _episodes(self) -> dict[int, dict[str, Any]]:
        found = {}
        for row in self._rows("episodes"):
            if not isinstance(row.get("episode_index"), int):
                raise FormatError(f"{self.folder / 'meta'}: expected an episode_index for each episode")
            kept = {name: value for name, value in row.items() if not name.startswith(SAID_OF_FILES)}
            found[row["episode_index"]] = kept
        return found

    def episode_facts(self) -> Mapping[int, dict[str, Any]]:
        """Return what is said of episodes beyond what a buffer says in other ways."""
        return {
            number: {name: value for name, value in facts.items() if name not in SAID_ELSEWHERE}
            for number, facts in self.episodes.items()
        }

    def _rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of ``meta/NAME``: JSON lines, a Parquet file, or a folder of these; none if it is absent."""
        meta = self.folder / "meta"
        if (meta / f"{name}.jsonl").is_file():
            self.documents.append(meta / f"{name}.jsonl")
            return list(_json_lines(meta / f"{name}.jsonl"))
        single = meta / f"{name}.parquet"
        paths = [single] if single.is_file() else in_natural_order((meta / name).rglob("*.parquet"))
        self.documents += paths
        return [row for path in paths for row in _parquet_rows(path)]


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with refuse_special(path).open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(_MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > _MAX_LINE_BYTES:
                raise CorruptDataError(f"{path}: line {number:,}: longer than {_MAX_LINE_BYTES:,} bytes")
            if line.strip():
                yield parse_json_object(line, f"{path}: line {number:,}")


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    with parquet_errors(path):
        file = require_few_values(parquet_module().ParquetFile(refuse_special(path)), path)
        names = [name for name in file.schema_arrow.names if not name.startswith("stats/")]
        rows: list[dict[str, Any]] = file.read(columns=names).to_pylist()
        return rows
