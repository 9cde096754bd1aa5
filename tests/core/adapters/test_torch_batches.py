from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.errors import UsageError


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stack", [0, 3])
def test_a_loader_of_tensors_has_the_numbers_of_the_sampler(new_path, stack, workers):
    path = write(new_path("hdf5"), make(Recipe("episodes", (20, 9), stack=stack)))
    with rlbuffers.open(path) as buffer, buffer.loader(5, 3, device="cpu", workers=workers) as loader:
        sampler = buffer.sampler(5, 3)
        for _ in range(4):
            tensors, arrays = next(loader), sampler.sample()
            assert set(tensors) == set(arrays)
            for name, values in arrays.items():
                assert isinstance(tensors[name], torch.Tensor)
                assert tensors[name].numpy().dtype == values.dtype
                np.testing.assert_array_equal(tensors[name].numpy(), values)


def test_tensors_that_are_kept_stay_as_they_were(new_path):
    """Memory is used again once nobody holds it; a tensor holds it too."""
    path = write(new_path("zarr"), make(Recipe("transitions", (64,), stack=3)))
    with rlbuffers.open(path) as buffer, buffer.loader(4, device="cpu", workers=2) as loader:
        kept = [next(loader) for _ in range(20)]
        sampler = buffer.sampler(4)
        for tensors in kept:
            for name, values in sampler.sample().items():
                np.testing.assert_array_equal(tensors[name].numpy(), values)


@pytest.mark.parametrize("device", ["nothing", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_at_once(new_path, device):
    path = write(new_path("memory"), make(Recipe("episodes", (5,))))
    with (
        rlbuffers.open(path) as buffer,
        pytest.raises(UsageError, match=f"device '{device}' cannot be used here") as at,
    ):
        buffer.loader(2, device=device)
    assert "\n" not in str(at.value)
