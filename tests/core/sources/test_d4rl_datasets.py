from __future__ import annotations

import re

import pytest

from rlbuffers.errors import UsageError
from rlbuffers.sources.d4rl.checksums import NUM_BYTES, SHA256
from rlbuffers.sources.d4rl.datasets import all_datasets, dataset_of_file, find_dataset

BASE = "https://rail.eecs.berkeley.edu/datasets/offline_rl/"
ANT = "noisy_multistart"


@pytest.mark.parametrize(
    ("dataset_id", "path", "horizon", "scores"),
    [
        ("halfcheetah-random-v0", "gym_mujoco/halfcheetah_random", 1000, (-280.178953, 12135.0)),
        ("hopper-medium-replay-v0", "gym_mujoco/hopper_mixed", 1000, (-20.272305, 3234.3)),
        ("walker2d-medium-replay-v0", "gym_mujoco/walker_mixed", 1000, (1.629008, 4592.3)),
        ("walker2d-medium-expert-v0", "gym_mujoco/walker2d_medium_expert", 1000, (1.629008, 4592.3)),
        ("ant-random-expert-v0", "gym_mujoco/ant_random_expert", 1000, None),
        ("ant-full-replay-v1", "gym_mujoco_v1/ant_full_replay-v1", 1000, (-325.6, 3879.7)),
        ("halfcheetah-medium-v2", "gym_mujoco_v2/halfcheetah_medium-v2", 1000, (-280.178953, 12135.0)),
        ("antmaze-umaze-v0", f"ant_maze_new/Ant_maze_u-maze_{ANT}_False_multigoal_False_sparse", 700, (0.0, 1.0)),
        ("antmaze-umaze-diverse-v1", f"ant_maze_v1/Ant_maze_umaze_{ANT}_True_multigoal_True_sparse", 700, (0.0, 1.0)),
        (
            "antmaze-medium-play-v2",
            f"ant_maze_v2/Ant_maze_big-maze_{ANT}_True_multigoal_False_sparse_fixed",
            1000,
            (0.0, 1.0),
        ),
        (
            "antmaze-large-diverse-v0",
            f"ant_maze_new/Ant_maze_hardest-maze_{ANT}_True_multigoal_True_sparse",
            1000,
            (0.0, 1.0),
        ),
        (
            "antmaze-eval-umaze-v0",
            f"ant_maze_new/Ant_maze_umaze_eval_{ANT}_True_multigoal_False_sparse",
            700,
            (0.0, 1.0),
        ),
        (
            "antmaze-eval-medium-play-v0",
            f"ant_maze_new/Ant_maze_medium_eval_{ANT}_True_multigoal_True_sparse",
            1000,
            (0.0, 1.0),
        ),
        ("maze2d-open-v0", "maze2d/maze2d-open-sparse", 150, (0.01, 20.66)),
        ("maze2d-large-dense-v0", "maze2d/maze2d-large-dense", 600, (27.38831, 215.09965671563742)),
        ("maze2d-umaze-v1", "maze2d/maze2d-umaze-sparse-v1", 300, (23.85, 161.86)),
        ("maze2d-eval-medium-dense-v1", "maze2d/maze2d-eval-medium-dense-v1", 600, (42.28578, 235.5658957482388)),
        ("pen-human-v0", "hand_dapg/pen-v0_demos_clipped", 100, (96.262799, 3076.8331017826877)),
        ("door-cloned-v0", "hand_dapg/door-demos-v0-bc-combined", 200, (-56.512833, 2880.5693087298737)),
        ("relocate-expert-v0", "hand_dapg/relocate-v0_expert_clipped", 200, (-6.425911, 4233.877797728884)),
        ("hammer-cloned-v1", "hand_dapg_v1/hammer-cloned-v1", 200, (-274.856578, 12794.134825156867)),
        ("hammer-human-longhorizon-v1", "hand_dapg_v1/hammer-human-v1", 600, (-274.856578, 12794.134825156867)),
        ("kitchen-complete-v0", "kitchen/mini_kitchen_microwave_kettle_light_slider-v0", 280, (0.0, 4.0)),
        ("kitchen-mixed-v0", "kitchen/kitchen_microwave_kettle_bottomburner_light-v0", 280, (0.0, 4.0)),
        ("flow-merge-controller-v0", "flow/flow-merge-v0-idm", 750, (118.67993, 330.03179)),
        ("carla-town-v0", "carla/carla_town_subsamp_flat-v0", 1000, (-114.81579500772153, 2440.1772022247314)),
        ("carla-town-full-v0", "carla/carla_town_flat-v0", 1000, None),
        ("bullet-ant-medium-replay-v0", "bullet/bullet-ant_medium_replay", 1000, (373.705955, 2650.495)),
        ("bullet-maze2d-large-v0", "bullet/bullet-maze2d-large-sparse", 800, (1.82, 285.92)),
        ("minigrid-fourrooms-random-v0", "minigrid/minigrid4rooms_random", 50, (0.01442, 2.89685)),
    ],
)
def test_the_rules_give_the_published_names(dataset_id, path, horizon, scores):
    found = find_dataset(dataset_id)
    assert (found.id, found.url, found.horizon, found.scores) == (dataset_id, f"{BASE}{path}.hdf5", horizon, scores)


def test_the_table_is_whole_and_says_nothing_twice():
    table = all_datasets()
    assert len(table) == 181
    assert all(re.fullmatch(r"[a-z0-9-]+-v[012]", name) and found.id == name for name, found in table.items())
    families = {found.family for found in table.values()}
    assert families == {"gym", "antmaze", "maze2d", "adroit", "kitchen", "flow", "carla", "minigrid"}
    shared = [found for found in table.values() if dataset_of_file(found.file_name) is not found]
    assert all("-longhorizon-" in found.id for found in shared)


def test_every_record_belongs_to_a_data_set():
    table = all_datasets()
    assert set(NUM_BYTES) | set(SHA256) <= set(table)
    assert set(SHA256) <= set(NUM_BYTES)
    assert len(NUM_BYTES) == 97
    assert len(set(SHA256.values())) == len(SHA256) == 29
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in SHA256.values())
    medium = table["halfcheetah-medium-v2"]
    assert medium.num_bytes == 237_727_262
    assert medium.sha256 == "41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0"
    assert table["walker2d-medium-replay-v0"].num_bytes == 8_832_937
    assert table["antmaze-umaze-diverse-v2"].num_bytes == 230_854_272
    assert table["antmaze-medium-play-v2"].num_bytes is None
    assert table["pen-human-longhorizon-v1"].num_bytes == table["pen-human-v1"].num_bytes == 2_040_573


def test_what_ends_an_episode_is_a_fact_of_the_family():
    not_by_terminals = {found.family for found in all_datasets().values() if not found.terminals_end_episodes}
    assert not_by_terminals == {"antmaze", "maze2d"}
    rules = {found.id: found.timeouts for found in all_datasets().values()}
    assert rules["hopper-medium-v0"] == rules["pen-expert-v0"] == "horizon"
    assert rules["kitchen-mixed-v0"] == rules["maze2d-umaze-v1"] == "none"
    assert rules["pen-human-v0"] == rules["pen-cloned-v1"] == rules["antmaze-umaze-v2"] == "unknown"


def test_a_file_is_known_by_its_name():
    found = dataset_of_file("pen-v0_demos_clipped.hdf5")
    assert found is not None
    assert found.id == "pen-human-v0"
    assert dataset_of_file("mine.hdf5") is None
    assert dataset_of_file("hopper_medium.hdf5").id == "hopper-medium-v0"  # as published
    assert dataset_of_file("hopper-medium.hdf5") is None  # of any version


@pytest.mark.parametrize("form", ["{}.hdf5", "{}.h5", "D4RL-{}.hdf5", "d4rl_{}.HDF5", "{} (1).hdf5"])
def test_a_file_is_known_by_any_id(form):
    for name, dataset in all_datasets().items():
        for written in (name, name.upper(), name.replace("-", "_")):
            found = dataset_of_file(form.format(written))
            assert found is not None, written
            assert found.path == dataset.path
            assert found is dataset or "-longhorizon-" in dataset.id or found.file_name == f"{name}.hdf5"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("halfcheetah-medium-v3", "did you mean halfcheetah-medium-v2?"),
        ("HalfCheetah-Medium-v2", "did you mean halfcheetah-medium-v2?"),
        ("x", "ids look like halfcheetah-medium-v2"),
    ],
)
def test_an_unknown_id_gets_a_suggestion(wrong, hint):
    with pytest.raises(UsageError, match=re.escape(f"{wrong!r} is not one of the 181 datasets of D4RL; {hint}")):
        find_dataset(wrong)
