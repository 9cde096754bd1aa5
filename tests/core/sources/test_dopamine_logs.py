from __future__ import annotations

import gzip
import io
import itertools
import pickle
import shutil

import numpy as np
import pytest
from dopamine_log import SIZE, STORES, Ring, frame_of, write_checkpoint, write_npy
from hypothesis import given
from hypothesis import strategies as st
from truth import DATA

import rlbuffers
from rlbuffers.decoding.npy_stream import NpyStream
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, UsageError
from rlbuffers.sources.dopamine.cuts import Cut, find_episodes
from rlbuffers.sources.dopamine.logs import DopamineSource

LOGS = DATA / "dopamine" / "Breakout" / "1" / "replay_logs"


def converted(folder, new_path, checkpoint=None, **options):
    path = new_path("hdf5")
    rlbuffers.convert(DopamineSource(folder, checkpoint, **options), path)
    return rlbuffers.open(path)


def column(buffer, name):
    return buffer.arrays[name].all().tolist()


def rows_of(steps, *, ends=(), **change):
    """Arrays of a checkpoint whose rows are `steps`, 0 for a row of zeros; all of them written."""
    made = {
        "observation": np.stack([frame_of(step) for step in steps]),
        "action": np.array(steps, np.int32),
        "reward": np.array([float(step % 3 == 1) for step in steps], np.float32),
        "terminal": np.isin(np.arange(len(steps)), ends).astype(np.uint8),
        "add_count": np.array(len(steps)),
    }
    return {name: values for name, values in {**made, **change}.items() if values is not None}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "replay_logs"


# The file that Dopamine's own library wrote.


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("stack", [1, 4])
def test_the_log_is_read_as_numpy_reads_it(store, stack, new_path):
    raw = {
        name: np.load(io.BytesIO(gzip.decompress((LOGS / f"$store$_{name}_ckpt.0.gz").read_bytes()))) for name in STORES
    }
    path = new_path(store)
    rlbuffers.convert(DopamineSource(LOGS, 0, stack=stack), path)
    with rlbuffers.open(path) as buffer:
        rows = buffer[:]
        assert len(buffer) == 300
        episode_start = 0
        for t in range(300):
            for back in range(stack):
                shown = raw["observation"][t - back] if t - back >= episode_start else 0
                np.testing.assert_array_equal(rows["observations"][t, stack - 1 - back], shown)
            if raw["terminal"][t]:
                episode_start = t + 1
        np.testing.assert_array_equal(rows["actions"], raw["action"])
        np.testing.assert_array_equal(rows["rewards"], raw["reward"])
        np.testing.assert_array_equal(rows["terminals"], raw["terminal"] == 1)
        assert (rows["actions"].dtype, rows["rewards"].dtype) == (np.int32, np.float32)
        assert not rows["timeouts"].any()
        assert column(buffer, "episodes/lengths") == [97, 97, 97, 9]
        assert column(buffer, "episodes/whole") == [True, True, True, False]
        assert column(buffer, "episodes/final_known") == [False] * 4
        assert buffer.rows_without_next.tolist() == [96, 193, 290, 299]
        assert buffer.metadata["environment"]["id"] == "Breakout"
        assert buffer.metadata["source"]["run_id"] == 1
        assert len(buffer.metadata["source"]["files"]) == 6
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 4}


# Padding, and what looks like it.


def test_padding_is_no_step_but_pads_the_stacks(folder, new_path):
    write_checkpoint(folder, 0, rows_of([0, 0, 0, 1, 2, 0, 0, 0, 3, 4], ends=(4, 9)))
    with converted(folder, new_path) as buffer:
        rows = buffer[:]
        assert rows["actions"].tolist() == [1, 2, 3, 4]
        assert rows["terminals"].tolist() == [False, True, False, True]
        assert rows["observations"][:, :, 0, 0].tolist() == [[0, 0, 0, 2], [0, 0, 2, 3], [0, 0, 0, 4], [0, 0, 4, 5]]
        assert rows["next_observations"][:, :, 0, 0].tolist()[0] == [0, 0, 2, 3]
        assert not rows["next_observations"][[1, 3], -1].any()
        assert column(buffer, "episodes/whole") == [True, True]
        measured = buffer.metadata["measurements"]
        assert (measured["padding_rows"], measured["episodes_with_padding"]) == (6, 2)
        assert measured["steps_of_zeros"] == 0


@pytest.mark.parametrize("blank", ["observation", "action", "reward"])
def test_rows_that_are_not_all_zero_are_no_padding(folder, new_path, blank):
    arrays = rows_of([1, 0, 0, 0, 2], ends=(0,))
    arrays[blank][2] = 1
    write_checkpoint(folder, 0, arrays)
    with converted(folder, new_path) as buffer:
        assert len(buffer) == 5
        assert buffer.metadata["measurements"]["steps_of_zeros"] == 2


def test_only_three_rows_are_padding(folder, new_path):
    """An episode may begin with a black screen: further rows of zeros are steps, and so are fewer than three."""
    write_checkpoint(folder, 0, rows_of([1, 0, 0, 0, 0, 0, 2, 0, 0, 3], ends=(0, 6)))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [1, 0, 0, 2, 0, 0, 3]
        assert column(buffer, "episodes/lengths") == [1, 3, 3]


def test_padding_of_an_episode_that_is_not_in_the_log(folder, new_path):
    write_checkpoint(folder, 0, rows_of([0, 0, 0, 1, 2, 0, 0], ends=(4,)))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [1, 2]
        assert column(buffer, "episodes/whole") == [True]
        assert buffer.metadata["measurements"]["padding_rows"] == 5


@pytest.mark.parametrize(("steps", "is_known"), [([1, 2], True), ([1, 2, 0, 0, 0, 3], False)])
def test_a_log_that_pads_is_known_from_its_beginning_only_by_padding(folder, new_path, steps, is_known):
    """Logs of other programs have no padding at all; their file 0 begins with an episode."""
    write_checkpoint(folder, 0, rows_of(steps, ends=(1, 5)))
    with converted(folder, new_path) as buffer:
        assert column(buffer, "episodes/whole")[0] == is_known


def test_padding_that_began_in_the_file_before(folder, new_path):
    write_checkpoint(folder, 3, rows_of([0, 1, 2], ends=(2,)))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [1, 2]
        assert column(buffer, "episodes/whole") == [False]


def test_padding_after_the_step_limit_is_a_timeout(folder, new_path):
    write_checkpoint(folder, 0, rows_of([0, 0, 0, 1, 2, 3, 0, 0, 0, 4], ends=(9,)))
    with converted(folder, new_path, step_limit=3) as buffer:
        rows = buffer[:]
        assert rows["actions"].tolist() == [1, 2, 3, 4]
        assert rows["timeouts"].tolist() == [False, False, True, False]
        assert rows["terminals"].tolist() == [False, False, False, True]
        assert rows["next_observations"][2, :, 0, 0].tolist() == [2, 3, 4, 0]  # never the frame of step 4
        assert 2 in buffer.rows_without_next
        assert column(buffer, "episodes/whole") == [True, True]
        assert buffer.metadata["measurements"]["timeouts_rebuilt"] == 1
        assert buffer.metadata["warnings"] == []


def test_rows_of_zeros_elsewhere_are_steps_and_warned_of(folder, new_path):
    write_checkpoint(folder, 0, rows_of([0, 0, 0, 1, 2, 3, 0, 0, 0, 4], ends=(9,)))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [1, 2, 3, 0, 0, 0, 4]
        assert not buffer[:]["timeouts"].any()
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("1 times exactly 3 rows of zeros stand inside an episode")
        assert "--step-limit" in warning


def test_a_terminal_at_the_step_limit_is_kept_and_warned_of(folder, new_path):
    write_checkpoint(folder, 0, rows_of([1, 2, 3, 4, 5], ends=(2, 4)))
    with converted(folder, new_path, step_limit=3) as buffer:
        assert np.flatnonzero(buffer[:]["terminals"]).tolist() == [2, 4]
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("1 episodes end with a terminal at step 3, the step limit")


@given(
    rows=st.lists(st.sampled_from(["step", "zero", "end"]), min_size=1, max_size=40),
    from_start=st.booleans(),
    step_limit=st.integers(1, 5),
)
def test_cuts_equal_those_of_a_slow_loop(rows, from_start, step_limit):
    zero, terminal = np.array([row == "zero" for row in rows]), np.array([row == "end" for row in rows])
    found = list(find_episodes(terminal, zero, from_start=from_start, step_limit=step_limit))
    assert found == slow_cuts(rows, from_start, step_limit)


def slow_cuts(rows, from_start, step_limit):
    def padding(at):
        length = 0
        while length < 3 and at + length < len(rows) and rows[at + length] == "zero":
            length += 1
        return length if length == 3 or at + length == len(rows) or (at == 0 and not from_start) else 0

    cuts, at, begins = [], 0, from_start
    while at < len(rows):
        pad = padding(at)
        start = stop = at + pad
        begins = begins or pad == 3
        end = "cut"
        while stop < len(rows) and end == "cut":
            if begins and stop - start == step_limit and padding(stop):
                end = "limit"
            else:
                end = "terminal" if rows[stop] == "end" else "cut"
                stop += 1
        if stop > start:
            cuts.append(Cut(start, stop, pad, begins, end))
        at, begins = stop, True
    return cuts


# Checkpoints: whose rows they hold, and how they go on.


def test_the_last_row_of_a_dump_belongs_to_the_epoch_before(folder, new_path):
    ring = Ring(folder, 8)
    for step in range(1, 22):
        ring.add(step, terminal=False)
    assert ring.rows == [0, 0, 0, *range(1, 22)]
    assert ring.dumped == [7, 15, 23]
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 21))  # step 5 stands in row 7 of checkpoint 1
        assert len(buffer.arrays["episodes/lengths"].all()) == 1
        assert buffer.metadata["measurements"]["joined_checkpoints"] == 2
        assert buffer.metadata["left_out"][1:] == [
            "checkpoint 0: row 7, not written in this dump (its add_count says so)"
        ]
        assert buffer.metadata["warnings"] == []
    with converted(folder, new_path, 1) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(6, 13))
        assert column(buffer, "episodes/whole") == [False]
        assert buffer.metadata["left_out"][1:] == [
            "checkpoint 1: row 7, the last one of checkpoint 0; convert both to have it"
        ]
    with converted(folder, new_path, [0, 2]) as buffer:
        assert buffer[:]["actions"].tolist() == [*range(1, 5), *range(14, 21)]
        assert column(buffer, "episodes/checkpoint_idx") == [0, 2]


def test_a_final_dump_goes_on_where_its_old_rows_are_those_of_the_one_before(folder, new_path):
    ring = Ring(folder, 8)
    for step in range(1, 16):
        ring.add(step, terminal=step == 5)
    ring.dump_final()
    assert ring.dumped == [7, 15, 21]
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 16))
        assert column(buffer, "episodes/lengths") == [5, 10]
        assert column(buffer, "episodes/whole") == [True, False]
        left_out = buffer.metadata["left_out"]
        assert "checkpoint 2: rows 5 to 6, not written in this dump (its add_count says so)" in left_out
    arrays = {name: stored_array(folder, name, 1) for name in STORES}
    arrays["action"][5] += 1
    write_checkpoint(folder, 1, arrays)
    with converted(folder, new_path) as buffer:
        assert buffer.metadata["measurements"]["joined_checkpoints"] == 1
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith(
            "Nothing shows that checkpoint 2 goes on where checkpoint 1 ends (add_count 15 and 5)"
        )


def test_a_dump_that_was_skipped_leaves_a_gap(folder, new_path):
    """A ring of these logs dumps itself at one row; padding can carry it past that row."""
    ring = Ring(folder, 8)
    for step in range(1, 22):
        ring.add(step, terminal=step == 11)
    assert ring.dumped == [7, 23]
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [1, 2, 3, 4, *range(12, 18)]  # row 0 is the rest of a padding
        assert column(buffer, "episodes/whole") == [False, False]
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith(
            "8 rows between checkpoint 0 and checkpoint 1 are in neither (add_count 7 and 23, capacity 8)"
        )


def stored_array(folder, name, number):
    return np.load(io.BytesIO(gzip.decompress((folder / f"$store$_{name}_ckpt.{number}.gz").read_bytes())))


def test_a_ring_that_has_wrapped_around_is_read_in_time_order(folder, new_path):
    write_checkpoint(folder, 0, rows_of([7, 8, 9, 4, 5, 6], ends=(3,), add_count=np.array(9)))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [4, 5, 6, 7, 8, 9]
        assert column(buffer, "episodes/lengths") == [1, 5]
        assert column(buffer, "episodes/whole") == [False, False]


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    capacity=st.integers(5, 20),
    final=st.booleans(),
    data=st.data(),
)
def test_whatever_a_ring_dumps_comes_back_once_and_in_order(tmp_path_factory, new_path, lengths, capacity, final, data):
    """Dumps may be missing: padding can carry the ring past the row at which it dumps itself."""
    folder = tmp_path_factory.mktemp("logs")
    ring, episode_of, step = Ring(folder, capacity), {}, 0
    for number, length in enumerate(lengths):
        for t in range(length):
            step += 1
            episode_of[step] = number
            ring.add(step, terminal=t == length - 1)
    if final and len(ring.rows) % capacity not in (0, capacity - 1):
        ring.dump_final()
    if not any(ring.rows[at] for end in ring.dumped for at in range(max(end - capacity + 1, 0), end)):
        return
    stack = data.draw(st.integers(1, 4))
    source = DopamineSource(folder, stack=stack)
    assert_rows_come_back(source, ring, dumped_rows(ring, capacity), episode_of, new_path("memory"))


def assert_rows_come_back(source, ring, expected, episode_of, path):
    """Compare a buffer with the rows that were given to a ring: `expected` says which, `episode_of` steps' episodes."""
    report = rlbuffers.convert(source, path)
    assert report.read.transitions == report.written.transitions
    with rlbuffers.open(path) as buffer:
        rows, starts, stack = buffer[:], column(buffer, "episodes/starts"), buffer.spec.stack
        assert rows["actions"].tolist() == [ring.rows[at] for at in expected if ring.rows[at]]
        np.testing.assert_array_equal(rows["observations"][:, -1], [frame_of(step) for step in rows["actions"]])
        np.testing.assert_array_equal(rows["rewards"], rows["actions"] % 3 - 1)
        for start, length, whole in zip(
            starts, column(buffer, "episodes/lengths"), column(buffer, "episodes/whole"), strict=True
        ):
            steps = rows["actions"][start : start + length].tolist()
            everything = [step for step, number in episode_of.items() if number == episode_of[steps[0]]]
            assert steps == list(range(steps[0], steps[0] + length))
            assert set(steps) <= set(everything)
            assert whole == (steps == everything) or not whole  # a beginning without its padding is not known
            assert rows["terminals"][start + length - 1] == (steps[-1] == everything[-1])
            for t in range(length):
                for back in range(stack):
                    shown = frame_of(steps[t - back]) if t >= back else frame_of(0)
                    np.testing.assert_array_equal(rows["observations"][start + t, stack - 1 - back], shown)


def dumped_rows(ring, capacity):
    """Return which of the rows ever added must come back, from when each dump was made."""
    found = []
    for number, end in enumerate(ring.dumped):
        start = end - end % capacity
        if number and ring.dumped[number - 1] // capacity + 1 == end // capacity:
            found.append(start - 1)  # the last row of the epoch before
        found += range(start, end)
    return found


# Ordinary checkpoints: each holds the whole ring, and so what the one before held.


def ordinary_ring(folder, capacity, dumps, ends=()):
    """Dump a ring of steps 1, 2, ... each time when so many rows were added, padding included."""
    ring = Ring(folder, capacity, dumps_itself=False)
    while len(ring.rows) <= max(dumps):
        for _ in range(dumps.count(len(ring.rows))):
            ring.dump()
        step = max(ring.rows, default=0) + 1
        ring.add(step, terminal=step in ends)
    assert ring.dumped == dumps, "a dump was meant inside a padding"


def test_a_checkpoint_repeats_the_one_before(folder, new_path):
    ordinary_ring(folder, 20, [9, 13, 18], ends=(2, 8))
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 10))
        assert column(buffer, "episodes/lengths") == [2, 6, 1]
        assert column(buffer, "episodes/whole") == [True, True, False]
        assert column(buffer, "episodes/checkpoint_idx") == [0, 0, 2]
        assert buffer.metadata["measurements"]["repeated_rows"] == 9 + 13
        assert buffer.metadata["measurements"]["joined_checkpoints"] == 2
        assert buffer.metadata["left_out"][0] == (
            "22 repeated rows, which the checkpoint before holds too: 9 of checkpoint 1, 13 of checkpoint 2"
        )
        assert buffer.metadata["warnings"] == []


def test_a_chosen_checkpoint_is_all_that_it_holds(folder, new_path):
    ordinary_ring(folder, 20, [9, 13, 18], ends=(2, 8))
    for number, last in ((0, 3), (1, 7), (2, 9)):
        with converted(folder, new_path, number) as buffer:
            assert buffer[:]["actions"].tolist() == list(range(1, 1 + last))
            assert buffer.metadata["measurements"]["repeated_rows"] == 0
    with converted(folder, new_path, [0, 2]) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 10))
        assert buffer.metadata["measurements"]["repeated_rows"] == 9


def test_rings_that_have_wrapped_around_overlap(folder, new_path):
    ordinary_ring(folder, 10, [8, 15, 19])
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 17))
        assert column(buffer, "episodes/whole") == [False]
        assert buffer.metadata["measurements"]["repeated_rows"] == (8 - 5) + (15 - 9)
        assert buffer.metadata["warnings"] == []


def test_a_checkpoint_without_a_new_row_adds_nothing(folder, new_path):
    ordinary_ring(folder, 10, [8, 8, 12])
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == list(range(1, 10))
        assert buffer.metadata["measurements"]["repeated_rows"] == 8 + 6


def test_rows_that_were_overwritten_between_two_checkpoints_cut_the_episode(folder, new_path):
    ordinary_ring(folder, 10, [8, 22, 24])
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [*range(1, 6), *range(10, 22)]
        assert column(buffer, "episodes/lengths") == [5, 12]
        assert column(buffer, "episodes/whole") == [False, False]
        assert 4 in buffer.rows_without_next
        (warning,) = buffer.metadata["warnings"]
        assert warning == (
            "4 rows between checkpoint 0 and checkpoint 1 are in neither (add_count 8 and 22, capacity 10): they were "
            "overwritten before they were dumped. An episode that goes on there is cut."
        )


def test_what_lies_between_chosen_checkpoints_is_no_gap_to_warn_of(folder, new_path):
    ordinary_ring(folder, 10, [8, 16, 24])
    with converted(folder, new_path, [0, 2]) as buffer:
        assert column(buffer, "episodes/lengths") == [5, 10]
        assert buffer.metadata["warnings"] == []


def test_a_gap_between_the_numbers_that_are_left_is_one(folder, new_path):
    ordinary_ring(folder, 10, [8, 16, 24])
    for path in folder.glob("*_ckpt.1.gz"):
        path.unlink()
    with converted(folder, new_path) as buffer:
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("6 rows between checkpoint 0 and checkpoint 2 are in neither")


@pytest.mark.parametrize("name", STORES)
def test_rows_that_differ_are_of_another_run_and_are_not_merged(folder, new_path, name):
    ordinary_ring(folder, 20, [8, 12])
    array = stored_array(folder, name, 1)
    array[4] += 1
    write_npy(folder / f"$store$_{name}_ckpt.1.gz", array)
    with converted(folder, new_path) as buffer:
        assert len(buffer) == 5 + 9
        assert buffer.metadata["measurements"]["repeated_rows"] == 0
        warning = buffer.metadata["warnings"][0]
        assert warning.startswith(
            "CHECKPOINT 1 IS NOT OF THE SAME RUN AS CHECKPOINT 0: of 8 rows that both should hold"
        )
        assert "1 differ." in warning


def test_counts_that_do_not_grow_are_of_another_run(folder, new_path):
    ordinary_ring(folder, 20, [12])
    ordinary_ring(folder / "other", 20, [6, 8])
    for path in (folder / "other").glob("*_ckpt.1.gz"):
        shutil.move(path, folder)
    with converted(folder, new_path) as buffer:
        assert buffer[:]["actions"].tolist() == [*range(1, 10), *range(1, 6)]
        assert column(buffer, "episodes/whole") == [False, False]
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith(
            "Nothing shows that checkpoint 1 goes on where checkpoint 0 ends (add_count 12 and 8): it may be of another"
        )


def test_rings_of_different_capacities_are_not_merged(folder, new_path):
    ordinary_ring(folder, 20, [8])
    ordinary_ring(folder / "other", 30, [6, 12])
    for path in (folder / "other").glob("*_ckpt.1.gz"):
        shutil.move(path, folder)
    with converted(folder, new_path) as buffer:
        assert len(buffer) == 5 + 9
        assert buffer.metadata["warnings"][0].startswith("Nothing shows that checkpoint 1 goes on where checkpoint 0")


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    capacity=st.integers(5, 25),
    data=st.data(),
)
def test_whatever_ordinary_checkpoints_hold_comes_back_once_and_in_order(
    tmp_path_factory, new_path, lengths, capacity, data
):
    folder = tmp_path_factory.mktemp("logs")
    ring, episode_of, step = Ring(folder, capacity, dumps_itself=False), {}, 0
    dumps = data.draw(st.sets(st.integers(1, sum(lengths)), min_size=1, max_size=5), "steps after which a dump is made")
    for number, length in enumerate(lengths):
        for t in range(length):
            step += 1
            episode_of[step] = number
            ring.add(step, terminal=t == length - 1)
            if step in dumps:
                ring.dump()
    expected, last = [], None
    for added in ring.dumped:
        oldest = max(added - capacity, 0)
        # A chain that begins one row before the ring is full begins with the last row of an older one.
        skipped = (last is None or oldest > last) and added >= capacity and added % capacity == capacity - 1
        expected += range(max(oldest + skipped, last or 0), added)
        last = added
    if not any(ring.rows[at] for at in expected):
        return
    stack = data.draw(st.integers(1, 4))
    source = DopamineSource(folder, stack=stack)
    assert_rows_come_back(source, ring, expected, episode_of, new_path("memory"))
    lost = sum(max(b - capacity - a, 0) for a, b in itertools.pairwise(ring.dumped))
    warnings = [text for text in source.metadata()["warnings"] if "are in neither" in text]
    assert sum(int(text.split()[0]) for text in warnings) == lost
    total = sum(min(added, capacity) for added in ring.dumped)
    skipped_rows = sum("convert both to have it" in text for text in source.metadata()["left_out"])
    assert source.metadata()["measurements"]["repeated_rows"] == total - len(expected) - skipped_rows


def test_comparing_frames_takes_no_memory_for_them(folder, new_path, monkeypatch):
    """Frames are read in blocks, and a digest of each is kept."""
    ordinary_ring(folder, 400, [300, 350])
    monkeypatch.setattr("rlbuffers.sources.dopamine.checkpoints._BLOCK_BYTES", 7 * SIZE[0] * SIZE[1])
    sizes = []
    read = NpyStream.read

    def noted(stream, rows):
        block = read(stream, rows)
        sizes.append(len(block) if block.ndim == 3 else 0)
        return block

    monkeypatch.setattr(NpyStream, "read", noted)
    with converted(folder, new_path) as buffer:
        assert len(buffer) == 347
    assert max(sizes) == 7


# What is wrong with files and arguments.


def test_a_long_log_without_terminals_is_refused(folder, new_path, monkeypatch):
    write_checkpoint(folder, 0, rows_of([1] * 10))
    monkeypatch.setattr("rlbuffers.sources.dopamine.logs.MAX_EPISODE_BYTES", 9 * SIZE[0] * SIZE[1])
    with pytest.raises(FormatError, match="begins in checkpoint 0 has 10 steps, expected at most 9"):
        converted(folder, new_path)


@pytest.mark.parametrize("name", [*STORES, "add_count"])
def test_a_missing_file_is_named(folder, name):
    write_checkpoint(folder, 0, rows_of([1, 2], **{name: None}))
    with pytest.raises(BufferNotFoundError, match=rf"{name}_ckpt\.0\.gz: there is no such file"):
        DopamineSource(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation": np.zeros((2, 3, 2), np.float32)}, r"expected uint8 frames .* found float32 \(2, 3, 2\)"),
        ({"observation": np.zeros((2, 3), np.uint8)}, r"expected uint8 frames .* found uint8 \(2, 3\)"),
        ({"observation": np.zeros((0, 3, 2), np.uint8)}, r"expected uint8 frames .* found uint8 \(0, 3, 2\)"),
        ({"action": np.zeros(3, np.int32)}, r"action_ckpt.* expected 2 whole numbers, .* found int32 \(3,\)"),
        ({"action": np.zeros(2)}, r"action_ckpt.* expected 2 whole numbers, .* found float64 \(2,\)"),
        ({"reward": np.zeros((2, 1))}, r"reward_ckpt.* expected 2 numbers, .* found float64 \(2, 1\)"),
        ({"terminal": np.zeros(2)}, r"terminal_ckpt.* expected 2 whole numbers"),
        ({"add_count": np.array(2.5)}, r"add_count_ckpt.* expected one whole number, found float64 \(\)"),
        ({"add_count": np.array([2, 3])}, r"add_count_ckpt.* expected one whole number, found int64 \(2,\)"),
        ({"add_count": np.array(-1)}, "expected a number of rows, found -1"),
        ({"action": np.array(["a", "b"])}, "expected numbers in C order, found <U1"),
    ],
)
def test_arrays_that_do_not_fit_are_named(folder, change, message):
    write_checkpoint(folder, 0, rows_of([1, 2], **change))
    with pytest.raises(FormatError, match=message):
        DopamineSource(folder)


def test_pickles_are_refused_and_not_run(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    write_checkpoint(folder, 0, rows_of([1, 2]))
    path = folder / "add_count_ckpt.0.gz"
    write_npy(path, np.array([Trap()], object), pickled=True)
    with pytest.raises(FormatError, match=r"found Python objects \(a pickle\)"):
        DopamineSource(folder)
    path.write_bytes(gzip.compress(pickle.dumps(Trap())))
    with pytest.raises(FormatError, match="expected a NumPy array of numbers"):
        DopamineSource(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["observation", "reward"])
def test_files_cut_short_or_too_long_are_refused(folder, new_path, name):
    arrays = rows_of(list(range(1, 200)))
    write_checkpoint(folder, 0, arrays)
    path = folder / f"$store$_{name}_ckpt.0.gz"
    whole = gzip.decompress(path.read_bytes())
    for content, message in (
        (gzip.compress(whole[:-1]), "cut short; expected an array of shape .* it ends in row 198"),
        (gzip.compress(whole + b"x"), "bytes follow the"),
        (gzip.compress(whole)[:-4], "cut short; the GZIP stream has no end"),
    ):
        path.write_bytes(content)
        with pytest.raises(CorruptDataError, match=message):
            converted(folder, new_path)


def test_nothing_is_written_for_a_log_without_rows(folder, new_path, tmp_path):
    for arrays in (rows_of([1, 2], add_count=np.array(0)), rows_of([0, 0, 0])):
        write_checkpoint(folder, 0, arrays)
        with pytest.raises(FormatError, match="expected transitions, found none"):
            converted(folder, new_path)
    assert not list(tmp_path.rglob("*.hdf5"))


def test_rewards_that_are_no_numbers_are_refused(folder, new_path):
    write_checkpoint(folder, 0, rows_of([1, 2], reward=np.array([0, np.nan], np.float32)))
    with pytest.raises(FormatError, match="expected finite rewards, found nan in row 1"):
        converted(folder, new_path)


def test_checkpoints_of_different_shapes_are_not_joined(folder):
    write_checkpoint(folder, 0, rows_of([1, 2]))
    write_checkpoint(folder, 1, rows_of([1, 2], action=np.array([1, 2])))
    with pytest.raises(FormatError, match="action dtype int64, unlike int32 in checkpoint 0; convert them apart"):
        DopamineSource(folder)


def test_other_files_of_a_checkpoint_are_told(folder, new_path):
    write_checkpoint(folder, 0, rows_of([1, 2], episode_end_indices=np.array([1])))
    with converted(folder, new_path) as buffer:
        assert buffer.metadata["left_out"][1:] == ["checkpoint 0: episode_end_indices_ckpt.0.gz, which is not read"]


def test_the_game_is_that_of_the_folder_or_as_said(tmp_path, new_path):
    plain = shutil.copytree(LOGS, tmp_path / "logs")
    assert DopamineSource(LOGS.parent).game == "Breakout"
    assert DopamineSource(LOGS, game="Tennis").spec.columns["actions"].space["n"] == 18
    with converted(plain, new_path) as buffer:
        assert buffer.metadata["environment"] == {}
        assert buffer.spec.columns["actions"].space is None
    with pytest.raises(
        UsageError, match=r"'tenis' is not one of the 60 Atari games of DQN Replay; did you mean Tennis"
    ):
        DopamineSource(plain, game="tenis")


def test_arguments_that_cannot_be_obeyed(tmp_path):
    for options, message in (({"stack": 0}, "stack 0: expected at least 1"), ({"step_limit": 0}, "step limit 0")):
        with pytest.raises(UsageError, match=message):
            DopamineSource(LOGS, **options)
    with pytest.raises(BufferNotFoundError, match="there is no checkpoint 7; found 0"):
        DopamineSource(LOGS, [0, 7])
    with pytest.raises(BufferNotFoundError, match="there is no such folder"):
        DopamineSource(tmp_path / "nothing")
    with pytest.raises(
        BufferNotFoundError, match=r"expected files such as \$store\$_observation_ckpt\.0\.gz, found none"
    ):
        DopamineSource(tmp_path)
