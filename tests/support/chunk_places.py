"""Where the chunks of a buffer are, as h5py and the Zarr specification say it; and changing bytes there."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import h5py

ChunkPlace = tuple[Path, int, int]


def chunk_places(path: Path) -> dict[str, list[ChunkPlace]]:
    """Return the (file, offset, size) of every chunk of every stored array."""
    return zarr_places(path) if path.is_dir() else hdf5_places(path)


def hdf5_places(path: Path) -> dict[str, list[ChunkPlace]]:
    found: dict[str, list[ChunkPlace]] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_virtual and item.chunks:
            chunks = [item.id.get_chunk_info(number) for number in range(item.id.get_num_chunks())]
            chunks.sort(key=lambda chunk: chunk.chunk_offset)
            found[name] = [(path, chunk.byte_offset, chunk.size) for chunk in chunks]

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def zarr_places(path: Path) -> dict[str, list[ChunkPlace]]:
    found: dict[str, list[ChunkPlace]] = {}
    for document in path.rglob("*/zarr.json"):
        described = json.loads(document.read_text())
        if described["node_type"] != "array":
            continue
        shard_rows = described["chunk_grid"]["configuration"]["chunk_shape"][0]
        per_shard = shard_rows // described["codecs"][0]["configuration"]["chunk_shape"][0]
        places = found[document.parent.relative_to(path).as_posix()] = []
        for shard in range(-(-described["shape"][0] // shard_rows)):
            file = document.parent.joinpath("c", str(shard), *["0"] * (len(described["shape"]) - 1))
            index = file.read_bytes()[-16 * per_shard - 4 : -4]
            entries = struct.iter_unpack("<QQ", index)
            places += [(file, offset, size) for offset, size in entries if size != 2**64 - 1]
    return found


def chunk_rows(path: Path, name: str) -> int:
    """Return the rows of a chunk of an array."""
    if path.is_dir():
        described = json.loads((path / name / "zarr.json").read_text())
        return int(described["codecs"][0]["configuration"]["chunk_shape"][0])
    with h5py.File(path) as file:
        return int(file[name].chunks[0])


def flip(file: Path, place: int, rng: random.Random) -> None:
    """Change one byte of a file to any other value."""
    with file.open("r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ rng.randrange(1, 256)]))
