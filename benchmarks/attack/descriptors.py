"""Run commands with few descriptors for open files.

    python benchmarks/attack/descriptors.py

info, validate, convert, bench (which samples), merge and report, on HDF5 and on Zarr of many shards, with limits from 8
to 64 open files: each works, or says in one line what is missing, and leaves nothing behind.
"""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from attempts import FAILED, HARMLESS, REFUSED, Attack, attempt, main_of
from work import make_works

_LIMITS = (8, 12, 16, 24, 32, 64)


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    works, out = make_works(folder, episodes=300), folder / "out"
    out.mkdir()
    shards = folder / "many.zarr"
    attempt(["repack", folder / "x.hdf5", "-o", shards])
    reading: list[list[str | Path]] = [
        [command, buffer]
        for buffer in (folder / "x.hdf5", shards)
        for command in ("info", "validate", "head", "list", "bench")
    ]
    for words in [*reading, *(work.words for work in works[:8]), works[-1].words]:
        for limit in _LIMITS:
            shutil.rmtree(out)
            out.mkdir()

            def lower(limit: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

            tried = attempt(words, before=lower)
            outcome = REFUSED if tried.exit_code else HARMLESS
            hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
            if tried.failure is not None or hidden:
                outcome = f"{FAILED}: {tried.failure or 'left ' + ', '.join(hidden)}"
            attack.note(str(words[0]), outcome, tried, f"{limit} descriptors")


if __name__ == "__main__":
    main_of("Few descriptors", __doc__, run)
