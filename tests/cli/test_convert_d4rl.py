"""`rlbuffers convert d4rl`."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading

import h5py
import numpy as np
import pytest
from truth import DATA, assert_is_truth, load_truth

import rlbuffers
from rlbuffers.sources.d4rl.datasets import find_dataset

MINI = DATA / "d4rl" / "mini"
FILES = sorted(MINI.rglob("*.hdf5"))
FILE = MINI / "hopper_medium-v2.hdf5"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that is served in place of D4RL's."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr("rlbuffers.sources.d4rl.datasets._BASE_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


@pytest.fixture
def convert(run, tmp_path, monkeypatch):
    """A function that converts with all folders in `tmp_path`."""
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "theirs"))
    places = ["--dataset-dir", tmp_path / "ours", "--buffer-dir", tmp_path / "buffers", "--workers", 0]
    return lambda *words: run("convert", "d4rl", *words, *places)


def put(path, source=FILE):
    path.parent.mkdir(parents=True, exist_ok=True)
    return shutil.copy(source, path)


def names_in(folder):
    return sorted(str(entry.relative_to(folder)) for entry in folder.rglob("*") if entry.is_file())


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem[:20]}")
def test_every_fixture_becomes_its_truth(convert, tmp_path, path, store):
    output = tmp_path / f"out.{store}"
    result = convert("--file", path, "-o", output)
    assert result.exit_code == 0, result.output
    truth = load_truth(path)
    resets = truth.get("unmarked_resets", np.empty(0, np.int64))
    assert_is_truth(output, truth, ignore=("episode_lengths",))
    with rlbuffers.open(output) as buffer:
        ends = np.union1d(np.cumsum(truth["episode_lengths"]) - 1, resets)
        np.testing.assert_array_equal(np.cumsum(buffer.arrays["episodes/lengths"].all()) - 1, ends)
        rows, extras = buffer[:], {name: buffer.extra(name) for name in buffer.spec.extras}
        scalars = buffer.metadata["scalars"]
    with h5py.File(path) as file:
        for name, item in {**{f"infos/{key}": item for key, item in _group(file, "infos").items()}}.items():
            assert rows[name].dtype == item.dtype
            np.testing.assert_array_equal(rows[name], item[:])
        found = []
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert {name for name in found if name.startswith("metadata/")} == {*extras, *scalars}
        for name, rows in extras.items():
            np.testing.assert_array_equal(rows, file[name][:])


def _group(file, name):
    return file[name] if isinstance(file.get(name), h5py.Group) else {}


def test_a_dataset_is_found_in_its_own_folder_then_in_d4rls(convert, tmp_path):
    theirs = put(tmp_path / "theirs" / "hopper_medium-v2.hdf5")
    assert convert("hopper-medium-v2").exit_code == 0
    output = tmp_path / "buffers" / "d4rl" / "hopper-medium-v2.hdf5"
    with rlbuffers.open(output) as buffer:
        assert buffer.metadata["source"]["dataset"] == "hopper-medium-v2"
        assert buffer.metadata["environment"]["reference_scores"] == {"min": -20.272305, "max": 3234.3}
        assert len(buffer) == 230
    put(tmp_path / "ours" / "gym_mujoco_v2" / "hopper_medium-v2.hdf5", MINI / "halfcheetah_medium-v2.hdf5")
    assert convert("hopper-medium-v2", "--overwrite").exit_code == 0
    with rlbuffers.open(output) as buffer:
        assert len(buffer) == 337
    assert theirs.exists()


def test_d4rls_own_folder_is_known_without_its_variable(convert, tmp_path, monkeypatch):
    monkeypatch.delenv("D4RL_DATASET_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / ".d4rl" / "datasets" / "hopper_medium-v2.hdf5")
    assert convert("hopper-medium-v2", "--view", "qlearning", "--format", "zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "buffers" / "d4rl" / "hopper-medium-v2-qlearning.zarr") as buffer:
        assert buffer.spec.layout == "transitions"
        assert len(buffer) == 227


def test_a_download_without_a_known_hash_is_taken_and_its_size_told(convert, tmp_path, site):
    put(site / "gym_mujoco_v1" / "hopper_medium-v1.hdf5", MINI / "hopper_medium_replay-v1.hdf5")
    result = convert("hopper-medium-v1")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stderr.split())
    assert "has 98,366 bytes; TensorFlow Datasets recorded 96,497,748 for hopper-medium-v1" in words
    assert names_in(tmp_path / "ours") == ["gym_mujoco_v1/hopper_medium-v1.hdf5"]


def test_a_download_with_another_hash_is_refused(convert, tmp_path, site):
    put(site / "gym_mujoco_v2" / "hopper_medium-v2.hdf5")
    result = convert("hopper-medium-v2")
    assert result.exit_code == 1
    assert "expected 152,756,557 bytes, got 160,445; what arrived was removed" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert names_in(tmp_path) == ["site/gym_mujoco_v2/hopper_medium-v2.hdf5"]


def test_no_network_is_one_line(convert, tmp_path, monkeypatch, closed_port):
    monkeypatch.setattr("rlbuffers.sources.d4rl.datasets._BASE_URL", f"http://127.0.0.1:{closed_port}")
    result = convert("pen-human-v1")
    assert result.exit_code == 1
    assert f"put it at {tmp_path}/ours/hand_dapg_v1/pen-human-v1.hdf5" in result.stderr
    assert names_in(tmp_path) == []


def test_files_become_one_buffer_and_the_id_says_what_they_are(convert, tmp_path):
    first, second = put(tmp_path / "a.hdf5"), put(tmp_path / "b.hdf5")
    output = tmp_path / "all.hdf5"
    assert convert("hopper-medium-v2", "--file", first, "--file", second, "-o", output).exit_code == 0
    with rlbuffers.open(output) as buffer:
        assert buffer.num_episodes == 12
        assert buffer.metadata["environment"]["id"] == "Hopper-v2"
        assert [part["first_row"] for part in buffer.metadata["source"]["parts"]] == [0, 230]
        np.testing.assert_array_equal(
            buffer.extra("part0/metadata/policy/fc0/bias"), buffer.extra("part1/metadata/policy/fc0/bias")
        )


def test_a_directory_stands_for_its_files(convert, tmp_path):
    put(tmp_path / "in" / "hopper_medium-v2.hdf5")
    put(tmp_path / "in" / "again.hdf5")
    assert convert("hopper-medium-v2", "--file", tmp_path / "in", "-o", tmp_path / "all.zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "all.zarr") as buffer:
        parts = buffer.metadata["source"]["parts"]
        assert [part["files"][0]["name"] for part in parts] == ["again.hdf5", "hopper_medium-v2.hdf5"]


def test_a_file_of_another_name_has_no_environment(convert, tmp_path):
    put(tmp_path / "mine.hdf5")
    assert convert("--file", tmp_path / "mine.hdf5").exit_code == 0
    with rlbuffers.open(tmp_path / "buffers" / "d4rl" / "mine.hdf5") as buffer:
        assert buffer.metadata["environment"] == {}
        assert buffer.metadata["license"] == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Error: name a dataset of D4RL, such as halfcheetah-medium-v2, or files by --file"),
        (["halfcheeta-medium-v2"], "Error: 'halfcheeta-medium-v2' is not one of the 181 datasets of D4RL; did you"),
        (["hopper-medium-v2", "--view", "x"], "Error: Invalid value for '--view': 'x' is not one of"),
    ],
)
def test_arguments_that_cannot_be_obeyed(convert, tmp_path, words, message):
    result = convert(*words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(message)
    assert names_in(tmp_path) == []


def test_an_unknown_file_without_timeouts_has_no_qlearning_view(convert, tmp_path):
    put(tmp_path / "mine.hdf5", MINI / "before-timeouts" / "hopper_medium.hdf5")
    result = convert("--file", tmp_path / "mine.hdf5", "--view", "qlearning")
    assert result.exit_code == 2
    assert "mine.hdf5: has no timeouts" in result.stderr
    assert convert("hopper-medium-v0", "--file", tmp_path / "mine.hdf5", "--view", "qlearning").exit_code == 0


def broken(name):
    def change(file):
        rows = file[name][:]
        rows[1] = np.nan
        del file[name]
        file[name] = rows

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("rewards"), "expected arrays rewards"),
        (broken("rewards"), "expected finite rewards, found nan in row 1"),
        (lambda file: (file.pop("actions"), file.create_dataset("actions", data=np.zeros((3, 3)))), "found 3 rows"),
        (None, "expected an HDF5 file"),
        (b"cut", "damaged or cut short"),
        ("missing", "there is no such file"),
    ],
)
def test_wrong_files_get_one_line_and_leave_nothing(convert, tmp_path, change, message):
    path = tmp_path / "x.hdf5"
    if change is None:
        path.write_text("no HDF5")
    elif change == b"cut":
        path.write_bytes(FILE.read_bytes()[:100_000])
    elif change != "missing":
        with h5py.File(put(path), "a") as file:
            change(file)
    result = convert("--file", path)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{path}: {message}" in result.stderr or message in result.stderr
    assert names_in(tmp_path) == ([] if change == "missing" else ["x.hdf5"])


def test_an_export_is_read_again(run, convert, tmp_path):
    buffer, back, again = tmp_path / "b.zarr", tmp_path / "back.hdf5", tmp_path / "again.hdf5"
    assert convert("hopper-medium-v2", "--file", FILE, "-o", buffer).exit_code == 0
    result = run("export", buffer, "--to", "d4rl", "-o", back)
    assert result.exit_code == 0, result.output
    assert convert("hopper-medium-v2", "--file", back, "-o", again).exit_code == 0
    with rlbuffers.open(buffer) as first, rlbuffers.open(again) as second:
        assert first.fingerprint == second.fingerprint
    assert find_dataset("hopper-medium-v2").file_name == FILE.name


def test_other_names_are_understood_or_said_with_map(run, tmp_path):
    arrays = {"obs": np.zeros((4, 2)), "act": np.zeros(4), "my_r": np.arange(4.0), "done": np.arange(4) == 3}
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    for view in ("episodes", "qlearning"):
        words = ["d4rl", "--file", tmp_path / "x.hdf5", "--view", view, "-o", tmp_path / f"{view}.hdf5"]
        assert run("convert", *words).exit_code == 1
        result = run("convert", *words, "--map", "my_r=rewards")
        if view == "qlearning":  # D4RL counts steps where no time limit is told
            assert "name the dataset" in result.stderr
            continue
        assert result.exit_code == 0
        assert "The file has only 'done'" in result.stderr
        with rlbuffers.open(tmp_path / f"{view}.hdf5") as buffer:
            assert buffer[:]["terminals"].tolist() == [False, False, False, True]
            assert buffer[:]["rewards"].tolist() == [0, 1, 2, 3]
