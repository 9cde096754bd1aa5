"""Let inputs lead to other files: links in HDF5, external storage, virtual datasets, symbolic links, pipes, devices.

    python benchmarks/attack/links.py --seed 0

Every source that reads HDF5, every format that is a folder and every kind of buffer has links put into it that lead out
of it (to a file with content, to a named pipe), to themselves or in circles, and named pipes and devices in place of
files. The kernel (inotify) is asked whether anything outside was opened: nothing may be, and a command refuses and
names the place, or goes on as without the link. A conversion with `--follow-links` shows that the watch sees. Of all
pairs of an attack and a command, some are drawn by the seed.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from attempts import FAILED, HARMLESS, REFUSED, Attack, attempt, main_of
from hdf5 import DATA, FILES, prepared
from metadata import make_buffer, outcome

import rlbuffers
from rlbuffers.errors import RlbuffersError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from foreign_inputs import INPUTS, ForeignInput

Words = Sequence[str | Path]
_IN_OPEN, _EVENT_BYTES = 0x20, 1 << 16
_LIBC = ctypes.CDLL(None)
_SOME = 3  # files and folders of each input that are tried
_SHARE = 0.3
_DRAW = random.Random()
_OUTSIDE = "elsewhere"


class Watch:
    """Asks the kernel what of a folder was opened."""

    def __init__(self) -> None:
        self._descriptor = _LIBC.inotify_init1(os.O_NONBLOCK)
        self._names: dict[int, Path] = {}

    def watch(self, outside: Path) -> None:
        """Watch everything below a folder, and what was done before no more."""
        for path in (outside, *outside.rglob("*")):
            if not path.is_symlink():
                self._names[_LIBC.inotify_add_watch(self._descriptor, bytes(path), _IN_OPEN)] = path
        self.opened()

    def opened(self) -> list[str]:
        """Return what was opened since this was asked last."""
        found = []
        with suppress(BlockingIOError):
            while content := os.read(self._descriptor, _EVENT_BYTES):
                place = 0
                while place < len(content):
                    number = int.from_bytes(content[place : place + 4], sys.byteorder)
                    length = int.from_bytes(content[place + 12 : place + 16], sys.byteorder)
                    found.append(self._names.get(number, Path("?")).name)
                    place += 16 + length
        return found


WATCH = Watch()


def tried(
    attack: Attack, row: str, how: str, words: Words, output: Path, expected: str | None, names: Sequence[str]
) -> None:
    """Run a command, if it is drawn, and hold what was opened, what it says and makes against what it should."""
    if _DRAW.random() >= _SHARE:
        return
    remove(output)
    WATCH.opened()
    one = attempt(words)
    opened = WATCH.opened()
    # `repair` of what is not damaged makes nothing.
    makes = output in words and (words[0] != "repair" or output.exists())
    found = outcome(one, lambda: not makes or fingerprint_of(output) == expected)
    if opened:
        found = f"{FAILED}: opened {', '.join(sorted(set(opened)))}"
    elif found == REFUSED and one.refused and not any(name in one.errors for name in names):
        found = f"{FAILED}: refused without a name: {one.errors.strip()}"
    attack.note(row, found, one, how)


def made_by(words: Words, output: Path) -> str | None:
    """Return the fingerprint of the buffer that a command makes of the input as it is."""
    remove(output)
    one = attempt(words, seconds=300)
    if one.exit_code:
        sys.exit(f"{' '.join(one.words)}: {one.errors}")
    return fingerprint_of(output)


def fingerprint_of(path: Path) -> str | None:
    """Return a buffer's fingerprint; None if there is none."""
    try:
        with rlbuffers.open(path) as buffer:
            return buffer.fingerprint
    except RlbuffersError:
        return None


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(path: Path, target: Path) -> Path:
    """Copy a file or folder over whatever is there."""
    remove(target)
    shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target)
    return target


# 1. What HDF5 files lead to


def hdf5_links(place: str, outside: Path) -> dict[str, Callable[[h5py.File], None]]:
    """Return changes of a file by what they put into it, and whether they lead outside by their names."""
    last = place.rpartition("/")[2]

    def taken(file: h5py.File) -> tuple[h5py.Group, np.ndarray, dict[str, object]]:
        group, rows, attributes = file[place].parent, file[place][()], dict(file[place].attrs)
        del file[place]
        return group, rows, attributes

    def external_link(file: h5py.File) -> None:
        taken(file)[0][last] = h5py.ExternalLink(str(outside), "/x")

    def external_beside(file: h5py.File) -> None:
        file[place].parent["zz_unknown"] = h5py.ExternalLink(str(outside), "/x")

    def external_group(file: h5py.File) -> None:
        file["zz_group"] = h5py.ExternalLink(str(outside), "/")

    def external_storage(file: h5py.File) -> None:
        group, rows, attributes = taken(file)
        made = group.create_dataset(last, rows.shape, rows.dtype, external=[(str(outside), 0, rows.nbytes)])
        made.attrs.update(attributes)

    def virtual(file: h5py.File, source: str = str(outside), name: str = "x") -> None:
        group, rows, attributes = taken(file)
        layout = h5py.VirtualLayout(rows.shape, rows.dtype)
        layout[...] = h5py.VirtualSource(source, name, rows.shape)
        group.create_virtual_dataset(last, layout).attrs.update(attributes)

    def external_self(file: h5py.File) -> None:
        taken(file)[0][last] = h5py.ExternalLink(file.filename, place)

    def soft_self(file: h5py.File) -> None:
        taken(file)[0][last] = h5py.SoftLink(f"/{place}")

    def soft_nowhere(file: h5py.File) -> None:
        file[place].parent["zz_nowhere"] = h5py.SoftLink("/not/there")

    def soft_circle(file: h5py.File) -> None:
        file[place].parent["zz_circle"] = h5py.SoftLink(file[place].parent.name)

    def hard_circle(file: h5py.File) -> None:
        file[place].parent["zz_circle"] = file["/"]

    return {
        "external link": external_link,
        "external link beside": external_beside,
        "external link to a group": external_group,
        "external storage": external_storage,
        "virtual dataset": virtual,
        "virtual dataset of itself": partial(virtual, source=".", name=place),
        "external link to itself": external_self,
        "soft link to itself": soft_self,
        "soft link to nowhere": soft_nowhere,
        "soft link in a circle": soft_circle,
        "hard link in a circle": hard_circle,
    }


def outside_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield a file with content, which is HDF5 and raw numbers, and a named pipe; both are watched."""
    outside = folder / _OUTSIDE
    remove(outside)
    outside.mkdir()
    with h5py.File(outside / "other.h5", "w") as file:
        file["x"] = np.full(10_000, 9.75, "f4")
    os.mkfifo(outside / "pipe.h5")
    WATCH.watch(outside)
    yield "content", outside / "other.h5"
    yield "a pipe", outside / "pipe.h5"


def attack_hdf5(attack: Attack, row: str, file: Path, place: str, folder: Path, commands: list[Words]) -> None:
    """Put links into a file, and run commands on it; the first one makes a buffer, `out.hdf5`."""
    output = folder / "out.hdf5"
    whole = file.read_bytes()
    expected = made_by(commands[0], output)
    for content, outside in outside_files(folder):
        for how, change in hdf5_links(place, outside).items():
            inner = any(word in how for word in ("itself", "circle", "nowhere"))
            if inner and content == "a pipe":
                continue
            file.write_bytes(whole)
            with h5py.File(file, "r+") as opened:
                change(opened)
            leads = [place.rpartition("/")[2], "zz_", outside.name]
            for words in commands:
                # What is damaged or not a buffer is said of the whole file.
                names = leads if words is commands[0] and not inner else [*leads, file.name]
                which = "stay inside" if inner else "lead outside"
                tried(attack, f"{row}: links that {which}", f"{how} ({content})", words, output, expected, names)
    file.write_bytes(whole)


def attack_hdf5_sources(attack: Attack, folder: Path) -> None:
    """Put links into a file of every format that is HDF5."""
    for name, (_, words, place) in FILES.items():
        file = prepared(name, folder / name / ("data" if name == "minari" else ""))
        given = file.parents[1] if name == "minari" else file
        convert = ["convert", *words, given, "-o", folder / "out.hdf5", "--overwrite"]
        # What is not a buffer is refused by the others before they look into it.
        more: list[Words] = [["info", given], ["validate", given], ["list", file.parent]] if name == "d4rl" else []
        attack_hdf5(attack, name, file, place, folder, [convert, *more])
        show_that_the_watch_sees(attack, name, file, place, folder, [*convert, "--follow-links"])


def show_that_the_watch_sees(attack: Attack, name: str, file: Path, place: str, folder: Path, words: Words) -> None:
    """Follow a link, as the user may ask for, and fail if nothing was seen to be opened."""
    _, outside = next(outside_files(folder))
    whole = file.read_bytes()
    with h5py.File(file, "r+") as opened:
        opened["zz_group"] = h5py.ExternalLink(str(outside), "/")
    one = attempt(words)
    seen = outside.name in WATCH.opened()
    attack.note("--follow-links is seen by the watch", HARMLESS if seen else f"{FAILED}: not seen", one, name)
    file.write_bytes(whole)


def attack_hdf5_buffers(attack: Attack, folder: Path) -> None:
    """Put links into an HDF5 buffer."""
    (folder / "buffers").mkdir()
    path = folder / "buffers" / "x.hdf5"
    make_buffer(path)
    attack_hdf5(attack, "HDF5 buffer", path, "rewards", folder, buffer_commands(path, folder))


def buffer_commands(path: Path, folder: Path) -> list[Words]:
    """Return the commands that read a buffer, first one that makes another."""
    output = ["-o", folder / "out.hdf5", "--overwrite"]
    return [
        ["subset", path, "--by", "episodes", "--size", "100%", *output],
        ["repair", path, *output],
        ["info", path],
        ["validate", path],
        ["list", path.parent],
        ["export", path, "--to", "npz", "-o", folder / "out.npz", "--overwrite"],
    ]


# 2. What folders lead to


def put_in_place(path: Path, outside: Path, *, is_named: bool) -> Iterator[str]:
    """Put one thing after the other in the place of a file or folder, and yield its name; then restore it.

    `is_named`: it is what the command names, which may be a link.
    """
    kept = outside.with_name("kept")  # which is not watched
    copied = copy(path, outside / path.name)
    os.rename(path, kept)
    kinds: dict[str, Callable[[], None]] = {
        "a link outside": lambda: path.symlink_to(copied),
        "a link to itself": lambda: path.symlink_to(path),
        "a link to the folder that it is in": lambda: path.symlink_to(path.parent),
    }
    if kept.is_file():
        pipe = outside / "pipe"
        os.mkfifo(pipe)
        kinds |= {
            "a link to a pipe outside": lambda: path.symlink_to(pipe),
            "a pipe": lambda: os.mkfifo(path),
            "a link to a device": lambda: path.symlink_to("/dev/zero"),
        }
    else:
        kinds["a folder that holds itself"] = lambda: (path.mkdir(), (path / "again").symlink_to(path))[0]
    WATCH.watch(outside)
    try:
        for kind, put in kinds.items():
            if not (is_named and "outside" in kind):
                put()
                yield kind
                remove(path)
    finally:
        os.rename(kept, path)


def attack_folder(
    attack: Attack, row: str, root: Path, places: list[Path], folder: Path, commands: list[Words]
) -> None:
    """Put links and other things in some places of a folder, or in its own, and run commands on it."""
    output = folder / "out.hdf5"
    outside = folder / _OUTSIDE
    expected = made_by(commands[0], output)
    for place in places:
        remove(outside)
        outside.mkdir()
        for how in put_in_place(place, outside, is_named=place == root):
            for words in commands:
                inner = place.relative_to(root.parent)
                names = [place.name, place.parent.name, "again"]
                tried(attack, row, f"{how} at {inner}", words, output, expected, names)


def some_places(root: Path) -> list[Path]:
    """Return the first files and folders of those that are named alike, without their numbers."""
    found: dict[tuple[bool, str], Path] = {}
    for path in sorted(root.rglob("*")):
        stem = "".join(letter for letter in path.name if not letter.isdigit())
        found.setdefault((path.is_dir(), stem), path)
    files = [path for (is_folder, _), path in found.items() if not is_folder]
    return [*files[:_SOME], *[path for (is_folder, _), path in found.items() if is_folder][:_SOME]]


def attack_folder_sources(attack: Attack, folder: Path) -> None:
    """Put links into the folders of the formats that are folders, and in place of the formats that are a file."""
    inputs = folder / "in"
    inputs.mkdir()
    for given in INPUTS:
        root = copy(given.path, inputs / given.path.name)
        places = [*some_places(root), root]
        commands: list[Words] = [given.words(root, folder / "out.hdf5")]
        attack_folder(attack, given.format, root, places, folder, commands)
        remove(root)
    root = copy(DATA / "minari" / "fixture" / "cartpole-hdf5-v0", inputs / "cartpole-hdf5-v0")
    given = ForeignInput("minari", "minari/fixture/cartpole-hdf5-v0")
    attack_folder(attack, "minari", root, some_places(root), folder, [given.words(root, folder / "out.hdf5")])


def attack_other_buffers(attack: Attack, folder: Path) -> None:
    """Put links into Zarr buffers, and other things in the place of a buffer."""
    inner = ("zarr.json", "rewards", "rewards/zarr.json", "rewards/c", "rewards/c/0", "episodes")
    for suffix in ("zarr", "zarr.zip", "hdf5"):
        path = folder / f"other {suffix}" / f"x.{suffix}"
        path.parent.mkdir()
        make_buffer(path)
        places = [path, *[path / name for name in inner if path.is_dir()]]
        attack_folder(attack, f"{suffix} buffer", path, places, folder, buffer_commands(path, folder))


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Try all kinds."""
    _DRAW.seed(seed)
    attack_hdf5_buffers(attack, folder)
    attack_other_buffers(attack, folder)
    attack_hdf5_sources(attack, folder)
    attack_folder_sources(attack, folder)


if __name__ == "__main__":
    main_of("Files that lead to other files", __doc__, run)
