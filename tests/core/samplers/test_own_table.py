"""A table that is no buffer is sampled like one (`rlbuffers.table.Table`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, write

import rlbuffers
from rlbuffers.samplers.making import make_sampler
from rlbuffers.transforms import NormalizeObservations, ScaleRewards


class OwnArray:
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def all(self):
        return self.values

    def take(self, rows):
        return self.values[rows]

    def blocks(self, rows):
        for start in range(0, len(self.values), rows):
            yield self.values[start : start + rows]


class OwnTable:
    """NumPy arrays of a spec, with nothing of rlbuffers but the spec."""

    def __init__(self, spec, columns, lengths, metadata, fingerprint):
        self.spec, self.path, self.metadata, self.fingerprint = spec, Path("mine"), metadata, fingerprint
        self.num_episodes = len(lengths)
        self.rows_without_next = np.empty(0, np.int64)
        self._columns = columns
        starts = np.cumsum([0, *lengths[:-1]])
        stored = {**columns, "episodes/starts": starts, "episodes/lengths": np.array(lengths)}
        self.arrays = {name: OwnArray(values) for name, values in stored.items() if not name.startswith("next_")}

    def __len__(self):
        return len(self._columns["rewards"])

    def take(self, rows, columns):
        return {name: self._columns[name][rows] for name in columns}

    def rows(self, indices, columns=None):
        return self.take(np.asarray(indices), self.spec.batch_names if columns is None else columns)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"replacement": False},
        {"n_step": 3, "gamma": 0.9},
        {"sequence_length": 4, "burn_in": 1},
        {"returns_to_go": 0.9, "transforms": [ScaleRewards(2.0)]},
        {"episodes": "padded"},
        {"stratify": "terminals"},
        {"next_actions": True},
    ],
    ids=str,
)
def test_batches_of_an_own_table_are_those_of_a_buffer(options, tmp_path):
    lengths = (5, 1, 9, 40)
    made = make(Recipe("episodes", lengths, seed=3))
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        table = OwnTable(made.spec, made.table, lengths, buffer.metadata, buffer.fingerprint)
        ours, theirs = make_sampler(buffer, 8, 1, **options), make_sampler(table, 8, 1, **options)
        for _ in range(5):
            assert_same_rows(theirs.sample(), ours.sample())
        assert theirs.stream_hash == ours.stream_hash
        normalize = NormalizeObservations.of(table)
        assert_same_rows(
            make_sampler(table, 4, 0, transforms=[normalize]).sample(),
            make_sampler(buffer, 4, 0, transforms=[NormalizeObservations.of(buffer)]).sample(),
        )
