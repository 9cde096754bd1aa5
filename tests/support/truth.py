"""Comparing a buffer with the truth beside a fixture: the flat arrays that a correct conversion gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import rlbuffers
from rlbuffers.schema import NEXT_OBSERVATIONS

Array = np.ndarray[Any, Any]
DATA = Path(__file__).parents[1] / "data"
_NO_COLUMNS = {"episode_lengths", "sequence_lengths", "next_defined", "unmarked_resets", "strict_rlds"}


def load_truth(fixture: Path) -> dict[str, Array]:
    """Read ``<fixture>.truth.npz``."""
    with np.load(fixture.with_name(fixture.name + ".truth.npz")) as arrays:
        return dict(arrays)


def assert_is_truth(path: Path, truth: dict[str, Array], *, ignore: tuple[str, ...] = ()) -> None:
    """Compare every column of the truth, dtypes included, and what is known of next observations.

    Episode lengths are compared where the truth has them and the buffer keeps episodes.
    """
    with rlbuffers.open(path) as buffer:
        rows = buffer[:]
        for name in sorted(set(truth) - _NO_COLUMNS - set(ignore)):
            expected, found = truth[name], rows[name]
            assert found.dtype == expected.dtype, name
            known = truth["next_defined"] if name.startswith(NEXT_OBSERVATIONS) else np.ones(len(expected), bool)
            np.testing.assert_array_equal(found[known], expected[known], err_msg=name)
            assert not found[~known].any(), name
        assert len(rows["rewards"]) == len(truth["rewards"])
        if buffer.spec.layout == "episodes":
            np.testing.assert_array_equal(buffer.rows_without_next, np.flatnonzero(~truth["next_defined"]))
            if "episode_lengths" in truth and "episode_lengths" not in ignore:
                np.testing.assert_array_equal(buffer.arrays["episodes/lengths"].all(), truth["episode_lengths"])
