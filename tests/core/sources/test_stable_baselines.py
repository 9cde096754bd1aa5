from __future__ import annotations

import numpy as np
import pytest
from npz_files import write_stable_baselines

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.sources.stable_baselines import StableBaselinesSource

LENGTHS = (3, 1, 4)


def episodes():
    rng = np.random.default_rng(8)
    obs = [rng.normal(size=(length, 2)).astype(np.float32) for length in LENGTHS]
    return obs, [rng.integers(0, 3, (length, 1)) for length in LENGTHS], [rng.normal(size=length) for length in LENGTHS]


def converted(path, new_path):
    target = new_path("memory")
    rlbuffers.convert(StableBaselinesSource(path), target)
    return rlbuffers.open(target)


def test_episodes_are_whole_without_terminals_and_last_observations(tmp_path, new_path):
    obs, actions, rewards = episodes()
    with converted(write_stable_baselines(tmp_path / "x.npz", obs, actions, rewards), new_path) as buffer:
        rows = buffer[:]
        for name, parts in (("observations", obs), ("actions", actions), ("rewards", rewards)):
            np.testing.assert_array_equal(rows[name], np.concatenate(parts))
        assert rows["actions"].shape == (8, 1)
        assert not rows["terminals"].any()
        assert "timeouts" not in rows
        assert buffer.arrays["episodes/lengths"].all().tolist() == list(LENGTHS)
        assert buffer.arrays["episodes/whole"].all().tolist() == [True] * 3
        assert buffer.rows_without_next.tolist() == [2, 3, 7]
        np.testing.assert_allclose(buffer.extra("episode_returns"), [part.sum() for part in rewards])
        assert len(buffer.metadata["warnings"]) == 1
        assert "not how they ended" in buffer.metadata["warnings"][0]


def test_returns_that_differ_leave_the_last_episode_in_doubt(tmp_path, new_path):
    obs, actions, rewards = episodes()
    write_stable_baselines(tmp_path / "x.npz", obs, actions, rewards)
    with np.load(tmp_path / "x.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "x.npz", **{**arrays, "episode_returns": arrays["episode_returns"] + [0, 0, 1]})
    with converted(tmp_path / "x.npz", new_path) as buffer:
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, True, False]
        assert "its last episode may not be whole" in buffer.metadata["warnings"][1]


def test_pictures_are_paths_and_refused(tmp_path):
    _, actions, rewards = episodes()
    paths = [np.array([f"recorded_images/{number}.png" for number in range(length)]) for length in LENGTHS]
    write_stable_baselines(tmp_path / "x.npz", paths, actions, rewards)
    with pytest.raises(FormatError, match=r"expected numbers in obs, found text \(such as the paths of pictures\)"):
        StableBaselinesSource(tmp_path / "x.npz")


def test_other_archives_are_refused(tmp_path):
    obs, actions, rewards = episodes()
    write_stable_baselines(tmp_path / "x.npz", obs, actions, rewards)
    with np.load(tmp_path / "x.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "y.npz", **arrays, terminals=np.zeros(8, bool))
    with pytest.raises(FormatError, match="expected an array 'episode_starts' and no other flags"):
        StableBaselinesSource(tmp_path / "y.npz")
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content[:-30])
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        StableBaselinesSource(tmp_path / "x.npz")
