"""Damage HDF5 files of every source format, convert them, and count what comes of it.

    .venv/bin/python benchmarks/attack/hdf5.py [--seed 0]

Small files of D4RL, d3rlpy (both formats), Tianshou, robomimic and Minari get bytes flipped, ranges zeroed, ranges
copied over others and ends cut off, most of it in what leads to the rows: heaps, B-trees, object headers and symbol
tables. Texts of variable length are added to each, so that it has a global heap. Other attempts claim sizes: extents,
chunks that inflate to hundreds of megabytes or to less than a chunk, and groups in groups.

The formats have no checksums, so that other content without a word is no failure where nothing can tell; it is counted
as "noticed" if `convert` warns, and in a row of its own else.
"""

from __future__ import annotations

import random
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from attempts import FAILED, PATIENCE, Attack, attempt, judged, load_sources, main_of

import rlbuffers
from rlbuffers.errors import RlbuffersError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from hdf5_cases import mdp_dataset

DATA = Path(__file__).parents[2] / "tests" / "data"
NO_CHECKSUM = "no checksum"
TRIES = 24
MARKS = (b"GCOL", b"TREE", b"HEAP", b"SNOD", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"BTHD", b"BTLF", b"FAHD", b"EAHD")
REACH = 600
FILES = {
    "d4rl": (DATA / "d4rl" / "mini" / "hopper_medium.hdf5", ["d4rl", "--file"], "rewards"),
    "d3rlpy 2": (DATA / "d3rlpy" / "cartpole-v2.h5", ["d3rlpy"], "rewards_0"),
    "d3rlpy 1": (Path("mdp.h5"), ["d3rlpy"], "rewards"),
    "tianshou": (DATA / "tianshou" / "cartpole.hdf5", ["tianshou"], "_meta/rew"),
    "robomimic": (DATA / "robomimic" / "lift.hdf5", ["robomimic"], "data/demo_0/rewards"),
    "minari": (
        DATA / "minari" / "fixture" / "cartpole-hdf5-v0" / "data" / "main_data.hdf5",
        ["minari"],
        "episode_0/rewards",
    ),
}


def prepared(name: str, folder: Path) -> Path:
    """Return a file of a format, with a text in a heap, in a folder as its converter wants it."""
    given = FILES[name][0]
    if name == "minari":
        shutil.copytree(given.parent, folder, dirs_exist_ok=True)
        target = folder / given.name
    else:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / given.name
        shutil.copy(given, target) if given.is_absolute() else mdp_dataset(target)
    with h5py.File(target, "r+") as file:
        file.attrs["a note"] = "of variable length"
    return target


def damages(content: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield damaged contents, three of four near what leads to the rows."""
    places = [place for mark in MARKS for place in found(content, mark)]
    for _ in range(TRIES):
        near = chance.choice(places) + chance.randrange(REACH) if places and chance.random() < 0.75 else None
        place = min(near if near is not None else chance.randrange(len(content)), len(content) - 1)
        how = chance.choice(("flip", "flip", "zero", "ones", "copy", "cut"))
        damaged = bytearray(content)
        length = chance.choice((1, 2, 4, 8, 40))
        if how == "flip":
            damaged[place] ^= 1 << chance.randrange(8)
        elif how in ("zero", "ones"):
            damaged[place : place + length] = bytes([255 * (how == "ones")]) * len(damaged[place : place + length])
        elif how == "copy":
            other = chance.randrange(len(content))
            damaged[place : place + length] = content[other : other + len(damaged[place : place + length])]
        else:
            del damaged[place:]
        yield f"{how} at {place}", bytes(damaged)


def found(content: bytes, mark: bytes) -> Iterator[int]:
    """Yield where a mark is."""
    place = content.find(mark)
    while place >= 0:
        yield place
        place = content.find(mark, place + 1)


def remade(name: str, make: Callable[[h5py.Group, str, np.ndarray], None]) -> Callable[[h5py.File], None]:
    """Return a function that makes the rewards of a file anew."""

    def change(file: h5py.File) -> None:
        place = FILES[name][2]
        rows, attributes = file[place][()], dict(file[place].attrs)
        group, last = file[place].parent, place.rpartition("/")[2]
        del file[place]
        make(group, last, rows)
        group[last].attrs.update(attributes)

    return change


def claims(name: str) -> dict[str, Callable[[h5py.File], None]]:
    """Return changes of a file that claim sizes, by what they claim."""

    def sparse(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        shape = (10**12, *rows.shape[1:])
        group.create_dataset(last, shape, rows.dtype, chunks=(1000, *rows.shape[1:]))[:1] = rows[:1]

    def wide(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        made = group.create_dataset(
            last,
            rows.shape,
            rows.dtype,
            maxshape=(None, *rows.shape[1:]),
            chunks=(10**8,) if rows.ndim == 1 else (10**8, *rows.shape[1:]),
            compression="gzip",
        )
        made.id.write_direct_chunk((0,) * rows.ndim, zlib.compress(rows.tobytes()))

    def inflating(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        made = group.create_dataset(last, rows.shape, rows.dtype, chunks=rows.shape, compression="gzip")
        made.id.write_direct_chunk((0,) * rows.ndim, BOMB)

    def short(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        made = group.create_dataset(last, rows.shape, rows.dtype, chunks=rows.shape, compression="gzip")
        made.id.write_direct_chunk((0,) * rows.ndim, zlib.compress(rows.tobytes()[:8]))

    def dimensions(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        group.create_dataset(last, (*rows.shape, *[1] * 27, 2), rows.dtype)

    def texts(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        del rows
        group.create_dataset(last, (2**60,), h5py.string_dtype(), chunks=(1000,))

    def compound(group: h5py.Group, last: str, rows: np.ndarray) -> None:
        group.create_dataset(last, (len(rows),), np.dtype([("a", "f4", (500, 500, 500))]), chunks=(1,))

    def nested(file: h5py.File) -> None:
        group = file
        for _ in range(3000):
            group = group.create_group("g")

    return {
        "10^12 rows": remade(name, sparse),
        "a chunk of 10^8 rows": remade(name, wide),
        "a chunk that inflates to 500 MB": remade(name, inflating),
        "a chunk that inflates to 8 bytes": remade(name, short),
        "29 dimensions": remade(name, dimensions),
        "2^60 texts": remade(name, texts),
        "items of 500 MB": remade(name, compound),
        "3,000 groups in groups": nested,
    }


BOMB = zlib.compress(bytes(500 << 20), 9)


def content_of(path: Path) -> str | None:
    """Return a buffer's fingerprint."""
    try:
        with rlbuffers.open(path) as buffer:
            return buffer.fingerprint
    except RlbuffersError:
        return None


def is_same(path: Path, fingerprint: str | None) -> bool:
    """Whether a buffer has the content that it should have."""
    return content_of(path) == fingerprint


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Try everything."""
    load_sources()
    output = folder / "out.hdf5"
    for name, (_, words, _) in FILES.items():
        file = prepared(name, folder / name / ("data" if name == "minari" else ""))
        given = file.parents[1] if name == "minari" else file
        command = ["convert", *words, given, "-o", output, "--overwrite"]
        whole = file.read_bytes()
        if attempt(command).exit_code:
            sys.exit(f"{name}: the file is not converted as it is")
        expected = content_of(output)
        for how, content in damages(whole, random.Random(f"{seed} {name}")):
            file.write_bytes(content)
            output.unlink(missing_ok=True)
            tried = attempt(command, seconds=PATIENCE)
            outcome = judged(tried, partial(is_same, output, expected))
            what = f"{name}: damage"
            if outcome == f"{FAILED}: other content in silence":
                what, outcome = f"{name}: other content, {NO_CHECKSUM}", NO_CHECKSUM
            attack.note(what, outcome, tried, how)
        for how, change in claims(name).items():
            file.write_bytes(whole)
            try:
                with h5py.File(file, "r+") as opened:
                    change(opened)
            except (ValueError, OSError, RuntimeError) as error:
                sys.exit(f"{name}: {how}: cannot be made: {error}")
            output.unlink(missing_ok=True)
            tried = attempt(command, seconds=PATIENCE)
            harmless = how == "29 dimensions"
            outcome = judged(tried, (lambda: content_of(output) is not None) if harmless else None)
            attack.note(f"{name}: claimed sizes", outcome, tried, how)


if __name__ == "__main__":
    main_of("Damaged HDF5 sources", __doc__, run)
