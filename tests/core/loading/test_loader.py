"""A loader's threads: they end, their errors arrive, and forks and Ctrl-C do no harm.

That batches and states are those of the sampler alone is tested with the samplers.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from patience import PATIENCE_SECONDS
from played import Game, play
from reference import assert_same_rows

import rlbuffers
from rlbuffers.errors import CorruptDataError, UsageError
from rlbuffers.loading.loader import Loader, NumpyBatches


@pytest.fixture
def buffer(tmp_path):
    path = tmp_path / "x.hdf5"
    play([Game(300, "timeout"), Game(200, "terminal")], path)
    with rlbuffers.open(path) as opened:
        yield opened


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rlbuffers-loader")]


class SlowSampler:
    """Stands for a sampler whose reading takes time, or fails."""

    is_fixed = True

    def __init__(self, sampler, seconds=0.0, fails_at=()):
        self._sampler = sampler
        self._seconds = seconds
        self._fails_at = set(fails_at)
        self._numbers = itertools.count()
        self.drawn = []

    @property
    def num_batches(self):
        return self._sampler.num_batches

    def draw(self):
        self.drawn.append(self._sampler.draw())
        return self.drawn[-1]

    def read(self, drawn):
        time.sleep(self._seconds)
        if next(i for i, one in enumerate(self.drawn) if one is drawn) in self._fails_at:
            raise CorruptDataError("x.hdf5: array 'rewards', chunk 3: its checksum is wrong")
        return self._sampler.read(drawn)

    def read_together(self, drawn):
        return [self.read(one) for one in drawn]

    def deliver(self, drawn):
        self._sampler.deliver(drawn)


def test_nothing_runs_before_the_first_batch_or_after_the_end(buffer):
    loader = buffer.loader(8, workers=3)
    assert not loader_threads()
    next(loader)
    assert loader_threads()
    for _ in range(2):
        loader.close()
        assert not loader_threads()
    with pytest.raises(UsageError, match="the loader is closed"):
        next(loader)


def test_a_state_outlives_the_loader(buffer):
    with buffer.loader(8) as loader:
        next(loader)
        expected = loader.state_dict()
    assert loader.state_dict() == expected
    sampler = buffer.sampler(8)
    sampler.sample()
    sampler_next = sampler.sample()
    again = buffer.sampler(8, seed=1)
    again.load_state_dict(expected)
    assert_same_rows(again.sample(), sampler_next)


def test_a_loader_that_is_dropped_ends_its_threads(buffer):
    loader = buffer.loader(8, workers=2)
    next(loader)
    del loader
    gc.collect()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while loader_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not loader_threads()


def test_as_many_batches_are_drawn_ahead_as_is_said(buffer):
    sampler = SlowSampler(buffer.sampler(8))
    with Loader(sampler, NumpyBatches(), prefetch=3, workers=2) as loader:
        for number in range(1, 6):
            next(loader)
            assert len(sampler.drawn) == number + 3
    sampler = SlowSampler(buffer.sampler(8))
    with Loader(sampler, NumpyBatches(), prefetch=3, workers=0) as loader:
        for number in range(1, 8):
            next(loader)
            assert len(sampler.drawn) == 3 * -(-number // 3)
    with buffer.sampler(8).loader(workers=0) as loader:
        for _ in range(3):
            next(loader)
            assert not loader.state_dict()["waiting"]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_in_a_thread_reaches_the_consumer_and_costs_one_batch(buffer, workers):
    plain = buffer.sampler(8)
    expected = [plain.sample() for _ in range(4)]
    with Loader(SlowSampler(buffer.sampler(8), fails_at=[1]), NumpyBatches(), prefetch=2, workers=workers) as loader:
        assert_same_rows(next(loader), expected[0])
        with pytest.raises(CorruptDataError) as caught:
            next(loader)
        assert str(caught.value) == "x.hdf5: array 'rewards', chunk 3: its checksum is wrong"
        assert_same_rows(next(loader), expected[2])
        assert_same_rows(next(loader), expected[3])
    assert not loader_threads()


def test_a_damaged_chunk_is_named(tmp_path):
    path = tmp_path / "x.zarr"
    play([Game(3000, "timeout")], path)
    (shard,) = (path / "actions" / "c").iterdir()
    content = bytearray(shard.read_bytes())
    content[20] ^= 1
    shard.write_bytes(content)
    with rlbuffers.open(path) as buffer, buffer.loader(8) as loader:
        with pytest.raises(CorruptDataError, match="array 'actions', chunk 0"):
            next(loader)
        loader.close()
    assert not loader_threads()


def test_waiting_is_counted(buffer):
    with Loader(SlowSampler(buffer.sampler(8), 0.02), NumpyBatches(), prefetch=1, workers=0) as loader:
        for _ in range(4):
            next(loader)
        assert loader.wait_seconds >= 4 * 0.02
        assert loader.num_delivered == 4


@pytest.mark.parametrize(("prefetch", "workers"), [(0, 1), (-1, 1), (1, -1)])
def test_numbers_out_of_range(buffer, prefetch, workers):
    with pytest.raises(UsageError, match="prefetch must be at least 1 and workers not negative"):
        buffer.loader(8, prefetch=prefetch, workers=workers)


def _in_child(loader, expected, queue):
    try:
        batches = [next(loader)["rewards"] for _ in range(3)]
        loader.close()
        queue.put(all((one == other).all() for one, other in zip(batches, expected, strict=True)))
    except BaseException as error:
        queue.put(repr(error))
        raise


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_reads_ahead_with_threads_of_its_own(buffer):
    plain = buffer.sampler(8)
    expected = [plain.sample()["rewards"] for _ in range(5)]
    context = multiprocessing.get_context("fork")
    with buffer.loader(8) as loader:
        np.testing.assert_array_equal(next(loader)["rewards"], expected[0])
        for pending in loader._pending:
            if pending.group.future is not None:
                pending.group.future.result()  # a thread at work could hold a lock at the moment of the fork
        queue = context.Queue()
        child = context.Process(target=_in_child, args=(loader, expected[1:4], queue))
        child.start()
        assert queue.get(timeout=PATIENCE_SECONDS) is True
        child.join(PATIENCE_SECONDS)
        assert child.exitcode == 0
        np.testing.assert_array_equal(next(loader)["rewards"], expected[1])


@pytest.mark.parametrize("started", [False, True])
def test_a_loader_travels_to_a_spawned_process(buffer, started):
    """That is, it pickles: with what it has read ahead still to come."""
    with buffer.loader(8, 3, replacement=False) as loader:
        if started:
            next(loader)
        with pickle.loads(pickle.dumps(loader)) as other:
            for _ in range(3):
                assert_same_rows(next(other), next(loader))


SCRIPT = """
import sys, time
sys.path.insert(0, {support!r})
import rlbuffers

with rlbuffers.open({path!r}) as buffer, buffer.loader(8, workers=2) as loader:
    next(loader)
    print("running", flush=True)
    {body}
"""


@contextlib.contextmanager
def run_script(buffer, body):
    """A process that does not outlive the context: one that ignores Ctrl-C fails a test and does not hold it up."""
    script = SCRIPT.format(path=str(buffer.path), support=os.path.dirname(__file__), body=body)
    command = [sys.executable, "-W", "error", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_the_process(buffer):
    body = "for number, batch in enumerate(loader): number or print('reading', flush=True)"
    with run_script(buffer, body) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["running\n", "reading\n"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode in (1, -signal.SIGINT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "ResourceWarning" not in errors


def test_a_process_ends_although_a_loader_is_open(buffer):
    with run_script(buffer, "kept = buffer.loader(4, workers=3); next(kept); sys.exit(3)") as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (3, "")
