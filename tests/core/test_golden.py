"""Buffers that earlier releases wrote: never changed, and read for ever (docs/format.md, section 7)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_content import CONTAINERS, CONTENTS, Golden, write

import rlbuffers

GOLDEN = Path(__file__).parents[1] / "golden"
# A golden file that changes, and a manifest that is changed with it, fail here. A new release adds a line.
MANIFESTS = {
    "0.1.0": "3f75fd9ab703bf811084d6d68bf8f5de3d2fc541dad7c239071207f75081b29e",
    "0.2.0": "177ac39f23d3fd1f21bb116df49506b692172dbf146beae576f4dd3103d51745",
}
RELEASES = sorted(MANIFESTS)


def manifest(release: str) -> dict[str, Any]:
    return json.loads((GOLDEN / release / "manifest.json").read_text())["buffers"]


PLACES = [(release, name) for release in RELEASES for name in manifest(release)]


def content_of(name: str) -> Golden:
    return CONTENTS[name.partition(".")[0]]()


def test_every_release_is_listed():
    assert sorted(path.name for path in GOLDEN.iterdir() if path.is_dir() and path.name[0].isdigit()) == RELEASES


def test_the_newest_release_has_every_content_in_every_container():
    assert set(manifest(RELEASES[-1])) == {f"{name}{suffix}" for name in CONTENTS for suffix in CONTAINERS}


@pytest.mark.parametrize("release", RELEASES)
def test_no_golden_file_was_changed_or_is_missing(release):
    text = (GOLDEN / release / "manifest.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == MANIFESTS[release]
    stated = {name: digest for buffer in manifest(release).values() for name, digest in buffer["files"].items()}
    found = {
        path.relative_to(GOLDEN / release).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (GOLDEN / release).rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert found == stated


@pytest.mark.parametrize(("release", "name"), PLACES)
def test_a_golden_buffer_is_valid_and_keeps_its_fingerprint(release, name):
    result = rlbuffers.validate(GOLDEN / release / name)
    assert result.ok, result.findings
    with rlbuffers.open(GOLDEN / release / name) as buffer:
        assert buffer.fingerprint == manifest(release)[name]["fingerprint"]


@pytest.mark.parametrize(("release", "name"), PLACES)
def test_a_golden_buffer_reads_as_it_was_written(release, name):
    content = content_of(name)
    with rlbuffers.open(GOLDEN / release / name) as buffer:
        rows = buffer[:]
        assert sorted(rows) == sorted(content.rows)
        for column, expected in content.rows.items():
            known = content.known_next if column.startswith("next_observations") else slice(None)
            assert rows[column].dtype == expected.dtype, column
            np.testing.assert_array_equal(rows[column][known], expected[known], err_msg=column)
        for key, value in content.metadata.items():
            assert buffer.metadata[key] == value
        for extra, expected in content.extras.items():
            np.testing.assert_array_equal(buffer.extra(extra), expected)
        for column, expected in content.episodes.items():
            np.testing.assert_array_equal(buffer.arrays[f"episodes/{column}"].all(), expected, err_msg=column)
        assert buffer.spec.to_json() == content.spec.to_json()


@pytest.mark.parametrize(("release", "name"), PLACES)
def test_a_golden_buffer_has_the_fingerprint_of_one_written_today(release, name, tmp_path):
    write(content_of(name), tmp_path / name)
    with rlbuffers.open(tmp_path / name) as today, rlbuffers.open(GOLDEN / release / name) as golden:
        assert today.fingerprint == golden.fingerprint


@pytest.mark.parametrize(("release", "name"), PLACES)
def test_random_batches_of_a_golden_buffer_are_its_rows(release, name):
    content = content_of(name)
    with rlbuffers.open(GOLDEN / release / name) as buffer:
        rows = np.random.default_rng(0).integers(0, len(buffer), 50)
        batch = buffer.rows(rows)
        np.testing.assert_array_equal(batch["actions"], content.rows["actions"][rows])
        np.testing.assert_array_equal(batch["rewards"], content.rows["rewards"][rows])
