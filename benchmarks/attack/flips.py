"""Kill conversions and flip bytes, and count what is noticed.

    python benchmarks/attack/flips.py tests/data/rl_unplugged/Breakout/run_1-00001-of-00100

1. Conversions are killed with SIGKILL at random moments: nothing may stand under the final name unless
   the buffer is whole, no process may be left, and the same command must succeed afterwards.
2. A random byte of the shard is changed: the conversion must fail with one line, or make exactly the
   same content. Once on the compressed file, whose GZIP checksum notices nearly everything, and once on
   its decompressed content, compressed again, where the records' own checksums are all there is.
3. A random byte of a finished buffer is changed: `validate` must fail, or everything that is read, through
   rlbuffers and through plain h5py or zarr, must be as before.
4. The same, and `repair`: it must refuse in one line, or what it salvages must be valid, hold exactly the rows that
   it does not say are lost, and these as before.
5. Conversions that take a checkpoint at every append are killed, and repaired: everything that was noted must be
   there.

The exit code is 1 if anything was missed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from flips_repaired import repair_damaged, repair_killed

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers_cli.console import console, rows_table
from rlbuffers_cli.main import cli

MARK = "RLBUFFERS_FAULT_INJECTION"
MISSED = "MISSED"
FORMATS = ("hdf5", "zarr")
_ORPHAN_SECONDS = 5.0
# More conversions may end before they are killed than are killed; do not try for ever.
_TRIES_PER_KILL = 5


def main() -> None:
    """Do all of it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", type=Path, help="an RL Unplugged Atari shard; its folder is the game's name")
    parser.add_argument("--kills", type=int, default=10, metavar="N")
    parser.add_argument("--flips", type=int, default=100, metavar="N", help="of the shard, and of each buffer")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    game = arguments.shard.parent.name
    with tempfile.TemporaryDirectory() as folder:
        counted = [
            (f"kill -9, {arguments.kills} times", kill(arguments.shard, game, Path(folder), arguments.kills, rng)),
            *flip_shard(arguments.shard, game, Path(folder), arguments.flips, rng),
            *flip_buffers(arguments.shard, game, Path(folder), arguments.flips, rng),
            *repair_buffers(arguments.shard, game, Path(folder), arguments.flips, arguments.kills, rng),
        ]
    rows = [[what, outcome, str(count)] for what, outcomes in counted for outcome, count in sorted(outcomes.items())]
    title = f"Fault injection on {arguments.shard} (seed {arguments.seed})"
    console.print(rows_table(title, ["", "outcome", "times"], rows))
    missed = sum(count for _, outcomes in counted for outcome, count in outcomes.items() if outcome.startswith(MISSED))
    console.print("nothing was missed" if not missed else f"{missed} MISSED")
    sys.exit(1 if missed else 0)


def convert_words(shards: Path, buffers: Path, game: str, *more: str) -> list[str]:
    """Return the command line that converts run 1, shard 1."""
    places = ["--dataset-dir", str(shards), "--buffer-dir", str(buffers)]
    return ["convert", "rl-unplugged", "--task", game, "--shard-id", "1", *places, *more]


def placed(shard: Path, shards: Path, game: str) -> Path:
    """Return where the command looks for the shard, with a copy of it there."""
    target = shards / game / "run_1-00001-of-00100"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(shard, target)
    return target


# 1. Kills


def kill(shard: Path, game: str, folder: Path, times: int, rng: random.Random) -> Counter[str]:
    """Kill conversions, alternately to both formats."""
    shards, outcomes = folder / "shards", Counter[str]()
    placed(shard, shards, game)
    seconds = {name: timed_conversion(shards, folder / f"timed-{name}", game, name) for name in FORMATS}
    for number in range(times):
        format_name = FORMATS[number % len(FORMATS)]
        for attempt in range(_TRIES_PER_KILL):
            buffers = folder / f"killed-{number}-{attempt}"
            outcome = kill_one(shards, buffers, game, format_name, rng.uniform(0.1, 1.0) * seconds[format_name])
            outcomes[outcome] += 1
            if not outcome.startswith("ended before"):
                break
    return outcomes


def timed_conversion(shards: Path, buffers: Path, game: str, format_name: str) -> float:
    """Return the seconds that a whole conversion takes, the start of its process included."""
    started = time.perf_counter()
    start(convert_words(shards, buffers, game, "--format", format_name, "--workers", "2"), "").wait()
    return time.perf_counter() - started


def start(words: list[str], mark: str) -> subprocess.Popen[bytes]:
    """Start a command whose processes can be found again by `mark`."""
    command = [sys.executable, "-c", "from rlbuffers_cli.main import main; main()", *words]
    return subprocess.Popen(
        command, env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_one(shards: Path, buffers: Path, game: str, format_name: str, delay: float) -> str:
    """Kill one conversion after `delay` seconds, look at what it left, and run it again."""
    mark = uuid.uuid4().hex
    words = convert_words(shards, buffers, game, "--format", format_name, "--workers", "2")
    process = start(words, mark)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    final = buffers / game / f"run_1-00001-of-00100.{format_name}"
    if final.exists():
        # A buffer gets its name some time before the process ends, and must be whole from then on.
        if not rlbuffers.validate(final).ok:
            return f"{MISSED}: a buffer that is not whole under the final name"
        return "ended before it was killed" + (" (whole, while it printed its report)" if killed else "")
    writing = final.with_name(f".{final.name}.partial").exists()
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while alive(mark):
        if time.monotonic() > deadline:
            return f"{MISSED}: a process was left"
        time.sleep(0.05)
    if start(words, mark).wait() or not rlbuffers.validate(final).ok:
        return f"{MISSED}: the next run failed"
    if [entry.name for entry in final.parent.iterdir()] != [final.name]:
        return f"{MISSED}: something is left beside the buffer"
    return f"no file, no process, next run fine (killed {'while writing' if writing else 'before writing'})"


def alive(mark: str) -> bool:
    """Tell whether a process runs that was started with this mark in its environment."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in environment.read_bytes():
                return True
        except OSError:
            continue
    return False


# 2. Flips in the shard


def flip_shard(
    shard: Path, game: str, folder: Path, times: int, rng: random.Random
) -> Iterator[tuple[str, Counter[str]]]:
    """Convert damaged copies of the shard."""
    expected = rlbuffers.convert(RLUAtariSource(shard, game), "memory:undamaged").fingerprint
    content = shard.read_bytes()
    inner = gzip.decompress(content)
    for what, data, pack in (
        (f"shard, {times} flips", content, bytes),
        (f"shard, {times} flips below GZIP", inner, lambda data: gzip.compress(data, 1)),
    ):
        outcomes = Counter[str]()
        for _ in range(times):
            outcomes[convert_damaged(pack(flipped(data, rng)), game, folder, expected)] += 1
        yield what, outcomes


def flipped(content: bytes, rng: random.Random) -> bytes:
    """Change one byte to any other value."""
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
    return bytes(changed)


def convert_damaged(content: bytes, game: str, folder: Path, expected: str) -> str:
    """Convert a shard of this content and say what came of it."""
    shards, buffers = folder / "damaged", folder / "from-damaged"
    shutil.rmtree(buffers, ignore_errors=True)
    target = placed(Path(os.devnull), shards, game)
    target.write_bytes(content)
    result = CliRunner().invoke(cli, convert_words(shards, buffers, game, "--workers", "0"))
    left = [path for path in buffers.rglob("*") if path.is_file()]
    if result.exit_code == 0:
        (buffer,) = left
        with rlbuffers.open(buffer) as opened:
            return "same content" if opened.fingerprint == expected else f"{MISSED}: other content"
    lines = [line for line in result.stderr.splitlines() if line]
    clear = len(lines) == 1 and lines[0].startswith(f"Error: {target}")
    if result.exit_code != 1 or not isinstance(result.exception, SystemExit) or not clear:
        return f"{MISSED}: exit code {result.exit_code}, {len(lines)} lines"
    return "one line, exit code 1" if not left else f"{MISSED}: a file was left"


# 3. Flips in finished buffers, and 4, 5. what repair makes of damage


def flip_buffers(
    shard: Path, game: str, folder: Path, times: int, rng: random.Random
) -> Iterator[tuple[str, Counter[str]]]:
    """Validate and read damaged copies of the buffer in each format."""
    for format_name in FORMATS:
        buffer = folder / f"whole.{format_name}"
        rlbuffers.convert(RLUAtariSource(shard, game), buffer)
        read_plain = READ_PLAIN[format_name]
        expected = digest_of(read_ours(buffer)), digest_of(read_plain(buffer))
        outcomes = Counter[str]()
        for _ in range(times):
            damaged = damaged_copy(buffer, folder / f"damaged.{format_name}", rng)
            outcomes[judge(damaged, expected, read_plain)] += 1
        yield f"{buffer.suffix} buffer, {times} flips", outcomes


def repair_buffers(
    shard: Path, game: str, folder: Path, flips: int, kills: int, rng: random.Random
) -> Iterator[tuple[str, Counter[str]]]:
    """Repair damaged copies of the buffer in each format, and what killed conversions leave."""
    for format_name in FORMATS:
        whole = folder / f"whole.{format_name}"
        yield f"{whole.suffix} buffer, {flips} flips, repair", repair_damaged(whole, folder, flips, rng, damaged_copy)
        words = convert_words(
            folder / "shards", folder / "interrupted", game, "--format", format_name, "--workers", "0"
        )
        final = folder / "interrupted" / game / f"run_1-00001-of-00100.{format_name}"
        yield f"{whole.suffix}, kill -9 {kills} times, repair", repair_killed(words, final, whole, kills, rng)


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


def judge(buffer: Path, expected: tuple[str, str], read_plain: Callable[[Path], dict[str, np.ndarray]]) -> str:
    """Validate a buffer, and read all of it in both ways if it passes."""
    if not rlbuffers.validate(buffer).ok:
        return "validate fails"
    try:
        found = digest_of(read_ours(buffer)), digest_of(read_plain(buffer))
    except (RlbuffersError, OSError, RuntimeError, KeyError, ValueError) as error:
        return f"{MISSED}: {type(error).__name__} on reading what validate accepts"
    return "everything reads as before" if found == expected else f"{MISSED}: other content"


def read_ours(buffer: Path) -> dict[str, np.ndarray]:
    """Read every column through rlbuffers."""
    with rlbuffers.open(buffer) as opened:
        return opened[:]


def read_hdf5(buffer: Path) -> dict[str, np.ndarray]:
    """Read every dataset, views included, as plain h5py shows it."""
    import h5py

    found = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(buffer) as file:
        file.visititems(note)
    return found


def read_zarr(buffer: Path) -> dict[str, np.ndarray]:
    """Read every array, and the stacks that the index makes of the frames, as plain zarr shows them."""
    import zarr

    root = zarr.open_group(buffer, mode="r")
    found = {name: item[...] for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    stacks = found["frames"][found["stack_index"]]
    return {**found, "observations": stacks[:, :-1], "next_observations": stacks[:, 1:]}


READ_PLAIN = {"hdf5": read_hdf5, "zarr": read_zarr}


def digest_of(columns: dict[str, np.ndarray]) -> str:
    """Hash names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, values in sorted(columns.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


if __name__ == "__main__":
    main()
