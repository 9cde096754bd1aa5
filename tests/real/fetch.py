"""Fetch the real files of ``manifest.json`` from the repositories that publish them, and say which cannot be had.

    python tests/real/fetch.py [FOLDER]

What is there already and has the right SHA-256 is left alone. The manifest is put beside the files, so that
``RLBUFFERS_REAL_FILES=FOLDER pytest tests/real`` reads them. Some files were made by other libraries and are published
nowhere: the tests that need them are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from rlbuffers.errors import DownloadError
from rlbuffers.sources.download import download

MANIFEST = Path(__file__).with_name("manifest.json")
DEFAULT = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rlbuffers" / "real"


def fetched(file: Mapping[str, str], folder: Path) -> str:
    """Fetch a file unless it is there; say what is wrong, or nothing."""
    path = folder / file["path"]
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]:
        return ""
    if "url" not in file:
        return "is published nowhere"
    path.unlink(missing_ok=True)
    try:
        download(file["url"], path, sha256=file["sha256"])
    except DownloadError as error:
        return str(error).partition(". Try again")[0]
    return ""


def main() -> None:
    """Fetch all files; exit with 0 also if some are missing, as their tests are skipped."""
    folder = Path(sys.argv[1]).expanduser() if len(sys.argv) > 1 else DEFAULT
    entries = json.loads(MANIFEST.read_text())["entries"]
    files = {file["path"]: file for entry in entries for file in entry["files"]}
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(MANIFEST, folder / MANIFEST.name)
    missing = {path: problem for path, file in files.items() if (problem := fetched(file, folder))}
    for path, problem in missing.items():
        print(f"missing: {path}: {problem}")  # noqa: T201
    print(f"{folder}: {len(files) - len(missing)} of {len(files)} files are there")  # noqa: T201


if __name__ == "__main__":
    main()
