from __future__ import annotations

import h5py
import numpy as np
import pytest
from endings import ENDS, buffer_of
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import MissingDependencyError, UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.sources.d3rlpy.versions import d3rlpy_source


def exported(path, new_path):
    output = new_path("h5")
    with rlbuffers.open(path) as buffer:
        return output, export(buffer, output, "d3rlpy")


def read(path):
    """Return the episodes by plain h5py, as d3rlpy's own loader goes through them."""
    episodes = []
    with h5py.File(path) as file:
        assert file["version"][()] == b"2.1"
        keys = [key.decode() for key in file["columns"][:]]
        assert keys == ["observations", "actions", "rewards", "terminated"]
        for number in range(int(file["num_episodes"][()])):
            episode = {}
            for key in keys:
                if f"{key}_{number}" in file:
                    episode[key] = file[f"{key}_{number}"][()]
                else:
                    parts = sorted(name for name in file if name.startswith(f"{key}_{number}_"))
                    episode[key] = [file[name][()] for name in parts]
            episodes.append(episode)
    return episodes


@given(
    ends=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(ENDS)), min_size=1, max_size=5),
    known=st.booleans(),
    stack=st.sampled_from([0, 2, 4]),
    dtype=st.sampled_from(["float32", "float64", "int8"]),
    actions=st.sampled_from(["float32", "float64", "int64"]),
)
def test_plain_h5py_finds_every_transition(new_path, ends, known, stack, dtype, actions):
    """Where the last observation is known d3rlpy has all transitions, T - 1 of T rows where it was cut."""
    lengths, kinds = zip(*ends, strict=True)
    path = buffer_of(new_path("memory"), lengths, kinds, known=known, stack=stack, dtype=dtype, actions=actions)
    output, report = exported(path, new_path)
    found = read(output)
    assert report.written.episodes == len(found) == len(ends)
    with rlbuffers.open(path) as buffer:
        for number, (length, kind) in enumerate(ends):
            rows, episode = buffer.episode(number), found[number]
            terminated = kind in ("terminal", "both")
            padded = known and not terminated
            assert episode["terminated"] == terminated
            observed = rows["observations"][: length + padded]
            np.testing.assert_array_equal(episode["observations"], observed[:, -1:] if stack else observed)
            assert episode["observations"].dtype == observed.dtype
            for name in ("actions", "rewards"):
                expected = rows[name].reshape(length, -1)
                np.testing.assert_array_equal(episode[name][:length], expected)
                assert episode[name].dtype == expected.dtype
                assert len(episode[name]) == length + padded
                assert not episode[name][length:].any()


@given(
    ends=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(ENDS)), min_size=1, max_size=5),
    known=st.booleans(),
    dtype=st.sampled_from(["float32", "float64", "uint8"]),
    actions=st.sampled_from(["float32", "int64"]),
)
def test_a_buffer_comes_back_the_same(new_path, ends, known, dtype, actions):
    """Or what is left out says what does not."""
    lengths, kinds = zip(*ends, strict=True)
    path = buffer_of(new_path("memory"), lengths, kinds, known=known, dtype=dtype, actions=actions)
    output, report = exported(path, new_path)
    rlbuffers.convert(d3rlpy_source(output), again := new_path("memory"))
    counts = {kind: kinds.count(kind) for kind in ENDS}
    said = " ".join(report.left_out)
    assert (f"the timeouts of {counts['both']} terminal steps" in said) == bool(counts["both"])
    assert (f"{counts['neither']} episodes were cut with neither" in said) == bool(counts["neither"])
    terminated = counts["terminal"] + counts["both"]
    assert (f"the last observation of {terminated} terminated" in said) == bool(terminated and known)
    with rlbuffers.open(path) as first, rlbuffers.open(again) as second:
        before, after = first[:], second[:]
        last = np.cumsum(lengths) - 1
        before["timeouts"][last] = [kind in ("timeout", "neither") for kind in kinds]
        before["next_observations"][last[[kind in ("terminal", "both") for kind in kinds]]] = 0
        for name, rows in before.items():
            np.testing.assert_array_equal(after[name], rows, err_msg=name)
            assert after[name].dtype == rows.dtype
        assert second.arrays["episodes/lengths"].all().tolist() == list(lengths)
        left = [row for row, kind in zip(last, kinds, strict=True) if not known or kind in ("terminal", "both")]
        assert second.rows_without_next.tolist() == left


@given(ends=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=5))
def test_a_file_comes_back_the_same(new_path, ends):
    """File, buffer, file: every data set, byte for byte."""
    rng = np.random.default_rng(0)
    first = new_path("h5")
    with h5py.File(first, "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"] = len(ends)
        file["version"] = "2.1"
        for number, (count, terminated) in enumerate(ends):
            file[f"observations_{number}_0"] = rng.normal(size=(count, 2))
            file[f"observations_{number}_1"] = rng.integers(0, 255, (count, 1, 2, 2), np.uint8)
            file[f"actions_{number}"] = rng.normal(size=(count, 3)).astype(np.float32)
            file[f"rewards_{number}"] = rng.normal(size=(count, 1)).astype(np.float32)
            file[f"terminated_{number}"] = terminated
    rlbuffers.convert(d3rlpy_source(first), between := new_path("memory"))
    second, _ = exported(between, new_path)
    with h5py.File(first) as given_file, h5py.File(second) as made:
        assert set(made) == set(given_file) | {"rlbuffers_final_rows", "rlbuffers_observation_names"}
        for name, rows in given_file.items():
            np.testing.assert_array_equal(made[name][()], rows[()])
            assert made[name].dtype == rows.dtype


def test_episodes_end_at_every_terminal_and_timeout(tmp_path, new_path):
    """As in AntMaze, where play goes on after a terminal; d3rlpy would bootstrap there otherwise."""
    made = make(Recipe("episodes", (6, 3)))
    made.pieces[0].columns["terminals"][1] = True
    made.pieces[0].columns["timeouts"][3] = True
    output, report = exported(write(tmp_path / "x.hdf5", made), new_path)
    episodes = read(output)
    assert [len(episode["rewards"]) for episode in episodes] == [2, 3, 2, 3]
    assert [bool(episode["terminated"]) for episode in episodes] == [True, False, True, True]
    np.testing.assert_array_equal(episodes[1]["observations"], made.table["observations"][2:5])
    assert report.written.transitions == 9
    assert any("play goes on after 2 terminals or timeouts" in text for text in report.left_out)


def test_what_has_no_place_is_named(tmp_path, new_path):
    path = buffer_of(tmp_path / "x.hdf5", (3,), ("terminal",), facts=["seeds"], columns=["speed"])
    _, report = exported(path, new_path)
    assert "columns: speed" in report.left_out
    assert "what each episode has once: seeds" in report.left_out
    made = make(
        Recipe("episodes", (3,), observations=(("observations/b", "float32", (2,)), ("observations/a", "uint8", ())))
    )
    output, report = exported(write(tmp_path / "y.hdf5", made), new_path)
    assert any("a tuple in the order observations/a, observations/b" in text for text in report.left_out)
    assert any("single numbers: they are vectors of one" in text for text in report.left_out)
    rlbuffers.convert(d3rlpy_source(output), again := new_path("memory"))
    with rlbuffers.open(again) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations/b"], made.table["observations/b"])


def write_one(path, actions, *, terminals=True, start=0):
    space = {"type": "discrete", "n": 3, "start": start} if actions.dtype.kind == "i" and start else None
    columns = [
        ColumnSpec("observations", np.float32, (2,)),
        ColumnSpec("actions", actions.dtype, actions.shape[1:], space),
        ColumnSpec("rewards", np.float32),
        *([ColumnSpec("terminals", np.bool_)] if terminals else []),
    ]
    count = len(actions)
    rows = {"actions": actions, "rewards": np.zeros(count, np.float32)}
    if terminals:
        rows["terminals"] = np.arange(count) == count - 1
    with rlbuffers.create(path, BufferSpec("episodes", columns)) as writer:
        writer.append_episode(Episode(rows, {"observations": np.zeros((count + 1, 2), np.float32)}))
    return path


@pytest.mark.parametrize(
    ("actions", "terminals", "message"),
    [
        (np.zeros((3, 2, 2), np.float32), True, r"d3rlpy's actions are vectors; here they have the shape \(2, 2\)"),
        (np.zeros((3, 2), np.int64), True, "d3rlpy knows one discrete action a step; here there are 2"),
        (np.zeros(3, np.int64), False, "has no column 'terminals'"),
    ],
)
def test_what_d3rlpy_cannot_hold(tmp_path, actions, terminals, message):
    path = write_one(tmp_path / "x.hdf5", actions, terminals=terminals)
    with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError, match=message):
        export(buffer, tmp_path / "y.h5", "d3rlpy")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.hdf5"]


def test_actions_that_begin_elsewhere_are_named(tmp_path, new_path):
    _, report = exported(write_one(tmp_path / "x.hdf5", np.array([2, 3, 4]), start=2), new_path)
    assert "that actions begin at 2: d3rlpy counts them from 0" in report.left_out


def test_independent_transitions_are_refused(tmp_path):
    with (
        rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("transitions", (4,))))) as buffer,
        pytest.raises(UnsupportedError, match="d3rlpy holds episodes; this buffer holds independent transitions"),
    ):
        export(buffer, tmp_path / "y.h5", "d3rlpy")


@pytest.mark.parametrize(("name", "package"), [("to_d3rlpy", "d3rlpy"), ("to_torchrl", "torchrl")])
def test_without_the_library_the_adapter_says_what_to_install(tmp_path, monkeypatch, name, package):
    for module in ("d3rlpy", "d3rlpy.dataset", "torchrl", "torchrl.data"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with (
        rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))) as buffer,
        pytest.raises(MissingDependencyError, match=f"pip install {package}"),
    ):
        getattr(buffer, name)()


@pytest.mark.parametrize(("values", "told"), [((0.0, 1.0), True), ((0.0, 0.5), False)])
def test_continuous_actions_that_look_discrete_are_told(new_path, values, told):
    """d3rlpy takes whole numbers for discrete actions whatever their dtype."""
    path = new_path("memory")
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (1,)),
            ColumnSpec("actions", np.float32, (2,)),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    rows = {
        "actions": np.array([values] * 3, np.float32),
        "rewards": np.zeros(3, np.float32),
        "terminals": np.arange(3) == 2,
    }
    with rlbuffers.create(path, spec) as writer:
        writer.append_episode(Episode(rows, {"observations": np.zeros((4, 1), np.float32)}))
    _, report = exported(path, new_path)
    assert any("action_space=ActionSpace.CONTINUOUS, action_size=2" in text for text in report.left_out) == told


def test_rewards_of_half_precision_are_summed_in_single(new_path):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (1,)),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float16),
            ColumnSpec("terminals", np.bool_),
        ],
    )
    rows = {
        "actions": np.zeros(3, np.int64),
        "rewards": np.full(3, 49_984, np.float16),
        "terminals": np.arange(3) == 2,
    }
    path = new_path("memory")
    with rlbuffers.create(path, spec) as writer:
        writer.append_episode(Episode(rows, {"observations": np.zeros((4, 1), np.float32)}))
    output, report = exported(path, new_path)
    assert np.sum(read(output)[0]["rewards"]) == 3 * 49_984
    assert any("rewards are float16" in text for text in report.left_out)
