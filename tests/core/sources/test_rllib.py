"""RLlib's offline data, against what was written, grouped by a slow loop."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rllib_files import agents_batch, batch, packed, steps, write_lines, write_parquet
from truth import DATA

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, MissingDependencyError, UsageError
from rlbuffers.sources.rllib.dataset import RLlibSource

FIXTURES = DATA / "rllib"


def episode(eps_id, length, end="terminal", seed=0):
    """Columns of an episode; `end` is terminal, timeout or neither."""
    seen = np.random.default_rng([seed, eps_id]).normal(size=(length + 1, 2))
    last = np.arange(length) == length - 1
    return {
        "obs": seen[:-1],
        "new_obs": seen[1:],
        "actions": np.arange(length) + 100 * eps_id,
        "rewards": np.arange(length) / 2 + eps_id,
        "terminateds": last & (end == "terminal"),
        "truncateds": last & (end == "timeout"),
        "eps_id": np.full(length, eps_id),
        "t": np.arange(length),
    }


def joined(*parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def without(columns, *names):
    return {name: values for name, values in columns.items() if name not in names}


def rows_of(columns, start, stop):
    return {name: values[start:stop] for name, values in columns.items()}


def converted(paths, new_path, **options):
    source = RLlibSource(paths, **options)
    path = new_path("memory")
    rlbuffers.convert(source, path)
    return rlbuffers.open(path)


def lines(tmp_path, *objects, name="x.json"):
    return write_lines(tmp_path / name, objects)


def facts(buffer, name):
    return buffer.arrays[f"episodes/{name}"].all().tolist()


def write(folder, form, parts):
    """Write each part, some rows, in one of the three forms; two parts a file."""
    for number in range(0, len(parts), 2):
        some = parts[number : number + 2]
        if form == "batches":
            write_lines(folder / f"out_{number}.json", [batch(part, ["obs", "new_obs"]) for part in some])
        elif form == "steps":
            write_lines(folder / f"out_{number}.json", [row for part in some for row in steps(part)])
        else:
            write_parquet(folder / f"out_{number}.parquet", joined(*some))


@settings(max_examples=40)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["terminal", "timeout", "neither"])), min_size=1),
    form=st.sampled_from(["batches", "steps", "parquet"]),
    data=st.data(),
)
def test_episodes_that_stand_in_turn_come_back_in_the_order_of_their_beginnings(
    tmp_path_factory, new_path, lengths, form, data
):
    folder = tmp_path_factory.mktemp("rllib")
    whole = [episode(number, length, end) for number, (length, end) in enumerate(lengths)]
    left, parts = dict.fromkeys(range(len(whole)), 0), []
    while left:
        number = data.draw(st.sampled_from(sorted(left)[:3]), "whose turn it is")
        start, length = left[number], len(whole[number]["t"])
        stop = data.draw(st.integers(start + 1, length), "how far it plays")
        parts.append(rows_of(whole[number], start, stop))
        left[number] = stop
        if stop == length:
            del left[number]
    write(folder, form, parts)
    order = list(dict.fromkeys(int(part["eps_id"][0]) for part in parts))
    with converted(folder, new_path) as buffer:
        rows = buffer[:]
        expected = joined(*(whole[number] for number in order))
        for name, values in (
            ("observations", expected["obs"]),
            ("next_observations", expected["new_obs"]),
            ("actions", expected["actions"]),
            ("rewards", expected["rewards"]),
            ("terminals", expected["terminateds"]),
            ("timeouts", expected["truncateds"]),
            ("t", expected["t"]),
        ):
            np.testing.assert_array_equal(rows[name], values)
        assert facts(buffer, "eps_id") == order
        assert facts(buffer, "lengths") == [lengths[number][0] for number in order]
        assert facts(buffer, "whole") == [lengths[number][1] != "neither" for number in order]
        assert all(facts(buffer, "final_known"))
        assert buffer.metadata["warnings"] == []
        assert buffer.metadata["left_out"] == []


@pytest.mark.parametrize("name", ["batches", "steps.jsonl", "steps"])
def test_fixtures_are_read_as_json_and_pyarrow_read_them(name, new_path):
    """The batches are packed, two environments in turn; rows of steps stand one episode after the other."""
    if name == "steps":
        raw = pyarrow.parquet.read_table(FIXTURES / name).to_pylist()
    else:
        raw = [json.loads(line) for line in (FIXTURES / "steps.jsonl").read_text().splitlines()]
    with converted(FIXTURES / name, new_path) as buffer:
        rows = buffer[:]
        np.testing.assert_allclose(rows["observations"], [row["obs"] for row in raw], rtol=1e-6)
        for column in ("actions", "rewards", "action_logp", "action_dist_inputs"):
            np.testing.assert_array_equal(rows[column], [row[column] for row in raw])
        assert facts(buffer, "lengths") == [6, 5, 9, 4]
        assert facts(buffer, "eps_id") == [7001, 7002, 7003, 7004]
        assert facts(buffer, "whole") == [True, True, True, False]
        assert ("timeouts" in rows) == (name != "steps.jsonl")
        assert rows["observations"].dtype == (np.float32 if name != "steps.jsonl" else np.float64)


def test_an_episode_is_given_once_its_last_row_was_read(tmp_path):
    """Memory is bounded by the episodes that stand in turn, also where no flag ends them."""
    path = lines(tmp_path, *(batch(episode(number, 3, "neither")) for number in range(20)))
    source = RLlibSource(path)
    read = []
    every = source._batches
    source._batches = lambda: (read.append(found) or found for found in every())
    for number, found in enumerate(source.pieces(), 1):
        assert len(found) == 3
        assert len(read) == number


# Ends of episodes.


def only_dones(columns):
    return {**without(columns, "terminateds", "truncateds"), "dones": columns["terminateds"] | columns["truncateds"]}


def test_dones_alone_become_terminals_with_a_warning(tmp_path, new_path):
    path = lines(tmp_path, batch(only_dones(joined(episode(1, 3), episode(2, 2, "timeout")))))
    with converted(path, new_path) as buffer:
        assert np.flatnonzero(buffer[:]["terminals"]).tolist() == [2, 4]
        assert "timeouts" not in buffer[:]
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("The files have only 'dones', which does not tell truncated episodes from terminated")


def test_dones_beside_truncateds_are_told_apart(tmp_path, new_path):
    columns = joined(episode(1, 3), episode(2, 2, "timeout"))
    path = lines(tmp_path, batch({**only_dones(columns), "truncateds": columns["truncateds"]}))
    with converted(path, new_path) as buffer:
        assert np.flatnonzero(buffer[:]["terminals"]).tolist() == [2]
        assert np.flatnonzero(buffer[:]["timeouts"]).tolist() == [4]
        assert buffer.metadata["warnings"] == []


def test_done_for_no_reason_cuts(tmp_path, new_path):
    columns = {**episode(1, 4, "neither"), "dones": np.arange(4) == 1}
    with converted(lines(tmp_path, batch(columns)), new_path) as buffer:
        assert facts(buffer, "lengths") == [2, 2]
        assert facts(buffer, "whole") == [False, False]
        assert buffer.metadata["warnings"][0].startswith("1 rows are done but neither terminated nor truncated.")


@pytest.mark.parametrize("missing", [("eps_id",), ("eps_id", "t"), ("t",)])
def test_without_ids_flags_and_numbers_of_steps_end_episodes(tmp_path, new_path, missing):
    columns = without(joined(episode(1, 3), episode(2, 2), episode(3, 4, "neither")), *missing)
    with converted(lines(tmp_path, batch(columns)), new_path) as buffer:
        assert facts(buffer, "lengths") == [3, 2, 4]


def test_an_id_that_is_used_again_is_another_episode(tmp_path, new_path):
    path = lines(tmp_path, batch(episode(1, 3)), batch(episode(2, 2)), batch(episode(1, 4, seed=1)))
    with converted(path, new_path) as buffer:
        assert facts(buffer, "eps_id") == [1, 2, 1]
        assert facts(buffer, "lengths") == [3, 2, 4]


def test_an_id_that_is_used_again_without_a_flag_is_another_episode(tmp_path, new_path):
    parts = [batch(without(episode(1, 3, "neither", seed), "new_obs")) for seed in (0, 1)]
    with converted(lines(tmp_path, *parts), new_path) as buffer:
        assert facts(buffer, "lengths") == [3, 3]
        assert buffer.rows_without_next.tolist() == [2, 5]


def test_steps_that_are_missing_cut_the_episode(tmp_path, new_path):
    columns = rows_of(joined(rows_of(episode(1, 9), 0, 3), rows_of(episode(1, 9), 5, 9)), 0, 7)
    with converted(lines(tmp_path, batch(without(columns, "new_obs"))), new_path) as buffer:
        assert facts(buffer, "lengths") == [3, 4]
        assert facts(buffer, "whole") == [False, False]
        assert buffer.metadata["measurements"] == {"gaps_between_steps": 1}
        assert buffer.metadata["warnings"][0].startswith("After 1 rows the number of the step (t) jumps")
    with converted(lines(tmp_path, batch(columns)), new_path) as buffer:  # next observations show it, too
        assert facts(buffer, "lengths") == [3, 4]
        assert facts(buffer, "final_known") == [True, True]
        assert buffer.metadata["measurements"] == {"unmarked_resets": 1}


def test_an_episode_that_begins_later_is_not_whole(tmp_path, new_path):
    path = lines(tmp_path, batch(joined(rows_of(episode(1, 5), 2, 5), episode(2, 3))))
    with converted(path, new_path) as buffer:
        assert facts(buffer, "whole") == [False, True]


def test_next_observations_that_are_the_next_rows_are_not_believed(tmp_path, new_path):
    columns = without(joined(*(episode(number, 3) for number in range(4))), "t")
    columns["new_obs"] = np.roll(columns["obs"], -1, axis=0)
    with converted(lines(tmp_path, batch(columns)), new_path) as buffer:
        assert facts(buffer, "lengths") == [3, 3, 3, 3]
        assert not any(facts(buffer, "final_known"))
        assert "shifting the observations by a row" in buffer.metadata["left_out"][0]


# Policies and agents.


def test_a_batch_of_one_policy_is_taken(tmp_path, new_path):
    path = lines(tmp_path, agents_batch({"default_policy": episode(1, 3)}), batch(episode(2, 2)))
    with converted(path, new_path) as buffer:
        assert facts(buffer, "eps_id") == [1, 2]


def test_a_policy_of_several_is_chosen(tmp_path, new_path):
    path = lines(tmp_path, agents_batch({"a": episode(1, 3), "b": episode(2, 2)}), agents_batch({"b": episode(3, 4)}))
    with pytest.raises(UsageError, match=r"line 1: a batch of 2 policies \(a, b\); choose one with --policy"):
        RLlibSource(path)
    with converted(path, new_path, policy="b") as buffer:
        assert facts(buffer, "eps_id") == [2, 3]
        assert buffer.metadata["behavior_policy"] == {"name": "b"}
    with pytest.raises(FormatError, match="policy 'c': expected transitions, found none"):
        RLlibSource(path, policy="c")


@pytest.mark.parametrize("names", [[0, 1], ["left", "right"]])
def test_agents_of_an_episode_are_told_apart(tmp_path, new_path, names):
    column = "agent_index" if isinstance(names[0], int) else "agent_id"
    both = [{**episode(1, 4, seed=number), column: np.full(4, name)} for number, name in enumerate(names)]
    mixed = joined(*(rows_of(part, start, start + 2) for start in (0, 2) for part in both))
    with converted(lines(tmp_path, batch(mixed)), new_path) as buffer:
        assert facts(buffer, "lengths") == [4, 4]
        np.testing.assert_array_equal(buffer[:]["observations"], joined(*both)["obs"])


# Columns.


def test_ids_that_are_texts_tell_episodes_apart(tmp_path, new_path):
    columns = joined(episode(1, 3, "neither"), episode(2, 2))
    columns["eps_id"] = np.array(["a91f"] * 3 + ["b7"] * 2)
    for path in (lines(tmp_path, batch(columns)), write_parquet(tmp_path / "x.parquet", columns)):
        with converted(path, new_path) as buffer:
            assert facts(buffer, "lengths") == [3, 2]
            assert "episodes/eps_id" not in buffer.arrays
            assert buffer.metadata["left_out"] == ["'eps_id', which holds texts (it was used to tell episodes apart)"]


def test_what_is_no_column_is_named(tmp_path, new_path):
    columns = {
        **episode(1, 3),
        "infos": [{"x": 1.5, "lives": 3}, {"x": 2.5}, {"x": 3.5}],
        "seq_lens": [3],
        "state_in_0": [[0.0]],
        "ragged": [[1], [1, 2], [3]],
        "note": ["a", "b", "c"],
        "empty": [None, None, None],
        "timeouts": [7, 8, 9],
        "count": 3,
    }
    path = lines(tmp_path, batch(columns), {**batch(episode(2, 2)), "infos": [{"x": 0.0}, {"x": 0.5}]})
    with converted(path, new_path) as buffer:
        assert buffer[:]["infos/x"].tolist() == [1.5, 2.5, 3.5, 0, 0.5]
        assert sorted(buffer.metadata["left_out"]) == [
            "'count', not one value a step",
            "'empty', which is empty",
            "'infos/lives', which only some steps have",
            "'infos/timeouts', which only some batches have",
            "'note', which holds texts",
            "'ragged', whose values are not numbers, or differ in shape",
            "'seq_lens', not one value a step",
            "'state_in_0', not one value a step",
        ]


def test_nested_observations_and_null_and_infinity(tmp_path, new_path):
    rows = [
        {**row, "obs": {"a": row["obs"], "b": {"c": 1}}, "vf_preds": value}
        for row, value in zip(steps(without(episode(1, 3), "new_obs")), [None, float("nan"), float("inf")], strict=True)
    ]
    with converted(lines(tmp_path, *rows), new_path) as buffer:
        assert buffer.spec.observation_names == ["observations/a", "observations/b/c"]
        np.testing.assert_array_equal(buffer[:]["vf_preds"], [np.nan, np.nan, np.inf])


def test_dtypes_are_those_that_hold_all_values(tmp_path, new_path):
    first, second = episode(1, 2), episode(2, 2)
    first["obs"], second["obs"] = np.array([[0, 1], [1, 0]]), np.array([[0.5, 1], [1, 0.25]])
    path = lines(tmp_path, batch(without(first, "new_obs")), batch(without(second, "new_obs")))
    with converted(path, new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], np.concatenate([first["obs"], second["obs"]]))


def test_two_names_of_next_observations(tmp_path, new_path):
    columns = episode(1, 3)
    with converted(lines(tmp_path, batch({**columns, "next_obs": columns["new_obs"]})), new_path) as buffer:
        assert buffer.metadata["left_out"] == ["'next_obs', which stands for the same as another column"]


def test_a_blank_line_is_passed_over(tmp_path, new_path):
    path = lines(tmp_path, *steps(episode(1, 3)))
    path.write_text(path.read_text().replace("\n", "\n\n"))
    with converted(path, new_path) as buffer:
        assert len(buffer) == 3


@pytest.mark.parametrize("kind", ["lists", "tensors", "any shape", "packed", "batches"])
def test_images_in_parquet(tmp_path, new_path, kind):
    """Ray Data notes the shape of arrays beside the column or stores it with each; DatasetWriter's rows are batches."""
    columns = without(episode(1, 3), "new_obs")
    columns["obs"] = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    path = tmp_path / "x.parquet"
    if kind in ("lists", "tensors"):
        if kind == "lists":
            columns["obs"] = columns["obs"].tolist()
        write_parquet(path, columns, tensors=True)
    else:
        table = {name: pyarrow.array(values.tolist()) for name, values in columns.items()}
        if kind == "any shape":
            struct = [{"data": image.ravel().tolist(), "shape": [4, 4]} for image in columns["obs"]]
            table["obs"] = pyarrow.array(struct)
        if kind == "packed":
            table["obs"] = pyarrow.array([packed(image) for image in columns["obs"]])
        if kind == "batches":
            table = {name: pyarrow.array([value]) for name, value in batch(columns, ["obs"]).items()}
        pyarrow.parquet.write_table(pyarrow.table(table), path)
    with converted(path, new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], np.arange(3 * 4 * 4).reshape(3, 4, 4))
        assert facts(buffer, "final_known") == [False]


def test_parquet_is_read_in_blocks(tmp_path, new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.sources.rllib.parquet._BATCH_BYTES", 100)
    path = write_parquet(tmp_path / "x.parquet", joined(episode(1, 30), episode(2, 20)))
    assert len(list(RLlibSource(path)._batches())) > 10
    with converted(path, new_path) as buffer:
        assert facts(buffer, "lengths") == [30, 20]


# What is wrong with files.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, r"x\.json: line 1: expected a column 'rewards'; found "),
        ({"obs": None}, r"x\.json: expected obs in every batch; found "),
        ({"actions": None}, r"x\.json: expected actions in every batch"),
        ({"terminateds": None}, r"x\.json: expected terminateds or dones in every batch"),
        ({"actions": [1, 2]}, r"line 1: expected 3 values in 'actions', like 'rewards'; found 2"),
        ({"actions": ["a", "b", "c"]}, r"line 1: expected numbers in 'actions'; found a column which holds texts"),
        ({"obs": [[1], [1, 2], [3]]}, r"expected numbers in 'observations'; found a column whose values are not"),
        ({"rewards": [[1, 2]] * 3}, r"expected one number a row in 'rewards', found rows of shape \(2,\)"),
        ({"terminateds": [0, None, 1]}, r"expected flags in 'terminals', found NaN in row 1"),
        ({"obs": "once upon a time"}, r"expected numbers in 'observations'; found a column which is a text"),
        ({"obs": [[]] * 3}, r"expected numbers in 'observations'; found a column not one value a step"),
        ({"type": "Episode"}, r"line 1: expected the type SampleBatch or MultiAgentBatch, found 'Episode'"),
        ({"type": "MultiAgentBatch"}, r"line 1: expected an object 'policy_batches' with the columns of each policy"),
    ],
)
def test_columns_that_are_needed(tmp_path, change, message):
    found = {**batch(without(episode(1, 3), "new_obs")), **change}
    with pytest.raises(FormatError, match=message):
        RLlibSource(lines(tmp_path, {name: value for name, value in found.items() if value is not None}))


def test_shapes_that_differ_between_lines(tmp_path):
    second = {**episode(2, 2), "obs": np.zeros((2, 5)), "new_obs": np.zeros((2, 5))}
    with pytest.raises(FormatError, match=r"line 2: expected values of shape \(2,\) in 'observations', as before"):
        RLlibSource(lines(tmp_path, batch(episode(1, 3)), batch(second)))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FormatError, "expected transitions, found none"),
        ("\n\n", FormatError, "expected transitions, found none"),
        ('{"type": "SampleBatch", "obs": [1', CorruptDataError, "line 1: damaged or cut short: not JSON: "),
        ("[1, 2]", FormatError, "line 1: expected a JSON object, a step or a batch of steps; found a list of 2"),
        ("[" * 100_000, CorruptDataError, "line 1: damaged or cut short: not JSON: "),
        ("\x00\x01", FormatError, "expected lines of JSON objects or a Parquet file; it begins with 0001"),
        ("once upon a time", FormatError, "expected lines of JSON objects or a Parquet file; it begins with 6f6e6365"),
        ("\ufeff  [1]", FormatError, "line 1: expected a JSON object, a step or a batch of steps; found a list of 1"),
        ('{"type": "SampleBatch"}', FormatError, "expected transitions, found none"),
        ('{"a": 1}', FormatError, "lines 1 to 1: expected a column 'rewards'; found a"),
        ('{"rewards": []}', FormatError, "expected transitions, found none"),
    ],
)
def test_files_that_are_none(tmp_path, text, error, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(error, match=message) as caught:
        RLlibSource(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.sources.rllib.batches._MAX_LINE_BYTES", 1000)
    path = lines(tmp_path, batch(episode(1, 300)))
    with pytest.raises(FormatError, match=r"line 1: longer than 1,000 bytes"):
        RLlibSource(path)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (self.path.touch, ())


def test_pickles_are_not_run(tmp_path):
    found = {**batch(episode(1, 3)), "obs": packed(Trap(tmp_path / "sprung"))}
    with pytest.raises(
        FormatError, match=r"line 1: expected one packed array of numbers, found .*; it is not unpickled"
    ):
        RLlibSource(lines(tmp_path, found))
    assert not (tmp_path / "sprung").exists()


def test_parquet_that_is_damaged_or_something_else(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", episode(1, 30))
    content = path.read_bytes()
    for broken in (content[:200], content[:-10], content[:-100] + bytes(100)):
        path.write_bytes(broken)
        with pytest.raises(CorruptDataError, match=r"x\.parquet: damaged or cut short: "):
            RLlibSource(path)
    pyarrow.parquet.write_table(pyarrow.table({"item": [b"\x80", b"\x81"]}), path)
    with pytest.raises(FormatError, match=r"episodes packed by MessagePack .*, which are not read"):
        RLlibSource(path)
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), path)
    with pytest.raises(FormatError, match=r"rows 0 to 1: expected a column 'rewards'; found a"):
        RLlibSource(path)


@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@settings(max_examples=60)
@pytest.mark.parametrize("form", ["json", "parquet"])
def test_whatever_is_damaged_is_read_or_told_in_a_line(tmp_path_factory, form, place, byte):
    folder = tmp_path_factory.mktemp("damaged")
    columns = joined(episode(1, 4), episode(2, 3))
    if form == "json":
        path = write_lines(folder / "x.json", [batch(columns, ["obs"])])
    else:
        path = write_parquet(folder / "x.parquet", columns)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = byte
    path.write_bytes(content)
    try:
        rlbuffers.convert(RLlibSource(path), folder / "x.hdf5")
    except rlbuffers.errors.RlbuffersError as error:
        told = str(error)
        assert len(told.splitlines()) == 1


def test_directories(tmp_path):
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        RLlibSource(tmp_path / "missing")
    with pytest.raises(BufferNotFoundError, match=r"there is no \.json, \.jsonl, \.ndjson, \.parquet file in this"):
        RLlibSource(tmp_path)
    for number in (10, 9):
        lines(tmp_path, batch(episode(number, 2)), name=f"run/deeper/out_{number}.json")
    lines(tmp_path, {}, name="run/_metadata.json")
    assert [path.name for path in RLlibSource(tmp_path).paths] == ["out_9.json", "out_10.json"]
    write_parquet(tmp_path / "x.parquet", episode(1, 3))
    with pytest.raises(
        FormatError, match="holds JSON and Parquet files, which may be the same data; name those to read"
    ):
        RLlibSource(tmp_path)


def test_without_pyarrow_lines_are_read_and_the_rest_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert RLlibSource(lines(tmp_path, batch(episode(1, 3)))).total > 0
    for path in (lines(tmp_path, batch(episode(1, 3), ["obs"])), FIXTURES / "steps"):
        with pytest.raises(MissingDependencyError, match=r"pip install 'rlbuffers\[rllib\]'"):
            RLlibSource(path)
