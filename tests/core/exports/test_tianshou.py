from __future__ import annotations

import h5py
import numpy as np
import pytest
from endings import ENDS, buffer_of
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make, recipes, write
from tianshou_files import play, save

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.schema import next_name
from rlbuffers.sources.tianshou.hdf5 import TianshouSource


def read(path):
    """Return rows under Tianshou's names, and the root's attributes, by plain h5py."""
    rows, kinds = {}, set()
    with h5py.File(path) as file:

        def note(name, item):
            if isinstance(item, h5py.Dataset):
                kinds.add(item.attrs["__data_type__"])
                rows[name.removeprefix("_meta/")] = item[:]

        file.visititems(note)
        attributes = dict(file.attrs)
        assert file["_meta"].attrs["__data_type__"] == "Batch"
        assert dict(file["options"].attrs) == {
            "stack_num": attributes["stack_num"],
            "ignore_obs_next": not attributes["_save_obs_next"],
            "save_only_last_obs": attributes["_save_only_last_obs"],
            "sample_avail": False,
        }
    assert kinds == {"ndarray"}  # nothing is pickled
    count = len(rows["rew"])
    np.testing.assert_array_equal(rows.pop("_indices"), np.arange(count))
    assert rows.pop("last_index").tolist() == [count - 1]
    assert (attributes["maxsize"], attributes["_size"], attributes["_insertion_idx"]) == (count, count, 0)
    return rows, attributes


def exported(path, new_path):
    output = new_path("hdf5").with_suffix(".h5")
    with rlbuffers.open(path) as buffer:
        report = export(buffer, output, "tianshou")
    return output, report


@given(recipe=recipes())
def test_plain_h5py_finds_every_row(new_path, recipe):
    made = make(recipe)
    output, report = exported(write(new_path("memory"), made), new_path)
    rows, attributes = read(output)
    table = dict(made.table)
    np.testing.assert_array_equal(rows["act"], table.pop("actions"))
    np.testing.assert_array_equal(rows["rew"], table.pop("rewards"))
    assert rows["rew"].dtype == np.float32
    ends = table.pop("terminals")
    np.testing.assert_array_equal(rows["terminated"], ends)
    np.testing.assert_array_equal(rows["truncated"], table.pop("timeouts"))
    np.testing.assert_array_equal(rows["done"], ends)
    once = recipe.layout == "episodes" and recipe.stack > 1
    for name in made.spec.observation_names:
        rest = name.removeprefix("observations")
        expected, following = table.pop(name), table.pop(next_name(name))
        np.testing.assert_array_equal(rows[f"obs{rest}"], expected[:, -1] if once else expected)
        if not once:
            np.testing.assert_array_equal(rows[f"obs_next{rest}"], following)
    assert attributes["stack_num"] == (recipe.stack if once else 1)
    assert attributes["_save_obs_next"] == (not once)
    for name, expected in table.items():
        np.testing.assert_array_equal(rows[name.replace("infos/", "info/")], expected)
    assert report.written.transitions == len(made)
    assert once == any("last observation" in text for text in report.left_out)


@given(
    ends=st.lists(st.tuples(st.integers(1, 6), st.sampled_from(ENDS)), min_size=1, max_size=5),
    known=st.booleans(),
    stack=st.sampled_from([0, 2, 4]),
    dtype=st.sampled_from(["float32", "float64", "int8"]),
)
def test_a_buffer_comes_back_the_same(new_path, ends, known, stack, dtype):
    lengths, kinds = zip(*ends, strict=True)
    given_path = buffer_of(new_path("memory"), lengths, kinds, known=known, stack=stack, dtype=dtype)
    output, report = exported(given_path, new_path)
    rlbuffers.convert(TianshouSource(output), again := new_path("memory"))
    cut = [number for number, kind in enumerate(kinds[:-1]) if kind == "neither"]
    said = " ".join(report.left_out)
    with rlbuffers.open(given_path) as first, rlbuffers.open(again) as second:
        before, after = first[:], second[:]
        starts = first.arrays["episodes/starts"].all()
        ends_of_cut = (starts + lengths - 1)[cut]
        before["timeouts"][ends_of_cut] = True
        assert (f"{len(cut):,} episodes were cut" in said) == bool(cut)
        if stack and known:
            assert f"the last observation of {len(lengths)} episodes" in said
            last = starts + lengths - 1
            before["next_observations"][last] = 0
            after["next_observations"][last] = after["next_observations"][last] * 0
        for name in before:
            assert after[name].dtype == before[name].dtype
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
        for name in ("starts", "lengths", "returns"):
            rows = second.arrays[f"episodes/{name}"].all()
            np.testing.assert_array_equal(rows, first.arrays[f"episodes/{name}"].all())
        # What was cut is marked; that the first one is not whole is known all the same.
        whole = [kind != "neither" or (number in cut and number > 0) for number, kind in enumerate(kinds)]
        assert second.arrays["episodes/whole"].all().tolist() == whole
        if not (stack and known):
            np.testing.assert_array_equal(second.rows_without_next, first.rows_without_next)


@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=2),
    capacity=st.integers(2, 12),
    following=st.booleans(),
    stacked=st.booleans(),
)
def test_a_file_comes_back_the_same(new_path, counts, capacity, following, stacked):
    """File, buffer, file: the rows of all rings in the order of time, one ring after the other."""

    def image(number):
        return np.array([[number % 256, number // 256]], np.uint8)

    envs = [
        play(
            np.random.default_rng(env),
            count,
            env=env,
            obs_next=following and not stacked,
            observation=image if stacked else None,
            more={"info/speed": lambda number: np.float32(number), "policy/value": lambda number: number / 3},
        )
        for env, count in enumerate(counts)
    ]
    path = save(new_path("hdf5"), envs, capacity, vector=len(envs) > 1, stack_num=3 if stacked else 1, last_obs=stacked)
    rlbuffers.convert(TianshouSource(path), converted := new_path("memory"))
    output, _ = exported(converted, new_path)
    rows, _ = read(output)
    expected = [step for steps in envs for step in steps[max(len(steps) - capacity, 0) :]]
    assert set(rows) == set(expected[0].rows)
    unfinished = np.cumsum([min(count, capacity) for count in counts])[:-1] - 1
    for name, values in rows.items():
        wanted = np.array([step.rows[name] for step in expected])
        if name in ("truncated", "done"):
            wanted[unfinished] |= not expected[unfinished[0]].done if len(unfinished) else False
        np.testing.assert_array_equal(values, wanted, err_msg=name)
        assert values.dtype == wanted.dtype
    with h5py.File(output) as file:
        last = np.flatnonzero(rows["done"])
        length = len(rows["rew"]) - (last[-1] + 1 if len(last) else 0)
        assert file.attrs["_ep_len"] == length
        assert file.attrs["_ep_start_idx"] == (len(rows["rew"]) - length if length else 0)
        np.testing.assert_allclose(file.attrs["_ep_return"], rows["rew"][len(rows["rew"]) - length :].sum())


def test_a_beginning_that_was_lost_stays_lost(tmp_path, new_path):
    path = save(tmp_path / "x.hdf5", [play(np.random.default_rng(0), 30, chance=0.4)], 20)
    rlbuffers.convert(TianshouSource(path), tmp_path / "b.hdf5")
    output, report = exported(tmp_path / "b.hdf5", new_path)
    rlbuffers.convert(TianshouSource(output), tmp_path / "again.hdf5")
    with rlbuffers.open(tmp_path / "b.hdf5") as first, rlbuffers.open(tmp_path / "again.hdf5") as second:
        assert not first.arrays["episodes/whole"].all()[0]
        assert first.fingerprint == second.fingerprint
    assert any("1 episodes were not recorded from beginning to end" in text for text in report.left_out)


def test_unknown_last_observations_are_the_row_s_own(tmp_path, new_path):
    made = make(Recipe("episodes", (3, 2, 4)))
    with rlbuffers.create(tmp_path / "x.hdf5", made.spec) as writer:
        for number, episode in enumerate(made.pieces):
            observed = episode.observations["observations"]
            shown = {"observations": observed[:-1] if number == 1 else observed}
            writer.append_episode(Episode(episode.columns, shown))
    output, report = exported(tmp_path / "x.hdf5", new_path)
    rows, attributes = read(output)
    expected = made.table["next_observations"].copy()
    expected[4] = made.table["observations"][4]
    np.testing.assert_array_equal(rows["obs_next"], expected)
    assert attributes["_save_obs_next"]
    assert any("next_observations of 1 rows that end an episode are not known" in text for text in report.left_out)


def test_other_padding_is_named(tmp_path, new_path):
    made = make(Recipe("episodes", (3, 4), stack=3))  # random frames before the first one
    _, report = exported(write(tmp_path / "x.hdf5", made), new_path)
    assert any("the frames before the first one of 2 episodes" in text for text in report.left_out)
    _, report = exported(buffer_of(tmp_path / "y.hdf5", (3, 4), ("terminal",) * 2, stack=3), new_path)
    assert not any("the frames before" in text for text in report.left_out)


@pytest.mark.parametrize("stack", [0, 3])
def test_flags_within_an_episode(tmp_path, new_path, stack):
    """As in AntMaze, where play goes on after a terminal: stacks across it must stay right."""
    made = make(Recipe("episodes", (5, 3), stack=stack))
    made.pieces[0].columns["terminals"][1] = True
    output, report = exported(write(tmp_path / "x.hdf5", made), new_path)
    rows, _ = read(output)
    np.testing.assert_array_equal(rows["obs"], made.table["observations"])
    np.testing.assert_array_equal(rows["obs_next"], made.table["next_observations"])
    assert rows["terminated"].tolist() == [False, True, False, False, True, False, False, True]
    assert any("play goes on after 1 terminals or timeouts" in text for text in report.left_out)


def test_what_has_no_place_is_named(tmp_path, new_path):
    path = buffer_of(tmp_path / "x.hdf5", (3,), ("terminal",), facts=["seeds"], columns=["done", "policy", "value"])
    output, report = exported(path, new_path)
    rows, _ = read(output)
    assert rows["value"].tolist() == [0, 1, 2]
    assert "policy" not in rows
    said = " ".join(report.left_out)
    assert "columns whose names mean something else to Tianshou: done, policy" in said
    assert "what each episode has once: seeds" in said


def test_independent_rows_are_named(tmp_path, new_path):
    _, report = exported(write(tmp_path / "x.hdf5", make(Recipe("transitions", (7,)))), new_path)
    assert any("rows are independent" in text for text in report.left_out)


def test_whole_rewards_become_floats(tmp_path, new_path):
    made = make(Recipe("transitions", (4,)))
    columns = [column for column in made.spec.columns.values() if column.name not in ("rewards", "timeouts")]
    spec = BufferSpec("transitions", [*columns, ColumnSpec("rewards", np.int8)])
    table = {name: made.table[name] for name in spec.columns} | {"rewards": np.arange(4, dtype=np.int8)}
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        writer.append_transitions(table)
    output, report = exported(tmp_path / "x.hdf5", new_path)
    rows, _ = read(output)
    assert rows["rew"].dtype == np.float64
    assert rows["rew"].tolist() == [0, 1, 2, 3]
    assert not rows["truncated"].any()
    assert any("time limits are not known" in text for text in report.left_out)


def test_without_terminals_there_is_nothing_to_learn_from(tmp_path):
    made = make(Recipe("transitions", (4,)))
    spec = BufferSpec("transitions", [column for name, column in made.spec.columns.items() if name != "terminals"])
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        writer.append_transitions({name: made.table[name] for name in spec.columns})
    with (
        rlbuffers.open(tmp_path / "x.hdf5") as buffer,
        pytest.raises(UnsupportedError, match=r"x\.hdf5: has no column 'terminals'"),
    ):
        export(buffer, tmp_path / "y.hdf5", "tianshou")
    assert not (tmp_path / "y.hdf5").exists()


def test_without_tianshou_the_adapter_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tianshou", None)
    monkeypatch.setitem(__import__("sys").modules, "tianshou.data", None)
    with (
        rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))) as buffer,
        pytest.raises(rlbuffers.errors.MissingDependencyError, match="pip install tianshou"),
    ):
        buffer.to_tianshou()
