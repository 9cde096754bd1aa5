"""The fixture, and files written here with h5py alone as the format's description says."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import random_rows
from truth import DATA

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.d3rlpy.versions import d3rlpy_source

FIXTURE = DATA / "d3rlpy" / "cartpole-v2.h5"


def write_dump(path, episodes, version="2.1", **more):
    """Write episodes of arrays; a list of observations is a tuple of them."""
    with h5py.File(path, "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"] = len(episodes)
        file["version"] = version
        for number, episode in enumerate(episodes):
            for name, values in episode.items():
                if isinstance(values, list):
                    for place, part in enumerate(values):
                        file[f"{name}_{number}_{place}"] = part
                else:
                    file[f"{name}_{number}"] = values
        for name, values in more.items():
            file[name] = values
    return path


def an_episode(rng, count, *, terminated, actions="int64", rewards="float32", observations="float32"):
    width = 1 if actions.startswith("int") else 2
    return {
        "observations": random_rows(rng, observations, (count, 3)),
        "actions": random_rows(rng, actions, (count, width)),
        "rewards": random_rows(rng, rewards, (count, 1)),
        "terminated": terminated,
    }


def converted(path, new_path):
    rlbuffers.convert(d3rlpy_source(path), output := new_path("memory"))
    return rlbuffers.open(output)


def episodes_in(path):
    with h5py.File(path) as file:
        for number in range(int(file["num_episodes"][()])):
            yield {name: file[f"{name}_{number}"][()] for name in ("observations", "actions", "rewards", "terminated")}


def test_the_fixture_is_what_h5py_reads(new_path):
    with converted(FIXTURE, new_path) as buffer:
        expected = list(episodes_in(FIXTURE))
        assert buffer.num_episodes == len(expected) == 9
        for number, episode in enumerate(expected):
            rows = buffer.episode(number)
            last = np.arange(len(episode["rewards"])) == len(episode["rewards"]) - 1
            np.testing.assert_array_equal(rows["observations"], episode["observations"])
            np.testing.assert_array_equal(rows["actions"], episode["actions"][:, 0])
            np.testing.assert_array_equal(rows["rewards"], episode["rewards"][:, 0])
            np.testing.assert_array_equal(rows["terminals"], last & episode["terminated"])
            np.testing.assert_array_equal(rows["timeouts"], last & ~episode["terminated"])
        assert {name: (column.dtype, column.shape) for name, column in buffer.spec.columns.items()} == {
            "observations": (np.dtype("float32"), (4,)),
            "actions": (np.dtype("int64"), ()),
            "rewards": (np.dtype("float32"), ()),
            "terminals": (np.dtype("bool"), ()),
            "timeouts": (np.dtype("bool"), ()),
        }
        assert len(buffer.rows_without_next) == 9


@given(
    lengths=st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.booleans()), min_size=1, max_size=6),
    actions=st.sampled_from(["int32", "int64", "float32", "float64"]),
    rewards=st.sampled_from(["float32", "float64"]),
    observations=st.sampled_from(["float32", "float64", "uint8"]),
)
def test_every_row_is_read(new_path, lengths, actions, rewards, observations):
    """Also of files of our own export, which marks rows that hold an observation only."""
    rng = np.random.default_rng(0)
    kinds = {"actions": actions, "rewards": rewards, "observations": observations}
    padded = [final and not terminated and count > 1 for count, terminated, final in lengths]
    episodes = [an_episode(rng, count, terminated=terminated, **kinds) for count, terminated, _ in lengths]
    for episode, final in zip(episodes, padded, strict=True):
        if final:
            episode["rewards"][-1] = 0
    path = write_dump(new_path("h5"), episodes, rlbuffers_final_rows=np.array(padded))
    with converted(path, new_path) as buffer:
        starts = np.cumsum([0, *(len(episode["rewards"]) for episode in episodes)])[:-1] - np.cumsum([0, *padded])[:-1]
        unknown = []
        for number, (episode, final) in enumerate(zip(episodes, padded, strict=True)):
            rows, count = buffer.episode(number), len(episode["rewards"]) - final
            np.testing.assert_array_equal(rows["observations"], episode["observations"])
            assert rows["observations"].dtype == observations
            wanted = episode["actions"][:count]
            np.testing.assert_array_equal(rows["actions"], wanted[:, 0] if actions.startswith("int") else wanted)
            assert rows["actions"].dtype == actions
            np.testing.assert_array_equal(rows["rewards"], episode["rewards"][:count, 0])
            assert rows["terminals"].tolist() == [False] * (count - 1) + [episode["terminated"]]
            assert rows["timeouts"].tolist() == [False] * (count - 1) + [not episode["terminated"]]
            if not final:
                unknown.append(starts[number] + count - 1)
        np.testing.assert_array_equal(buffer.rows_without_next, unknown)


def test_several_observations(tmp_path, new_path):
    rng = np.random.default_rng(0)
    episodes = [an_episode(rng, count, terminated=True) for count in (2, 3)]
    for episode in episodes:
        count = len(episode["rewards"])
        episode["observations"] = [random_rows(rng, "float32", (count, 2)), random_rows(rng, "uint8", (count, 1, 4, 4))]
    with converted(write_dump(tmp_path / "x.h5", episodes), new_path) as buffer:
        assert buffer.spec.observation_names == ["observations/0", "observations/1"]
        np.testing.assert_array_equal(buffer.episode(1)["observations/1"], episodes[1]["observations"][1])
    named = write_dump(
        tmp_path / "y.h5", episodes, rlbuffers_observation_names=["observations/joints", "observations/camera"]
    )
    with converted(named, new_path) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations/joints"], episodes[0]["observations"][0])


def test_what_is_no_part_of_the_format_is_named(tmp_path, new_path):
    episodes = [an_episode(np.random.default_rng(0), 3, terminated=True) | {"costs": np.ones(3)}]
    with converted(write_dump(tmp_path / "x.h5", episodes), new_path) as buffer:
        assert buffer.metadata["left_out"] == ["arrays named 'costs'"]


def change(name, values):
    def apply(file):
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change("num_episodes", 0), "expected at least one episode and arrays for each; found num_episodes 0"),
        (change("num_episodes", 10**9), "found num_episodes 1,000,000,000"),
        (change("num_episodes", 3), "expected an array 'observations_2', which is missing"),
        (change("actions_1", None), "expected an array 'actions_1', which is missing"),
        (change("rewards_1", None), "expected an array 'rewards_1', which is missing"),
        (change("rewards_1", h5py.Empty("f4")), "expected an array, found one without a shape"),
        (change("observations_0", None), "expected 'observations_0', which is missing"),
        (change("rewards_1", np.zeros((2, 1), "f4")), "as many rows of numbers in 'observations_1' as in 'rewards_1'"),
        (change("rewards_0", np.zeros((3, 2), "f4")), r"expected one reward a row, found rows of shape \(2,\)"),
        (change("terminated_1", None), "expected one flag in 'terminated_1'"),
        (change("terminated_1", np.nan), "expected a flag in 'terminated_1', found NaN"),
        (change("terminated_1", [True, False]), "expected one flag in 'terminated_1'"),
        (change("observations_1", np.zeros((4, 5), "f4")), "episode 1: expected 'observations' like episode 0's"),
        (change("observations_1", np.zeros((4, 3), "f8")), "episode 1: expected 'observations' like episode 0's"),
        (change("rlbuffers_final_rows", [True]), "expected a bool for each of 2 episodes"),
        (change("rlbuffers_final_rows", [True, False]), "is for episodes that are not terminated"),
        (change("actions_0", np.array([["a"]] * 3, "S1")), "expected as many rows of numbers in 'actions_0'"),
    ],
)
def test_wrong_files(tmp_path, new_path, apply, message):
    rng = np.random.default_rng(0)
    path = write_dump(tmp_path / "x.h5", [an_episode(rng, n, terminated=n == 3) for n in (3, 4)])
    with h5py.File(path, "r+") as file:
        apply(file)
    output = tmp_path / "y.hdf5"
    with pytest.raises(FormatError, match=message) as caught:
        rlbuffers.convert(d3rlpy_source(path), output)
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.h5"]


def test_episodes_without_steps(tmp_path, new_path):
    rng = np.random.default_rng(0)
    path = write_dump(tmp_path / "x.h5", [an_episode(rng, 3, terminated=True), an_episode(rng, 0, terminated=True)])
    with pytest.raises(FormatError, match="episode 1: expected steps, found none"):
        rlbuffers.convert(d3rlpy_source(path), new_path("memory"))


def test_damaged_files(tmp_path):
    with pytest.raises(BufferNotFoundError):
        d3rlpy_source(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(FormatError, match="expected an HDF5 file"):
        d3rlpy_source(tmp_path / "text.h5")
    (tmp_path / "cut.h5").write_bytes(FIXTURE.read_bytes()[:9000])
    with pytest.raises(CorruptDataError, match=r"cut\.h5: damaged or cut short"):
        d3rlpy_source(tmp_path / "cut.h5")


def test_nan_rewards(tmp_path, new_path):
    episode = an_episode(np.random.default_rng(0), 3, terminated=True)
    episode["rewards"][1] = np.nan
    with pytest.raises(FormatError, match="expected finite rewards, found nan in row 1"):
        rlbuffers.convert(d3rlpy_source(write_dump(tmp_path / "x.h5", [episode])), new_path("memory"))
