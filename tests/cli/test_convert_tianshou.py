"""`rlbuffers convert tianshou`: the fixtures against plain h5py and an obvious loop, directories, and wrong files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from tianshou_files import play, save
from truth import DATA

import rlbuffers

FIXTURES = DATA / "tianshou"


def rings_of(file):
    """Return the rows of each environment in the file, oldest first."""
    if "_lengths" not in file:
        size, start = int(file.attrs["_size"]), int(file.attrs["_insertion_idx"])
        full = size == file.attrs["maxsize"]
        return [[(start + i) % size if full else i for i in range(size)]]
    edges = file["_extend_offset"][:]
    assert (file["_lengths"][:] < np.diff(edges)).all()  # the fixture's have not wrapped around
    return [list(range(offset, offset + n)) for offset, n in zip(edges[:-1], file["_lengths"][:], strict=True)]


def expected_of(path):
    """Read a fixture row by row: the columns, and the length of each episode."""
    table = {name: [] for name in ("observations", "next_observations", "actions", "rewards", "terminals", "timeouts")}
    known, lengths, envs = [], [], []
    with h5py.File(path) as file:
        meta = {name: file["_meta"][name][:] for name in file["_meta"] if name != "info"}
        depth = int(file.attrs["stack_num"])
        for env, rows in enumerate(rings_of(file)):
            first = 0
            for place, row in enumerate(rows):
                ends = bool(meta["done"][row]) or place == len(rows) - 1

                def stack(newest, first=first, rows=rows):
                    frames = [meta["obs"][rows[max(newest - back, first)]] for back in reversed(range(depth))]
                    return np.stack(frames) if depth > 1 else frames[0]

                table["observations"].append(stack(place))
                if "obs_next" in meta:
                    table["next_observations"].append(meta["obs_next"][row])
                else:
                    table["next_observations"].append(np.zeros_like(stack(place)) if ends else stack(place + 1))
                known.append("obs_next" in meta or not ends)
                for column, name in (("actions", "act"), ("rewards", "rew")):
                    table[column].append(meta[name][row])
                table["terminals"].append(meta["terminated"][row])
                table["timeouts"].append(meta["truncated"][row])
                if ends:
                    lengths.append(place + 1 - first)
                    envs.append(env)
                    first = place + 1
    return {name: np.array(rows) for name, rows in table.items()}, np.array(known), lengths, envs


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("name", ["cartpole", "cartpole-wrapped", "pong-vector-stack4"])
def test_fixtures_are_what_plain_h5py_says(run, tmp_path, name, store):
    output = tmp_path / f"x.{store}"
    result = run("convert", "tianshou", FIXTURES / f"{name}.hdf5", "-o", output, "--workers", 0)
    assert (result.exit_code, result.stderr) == (0, "")
    table, known, lengths, envs = expected_of(FIXTURES / f"{name}.hdf5")
    with rlbuffers.open(output) as buffer:
        rows = buffer[:]
        for column, expected in table.items():
            assert rows[column].dtype == expected.dtype
            chosen = known if column == "next_observations" else slice(None)
            np.testing.assert_array_equal(rows[column][chosen], expected[chosen], err_msg=column)
        assert buffer.arrays["episodes/lengths"].all().tolist() == lengths
        np.testing.assert_array_equal(buffer.rows_without_next, np.flatnonzero(~known))
        whole = buffer.arrays["episodes/whole"].all()
        assert bool(whole[0]) == (name != "cartpole-wrapped")
        assert not whole[-1]
        if name.startswith("pong"):
            assert buffer.arrays["episodes/env_indices"].all().tolist() == envs
            assert buffer.metadata["counts"]["frames"] == len(table["rewards"]) + 4 * len(lengths)
        assert "_random_state" in " ".join(buffer.metadata["left_out"])
        assert buffer.metadata["source"]["files"][0]["name"] == f"{name}.hdf5"
    words = " ".join(result.stdout.split())
    assert f"out {len(lengths)} episodes, {len(known)} transitions" in words
    assert rlbuffers.validate(output).ok


def test_a_directory_is_its_files_in_natural_order(run, tmp_path):
    (tmp_path / "runs").mkdir()
    for number in (10, 2):
        steps = play(np.random.default_rng(number), number, env=number)
        save(tmp_path / "runs" / f"{number}.hdf5", [steps], 20)
    save(tmp_path / "runs" / "11.h5", [play(np.random.default_rng(0), 3)], 20)
    (tmp_path / "runs" / "notes.txt").write_text("no buffer")
    result = run("convert", "tianshou", tmp_path / "runs", "--buffer-dir", tmp_path / "b")
    assert result.exit_code == 0
    with rlbuffers.open(tmp_path / "b" / "tianshou" / "runs.hdf5") as buffer:
        assert len(buffer) == 15
        names = [part["files"][0]["name"] for part in buffer.metadata["source"]["parts"]]
        assert names == ["2.hdf5", "10.hdf5", "11.h5"]


def test_a_directory_without_buffers_is_refused(run, tmp_path):
    (tmp_path / "runs").mkdir()
    result = run("convert", "tianshou", tmp_path / "runs", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "runs: there is no .hdf5 or .h5 file in this directory" in " ".join(result.stderr.split())


@pytest.mark.parametrize("wrong", ["pickle", "cut", "nan", "columns"])
def test_wrong_files_get_one_line_and_leave_nothing(run, tmp_path, wrong):
    good = save(tmp_path / "good.hdf5", [play(np.random.default_rng(0), 30)], 40)
    path = save(tmp_path / "bad.hdf5", [play(np.random.default_rng(0), 30)], 40)
    if wrong == "pickle":
        path.write_bytes(b"\x80\x04}.")
    elif wrong == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    else:
        with h5py.File(path, "a") as file:
            if wrong == "nan":
                file["_meta/rew"][3] = np.nan
            else:
                del file["_meta/truncated"]
    result = run("convert", "tianshou", good, path, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "bad.hdf5" in result.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.hdf5", "good.hdf5"]


def test_out_and_in_again_through_the_command_line(run, tmp_path):
    first, out, again = tmp_path / "first.hdf5", tmp_path / "out.hdf5", tmp_path / "again.hdf5"
    assert run("convert", "tianshou", FIXTURES / "cartpole-wrapped.hdf5", "-o", first).exit_code == 0
    result = run("export", first, "--to", "tianshou", "-o", out)
    assert result.exit_code == 0
    assert "6 episodes, 100 transitions" in result.stdout
    assert run("convert", "tianshou", out, "-o", again).exit_code == 0
    with rlbuffers.open(first) as before, rlbuffers.open(again) as after:
        assert before.fingerprint == after.fingerprint
