from __future__ import annotations

import numpy as np
import pytest
from npz_files import write_exorl

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.exorl import ExORLSource

LENGTHS = (3, 1, 4)


def episodes():
    rng = np.random.default_rng(8)
    seen = [rng.normal(size=(length + 1, 2)).astype(np.float32) for length in LENGTHS]
    actions = [rng.normal(size=(length, 3)).astype(np.float32) for length in LENGTHS]
    return seen, actions, [rng.normal(size=length).astype(np.float32) for length in LENGTHS]


def written(folder, **more):
    """Write three episodes: the second one ends its task."""
    return [
        write_exorl(folder / f"episode_{number:06}_{len(part) - 1}.npz", part, acts, rews, terminal=number == 1, **more)
        for number, (part, acts, rews) in enumerate(zip(*episodes(), strict=True))
    ]


def converted(paths, new_path):
    target = new_path("memory")
    rlbuffers.convert(ExORLSource(paths), target)
    return rlbuffers.open(target)


@pytest.mark.parametrize("marks", [False, True])
def test_what_led_to_an_observation_moves_to_the_row_before(tmp_path, new_path, marks):
    seen, actions, rewards = episodes()
    with converted(written(tmp_path, marks=marks), new_path) as buffer:
        rows = buffer[:]
        np.testing.assert_array_equal(rows["observations"], np.concatenate([part[:-1] for part in seen]))
        np.testing.assert_array_equal(rows["next_observations"], np.concatenate([part[1:] for part in seen]))
        np.testing.assert_array_equal(rows["actions"], np.concatenate(actions))
        np.testing.assert_array_equal(rows["rewards"], np.concatenate(rewards))
        assert rows["discounts"].tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
        assert np.flatnonzero(rows["terminals"]).tolist() == [3]
        assert np.flatnonzero(rows["timeouts"]).tolist() == [2, 7]
        assert buffer.arrays["episodes/whole"].all().all()
        assert len(buffer.rows_without_next) == 0
        assert len(buffer.metadata["source"]["files"]) == 3


def test_physics_are_those_that_were_observed(tmp_path, new_path):
    seen, actions, rewards = episodes()
    path = write_exorl(tmp_path / "x.npz", seen[0], actions[0], rewards[0], physics=seen[0] * 2, skill=seen[0])
    with converted([path], new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["physics"], seen[0][:-1] * 2)
        left_out = buffer.metadata["left_out"]
        assert left_out[0] == "'skill', of which it is not known to which row it belongs"


def test_pictures_and_an_episode_that_was_still_going_on(tmp_path, new_path):
    pictures = np.arange(3 * 64 * 64 * 3, dtype=np.uint8).reshape(3, 64, 64, 3)
    _, actions, rewards = episodes()
    arrays = dict(np.load(write_exorl(tmp_path / "x.npz", pictures, actions[0][:2], rewards[0][:2], marks=True)))
    arrays["image"] = arrays.pop("observation")
    arrays["is_last"][:] = False
    np.savez(tmp_path / "x.npz", **arrays)
    with converted([tmp_path / "x.npz"], new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], pictures[:2])
        assert not buffer[:]["timeouts"].any()
        assert buffer.arrays["episodes/whole"].all().tolist() == [False]


def test_many_files_are_named_by_their_folder(tmp_path, new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.sources.exorl._MOST_FILES", 2)
    paths = written(tmp_path)
    with converted(paths, new_path) as buffer:
        (facts,) = buffer.metadata["source"]["files"]
        assert (facts["name"], facts["files"]) == (tmp_path.name, 3)
        assert facts["bytes"] == sum(path.stat().st_size for path in paths)


def test_a_reward_before_the_first_action_is_told(tmp_path, new_path):
    arrays = dict(np.load(written(tmp_path)[0]))
    arrays["reward"][0] = 1
    np.savez(tmp_path / "x.npz", **arrays)
    with converted([tmp_path / "x.npz"], new_path) as buffer:
        assert "The first row of 1 episodes holds a reward" in buffer.metadata["warnings"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discount": None}, "expected arrays discount, one row a step; found action, observation, reward"),
        ({"observation": None}, "expected arrays observation or image, one row a step; found"),
        ({"reward": np.zeros(3)}, "expected numbers in 'reward', as many rows as in 'action'; found float64"),
        ({"reward": np.zeros((4, 2))}, r"expected one number a row in 'rewards', found rows of shape \(2,\)"),
        (
            {"observation": np.array(["a"] * 4)},
            "expected numbers in 'observation', as many rows as in 'action'; found <U1",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    arrays = {**dict(np.load(written(tmp_path)[0])), **change}
    np.savez(tmp_path / "x.npz", **{name: rows for name, rows in arrays.items() if rows is not None})
    with pytest.raises(FormatError, match=rf"x\.npz: {message}"):
        ExORLSource([tmp_path / "x.npz"])


def test_files_that_differ_and_several_episodes_in_one_are_refused(tmp_path, new_path):
    paths = written(tmp_path)
    arrays = dict(np.load(paths[2]))
    np.savez(paths[2], **{**arrays, "action": arrays["action"].astype(np.float64)})
    with pytest.raises(FormatError, match=r"expected 'action' of dtype float32 and shape .* as in episode_0"):
        converted(paths, new_path)
    np.savez(paths[2], **{**arrays, "discount": np.array([1, 1, 0, 1, 1], np.float32)})
    with pytest.raises(FormatError, match="expected one episode, but the task ends after row 2 of 4"):
        converted(paths, new_path)


def test_damaged_and_missing_files(tmp_path):
    path = written(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        ExORLSource([path])
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        ExORLSource([tmp_path / "nothing.npz"])
