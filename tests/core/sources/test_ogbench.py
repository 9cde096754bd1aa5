from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from npz_files import write_ogbench
from truth import DATA

import rlbuffers
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.reader_versions import faults_of
from rlbuffers.sources.ogbench import OGBenchSource
from rlbuffers.sources.ogbench_names import find_ogbench

LENGTHS = (4, 1, 3)


def trajectories():
    rng = np.random.default_rng(5)
    seen = [rng.normal(size=(length + 1, 3)).astype(np.float32) for length in LENGTHS]
    actions = [rng.normal(size=(length + 1, 2)).astype(np.float32) for length in LENGTHS]
    return seen, actions


def converted(path, new_path):
    target = new_path("memory")
    rlbuffers.convert(OGBenchSource(path), target)
    return rlbuffers.open(target)


def test_the_last_row_of_a_trajectory_is_its_last_observation(tmp_path, new_path):
    seen, actions = trajectories()
    path = write_ogbench(tmp_path / "antmaze-giant-stitch-v0.npz", seen, actions, qpos=seen, qvel=actions)
    with converted(path, new_path) as buffer:
        rows = buffer[:]
        np.testing.assert_array_equal(rows["observations"], np.concatenate([part[:-1] for part in seen]))
        np.testing.assert_array_equal(rows["next_observations"], np.concatenate([part[1:] for part in seen]))
        np.testing.assert_array_equal(rows["actions"], np.concatenate([part[:-1] for part in actions]))
        np.testing.assert_array_equal(rows["qpos"], rows["observations"])
        np.testing.assert_array_equal(rows["qvel"], rows["actions"])
        assert not rows["terminals"].any()
        assert not rows["rewards"].any()
        assert np.flatnonzero(rows["timeouts"]).tolist() == [3, 4, 7]
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 1, 3]
        assert buffer.arrays["episodes/whole"].all().all()
        assert len(buffer.rows_without_next) == 0
        facts = buffer.metadata
        environment = {"id": "antmaze-giant-v0", "suite": "OGBench", "terminals_end_episodes": False}
        assert facts["environment"] == environment
        assert {"format": "ogbench", "layout": "raw", "split": "train"}.items() <= facts["source"].items()
        assert "There are no rewards in the file: zeros stand in their place." in facts["notes"]
        assert facts["left_out"] == [
            "actions, qpos, qvel of the last row of each of 3 trajectories, which holds the last observation and no "
            "transition"
        ]


def test_relabelled_archives_have_rewards_and_ends_of_tasks(tmp_path, new_path):
    seen, actions = trajectories()
    rewards = [np.arange(length + 1, dtype=np.float32) - 1 for length in LENGTHS]
    masks = [np.ones(length + 1, np.float32) for length in LENGTHS]
    masks[0][1] = masks[2][2] = masks[1][1] = 0  # in the middle, at the end, and where there is no transition
    path = write_ogbench(tmp_path / "x.npz", seen, actions, rewards=rewards, masks=masks)
    with converted(path, new_path) as buffer:
        rows = buffer[:]
        assert np.flatnonzero(rows["terminals"]).tolist() == [1, 7]
        assert np.flatnonzero(rows["timeouts"]).tolist() == [3, 4, 7]
        np.testing.assert_array_equal(rows["rewards"], np.concatenate([part[:-1] for part in rewards]))
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 1, 3]
        assert buffer.metadata["environment"] == {"suite": "OGBench", "terminals_end_episodes": False}


def loaded(seen, actions, *, compact):
    """Return what ogbench.utils.load_dataset gives for such trajectories, written down trajectory by trajectory."""
    if compact:
        terminals = np.concatenate([[0.0] * (length - 1) + [1.0, 1.0] for length in LENGTHS])
        valids = np.concatenate([[1.0] * length + [0.0] for length in LENGTHS])
        return {
            "observations": np.concatenate(seen),
            "actions": np.concatenate(actions),
            "terminals": terminals.astype(np.float32),
            "valids": valids.astype(np.float32),
        }
    return {
        "observations": np.concatenate([part[:-1] for part in seen]),
        "actions": np.concatenate([part[:-1] for part in actions]),
        "terminals": np.concatenate([[0.0] * (length - 1) + [1.0] for length in LENGTHS]).astype(np.float32),
        "next_observations": np.concatenate([part[1:] for part in seen]),
    }


@pytest.mark.parametrize("compact", [False, True])
def test_what_the_loader_gives_is_the_same_data(tmp_path, new_path, compact):
    seen, actions = trajectories()
    with converted(write_ogbench(tmp_path / "raw.npz", seen, actions), new_path) as buffer:
        expected = buffer.fingerprint
    np.savez(tmp_path / "x.npz", **loaded(seen, actions, compact=compact))
    with converted(tmp_path / "x.npz", new_path) as buffer:
        assert buffer.fingerprint == expected
        assert buffer.metadata["source"]["layout"] == ("compact" if compact else "regular")


def test_pictures_and_buttons(new_path):
    path = DATA / "ogbench" / "visual-cube-single-play-v0-val.npz"
    with np.load(path) as archive, converted(path, new_path) as buffer:
        kept = ~archive["terminals"]
        for name in ("observations", "actions", "qpos", "button_states"):
            np.testing.assert_array_equal(buffer[:][name], archive[name][kept])
        assert buffer.spec.columns["observations"].shape == (64, 64, 3)
        assert buffer.metadata["environment"]["id"] == "visual-cube-single-v0"
        assert buffer.metadata["source"]["split"] == "validation"


def test_a_file_that_was_cut_short_ends_without_a_flag(tmp_path, new_path):
    seen, actions = trajectories()
    terminals = np.concatenate([np.arange(length + 1) == length for length in LENGTHS])
    terminals[-1] = False
    np.savez(
        tmp_path / "x.npz", observations=np.concatenate(seen), actions=np.concatenate(actions), terminals=terminals
    )
    with converted(tmp_path / "x.npz", new_path) as buffer:
        assert np.flatnonzero(buffer[:]["timeouts"]).tolist() == [3, 4]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, True, False]
        assert buffer.arrays["episodes/final_known"].all().all()


def test_trajectories_of_one_row_hold_no_transition(tmp_path, new_path):
    seen, actions = trajectories()
    path = write_ogbench(tmp_path / "x.npz", [seen[0], seen[0][:1], seen[2]], [actions[0], actions[0][:1], actions[2]])
    with converted(path, new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 3]
        assert buffer.metadata["left_out"][-1] == "1 trajectories of one row, which hold no transition"


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("pointmaze-medium-navigate-v0", "pointmaze-medium-v0"),
        ("antmaze-large-stitch-v0-val", "antmaze-large-v0"),
        ("visual-humanoidmaze-giant-stitch-v0", "visual-humanoidmaze-giant-v0"),
        ("antmaze-teleport-explore-v0", "antmaze-teleport-v0"),
        ("antsoccer-arena-navigate-v0", "antsoccer-arena-v0"),
        ("cube-single-play-v0", "cube-single-v0"),
        ("cube-octuple-play-100m-v0", "cube-octuple-v0"),
        ("scene-noisy-v0", "scene-v0"),
        ("visual-puzzle-4x6-play-v0-val", "visual-puzzle-4x6-v0"),
        ("powderworld-hard-play-v0", "powderworld-hard-v0"),
        ("cube-double-play-singletask-task2-v0", "cube-double-singletask-task2-v0"),
        ("antmaze-large-navigate-singletask-v0", "antmaze-large-singletask-v0"),
        ("antmaze-large-navigate-oraclerep-v0", "antmaze-large-v0"),
        ("antmaze-medium-play-v0", None),  # D4RL's
        ("antmaze-umaze-v0", None),
        ("my-cube-single-play-v0", None),
        ("scene-play", None),
    ],
)
def test_names_tell_the_environment(name, environment):
    found = find_ogbench(Path(f"{name}.npz"))
    assert (found.environment if found else None) == environment
    if found:
        assert found.split == ("validation" if name.endswith("-val") else "train")


def test_damaged_and_other_archives_are_refused(tmp_path):
    seen, actions = trajectories()
    path = write_ogbench(tmp_path / "x.npz", seen, actions)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptDataError, match="not a whole NumPy archive"):
        OGBenchSource(path)
    np.savez(path, observations=np.zeros((3, 1)), actions=np.zeros((3, 1)))
    with pytest.raises(FormatError, match="expected arrays terminals; found actions, observations"):
        OGBenchSource(path)
    np.savez(path, observations=np.zeros((3, 1)), actions=np.zeros((2, 1)), terminals=np.zeros(2))
    with pytest.raises(FormatError, match=r"expected 2 rows in 'observations', like 'actions'; found 3 rows"):
        OGBenchSource(path)


def test_a_byte_that_changed_is_found_while_rows_are_read(tmp_path, new_path):
    """The content is read row by row, its checksum compared at the end; nothing is left behind."""
    seen, actions = trajectories()
    path = tmp_path / "x.npz"
    terminals = np.concatenate([np.arange(length + 1) == length for length in LENGTHS])
    np.savez(path, observations=np.concatenate(seen), actions=np.concatenate(actions), terminals=terminals)
    content = bytearray(path.read_bytes())
    place = content.index(seen[0].tobytes()[:16])
    content[place] ^= 1
    path.write_bytes(content)
    target = new_path("hdf5")
    with pytest.raises(CorruptDataError, match=re.escape("x.npz")):
        rlbuffers.convert(OGBenchSource(path), target)
    assert not target.exists()


def test_buffers_that_took_ends_of_recordings_for_terminals_are_told():
    made = {"spec": {"columns": {"masks": {"shape": []}}}, "source": {"format": "npz", "files": [{"name": "x.npz"}]}}
    (fault,) = faults_of(made)
    assert "its terminals may be ends of recordings" in fault
    made["source"]["reader_version"] = 2
    assert faults_of(made) == []
    named = {"source": {"format": "d4rl", "files": [{"name": "antmaze-large-navigate-v0.hdf5"}]}}
    assert len(faults_of(named)) == 1
    files = [{"name": "x.hdf5"}]
    other = {"spec": {"columns": {"dones": {"shape": [1]}}}, "source": {"format": "d4rl", "files": files}}
    assert "episodes that ended by time may not be cut" in faults_of(other)[0]
