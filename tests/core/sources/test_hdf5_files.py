"""Damaged HDF5 files, as h5py reports them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.hdf5_files import datasets_of, opened_hdf5

# A little-endian float64 as HDF5 describes it: class, bits, size in bytes, offset and precision in bits, places of
# exponent and mantissa, and the exponent's bias, 1023.
DOUBLE = bytes([0x11, 0x20, 0x3F, 0x00, 8, 0, 0, 0, 0, 0, 64, 0, 52, 11, 0, 52, 0xFF, 0x03, 0, 0])


def test_a_damaged_type_is_damage(tmp_path):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["rewards"] = np.zeros(3)
    assert path.read_bytes().count(DOUBLE) == 1
    path.write_bytes(path.read_bytes().replace(DOUBLE, DOUBLE[:-2] + bytes([64, 0])))
    with pytest.raises(CorruptDataError, match=r"x\.hdf5: damaged or cut short"), opened_hdf5(path) as file:
        datasets_of(file)[0]["rewards"].dtype  # noqa: B018


def test_what_our_own_code_raises_is_not_called_damage(tmp_path):
    h5py.File(tmp_path / "x.hdf5", "w").close()
    with pytest.raises(ValueError, match="a fault of ours") as caught, opened_hdf5(tmp_path / "x.hdf5"):
        raise ValueError("a fault of ours")
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("name", ["rewards", "infos/rewards"])
def test_a_name_that_is_no_text(tmp_path, name):
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file[name] = np.zeros(3)
    path.write_bytes(path.read_bytes().replace(b"rewards", b"rew\xffrds"))
    with (
        pytest.raises(FormatError, match=r"expected names of arrays in UTF-8, found b'.*rew"),
        opened_hdf5(path) as file,
    ):
        datasets_of(file)
