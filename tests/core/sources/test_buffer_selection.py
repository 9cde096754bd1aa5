from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, taken, write
from varied import all_cases, assert_same_episodes, cut, read_episodes, transition_recipes, varied_buffers, write_varied

import rlbuffers
from rlbuffers.errors import OutOfRangeError, UsageError
from rlbuffers.sources import buffer_selection
from rlbuffers.sources.buffer_selection import BufferSelection

BLOCK_BYTES = st.sampled_from([2000, 50_000, 1 << 24])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(buffer_selection, "_BLOCK_BYTES", 300)
    monkeypatch.setattr(buffer_selection, "_SPAN_BYTES", 500)


@given(data=st.data(), varied=varied_buffers(), store=st.sampled_from(["hdf5", "memory", "memory"]), block=BLOCK_BYTES)
def test_chosen_episodes_are_those_of_the_buffer(new_path, data, varied, store, block):
    path, output = new_path("memory"), new_path(store)
    episodes = write_varied(path, varied)
    numbers = data.draw(st.sets(st.integers(0, len(episodes) - 1), min_size=1))
    chosen = np.array(sorted(numbers))
    lengths = [data.draw(st.integers(1, len(episodes[number]["rewards"]))) for number in chosen]
    with pytest.MonkeyPatch.context() as patch, rlbuffers.open(path, cache=0) as buffer:
        patch.setattr(buffer_selection, "_BLOCK_BYTES", block)
        patch.setattr(buffer_selection, "_SPAN_BYTES", block)
        source = BufferSelection(buffer, chosen, lengths=np.array(lengths))
        assert source.total == sum(lengths)
        report = rlbuffers.convert(source, output)
        np.testing.assert_array_equal(rlbuffers.open(output).extra("weights"), buffer.extra("weights"))
    expected = [cut(episodes[number], length) for number, length in zip(chosen, lengths, strict=True)]
    assert_same_episodes(read_episodes(output), expected)
    assert report.written.reward_sum == sum(float(episode["rewards"].sum()) for episode in expected)
    assert rlbuffers.validate(output).ok


@given(
    data=st.data(), recipe=transition_recipes(), store=st.sampled_from(["hdf5", "memory", "memory"]), block=BLOCK_BYTES
)
def test_chosen_rows_are_those_of_the_buffer(new_path, data, recipe, store, block):
    made = make(recipe)
    path, output = write(new_path("memory"), made), new_path(store)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(made) - 1), min_size=1, max_size=60))))
    with pytest.MonkeyPatch.context() as patch, rlbuffers.open(path, cache=0) as buffer:
        patch.setattr(buffer_selection, "_BLOCK_BYTES", block)
        patch.setattr(buffer_selection, "_SPAN_BYTES", block)
        rlbuffers.convert(BufferSelection(buffer, rows), output)
    with rlbuffers.open(output) as found:
        assert_same_rows(found[:], taken(made.table, rows))


def test_blocks_do_not_reach_over_much_that_was_not_chosen(new_path, small_blocks):
    made = make(Recipe("transitions", (20_000,)))
    with rlbuffers.open(write(new_path("memory"), made), cache=0) as buffer:
        sizes = [len(piece) for piece in BufferSelection(buffer, np.arange(0, 20_000, 500)).pieces()]
    assert sizes == [1] * 40  # 256 rows at a time would be 128,000 rows of the buffer


@pytest.mark.parametrize(
    ("chosen", "lengths", "error", "message"),
    [
        ([], None, UsageError, "no episode was chosen"),
        ([1, 1], None, UsageError, "must ascend"),
        ([2, 1], None, UsageError, "must ascend"),
        ([0, 8], None, OutOfRangeError, "there is no episode 8; the buffer has 8"),
        ([-1, 0], None, OutOfRangeError, "there is no episode -1"),
        ([0], [4], UsageError, "a length for each chosen episode"),
        ([0], [0], UsageError, "a length for each chosen episode"),
        ([0], [1, 1], UsageError, "a length for each chosen episode"),
    ],
)
def test_what_cannot_be_chosen_is_said(new_path, chosen, lengths, error, message):
    path = new_path("memory")
    write_varied(path, all_cases())
    with rlbuffers.open(path) as buffer, pytest.raises(error, match=message):
        BufferSelection(buffer, np.array(chosen, np.int64), lengths=lengths)


def test_rows_of_parts_are_counted_anew(new_path):
    """Parts of 4, 9 and 11 rows; the second one has parts of its own, of 4 and 5 rows."""
    inner = [{"name": "x", "first_row": 0, "transitions": 4}, {"name": "y", "first_row": 4, "transitions": 5}]
    parts = [
        {"name": "a", "first_row": 0, "transitions": 4},
        {"name": "b", "first_row": 4, "transitions": 9, "parts": inner},
        {"name": "c", "first_row": 13, "transitions": 11},
    ]
    path = new_path("memory")
    write_varied(path, all_cases(), {"source": {"format": "rows", "parts": parts}})
    numbers, lengths = np.array([1, 2, 3, 6]), np.array([1, 5, 2, 3])  # rows 3, 4 to 8, 9 and 10, 16 to 18
    rows = np.array([3, 4, 5, 6, 7, 8, 9, 10, 16, 17, 18])

    def count(first, length):
        return int(((rows >= first) & (rows < first + length)).sum())

    with rlbuffers.open(path) as buffer:
        found = BufferSelection(buffer, numbers, lengths=lengths).metadata()["source"]["parts"]
    assert [(part["first_row"], part["transitions"]) for part in found] == [
        (0, count(0, 4)),
        (count(0, 4), count(4, 9)),
        (count(0, 13), count(13, 11)),
    ]
    assert [(part["first_row"], part["transitions"]) for part in found[1]["parts"]] == [(0, 4), (4, 3)]
