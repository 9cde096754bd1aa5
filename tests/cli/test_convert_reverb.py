"""`rlbuffers convert reverb`: the fixtures against their truth, the options, and wrong arguments."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from reverb_checkpoint import write_steps
from truth import DATA, assert_is_truth, load_truth

import rlbuffers

FIXTURE = DATA / "reverb" / "pendulum"


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("table", ["transitions", "pairs"])
def test_fixtures_are_their_truth(run, tmp_path, table, store):
    output = tmp_path / f"x.{store}"
    result = run("convert", "reverb", FIXTURE, "--table", table, "-o", output, "--workers", 0)
    assert (result.exit_code, result.stderr) == (0, "")
    assert_is_truth(output, load_truth(FIXTURE.with_name(f"pendulum.{table}")), ignore=("timeouts",))
    with rlbuffers.open(output) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        assert "timeouts" not in buffer.spec.columns
        rows = buffer[:]
        assert rows["priorities"].tolist() == [1.0] * 60
        assert rows["steps"].tolist() == [*range(30), *range(30)]
        assert len(set(rows["episode_ids"].tolist())) == 2
        assert buffer.metadata["source"]["checkpoint"].startswith("2026-11-22T22:33:49")
        assert buffer.metadata["source"]["table"]["name"] == table
        assert ("each item's second step" in " ".join(buffer.metadata["left_out"])) == (table == "pairs")
    assert "out 60 transitions" in " ".join(result.stdout.split())


def test_the_directory_of_one_checkpoint_and_the_default_place(run, tmp_path):
    (checkpoint,) = FIXTURE.iterdir()
    result = run("convert", "reverb", checkpoint, "--table", "pairs", "--buffer-dir", tmp_path)
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.rglob("*.hdf5")] == ["pairs.hdf5"]


def test_columns_are_named_with_map(run, tmp_path):
    columns = {name: np.arange(3.0)[:, None] for name in ("o_t", "o_tp1", "a_t", "r_t", "gamma")}
    path = write_steps(tmp_path / "in", columns, [(k, k + 1) for k in range(3)], squeezed=columns)
    result = run("convert", "reverb", path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    message = " ".join(result.stderr.split())
    assert "cannot tell which columns are observations, actions, rewards, terminals or discounts" in message
    assert "'o_tp1' (float64 (1,))" in message
    assert "--map COLUMN=NAME" in message
    names = ["o_t=observations", "o_tp1=next_observations", "a_t=actions", "r_t=rewards", "gamma=discounts"]
    words = [word for name in names for word in ("--map", name)]
    result = run("convert", "reverb", path, "-o", tmp_path / "x.hdf5", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer[:]["rewards"].tolist() == [0, 1, 2]
        assert buffer[:]["terminals"].tolist() == [True, False, False]
        assert buffer.metadata["source"]["columns"]["next_observations"] == "o_tp1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([FIXTURE], "has the tables 'pairs', 'transitions'; say which with --table"),
        ([FIXTURE, "--table", "x"], "has no table 'x'; its tables are 'pairs', 'transitions'"),
        ([FIXTURE, "--table", "pairs", "--map", "x=actions"], "--map x=actions: there is no such column"),
        ([FIXTURE, "--table", "pairs", "--map", "x"], "--map x: expected COLUMN=NAME"),
        ([FIXTURE, "--table", "pairs", "--map", "a=b", "--map", "a=c"], "once for each column"),
        ([FIXTURE.parent / "nothing"], "there is no such directory"),
        ([DATA / "tianshou"], "expected a Reverb checkpoint"),
        ([FIXTURE, "--server", "localhost:1"], "expected the directory of a checkpoint, or --server"),
        ([], "expected the directory of a checkpoint, or --server"),
    ],
)
def test_wrong_arguments_get_one_line_and_leave_nothing(run, tmp_path, words, message):
    result = run("convert", "reverb", *words, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == (1 if words in ([FIXTURE.parent / "nothing"], [DATA / "tianshou"]) else 2)
    assert len(result.stderr.splitlines()) == 1
    assert message in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_nan_rewards_are_refused(run, tmp_path):
    columns = {name: np.ones((3, 1)) for name in ("obs", "next_obs", "act", "rew", "discount")}
    columns["rew"][1] = np.nan
    path = write_steps(tmp_path / "in", columns, [(k, k + 1) for k in range(3)], squeezed=columns)
    result = run("convert", "reverb", path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "expected finite rewards, found nan in row 1" in " ".join(result.stderr.split())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in"]


@pytest.mark.skipif(importlib.util.find_spec("reverb") is not None, reason="dm-reverb is installed")
def test_a_server_needs_the_extra(run, tmp_path):
    result = run("convert", "reverb", "--server", "localhost:1", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "Reading from a Reverb server needs reverb. Install it with: pip install" in " ".join(result.stderr.split())
