from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make
from varied import all_cases, varied_buffers, write_varied

import rlbuffers
from rlbuffers.errors import SpecError, UsageError
from rlbuffers.sources.buffer_selection import BufferSelection


def block_of(path):
    with rlbuffers.open(path) as buffer:
        (block,) = BufferSelection(buffer).pieces()
        return block, buffer.spec, buffer.metadata


@given(varied=varied_buffers(), store=st.sampled_from(["hdf5", "memory", "memory"]))
def test_a_block_is_the_same_as_its_episodes(new_path, varied, store):
    """Fingerprints cover every stored array, starts, returns and stack indices included; so do the counts."""
    path, again = new_path(store), new_path(store)
    write_varied(path, varied)
    block, spec, metadata = block_of(path)
    with rlbuffers.open(path) as buffer, rlbuffers.create(again, spec) as writer:
        writer.append_extra("weights", buffer.extra("weights"))
        writer.append_episodes(block)
        assert (writer.num_episodes, writer.num_transitions) == (len(varied.lengths), sum(varied.lengths))
    with rlbuffers.open(again) as copy:
        for name in ("fingerprint", "counts"):
            assert copy.metadata[name] == metadata[name]


def test_blocks_and_episodes_may_take_turns(new_path):
    path, again = new_path("hdf5"), new_path("hdf5")
    write_varied(path, all_cases(stack=2))
    block, spec, _ = block_of(path)
    with rlbuffers.create(again, spec) as writer, rlbuffers.open(path) as buffer:
        writer.append_episodes(block)
        for number in range(2):
            episode = buffer.episode(number)
            known = len(episode["observations"]) > len(episode["rewards"])
            frames = np.concatenate([episode["observations"][0][:1], episode["observations"][:, 1]])
            columns = {name: values for name, values in episode.items() if name != "observations"}
            facts = {"seeds": number * 7, "goals": buffer.arrays["episodes/goals"].all()[number]}
            assert known
            writer.append_episode(rlbuffers.Episode(columns, {"frames": frames}, facts))
        writer.append_episodes(block)
    with rlbuffers.open(again) as found, rlbuffers.open(path) as buffer:
        half = len(buffer)
        first = sum(buffer.metadata["arrays"]["episodes/starts"]["shape"])
        assert found.num_episodes == 2 * first + 2
        for number in (0, 1):
            for name, values in buffer.episode(number).items():
                np.testing.assert_array_equal(found.episode(first + number)[name], values)
        for name, values in buffer[:].items():
            np.testing.assert_array_equal(found[-half:][name], values)
    assert rlbuffers.validate(again).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": np.array([3, 1, 5, 2, 4, 1, 6])}, "'episodes/whole': expected 7 rows for 7 episodes, got 8"),
        ({"lengths": np.array([3, 1, 5, 2, 4, 1, 6, 3])}, "expected at least one episode of one step, 24 steps in all"),
        ({"lengths": np.array([4, 0, 5, 2, 4, 1, 6, 2])}, "expected at least one episode of one step"),
        ({"whole": np.ones(8, np.int8)}, "expected rows of dtype bool"),
        ({"facts": {}}, r"a block of episodes has facts \[\], expected \['goals', 'seeds'\]"),
        ({"finals": {"observations": np.ones((8, 2), np.float32)}}, "expected zeros where the last observation"),
        ({"finals": {"observations": np.zeros((7, 2), np.float32)}}, "'episodes/final_observations': expected 8 rows"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_and_nothing_of_it_added(new_path, change, message):
    path = new_path("memory")
    write_varied(path, all_cases())
    block, spec, _ = block_of(path)
    with rlbuffers.create(new_path("memory"), spec) as writer:
        with pytest.raises(SpecError, match=message):
            writer.append_episodes(dataclasses.replace(block, **change))
        assert writer.num_transitions == 0
        writer.append_episodes(block)


def test_blocks_belong_into_buffers_of_episodes(new_path):
    path = new_path("memory")
    write_varied(path, all_cases())
    block, spec, _ = block_of(path)
    writer = rlbuffers.create(new_path("memory"), make(Recipe("transitions", (3,))).spec)
    with pytest.raises(SpecError, match="needs layout='episodes'"):
        writer.append_episodes(block)
    writer.abort()
    with pytest.raises(UsageError, match="finished"):
        writer.append_episodes(block)
    assert spec.layout == "episodes"
