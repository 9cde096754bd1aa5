"""Kill commands that write at random moments.

    python benchmarks/attack/kills.py

Each command, convert to the three containers, merge, subset, repack, split, exports, card and report, is killed with
SIGKILL at random moments of its run. Its outputs must be whole or absent; the next command that writes into the folder,
another one, must remove what the killed one left, and the same command must succeed then.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

from attempts import FAILED, HARMLESS, NOTICED, Attack, attempt, main_of
from work import Work, left_behind, make_works

import rlbuffers

_KILLS = 2  # of each command
_EPISODES = 2_000


def is_whole(work: Work) -> bool:
    """Whether all outputs of a command are there, and what can be validated is valid."""
    there = [path for path in work.outputs if path.exists()]
    buffers = (
        [] if work.name.startswith("export") else [path for path in there if path.suffix in (".hdf5", ".zarr", ".zip")]
    )
    return len(there) == len(work.outputs) and all(rlbuffers.validate(path).ok for path in buffers)


def kill_after(work: Work, seconds: float) -> bool:
    """Run a command and kill it after some time; return whether it was still at work."""

    def alarm() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if not os.fork():  # outlives the command by nothing: it kills it, and ends
            time.sleep(seconds)
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)

    return attempt(work.words, before=alarm).exit_code == -signal.SIGKILL


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    rng = random.Random(seed)
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


if __name__ == "__main__":
    main_of("Kills", __doc__, run)
