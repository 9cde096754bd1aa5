"""Convert a shard to HDF5 and Zarr: speed against TensorFlow, memory, size, and equality of every column.

    .venv/bin/python benchmarks/conversion.py SHARD [--peer-python .venv-peers/bin/python] [--repeats 3]

Speeds are medians of runs taken in turn with the reference, each a process of its own, start-up
included. Memory is the peak of the sum of the proportional set sizes of all processes of a
conversion, sampled from /proc every 20 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

import rlbuffers

HERE = Path(__file__).parent
REFERENCE = HERE / "peers" / "tensorflow_convert.py"
REFERENCE_RECORDS = 2_000
ROWS_AT_ONCE = 256


def family_memory(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, in bytes."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            rollup = (entry / "smaps_rollup").read_text()
            ancestors = _ancestors(int(entry.name))
        except (OSError, ValueError):
            continue
        if pid in ancestors:
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
    return total


def _ancestors(pid: int) -> set[int]:
    found = {pid}
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.add(pid)
    return found


def run_watched(command: list[str], exit_code: int = 0) -> tuple[float, int]:
    """Run a command; return its wall time in seconds and its peak memory in bytes."""
    peak = 0
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, family_memory(process.pid))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode != exit_code:
        raise SystemExit(f"{command} failed")
    return seconds, peak


def convert_command(shard: Path, folder: Path, format_name: str) -> tuple[list[str], Path]:
    """Return the command that converts, and the buffer that it makes. The shard's folder names the game."""
    program = str(Path(sys.executable).with_name("rlbuffers"))
    run, _, rest = shard.name.removeprefix("run_").partition("-")
    options = ["--task", shard.parent.name, "--run-id", run, "--shard-id", str(int(rest.partition("-")[0]))]
    places = ["--dataset-dir", str(shard.parent.parent), "--buffer-dir", str(folder), "--overwrite"]
    command = [program, "convert", "rl-unplugged", *options, *places, "--format", format_name]
    return command, folder / shard.parent.name / f"{shard.name}.{format_name}"


def buffer_digests(path: Path) -> dict[str, str]:
    """Hash every column as rlbuffers reads it."""
    digests: dict[str, Any] = {}
    with rlbuffers.open(path) as buffer:
        for start in range(0, len(buffer), ROWS_AT_ONCE):
            for name, values in buffer[start : start + ROWS_AT_ONCE].items():
                digests.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(values).tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


def plain_digests(path: Path) -> dict[str, str]:
    """Hash both observation columns as plain h5py, or plain zarr by the recipe of docs/format.md, reads them."""
    digests = {name: hashlib.sha256() for name in ("observations", "next_observations")}
    if path.suffix == ".hdf5":
        with h5py.File(path) as file:
            for name, digest in digests.items():
                for start in range(0, len(file[name]), ROWS_AT_ONCE):
                    digest.update(file[name][start : start + ROWS_AT_ONCE].tobytes())
    else:
        group = zarr.open_group(path, mode="r")
        index = group["stack_index"][:]
        for start in range(0, len(index), ROWS_AT_ONCE):
            rows = index[start : start + ROWS_AT_ONCE]
            first, stop = int(rows.min()), int(rows.max()) + 1
            frames = group["frames"][first:stop]
            digests["observations"].update(frames[rows[:, :-1] - first].tobytes())
            digests["next_observations"].update(frames[rows[:, 1:] - first].tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--peer-python", default=".venv-peers/bin/python")
    parser.add_argument("--reference", default=str(REFERENCE), help="script that converts SHARD with --limit N")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-compare", action="store_true", help="skip the comparison of every column")
    args = parser.parse_args()
    shard = args.shard.resolve()
    shard_bytes = shard.stat().st_size
    print(f"{os.cpu_count()} cores; {shard}: {shard_bytes:,} bytes")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        measured: dict[str, list[tuple[float, int]]] = {"hdf5": [], "zarr": []}
        reference = []
        for _ in range(args.repeats):
            for format_name, results in measured.items():
                results.append(run_watched(convert_command(shard, folder, format_name)[0]))
            reference.append(_reference_speed(args, shard, folder))
        count = 0
        for format_name, results in measured.items():
            path = convert_command(shard, folder, format_name)[1]
            with rlbuffers.open(path) as buffer:
                count, size = len(buffer), buffer.store_disk_bytes
            speed = statistics.median(count / seconds for seconds, _ in results)
            ratio = statistics.median(
                count / seconds / plain for (seconds, _), plain in zip(results, reference, strict=True)
            )
            print(
                f"{format_name}: {speed:,.0f} transitions/s (runs: {', '.join(f'{s:.1f} s' for s, _ in results)}), "
                f"{ratio:.1f} x the reference, peak memory {max(peak for _, peak in results) / 1e6:,.0f} MB, "
                f"{size:,} bytes = {size / shard_bytes:.1%} of the shard"
            )
        print(f"reference: {statistics.median(reference):,.0f} transitions/s over {REFERENCE_RECORDS:,} records")
        if not args.no_compare:
            _compare(args, shard, folder)


def _reference_speed(args: argparse.Namespace, shard: Path, folder: Path) -> float:
    out = folder / "reference.hdf5"
    command = [args.peer_python, args.reference, str(shard), "--limit", str(REFERENCE_RECORDS)]
    command += ["--hdf5", str(out)] if args.reference == str(REFERENCE) else []
    if args.reference != str(REFERENCE):
        command.insert(3, str(out))
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(answer["transitions"]) / float(answer["seconds"])


def _compare(args: argparse.Namespace, shard: Path, folder: Path) -> None:
    command = [args.peer_python, str(REFERENCE), str(shard)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    for format_name in ("hdf5", "zarr"):
        path = convert_command(shard, folder, format_name)[1]
        found = buffer_digests(path)
        if found != answer["sha256"]:
            wrong = [name for name in found if found[name] != answer["sha256"].get(name)]
            raise SystemExit(f"{format_name}: these columns differ from TensorFlow's: {wrong}")
        plain = plain_digests(path)
        if any(answer["sha256"][name] != digest for name, digest in plain.items()):
            raise SystemExit(f"{format_name}: the container's own library reads other observations")
        print(f"{format_name}: all {len(found)} columns of {answer['transitions']:,} transitions equal TensorFlow's")


if __name__ == "__main__":
    main()
