"""Write the golden buffers of a release, once.

    .venv/bin/python tests/golden/make.py 0.2.0

A release that changes what is written gets a folder of its own beside the older ones, whose files are never written
again: every later release must read them (docs/format.md, section 7).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

import golden_content  # noqa: E402  of tests/support

import rlbuffers  # noqa: E402


def main() -> None:
    """Write a folder with a buffer for each content and container, and a manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", help="the name of the new folder")
    folder = HERE / parser.parse_args().release
    folder.mkdir()  # never into one that is there
    buffers = {}
    for name, make in golden_content.CONTENTS.items():
        for suffix in golden_content.CONTAINERS:
            path = folder / f"{name}{suffix}"
            golden_content.write(make(), path)
            with rlbuffers.open(path) as buffer:
                buffers[path.name] = {"fingerprint": buffer.fingerprint, "files": digests_of(path)}
    manifest = json.dumps({"format_version": 1, "buffers": buffers}, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(manifest + "\n")


def digests_of(path: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a buffer by its name below the folder of the release."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return {file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    main()
