"""HDF5 buffers whose superblock or root is damaged, or was left open by a killed writer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from reference import Recipe, make

import rlbuffers
from rlbuffers.episode import Episode
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.repair.hdf5_superblock import checksum_of
from rlbuffers.repair.repair import repair

KILLED_WRITER = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "r+", libver=sys.argv[2], locking=False)
file.attrs["note"] = "x"
if sys.argv[3]:
    file.flush()
os.kill(os.getpid(), 9)
"""
FLAGS, CHECKSUM = 11, slice(44, 48)
RECIPES = {
    "vectors": Recipe("episodes", (3, 1, 60, 2)),
    "images": Recipe("episodes", (3, 1, 30), stack=3, size=(6, 6)),
    "pairs": Recipe("transitions", (30, 27)),
}


@pytest.fixture(scope="module", params=RECIPES)
def whole(request, tmp_path_factory):
    """A sound buffer's bytes and fingerprint."""
    made = make(RECIPES[request.param])
    path = tmp_path_factory.mktemp("whole") / "x.hdf5"
    with rlbuffers.create(path, made.spec, {}) as writer:
        for piece in made.pieces:
            (writer.append_episode if isinstance(piece, Episode) else writer.append_transitions)(piece)
    with rlbuffers.open(path) as buffer:
        return path.read_bytes(), buffer.fingerprint


def salvaged(path, fingerprint):
    """Repair a buffer of which nothing is lost; the file itself stays as it is."""
    before = path.read_bytes()
    report = repair(path, path.with_name("new.hdf5"), overwrite=True)
    assert path.read_bytes() == before
    assert report.is_damaged
    assert report.num_rows_lost == 0
    assert report.fingerprint == fingerprint
    return report


def test_the_checksum_is_the_one_of_the_library(whole):
    content, _ = whole
    assert checksum_of(content[:44]) == int.from_bytes(content[CHECKSUM], "little")
    assert checksum_of(b"") == 0xDEADBEEF  # as lookup3.c says
    assert checksum_of(b"Four score and seven years ago") == 0x17770551  # the example in lookup3.c


@pytest.mark.parametrize("version", ["latest", "v110"])
@pytest.mark.parametrize("flushed", ["flushed", ""])
def test_a_buffer_whose_writer_was_killed_is_salvaged(whole, tmp_path, version, flushed):
    content, fingerprint = whole
    path = tmp_path / "x.hdf5"
    path.write_bytes(content)
    subprocess.run([sys.executable, "-c", KILLED_WRITER, path, version, flushed], check=False)
    assert path.read_bytes()[FLAGS]
    with pytest.raises(FormatError, match="its writer was killed"):
        rlbuffers.open(path)
    report = salvaged(path, fingerprint)
    assert any("its writer was killed" in problem for problem in report.problems)


@pytest.mark.parametrize("updated", [False, True], ids=["flag", "flag and checksum"])
def test_a_flag_that_is_set_by_hand_is_cleared(whole, tmp_path, updated):
    content, fingerprint = bytearray(whole[0]), whole[1]
    content[FLAGS] = 5
    if updated:
        content[CHECKSUM] = checksum_of(bytes(content[:44])).to_bytes(4, "little")
    (tmp_path / "x.hdf5").write_bytes(content)
    salvaged(tmp_path / "x.hdf5", fingerprint)


def test_any_byte_of_the_superblock_and_the_root_may_be_damaged(whole, tmp_path):
    content, fingerprint = whole
    rng = np.random.default_rng(0)
    for place in [*range(0, 48, 7), *rng.integers(48, 239, 12).tolist(), *rng.integers(12, 44, 4).tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "x.hdf5").write_bytes(damaged)
        salvaged(tmp_path / "x.hdf5", fingerprint)


def test_a_root_and_metadata_that_are_both_gone_are_said(whole, tmp_path):
    content = bytearray(whole[0])
    content[108:239] = bytes(131)
    place = content.find(b'{"arrays": ')
    content[place : place + 100] = bytes(100)
    (tmp_path / "x.hdf5").write_bytes(content)
    with pytest.raises(CorruptDataError, match="its metadata, which say what the bytes mean, are found nowhere in it"):
        repair(tmp_path / "x.hdf5", None)
