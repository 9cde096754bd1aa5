from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, recipes, write
from truth import DATA

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.sources.d4rl.datasets import dataset_of_file
from rlbuffers.sources.d4rl.hdf5 import D4RLSource

MINI = DATA / "d4rl" / "mini"


def contents(path):
    """Read every dataset as h5py gives it."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def exported(arrays, new_path, dataset=None):
    """Write arrays into a file, make a buffer of it and a file of that; return the report and the contents."""
    path, target, output = new_path("hdf5"), new_path("memory"), new_path("hdf5")
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    rlbuffers.convert(D4RLSource(path, dataset), target)
    with rlbuffers.open(target, cache=0) as buffer:
        return export(buffer, output, "d4rl"), contents(output)


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, rows in expected.items():
        np.testing.assert_array_equal(found[name], rows, err_msg=name)
        assert np.asarray(found[name]).dtype == np.asarray(rows).dtype, name


@given(recipe=recipes())
def test_h5py_reads_every_column(new_path, recipe):
    made = make(recipe)
    output = new_path("hdf5")
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        report = export(buffer, output, "d4rl")
        expected = buffer[:]
    assert_same_rows(contents(output), expected)
    assert (report.read.transitions, report.written.transitions) == (len(made), len(made))
    if made.spec.layout == "transitions":
        assert report.left_out[0].startswith("that rows are independent")


@pytest.mark.parametrize("path", sorted(MINI.rglob("*.hdf5")), ids=lambda path: path.stem[:20])
@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_a_published_file_comes_back_the_same(tmp_path, path, store):
    """But for flags, which become bool, rewards of shape (N, 1), and timeouts that were rebuilt."""
    target, output = tmp_path / f"b.{store}", tmp_path / "out.hdf5"
    rlbuffers.convert(D4RLSource(path, dataset_of_file(path.name)), target)
    with rlbuffers.open(target, cache=1 << 20) as buffer:
        report = export(buffer, output, "d4rl")
        timeouts = buffer[:]["timeouts"]
    expected = contents(path)
    for flag in ("terminals", "timeouts"):
        expected[flag] = expected[flag] != 0 if flag in expected else timeouts
    expected["rewards"] = expected["rewards"].reshape(-1)
    assert_same(contents(output), expected)
    lost = ["where 1 episodes end"] if path.stem == "hopper_full_replay-v1" else []
    lost += [] if "next_observations" in expected else ["next_observations: the last one"]
    lost += ["that play goes on after 29 terminals"] if path.stem.startswith("Ant_maze") else []
    assert [text[: len(start)] for text, start in zip(report.left_out, lost, strict=True)] == lost


KINDS = {"terminal": (True, False), "timeout": (False, True), "both": (True, True), "neither": (False, False)}


@st.composite
def d4rl_files(draw):
    """Draw the arrays of a file: every kind of end, episodes of one step, dict observations, any dtype."""
    lengths = draw(st.lists(st.sampled_from([1, 1, 2, 5, 40]), min_size=1, max_size=6))
    kinds = [draw(st.sampled_from(["terminal", "timeout", "both"])) for _ in lengths[1:]]
    kinds.append(draw(st.sampled_from(sorted(KINDS))))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    count, last = sum(lengths), np.cumsum(lengths) - 1
    names = draw(st.sampled_from([["observations"], ["observations/image", "observations/position"]]))
    arrays = {"rewards": rng.normal(size=count).astype(draw(st.sampled_from(["float32", "float64"])))}
    arrays["actions"] = draw(st.sampled_from([rng.integers(0, 4, count), rng.normal(size=(count, 2))]))
    for flag, place in (("terminals", 0), ("timeouts", 1)):
        arrays[flag] = np.zeros(count, bool)
        arrays[flag][last] = [KINDS[kind][place] for kind in kinds]
    dtype = draw(st.sampled_from(["uint8", "float32", "float64"]))
    has_next = draw(st.booleans())
    for name in names:
        shape = (4, 5) if name.endswith("image") else (3,)
        arrays[name] = rng.integers(0, 256, (count, *shape)).astype(dtype)
        if has_next:
            following = np.roll(arrays[name], -1, axis=0)
            following[last] = rng.integers(0, 256, (len(last), *shape)).astype(dtype)
            arrays[f"next_{name}"] = following
    arrays["infos/step"] = np.arange(count, dtype=np.int16)
    arrays["metadata/policy/weight"] = rng.normal(size=(3, 2))
    arrays["metadata/algorithm"] = np.bytes_(b"SAC")
    arrays["metadata/iteration"] = np.int32(7)
    return arrays


@given(arrays=d4rl_files())
def test_any_file_comes_back_the_same(new_path, arrays):
    report, found = exported(arrays, new_path)
    assert_same(found, arrays)
    assert [text.split(":")[0] for text in report.left_out] == (
        [] if any(name.startswith("next_") for name in arrays) else ["next_observations"]
    )


def episode(length, *, terminal=False, timeout=False, known=True, start=0.0):
    ends = np.arange(length) == length - 1
    rows = {
        "actions": np.zeros(length, np.int64),
        "rewards": np.ones(length, np.float32),
        "terminals": ends & terminal,
        "timeouts": ends & timeout,
    }
    observations = {"observations": start + np.arange(length + known, dtype=np.float32)[:, None]}
    return rows, observations


SPEC = (
    ColumnSpec("observations", np.float32, (1,)),
    ColumnSpec("actions", np.int64),
    ColumnSpec("rewards", np.float32),
    ColumnSpec("terminals", np.bool_),
    ColumnSpec("timeouts", np.bool_),
)


def test_what_the_format_cannot_tell_is_listed(tmp_path):
    spec = BufferSpec("episodes", SPEC, episode_columns=[ColumnSpec("reset_seeds", np.int64)])
    with rlbuffers.create(tmp_path / "b.hdf5", spec) as writer:
        writer.append_episode(Episode(*episode(3, timeout=True, known=False, start=10.0), {"reset_seeds": 1}))
        writer.append_episode(Episode(*episode(2, start=20.0), {"reset_seeds": 2}, whole=False))
        writer.append_episode(Episode(*episode(2, terminal=True, start=30.0), {"reset_seeds": 3}))
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        report = export(buffer, tmp_path / "out.hdf5", "d4rl")
    found = contents(tmp_path / "out.hdf5")
    assert found["next_observations"].ravel().tolist() == [11, 12, 0, 21, 22, 31, 32]
    left_out = "\n".join(report.left_out)
    assert "what each episode has once: reset_seeds" in left_out
    assert "next_observations of 1 rows that end an episode are not known" in left_out
    assert "where 1 episodes end that were cut with neither terminal nor timeout" in left_out


@pytest.mark.parametrize("to", ["d4rl", "npz"])
def test_terminals_that_play_goes_on_from_are_named(tmp_path, to):
    """A reader that does not know that the data are AntMaze's would end an episode at each."""
    columns, observations = episode(6, timeout=True)
    columns["terminals"][[1, 2, 5]] = True
    with rlbuffers.create(tmp_path / "b.hdf5", BufferSpec("episodes", SPEC)) as writer:
        writer.append_episode(Episode(columns, observations))
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        left_out = " ".join(export(buffer, tmp_path / "out", to).left_out)
    assert "that play goes on after 2 terminals" in left_out


@pytest.mark.parametrize("to", ["d4rl", "npz"])
def test_that_rows_are_independent_is_named(tmp_path, new_path, to):
    path = write(new_path("memory"), make(Recipe("transitions", (5,), seed=1)))
    with rlbuffers.open(path) as buffer:
        left_out = export(buffer, tmp_path / "out", to).left_out
    assert [text for text in left_out if text.startswith("that rows are independent")]


def test_names_that_clash_and_arrays_that_look_like_columns_are_told(tmp_path):
    extras = [ColumnSpec("observations/mean", np.float64), ColumnSpec("table", np.float64)]
    facts = {"scalars": {"rewards": {"dtype": "int64", "value": 1}, "table/x": {"dtype": "int64", "value": 2}}}
    with rlbuffers.create(tmp_path / "b.hdf5", BufferSpec("episodes", SPEC, extras=extras), facts) as writer:
        writer.append_episode(Episode(*episode(3, terminal=True)))
        writer.append_extra("observations/mean", np.zeros(2))
        writer.append_extra("table", np.arange(3.0))
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        report = export(buffer, tmp_path / "out.hdf5", "d4rl")
    found = contents(tmp_path / "out.hdf5")
    assert found["table"].tolist() == [0.0, 1.0, 2.0]
    assert "observations/mean" not in found
    assert "what has the name of a column: observations/mean, rewards, table/x" in report.left_out
    assert "that table are no columns, although they have as many rows" in report.left_out


def test_texts_come_back_as_texts(new_path):
    arrays = {name: np.zeros((2, 2)) if name == "observations" else np.zeros(2) for name in ("observations", "actions")}
    arrays |= {"rewards": np.zeros(2), "terminals": np.zeros(2, bool), "metadata/note": "é"}
    _, found = exported(arrays, new_path)
    assert found["metadata/note"].decode() == "é"


def test_a_buffer_without_terminals_is_refused(tmp_path):
    spec = BufferSpec("episodes", [column for column in SPEC if column.name != "terminals"])
    rows, observations = episode(2, timeout=True)
    with rlbuffers.create(tmp_path / "b.hdf5", spec) as writer:
        writer.append_episode(
            Episode({name: values for name, values in rows.items() if name != "terminals"}, observations)
        )
    with (
        rlbuffers.open(tmp_path / "b.hdf5") as buffer,
        pytest.raises(UnsupportedError, match="has no column 'terminals'"),
    ):
        export(buffer, tmp_path / "out.hdf5", "d4rl")
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.hdf5"]


def test_many_chunks_and_a_last_one_that_is_not_full(new_path):
    count = 70_001
    rng = np.random.default_rng(0)
    arrays = {
        "observations": rng.normal(size=(count, 3)),
        "actions": rng.normal(size=(count, 1)),
        "rewards": rng.normal(size=count),
        "terminals": np.zeros(count, bool),
        "timeouts": np.arange(count) % 1000 == 999,
    }
    _, found = exported(arrays, new_path)
    assert_same(found, arrays)
