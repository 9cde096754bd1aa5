"""`rlbuffers validate`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers

SOUND = [
    "     ok  opens: 10 transitions, layout episodes",
    "     ok  reader: no fault is known of the version that converted the source",
    "     ok  checksums: every chunk passes its checksum and the content has the stored fingerprint",
    "     ok  equal-lengths: all columns have the same number of rows",
    "     ok  next-observations: next observations continue their observations",
    "     ok  counts: the counts in the metadata are those of the data",
    "     ok  finite-values: no number is NaN or infinite",
    "     ok  values-in-space: all values lie inside their declared spaces",
    "     ok  terminals-plausible: terminals occur and fit the episodes",
    "     ok  terminals-at-limits: terminals do not only mark the ends of episodes of one length",
    "     ok  episode-lengths: no episode is longer than the stated limit, and all are whole",
    "     ok  timeouts-plausible: timeouts fit the episodes and exclude terminals",
    "     ok  returns-equal-stored: rewards sum to the stored returns",
    "     ok  no-duplicates: nothing stands in the buffer twice",
    "     ok  views-agree: the container's own library reads the same values",
    "     ok  chunk-tables: the container's own library finds the chunks in the same places",
]


def test_a_sound_buffer(run, new_path, store):
    path = write(new_path(store), make(Recipe("episodes", (3, 1, 6))))
    result = run("validate", path)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [*SOUND, f"{path}: valid (0 errors, 0 warnings)"]


def test_warnings_fail_only_when_strict(run, pong_buffer):
    result = run("validate", pong_buffer)
    assert result.exit_code == 0
    (warning,) = [line for line in result.stdout.splitlines() if line.startswith("warning  ")]
    assert warning.startswith("warning  terminals-plausible: NOT ONE of 300 transitions is terminal.")
    assert result.stdout.splitlines()[-1] == f"{pong_buffer}: valid (0 errors, 1 warnings)"
    assert run("validate", "--strict", pong_buffer).exit_code == 1


def damage(path):
    with rlbuffers.open(path) as buffer:
        places = buffer.arrays["frames"].table.places(np.array([7]))
    offset, size = int(places.offsets[0]), int(places.sizes[0])
    content = bytearray(path.read_bytes())
    content[offset + size - 1] ^= 1
    path.write_bytes(content)
    return offset, size


def test_damage_is_named_with_its_place(run, pong_copy):
    offset, size = damage(pong_copy)
    result = run("validate", pong_copy)
    assert result.exit_code == 1
    place = f"array 'frames', chunk 7 (offset {offset}, {size} bytes)"
    errors = [line for line in result.stdout.splitlines() if line.startswith("  error  ")]
    assert errors[0] == f"  error  checksums: {pong_copy}: {place}: not a whole zlib stream of 35280 bytes"
    assert result.stdout.splitlines()[-1] == f"{pong_copy}: NOT VALID ({len(errors)} errors, 1 warnings)"


@pytest.mark.parametrize("broken", [False, True])
def test_json_is_the_report(run, pong_copy, broken):
    if broken:
        damage(pong_copy)
    result = run("validate", "--json", pong_copy)
    assert result.exit_code == int(broken)
    found = json.loads(result.stdout)
    assert found == rlbuffers.validate(pong_copy).to_json()
    assert found["ok"] is not broken


def test_a_file_that_is_no_buffer_is_not_valid(run, tmp_path):
    path = tmp_path / "x.hdf5"
    path.write_bytes(b"text")
    result = run("validate", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"  error  opens: {path}: not an HDF5 file (its first bytes are not HDF5's signature)",
        f"{path}: NOT VALID (1 errors, 0 warnings)",
    ]


def test_a_path_without_a_buffer_is_one_line(run, tmp_path):
    result = run("validate", tmp_path / "nothing.zarr")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path}/nothing.zarr: there is no such file")
    assert result.stdout == ""
