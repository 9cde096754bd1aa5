"""Change single bytes of a shard and of finished buffers, and count what is noticed and what `repair` saves.

    python benchmarks/attack/flips.py --seed 0

1. A byte of an RL Unplugged shard is changed: the conversion fails with one line, or makes exactly the same content.
   Once in the compressed file, whose GZIP checksum notices nearly everything, and once below it, where the records' own
   checksums are all there is.
2. A byte of a finished buffer is changed: `validate` fails, or everything that is read, through rlbuffers and through
   plain h5py or zarr, is as before.
3. The same, and `repair`: it refuses in one line, finds nothing where `validate` finds nothing, or what it salvages is
   valid, lacks exactly the rows that it says are lost, and has the others as they were.

Buffers are images with stacks and vectors with every kind of fact, in HDF5, Zarr and Zarr in a ZIP file.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import zarr
from attempts import FAILED, HARMLESS, NOTICED, REFUSED, Attack, attempt, judged, main_of
from metadata import make_buffer, outcome

import rlbuffers
from rlbuffers.errors import RlbuffersError

SHARD = Path(__file__).parents[2] / "tests" / "data" / "rl_unplugged" / "Breakout" / "run_1-00001-of-00100"
SUFFIXES = (".hdf5", ".zarr", ".zarr.zip")
SHARD_FLIPS, BUFFER_FLIPS, REPAIRS = 15, 25, 10
OTHER_CONTENT = 3  # exit code of a process that reads
Rows = dict[str, np.ndarray]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Change one byte to any other value."""
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
    return bytes(changed)


def made_of(shard: Path, output: Path) -> list[str | Path]:
    """Convert a shard as it is, and return the command line."""
    words = ["convert", "rl-unplugged", "--task", shard.parent.name, "--file", shard, "-o", output, "--workers", "0"]
    done(words)
    return words


def done(words: list[str | Path]) -> None:
    """Run what must work."""
    tried = attempt(words, seconds=300)
    if tried.exit_code:
        raise SystemExit(f"{words[0]} does not work unharmed: {tried.errors}")


# 1. Flips in the shard


def attack_shard(attack: Attack, folder: Path, rng: random.Random) -> None:
    """Convert damaged copies of the shard."""
    shard, output = folder / SHARD.parent.name / SHARD.name, folder / "converted.hdf5"
    shard.parent.mkdir()
    shutil.copy(SHARD, shard)
    words = made_of(shard, output)
    with rlbuffers.open(output) as whole:
        expected = whole.fingerprint
    content = SHARD.read_bytes()
    inner = gzip.decompress(content)
    kinds: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
        "shard": (content, bytes),
        "shard, below GZIP": (inner, lambda data: gzip.compress(data, 1)),
    }

    def unharmed() -> bool:
        with rlbuffers.open(output) as buffer:
            return buffer.fingerprint == expected

    for what, (data, pack) in kinds.items():
        for _ in range(SHARD_FLIPS):
            output.unlink(missing_ok=True)
            shard.write_bytes(pack(flipped(data, rng)))
            tried = attempt(words)
            found = judged(tried, unharmed)
            left = [path.name for path in folder.iterdir() if path.name.startswith(f".{output.name}")]
            if found == REFUSED and (left or output.exists() or str(shard) not in tried.errors):
                found = f"{FAILED}: left {', '.join(left) or output.name}, or did not name the shard"
            attack.note(what, found, tried)


# 2. Flips in finished buffers


def damaged_copy(buffer: Path, target: Path, rng: random.Random) -> Path:
    """Copy a buffer and change one byte of it, each byte of each file being equally likely."""
    if buffer.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(buffer, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        (file,) = rng.choices(files, weights=[path.stat().st_size for path in files])
    else:
        file = Path(shutil.copy(buffer, target))
    file.write_bytes(flipped(file.read_bytes(), rng))
    return target


def attack_buffer(attack: Attack, what: str, buffer: Path, target: Path, rng: random.Random) -> None:
    """Validate damaged copies of a buffer, and read all of those that pass."""
    expected = digests_of(buffer)
    for _ in range(BUFFER_FLIPS):
        damaged = damaged_copy(buffer, target, rng)
        tried = attempt(["validate", damaged])
        found = outcome(tried)
        if found == HARMLESS:
            # In a process of its own, which a library may take down.
            tried = attempt(["read", damaged], before=partial(read_and_leave, damaged, expected))
            found = HARMLESS if not tried.exit_code else f"{FAILED}: valid, but read otherwise or not at all"
        attack.note(what, found, tried)


def read_and_leave(buffer: Path, expected: tuple[str, str]) -> None:
    """Read a buffer in both ways and end the process."""
    os._exit(0 if digests_of(buffer) == expected else OTHER_CONTENT)


def digests_of(buffer: Path) -> tuple[str, str]:
    """Hash all that rlbuffers reads and all that the container's own library reads."""
    with rlbuffers.open(buffer) as opened:
        ours = digest_of(opened[:])
    return ours, digest_of(read_hdf5(buffer) if buffer.suffix == ".hdf5" else read_zarr(buffer))


def read_hdf5(buffer: Path) -> Rows:
    """Read every dataset, views included, as plain h5py shows it."""
    found: Rows = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(buffer) as file:
        file.visititems(note)
    return found


def read_zarr(buffer: Path) -> Rows:
    """Read every array, and the stacks that the index makes of the frames, as plain zarr shows them."""
    root = zarr.open_group(zarr.storage.ZipStore(buffer) if buffer.is_file() else buffer, mode="r")
    found = {name: item[...] for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    if "stack_index" in found:
        stacks = found["frames"][found["stack_index"]]
        found |= {"observations": stacks[:, :-1], "next_observations": stacks[:, 1:]}
    return found


def digest_of(columns: Rows) -> str:
    """Hash names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, values in sorted(columns.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


# 3. What repair makes of them


def attack_repair(attack: Attack, what: str, buffer: Path, target: Path, rng: random.Random) -> None:
    """Repair damaged copies of a buffer."""
    expected, _ = read_rows(buffer)
    output = target.with_name("repaired.zarr")
    for _ in range(REPAIRS):
        damaged = damaged_copy(buffer, target, rng)
        tried = attempt(["repair", damaged, "-o", output, "--overwrite"])
        found = outcome(tried)
        attack.note(what, compared(damaged, output, expected) if found == HARMLESS else found, tried)
        shutil.rmtree(output, ignore_errors=True)


def compared(damaged: Path, output: Path, expected: Rows) -> str:
    """Hold what was salvaged against the undamaged rows that are not said to be lost."""
    if not output.exists():
        return HARMLESS if validated(damaged) else f"{FAILED}: repair noticed nothing"
    if not validated(output):
        return f"{FAILED}: what was salvaged is not valid"
    found, unknown = read_rows(output)
    with rlbuffers.open(output) as buffer:
        lost = named_rows(buffer.metadata["derivation"]["lost"]["rows"])
    rows = [row for row in range(len(expected["rewards"])) if row not in lost]
    for name, values in found.items():
        known = np.ones(len(rows), bool)
        if name == "next_observations":
            known[unknown] = False
        if len(values) != len(rows) or not np.array_equal(values[known], expected[name][rows][known]):
            return f"{FAILED}: other content than is said"
    return NOTICED


def validated(buffer: Path) -> bool:
    """Whether a buffer is valid."""
    try:
        return rlbuffers.validate(buffer).ok
    except RlbuffersError:
        return False


def read_rows(path: Path) -> tuple[Rows, np.ndarray]:
    """Return every column, and the rows whose next observation is not known."""
    with rlbuffers.open(path) as buffer:
        return buffer[:], buffer.rows_without_next


def named_rows(ranges: str) -> set[int]:
    """Return the rows that a text such as ``3, 10-12`` names."""
    rows: set[int] = set()
    for piece in ranges.split(", ") if ranges else []:
        first, _, last = piece.partition("-")
        rows |= set(range(int(first), int(last or first) + 1))
    return rows


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    rng = random.Random(seed)
    attack_shard(attack, folder, rng)
    images = folder / "converted.hdf5"
    images.unlink(missing_ok=True)
    made_of(SHARD, images)
    for suffix in SUFFIXES:
        for content in ("images", "vectors"):
            buffer, target = folder / f"{content}{suffix}", folder / f"damaged{suffix}"
            if content == "vectors":
                make_buffer(buffer)
            else:
                done(["repack", images, "-o", buffer])
            attack_buffer(attack, f"{suffix} of {content}", buffer, target, rng)
            attack_repair(attack, f"{suffix} of {content}, repaired", buffer, target, rng)


if __name__ == "__main__":
    main_of("Changed bytes", __doc__, run)
