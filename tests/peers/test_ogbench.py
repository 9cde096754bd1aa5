"""OGBench itself against our reader and writer: `ogbench.utils.load_dataset` reads the same values."""

from __future__ import annotations

import numpy as np
import pytest
from npz_files import write_ogbench
from truth import DATA

import rlbuffers
from rlbuffers.exports.export import export
from rlbuffers.sources.ogbench import OGBenchSource

# Of the package only the loader is used, which imports gymnasium and nothing that simulates.
load_dataset = pytest.importorskip("ogbench.utils").load_dataset

FIXTURES = sorted((DATA / "ogbench").glob("*.npz"))


def dtypes(path):
    with np.load(path) as archive:
        return {"ob_dtype": archive["observations"].dtype, "action_dtype": archive["actions"].dtype}


def assert_is_loaded(buffer, path):
    """Compare a buffer with what OGBench reads in a file."""
    expected = load_dataset(path, add_info=True, **dtypes(path))
    rows = buffer[:]
    for name in set(expected) - {"terminals"}:
        np.testing.assert_array_equal(rows[name], expected[name])
    np.testing.assert_array_equal(rows["timeouts"], expected["terminals"] != 0)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_file_is_read_as_ogbench_reads_it(new_path, path):
    target = new_path("memory")
    rlbuffers.convert(OGBenchSource(path), target)
    with rlbuffers.open(target) as buffer:
        assert_is_loaded(buffer, path)


@pytest.mark.parametrize("compact", [False, True])
def test_what_ogbench_loads_and_somebody_saves_is_read_the_same(tmp_path, new_path, compact):
    path = FIXTURES[0]
    loaded = load_dataset(path, compact_dataset=compact, add_info=True)
    np.savez(tmp_path / "x.npz", **loaded)
    target = new_path("memory")
    rlbuffers.convert(OGBenchSource(tmp_path / "x.npz"), target)
    with rlbuffers.open(target) as buffer:
        assert_is_loaded(buffer, path)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_what_is_exported_is_loaded(tmp_path, path):
    rlbuffers.convert(OGBenchSource(path), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "again.npz", "ogbench")
        assert_is_loaded(buffer, tmp_path / "again.npz")


def test_relabelled_data_are_loaded_too(tmp_path):
    """Rewards and masks stand beside what the loader reads."""
    rng = np.random.default_rng(0)
    lengths = (6, 4)
    seen = [rng.normal(size=(length + 1, 3)).astype(np.float32) for length in lengths]
    masks = [(rng.random(length + 1) > 0.5).astype(np.float32) for length in lengths]
    rewards = [part - 1 for part in masks]
    path = write_ogbench(tmp_path / "raw.npz", seen, seen, rewards=rewards, masks=masks)
    rlbuffers.convert(OGBenchSource(path), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        report = export(buffer, tmp_path / "again.npz", "ogbench")
        assert_is_loaded(buffer, tmp_path / "again.npz")
        assert report.written.transitions == 10
        with np.load(tmp_path / "again.npz") as archive:
            kept = ~archive["terminals"]
            np.testing.assert_array_equal(archive["masks"][kept] == 0, buffer[:]["terminals"])
            np.testing.assert_array_equal(archive["rewards"][kept], buffer[:]["rewards"])
