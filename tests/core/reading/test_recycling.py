from __future__ import annotations

import gc

import numpy as np
import pytest
from threads import at_once

from rlbuffers.reading.recycling import RecycledArrays

SHAPE = (16, 8)
BYTES = np.dtype(np.uint8)


def address(array):
    return array.__array_interface__["data"][0]


def filled(pool, value):
    array = pool.empty(SHAPE, BYTES)
    array[...] = value
    return array


def test_memory_that_was_dropped_is_used_again():
    pool = RecycledArrays()
    first = pool.empty(SHAPE, BYTES)
    place = address(first)
    del first
    assert address(pool.empty(SHAPE, BYTES)) == place


def test_another_dtype_of_the_same_size_may_use_it():
    pool = RecycledArrays()
    place = address(pool.empty(SHAPE, BYTES))
    again = pool.empty((8, 2), np.dtype(np.float64))
    assert address(again) == place
    assert again.dtype == np.float64
    assert again.flags.c_contiguous


def test_another_size_does_not_use_it():
    pool = RecycledArrays()
    pool.empty(SHAPE, BYTES)
    assert pool.empty((1, 8), BYTES).nbytes == 8


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array,
        lambda array: array[3:5, ::2],
        lambda array: array.T.reshape(-1, order="F").view(np.uint16),
        lambda array: array.data,
        lambda array: memoryview(array)[2:],
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: np.lib.stride_tricks.sliding_window_view(array, (2, 2)),
        lambda array: iter(array),
        lambda array: [row for row in array][5],  # noqa: C416
        lambda array: {"cycle": array},
    ],
)
def test_memory_that_anyone_still_sees_is_left_alone(keep):
    pool = RecycledArrays()
    array = filled(pool, 7)
    kept = keep(array)
    place = address(array)
    del array
    gc.collect()
    others = [filled(pool, 1) for _ in range(10)]
    assert place not in {address(other) for other in others}
    del kept
    gc.collect()


def test_no_more_memory_is_kept_than_asked_for():
    pool = RecycledArrays(max_buffers=2)
    held = [filled(pool, value) for value in range(6)]
    assert all((array == value).all() for value, array in enumerate(held))
    places = {address(array) for array in held[-2:]}
    del held
    assert {address(pool.empty(SHAPE, BYTES))} <= places


def test_threads_never_share_an_array():
    pool = RecycledArrays()
    wrong = []

    def work(value):
        for _ in range(300):
            array = filled(pool, value)
            other = filled(pool, value + 1)
            if (array != value).any() or (other != value + 1).any():
                wrong.append(value)

    at_once(work, range(0, 40, 10))
    assert not wrong
