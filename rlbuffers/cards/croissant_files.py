"""The files of a buffer as Croissant describes them: an HDF5 file with its SHA-256, or a Zarr directory as a set."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rlbuffers.errors import UnsupportedError
from rlbuffers.local_inputs import refuse_special
from rlbuffers.paths import Url

if TYPE_CHECKING:
    from rlbuffers.reader import Buffer

__all__ = ["describe_files"]

Json = dict[str, Any]
_HDF5 = "application/x-hdf5"
_ZARR = "application/vnd.zarr; version=3"
_BLOCK = 1 << 20


def describe_files(buffer: Buffer, url: str | None) -> tuple[Json, list[Json]]:
    """Return how fields name their source, and the distribution.

    Parameters
    ----------
    buffer : Buffer
        Stored in a file or directory.
    url : str, optional
        Address of the folder that holds it.

    Raises
    ------
    UnsupportedError
        If the buffer is in memory, or at an address.
    """
    path = buffer.path
    if isinstance(path, Url):
        raise UnsupportedError(
            f"{path}: the checksums of its files are taken where they are; copy the buffer here first"
        )
    if path.is_file():
        return {"fileObject": {"@id": path.name}}, [_file_object(path, path.name, url, _HDF5)]
    if path.is_dir():
        identity = f"{path.name}/"
        files = {
            "@type": "cr:FileSet",
            "@id": identity,
            "name": path.name,
            "description": "A Zarr v3 group: arrays in sharded chunks, each with its CRC-32C.",
            "encodingFormat": _ZARR,
            # Together they are all files, whether or not a reader's `*` and `**` cross folders.
            "includes": [f"{path.name}/*", f"{path.name}/**/*"],
        }
        root = _file_object(path / "zarr.json", f"{path.name}/zarr.json", url, "application/json")
        root["description"] = "The root of the group, with the metadata and the digest of every array."
        return {"fileSet": {"@id": identity}}, [files, root]
    raise UnsupportedError(f"{path}: a buffer in memory has no files to describe; write it as .hdf5 or .zarr first")


def _file_object(path: Path, name: str, url: str | None, encoding: str) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": f"{url.rstrip('/')}/{quote(name)}" if url else name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": _sha256(path),
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with refuse_special(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
