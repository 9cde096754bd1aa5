"""Data that hold NaN are refused before anything is learned, and nothing is left of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UsageError
from rlbuffers.metadata import render_metadata
from rlbuffers_train.finite_data import require_finite
from rlbuffers_train.offline import train_offline
from rlbuffers_train.running.training_request import TrainingRequest

SETTINGS = {"epoch": 1, "update_per_epoch": 2, "eval_episodes": 0}


def written(path: Path, column: str | None = None, value: float = np.nan, dtype: str = "float32") -> Path:
    """Write 3 episodes of 4 steps; `value` stands in `column` of the second one."""
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", dtype, (2,)),
            ColumnSpec("actions", np.float32, (1,), {"type": "box", "low": -1.0, "high": 1.0}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("infos/speed", np.float32),
        ],
    )
    with rlbuffers.create(path, spec) as writer:
        for number in range(3):
            columns: dict[str, Any] = {
                "actions": np.full((4, 1), number / 4, np.float32),
                "rewards": np.ones(4, np.float32),
                "terminals": np.arange(4) == 3,
                "infos/speed": np.ones(4, np.float32),
            }
            observations = np.full((5, 2), number, dtype)
            if number == 1 and column == "next_observations":
                observations[4, 0] = value
            elif number == 1 and column == "observations":
                observations[2:4, 0] = value
            elif number == 1 and column is not None:
                columns[column][2] = value
            writer.append_episode(Episode(columns, {"observations": observations}))
    return path


def asked(buffer: Path, logdir: Path, algorithm: str = "td3-bc") -> TrainingRequest:
    return TrainingRequest(
        algorithm,
        buffer=buffer,
        logdir=logdir,
        device="cpu",
        settings=SETTINGS,
        hyperparameters={"batch_size": 2, "hidden_sizes": (4,)},
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("observations", "'observations' holds 2 values that are NaN or infinite, in 2 rows, the first of them row 6;"),
        ("actions", "'actions' holds 1 value that is NaN or infinite, in row 6;"),
        ("rewards", "'rewards' holds 1 value that is NaN or infinite, in row 6;"),
        ("next_observations", "'episodes/final_observations' holds 1 value that is NaN or infinite, in episode 1;"),
    ],
)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, column: str, told: str, value: float) -> None:
    buffer = written(tmp_path / "data.hdf5", column, value)
    with pytest.raises(UsageError) as refusal:
        train_offline(asked(buffer, tmp_path / "run"))
    text = str(refusal.value)
    assert told in text
    assert "\n" not in text
    assert "learning rate" not in text
    assert not (tmp_path / "run").exists()
    # What it says to do helps.
    condition = text.partition("--where '")[2].partition("'")[0]
    rlbuffers.filter(buffer, tmp_path / "good.hdf5", condition)
    assert train_offline(asked(tmp_path / "good.hdf5", tmp_path / "run")).logdir.exists()


def test_columns_that_are_not_learned_from_may_hold_anything(tmp_path: Path) -> None:
    train_offline(asked(written(tmp_path / "speed.hdf5", "infos/speed"), tmp_path / "speed"))
    train_offline(asked(written(tmp_path / "rewards.hdf5", "rewards"), tmp_path / "il", "il"))


def test_values_beyond_single_precision_are_refused(tmp_path: Path) -> None:
    buffer = written(tmp_path / "data.hdf5", "observations", 1e300, "float64")
    with pytest.raises(UsageError, match=r"'observations' holds 1e\+300, and float32, in which training computes"):
        train_offline(asked(buffer, tmp_path / "run"))


def test_of_older_buffers_the_data_are_read(tmp_path: Path) -> None:
    buffer = written(tmp_path / "data.hdf5", "next_observations")
    with h5py.File(buffer, "r+") as file:
        document = json.loads(file.attrs["rlbuffers"])
        del document["noticed"]
        del document["checksum"]
        file.attrs["rlbuffers"] = render_metadata(document)
    with (
        rlbuffers.open(buffer) as opened,
        pytest.raises(UsageError, match="'episodes/final_observations' holds 1 value that is NaN"),
    ):
        require_finite(opened, ("next_observations",))
