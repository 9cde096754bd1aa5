from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, write
from varied import (
    FACTS,
    all_cases,
    assert_same_episodes,
    read_episodes,
    transition_recipes,
    varied_buffers,
    write_varied,
)

import rlbuffers
from rlbuffers.episode import Episode, Transitions
from rlbuffers.errors import FormatError, SpecError, UnsupportedError, UsageError
from rlbuffers.schema import BufferSpec, ColumnSpec


@given(varied=varied_buffers(), count=st.integers(2, 4))
def test_episodes_follow_one_another(new_path, varied, count):
    paths = [new_path("memory") for _ in range(count)]
    expected = [episode for path in paths for episode in write_varied(path, varied)]
    output = new_path("hdf5")
    report = rlbuffers.merge(paths, output)
    assert_same_episodes(read_episodes(output), expected)
    assert report.written.episodes == len(expected)
    assert len(report.notes) == count - 1  # the same buffer several times
    with rlbuffers.open(output) as found:
        for number in range(count):
            np.testing.assert_array_equal(found.extra(f"part{number}/weights"), np.arange(6).reshape(3, 2))
        parents = found.metadata["derivation"]["parents"]
        rows = sum(varied.lengths)
        assert [(p["first_row"], p["transitions"]) for p in parents] == [(n * rows, rows) for n in range(count)]
        assert [(p["first_episode"], p["episodes"]) for p in parents] == [
            (n * len(varied.lengths), len(varied.lengths)) for n in range(count)
        ]
        assert [part["name"] for part in found.metadata["source"]["parts"]] == [str(path) for path in paths]


@given(recipe=transition_recipes())
def test_rows_follow_one_another(new_path, recipe):
    made = make(recipe)
    paths = [write(new_path("memory"), made), write(new_path("memory"), made)]
    output = new_path("memory")
    rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], {name: np.concatenate([rows, rows]) for name, rows in made.table.items()})


def test_parents_agree_on_some_facts(new_path):
    """What both say is said of the whole, and what they say differently of the part that it is true of."""
    paths = [new_path("memory"), new_path("memory")]
    other = {
        **FACTS,
        "environment": {"id": "Maze-v0", "reference_scores": {"min": 0.0, "max": 20.0}, "wind": 3},
        "behavior_policy": {"name": "expert"},
        "license": "CC0",
        "experiment": "second",
        "warnings": ["odd"],
    }
    write_varied(paths[0], all_cases(), {**FACTS, "citation": "A", "notes": ["both"]})
    write_varied(paths[1], all_cases(seed=1), {**other, "citation": "A", "notes": ["both"]})
    output = new_path("hdf5")
    rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        facts = found.metadata
    assert facts["citation"] == "A"
    assert facts["notes"] == ["both"]
    assert facts["warnings"] == [f"{paths[1]}: odd"]
    assert facts["environment"] == {"id": "Maze-v0"}
    assert facts["behavior_policy"] == {}
    assert "license" not in facts
    parts = facts["source"]["parts"]
    assert [part["license"] for part in parts] == ["MIT", "CC0"]
    assert [part["behavior_policy"]["name"] for part in parts] == ["random", "expert"]
    assert [part["environment"]["reference_scores"]["max"] for part in parts] == [10.0, 20.0]
    assert [part.get("experiment") for part in parts] == [None, "second"]
    assert [part["scalars"] for part in parts] == [FACTS["scalars"]] * 2
    assert facts["source"]["format"] == "rows"
    assert [file["name"] for file in facts["source"]["files"]] == ["a", "a"]


def test_buffers_of_unknown_origin_can_be_merged(new_path):
    paths = [new_path("memory"), new_path("memory")]
    for seed, path in enumerate(paths):
        write_varied(path, all_cases(seed=seed), {})
    output = new_path("memory")
    report = rlbuffers.merge(paths, output)
    assert report.notes == []
    with rlbuffers.open(output) as found:
        assert "format" not in found.metadata["source"]
        assert [part["transitions"] for part in found.metadata["source"]["parts"]] == [24, 24]


def test_what_was_split_can_be_merged_again(new_path, tmp_path):
    path = new_path("hdf5")
    episodes = write_varied(path, all_cases(stack=2))
    parts = rlbuffers.split(path, tmp_path, fractions=[0.5, 0.25, 0.25], seed=8)
    output = new_path("zarr")
    rlbuffers.merge([part.path for part in parts], output)
    order = np.random.default_rng(8).permutation(8)
    order = [*sorted(order[:4]), *sorted(order[4:6]), *sorted(order[6:])]
    assert_same_episodes(read_episodes(output), [episodes[number] for number in order])
    cut = rlbuffers.split(path, tmp_path / "cut", parts=3)
    same = new_path("memory")
    rlbuffers.merge([part.path for part in cut], same)
    report = rlbuffers.diff(path, same)
    assert {found.name for found in report.arrays} == set()
    assert {found.where for found in report.specs} == {
        "extras.weights",
        *(f"extras.part{number}/weights" for number in range(3)),
    }


STACKED = Recipe("episodes", (3,), stack=2)


@pytest.mark.parametrize(
    ("recipe", "other", "message"),
    [
        (
            Recipe("episodes", (3,)),
            Recipe("transitions", (3,)),
            "layout 'transitions' instead of 'episodes', unlike .*; convert their sources with the same --layout",
        ),
        (STACKED, Recipe("episodes", (3,), stack=3), "stack 3 instead of 2, .*; convert their sources with the same"),
        (
            Recipe("episodes", (3,)),
            Recipe("episodes", (3,), extra=(("infos/x", "int8", ()),)),
            r"column 'infos/x' is int8 \(\) instead of absent, unlike .*; only buffers with the same columns",
        ),
        (
            Recipe("episodes", (3,)),
            Recipe("episodes", (3,), observations=(("observations", "float64", (3,)),)),
            r"column 'observations' is float64 \(3,\) instead of float32 \(3,\)",
        ),
    ],
)
def test_buffers_that_differ_are_refused(new_path, recipe, other, message):
    paths = [write(new_path("memory"), make(recipe)), write(new_path("memory"), make(other))]
    output = new_path("hdf5")
    with pytest.raises(SpecError, match=f"^{paths[1]}: {message}"):
        rlbuffers.merge(paths, output)
    assert not output.exists()


def test_buffers_normalized_in_different_ways_are_refused(new_path):
    paths = [new_path("memory"), new_path("memory")]
    for seed, path in enumerate(paths):
        write_varied(path, all_cases(seed=seed))
    normalized = new_path("memory")
    rlbuffers.normalize(paths[1], normalized)
    with pytest.raises(SpecError, match="normalized in another way than those of"):
        rlbuffers.merge([paths[0], normalized], new_path("memory"))


def test_one_is_too_few(new_path):
    with pytest.raises(UsageError, match="merge needs two buffers or more"):
        rlbuffers.merge([new_path("memory")], new_path("memory"))


def choices(path, space, *, dtype="int64", shape=(), normalized=None):
    """Write six rows with a space of actions."""
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.dtype(np.float32), (2,)),
            ColumnSpec("actions", np.dtype(dtype), shape, space),
            ColumnSpec("rewards", np.dtype(np.float32)),
            ColumnSpec("terminals", np.dtype(bool)),
        ],
    )
    facts = {} if normalized is None else {"normalization": normalized}
    with rlbuffers.create(path, spec, facts) as writer:
        observations = np.arange(14, dtype=np.float32).reshape(7, 2)
        columns = {"rewards": np.ones(6, np.float32), "terminals": np.arange(6) == 5}
        writer.append_episode(
            Episode({"actions": np.zeros((6, *shape), dtype), **columns}, {"observations": observations})
        )
    return path


def box(low, high):
    return {"type": "box", "low": low, "high": high}


def discrete(n, **more):
    return {"type": "discrete", "n": n, **more}


def counted(*sizes):
    """Describe several numbered choices, as Minari's reader does."""
    high = [size - 1 for size in sizes]
    return {**box(0, high), "minari": {"type": "MultiDiscrete", "nvec": list(sizes)}}


UNITED = [
    ([discrete(4), discrete(6)], (), discrete(6)),
    ([discrete(6), discrete(4), discrete(5)], (), discrete(6)),
    ([discrete(6, start=1), discrete(4, start=1)], (), discrete(6, start=1)),
    ([box([-1, -1], [1, 1]), box([-1, -2], [1, 2])], (2,), box([-1, -2], [1, 2])),
    ([box(-1, 1), box([-2, -1], [1, 1])], (2,), box([-2, -1], [1, 1])),
    ([box(None, 1), box(-3, 1)], (2,), box(None, 1)),
    ([box(-3, 1), box(None, None)], (2,), box(None, None)),
    ([counted(3, 4), counted(3, 5)], (2,), counted(3, 5)),
    ([box(-1, 1), box(0, 3), box(-1, 3)], (2,), box(-1, 3)),
]
APART = [
    ([discrete(4), discrete(4, start=1)], (), "discrete, 1 to 4, but discrete, 0 to 3 in"),
    ([counted(3, 4), box(0, [2, 3])], (2,), r"a box from 0 to \[2, 3\], but MultiDiscrete from 0 to \[2, 3\] in"),
    ([discrete(4), box(0, 3)], (), "a box from 0 to 3, but discrete, 0 to 3 in"),
    ([box(-1, 1), box(0, 3)], (2,), "a box from 0 to 3, but a box from -1 to 1 in"),
    ([box([-1, -2], 2), box([-2, -1], 2)], (2,), r"a box from \[-2, -1\] to 2, but a box from \[-1, -2\] to 2 in"),
]


@pytest.mark.parametrize(("spaces", "shape", "expected"), UNITED[:-1])
def test_the_wider_of_two_spaces_is_that_of_the_whole(new_path, spaces, shape, expected):
    dtype = "float32" if shape else "int64"
    paths = [choices(new_path("memory"), space, dtype=dtype, shape=shape) for space in spaces]
    output = new_path("memory")
    report = rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        assert found.spec.columns["actions"].space == expected
        assert len(found.metadata["warnings"]) == 1
    assert found.metadata["warnings"][0] in report.notes
    for words in ("the space of column 'actions' is", str(paths[0]), str(paths[1]), "the whole has"):
        assert words in report.notes[0]


@pytest.mark.parametrize(("spaces", "shape", "message"), APART)
def test_spaces_of_other_values_are_refused(new_path, spaces, shape, message):
    dtype = "float32" if shape else "int64"
    paths = [choices(new_path("memory"), space, dtype=dtype, shape=shape) for space in spaces]
    expected = rf"^{paths[1]}: the space of column 'actions' is {message} {paths[0]}; neither"
    with pytest.raises(SpecError, match=expected):
        rlbuffers.merge(paths, new_path("memory"))
    with pytest.raises(SpecError, match=expected):
        rlbuffers.mix_buffers([rlbuffers.open(path) for path in paths], [1, 1], 4)
    rlbuffers.mix_buffers([rlbuffers.open(path) for path in paths], [1, 1], 4, columns=["rewards"])


def test_two_that_a_third_holds_are_still_apart(new_path):
    spaces, shape, _ = UNITED[-1]
    paths = [choices(new_path("memory"), space, dtype="float32", shape=shape) for space in spaces]
    with pytest.raises(SpecError, match="neither holds the other"):
        rlbuffers.merge(paths, new_path("memory"))


def test_a_space_that_one_part_does_not_say_is_not_said_of_the_whole(new_path):
    paths = [choices(new_path("memory"), space) for space in (discrete(4), None)]
    output = new_path("memory")
    report = rlbuffers.merge(paths, output)
    with rlbuffers.open(output) as found:
        assert found.spec.columns["actions"].space is None
    assert "is discrete, 0 to 3 in" in report.notes[0]
    assert report.notes[0].endswith("the whole has no space")


def test_what_merge_refuses_is_not_mixed(new_path):
    """A buffer and its normalized self have the same columns."""
    paths = [new_path("memory"), new_path("memory")]
    choices(paths[0], discrete(4))
    rlbuffers.normalize(paths[0], paths[1])
    buffers = [rlbuffers.open(path) for path in paths]
    message = f"{paths[1]}: its observations are normalized in another way than those of {paths[0]}"
    with pytest.raises(SpecError, match=message):
        rlbuffers.mix_buffers(buffers, [1, 1], 4)
    with pytest.raises(SpecError, match=message):
        rlbuffers.merge(paths, new_path("memory"))
    assert rlbuffers.mix_buffers(buffers, [1, 1], 4, columns=["rewards"]).sample()["rewards"].shape == (4,)
    assert rlbuffers.mix_buffers([buffers[1], buffers[1]], [1, 1], 4).sample()["rewards"].shape == (4,)


def loose(path, ids, returns, *, dtype="int64", **facts):
    """Write independent rows that name their episodes."""
    column = np.dtype(np.float32)
    spec = BufferSpec(
        "transitions",
        [
            *(ColumnSpec(name, column, (2,)) for name in ("observations", "next_observations")),
            *(ColumnSpec(name, column) for name in ("actions", "rewards", "episode_returns")),
            ColumnSpec("episode_ids", np.dtype(dtype)),
        ],
        order="shuffled",
    )
    with rlbuffers.create(path, spec, facts) as writer:
        zeros = np.zeros(len(ids), np.float32)
        observations = np.repeat(np.array(returns, np.float32)[:, None], 2, axis=1)
        writer.append_transitions(
            Transitions(
                {
                    "observations": observations,
                    "next_observations": observations,
                    "actions": zeros,
                    "rewards": zeros,
                    "episode_returns": np.array(returns, np.float32),
                    "episode_ids": np.array(ids, dtype),
                }
            )
        )
    return path


def columns_of(path, *names):
    with rlbuffers.open(path) as buffer:
        return [buffer.arrays[name].all().tolist() for name in names]


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64"])
def test_episodes_are_chosen_by_their_ids_after_a_merge(new_path, dtype):
    """Both parents count from 0; each return is told by the observations."""
    first = loose(new_path("memory"), [1, 0, 1, 2], [5, 9, 5, 1], dtype=dtype)
    second = loose(new_path("memory"), [2, 0, 0, 1], [3, 7, 7, 8], dtype=dtype)
    merged = new_path("hdf5")
    rlbuffers.merge([first, second], merged)
    ids, returns = columns_of(merged, "episode_ids", "episode_returns")
    assert ids == [1, 0, 1, 2, 5, 3, 3, 4]
    with rlbuffers.open(merged) as buffer:
        assert [part.get("episode_id_offsets") for part in buffer.metadata["source"]["parts"]] == [
            None,
            {"episode_ids": 3},
        ]
    assert rlbuffers.validate(merged).ok
    best = new_path("memory")
    rlbuffers.filter(merged, best, top_returns=0.5)
    assert columns_of(best, "episode_returns") == [[9, 7, 7, 8]]
    for seed in range(6):
        drawn = new_path("memory")
        rlbuffers.subset(merged, drawn, 1, by="episodes", seed=seed)
        (found,) = columns_of(drawn, "episode_returns")
        assert found == [value for value in returns if value == found[0]]
        rlbuffers.subset(merged, drawn, 3, by="episodes", seed=seed, overwrite=True)
        (found,) = columns_of(drawn, "episode_returns")
        assert found == [value for value in returns if value in found]
    again = new_path("memory")
    rlbuffers.merge([first, merged], again)
    ids, returns = columns_of(again, "episode_ids", "episode_returns")
    assert ids == [1, 0, 1, 2, *(number + 3 for number in [1, 0, 1, 2, 5, 3, 3, 4])]
    assert len(set(ids)) == 9


def test_parts_of_one_recording_keep_their_ids(new_path, tmp_path):
    """What was split and merged again has the episodes that it had; a copy has episodes of its own."""
    path = loose(new_path("hdf5"), [0, 1, 0, 1, 2, 2], [1, 2, 1, 2, 3, 3])
    parts = [part.path for part in rlbuffers.split(path, tmp_path, fractions=[0.5, 0.5], seed=1)]
    merged = new_path("memory")
    rlbuffers.merge(parts, merged)
    ids, returns = columns_of(merged, "episode_ids", "episode_returns")
    assert [number + 1 for number in ids] == returns
    rlbuffers.merge([path, path, *parts], merged, overwrite=True)
    ids, returns = columns_of(merged, "episode_ids", "episode_returns")
    assert ids[:12] == [0, 1, 0, 1, 2, 2, 3, 4, 3, 4, 5, 5]
    assert [number + 1 for number in ids[12:]] == returns[12:]


@pytest.mark.parametrize("game", ["Pong", "Breakout"])
def test_shards_of_a_run_share_their_episodes(new_path, game):
    def facts(name, game="Pong"):
        return {"source": {"format": "rl-unplugged", "files": [{"name": name}]}, "environment": {"id": game}}

    first = loose(new_path("memory"), [0, 1], [1, 2], **facts("run_1-00000-of-00100"))
    second = loose(new_path("memory"), [1, 2], [2, 3], **facts("run_1-00001-of-00100", game))
    merged = new_path("memory")
    rlbuffers.merge([first, second], merged)
    assert columns_of(merged, "episode_ids") == [[0, 1, 1, 2] if game == "Pong" else [0, 1, 2, 3]]


def test_ids_that_cannot_be_moved_are_refused_or_random(new_path):
    output = new_path("memory")
    first, second = (loose(new_path("memory"), [0, 120], [1, 2 + n], dtype="int8") for n in range(2))
    with pytest.raises(FormatError, match=r"its episode_ids \(0 to 120\) are taken by the parts before, .* as int8"):
        rlbuffers.merge([first, second], output)
    key = 2**63 + 7
    first, second = (loose(new_path("memory"), [key, key + n + 1], [1, 2 + n], dtype="uint64") for n in range(2))
    rlbuffers.merge([first, second], output)
    assert columns_of(output, "episode_ids") == [[key, key + 1, key, key + 2]]
    first, second = (loose(new_path("memory"), [-1, 4], [1, 2 + n]) for n in range(2))
    rlbuffers.merge([first, second], output, overwrite=True)
    assert columns_of(output, "episode_ids") == [[-1, 4, 5, 10]]


def test_ids_that_an_older_release_mixed_up_choose_nothing(new_path):
    path = loose(new_path("memory"), [0, 1, 0, 1], [1, 2, 3, 2])
    message = "rows with episode_ids 0 state several episode_returns"
    with pytest.raises(UnsupportedError, match=message):
        rlbuffers.filter(path, new_path("memory"), top_returns=0.5)
    with pytest.raises(UnsupportedError, match=message):
        rlbuffers.subset(path, new_path("memory"), 2, by="episodes")


def test_ids_of_whole_episodes_stay_apart(new_path):
    """They stand once an episode."""
    paths = [new_path("memory") for _ in range(2)]
    column = ColumnSpec("rewards", np.dtype(np.float32))
    spec = BufferSpec(
        "episodes",
        [ColumnSpec("observations", column.dtype), ColumnSpec("actions", column.dtype), column],
        episode_columns=[ColumnSpec("episode_ids", np.dtype(np.int64))],
    )
    for path in paths:
        with rlbuffers.create(path, spec, {}) as writer:
            for number in (4, 2):
                rows = np.zeros(3, np.float32) + (path == paths[1])
                writer.append_episode(
                    Episode({"actions": rows, "rewards": rows}, {"observations": rows}, {"episode_ids": number})
                )
    output = new_path("memory")
    rlbuffers.merge(paths, output)
    assert columns_of(output, "episodes/episode_ids") == [[4, 2, 7, 5]]
