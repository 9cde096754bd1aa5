"""Reverb checkpoints: made here by the .proto files, read without Reverb; every kind of item and of damage."""

from __future__ import annotations

import contextlib
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reverb_checkpoint import (
    LAST,
    TYPES,
    chunk,
    item,
    signature,
    snappy,
    table,
    tensor,
    write_checkpoint,
    write_records,
    write_steps,
)
from wire import delimited, varint

import rlbuffers
from rlbuffers.decoding.protobuf_wire import MalformedError
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UsageError
from rlbuffers.sources.reverb.checkpoint import ReverbSource
from rlbuffers.sources.reverb.signature import column_names

TABLE = dict.fromkeys(["action", "discount", "next_observation", "observation", "reward"])


def steps(count, *, ends=(), observation=None, action=np.float32):
    """Return columns in which each row can be told from the others; discounts are 0 at `ends`."""
    rows = np.arange(count)
    discounts = np.ones(count, np.float32)
    discounts[list(ends)] = 0
    return {
        "observation": np.stack([rows, -rows], 1).astype(np.float32) if observation is None else observation,
        "action": (rows + 1).astype(action).reshape(-1, *([1] if action is np.float32 else [])),
        "reward": (rows + 0.5).astype(np.float64),
        "discount": discounts,
    }


def with_next(columns):
    return {**columns, "next_observation": columns["observation"] + 1}


def void(columns, *rows):
    """Make rows that hold an observation only."""
    for name in ("action", "reward", "discount"):
        columns[name][list(rows)] = 0
    return columns


def opened(path, **options):
    memory = f"memory:{path}"
    rlbuffers.convert(ReverbSource(path, **options), memory, overwrite=True)
    assert rlbuffers.validate(memory).ok
    return rlbuffers.open(memory)


def assert_column(buffer, name, expected):
    found = buffer[:][name]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("squeezed", [True, False])
@pytest.mark.parametrize("delta", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int16, np.int64, np.uint32])
def test_transitions(tmp_path, dtype, delta, squeezed):
    rng = np.random.default_rng(0)
    observation = rng.integers(0, 200, (7, 2, 3)).astype(dtype)
    if np.dtype(dtype).kind == "i":
        observation -= dtype(100)
    columns = with_next(steps(7, ends=(3,), observation=observation))
    names = columns if squeezed else ()
    path = write_steps(
        tmp_path, columns, [(k, k + 1) for k in range(7)], squeezed=names, chunk_length=3, delta=delta,
        episodes=[5, 5, 5, 5, 9, 9, 9],
    )  # fmt: skip
    with opened(path) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        assert_column(buffer, "observations", observation)
        assert_column(buffer, "next_observations", observation + dtype(1))
        assert_column(buffer, "actions", columns["action"])
        assert_column(buffer, "rewards", columns["reward"])
        assert_column(buffer, "terminals", np.arange(7) == 3)
        assert_column(buffer, "priorities", np.arange(7) + 1.0)
        assert_column(buffer, "episode_ids", np.array([5, 5, 5, 5, 9, 9, 9], np.uint64))
        assert_column(buffer, "steps", np.array([0, 1, 2, 3, 0, 1, 2]))
        assert buffer.metadata["source"]["columns"]["observations"] == "observation"
        assert [file["name"] for file in buffer.metadata["source"]["files"]] == [
            "tables.tfrecord", "items.tfrecord", "chunks.tfrecord",
        ]  # fmt: skip


@pytest.mark.parametrize("compact", [True, False])
def test_pairs(tmp_path, compact):
    columns = void(steps(9, ends=(3,)), 4, 8)
    windows = [(k, k + 2) for k in (0, 1, 2, 3, 5, 6, 7)]
    shorter = ("action", "reward", "discount") if compact else ()
    path = write_steps(tmp_path, columns, windows, shorter=shorter, episodes=[1] * 5 + [2] * 4)
    with opened(path) as buffer:
        rows = [start for start, _ in windows]
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        assert_column(buffer, "observations", columns["observation"][rows])
        assert_column(buffer, "next_observations", columns["observation"][rows][:] + np.float32([1, -1]))
        assert_column(buffer, "rewards", columns["reward"][rows])
        assert_column(buffer, "terminals", np.array(rows) == 3)
        assert "warnings" not in buffer.metadata or not buffer.metadata["warnings"]


def test_pairs_without_the_last_observation_lack_the_terminal_step(tmp_path):
    path = write_steps(tmp_path, steps(5, ends=(4,)), [(k, k + 2) for k in range(4)])
    with opened(path) as buffer:
        assert not buffer[:]["terminals"].any()
        assert buffer.metadata["measurements"]["terminal_steps_without_a_pair"] == 1
        assert "1 terminal steps are the second of a pair" in buffer.metadata["warnings"][0]


def test_pairs_across_episodes_are_left_out(tmp_path):
    """By the writer's episodes, or by a timeout that something other than a void step follows."""
    columns = {**steps(6), "truncated": np.array([0, 1, 0, 0, 0, 0], bool)}
    path = write_steps(tmp_path, columns, [(k, k + 2) for k in range(5)], episodes=[1, 1, 1, 1, 2, 2])
    with opened(path) as buffer:
        assert_column(buffer, "rewards", columns["reward"][[0, 2, 4]])
        assert buffer.metadata["measurements"]["items_across_episodes"] == 2


@pytest.mark.parametrize("action", [np.float32, np.int64])
def test_a_void_step_after_a_terminal_gives_the_last_observation(tmp_path, action):
    columns = void(steps(6, ends=(2,), action=action), 3, 4, 5)
    with opened(write_steps(tmp_path, columns, [(0, 6)])) as buffer:
        assert len(buffer) == 3
        assert_column(buffer, "terminals", np.array([False, False, True]))
        np.testing.assert_array_equal(buffer[:]["next_observations"], columns["observation"][1:4])
        assert buffer.arrays["episodes/whole"].all().tolist() == [True]
        assert buffer.metadata["measurements"]["void_steps"] == 3
        assert "3 steps after an episode's end" in " ".join(buffer.metadata["left_out"])


def test_a_void_step_after_a_truncation_gives_the_last_observation(tmp_path):
    columns = void(steps(5), 3, 4)
    with opened(write_steps(tmp_path, columns, [(0, 5)])) as buffer:
        assert not buffer[:]["terminals"].any()
        np.testing.assert_array_equal(buffer[:]["next_observations"], columns["observation"][1:4])
        assert buffer.arrays["episodes/whole"].all().tolist() == [False]


def test_a_step_of_zeros_with_a_discrete_action_may_be_a_terminal_step(tmp_path):
    columns = void(steps(4, action=np.int64), 3)
    with opened(write_steps(tmp_path, columns, [(0, 4)])) as buffer:
        assert buffer[:]["terminals"].tolist() == [False, False, False, True]
        assert buffer.rows_without_next.tolist() == [3]
        assert "1 steps have action 0, reward 0 and discount 0" in buffer.metadata["warnings"][0]


def test_flags_tell_void_steps_from_terminal_ones(tmp_path):
    columns = void({**steps(4, action=np.int64), "terminal": np.zeros(4, bool)}, 3)
    with opened(write_steps(tmp_path, columns, [(0, 4)])) as buffer:
        assert len(buffer) == 3
        assert not len(buffer.rows_without_next)


@pytest.mark.parametrize("flag", ["terminal", "timeout"])
def test_steps_after_an_end_are_another_episode(tmp_path, flag):
    """The writer did not end its episode: what follows is not what was observed last."""
    columns = {**steps(6), "terminal": np.zeros(6, bool), "timeout": np.zeros(6, bool)}
    columns[flag][2] = True
    with opened(write_steps(tmp_path, columns, [(0, 6)])) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 3]
        assert buffer.rows_without_next.tolist() == [2, 5]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, False]


def test_windows_across_the_writers_episodes_are_cut(tmp_path):
    columns = steps(6)
    path = write_steps(tmp_path, columns, [(0, 6), (1, 5)], episodes=[1, 1, 1, 2, 2, 2])
    with opened(path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 3, 2, 2]
        assert buffer.rows_without_next.tolist() == [2, 5, 7, 9]
        assert buffer.arrays["episodes/first_steps"].all().tolist() == [0, 0, 1, 1]


def test_windows_with_one_observation_more(tmp_path):
    columns = {**steps(8, ends=(3,)), "weight": np.arange(8.0)}
    path = write_steps(
        tmp_path, columns, [(0, 5), (4, 8)], shorter=("action", "reward", "discount"), squeezed=("weight",),
        episodes=[1] * 5 + [2] * 3,
    )  # fmt: skip
    with opened(path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 1, 2]
        assert buffer.rows_without_next.tolist() == [4]
        assert buffer.arrays["episodes/weight"].all().tolist() == [0, 4, 4]
        assert buffer.arrays["episodes/whole"].all().tolist() == [True, False, False]


def test_windows_of_transitions(tmp_path):
    columns = with_next({**steps(6), "timeout": np.arange(6) == 2})
    columns["next_observation"] = columns["observation"] + np.float32([1, -1])
    with opened(write_steps(tmp_path, columns, [(0, 6)])) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 3]
        np.testing.assert_array_equal(buffer[:]["next_observations"], columns["next_observation"])


def test_windows_of_unequal_columns_are_refused(tmp_path):
    path = write_steps(tmp_path, steps(6), [(0, 6)], squeezed=("action",))
    with pytest.raises(FormatError, match=r"item 0: expected as many steps in each column.*1 of 'actions'"):
        opened(path)


def test_single_steps_without_next_observations_are_refused(tmp_path):
    path = write_steps(tmp_path, steps(3), [(0, 1)])
    with pytest.raises(FormatError, match="--map COLUMN=next_observations"):
        ReverbSource(path)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_windows_and_chunks(tmp_path_factory, data):
    """Against slices of the columns: overlapping windows of any length, chunks of any length."""
    count = data.draw(st.integers(4, 12))
    columns = steps(count, observation=np.arange(count * 2, dtype=np.uint8).reshape(-1, 2))
    window = st.integers(0, count - 3).flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 3, count)))
    windows = data.draw(st.lists(window, min_size=1, max_size=4))
    path = write_steps(
        tmp_path_factory.mktemp("reverb"),
        columns,
        windows,
        chunk_length=data.draw(st.integers(1, count)),
        delta=data.draw(st.booleans()),
    )
    with opened(path) as buffer:
        rows = np.concatenate([np.arange(*window) for window in windows])
        assert buffer.arrays["episodes/lengths"].all().tolist() == [stop - start for start, stop in windows]
        assert_column(buffer, "observations", columns["observation"][rows])
        assert_column(buffer, "rewards", columns["reward"][rows])
        known = np.ones(len(rows), bool)
        known[buffer.rows_without_next] = False
        np.testing.assert_array_equal(buffer[:]["next_observations"][known], columns["observation"][rows[known] + 1])


# Signatures, names and tables


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"b": None, "a": None}, ["a", "b"]),
        ({"o": {"y": None, "x": None}, "a": (None, None)}, ["a/0", "a/1", "o/x", "o/y"]),
        ([("z", None), ("a", {"d": None, "c": None})], ["z", "a/c", "a/d"]),
        (None, [""]),
        ((), []),
    ],
)
def test_signatures(names, expected):
    assert column_names(memoryview(signature(names))) == expected


def test_a_signature_that_is_too_deep_is_malformed():
    deep = None
    for _ in range(60):
        deep = (deep,)
    with pytest.raises(MalformedError):
        column_names(memoryview(signature(deep)))


def one_item(path, tensors, names, *, items=None, squeeze=True):
    """Write a table with one item whose columns are the tensors of one chunk."""
    columns = [([(1, 0, 1, index)], squeeze) for index in range(len(tensors))]
    return write_checkpoint(path, [table("t", names)], items or [item("t", columns)], [chunk(1, tensors)])


def test_columns_without_known_names_are_listed(tmp_path):
    rows = [np.zeros((1, 3), np.float32), np.zeros(1, np.int64)]
    path = one_item(tmp_path, [tensor(row) for row in rows], {"x": None, "done": None})
    with pytest.raises(FormatError) as caught:
        ReverbSource(path)
    message = str(caught.value)
    assert "cannot tell which columns are observations, actions, rewards, terminals or discounts" in message
    assert "'done' (float32 (3,)), 'x' (int64 ())" in message
    assert "--map COLUMN=NAME" in message


def test_columns_are_named_by_hand(tmp_path):
    values = [np.full((1, 1), value, np.float32) for value in range(6)]
    names = (None, None, None, None, {"x": None, "y": None})
    path = one_item(tmp_path, [tensor(rows) for rows in values], names)
    chosen = {"0": "actions", "1": "rewards", "2": "terminals", "4": "observations", "3": "speeds"}
    with pytest.raises(FormatError, match="single steps"):
        ReverbSource(path, names=chosen)
    with opened(path, names={**chosen, "4/y": "next_observations/x"}) as buffer:
        rows = buffer[:]
        assert rows["observations/x"].tolist() == [[4.0]]
        assert rows["next_observations/x"].tolist() == [[5.0]]
        assert (rows["rewards"].tolist(), rows["terminals"].tolist()) == ([1.0], [True])
        assert rows["speeds"].tolist() == [[3.0]]
    with pytest.raises(UsageError, match=r"--map z=actions: there is no such column; it has '0'"):
        ReverbSource(path, names={"z": "actions"})
    with pytest.raises(FormatError, match="more than one column would be actions"):
        ReverbSource(path, names={**chosen, "3": "actions"})
    with pytest.raises(FormatError, match="expected a next observation for each of"):
        ReverbSource(path, names={**chosen, "3": "next_observations/z"})


def test_a_table_without_signature_has_numbers(tmp_path):
    path = one_item(tmp_path, [tensor(np.zeros((1, 2), np.float32))] * 4, ())
    with pytest.raises(FormatError, match=r"'0' \(float32 \(2,\)\), '1'"):
        ReverbSource(path)


def test_all_types(tmp_path):
    """Of those that cannot be stored the column is left out, if it is none that is needed."""
    needed = [np.ones((1, 2), np.float32)] * 2 + [np.ones(1, np.float32)] * 2 + [np.ones((1, 2), np.float32)]
    names = dict(zip(("observation", "action", "reward", "discount", "next_observation"), range(5), strict=True))
    columns = {name: needed[place] for name, place in names.items()}
    columns |= {f"x_{name}": np.array([[0, 1]]).astype(name) for name in TYPES}
    encoded = {name: tensor(rows) for name, rows in columns.items()}
    encoded["x_text"] = tensor(np.zeros(1, np.int64), dtype=7, content=b"\x01a")
    encoded["x_brain"] = tensor(np.zeros(1, np.int16), dtype=14)
    ordered = sorted(encoded)
    path = one_item(tmp_path, [encoded[name] for name in ordered], dict.fromkeys(ordered))
    with opened(path) as buffer:
        for name in TYPES:
            assert_column(buffer, f"x_{name}", columns[f"x_{name}"])
        assert "'x_text', whose type string" in " ".join(buffer.metadata["left_out"])
        assert "'x_brain', whose type bfloat16" in " ".join(buffer.metadata["left_out"])
    path = one_item(tmp_path / "2", [encoded[name] for name in ordered], dict.fromkeys(ordered))
    with pytest.raises(FormatError, match=r"'x_text' \(string \(\)\) cannot be stored"):
        ReverbSource(path, names={"x_text": "observations", "observation": "old", "next_observation": "next"})


def test_which_table(tmp_path):
    write_checkpoint(tmp_path, [table("a", TABLE), table("b", TABLE)], [], [])
    with pytest.raises(UsageError, match="has the tables 'a', 'b'; say which with --table"):
        ReverbSource(tmp_path)
    with pytest.raises(UsageError, match="has no table 'c'; its tables are 'a', 'b'"):
        ReverbSource(tmp_path, "c")
    with pytest.raises(FormatError, match="table 'b' has no items"):
        ReverbSource(tmp_path, "b")


# Directories and damage


@pytest.fixture
def checkpoint(tmp_path):
    columns = with_next(steps(4))
    return write_steps(tmp_path / "root", columns, [(k, k + 1) for k in range(4)], squeezed=columns)


def test_the_newest_finished_checkpoint_is_read(checkpoint):
    root = checkpoint.parent
    for name in ("2025-01-01T00:00:00.0+00:00", "2027-01-01T00:00:00.0+00:00"):
        shutil.copytree(checkpoint, root / name)
    (root / "2027-01-01T00:00:00.0+00:00" / "DONE").unlink()
    (root / "notes").mkdir()
    assert ReverbSource(root).path.name == LAST
    assert ReverbSource(root / "2025-01-01T00:00:00.0+00:00").path.name.startswith("2025")
    with pytest.raises(FormatError, match="no file DONE: the server did not finish"):
        ReverbSource(root / "2027-01-01T00:00:00.0+00:00")


def test_no_checkpoint(tmp_path, checkpoint):
    with pytest.raises(BufferNotFoundError, match="no such directory"):
        ReverbSource(tmp_path / "nothing")
    with pytest.raises(BufferNotFoundError, match="no such directory; a Reverb checkpoint is one"):
        ReverbSource(checkpoint / "DONE")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"expected a Reverb checkpoint.*found none"):
        ReverbSource(tmp_path / "empty")
    (checkpoint / "DONE").unlink()
    with pytest.raises(FormatError, match="found 1 without DONE"):
        ReverbSource(checkpoint.parent)


@pytest.mark.parametrize("name", ["items.tfrecord", "chunks.tfrecord"])
def test_a_missing_file(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(FormatError, match=f"lacks {name}"):
        ReverbSource(checkpoint)


@pytest.mark.parametrize("name", ["tables.tfrecord", "items.tfrecord", "chunks.tfrecord"])
@pytest.mark.parametrize("how", ["cut", "changed", "trailing", "empty", "other"])
def test_damaged_files(checkpoint, name, how):
    path = checkpoint / name
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-9],
            "changed": data[:20] + bytes([data[20] ^ 255]) + data[21:],
            "trailing": data + b"x",
            "empty": b"",
            "other": b"\x89HDF\r\n\x1a\n" + data,
        }[how]
    )
    with pytest.raises(FormatError, match=name):
        ReverbSource(checkpoint)


@pytest.mark.parametrize("name", ["tables.tfrecord", "items.tfrecord", "chunks.tfrecord"])
def test_records_that_are_no_messages(checkpoint, name):
    write_records(checkpoint / name, [b"\x0b\x0b"])
    with pytest.raises(CorruptDataError, match=f"{name}: record 0: not a Reverb"):
        ReverbSource(checkpoint)


def columns_of(*, key=1, offset=0, length=1, index=0, squeeze=False):
    right = [([(1, 0, 1, place)], True) for place in range(5)]
    right[0] = ([(key, offset, length, index)], squeeze)
    return right


def checkpoint_of(tmp_path, *, columns=None, first=None, names=TABLE):
    rows = [np.ones(1, np.float32)] * 5
    tensors = [tensor(row) for row in rows]
    tensors[0] = first or tensors[0]
    return one_item(tmp_path, tensors, names, items=[item("t", columns or columns_of())])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"columns": columns_of(key=2)}, "1 of 2 chunks that items refer to are missing, the first with the key 2"),
        ({"columns": columns_of(offset=1)}, "chunk 1: an item refers to rows 1 to 2 of 1"),
        ({"columns": columns_of(index=9)}, "chunk 1: has no tensor 9"),
        ({"columns": columns_of(length=0)}, "record 0: not a Reverb item"),
        ({"columns": columns_of(length=2, squeeze=True)}, "record 0: not a Reverb item"),
        ({"columns": columns_of(offset=-1)}, "record 0: not a Reverb item"),
        ({"columns": columns_of(length=2**31)}, "record 0: not a Reverb item"),
        (
            {"columns": columns_of(length=2**31 - 1)},
            "an item of 2,147,483,647 rows of 'actions': it announces 8,589,934,588 bytes",
        ),
        ({"columns": columns_of()[:4]}, "expected 5 columns in its items, as the signature says"),
        ({"columns": [([], False)] * 5}, "record 0: not a Reverb item"),
        ({"first": tensor(np.ones(1, np.float32), dtype=99)}, "expected the number of a TensorFlow type, found 99"),
        ({"first": tensor(np.ones(1, np.float32), dtype=2)}, "ask for 8 bytes, its data are 4"),
        ({"first": tensor(np.ones(1, np.float32), content=varint(2**31))}, "cannot become 2,147,483,648"),
        ({"first": tensor(np.ones(1, np.float32), content=b"")}, "not Snappy data"),
        ({"first": tensor(np.ones(1, np.float32), content=snappy(b"abcd")[:-1])}, "damaged or cut short"),
        ({"names": {"a": None}}, "expected 1 columns in its items"),
    ],
)
def test_damaged_messages(tmp_path, changed, words):
    with pytest.raises(RlbuffersError, match=words):
        opened(checkpoint_of(tmp_path, **changed))


def test_a_huge_shape_is_refused_before_anything_is_allocated(tmp_path):
    shape = delimited(2, delimited(2, varint(8) + varint(1)) + delimited(2, varint(8) + varint(2**60)))
    huge = varint(8) + varint(1) + shape + delimited(4, snappy(b"abcd"))
    with pytest.raises(CorruptDataError, match=r"not plausible|ask for"):
        opened(checkpoint_of(tmp_path, first=huge))


def test_items_that_differ_in_type_are_refused(tmp_path):
    items = [item("t", [([(key, 0, 1, place)], True) for place in range(5)]) for key in (1, 2)]
    chunks = [chunk(key, [tensor(np.ones(1, dtype))] * 5) for key, dtype in ((1, np.float32), (2, np.float64))]
    path = write_checkpoint(tmp_path, [table("t", TABLE)], items, chunks)
    with pytest.raises(FormatError, match=r"item 1: expected rows of float32 .* like the items before; found float64"):
        opened(path)


def test_items_of_old_versions_are_refused(tmp_path):
    old = delimited(2, b"t") + varint(3 * 8) + varint(5)
    path = write_checkpoint(tmp_path, [table("t", TABLE)], [old], [])
    with pytest.raises(FormatError, match="before 2021"):
        ReverbSource(path)


def test_a_chunk_that_is_there_twice_is_one(tmp_path):
    encoded = chunk(1, [tensor(np.ones(1, np.float32))] * 5)
    path = write_checkpoint(tmp_path, [table("t", TABLE)], [item("t", columns_of(squeeze=True))], [encoded, encoded])
    with opened(path) as buffer:
        assert len(buffer) == 1


@pytest.mark.parametrize("name", ["reward", "discount"])
def test_several_rewards_a_step_are_refused(tmp_path, name):
    columns = with_next(steps(2))
    columns[name] = np.ones((2, 3), np.float32)
    with pytest.raises(FormatError, match=f"expected one number a step in '{name}s', found rows of shape"):
        ReverbSource(write_steps(tmp_path, columns, [(0, 1)], squeezed=columns))


def test_items_of_several_writers_are_shuffled(tmp_path):
    columns = with_next(steps(4))
    path = write_steps(tmp_path, columns, [(k, k + 1) for k in (0, 2, 1, 3)], episodes=[1, 1, 2, 2])
    with opened(path) as buffer:
        assert buffer.spec.order == "shuffled"
        assert buffer[:]["episode_ids"].tolist() == [1, 2, 1, 2]


def test_chunks_beyond_memory_are_kept_in_a_file(checkpoint, monkeypatch):
    monkeypatch.setattr("rlbuffers.sources.reverb.chunks._IN_MEMORY_BYTES", 1)
    monkeypatch.setattr("rlbuffers.sources.reverb.chunks._KEPT_BYTES", 1)
    with opened(checkpoint) as buffer:
        assert_column(buffer, "rewards", steps(4)["reward"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_records_raise_only_our_errors(tmp_path_factory, data):
    """Bytes of the messages are changed under checksums that fit."""
    items = [item("t", [([(key, 0, 1, place)], True) for place in range(5)]) for key in (1, 2)]
    chunks = [chunk(key, [tensor(np.ones((1, 2), np.uint8) * key)] * 5, delta=True) for key in (1, 2)]
    files = [[table("t", TABLE)], items, chunks]
    records = data.draw(st.sampled_from(files))
    number = data.draw(st.integers(0, len(records) - 1))
    record = bytearray(records[number])
    record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    records[number] = bytes(record)
    path = write_checkpoint(tmp_path_factory.mktemp("reverb"), *files)
    names = dict(zip(TABLE, ["rewards", "discounts", "next_observations", "observations", "actions"], strict=True))
    with contextlib.suppress(RlbuffersError):
        for _ in ReverbSource(path, names=names).pieces():
            pass
