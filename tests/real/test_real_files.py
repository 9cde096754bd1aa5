"""Files that nobody here wrote must come out as facts say that were derived without this project.

``$RLBUFFERS_REAL_FILES`` names a folder with the files and a ``manifest.json``; ``make test-real`` fetches what can be
fetched and sets it. Without it these tests are skipped.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from real_files import absent, differences, read_manifest
from round_trips import AGAIN, assert_no_next_episode_is_looked_into, assert_round_trip, invoke

import rlbuffers

FOLDER = Path(os.environ.get("RLBUFFERS_REAL_FILES") or "/nonexistent")
HAS_FILES = (FOLDER / "manifest.json").is_file()
pytestmark = pytest.mark.skipif(not HAS_FILES, reason="RLBUFFERS_REAL_FILES names no folder with a manifest.json")
ENTRIES = {entry["id"]: entry for entry in read_manifest(FOLDER)} if HAS_FILES else {}
CONVERTED = [name for name, entry in ENTRIES.items() if not entry.get("refusal_expected")]
REFUSED = [name for name in ENTRIES if name not in CONVERTED]


@functools.cache
def absence(name):
    return absent(ENTRIES[name], FOLDER)


def require_files(name):
    if absence(name):
        pytest.skip(f"{name}: {absence(name)}")


def converted(name, path):
    """Run the commands of an entry until one succeeds, and return the buffer's path and all that was said."""
    entry = ENTRIES[name]
    for words in entry["commands"]:
        command = [word.replace("{path}", str(FOLDER / entry["path"])) for word in words]
        result = invoke("convert", *command, "-o", path, "--workers", 0)
        if result.exit_code == 0:
            return result
    return result


@pytest.fixture(scope="module")
def buffers(tmp_path_factory):
    """A function from the name of an entry to its buffer, made once."""
    folder = tmp_path_factory.mktemp("real")
    made = {}

    def buffer_of(name):
        require_files(name)
        if name not in made:
            path = folder / f"{len(made)}.hdf5"
            result = converted(name, path)
            assert result.exit_code == 0, result.output
            made[name] = path
        return made[name]

    return buffer_of


@pytest.mark.parametrize("name", CONVERTED)
def test_a_buffer_is_as_the_facts_say(buffers, tmp_path, name):
    path = buffers(name)
    with rlbuffers.open(path) as buffer:
        assert list(differences(buffer, ENTRIES[name]["facts"])) == []
        fingerprint = buffer.fingerprint
    report = rlbuffers.validate(path)
    assert report.ok, [finding.message for finding in report.errors]
    assert_no_next_episode_is_looked_into(path)
    assert converted(name, tmp_path / "x.zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "x.zarr") as buffer:
        assert buffer.fingerprint == fingerprint


@pytest.mark.parametrize("to", AGAIN)
@pytest.mark.parametrize("name", CONVERTED)
def test_what_is_exported_and_read_again_is_the_same(buffers, tmp_path, monkeypatch, name, to):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert_round_trip(buffers(name), to, tmp_path)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name):
    require_files(name)
    entry = ENTRIES[name]
    for words in entry["commands"]:
        command = [word.replace("{path}", str(FOLDER / entry["path"])) for word in words]
        result = invoke("convert", *command, "-o", tmp_path / "x.hdf5")
        assert result.exit_code in (1, 2)
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert list(tmp_path.iterdir()) == []
