"""Damaged files of other formats: refused, noticed, or converted to the same content.

    python benchmarks/attack/source_flips.py

1. A fixture of each format (tests/data) has a bit flipped, is cut short, or has a range of zeros in one of its files.
   Where the format has no checksum over what was changed, other content cannot be noticed: it is counted on its own, by
   format, and is no failure.
2. One value of a fixture's JSON is something else (`tests/support/foreign_inputs.py`): one line, or a conversion.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attempts import FAILED, HARMLESS, NOTICED, PATIENCE, REFUSED, Attack, Attempt, attempt, load_sources, main_of

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers_cli.console import console

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))
from foreign_inputs import HOSTILE, INPUTS, ForeignInput, changed, documents_of, places_of

KIND = "Damaged files of other formats"
DAMAGES_OF_EACH, VALUES_OF_EACH = 10, 10
# GZIP, TFRecord, ZIP and RLlib's pages have checksums; these do not have them over everything that is read.
WITHOUT_CHECKSUM = ("tfds", "minari", "rllib", "lerobot", "diffusion-policy")


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Try every fixture."""
    load_sources()
    generator = random.Random(seed)
    silent: Counter[str] = Counter()
    for given in INPUTS:
        work, output = folder / given.path.name, folder / "out.hdf5"
        _restore(given, work)
        expected = _fingerprint(attempt(given.words(work, output)), output)
        if expected is None:
            raise SystemExit(f"{given.name}: cannot be converted")
        for _ in range(DAMAGES_OF_EACH):
            path = generator.choice([file for file in _files(work) if file.stat().st_size])
            how = _damage(path, generator)
            _note(attack, f"{given.format}: damaged", given, work, output, expected, f"{path.name}: {how}", silent)
            _restore(given, work)
        values = [(document, place) for document in documents_of(work) for place in places_of(document.content(work))]
        for document, place in generator.choices(values, k=VALUES_OF_EACH) if values else ():
            label, value = generator.choice(HOSTILE)
            document.rewrite(work, changed(document.content(work), place, value))
            # What another value means is for the value to say: it may well be other content.
            tried = attempt(given.words(work, output), seconds=PATIENCE)
            outcome = f"{FAILED}: {tried.failure}" if tried.failure else REFUSED if tried.exit_code else HARMLESS
            attack.note(f"{given.format}: JSON values", outcome, tried, f"{document.file} {place} {label}")
            _restore(given, work)
        shutil.rmtree(work) if work.is_dir() else work.unlink()
    console.print("Other content, where the format has no checksum: " + (str(dict(silent)) if silent else "none"))


def _note(
    attack: Attack,
    row: str,
    given: ForeignInput,
    work: Path,
    output: Path,
    expected: str,
    how: str,
    silent: Counter[str],
) -> None:
    tried = attempt(given.words(work, output), seconds=PATIENCE)
    if tried.failure is not None:
        attack.note(row, f"{FAILED}: {tried.failure}", tried, how)
    elif tried.exit_code:
        attack.note(row, REFUSED, tried)
    elif _fingerprint(tried, output) == expected:
        attack.note(row, HARMLESS, tried)
    elif "arning" in tried.output + tried.errors:
        attack.note(row, NOTICED, tried)
    elif given.format in WITHOUT_CHECKSUM:
        silent[f"{given.format} ({how.partition(':')[0].rpartition('.')[2]})"] += 1
        attack.note(f"{given.format}: other content, no checksum", HARMLESS, tried)
    else:
        attack.note(row, f"{FAILED}: other content in silence", tried, how)
    output.unlink(missing_ok=True)


def _damage(path: Path, generator: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place = generator.randrange(len(data))
    size = generator.randint(1, 64)
    damages: list[tuple[str, Callable[[], bytes]]] = [
        (
            "a flipped bit",
            lambda: bytes([*data[:place], data[place] ^ 1 << generator.randrange(8), *data[place + 1 :]]),
        ),
        ("cut short", lambda: bytes(data[:place])),
        ("zeros", lambda: bytes(data[:place]) + bytes(min(size, len(data) - place)) + bytes(data[place + size :])),
    ]
    name, damaged = generator.choice(damages)
    path.write_bytes(damaged())
    return f"{name} at byte {place}"


def _fingerprint(tried: Attempt, output: Path) -> str | None:
    if tried.exit_code:
        return None
    try:
        with rlbuffers.open(output) as buffer:
            return str(buffer.metadata["fingerprint"])
    except RlbuffersError:
        return None


def _files(work: Path) -> list[Path]:
    return sorted(path for path in work.rglob("*") if path.is_file()) if work.is_dir() else [work]


def _restore(given: ForeignInput, work: Path) -> None:
    if given.path.is_dir():
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(given.path, work)
    else:
        shutil.copy(given.path, work)


if __name__ == "__main__":
    main_of(KIND, __doc__, run)
