"""What must hold for every format, whatever it is: every fixture in, and out again through every export."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from truth import DATA

import rlbuffers
from rlbuffers.exports import EXPORTS
from rlbuffers.schema import TIMEOUTS, next_name
from rlbuffers.sources import SOURCES
from rlbuffers_cli.main import cli

D4RL, RLU, TFDS = DATA / "d4rl" / "mini", DATA / "rl_unplugged", DATA / "tfds"
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
        f"atari episodes {shard}": rl_unplugged(
            "atari",
            "Pong",
            RLU / "atari_episodes_ordered" / "Pong" / f"run_1-0000{shard}-of-00050",
            "--layout",
            "episodes",
        )
        for shard in (0, 1)
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
    "d3rlpy": ["d3rlpy", DATA / "d3rlpy" / "cartpole-v2.h5"],
    **{
        f"reverb {table}": ["reverb", DATA / "reverb" / "pendulum", "--table", table]
        for table in ("transitions", "pairs")
    },
}
# How the output of an export is read again: the words before its path.
AGAIN = {
    "d3rlpy": ["d3rlpy"],
    "d4rl": ["d4rl", "--file"],
    "lerobot": ["lerobot"],
    "minari": ["minari"],
    "npz": ["npz"],
    "rlds": ["tfds", "--dir"],
    "robomimic": ["robomimic"],
    "tianshou": ["tianshou"],
}
CORE_COLUMNS = ("actions", "rewards", "terminals")


def invoke(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


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


def assert_no_next_episode_is_looked_into(path):
    """At a time limit, or where the recording stopped, the next observation is not the next episode's first one."""
    with rlbuffers.open(path) as buffer:
        if buffer.spec.layout != "episodes":
            return
        starts, lengths = (buffer.arrays[f"episodes/{name}"].all() for name in ("starts", "lengths"))
        ends = (starts + lengths - 1)[:-1]
        unknown = np.isin(ends, buffer.rows_without_next)
        rows = buffer.rows(ends)
        firsts = buffer.rows(starts[1:])
        same = np.ones(len(ends), bool)
        for name in buffer.spec.observation_names:
            different = rows[next_name(name)] != firsts[name]
            same &= ~different.reshape(len(ends), -1).any(axis=1)
        if TIMEOUTS in rows:
            same &= rows[TIMEOUTS] | ~rows["terminals"]
        assert not (same & ~unknown).any()


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
    output = (
        "test/again-v0"
        if to == "minari"
        else tmp_path / f"out{'.npz' if to == 'npz' else '.hdf5' if to not in ('rlds', 'lerobot') else ''}"
    )
    result = invoke("export", buffers(name), "--to", to, "-o", output)
    if result.exit_code:
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        return
    again = tmp_path / "again.hdf5"
    result_again = invoke("convert", *AGAIN[to], output, "-o", again, "--workers", 0)
    assert result_again.exit_code == 0, result_again.output
    assert_no_next_episode_is_looked_into(again)
    with rlbuffers.open(buffers(name)) as first, rlbuffers.open(again) as second:
        assert_core_is_equal(first, second, may_differ="left out" in result.stdout)


def assert_core_is_equal(first, second, *, may_differ):
    if len(first) != len(second):
        assert may_differ
        return
    before, after = first[:], second[:]
    if not may_differ:
        assert {name: rows.dtype for name, rows in after.items()} == {name: rows.dtype for name, rows in before.items()}
        np.testing.assert_array_equal(second.arrays["episodes/lengths"].all(), first.arrays["episodes/lengths"].all())
        np.testing.assert_array_equal(second.rows_without_next, first.rows_without_next)
    for name in CORE_COLUMNS:
        np.testing.assert_array_equal(after[name].astype(before[name].dtype).reshape(before[name].shape), before[name])
    for name in first.spec.observation_names:
        if name not in after or after[name].shape != before[name].shape:
            assert may_differ
        elif first.spec.stack and may_differ:  # formats pad the stacks at an episode's start each in their way
            np.testing.assert_array_equal(after[name][:, -1], before[name][:, -1])
        else:
            np.testing.assert_array_equal(after[name], before[name])
