"""Trainings by the command line in processes of their own, to be stopped by signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from patience import PATIENCE_SECONDS

__all__ = ["train_in_process", "wait_until_saved"]


@contextlib.contextmanager
def train_in_process(*words: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `rlbuffers train` in `home`; it does not outlive the context, and parallel seeds end when it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from rlbuffers_cli.main import main; main()", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env={**os.environ, "HOME": str(home)},
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until_saved(process: subprocess.Popen[str], logdirs: Sequence[Path]) -> None:
    """Wait until all of some runs have finished an epoch: they train for sure."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all((logdir / "last.pth").exists() for logdir in logdirs):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
