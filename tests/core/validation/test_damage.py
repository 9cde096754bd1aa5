"""A byte of a finished buffer is changed: validate notices it, or everything still reads as before."""

from __future__ import annotations

import random
import shutil

import h5py
import numpy as np
import pytest
import zarr
from reference import Recipe, make, write

import rlbuffers

FLIPS = 60
RECIPES = {
    "vectors": Recipe("episodes", (3, 1, 9, 2)),
    "images": Recipe("episodes", (3, 1, 20, 2), stack=3, size=(6, 6)),
    "shuffled": Recipe("transitions", (30,), stack=4, size=(6, 6), apart=0.2),
}


def read_hdf5(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def read_zarr(path):
    arrays = zarr.open_group(path, mode="r").members(max_depth=None)
    return {name: item[...] for name, item in arrays if isinstance(item, zarr.Array)}


PLAIN = {"hdf5": read_hdf5, "zarr": read_zarr}


def read_all(path, store):
    with rlbuffers.open(path) as buffer:
        return {**buffer[:], **{f"plain {name}": values for name, values in PLAIN[store](path).items()}}


def damaged_copies(path, target, seed):
    """Yield copies with one changed byte each, every byte of every file being equally likely."""
    rng = random.Random(seed)
    for _ in range(FLIPS):
        if path.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target)
            files = sorted(file for file in target.rglob("*") if file.is_file())
            (file,) = rng.choices(files, weights=[file.stat().st_size for file in files])
        else:
            file = shutil.copyfile(path, target)
        content = bytearray(file.read_bytes())
        place, change = rng.randrange(len(content)), rng.randrange(1, 256)
        content[place] ^= change
        file.write_bytes(content)
        yield f"{file} at {place} ^ {change}"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("kind", RECIPES)
def test_a_changed_byte_is_noticed_or_harmless(tmp_path, kind, store):
    path, target = tmp_path / f"whole.{store}", tmp_path / f"damaged.{store}"
    expected = read_all(write(path, make(RECIPES[kind])), store)
    noticed = 0
    for what in damaged_copies(path, target, seed=kind):
        report = rlbuffers.validate(target)
        if not report.ok:
            assert str(target) in report.errors[0].message, what
            noticed += 1
            continue
        found = read_all(target, store)
        assert sorted(found) == sorted(expected), what
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{what}: {name}")
    assert noticed > FLIPS // 3


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_changed_byte_never_gives_wrong_rows_to_a_reader_who_did_not_validate(tmp_path, store):
    """Chunks carry checksums, so that also without `validate` what is read is right or an error."""
    path, target = tmp_path / f"whole.{store}", tmp_path / f"damaged.{store}"
    expected = make(RECIPES["shuffled"])
    write(path, expected)
    for what in damaged_copies(path, target, seed=7):
        try:
            with rlbuffers.open(target, cache=0) as buffer:
                found = buffer[:]
        except rlbuffers.errors.FormatError:
            continue
        for name, values in expected.table.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{what}: {name}")
