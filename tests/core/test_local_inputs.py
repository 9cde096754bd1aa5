"""Which places are files, and what is inside a folder."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket

import h5py
import numpy as np
import pytest
from truth import DATA

import rlbuffers
from rlbuffers import local_inputs
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.local_inputs import (
    check_folder,
    followed_links,
    follows_links,
    read_document,
    refuse_special,
    require_inside,
    require_regular,
)
from rlbuffers.repair.repair import repair
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.diffusion_policy import DiffusionPolicySource
from rlbuffers.sources.minari.dataset import MinariSource


def test_what_is_not_a_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(tmp_path / "socket"))  # whole paths may be too long for the name of a socket
        for name, kind in {"pipe": "a named pipe", "device": "a device", "socket": "a socket", "": "a dir"}.items():
            for check in (refuse_special, require_regular, read_document):
                with pytest.raises(FormatError, match=f"expected a file, found {kind}"):
                    check(tmp_path / name)
    for name in ("nothing", "self", "pipe/below"):
        assert refuse_special(tmp_path / name) == tmp_path / name
        with pytest.raises(BufferNotFoundError, match="there is no such file"):
            require_regular(tmp_path / name)


def test_documents_are_not_endless(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_bytes(b"{}")
    assert read_document(path) == b"{}"
    monkeypatch.setattr(local_inputs, "MAX_DOCUMENT_BYTES", 1)
    with pytest.raises(CorruptDataError, match="a document of at most 1 bytes, found 2 bytes"):
        read_document(path)


def test_links_out_of_a_folder(tmp_path):
    folder = tmp_path / "given"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "x").touch()
    (tmp_path / "outside").touch()
    (folder / "fine").symlink_to("inner/x")
    (folder / "out").symlink_to("../outside")
    (tmp_path / "link").symlink_to(folder)
    for root in (folder, tmp_path / "link"):
        assert require_inside(root, root / "fine") == root / "fine"
        with pytest.raises(FormatError, match=r"out: a symbolic link to .*outside of .*--follow-links"):
            require_inside(root, root / "out")
        with pytest.raises(FormatError, match="out: a symbolic link"):
            check_folder(root)
        with followed_links():
            assert follows_links()
            assert require_inside(root, root / "out") == root / "out"
            assert check_folder(root) == root
            with pytest.raises(FormatError, match="it is not followed") as caught:
                require_inside(root, root / "out", is_source=False)
            assert "--follow-links" not in str(caught.value)
        assert not follows_links()


def test_the_hub_cache_is_one_folder(tmp_path):
    """Files of a snapshot are links to blobs of the same repository."""
    snapshot = tmp_path / "datasets--x--y" / "snapshots" / "1a2b"
    snapshot.mkdir(parents=True)
    (tmp_path / "datasets--x--y" / "blobs").mkdir()
    (tmp_path / "datasets--x--y" / "blobs" / "77").touch()
    (snapshot / "x.parquet").symlink_to("../../blobs/77")
    require_inside(snapshot, snapshot / "x.parquet")
    (tmp_path / "secret").touch()
    (snapshot / "y.parquet").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match="which is outside of"):
        require_inside(snapshot, snapshot / "y.parquet")


def replaced_by_link(path, folder):
    """Move a file or folder out of what is given, and leave a link."""
    folder.mkdir(exist_ok=True)
    shutil.move(path, folder / path.name)
    path.symlink_to(folder / path.name)


@pytest.mark.parametrize(
    ("name", "inner", "source"),
    [
        ("minari/fixture/cartpole-hdf5-v0/data", "main_data.hdf5", MinariSource),
        ("minari/fixture/cartpole-hdf5-v0/data", "metadata.json", MinariSource),
        ("minari/fixture/cartpole-arrow-v0/data", "1", MinariSource),
        ("minari/fixture/cartpole-arrow-v0/data", "2/metadata.json", MinariSource),
        ("diffusion_policy/pusht.zarr", "data/action/0.0", DiffusionPolicySource),
        ("diffusion_policy/pusht.zarr", "data/action", DiffusionPolicySource),
        ("diffusion_policy/pusht.zarr", "meta", DiffusionPolicySource),
    ],
)
def test_sources_of_folders_follow_links_out_of_them_only_when_asked(tmp_path, new_path, name, inner, source):
    shutil.copytree(DATA / name, tmp_path / "given")
    output = new_path("memory")
    expected = rlbuffers.convert(source(tmp_path / "given"), output).fingerprint
    replaced_by_link(tmp_path / "given" / inner, tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="a symbolic link to"):
        source(tmp_path / "given")
    with followed_links():
        assert rlbuffers.convert(source(tmp_path / "given"), new_path("memory")).fingerprint == expected


@pytest.fixture
def buffer_path(new_path):
    def make(store):
        path = new_path(store)
        rlbuffers.convert(D4RLSource(DATA / "d4rl" / "mini" / "hopper_medium.hdf5"), path)
        return path

    return make


@pytest.mark.parametrize("inner", ["zarr.json", "rewards", "rewards/zarr.json", "rewards/c", "rewards/c/0"])
def test_zarr_buffers_hold_what_they_are_made_of(buffer_path, tmp_path, inner):
    path = buffer_path("zarr")
    replaced_by_link(path / inner, tmp_path / "elsewhere")
    with followed_links():  # which is for sources
        with (
            pytest.raises(FormatError, match="a symbolic link to"),
            rlbuffers.open(path) as found,
        ):
            found[:]
        try:
            report = rlbuffers.validate(path)
        except FormatError as error:
            assert "a symbolic link" in str(error)  # noqa: PT017
        else:
            assert not report.ok


def test_a_zarr_buffer_that_holds_itself_is_refused(buffer_path):
    path = buffer_path("zarr")
    (path / "again").symlink_to(path)
    with pytest.raises(CorruptDataError, match="again: a link to a folder that it is in"):
        rlbuffers.open(path)


def external_link(file, other):
    del file["rewards"]
    file["rewards"] = h5py.ExternalLink(str(other), "rewards")


def other_link(file, other):
    file["unknown"] = h5py.ExternalLink(str(other), "rewards")


def external_storage(file, other):
    file.create_dataset("unknown", (3,), "f4", external=[(str(other), 0, 12)])


def virtual_dataset(file, other):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "rewards", (3,))
    file.create_virtual_dataset("unknown", layout)


@pytest.mark.parametrize("lead_outside", [external_link, other_link, external_storage, virtual_dataset])
def test_hdf5_buffers_hold_what_they_are_made_of(buffer_path, tmp_path, lead_outside):
    """The other file is a pipe, so that whoever opens it waits for ever."""
    path, other = buffer_path("hdf5"), tmp_path / "other.h5"
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        lead_outside(file, other)
    os.mkfifo(other)
    with contextlib.suppress(CorruptDataError):  # where an array that is needed is only a link
        repair(path, tmp_path / "repaired.hdf5")
    for read in (rlbuffers.open, rlbuffers.validate):
        try:
            assert not read(path).ok
        except FormatError as error:
            assert str(other) in str(error)  # noqa: PT017
            assert "--follow-links" not in str(error)  # noqa: PT017


def test_a_buffer_that_is_open_for_writing_says_so(buffer_path):
    path = buffer_path("hdf5")
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        file.flush()
        with pytest.raises(FormatError, match="open for writing, or its writer was killed"):
            rlbuffers.open(path)
    with rlbuffers.open(path) as buffer:
        assert np.isfinite(buffer[:]["rewards"]).all()


@pytest.mark.parametrize("store", ["hdf5", "zarr", "zarr.zip"])
def test_too_many_open_files_are_no_damage(buffer_path, store):
    """Whatever the file, and for `repair`, which would take a shard for lost."""
    path = buffer_path(store)
    runs = (rlbuffers.open, rlbuffers.validate, lambda where: repair(where, None))
    for run in runs:  # which imports what it needs
        run(path)
    opened, count = [], len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 40, hard))
        with contextlib.suppress(OSError):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        for run in runs:
            with pytest.raises(OSError, match="Too many open files"):
                run(path)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
