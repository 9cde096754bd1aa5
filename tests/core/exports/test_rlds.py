from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import DTYPES as INTEGERS
from reference import FLOATS, Recipe, make, recipes, write
from truth import DATA

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.decoding.example_file import read_examples
from rlbuffers.decoding.example_values import parse_example
from rlbuffers.decoding.example_writer import framed_record, serialize_example
from rlbuffers.errors import CorruptDataError, UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.schema import EPISODE_FINAL_KNOWN, EPISODE_LENGTHS, EPISODE_WHOLE, NEXT_OBSERVATIONS
from rlbuffers.sources.tfds.rlds import RLDSSource

KINDS = ("terminal", "timeout", "both", "neither", "inner terminals", "stopped")
LENGTHS = st.sampled_from([1, 1, 2, 3, 7, 40])
OBSERVED = st.sampled_from(
    [
        (("observations", "float32", (3,)),),
        (("observations", "uint8", (4, 5, 3)),),
        (("observations", "uint8", (4, 5)),),
        (("observations/position", "float64", ()), ("observations/touch/left", "bool", (2,))),
        (("observations/camera", "uint8", (2, 3, 1)), ("observations/state", "int64", (1,))),
    ]
)
ACTIONS = st.tuples(st.sampled_from(INTEGERS + FLOATS), st.sampled_from([(), (2,), (17, 16)]))
ENDS = st.lists(st.tuples(st.sampled_from(KINDS), LENGTHS, st.booleans()), min_size=1, max_size=5)
FACTS = {
    "environment": {"id": "X-v0", "reference_scores": {"min": 0.0, "max": 1.5}},
    "behavior_policy": {"name": "random"},
    "scalars": {"metadata/iteration": {"dtype": "int32", "value": 7}},
    "license": "MIT",
    "citation": "@misc{x}",
}


def flags_of(kind, length):
    terminals, timeouts = np.zeros(length, bool), np.zeros(length, bool)
    terminals[-1] = kind in ("terminal", "both")
    timeouts[-1] = kind in ("timeout", "both")
    if kind == "inner terminals":
        terminals[: length // 2] = True
    return terminals, timeouts


def write_buffer(path, observed, actions, rewards, ends, extra=(), seed=0):
    """Write episodes that end as `ends` says: kind, length, whether the final observation is known."""
    made = make(
        Recipe("episodes", tuple(length for _, length, _ in ends), observations=observed, extra=extra, seed=seed)
    )
    rng = np.random.default_rng(seed)
    dtype, shape = actions
    space = {"type": "discrete", "n": 3} if np.dtype(dtype).kind in "iu" else None
    columns = [column for name, column in made.spec.columns.items() if name not in ("actions", "rewards")]
    columns += [ColumnSpec("actions", np.dtype(dtype), shape, space), ColumnSpec("rewards", np.dtype(rewards))]
    facts = [ColumnSpec("seed", np.uint16), ColumnSpec("goal/place", np.float64, (2,))]
    with rlbuffers.create(path, BufferSpec("episodes", columns, episode_columns=facts), FACTS) as writer:
        for episode, (kind, length, known) in zip(made.pieces, ends, strict=True):
            terminals, timeouts = flags_of(kind, length)
            rows = {**episode.columns, "terminals": terminals, "timeouts": timeouts}
            rows["actions"] = rng.integers(0, 2, (length, *shape)).astype(dtype)
            rows["rewards"] = rng.normal(size=length).astype(rewards)
            observations = {name: values[: length + known] for name, values in episode.observations.items()}
            once = {"seed": rng.integers(0, 60_000), "goal/place": rng.normal(size=2)}
            writer.append_episode(Episode(rows, observations, once, kind in ("terminal", "timeout", "both")))
    return path


@given(
    observed=OBSERVED,
    actions=ACTIONS,
    rewards=st.sampled_from(["float32", "float64"]),
    ends=ENDS,
    extra=st.sampled_from([(), (("infos/qpos", "float64", (3,)), ("discounts", "float32", ()), ("é", "int8", ()))]),
)
def test_a_dataset_comes_back_as_the_same_buffer(new_path, observed, actions, rewards, ends, extra):
    path = write_buffer(new_path("hdf5"), observed, actions, rewards, ends, extra)
    output, again = new_path("hdf5").with_suffix(""), new_path("hdf5")
    with rlbuffers.open(path) as buffer:
        report = export(buffer, output, "rlds")
        assert report.read.episodes == report.written.episodes == len(ends)
        assert report.read.transitions == report.written.transitions
        back = rlbuffers.convert(RLDSSource(output), again)
        with rlbuffers.open(again) as copy:
            assert back.fingerprint == buffer.fingerprint
            assert copy.spec == buffer.spec
            for name, value in FACTS.items():
                assert copy.metadata[name] == value
    said = " ".join(report.left_out)
    unknown = [kind for kind, _, known in ends if not known]
    zeros = sum(kind in ("terminal", "both") for kind in unknown)
    zeros += sum(not known and kind == "inner terminals" and length // 2 == length for kind, length, known in ends)
    assert (f"of {zeros} terminal episodes" in said) == (zeros > 0)
    assert (f"of {len(unknown) - zeros} episodes without a terminal" in said) == (len(unknown) > zeros)
    plain = all(kind in ("terminal", "timeout") for kind, _, _ in ends)
    assert ("in RLDS's own flags" in said) == (not plain)


@given(ends=ENDS)
def test_rlds_readers_find_no_observation_of_another_episode(new_path, ends):
    """A strict reader takes the row after as the next observation, and never the last row's action."""
    path = write_buffer(new_path("hdf5"), (("observations", "float32", (3,)),), ("int64", ()), "float32", ends)
    output = new_path("hdf5").with_suffix("")
    with rlbuffers.open(path) as buffer:
        export(buffer, output, "rlds")
        starts = np.cumsum([0, *(length for _, length, _ in ends)])
        following = buffer[:][NEXT_OBSERVATIONS]
        (shard,) = output.glob("*.tfrecord*")
        for number, (features, _) in enumerate(read_examples(shard)):
            count = len(features["steps/is_first"])
            assert features["steps/is_last"].tolist() == [0] * (count - 1) + [1]
            assert features["steps/is_first"].tolist() == [1] + [0] * (count - 1)
            observations = features["steps/observation"].reshape(count, 3)
            expected = following[starts[number] : starts[number] + count - 1]
            np.testing.assert_array_equal(observations[1:], expected)


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("shape", [(), (3,), (20, 13)])
def test_every_dtype_comes_back(new_path, dtype, shape):
    extra = (("infos/x", dtype, shape),)
    ends = [("terminal", 3, True), ("timeout", 2, True)]
    path = write_buffer(new_path("hdf5"), (("observations", dtype, shape),), ("int64", ()), "float32", ends, extra, 5)
    output, again = new_path("hdf5").with_suffix(""), new_path("hdf5")
    with rlbuffers.open(path) as buffer:
        report = export(buffer, output, "rlds")
        assert rlbuffers.convert(RLDSSource(output), again).fingerprint == buffer.fingerprint
    assert report.left_out == []


@pytest.mark.parametrize("fixture", ["mini_rlds/vectors", "mini_rlds/pixels", "d4rl_mujoco_hopper/v0-medium"])
def test_a_fixture_goes_through_a_buffer_unchanged(tmp_path, fixture):
    (directory,) = (DATA / "tfds" / fixture).glob("*.*.*")
    rlbuffers.convert(RLDSSource(directory), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "out", "rlds")
    (first,), (second,) = directory.glob("*.tfrecord*"), (tmp_path / "out").glob("*.tfrecord*")
    for (before, _), (after, _) in zip(read_examples(first), read_examples(second), strict=True):
        for name, values in after.items():
            if name == "final_known" or "egocentric" in name:
                continue  # a PNG may be packed in many ways; other tests compare pixels
            if isinstance(before[name], np.ndarray):
                np.testing.assert_array_equal(values, before[name], err_msg=name)


@given(recipe=recipes().filter(lambda recipe: recipe.layout == "episodes"))
def test_any_buffer_of_episodes_is_written(new_path, recipe):
    made = make(recipe)
    output = new_path("hdf5").with_suffix("")
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        report = export(buffer, output, "rlds")
        rlbuffers.convert(RLDSSource(output), again := new_path("hdf5"))
        with rlbuffers.open(again) as copy:
            lengths = copy.arrays[EPISODE_LENGTHS].all()
            np.testing.assert_array_equal(lengths, buffer.arrays[EPISODE_LENGTHS].all())
            if recipe.stack:
                newest = buffer[:]["observations"][:, -1]
                np.testing.assert_array_equal(copy[:]["observations"][..., 0], newest)
                newest = buffer[:]["next_observations"][:, -1]
                np.testing.assert_array_equal(copy[:]["next_observations"][..., 0], newest)
            else:
                assert copy.fingerprint == buffer.fingerprint
    assert any(f"stacks of {recipe.stack}" in text for text in report.left_out) == (recipe.stack > 0)


def test_transitions_have_no_place(tmp_path):
    with (
        rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("transitions", (3,))))) as buffer,
        pytest.raises(UnsupportedError, match=r"RLDS needs episodes; .* export to tianshou, d4rl or npz"),
    ):
        export(buffer, tmp_path / "out", "rlds")
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5"]


def one_episode(path, columns=(), facts=(), extras=()):
    """Write one episode with columns of zeros."""
    made = make(Recipe("episodes", (3,)))
    spec = BufferSpec(
        "episodes",
        [*made.spec.columns.values(), *(ColumnSpec(name, np.int16) for name in columns)],
        episode_columns=[ColumnSpec(name, np.int16) for name in facts],
        extras=[ColumnSpec(name, np.int16) for name in extras],
    )
    (episode,) = made.pieces
    rows = {**episode.columns, **{name: np.zeros(3, np.int16) for name in columns}}
    with rlbuffers.create(path, spec) as writer:
        writer.append_episode(Episode(rows, episode.observations, dict.fromkeys(facts, 0)))
        for name in extras:
            writer.append_extra(name, np.zeros(4, np.int16))
    return path


def test_names_that_mean_something_in_rlds_are_changed_and_told(tmp_path):
    path = one_episode(tmp_path / "x.hdf5", columns=("action", "is_last", "reward/raw"), facts=("steps",))
    with rlbuffers.open(path) as buffer:
        report = export(buffer, tmp_path / "out", "rlds")
    assert report.left_out == [
        "the names of columns that mean something else in RLDS: action (now steps/infos/action), "
        "episodes/steps (now infos/steps), is_last (now steps/infos/is_last), reward/raw (now steps/infos/reward/raw)"
    ]
    rlbuffers.convert(RLDSSource(tmp_path / "out"), tmp_path / "y.hdf5")
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        assert {"infos/action", "infos/is_last", "infos/reward/raw"} <= set(buffer.spec.columns)


def test_two_columns_at_one_place(tmp_path):
    with (
        rlbuffers.open(one_episode(tmp_path / "x.hdf5", columns=("action", "infos/action"))) as buffer,
        pytest.raises(UnsupportedError, match="RLDS has no place for 'steps/infos/action'"),
    ):
        export(buffer, tmp_path / "out", "rlds")


def test_arrays_of_the_whole_are_told(tmp_path):
    with rlbuffers.open(one_episode(tmp_path / "x.hdf5", extras=("metadata/w", "metadata/b"))) as buffer:
        report = export(buffer, tmp_path / "out", "rlds")
    assert report.left_out == ["arrays that belong to the whole buffer: metadata/b, metadata/w"]


def test_large_buffers_get_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.exports.rlds.shards.SHARD_BYTES", 3_000)
    monkeypatch.setattr("rlbuffers.exports.base.BLOCK_BYTES", 500)
    ends = [(KINDS[number % 3], 20 + number, number % 4 > 0) for number in range(12)]
    path = write_buffer(tmp_path / "x.hdf5", (("observations", "float32", (3,)),), ("int64", ()), "float32", ends)
    seen = []
    with rlbuffers.open(path) as buffer:
        export(buffer, tmp_path / "out", "rlds", on_progress=seen.append)
        assert rlbuffers.convert(RLDSSource(tmp_path / "out"), tmp_path / "y.hdf5").fingerprint == buffer.fingerprint
        assert (seen[-1], seen) == (len(buffer), sorted(seen))
        assert len(seen) > 3
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord*"))
    count = len(shards)
    assert count > 2
    assert shards == [f"x-train.tfrecord-{number:05}-of-{count:05}" for number in range(count)]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert sum(map(int, info["splits"][0]["shardLengths"])) == 12
    assert info["redistributionInfo"] == {"license": "MIT"}
    assert info["citation"] == "@misc{x}"


@pytest.mark.parametrize(
    ("file", "name"), [("Half-Cheetah v2.1.hdf5", "half_cheetah_v2_1"), ("7x.hdf5", "rlds_7x"), ("é.hdf5", "rlds")]
)
def test_the_dataset_has_the_buffers_name(tmp_path, file, name):
    with rlbuffers.open(one_episode(tmp_path / file)) as buffer:
        export(buffer, tmp_path / "out", "rlds")
    assert json.loads((tmp_path / "out" / "dataset_info.json").read_text())["name"] == name
    assert RLDSSource(tmp_path / "out").spec.layout == "episodes"


def flipped(record):
    return record[:-9] + bytes([record[-9] ^ 1]) + record[-8:]


def with_another_reward(record):
    features = {name: np.array(values) for name, values in parse_example(record, "x").items()}
    features["steps/reward"][0] += 1
    return serialize_example(features)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: flipped(framed_record(data)), "its CRC-32C does not fit"),
        (lambda data: b"", "0 transitions were written of 3 read"),
        (lambda data: framed_record(with_another_reward(data)), "rewards sum to"),
    ],
)
def test_what_is_not_on_disk_as_it_was_is_noticed(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr("rlbuffers.exports.rlds.shards.framed_record", change)
    with (
        rlbuffers.open(one_episode(tmp_path / "x.hdf5")) as buffer,
        pytest.raises(CorruptDataError, match=message),
    ):
        export(buffer, tmp_path / "out", "rlds")
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5"]


def test_flags_of_a_buffer_without_timeouts(tmp_path):
    made = make(Recipe("episodes", (3, 2)))
    spec = BufferSpec("episodes", [column for name, column in made.spec.columns.items() if name != "timeouts"])
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        for episode in made.pieces:
            rows = {name: values for name, values in episode.columns.items() if name != "timeouts"}
            writer.append_episode(Episode({**rows, "terminals": np.zeros(len(episode), bool)}, episode.observations))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "out", "rlds")
    rlbuffers.convert(RLDSSource(tmp_path / "out"), tmp_path / "y.hdf5")
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        assert not buffer[:]["timeouts"].any()
        assert buffer.arrays[EPISODE_WHOLE].all().all()
        assert buffer.arrays[EPISODE_FINAL_KNOWN].all().all()
