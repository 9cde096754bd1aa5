"""Files over which the HDF5 library loops or crashes: said in one line, by every source that reads HDF5."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import signal
import struct
import zlib

import h5py
import numpy as np
import pytest
from hdf5_cases import CASES, Case, copied

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import followed_links
from rlbuffers.sources import hdf5_safety
from rlbuffers.sources.d4rl.hdf5 import D4RLSource

HEAP = b"GCOL"
FIRST_OBJECT, SIZE = 16, slice(8, 16)


@pytest.fixture(params=CASES)
def case(request, tmp_path) -> Case:
    return copied(CASES[request.param], tmp_path / "given")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(hdf5_safety, "STEP_SECONDS", 0.3)


def with_endless_heap(path):
    """Give a file a text whose heap makes the library loop: its first object ends where it begins."""
    with h5py.File(path, "r+") as file:
        file.attrs["a note"] = "of variable length"
    content = bytearray(path.read_bytes())
    place = content.rfind(HEAP)
    while b"of variable length" not in content[place : place + 4096]:
        place = content.rfind(HEAP, 0, place)
    start = place + FIRST_OBJECT
    while content[start + 16 : start + 34] != b"of variable length":
        start += 16 + -(-struct.unpack("<Q", content[start + 8 : start + 16])[0] // 8) * 8
    content[start + 8 : start + 16] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(content)


def test_a_file_without_end_is_said(case, quick):
    with_endless_heap(case.file)
    with pytest.raises(CorruptDataError, match=r"did not come to an end within 0\.3 s of reading '/@a note'") as caught:
        case.source(case.file)
    assert str(case.file) in str(caught.value)


def test_a_crash_is_said_and_the_next_file_is_read(case, monkeypatch):
    def crashed(process, request):
        del request
        os.pwrite(process._steps.fileno(), b"/a/b\0", 0)
        process._process.send_signal(signal.SIGSEGV)

    monkeypatch.setattr(hdf5_safety._Process, "ask", crashed)
    with pytest.raises(CorruptDataError, match=r"the HDF5 library crashed \(SIGSEGV\) reading '/a/b'"):
        case.source(case.file)
    monkeypatch.undo()
    case.source(case.file)


def test_a_process_that_ended_as_nobody_asked_is_started_anew():
    path = CASES["d4rl"].file
    first = hdf5_safety.probed(path)
    hdf5_safety._held.process._process.stdin.close()
    hdf5_safety._held.process._process.wait()
    assert hdf5_safety.probed(path) == first


def convert_in_fork(path):
    return D4RLSource(path).total


def test_threads_and_forks_ask_too(tmp_path):
    paths = [tmp_path / f"{number}.hdf5" for number in range(6)]
    for path in paths:
        shutil.copy(CASES["d4rl"].file, path)
    expected = D4RLSource(CASES["d4rl"].file).total
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert list(pool.map(convert_in_fork, paths[:3])) == [expected] * 3
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(convert_in_fork, paths[3:])) == [expected] * 3
    assert D4RLSource(paths[3]).total == expected


def chunked(case, content):
    """Store the needed array in one chunk of gzip with other content."""
    with h5py.File(case.file, "r+") as file:
        rows, attributes = file[case.needed][()], dict(file[case.needed].attrs)
        del file[case.needed]
        made = file.create_dataset(case.needed, rows.shape, rows.dtype, chunks=rows.shape, compression="gzip")
        made.id.write_direct_chunk((0,) * rows.ndim, zlib.compress(content(rows.tobytes())))
        made.attrs.update(attributes)


@pytest.mark.parametrize("content", [lambda rows: rows[:-1], lambda rows: rows + b"x", lambda rows: b""])
def test_a_chunk_of_another_size_is_refused(case, new_path, content):
    chunked(case, content)
    with pytest.raises(CorruptDataError, match=rf"the chunk at .* of '/{case.needed}' does not hold exactly"):
        rlbuffers.convert(case.source(case.file), new_path("memory"))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("chunks", [(7, 2), (7, 5), (64, 5), (1, 1)])
def test_rows_are_what_h5py_reads(tmp_path, chunks, shuffle):
    from rlbuffers.sources.hdf5_rows import rows_of

    rows = np.random.default_rng(0).normal(size=(40, 5))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        made = file.create_dataset(
            "a", rows.shape, "f8", maxshape=(None, 5), chunks=chunks, compression="gzip", shuffle=shuffle, fillvalue=3.0
        )
        made[:20], made[30:] = rows[:20], rows[30:]
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["a"].id.write_direct_chunk((0, 0), np.ones(chunks).tobytes(), filter_mask=3)
    with h5py.File(tmp_path / "x.h5") as file:
        made = file["a"]
        for start, stop in ((0, None), (0, 40), (3, 9), (15, 35), (39, 99), (20, 20)):
            np.testing.assert_array_equal(rows_of(made, start, stop), made[start:stop])


@pytest.mark.parametrize("kind", ["<f8", ">f4", "<i2", "?", "S3", "f2"])
def test_every_dtype_is_what_h5py_reads(tmp_path, kind):
    from rlbuffers.sources.hdf5_rows import rows_of

    rows = np.arange(60).reshape(20, 3).astype(kind)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        made = file.create_dataset("a", data=rows, chunks=(6, 3), compression="gzip", shuffle=True)
        np.testing.assert_array_equal(rows_of(made), rows)
        assert rows_of(made).dtype == made.dtype


def test_groups_in_very_many_groups_are_refused(case):
    with h5py.File(case.file, "r+") as file:
        group = file
        for _ in range(300):
            group = group.create_group("g")
    with pytest.raises(CorruptDataError, match="has groups in more than 100 groups"):
        case.source(case.file)


@pytest.mark.parametrize("kind", ["fifo", "device", "endless"])
def test_what_a_linked_file_leads_to_is_looked_at_too(case, quick, kind):
    """With --follow-links, a linked file may itself lead on; not to what would never end."""
    second, third = case.file.parent / "second.h5", case.file.parent / "third.h5"
    with h5py.File(case.file, "r+") as file:
        file["zz"] = h5py.ExternalLink("second.h5", "/")
    with h5py.File(second, "w") as file:
        file["on"] = h5py.ExternalLink("third.h5", "/")
    if kind == "fifo":
        os.mkfifo(third)
    elif kind == "device":
        third.symlink_to("/dev/zero")
    else:
        with h5py.File(third, "w") as file:
            file["a"] = 1
        with_endless_heap(third)
    with followed_links(), pytest.raises(FormatError, match=r"third\.h5: .*(a named pipe|a device|to an end)"):
        case.source(case.file)
