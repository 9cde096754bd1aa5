from __future__ import annotations

import numpy as np
import pytest
import torch
from endings import buffer_of
from hypothesis import given
from reference import Recipe, make, recipes, write
from torch.utils.data import DataLoader, Dataset

import rlbuffers
from rlbuffers.errors import UsageError


@given(recipe=recipes())
def test_items_are_the_rows(new_path, recipe):
    made = make(recipe)
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        dataset = buffer.to_torch_dataset()
        assert isinstance(dataset, Dataset)
        assert len(dataset) == len(made)
        for row in (0, len(made) - 1):
            item = dataset[row]
            assert set(item) == set(made.table)
            for name, values in made.table.items():
                np.testing.assert_array_equal(item[name].numpy(), values[row])
                assert item[name].numpy().dtype == values.dtype


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stack", [0, 3])
def test_a_loader_gives_every_row_once(tmp_path, store, stack, workers):
    made = make(Recipe("episodes", (7, 5, 9), stack=stack))
    with rlbuffers.open(write(tmp_path / f"x.{store}", made)) as buffer:
        loader = DataLoader(buffer.to_torch_dataset(), batch_size=4, shuffle=True, num_workers=workers)
        batches = list(loader)
    assert [len(batch["rewards"]) for batch in batches] == [4, 4, 4, 4, 4, 1]
    rewards = torch.cat([batch["rewards"] for batch in batches]).numpy()
    order = np.argsort(rewards)
    expected = np.argsort(made.table["rewards"])
    for name, values in made.table.items():
        found = torch.cat([batch[name] for batch in batches]).numpy()
        np.testing.assert_array_equal(found[order], values[expected])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_the_buffer_for_themselves(tmp_path, method):
    """Also after it was read from here, so that a child inherits what is open."""
    made = make(Recipe("transitions", (12,), stack=2))
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        dataset = buffer.to_torch_dataset()
        assert dataset[0]["rewards"] == made.table["rewards"][0]
        loader = DataLoader(dataset, batch_size=5, num_workers=1, multiprocessing_context=method)
        found = torch.cat([batch["observations"] for batch in loader]).numpy()
        np.testing.assert_array_equal(found, made.table["observations"])


def test_rows_that_nothing_is_learned_from_are_no_items(tmp_path):
    path = buffer_of(tmp_path / "x.hdf5", (3, 2, 4), ("timeout", "terminal", "neither"), known=False)
    with rlbuffers.open(path) as buffer:
        dataset = buffer.to_torch_dataset()
        kept = [0, 1, 3, 4, 5, 6, 7]
        assert len(dataset) == len(kept)
        np.testing.assert_array_equal(
            [dataset[place]["rewards"] for place in range(len(kept))], buffer.rows(kept)["rewards"]
        )


def test_indices_are_those_of_a_sequence(tmp_path):
    with rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))) as buffer:
        dataset = buffer.to_torch_dataset()
        assert dataset[-1]["terminals"]
        with pytest.raises(IndexError):
            dataset[3]


def test_a_buffer_of_nothing_but_such_rows(tmp_path):
    path = buffer_of(tmp_path / "x.hdf5", (1, 1), ("timeout", "timeout"), known=False)
    with rlbuffers.open(path) as buffer, pytest.raises(UsageError, match="no transition is terminal or has a next"):
        buffer.to_torch_dataset()
