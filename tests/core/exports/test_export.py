from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import BufferExistsError, CorruptDataError, UsageError
from rlbuffers.exports import EXPORTS, default_output, export_class
from rlbuffers.exports.export import export
from rlbuffers.exports.npz import NpzExport
from rlbuffers.sources import SOURCES


@pytest.fixture
def buffer(tmp_path):
    with rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4))))) as opened:
        yield opened


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_every_line_of_the_table_has_its_class():
    for name, entry in EXPORTS.items():
        assert export_class(name).__name__ == entry.class_name
        assert entry.summary


def test_an_unknown_format_is_refused(buffer, tmp_path):
    with pytest.raises(UsageError, match="cannot export to 'csv'; choose one of d3rlpy, d4rl"):
        export(buffer, tmp_path / "x.csv", "csv")


def test_what_is_there_is_kept_unless_overwriting(buffer, tmp_path):
    (tmp_path / "x.npz").write_text("mine")
    with pytest.raises(BufferExistsError):
        export(buffer, tmp_path / "x.npz", "npz")
    assert (tmp_path / "x.npz").read_text() == "mine"
    export(buffer, tmp_path / "x.npz", "npz", overwrite=True)
    with np.load(tmp_path / "x.npz") as archive:
        assert len(archive["rewards"]) == 7
    assert names_in(tmp_path) == ["x.hdf5", "x.npz"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_leaves_nothing(buffer, tmp_path, error):
    def stop(count):
        raise error

    for name in EXPORTS:
        if name != "minari":  # writes below its own root
            with pytest.raises(error):
                export(buffer, tmp_path / f"out-{name}", name, on_progress=stop)
    assert names_in(tmp_path) == ["x.hdf5"]


def test_output_that_reads_back_different_is_not_kept(buffer, tmp_path, monkeypatch):
    honest = NpzExport.tally
    monkeypatch.setattr(NpzExport, "tally", lambda self, path: dataclasses.replace(honest(self, path), transitions=6))
    with pytest.raises(CorruptDataError, match=r"x\.npz: 6 transitions were written of 7 read"):
        export(buffer, tmp_path / "x.npz", "npz")
    assert names_in(tmp_path) == ["x.hdf5"]


@pytest.mark.parametrize(("to", "name"), [("npz", "x.npz"), ("zarr", "x.zarr"), ("hdf5", "x.hdf5.hdf5")])
def test_the_output_stands_beside_the_buffer_unless_told(buffer, to, name):
    assert default_output(buffer, to) == str(buffer.path.with_name(name))


def test_every_source_has_a_line_and_its_packages_an_extra():
    for entry in SOURCES.values():
        assert entry.summary
        assert bool(entry.modules) == bool(entry.extra)
