"""A buffer that may be damaged, opened as far as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.json_documents import parsed_json
from rlbuffers.local_inputs import refuse_special
from rlbuffers.metadata import FORMAT_NAME, parse_metadata
from rlbuffers.metadata_schema import METADATA, settled
from rlbuffers.repair.salvaged_array import SalvagedArray
from rlbuffers.repair.stated_array import StatedArray, stated_arrays
from rlbuffers.schema import BufferSpec
from rlbuffers.stores import HDF5_SIGNATURE, ZIP_SIGNATURE, named_format

__all__ = ["DamagedBuffer", "open_damaged"]

_Find = Callable[[Mapping[str, StatedArray], BufferSpec], dict[str, SalvagedArray]]
# Without these nothing tells what the bytes mean.
_NEEDED = ("spec", "arrays", "normalization")
_MOST_NAMED = 5
_TRUST = "--trust-metadata (trust_metadata=True) takes them as they are: rows are checked by checksums of their own"


@dataclass(frozen=True)
class DamagedBuffer:
    """Everything that is known of a buffer.

    Parameters
    ----------
    path : Path
        Where it is.
    metadata : mapping
        Its facts.
    spec : BufferSpec
        Its columns.
    stated : mapping of name to StatedArray
        What each array should be.
    arrays : mapping of name to SalvagedArray
        The arrays as they are, unchecked.
    problems : sequence of str
        What is wrong beside the arrays.
    is_interrupted : bool
        Whether its writer never finished.
    """

    path: Path
    metadata: Mapping[str, Any]
    spec: BufferSpec
    stated: Mapping[str, StatedArray]
    arrays: Mapping[str, SalvagedArray]
    problems: tuple[str, ...] = ()
    is_interrupted: bool = False

    def check(self, on_progress: Callable[[int, int], None]) -> None:
        """Decode every chunk of every array; is told (bytes done, bytes in all)."""
        total = sum(array.array.num_chunks * array.array.chunk_bytes for array in self.arrays.values())
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            on_progress(done, total)

        for name, array in self.arrays.items():
            array.check(self.stated[name].digest, count)


def open_damaged(path: Path, *, trust_metadata: bool = False) -> DamagedBuffer:
    """Open a finished buffer in spite of damage to anything but its metadata.

    Raises
    ------
    BufferNotFoundError
        If nothing is there.
    CorruptDataError
        If the metadata cannot be read, so that nothing tells what the bytes mean; says what can be done.
    FormatError
        If it is no buffer, or one of another version.
    """
    if not path.exists():
        raise BufferNotFoundError(f"{path}: there is no such file, and nothing that an interrupted writer left")
    text, find = _opened(path)
    problems: list[str] = []
    try:
        metadata = parse_metadata(text, str(path))
    except CorruptDataError as error:
        if not trust_metadata:
            raise CorruptDataError(f"{error}; {_TRUST}") from error
        metadata, problems = _trusted(text, path)
    spec = BufferSpec.from_json(metadata.get("spec", {}))
    stated = stated_arrays(metadata, spec, path)
    return DamagedBuffer(path, metadata, spec, stated, find(stated, spec), tuple(problems))


def _opened(path: Path) -> tuple[str, _Find]:
    """Return the text of the metadata, and what finds the arrays that they state."""
    if not path.is_dir() and not _is_zip(path):
        from rlbuffers.repair.hdf5_chunks import find_hdf5_arrays, read_hdf5_metadata

        return read_hdf5_metadata(path), partial(find_hdf5_arrays, path)
    from rlbuffers.repair.zarr_chunks import find_zarr_arrays, read_zarr_metadata
    from rlbuffers.repair.zarr_files import FolderFiles, ZipFiles

    files = FolderFiles(path) if path.is_dir() else ZipFiles(path)
    return read_zarr_metadata(path, files), partial(find_zarr_arrays, files)


def _is_zip(path: Path) -> bool:
    """Whether a file begins as a ZIP file does, or is named so and begins as nothing that is known."""
    with refuse_special(path).open("rb") as file:
        first = file.read(len(HDF5_SIGNATURE))
    if not first:
        raise CorruptDataError(f"{path}: the file is empty; convert the source once more")
    return first.startswith(ZIP_SIGNATURE) or (first != HDF5_SIGNATURE and named_format(path) == "zip")


def _trusted(text: str, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return metadata whatever their checksum, without what is not as rlbuffers writes it, and what that is."""
    try:
        metadata = parsed_json(text)
    except ValueError as error:
        raise CorruptDataError(
            f"{path}: the metadata is not JSON ({error}); mend the text by hand, as far as it can be guessed, and try "
            "again, or convert the source once more"
        ) from error
    if not isinstance(metadata, dict):
        raise FormatError(f"{path}: the metadata does not say format {FORMAT_NAME!r}")
    found, wrong = settled(metadata, METADATA)
    needed = [problem for problem in wrong if problem.path.startswith(_NEEDED)]
    if needed:
        raise CorruptDataError(f"{path}: the metadata cannot be used: {needed[0]}; mend the text by hand")
    named = [f"left out of the metadata: {problem}" for problem in wrong[:_MOST_NAMED]]
    return found, ["the metadata fail their checksum and were taken as they are", *named]
