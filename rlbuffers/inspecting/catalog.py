"""What stands below a directory: every buffer's main facts, from its metadata alone.

One damaged buffer does not end a listing: it is an entry that says what is wrong. So is what an
interrupted or running writer has under its temporary name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.hidden_paths import PARTIAL_SUFFIX, final_of
from rlbuffers.json_documents import parsed_json
from rlbuffers.leftovers import is_being_written
from rlbuffers.local_inputs import refuse_special
from rlbuffers.metadata import episode_statistics
from rlbuffers.reader import Buffer
from rlbuffers.stores import named_format
from rlbuffers.stores.folders import DOCUMENT, Folder, LocalFolder, ZipFolder
from rlbuffers.stores.local_files import LocalFiles, OpenFile
from rlbuffers.writing.journal import INTERRUPTED_SUFFIX, num_journaled

__all__ = ["BufferFacts", "CatalogEntry", "catalog"]

State = Literal["whole", "damaged", "being written", "interrupted", "foreign"]
_UNFINISHED_SUFFIXES = (PARTIAL_SUFFIX, INTERRUPTED_SUFFIX)


@dataclass(frozen=True)
class BufferFacts:
    """What the metadata of a buffer say.

    Parameters
    ----------
    task : str
        Environment id; empty if it is not known.
    layout : str
        ``episodes`` or ``transitions``.
    transitions : int
        Number of rows.
    episodes : int or None
        Number of episodes; None in the ``transitions`` layout.
    mean_return : float or None
        Mean over whole episodes; None where there are none.
    fingerprint : str
        Hash of the content, hexadecimal.
    """

    task: str
    layout: str
    transitions: int
    episodes: int | None
    mean_return: float | None
    fingerprint: str


@dataclass(frozen=True)
class CatalogEntry:
    """One buffer, or what is left of one.

    Parameters
    ----------
    path : Path
        The file or directory.
    format : {"hdf5", "zarr", "zip"}
        Its container.
    state : str
        ``whole`` means that the metadata are; only `validate` reads the data. ``foreign`` is a sound
        HDF5 file or Zarr store of another program.
    disk_bytes : int
        Size on disk.
    facts : BufferFacts, optional
        None if the metadata cannot be read.
    problem : str
        One line about what is wrong; empty if nothing is.
    """

    path: Path
    format: str
    state: State
    disk_bytes: int
    facts: BufferFacts | None = None
    problem: str = field(default="")

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return {**asdict(self), "path": str(self.path)}


def catalog(folder: Path) -> Iterator[CatalogEntry]:
    """Yield what stands below `folder`, in the order of the paths.

    HDF5 and ZIP files are known by their suffix, Zarr buffers by their suffix or root document. Links
    to directories are not followed.

    Raises
    ------
    OSError
        If `folder` itself cannot be listed; what cannot be read below it is an entry.
    """
    for path in _candidates(folder):
        if path.suffix in _UNFINISHED_SUFFIXES:
            yield _partial_entry(path)
        else:
            yield _entry(path)


def _candidates(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = Path(entry.path)
        if path.suffix in _UNFINISHED_SUFFIXES:
            if named_format(final_of(path)):
                yield path
        elif entry.is_dir(follow_symlinks=False):
            if named_format(path) == "zarr" or (path / DOCUMENT).exists():
                yield path
            elif os.access(path, os.R_OK | os.X_OK):
                yield from _candidates(path)
        elif named_format(path):
            yield path


def _format(path: Path) -> str:
    return "zarr" if path.is_dir() else named_format(path) or "hdf5"


def _entry(path: Path) -> CatalogEntry:
    try:
        with Buffer(path) as buffer:
            return CatalogEntry(path, _format(path), "whole", buffer.store_disk_bytes, _facts(buffer))
    except (FormatError, OSError) as error:
        foreign = not isinstance(error, CorruptDataError) and _is_foreign(path)
        problem = _one_line(error, path)
        return CatalogEntry(path, _format(path), "foreign" if foreign else "damaged", _size(path), problem=problem)


def _is_foreign(path: Path) -> bool:
    """Tell a sound container without our metadata from a buffer that cannot be read."""
    if _format(path) != "hdf5":
        try:
            root = parsed_json(_root_folder(path).read(DOCUMENT))
        except (OSError, ValueError):
            return False
        attributes = root.get("attributes", {}) if isinstance(root, dict) else None
        return isinstance(attributes, dict) and "rlbuffers" not in attributes
    import h5py

    try:
        with h5py.File(refuse_special(path), "r") as file:
            return "rlbuffers" not in file.attrs
    except (OSError, RuntimeError):
        return False


def _root_folder(path: Path) -> Folder:
    return LocalFolder(path) if path.is_dir() else ZipFolder(OpenFile(path), LocalFiles([path]))


def _partial_entry(path: Path) -> CatalogEntry:
    final = final_of(path)
    form, size = _format(final), _size(path)
    if path.suffix == PARTIAL_SUFFIX and is_being_written(final):
        return CatalogEntry(path, form, "being written", size, problem="a process is writing it now")
    count = num_journaled(path)
    if form == "zip":
        problem = "interrupted: its writer was killed; of a ZIP file nothing can be salvaged"
    elif not count:
        problem = "interrupted: its writer was killed within its first half minute; nothing can be salvaged"
    else:
        problem = f"interrupted: its writer was killed; `rlbuffers repair {path} -o NEW` salvages {count:,} transitions"
    return CatalogEntry(path, form, "interrupted", size, problem=problem)


def _facts(buffer: Buffer) -> BufferFacts:
    metadata = buffer.metadata
    environment = metadata.get("environment", {})
    returns = episode_statistics(metadata, "episode_returns", "mean")
    return BufferFacts(
        task=str(environment.get("id") or ""),
        layout=buffer.spec.layout,
        transitions=len(buffer),
        episodes=buffer.num_episodes if buffer.spec.layout == "episodes" else None,
        mean_return=float(returns["mean"]) if returns else None,
        fingerprint=buffer.fingerprint,
    )


def _one_line(error: Exception, path: Path) -> str:
    """Return the message without the path, which stands beside it."""
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return " ".join(text.split()).removeprefix(f"{path}: ")


def _size(path: Path) -> int:
    """Add up the sizes of what is still there; a running writer may remove it meanwhile."""
    total = 0
    for place in path.rglob("*") if path.is_dir() else [path]:
        try:
            total += place.lstat().st_size if place.is_file() else 0
        except OSError:
            continue
    return total
