"""What is kept in memory, by plan and in fact; that it changes no value."""

from __future__ import annotations

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, taken, write
from threads import at_once

import rlbuffers
from rlbuffers.errors import UsageError
from rlbuffers.reading import stored_rows
from rlbuffers.reading.cache_plan import ArrayPlan, plan_cache
from rlbuffers.stores.base import StoredArray
from rlbuffers.stores.codecs import RawCodec

FRAMES = Recipe("transitions", (60,), stack=4, size=(20, 20), apart=0.1)


def array(name, size):
    return StoredArray(name, np.dtype("u1"), (size,), 10, RawCodec())


def planned(budget, stored=50):
    arrays = [array("small", 10), array("large", 1000), array("middle", 100), array("stack_index", 5)]
    plan = plan_cache(arrays, lambda name: stored, budget)
    return {name: (entry.place, entry.resident_bytes) for name, entry in plan.items()}


@pytest.mark.parametrize(
    ("budget", "small", "middle", "large"),
    [
        (0, ("file", 0), ("file", 0), ("file", 0)),
        (9, ("file", 0), ("file", 0), ("file", 0)),
        (10, ("decoded", 10), ("file", 0), ("file", 0)),
        (60, ("decoded", 10), ("compressed", 50), ("file", 0)),
        (110, ("decoded", 10), ("decoded", 100), ("file", 0)),
        (160, ("decoded", 10), ("decoded", 100), ("compressed", 50)),
        (1110, ("decoded", 10), ("decoded", 100), ("decoded", 1000)),
    ],
)
def test_the_smallest_first_then_compressed(budget, small, middle, large):
    expected = {"small": small, "middle": middle, "large": large, "stack_index": ("file", 0)}
    assert planned(budget) == expected


def test_no_file_is_looked_at_where_everything_fits():
    plan_cache([array("x", 10)], lambda name: pytest.fail("asked"), 10)


@pytest.fixture(params=["hdf5", "zarr"])
def path(request, new_path):
    return write(new_path(request.param), make(FRAMES))


def frames_place(path, cache):
    with rlbuffers.open(path, cache=cache) as buffer:
        return buffer.plan["frames"].place


def test_a_buffer_has_a_plan(path):
    assert frames_place(path, 0) == "file"
    assert frames_place(path, "1GB") == "decoded"
    with rlbuffers.open(path) as buffer:
        assert buffer.plan["frames"] == ArrayPlan("decoded", 60 * 5 * 400)
    with pytest.raises(UsageError, match="no amount of memory"):
        rlbuffers.open(path, cache="much")


@pytest.mark.parametrize("place", ["decoded", "compressed", "file"])
@pytest.mark.parametrize("decoder", ["native", "python"])
def test_every_place_gives_the_same_rows(path, monkeypatch, place, decoder):
    monkeypatch.setenv("RLBUFFERS_DECODER", decoder)
    monkeypatch.setattr(stored_rows, "_SMALL_BYTES", 0)
    made = make(FRAMES)
    with rlbuffers.open(path, cache=0) as buffer:
        for rows in buffer.arrays.values():
            rows.place = place
        rng = np.random.default_rng(0)
        for _ in range(40):
            rows = rng.integers(60, size=rng.integers(1, 9))
            assert_same_rows(buffer.rows(rows), taken(made.table, rows))
            assert_same_rows(buffer[3:5], taken(made.table, slice(3, 5)))
        frames = buffer.arrays["frames"]
        assert (frames._kept is not None) == (place == "decoded")
        assert frames._is_compressed_kept == (place == "compressed")
        if place != "file":  # nothing is read from the file any more
            for file in [path] if path.is_file() else path.rglob("c/*"):
                if file.is_file():
                    file.write_bytes(b"")
            assert_same_rows(buffer[:], made.table)


def test_a_look_at_a_few_rows_does_not_wait_for_all(path, monkeypatch):
    monkeypatch.setattr(stored_rows, "_SMALL_BYTES", 0)
    with rlbuffers.open(path) as buffer:
        buffer[0]
        assert buffer.arrays["frames"]._kept is None
        for row in range(8):
            buffer[row]
        assert buffer.arrays["frames"]._kept is not None


@pytest.mark.parametrize("cache", [0, "1GB"])
def test_threads_may_come_first_at_once(path, cache, monkeypatch):
    monkeypatch.setattr(stored_rows, "_SMALL_BYTES", 0)
    made, wrong = make(FRAMES), []
    with rlbuffers.open(path, cache=cache) as buffer:

        def read(seed):
            for rows in np.random.default_rng(seed).integers(60, size=(30, 4)):
                batch = buffer.rows(rows)
                wrong.extend(name for name, values in batch.items() if (values != made.table[name][rows]).any())

        at_once(read, range(4))
    assert not wrong


def test_a_buffer_in_memory_is_not_copied(new_path):
    with rlbuffers.open(write(new_path("memory"), make(FRAMES))) as buffer:
        frames = buffer.arrays["frames"]
        assert np.shares_memory(frames.all(), frames.all())
        with pytest.raises(ValueError, match="read-only"):
            frames.all()[0] = 1
