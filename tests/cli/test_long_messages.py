"""No message is longer than a screen, however many names a file holds."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

import rlbuffers
from rlbuffers.exports import EXPORTS
from rlbuffers.listing import SCREEN

COUNT = 5_000
NAMES = [f"some_rather_long_name_of_a_column_{number:04d}" for number in range(COUNT)]
ROWS = {
    "observations": np.arange(12, dtype=np.float32).reshape(6, 2),
    "actions": np.zeros((6, 1), np.float32),
    "rewards": np.zeros(6, np.float32),
    "terminals": np.arange(6) == 5,
}


def check(result, *, exit_codes=(0, 1, 2)):
    """Every line of what is said fits a screen, and so do all lines of an error together."""
    assert result.exit_code in exit_codes, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr) < 2 * SCREEN
    assert all(len(line) < SCREEN + 100 for line in result.output.splitlines())
    assert len(result.output) < 8 * SCREEN


def npz(path, arrays):
    np.savez(path, **arrays)
    return path


def hdf5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return path


_SUFFIXES = {"d3rlpy": ".h5", "npz": ".npz", "ogbench": ".npz"} | dict.fromkeys(
    ("d4rl", "robomimic", "tianshou"), ".hdf5"
)
WIDE = dict.fromkeys(NAMES, np.zeros(6, np.float32))


@pytest.mark.parametrize("command", ["npz", "exorl", "imitation", "ogbench", "stable-baselines"])
def test_archives_of_other_arrays(run, tmp_path, command):
    result = run("convert", command, npz(tmp_path / "wide.npz", WIDE), "-o", tmp_path / "out.hdf5")
    assert result.exit_code == 1
    check(result)


@pytest.mark.parametrize(
    ("command", "option"), [("d4rl", ["--file"]), ("tianshou", []), ("d3rlpy", []), ("robomimic", [])]
)
def test_files_of_other_datasets(run, tmp_path, command, option):
    path = hdf5(tmp_path / "wide.hdf5", WIDE)
    result = run("convert", command, *option, path, "-o", tmp_path / "out.hdf5")
    assert result.exit_code in (1, 2)
    check(result)


@pytest.mark.parametrize("command", ["npz", "d4rl"])
def test_names_that_are_asked_for_get_the_nearest_ones(run, tmp_path, command):
    few = {**ROWS, **{name: WIDE[name] for name in NAMES}}
    path = npz(tmp_path / "a.npz", few) if command == "npz" else hdf5(tmp_path / "a.hdf5", few)
    option = [path] if command == "npz" else ["--file", path]
    asked = NAMES[17].replace("column", "colum")
    result = run("convert", command, *option, "--map", f"{asked}=rewards", "-o", tmp_path / "out.hdf5")
    assert result.exit_code == 2
    assert f"did you mean {NAMES[17]!r}" in result.stderr
    assert f"... and {COUNT - 12 + 4:,} more" in result.stderr
    check(result)


def test_rows_of_other_fields(run, tmp_path):
    line = {"type": "SampleBatch", **{name: [0.0, 0.0] for name in NAMES}}
    (tmp_path / "wide.json").write_text(json.dumps(line) + "\n")
    result = run("convert", "rllib", tmp_path / "wide.json", "-o", tmp_path / "out.hdf5")
    assert result.exit_code == 1
    check(result)


def test_tables_of_other_columns(run, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({name: [0.0] for name in NAMES}), tmp_path / "wide.parquet")
    result = run("convert", "rllib", tmp_path / "wide.parquet", "-o", tmp_path / "out.hdf5")
    assert result.exit_code == 1
    check(result)


def test_demos_without_actions_and_masks(run, tmp_path):
    with h5py.File(tmp_path / "demos.hdf5", "w") as file:
        for number in range(200):
            group = file.create_group(f"data/demo_{number}")
            group.attrs["num_samples"] = 7
            group["actions"] = np.zeros((3, 2))
            group["obs/a"] = np.zeros((3, 2))
        demo = file["data/demo_0"]
        for name in NAMES[:1000]:
            file[f"mask/{name}"] = np.array([b"demo_0"])
            demo[f"extra/{name}"] = np.zeros(3)
    check(run("convert", "robomimic", tmp_path / "demos.hdf5", "-o", tmp_path / "out.hdf5"))
    result = run("convert", "robomimic", tmp_path / "demos.hdf5", "--split", NAMES[3][1:], "-o", tmp_path / "b.hdf5")
    assert result.exit_code == 2
    assert f"did you mean {NAMES[3]!r}" in result.stderr
    check(result)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A buffer of 500 columns beside its own: that many arrays take a while to write."""
    spec = rlbuffers.BufferSpec(
        "episodes",
        [
            *(rlbuffers.ColumnSpec(name, rows.dtype, rows.shape[1:]) for name, rows in ROWS.items()),
            *(rlbuffers.ColumnSpec(name, np.float32) for name in NAMES[:250]),
            *(rlbuffers.ColumnSpec(f"infos/{name}", np.float32) for name in NAMES[:250]),
        ],
        episode_columns=[rlbuffers.ColumnSpec(name, np.int64) for name in NAMES[:100]],
    )
    path = tmp_path_factory.mktemp("wide") / "wide.zarr.zip"
    columns = {name: ROWS[name] for name in ROWS if name != "observations"}
    others = [name for name in spec.columns if name not in ROWS]
    bad = np.full(6, np.nan, np.float32)
    with rlbuffers.create(path, spec, {"warnings": ["w" * 50_000], "left_out": ["l" * 50_000] * 50}) as writer:
        writer.append_episode(
            rlbuffers.Episode(
                {**columns, **dict.fromkeys(others, bad)},
                {"observations": np.zeros((7, 2), np.float32)},
                dict.fromkeys(NAMES[:100], 0),
            )
        )
    return path


@pytest.mark.parametrize("name", [name for name in EXPORTS if name not in ("hdf5", "zarr")])
def test_exports_of_many_columns(run, tmp_path, monkeypatch, wide, name):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    output = "a/b-v0" if name == "minari" else tmp_path / "out"
    suffix = {
        "d3rlpy": ".h5",
        "d4rl": ".hdf5",
        "npz": ".npz",
        "tianshou": ".hdf5",
        "robomimic": ".hdf5",
        "ogbench": ".npz",
    }
    output = f"{output}{suffix.get(name, '')}"
    check(run("export", wide, "--to", name, "-o", output))


@pytest.mark.parametrize(
    "words",
    [
        ["validate"],
        ["filter", "-o", "out.hdf5", "--where", "some_rather_long_name > 0"],
        ["show", "--columns", "nothing_like_it"],
        ["normalize", "-o", "out.hdf5", "--epsilon", "-1"],
    ],
)
def test_commands_on_many_columns(run, tmp_path, monkeypatch, wide, words):
    monkeypatch.chdir(tmp_path)
    check(run(words[0], wide, *words[1:]))


def test_names_of_columns_from_python(wide):
    with rlbuffers.open(wide) as buffer:
        with pytest.raises(rlbuffers.errors.SpecError, match=f"did you mean '{NAMES[5]}'") as refusal:
            buffer.spec.batch_column(NAMES[5][1:])
        assert len(str(refusal.value)) < SCREEN
        assert len("\n".join(buffer.warnings[1:])) < SCREEN
    with pytest.raises(rlbuffers.errors.SpecError, match=r"missing .* and 4,988 more") as refusal:
        rlbuffers.Episode(dict.fromkeys(ROWS, np.zeros(1)), {}).rows_of(
            rlbuffers.BufferSpec(
                "episodes",
                [
                    *(rlbuffers.ColumnSpec(name, np.float32) for name in ROWS if name != "terminals"),
                    *(rlbuffers.ColumnSpec(name, np.float32) for name in NAMES),
                ],
            )
        )
    assert len(str(refusal.value)) < SCREEN
