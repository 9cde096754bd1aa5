from __future__ import annotations

import itertools
import os
import time

import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import UsageError
from rlbuffers.inspecting import read_speed
from rlbuffers.inspecting.footprint import footprint
from rlbuffers.inspecting.read_speed import Spread, default_batch_size, measure_read_speed

RECIPES = [Recipe("episodes", (30, 40), stack=2, size=(64, 64)), Recipe("transitions", (70,))]


@pytest.mark.parametrize("recipe", RECIPES, ids=["images", "vectors"])
def test_every_measurement_is_made(new_path, store, recipe):
    path = write(new_path(store), make(recipe))
    steps = []
    found = measure_read_speed(path, seconds=0.05, on_step=steps.append)
    assert steps == ["opening", "the first batch, cold", "random batches, warm", "a loader", "everything in order"]
    assert found.transitions == 70
    assert found.batch_size == (32 if recipe.stack else 256)
    assert found.scanned_share == 1.0
    assert (found.cold_batch_seconds is None) == (store == "memory")
    for spread in (
        found.open_seconds,
        found.warm_transitions_per_second,
        found.loader_transitions_per_second,
        found.scan_bytes_per_second,
    ):
        assert 0 < spread.low <= spread.median <= spread.high
    with rlbuffers.open(path) as buffer:
        assert found.sizes == footprint(buffer)
        assert default_batch_size(buffer) == found.batch_size
    ratio = found.sizes.disk_bytes / found.sizes.decoded_bytes
    assert found.scan_disk_bytes_per_second.median == pytest.approx(found.scan_bytes_per_second.median * ratio)


def test_speeds_follow_from_the_clock(tmp_path, monkeypatch):
    """On a clock that moves 0.01 s at each look, a batch takes 0.01 s and so does opening."""
    path = write(tmp_path / "x.hdf5", make(RECIPES[1]))
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 100)
    found = measure_read_speed(path, batch_size=10, seconds=2)
    assert found.open_seconds.median == pytest.approx(0.01)
    assert found.cold_batch_seconds.median == pytest.approx(0.01)
    assert found.warm_transitions_per_second == Spread(pytest.approx(1000), pytest.approx(1000), pytest.approx(1000), 7)
    with rlbuffers.open(path) as buffer:
        decoded = sum(rows.array.num_chunks * rows.array.chunk_bytes for rows in buffer.arrays.values())
    assert found.scan_bytes_per_second.median == pytest.approx(decoded * 100)


def test_a_scan_without_enough_time_says_how_far_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(read_speed, "_SCAN_BYTES", 1000)
    path = write(tmp_path / "x.zarr", make(Recipe("transitions", (300,), stack=2, size=(40, 40))))
    assert 0 < measure_read_speed(path, seconds=1e-6).scanned_share < 1


def test_the_files_are_dropped_from_the_cache_before_the_first_batch(tmp_path, monkeypatch):
    path = write(tmp_path / "x.zarr", make(RECIPES[1]))
    dropped = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, *rest: dropped.append(os.fstat(descriptor).st_ino))
    measure_read_speed(path, seconds=1e-6)
    assert set(dropped) == {file.stat().st_ino for file in path.rglob("*") if file.is_file()}


def test_the_spread_of_some_numbers():
    assert Spread.of([3.0, 1.0, 8.0, 4.0]) == Spread(3.5, 1.0, 8.0, 4)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": -1}, {"batch_size": 0}])
def test_numbers_that_make_no_sense(tmp_path, wrong):
    path = write(tmp_path / "x.hdf5", make(RECIPES[1]))
    with pytest.raises(UsageError, match="must be positive"):
        measure_read_speed(path, **wrong)
