"""The main job on what ships with the repository: convert, train an expert, record it, learn from the record.

    make demo

Runs the commands that a user would type, into the folder `demo/`, which is made anew, and prints one
table of what came out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlbuffers_cli.console import console, rows_table, size_text

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "demo"
SHARDS = ROOT / "tests" / "data" / "rl_unplugged"
SHARD_BUFFER = DEMO / "buffers" / "Breakout" / "run_1-00001-of-00100.hdf5"
CARTPOLE_BUFFER = DEMO / "buffers" / "CartPole-v1" / "qrdqn-eps0.2.hdf5"
EXPERT, BCQ = DEMO / "runs" / "qrdqn", DEMO / "runs" / "bcq"


@dataclass(frozen=True)
class Step:
    """A command and how long it took."""

    words: list[str]
    seconds: float


def run(*words: str | Path) -> Step:
    """Show and run one rlbuffers command."""
    texts = [str(word) for word in words]
    shown = [str(Path(text).relative_to(ROOT)) if text.startswith(str(ROOT)) else text for text in texts]
    console.print(f"\n$ rlbuffers {' '.join(shown)}", style="bold", soft_wrap=True)
    started = time.perf_counter()
    finished = subprocess.run([str(Path(sys.executable).with_name("rlbuffers")), *texts], cwd=ROOT)
    if finished.returncode:
        raise SystemExit(finished.returncode)
    return Step(texts, time.perf_counter() - started)


def facts_of(buffer: Path) -> dict[str, Any]:
    """Return what `rlbuffers info --json` says."""
    command = [str(Path(sys.executable).with_name("rlbuffers")), "info", "--json", str(buffer)]
    facts: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return facts


def score_of(run_folder: Path) -> tuple[str, str]:
    """Return the return of a run's best policy and over how many fresh episodes."""
    best = json.loads((run_folder / "summary.json").read_text())["best"]
    return f"{best['mean']:.1f} ± {best['std']:.1f}", str(best["num_episodes"])


def main() -> None:
    """Run everything and print the table."""
    started = time.perf_counter()
    shutil.rmtree(DEMO, ignore_errors=True)
    convert = run(
        *("convert", "rl-unplugged", "--task", "Breakout", "--run-id", "1", "--shard-id", "1"),
        *("--dataset-dir", SHARDS, "--buffer-dir", DEMO / "buffers"),
    )
    run("validate", SHARD_BUFFER)
    expert = run("train", "qrdqn", "--task", "CartPole-v1", "--logdir", EXPERT)
    generate = run(
        *("generate", "--policy", "qrdqn", "--eps", "0.2", "--resume-path", EXPERT / "policy.pth"),
        *("--output", CARTPOLE_BUFFER),
    )
    bcq = run("train", "bcq", "--buffer", CARTPOLE_BUFFER, "--logdir", BCQ, "--eval-episodes", "20")

    shard, cartpole = facts_of(SHARD_BUFFER), facts_of(CARTPOLE_BUFFER)
    behavior = cartpole["statistics"]["episode_returns"]
    played = (f"{behavior['mean']:.1f} ± {behavior['std']:.1f}", str(cartpole["counts"]["whole_episodes"]))
    rows = [
        ["shard", "", "", *_sizes(shard), f"{convert.seconds:.1f}"],
        ["expert", *score_of(EXPERT), "", "", "", f"{expert.seconds:.1f}"],
        ["behavior", *played, *_sizes(cartpole), f"{generate.seconds:.1f}"],
        ["BCQ", *score_of(BCQ), "", "", "", f"{bcq.seconds:.1f}"],
        ["all", "", "", "", "", "", f"{time.perf_counter() - started:.1f}"],
    ]
    console.print()
    names = ["step", "return", "episodes", "transitions", "on disk", "in RAM", "seconds"]
    console.print(rows_table("rlbuffers demo", names, rows))
    picture = DEMO / "learning_curve.png"
    shutil.copyfile(BCQ / "learning_curve.png", picture)
    console.print(f"\nlearning curve of BCQ: {picture.relative_to(ROOT)}")


def _sizes(facts: dict[str, Any]) -> tuple[str, str, str]:
    """Return transitions, bytes on disk, and bytes of RAM if every transition were kept apart."""
    sizes = facts["sizes"]
    transitions = f"{facts['counts']['transitions']:,}"
    return transitions, size_text(sizes["disk_bytes"]), size_text(sizes["stacked_bytes"])


if __name__ == "__main__":
    main()
