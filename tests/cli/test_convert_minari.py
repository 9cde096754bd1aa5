"""`rlbuffers convert minari` and `rlbuffers export --to minari`."""

from __future__ import annotations

import shutil
import sys

import pytest
from minari_files import CHOICE, episode, facts, write_arrow, write_hdf5
from reference import Recipe, make, write
from truth import DATA, assert_is_truth, load_truth

import rlbuffers

FIXTURES = DATA / "minari" / "fixture"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Minari's root, in which the fixtures have their ids."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    shutil.copytree(FIXTURES, tmp_path / "root" / "fixture", ignore=shutil.ignore_patterns("*.npz"))
    return tmp_path / "root"


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "root" not in path.parts)


@pytest.mark.parametrize("name", ["cartpole-hdf5-v0", "cartpole-arrow-v0", "pendulum-timeouts-v0"])
@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_dataset_by_its_id(run, tmp_path, name, store):
    result = run("convert", "minari", f"fixture/{name}", "--format", store, "--buffer-dir", tmp_path / "b")
    assert (result.exit_code, result.stderr) == (0, "")
    path = tmp_path / "b" / "minari" / "fixture" / f"{name}.{store}"
    truth = load_truth(FIXTURES / name)
    assert_is_truth(path, truth)
    words = " ".join(result.stdout.split())
    counts = f"{len(truth['episode_lengths'])} episodes, {len(truth['rewards'])} transitions"
    for side in ("in", "out"):
        assert f"{side} {counts}, rewards sum to {truth['rewards'].sum():,.10g}" in words


def test_a_dataset_by_its_folder(run, tmp_path):
    for words in (FIXTURES / "cartpole-hdf5-v0", FIXTURES / "cartpole-hdf5-v0" / "data"):
        result = run("convert", "minari", words, "--buffer-dir", tmp_path, "--overwrite")
        assert result.exit_code == 0
        with rlbuffers.open(tmp_path / "minari" / "cartpole-hdf5-v0.hdf5") as buffer:
            assert len(buffer) == 116


def test_several_datasets_become_one_buffer(run, tmp_path):
    names = ("fixture/cartpole-hdf5-v0", "fixture/cartpole-arrow-v0")
    assert run("convert", "minari", *names, "-o", tmp_path / "x.zarr").exit_code == 0
    with rlbuffers.open(tmp_path / "x.zarr") as buffer:
        assert [part["dataset_id"] for part in buffer.metadata["source"]["parts"]] == list(names)
        assert [part["transitions"] for part in buffer.metadata["source"]["parts"]] == [116, 197]
        assert buffer.metadata["environment"]["id"] == "CartPole-v1"


def test_there_and_back(run, tmp_path, root):
    assert run("convert", "minari", "fixture/pendulum-timeouts-v0", "-o", tmp_path / "x.hdf5").exit_code == 0
    result = run("export", tmp_path / "x.hdf5", "--to", "minari", "-o", "pendulum/again-v1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "left out" not in result.stdout
    assert run("convert", "minari", "pendulum/again-v1", "-o", tmp_path / "y.hdf5").exit_code == 0
    with rlbuffers.open(tmp_path / "x.hdf5") as first, rlbuffers.open(tmp_path / "y.hdf5") as second:
        assert first.fingerprint == second.fingerprint
    before = sorted(root.rglob("*"))
    result = run("export", tmp_path / "x.hdf5", "--to", "minari", "-o", "pendulum/again-v1")
    assert result.exit_code == 1
    assert "exists already; pass --overwrite" in result.stderr
    assert sorted(root.rglob("*")) == before
    assert run("export", tmp_path / "x.hdf5", "--to", "minari", "-o", "pendulum/again-v1", "--overwrite").exit_code == 0


def test_what_is_left_out_is_told(run, tmp_path):
    arrays = episode(2, **{"infos/x": [b"\xff\xd8\xff1", b"\xff\xd8\xff2", b"\xff\xd8\xff3"]})
    folder = write_hdf5(tmp_path / "d", [arrays], facts(total_steps=5), [{"options/x": 1}])
    result = run("convert", "minari", folder, "-o", tmp_path / "x.hdf5")
    words = " ".join(result.stdout.split())
    assert "left out 1 'infos/x': it holds image files, of which no space states the shape" in words
    assert "left out 2 the options that episodes were reset with" in words
    assert "The metadata say 5 steps, there are 2." in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["x", "a/x-v0", "out.hdf5", "/tmp/x-v0"])
def test_an_export_needs_an_id(run, tmp_path, name):
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))
    result = run("export", tmp_path / "x.hdf5", "--to", "minari", "-o", name)
    assert result.exit_code == 2
    assert result.stderr == f"Error: {name}: expected the id of a Minari dataset, such as cartpole/expert-v0 (-o)\n"


def test_an_export_without_a_name(run, tmp_path):
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))
    result = run("export", tmp_path / "x.hdf5", "--to", "minari")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "expected the id of a Minari dataset" in result.stderr


def test_transitions_are_refused(run, tmp_path, root):
    write(tmp_path / "x.hdf5", make(Recipe("transitions", (3,))))
    before = sorted(root.rglob("*"))
    result = run("export", tmp_path / "x.hdf5", "--to", "minari", "-o", "some/x-v0")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Minari holds episodes; this buffer holds independent transitions" in result.stderr
    assert sorted(root.rglob("*")) == before


def test_an_id_that_is_not_there_needs_minari(run, tmp_path, monkeypatch, root):
    monkeypatch.setitem(sys.modules, "minari", None)
    result = run("convert", "minari", "D4RL/pen/human-v2", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: Downloading D4RL/pen/human-v2, which is not in {root}, needs minari. "
        "Install it with: pip install minari\n"
    )
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("make_input", "message"),
    [
        (
            lambda folder: folder / "nothing",
            "expected the folder of a Minari dataset (with data/metadata.json), or an id",
        ),
        (lambda folder: folder.mkdir() or folder, "expected the folder of a Minari dataset"),
        (lambda folder: write_hdf5(folder, []), "expected episodes, found none"),
        (lambda folder: write_hdf5(folder, [episode(2, rewards=None)]), "episode 0: expected rewards; found"),
        (
            lambda folder: write_arrow(
                folder,
                [episode(2, **{"actions": None, "actions/a": episode(2)["actions"]})],
                facts(action_space={"type": "Dict", "subspaces": {"a": CHOICE}}),
            ),
            "the actions are several (actions/a); a buffer holds one array of actions",
        ),
        (
            lambda folder: write_hdf5(folder, [episode(2)], facts(action_space={"type": "Set"})),
            "type 'Set', which is not",
        ),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(run, tmp_path, make_input, message):
    folder = make_input(tmp_path / "d")
    before = files_in(tmp_path)
    result = run("convert", "minari", folder, "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"Error: {folder}")
    assert message in result.stderr
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["cartpole-hdf5-v0/data/main_data.hdf5", "cartpole-arrow-v0/data/2/part-0.arrow"])
def test_files_cut_short_get_one_line_and_leave_nothing(run, tmp_path, root, name):
    path = root / "fixture" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = run("convert", "minari", f"fixture/{name.split('/')[0]}", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr
    assert files_in(tmp_path) == []


def test_a_file_of_another_format(run, tmp_path, root):
    (root / "fixture" / "cartpole-hdf5-v0" / "data" / "main_data.hdf5").write_bytes(b"no HDF5")
    result = run("convert", "minari", "fixture/cartpole-hdf5-v0", "-o", tmp_path / "x.hdf5")
    assert result.exit_code == 1
    assert "main_data.hdf5: expected an HDF5 file" in result.stderr
