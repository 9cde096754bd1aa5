"""Runs commands on an input of which each file in turn is something else; run as a program, so that it can be killed.

``python not_files.py INPUT WORDS...`` puts a named pipe, an endless device, a link to itself and a folder that holds
itself in the place of every file of INPUT, and runs the command line of WORDS each time. It prints what it tries
before it tries it, and fails where a command ends otherwise than with success or one line of an error.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from rlbuffers_cli.main import cli

MOST = 8  # files that are tried
_MOST_BYTES = 6 << 30  # of memory: a device that is read without end fails instead of taking it all


def folder_that_holds_itself(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to(path)


KINDS: dict[str, Callable[[Path], None]] = {
    "named pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "folder that holds itself": folder_that_holds_itself,
}


def files_of(given: Path) -> list[Path]:
    """Return the files; of many that are named alike, the first ones."""
    found = [given] if given.is_file() else sorted(path for path in given.rglob("*") if path.is_file())
    return found[:MOST]


def removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fails(words: list[str], what: str) -> bool:
    """Run a command line and tell whether it ended with a fault, or in silence."""
    say(f"{words[0]}: {what}")
    result = CliRunner().invoke(cli, words)
    is_told = result.exit_code == 0 or (result.exit_code in (1, 2) and result.output.strip())
    is_fault = result.exception is not None and not isinstance(result.exception, SystemExit)
    if is_fault or not is_told:
        say(f"  FAILED: {result.exit_code} {result.exception!r} {result.output}")
    return bool(is_fault or not is_told)


def try_all(given: Path, words: list[str]) -> int:
    """Try every kind in the place of every file, and links in a folder that lead back to it."""
    failures = 0
    for file in files_of(given):
        content = file.read_bytes()
        for kind, put in KINDS.items():
            file.unlink()
            put(file)
            failures += fails(words, f"a {kind} at {file.relative_to(given.parent)}")
            removed(file)
            file.write_bytes(content)
    if given.is_dir():
        folders = [given, *(path for path in sorted(given.rglob("*")) if path.is_dir())][:MOST]
        for folder in folders:
            (folder / "again").symlink_to(given)
        failures += fails(words, "folders that hold links to the whole")
    return failures


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
    sys.exit(bool(try_all(Path(sys.argv[1]), sys.argv[2:])))
