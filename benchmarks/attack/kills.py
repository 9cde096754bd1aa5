"""Kill commands that write at random moments.

    python benchmarks/attack/kills.py

1. Each command, convert to the three containers, merge, subset, filter, normalize, repack, split, exports, card and
   report, is killed with SIGKILL at random moments of its run. Its outputs must be whole or absent; the next command
   that writes into the folder, another one, must remove what the killed one left, and the same command must succeed.
2. Conversions that take a checkpoint at every append are killed, and another command writes into the folder. `repair`
   must find at least as many transitions as were noted, each as it was in the source.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attempts import FAILED, HARMLESS, NOTICED, REFUSED, Attack, attempt, main_of
from work import Work, left_behind, make_works

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers.hidden_paths import partial_of
from rlbuffers.repair.repair import repair
from rlbuffers.writing import journal
from rlbuffers.writing.journal import num_journaled

_KILLS = 2  # of each command
_SALVAGED = 8  # of each container
_EPISODES = 60
_EPISODES_SALVAGED = 600


def is_whole(work: Work) -> bool:
    """Whether all outputs of a command are there, and what can be validated is valid."""
    there = [path for path in work.outputs if path.exists()]
    buffers = (
        [] if work.name.startswith("export") else [path for path in there if path.suffix in (".hdf5", ".zarr", ".zip")]
    )
    return len(there) == len(work.outputs) and all(rlbuffers.validate(path).ok for path in buffers)


def kill_after(work: Work, seconds: float, before: Callable[[], None] = lambda: None) -> bool:
    """Run a command and kill it after some time; return whether it was still at work."""

    def alarm() -> None:
        before()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if not os.fork():  # outlives the command by nothing: it kills it, and ends
            time.sleep(seconds)
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)

    return attempt(work.words, before=alarm).exit_code == -signal.SIGKILL


def kill_all(attack: Attack, folder: Path, rng: random.Random) -> None:
    """Kill each command."""
    works, out = make_works(folder, episodes=_EPISODES), folder / "out"
    card = works[-2]
    for work in works:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        whole = attempt(work.words)
        if whole.exit_code or not is_whole(work):
            attack.note(work.name, f"{FAILED}: does not work unharmed: {whole.errors[-200:]}", whole)
            continue
        for _ in range(_KILLS):
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            killed = kill_after(work, rng.uniform(0.05, 1.0) * whole.seconds)
            present = [path for path in work.outputs if path.exists()]
            if present and not (is_whole(work) or len(work.outputs) > 1):
                attack.note(work.name, f"{FAILED}: an output that is not whole")
                continue
            was_left = left_behind(out, work.outputs)
            # Another command cleans the folder; the same one must then succeed.
            attempt(card.words)
            left = [name for name in left_behind(out, [*work.outputs, *card.outputs]) if killed]
            for path in work.outputs:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            again = attempt(work.words)
            if left:
                attack.note(work.name, f"{FAILED}: the next run left {', '.join(left)}", again)
            elif again.exit_code or not is_whole(work):
                attack.note(work.name, f"{FAILED}: the next run fails: {again.errors[-200:]}", again)
            else:
                attack.note(work.name, NOTICED if was_left else HARMLESS, again)


def note_always() -> None:
    """Take a checkpoint at every append, instead of one in 30 seconds."""
    journal.INTERVAL_SECONDS = 0.0


def salvage(attack: Attack, folder: Path, rng: random.Random) -> None:
    """Kill conversions that take checkpoints, and repair what they leave."""
    works, out = make_works(folder, episodes=_EPISODES_SALVAGED), folder / "out"
    card = works[-2]
    for work in works[:2]:
        out.mkdir(exist_ok=True)
        seconds = attempt(work.words, before=note_always).seconds
        (final,) = work.outputs
        with rlbuffers.open(final) as buffer:
            expected = buffer[:]
        for _ in range(_SALVAGED):
            shutil.rmtree(out)
            out.mkdir()
            kill_after(work, rng.uniform(0.0, 1.0) * seconds, note_always)
            noted = num_journaled(partial_of(final))
            cleaned = attempt(card.words)
            what = f"repair of a killed {work.name}"
            attack.note(what, outcome_of(final, noted, folder / "salvaged.hdf5", expected), cleaned, f"{noted} noted")


def outcome_of(final: Path, noted: int, output: Path, expected: dict[str, np.ndarray]) -> str:
    """Repair what a killed conversion left and compare it with the same rows of a whole one."""
    if final.exists():
        return HARMLESS if rlbuffers.validate(final).ok else f"{FAILED}: an output that is not whole"
    try:
        report = repair(final, output, overwrite=True)
    except RlbuffersError as error:
        return f"{FAILED}: {noted} noted transitions were not salvaged: {error}" if noted else REFUSED
    if report.num_rows_kept < noted:
        return f"{FAILED}: {report.num_rows_kept} transitions were salvaged of {noted} that had been noted"
    with rlbuffers.open(output) as buffer:
        found, known = buffer[:], np.ones(len(buffer), bool)
        known[buffer.rows_without_next] = False
    for name, values in found.items():
        rows = known if name == "next_observations" else slice(None)
        if not np.array_equal(values[rows], expected[name][: len(values)][rows]):
            return f"{FAILED}: other {name} than were converted"
    return NOTICED


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    rng = random.Random(seed)
    for part in (salvage, kill_all):
        (folder / part.__name__).mkdir()
        part(attack, folder / part.__name__, rng)


if __name__ == "__main__":
    main_of("Kills", __doc__, run)
