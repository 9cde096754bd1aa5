"""robomimic's files, as h5py reads them, and their oddities."""

from __future__ import annotations

import json
from contextlib import suppress

import h5py
import numpy as np
import pytest
from robomimic_files import ENV_ARGS, demo, isaac_demo, write_demos, write_fixtures
from truth import DATA

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UsageError
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.robomimic.dataset import RobomimicSource

FIXTURES = DATA / "robomimic"


def converted(path, new_path, split=None):
    target = new_path("hdf5")
    rlbuffers.convert(RobomimicSource(path, split), target)
    return rlbuffers.open(target)


def refused(path, error, message, split=None):
    with pytest.raises(error, match=message) as raised:
        RobomimicSource(path, split)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def ends(buffer):
    """Return terminals and timeouts of each episode's last row; no other row has one."""
    starts, lengths = (buffer.arrays[f"episodes/{name}"].all() for name in ("starts", "lengths"))
    rows, last = buffer[:], starts + lengths - 1
    for name in ("terminals", "timeouts"):
        assert rows[name].sum() == rows[name][last].sum()
    return rows["terminals"][last].tolist(), rows["timeouts"][last].tolist()


def test_the_fixtures_are_what_the_script_writes(tmp_path):
    write_fixtures(tmp_path)
    for name in ("lift.hdf5", "isaac_lab.hdf5"):
        assert (tmp_path / name).read_bytes() == (FIXTURES / name).read_bytes()


def test_every_number_is_kept(new_path):
    with (
        converted(FIXTURES / "lift.hdf5", new_path) as buffer,
        h5py.File(FIXTURES / "lift.hdf5") as file,
    ):
        assert buffer.arrays["episodes/demo_numbers"].all().tolist() == [0, 2, 10]
        for episode, number in enumerate((0, 2, 10)):
            theirs, ours = file[f"data/demo_{number}"], buffer.episode(episode)
            for name in ("actions", "rewards"):
                np.testing.assert_array_equal(ours[name], theirs[name])
                assert ours[name].dtype == theirs[name].dtype
            for name in ("dones", "states"):
                np.testing.assert_array_equal(ours[f"infos/{name}"], theirs[name])
                assert ours[f"infos/{name}"].dtype == theirs[name].dtype
            for name in ("object", "agentview_image"):
                seen, following = theirs["obs"][name], theirs["next_obs"][name]
                np.testing.assert_array_equal(ours[f"observations/{name}"][:-1], seen)
                np.testing.assert_array_equal(ours[f"observations/{name}"][1:], following)
                assert ours[f"observations/{name}"].dtype == seen.dtype
        assert buffer.arrays["episodes/final_known"].all().all()
        assert ends(buffer) == ([True, False, True], [False, True, False])
        metadata = buffer.metadata
        assert metadata["environment"] == {"id": "Lift", "env_args": ENV_ARGS}
        assert metadata["left_out"] == ["the demos' attribute 'model_file', a long text or an object"]
        assert metadata["warnings"] == [
            "Masks that name demos which are not in the file: 1 of 3, such as mask/20_percent (demos missing: 1)."
        ]
        assert metadata["measurements"] == {"demos_ended_by_success": 2, "rows_done": 3}
        assert buffer.extra("masks/train").tolist() == [0, 10]
        assert buffer.extra("masks/20_percent").tolist() == [10, 55]


def test_isaac_lab(new_path):
    with converted(FIXTURES / "isaac_lab.hdf5", new_path) as buffer:
        for number, steps in enumerate((3, 2)):
            theirs, ours = isaac_demo(steps, number), buffer.episode(number)
            assert ours["rewards"].tolist() == [0.0] * steps
            np.testing.assert_array_equal(ours["observations/policy/joint_pos"], theirs["obs/policy/joint_pos"])
            np.testing.assert_array_equal(ours["infos/processed_actions"], theirs["processed_actions"])
            grasp = "datagen_info/subtask_term_signals/grasp"
            np.testing.assert_array_equal(ours[f"observations/{grasp}"], theirs[f"obs/{grasp}"])
        name = "initial_state/articulation/robot/joint_position"
        assert buffer.arrays[f"episodes/{name}"].all().tolist() == [[[0.0] * 9], [[1.0] * 9]]
        assert buffer.arrays["episodes/success"].all().tolist() == [True, False]
        assert buffer.arrays["episodes/seed"].all().tolist() == [7, 8]
        assert ends(buffer) == ([True, False], [False, True])
        assert not buffer.arrays["episodes/final_known"].all().any()
        assert buffer.metadata["environment"]["id"] == "Isaac-Lift-v0"
        assert buffer.metadata["warnings"] == ["The file has no rewards; all rewards are 0."]
        assert buffer.metadata["left_out"] == []


def test_observations_that_are_one_array(tmp_path, new_path):
    """Isaac Lab with concatenated observations."""
    arrays = {"obs": np.arange(6.0).reshape(3, 2), "actions": np.zeros((3, 1))}
    with converted(write_demos(tmp_path / "x.hdf5", [arrays]), new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], arrays["obs"])


def test_one_observation_more_than_actions(tmp_path, new_path):
    none = dict.fromkeys(("obs/agentview_image", "next_obs/agentview_image", "next_obs/object"))
    path = write_demos(tmp_path / "x.hdf5", [demo(3, **none, **{"obs/object": np.arange(8.0).reshape(4, 2)})])
    with converted(path, new_path) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations/object"], np.arange(8.0).reshape(4, 2))
        assert buffer.arrays["episodes/final_known"].all().tolist() == [True]


@pytest.mark.parametrize(
    ("demos", "terminal"),
    [
        # done_mode 0: some demo ends without.
        ([demo(4, success=1), demo(4, success=0)], [True, False]),
        # Rewards that are not 0 or 1: that some demo ends undone shows that done is success.
        (
            [demo(4, success=2, rewards=np.arange(4.0) / 7), demo(4, success=0, rewards=np.arange(4.0) / 7)],
            [True, False],
        ),
        # done_mode 2: both; the reward shows which.
        ([demo(4, success=2), demo(4, success=0, ends=True)], [True, False]),
        # Success that was lost again before the end.
        (
            [
                demo(
                    4,
                    rewards=np.array([0.0, 1, 0, 0]),
                    dones=np.array([0, 1, 0, 1]),
                ),
                demo(4, success=2),
            ],
            [False, True],
        ),
        # done_mode 1: the last rows alone, all of them, and rewards of success.
        ([demo(4, success=3, dones=np.array([0, 0, 0, 1])), demo(1, success=1)], [True, True]),
        # done_mode 2 without rewards that tell: done twice in a row.
        ([demo(4, success=2, rewards=np.arange(4.0) / 7), demo(1, success=1)], [True, False]),
        # Flags (N, 1) and of other dtypes.
        ([demo(4, dones=np.array([[0.0], [0], [0], [1]])), demo(2, dones=np.array([[0.0], [0]]))], [True, False]),
    ],
)
def test_what_dones_mean(tmp_path, new_path, demos, terminal):
    with converted(write_demos(tmp_path / "x.hdf5", demos), new_path) as buffer:
        assert ends(buffer) == (terminal, [not flag for flag in terminal])
        assert buffer.arrays["episodes/whole"].all().all()
        dones = np.concatenate([arrays["dones"] for arrays in demos])
        np.testing.assert_array_equal(buffer[:]["infos/dones"], dones)


def test_dones_that_do_not_tell(tmp_path, new_path):
    demos = [demo(4, success=0, ends=True, rewards=np.full(4, 0.3)) for _ in range(2)]
    with converted(write_demos(tmp_path / "x.hdf5", demos), new_path) as buffer:
        assert ends(buffer) == ([False, False], [True, True])
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("Demos whose 'dones' is 1 in the last row only: 2 of 2.")


def test_neither_rewards_nor_dones(tmp_path, new_path):
    path = write_demos(tmp_path / "x.hdf5", [demo(3, rewards=None, dones=None)])
    with converted(path, new_path) as buffer:
        assert ends(buffer) == ([False], [True])
        assert "infos/dones" not in buffer.spec.columns
        assert buffer.metadata["warnings"] == ["The file has no rewards; all rewards are 0."]


def test_next_observations_that_repeat_the_last_one(tmp_path, new_path):
    """As robomimic's conversion of D4RL writes them."""
    seen = np.arange(8.0).reshape(4, 2)
    one = demo(
        4,
        **{"obs/agentview_image": None, "next_obs/agentview_image": None, "obs/object": seen},
        **{"next_obs/object": seen[[1, 2, 3, 3]]},
    )
    with converted(write_demos(tmp_path / "x.hdf5", [one]), new_path) as buffer:
        assert buffer.rows_without_next.tolist() == [3]
        assert "its last 'obs' again" in buffer.metadata["warnings"][0]


def test_next_observations_that_are_not_the_next_row(tmp_path, new_path):
    one = demo(4)
    one["next_obs/object"] = one["next_obs/object"] + (np.arange(4) == 1)[:, None]
    with converted(write_demos(tmp_path / "x.hdf5", [one]), new_path) as buffer:
        assert "not the next row's 'obs', within demos: 1." in buffer.metadata["warnings"][0]


def test_next_observations_of_some_observations_only(tmp_path, new_path):
    with converted(write_demos(tmp_path / "x.hdf5", [demo(4, **{"next_obs/object": None})]), new_path) as buffer:
        assert buffer.rows_without_next.tolist() == [3]
        assert buffer.metadata["left_out"] == [
            "'next_obs/agentview_image': not every observation of every demo has one"
        ]


def test_a_split(new_path):
    with converted(FIXTURES / "lift.hdf5", new_path, "20_percent") as buffer:
        assert buffer.arrays["episodes/demo_numbers"].all().tolist() == [10]
        assert buffer.metadata["source"]["split"] == "20_percent"
        assert [text for text in buffer.metadata["warnings"] if "states" in text] == []


def test_splits_that_there_are_not(tmp_path):
    message = refused(FIXTURES / "lift.hdf5", UsageError, "has no split 'test'; its masks are", "test")
    assert message.endswith("its masks are 20_percent, train, valid")
    path = write_demos(tmp_path / "x.hdf5", [demo(2)], {"a": ["demo_7"]})
    refused(path, FormatError, "the file has none of the demos of mask/a", "a")
    refused(write_demos(tmp_path / "y.hdf5", [demo(2)]), UsageError, "its masks are none", "a")


def test_dtypes_and_arrays_that_differ_between_demos(tmp_path, new_path):
    demos = [
        demo(3, rewards=np.zeros(3, np.float32), extra=np.zeros(3), src_demo_inds=np.array([1, 2]), names=["a"] * 3),
        demo(2, rewards=np.ones(2), states=np.zeros((2, 9)), src_demo_inds=np.array([5, 6]), names=["b"] * 2),
    ]
    of_demos = {
        "demo_0": {"weight": 1.5, "ep_meta": "same", "lang": "one", "starts": 3},
        "demo_1": {"weight": 2, "ep_meta": "same", "lang": "two", "starts": 4},
    }
    path = write_demos(tmp_path / "x.hdf5", demos, of_demos=of_demos, attributes={"env": "Lift", "total": 4})
    with converted(path, new_path) as buffer:
        assert buffer.spec.columns["rewards"].dtype == np.float64
        assert buffer.arrays["episodes/src_demo_inds"].all().tolist() == [[1, 2], [5, 6]]
        assert buffer.arrays["episodes/weight"].all().tolist() == [1.5, 2.0]
        assert buffer.metadata["scalars"] == {
            "env": {"dtype": "str", "value": "Lift"},
            "ep_meta": {"dtype": "str", "value": "same"},
        }
        assert buffer.metadata["left_out"] == [
            "'extra': only 1 of 2 demos have it",
            "'names': it holds texts or objects",
            "'states': its rows differ in shape between demos",
            "the demos' attribute 'lang', other texts in other demos",
            "the demos' attribute 'starts', which not all of them have alike",
        ]
        assert buffer.metadata["warnings"] == ["The file states 4 rows in all, it has 5."]
        assert buffer.metadata["notes"][0].startswith("'rewards' has other dtypes in other demos (float32, float64)")


def test_demos_without_steps_and_stated_lengths(tmp_path, new_path):
    empty = {name: rows[:0] for name, rows in demo(2).items()}
    path = write_demos(tmp_path / "x.hdf5", [demo(2), empty], of_demos={"demo_0": {"num_samples": 1}})
    with converted(path, new_path) as buffer:
        assert buffer.num_episodes == 1
        assert buffer.metadata["left_out"] == ["demos without a step: demo_1"]
        assert "another number of rows than they have (demo_0: 1 instead of 2)" in buffer.metadata["warnings"][0]


def test_demos_of_other_names(tmp_path, new_path):
    demos = {"b": demo(2), "a10": demo(1), "a9": demo(3)}
    with converted(write_demos(tmp_path / "x.hdf5", demos, {"train": ["a9"]}), new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 1, 2]
        assert "episodes/demo_numbers" not in buffer.arrays
        assert buffer.metadata["left_out"] == ["mask: the demos have names other than demo_N"]


def test_compressed_and_big_endian(tmp_path, new_path):
    given = {name: rows.astype(rows.dtype.newbyteorder(">")) for name, rows in demo(5).items()}
    path = write_demos(tmp_path / "x.hdf5", [given], compression="gzip")
    with converted(path, new_path) as buffer:
        for name in ("actions", "rewards"):
            np.testing.assert_array_equal(buffer[:][name], given[name])
            assert buffer[:][name].dtype.isnative


def test_files_with_other_masks_are_joined(tmp_path, new_path):
    paths = [
        write_demos(tmp_path / f"{number}.hdf5", [demo(2, number)], {f"mask{number}": ["demo_0"]}) for number in (0, 1)
    ]
    target = new_path("hdf5")
    rlbuffers.convert(ConcatenatedSource([RobomimicSource(path) for path in paths]), target)
    with rlbuffers.open(target) as buffer:
        assert buffer.num_episodes == 2
        assert buffer.extra("part1/masks/mask1").tolist() == [0]


@pytest.mark.parametrize("text", ["{", "[1]", "{} {}", json.dumps({"x": float("inf")})])
def test_env_args_of_every_kind(tmp_path, new_path, text):
    path = write_demos(tmp_path / "x.hdf5", [demo(2)], attributes={"env_args": text})
    with converted(path, new_path) as buffer:
        if "inf" in text.lower():
            assert buffer.metadata["environment"] == {"env_args": {"x": None}}
        else:
            assert buffer.metadata["left_out"] == ["'env_args', which is no JSON object"]


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "x.hdf5", BufferNotFoundError, "there is no such file")
    (tmp_path / "x.hdf5").write_bytes(b"no HDF5")
    refused(tmp_path / "x.hdf5", FormatError, "expected an HDF5 file")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["obs"] = [1]
    refused(tmp_path / "x.hdf5", FormatError, "expected a group 'data' of demonstrations; found obs")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data"] = [1]
    refused(tmp_path / "x.hdf5", FormatError, "expected a group 'data'")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data/total"] = [1]
        file["data/demo_1"] = h5py.SoftLink("/nowhere")
    refused(tmp_path / "x.hdf5", FormatError, "expected demonstrations such as 'data/demo_0', found none")


@pytest.mark.parametrize(
    ("demos", "message"),
    [
        ([demo(2, actions=None)], "demo_0: expected 'actions'; found"),
        ([{name: rows for name, rows in demo(2).items() if "obs" not in name}], "expected observations in 'obs'"),
        ([demo(2), demo(2, actions=np.zeros((2, 3)))], "'actions' cannot be a column: its rows differ in shape"),
        ([demo(2), demo(2, rewards=None)], "'rewards' cannot be a column: only 1 of 2 demos have it"),
        ([demo(2, rewards=np.zeros((2, 2)))], "expected one number a row in 'rewards'"),
        ([demo(2, rewards=np.zeros(3))], "rewards: expected 2 rows, like 'actions'; found 3"),
        ([demo(2, **{"obs/object": np.zeros((5, 2))})], "obs/object: expected 2 rows, like 'actions'; found 5"),
        ([demo(2, **{"obs/object": np.zeros(())})], "obs/object: expected 2 rows, like 'actions'; found 0"),
        ([demo(2, actions=["a", "b"])], "'actions' cannot be a column: it holds texts"),
        ([demo(2), demo(2, **{"obs/object": None, "next_obs/object": None})], "'obs/object' cannot be a column"),
        ([{**demo(2, actions=None), "actions/left": np.zeros(2)}], "expected one array 'actions', found several"),
        ([{name: rows[:0] for name, rows in demo(2).items()}], "expected transitions, found none"),
        (
            [{"actions": np.zeros((2, 1)), "obs/text": ["a", "b"]}],
            "expected numbers in 'obs', found none",
        ),
    ],
)
def test_demos_that_cannot_be_read(tmp_path, demos, message):
    refused(write_demos(tmp_path / "x.hdf5", demos), FormatError, message)


def test_content_that_stands_elsewhere(tmp_path):
    path = write_demos(tmp_path / "x.hdf5", [demo(2, actions=None)])
    layout = h5py.VirtualLayout((2, 2), np.float64)
    layout[:] = h5py.VirtualSource(tmp_path / "y.hdf5", "z", (2, 2))
    with h5py.File(path, "a") as file:
        file["data/demo_0"].create_virtual_dataset("actions", layout)
    refused(path, FormatError, "actions' is a virtual dataset of '.*y.hdf5', which is not there")


def test_announced_sizes(tmp_path):
    path = write_demos(tmp_path / "x.hdf5", [demo(2)])
    with h5py.File(path, "a") as file:
        file["data/demo_0"].create_dataset("huge", (1 << 40,), np.float64, chunks=(1 << 10,))
    refused(path, CorruptDataError, "announces")


def test_cut_and_damaged_files_are_our_errors(tmp_path, new_path):
    whole = (FIXTURES / "lift.hdf5").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "x.hdf5"
    for number in range(60):
        damaged = bytearray(whole)
        if number % 3 == 0:
            damaged = damaged[: int(rng.integers(8, len(whole)))]
        else:
            for place in rng.integers(8, len(whole), 20):
                damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(RlbuffersError):  # whatever else comes through fails the test
            rlbuffers.convert(RobomimicSource(path), new_path("memory"))
