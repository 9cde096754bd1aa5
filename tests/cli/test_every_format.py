"""What must hold for every format, whatever it is: every fixture in, and out again through every export."""

from __future__ import annotations

import pytest
from round_trips import AGAIN, assert_no_next_episode_is_looked_into, assert_round_trip, invoke
from truth import DATA

import rlbuffers
from rlbuffers.exports import EXPORTS
from rlbuffers.sources import SOURCES

D4RL, RLU, TFDS = DATA / "d4rl" / "mini", DATA / "rl_unplugged", DATA / "tfds"
ATARI_EPISODES = (
    RLU / "atari_episodes_ordered" / "Pong" / "run_1-00000-of-00050",
    RLU / "atari_episodes" / "Pong" / "run_1-00001-of-00100",
)
SHARD = "train-00000-of-00100"


def rl_unplugged(suite, task, path, *words):
    return ["rl-unplugged", "--suite", suite, "--task", task, "--file", path, *words]


# Name of a fixture to the words after `rlbuffers convert`.
FIXTURES = {
    **{
        f"d4rl {path.relative_to(D4RL)}": ["d4rl", "--file", path]
        for path in sorted(D4RL.rglob("*.hdf5"))
        if not path.name.endswith(".npz")
    },
    "atari transitions": rl_unplugged("atari", "Pong", RLU / "Pong" / "run_1-00001-of-00100"),
    **{
        f"{shard.parent.parent.name} {shard.name}": rl_unplugged("atari", "Pong", shard, "--layout", "episodes")
        for shard in ATARI_EPISODES
    },
    "control suite": rl_unplugged("control-suite", "cheetah_run", RLU / "dm_control_suite" / "cheetah_run" / SHARD),
    "control suite episodes": rl_unplugged(
        "control-suite",
        "walker_walk",
        RLU / "dm_control_suite_episodes" / "walker_walk" / SHARD,
        "--layout",
        "episodes",
    ),
    "locomotion seq2": rl_unplugged(
        "locomotion", "humanoid_corridor", RLU / "dm_locomotion" / "humanoid_corridor" / "seq2" / SHARD
    ),
    "locomotion seq40": rl_unplugged(
        "locomotion", "rodent_two_touch", RLU / "dm_locomotion" / "rodent_two_touch" / "seq40" / SHARD
    ),
    "locomotion episodes": rl_unplugged(
        "locomotion",
        "rodent_two_touch",
        RLU / "dm_locomotion_episodes" / "rodent_two_touch" / SHARD,
        "--layout",
        "episodes",
    ),
    "rwrl": rl_unplugged(
        "rwrl",
        "cartpole_swingup",
        RLU / "rwrl/combined_challenge_none/cartpole/swingup/1_percent/episodes.tfrecord-00000-of-00003",
    ),
    **{
        f"tfds {name}": ["tfds", "--dir", TFDS / name]
        for name in (
            "mini_rlds/vectors/1.0.0",
            "mini_rlds/pixels/1.0.0",
            "d4rl_mujoco_hopper/v0-medium/1.2.0",
            "d4rl_mujoco_hopper/v1-medium-replay/1.2.0",
        )
    },
    **{
        f"minari {name}": ["minari", DATA / "minari" / "fixture" / name]
        for name in ("cartpole-hdf5-v0", "cartpole-arrow-v0", "pendulum-timeouts-v0")
    },
    **{
        f"tianshou {name}": ["tianshou", DATA / "tianshou" / f"{name}.hdf5"]
        for name in ("cartpole", "cartpole-wrapped", "pong-vector-stack4")
    },
    **{f"robomimic {name}": ["robomimic", DATA / "robomimic" / f"{name}.hdf5"] for name in ("lift", "isaac_lab")},
    **{f"lerobot {version}": ["lerobot", DATA / "lerobot" / version] for version in ("v2.1", "v3.0")},
    "dopamine": ["dopamine", DATA / "dopamine" / "Breakout" / "1" / "replay_logs"],
    "exorl": ["exorl", DATA / "exorl"],
    "imitation": ["imitation", DATA / "imitation" / "walk.npz"],
    **{f"ogbench {path.stem}": ["ogbench", path] for path in sorted((DATA / "ogbench").glob("*.npz"))},
    "stable-baselines": ["stable-baselines", DATA / "stable_baselines" / "walk.npz"],
    **{f"rllib {name}": ["rllib", DATA / "rllib" / name] for name in ("batches", "steps.jsonl", "steps")},
    "diffusion policy": ["diffusion-policy", DATA / "diffusion_policy" / "pusht.zarr"],
    "d3rlpy": ["d3rlpy", DATA / "d3rlpy" / "cartpole-v2.h5"],
    **{
        f"reverb {table}": ["reverb", DATA / "reverb" / "pendulum", "--table", table]
        for table in ("transitions", "pairs")
    },
}


@pytest.fixture(scope="module")
def buffers(tmp_path_factory):
    """A function from the name of a fixture to its buffer, made once."""
    folder = tmp_path_factory.mktemp("fixtures")
    made = {}

    def buffer_of(name):
        if name not in made:
            path = folder / f"{len(made)}.hdf5"
            result = invoke("convert", *FIXTURES[name], "-o", path, "--workers", 0)
            assert result.exit_code == 0, result.output
            made[name] = path
        return made[name]

    return buffer_of


def test_every_source_has_a_fixture():
    npz_is_made_by_the_exports = {"npz"}
    assert {words[0] for words in FIXTURES.values()} == set(SOURCES) - npz_is_made_by_the_exports
    assert set(AGAIN) == set(EXPORTS) - {"hdf5", "zarr"}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_buffer_is_sound(buffers, name):
    path = buffers(name)
    report = rlbuffers.validate(path)
    assert report.ok, [finding.message for finding in report.findings if finding.status == "error"]
    assert_no_next_episode_is_looked_into(path)


@pytest.mark.parametrize("name", FIXTURES)
def test_both_containers_hold_the_same(buffers, tmp_path, name):
    result = invoke("convert", *FIXTURES[name], "-o", tmp_path / "x.zarr", "--workers", 0)
    assert result.exit_code == 0, result.output
    with rlbuffers.open(buffers(name)) as first, rlbuffers.open(tmp_path / "x.zarr") as second:
        assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("to", AGAIN)
@pytest.mark.parametrize("name", FIXTURES)
def test_what_is_exported_and_read_again_is_the_same(buffers, tmp_path, monkeypatch, name, to):
    """Or the export is refused in one line, or says what it leaves out."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert_round_trip(buffers(name), to, tmp_path)
