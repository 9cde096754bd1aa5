"""`--terminals end|goal` of `convert npz` and `convert d4rl` says what a terminal marks."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import rlbuffers

COUNT = 30
GOALS = np.arange(12, 20)  # play stays at a goal
LIMITS = np.array([9, 24])


def written(path, **changes):
    arrays = {
        "observations": np.arange(COUNT * 2.0).reshape(COUNT, 2),
        "actions": np.zeros((COUNT, 1)),
        "rewards": np.zeros(COUNT),
        "terminals": np.isin(np.arange(COUNT), GOALS),
        "timeouts": np.isin(np.arange(COUNT), LIMITS),
        **changes,
    }
    arrays = {name: rows for name, rows in arrays.items() if rows is not None}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return ["npz", path]
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return ["d4rl", "--file", path]


@pytest.fixture(params=[".npz", ".hdf5"])
def suffix(request):
    return request.param


@pytest.mark.parametrize(
    ("said", "ends"), [(None, LIMITS), ("goal", LIMITS), ("end", np.sort(np.concatenate([GOALS, LIMITS])))]
)
def test_what_is_said_of_terminals_counts(run, tmp_path, suffix, said, ends):
    words = written(tmp_path / f"runs{suffix}")
    result = run("convert", *words, "-o", tmp_path / "out.hdf5", *([] if said is None else ["--terminals", said]))
    assert result.exit_code == 0, result.output
    assert ("--terminals goal" in result.stderr) == (said is None)  # guessed: how to settle it
    with rlbuffers.open(tmp_path / "out.hdf5") as buffer:
        lengths = buffer.arrays["episodes/lengths"].all()
        np.testing.assert_array_equal(np.cumsum(lengths)[:-1] - 1, ends)
        assert buffer.metadata["environment"]["terminals_end_episodes"] is (said == "end")
        assert any("as was said" in note for note in buffer.notes) == (said is not None)


def test_short_runs_are_goals_where_that_is_said(run, tmp_path, suffix):
    words = written(tmp_path / f"runs{suffix}", terminals=np.isin(np.arange(COUNT), [3, 4]))
    assert run("convert", *words, "-o", tmp_path / "out.hdf5", "--terminals", "goal").exit_code == 0
    with rlbuffers.open(tmp_path / "out.hdf5") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [10, 15, 5]


def test_what_is_known_of_a_dataset_is_outranked(run, tmp_path):
    words = written(tmp_path / "antmaze-umaze-v2.hdf5", timeouts=None)
    result = run("convert", *words, "-o", tmp_path / "out.hdf5", "--terminals", "end")
    assert result.exit_code == 0, result.output
    with rlbuffers.open(tmp_path / "out.hdf5") as buffer:
        lengths = buffer.arrays["episodes/lengths"].all()
        np.testing.assert_array_equal(np.cumsum(lengths)[:-1] - 1, GOALS)


def test_goals_need_something_else_that_ends_an_episode(run, tmp_path, suffix):
    words = written(tmp_path / f"runs{suffix}", timeouts=None)
    result = run("convert", *words, "-o", tmp_path / "out.hdf5", "--terminals", "goal")
    assert result.exit_code == 2
    assert "--terminals goal: the file has no timeouts and no next observations" in result.stderr
    assert not (tmp_path / "out.hdf5").exists()


def test_views_and_archives_with_rules_of_their_own_refuse_it(run, tmp_path):
    words = written(tmp_path / "runs.hdf5")
    result = run("convert", *words, "-o", tmp_path / "out.hdf5", "--view", "qlearning", "--terminals", "end")
    assert result.exit_code == 2
    assert "--terminals requires --view episodes" in result.stderr
    archive = tmp_path / "cube-single-play-v0.npz"
    np.savez(
        archive,
        **{name: np.zeros((6, 1), np.float32) for name in ("observations", "actions", "qpos", "qvel")},
        terminals=np.arange(6) == 5,
    )
    result = run(
        "convert", "npz", tmp_path / "cube-single-play-v0.npz", "-o", tmp_path / "o.hdf5", "--terminals", "end"
    )
    assert result.exit_code == 2
    assert "--terminals does not apply: an archive of ogbench says itself how episodes end" in result.stderr
