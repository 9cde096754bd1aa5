"""The git commit of the working directory: the code of whoever trains, which versions of packages do not tell."""

from __future__ import annotations

import os
import subprocess
from typing import Any

__all__ = ["commit_of_working_directory"]

_MOST_SECONDS = 2.0  # of each question; a repository on a slow disk must not keep a training waiting


def commit_of_working_directory() -> dict[str, Any] | None:
    """Return the commit that the working directory stands at, or None without git, repository or commit.

    Returns
    -------
    dict with
        ``commit``, the hexadecimal hash; ``changed``, whether tracked files differ from it, or None where git did not
        answer in time. Untracked files do not count.
    """
    commit = _ask_git("rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    changes = _ask_git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if changes is None else bool(changes)}


def _ask_git(*words: str) -> str | None:
    """Return what git prints, or None where it is not there, fails, or takes too long."""
    # It would otherwise refresh the repository's index, and be in the way of the user's own git.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            ["git", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_MOST_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace").strip()
