from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import DATA, load_truth

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.sources.d4rl.datasets import all_datasets, find_dataset
from rlbuffers.sources.d4rl.facts import file_warnings, known_facts
from rlbuffers.sources.d4rl.hdf5 import D4RLSource, rebuilt_timeouts
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource

MINI = DATA / "d4rl" / "mini"
STEPS = 9
HOPPER = find_dataset("hopper-medium-v0")  # 1,000 steps, terminals end an episode


def columns(**change):
    """Nine steps: a terminal after row 1, a timeout after row 4, and an end that no flag marks."""
    rng = np.random.default_rng(0)
    made = {
        "observations": rng.normal(size=(STEPS, 3)).astype(np.float32),
        "actions": rng.normal(size=(STEPS, 2)).astype(np.float32),
        "rewards": rng.normal(size=STEPS).astype(np.float32),
        "terminals": np.arange(STEPS) == 1,
        "timeouts": np.arange(STEPS) == 4,
    }
    return {name: rows for name, rows in {**made, **change}.items() if rows is not None}


def following(observations, ends, first=100.0):
    """Return next observations: those of the following row, and numbers from `first` on at ends."""
    made = np.roll(observations, -1, axis=0)
    for number, row in enumerate([*ends, len(observations) - 1]):
        made[row] = first + number
    return made


def write(path, arrays):
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return path


@pytest.fixture
def converted(tmp_path, new_path):
    """A function that writes arrays into a file and opens the buffer that is made of it."""

    def convert(arrays, dataset=None):
        path = new_path("memory")
        rlbuffers.convert(D4RLSource(write(tmp_path / "x.hdf5", arrays), dataset), path)
        return rlbuffers.open(path)

    return convert


def lengths(buffer):
    return buffer.arrays["episodes/lengths"].all().tolist()


def whole(buffer):
    return buffer.arrays["episodes/whole"].all().tolist()


def test_columns_are_kept_and_cut_at_the_flags(converted):
    given_arrays = columns(**{"infos/qpos": np.arange(STEPS * 2.0).reshape(STEPS, 2), "other": np.arange(STEPS)})
    with converted(given_arrays) as buffer:
        rows = buffer[:]
        for name, values in given_arrays.items():
            assert rows[name].dtype == values.dtype
            np.testing.assert_array_equal(rows[name], values)
        assert lengths(buffer) == [2, 3, 4]
        assert whole(buffer) == [True, True, False]
        assert buffer.rows_without_next.tolist() == [1, 4, 8]
        assert "The file ends in the middle of an episode" in buffer.metadata["notes"][0]


def test_next_observations_give_the_last_one_of_each_episode(converted):
    given_arrays = columns()
    given_arrays["next_observations"] = following(given_arrays["observations"], [1, 4])
    with converted(given_arrays) as buffer:
        np.testing.assert_array_equal(buffer[:]["next_observations"], given_arrays["next_observations"])
        assert len(buffer.rows_without_next) == 0
        assert buffer.metadata["warnings"] == []


def test_next_observations_made_by_shifting_are_not_believed(converted):
    """At a timeout they would be the first observation of the next episode."""
    given_arrays = columns()
    given_arrays["next_observations"] = np.roll(given_arrays["observations"], -1, axis=0)
    with converted(given_arrays) as buffer:
        assert buffer.rows_without_next.tolist() == [1, 4, 8]
        assert not buffer[4]["next_observations"].any()
        assert buffer.metadata["left_out"][0].startswith(
            "next_observations: at the ends of episodes they are the first"
        )


def test_resets_without_a_flag_cut_and_are_told(converted):
    given_arrays = columns()
    given_arrays["next_observations"] = following(given_arrays["observations"], [1, 4, 6])
    with converted(given_arrays) as buffer:
        assert lengths(buffer) == [2, 3, 2, 2]
        assert whole(buffer) == [True, True, False, False]
        assert buffer.metadata["measurements"] == {"unmarked_resets": 1}
        assert buffer.metadata["warnings"][0].startswith("THE ROWS DO NOT FOLLOW ONE ANOTHER: after 1 of 9 rows")


def test_one_reset_in_many_rows_is_told_more_calmly(converted):
    count = 300
    arrays = {
        "observations": np.arange(count * 2.0).reshape(count, 2),
        "actions": np.zeros(count, np.int64),
        "rewards": np.ones(count),
        "terminals": np.zeros(count, bool),
        "timeouts": np.arange(count) % 100 == 99,
    }
    arrays["next_observations"] = following(arrays["observations"], [99, 150, 199], first=1000.0)
    with converted(arrays) as buffer:
        assert lengths(buffer) == [100, 51, 49, 100]
        assert buffer.metadata["warnings"][0].startswith("After 1 rows without a flag")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(STEPS,), (STEPS, 1)])
def test_flags_and_rewards_may_have_other_forms(converted, dtype, shape):
    given_arrays = columns()
    other = {
        **given_arrays,
        "terminals": given_arrays["terminals"].astype(dtype).reshape(shape),
        "timeouts": given_arrays["timeouts"].astype(dtype).reshape(shape),
        "rewards": given_arrays["rewards"].reshape(shape),
    }
    with converted(given_arrays) as expected, converted(other) as found:
        assert found.fingerprint == expected.fingerprint


def test_timeouts_are_rebuilt_from_the_horizon(converted):
    terminals = np.zeros(3500, bool)
    terminals[[199, 1199]] = True  # the second one after exactly 1,000 steps
    arrays = {
        "observations": np.random.default_rng(0).normal(size=(3500, 2)),
        "actions": np.zeros((3500, 1)),
        "rewards": np.zeros(3500),
        "terminals": terminals,
    }
    with converted(arrays, HOPPER) as buffer:
        assert lengths(buffer) == [200, 1000, 1000, 1000, 300]
        assert np.flatnonzero(buffer[:]["timeouts"]).tolist() == [2199, 3199]
        assert buffer.metadata["measurements"] == {"timeouts_rebuilt": 2}
        assert buffer.metadata["notes"][0].startswith("The file has no timeouts. They were rebuilt: one after every 1,")


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 7))
def test_the_count_of_rebuilt_timeouts_restarts_at_every_end(flags, horizon):
    expected, count = [], 0
    for terminal in flags:
        count += 1
        expected.append(count == horizon and not terminal)
        if terminal or count == horizon:
            count = 0
    assert rebuilt_timeouts(np.array(flags), horizon).tolist() == expected


@pytest.mark.parametrize("dataset", [None, find_dataset("pen-human-v0"), find_dataset("antmaze-umaze-v2")])
def test_ends_that_cannot_be_told_are_a_warning(converted, dataset):
    with converted(columns(timeouts=None), dataset) as buffer:
        assert "timeouts" not in buffer.spec.columns
        assert "The file has no timeouts, " in " ".join(buffer.metadata["warnings"])


def test_next_observations_show_resets_where_there_are_no_timeouts(converted):
    """Then nothing can have happened that they do not show: what was made by shifting shows nothing."""
    count = 300
    arrays = {
        "observations": np.arange(count * 2.0).reshape(count, 2),
        "actions": np.zeros(count, np.int64),
        "rewards": np.ones(count),
        "terminals": np.arange(count) % 100 == 99,
    }
    for ends, expected in (([99, 199], [100] * 3), ([99, 150, 199], [100, 51, 49, 100])):
        told = {**arrays, "next_observations": following(arrays["observations"], ends, first=1000.0)}
        with converted(told) as buffer:
            assert lengths(buffer) == expected
            assert not any("no timeouts" in text for text in buffer.metadata["warnings"])
            assert "The file has no timeouts. An episode ends at a terminal, and where" in buffer.metadata["notes"][0]
    shifted = {**arrays, "next_observations": np.roll(arrays["observations"], -1, axis=0)}
    endless = {**shifted, "terminals": np.zeros(count, bool)}  # nothing shows how these next observations were made
    for arrays in (shifted, endless):
        with converted(arrays) as buffer:
            assert "If play was also reset elsewhere" in buffer.metadata["warnings"][0]


def test_short_episodes_without_flags_are_no_shuffled_rows(converted):
    count = 200
    arrays = {
        "observations": np.arange(count * 2.0).reshape(count, 2),
        "actions": np.zeros(count, np.int64),
        "rewards": np.ones(count),
        "terminals": np.zeros(count, bool),
    }
    ends = list(range(19, count, 20))
    with converted({**arrays, "next_observations": following(arrays["observations"], ends[:-1], first=1e4)}) as buffer:
        assert lengths(buffer) == [20] * 10
        assert [text[:28] for text in buffer.metadata["warnings"]] == ["After 9 rows without a flag "]


@pytest.mark.parametrize("view", [D4RLSource, D4RLQLearningSource])
def test_an_id_that_the_rows_contradict_is_told(tmp_path, new_path, view):
    path = write(tmp_path / "hopper-medium-v2.hdf5", columns())
    dataset = find_dataset("hopper-medium-v2")
    unlike = (
        "hopper-medium-v2.hdf5 has observations of shape (3,) and actions of shape (2,) where hopper-medium-v2 has "
    )
    for by_name in (True, False):
        target = new_path("memory")
        rlbuffers.convert(view(path, dataset, by_name=by_name), target)
        with rlbuffers.open(target) as buffer:
            assert buffer.metadata["environment"].get("id") == (None if by_name else "Hopper-v2")
            (warning,) = [text for text in buffer.metadata["warnings"] if "of shape" in text]
        end = "it was read as a file of unknown" if by_name else "it seems to be another dataset"
        assert warning.startswith(f"{unlike}(11,) and (3,): {end}")


def test_terminals_of_a_task_that_never_terminates_are_told(converted):
    arrays = columns(observations=np.zeros((STEPS, 17), np.float32), actions=np.zeros((STEPS, 6), np.float32))
    with converted(arrays, find_dataset("halfcheetah-medium-v0")) as buffer:
        assert buffer.metadata["environment"]["can_terminate"] is False
        assert "1 transition is terminal, but HalfCheetah-v2 never terminates." in buffer.metadata["warnings"][-1]
    with converted({**arrays, "terminals": np.zeros(STEPS, bool)}, find_dataset("halfcheetah-medium-v0")) as buffer:
        assert not any("never terminates" in text for text in buffer.metadata["warnings"])


def test_kitchen_has_a_flat_infos_and_no_timeouts(converted):
    sized = {"observations": np.zeros((STEPS, 60), np.float32), "actions": np.zeros((STEPS, 9), np.float32)}
    arrays = columns(timeouts=None, infos=np.arange(STEPS), **sized)
    with converted(arrays, find_dataset("kitchen-mixed-v0")) as buffer:
        assert buffer[:]["infos"].tolist() == list(range(STEPS))
        assert not buffer[:]["timeouts"].any()
        assert lengths(buffer) == [2, 7]
        assert buffer.metadata["warnings"] == []
        assert buffer.metadata["notes"][0].startswith("Terminals mark the ends of demonstrations")


def goals(run=8):
    """A trajectory that stays at a goal for some steps, between timeouts."""
    count = 30
    return {
        "observations": np.arange(count * 2.0).reshape(count, 2),
        "actions": np.zeros((count, 1)),
        "rewards": np.zeros(count),
        "terminals": (np.arange(count) >= 12) & (np.arange(count) < 12 + run),
        "timeouts": np.isin(np.arange(count), [9, 24]),
    }


def test_terminals_of_antmaze_do_not_end_an_episode(converted):
    with converted(goals(), find_dataset("antmaze-umaze-v2")) as buffer:
        assert lengths(buffer) == [10, 15, 5]
        assert whole(buffer) == [True, True, False]
        assert buffer[:]["terminals"].sum() == 8
        assert buffer.metadata["environment"]["terminals_end_episodes"] is False
        assert buffer.metadata["environment"]["reference_scores"] == {"min": 0.0, "max": 1.0}


def test_a_terminal_in_the_last_row_does_not_make_such_an_episode_whole(converted):
    arrays = goals()
    arrays["terminals"][-1] = True
    with converted(arrays, find_dataset("antmaze-umaze-v2")) as buffer:
        assert whole(buffer) == [True, True, False]


def test_long_runs_of_terminals_in_an_unknown_file_are_goals(converted):
    with converted(goals()) as buffer:
        assert lengths(buffer) == [10, 15, 5]
        assert buffer.metadata["environment"] == {"terminals_end_episodes": False}
        assert buffer.metadata["measurements"] == {"terminals_in_long_runs": 7}
        assert "They were taken for goals" in buffer.metadata["warnings"][0]


@pytest.mark.parametrize("change", ["short", "no timeouts", "resets"])
def test_other_runs_of_terminals_are_episodes_of_one_step(converted, change):
    arrays = goals(run=7 if change == "short" else 8)
    if change == "no timeouts":
        arrays["timeouts"][:] = False
    if change == "resets":  # the next observations say that play was reset at each of them
        arrays["next_observations"] = following(arrays["observations"], [9, *range(12, 20), 24], first=1000.0)
    with converted(arrays) as buffer:
        assert lengths(buffer).count(1) == (6 if change == "short" else 7)
        assert "terminals_end_episodes" not in buffer.metadata["environment"]


def test_maze2d_is_cut_at_its_goals_and_the_row_behind_is_not_taken(converted):
    """One long trajectory; rows on both sides of a goal may be duplicates."""
    arrays = goals()
    arrays["terminals"][:] = False
    arrays["observations"][25] = arrays["observations"][24]
    with converted(arrays, find_dataset("maze2d-umaze-v1")) as buffer:
        assert lengths(buffer) == [10, 15, 5]
        assert buffer.rows_without_next.tolist() == [9, 24, 29]
        assert "one long trajectory" in buffer.metadata["notes"][0]


def test_what_belongs_to_the_whole_is_kept(converted):
    more = {
        "metadata/policy/fc0/weight": np.arange(15.0, dtype=np.float32).reshape(5, 3),
        "metadata/policy/fc0/bias": np.zeros(5, np.float32),
        "metadata/as_long_as_the_columns": np.arange(STEPS),
        "metadata/algorithm": np.bytes_(b"SAC"),
        "metadata/note": "as text",
        "metadata/iteration": np.int32(600),
        "metadata/ratio": np.float32(0.5),
        "table": np.eye(4),
    }
    with converted(columns(**more)) as buffer:
        for name in ("metadata/policy/fc0/weight", "metadata/as_long_as_the_columns", "table"):
            assert buffer.extra(name).dtype == more[name].dtype
            np.testing.assert_array_equal(buffer.extra(name), more[name])
        assert buffer.metadata["scalars"] == {
            "metadata/algorithm": {"dtype": "S3", "value": "SAC"},
            "metadata/iteration": {"dtype": "int32", "value": 600},
            "metadata/note": {"dtype": "str", "value": "as text"},
            "metadata/ratio": {"dtype": "float32", "value": 0.5},
        }
        assert buffer.metadata["left_out"] == []
        assert "The policy's weights are (outputs, inputs)" in buffer.metadata["notes"][-1]


def test_transposed_policies_are_kept_as_they_are_and_told(converted):
    """Adroit's cloned policies."""
    more = {
        "metadata/policy/fc0/weight": np.arange(15.0).reshape(3, 5),
        "metadata/policy/fc0/bias": np.zeros(5),
        "metadata/policy/fc1/weight": np.eye(5),
        "metadata/policy/fc1/bias": np.zeros(5),
        "metadata/policy/last_fc/weight": np.arange(10.0).reshape(5, 2),
        "metadata/policy/last_fc/bias": np.zeros(2),
    }
    with converted(columns(**more), find_dataset("pen-cloned-v1")) as buffer:
        np.testing.assert_array_equal(buffer.extra("metadata/policy/fc0/weight"), np.arange(15.0).reshape(3, 5))
        assert "The policy's weights are (inputs, outputs)" in buffer.metadata["notes"][-1]
        more["metadata/policy/fc0/weight"] = more["metadata/policy/fc0/weight"].T
    with converted(columns(**more), find_dataset("pen-cloned-v1")) as buffer:
        assert "Some of the policy's weights" in buffer.metadata["notes"][-1]


def test_what_cannot_be_stored_is_named(tmp_path, new_path):
    path = write(tmp_path / "x.hdf5", columns(texts=np.array([b"a"] * STEPS), nothing=np.zeros((0, 2))))
    with h5py.File(path, "a") as file:
        file["virtual/0/observations"] = np.zeros((2, 3))
        file["complex"] = np.zeros(STEPS, np.complex64)
        file["wide"] = np.zeros((STEPS, 0))
        file["null"] = h5py.Empty("f4")
        file["infinite"] = np.inf
        file["elsewhere"] = h5py.SoftLink("nowhere")
        file["actions"].attrs["unit"] = "N"
    target = new_path("memory")
    rlbuffers.convert(D4RLSource(path), target)
    with rlbuffers.open(target) as buffer:
        left_out = "\n".join(buffer.metadata["left_out"])
        assert set(buffer.spec.columns) == {"observations", "actions", "rewards", "terminals", "timeouts"}
    for named in (
        "'texts'",
        "'nothing'",
        "'complex'",
        "'wide'",
        "'null'",
        "'infinite'",
        "'elsewhere'",
        "actions@unit",
        "'virtual/",
    ):
        assert named in left_out


def test_numbers_of_the_other_byte_order_are_read(converted):
    given_arrays = columns()
    swapped = {
        name: rows if rows.dtype == bool else rows.astype(rows.dtype.newbyteorder(">"))
        for name, rows in given_arrays.items()
    }
    with converted(given_arrays) as expected, converted(swapped) as found:
        assert found.fingerprint == expected.fingerprint


def test_metadata_say_where_the_data_come_from(converted, tmp_path):
    dataset = find_dataset("hopper-medium-v2")
    with converted(columns(), dataset) as buffer:
        facts = buffer.metadata
        assert facts["environment"] == {
            "id": "Hopper-v2",
            "suite": "D4RL",
            "horizon": 1000,
            "reference_scores": {"min": -20.272305, "max": 3234.3},
        }
        assert facts["behavior_policy"] == {"name": "SAC, stopped early", "level": "medium"}
        assert facts["source"]["dataset"] == "hopper-medium-v2"
        assert facts["source"]["published_at"] == dataset.url
        assert facts["source"]["files"][0]["bytes"] == (tmp_path / "x.hdf5").stat().st_size
        assert facts["license"] == "CC-BY-4.0"
        assert "2004.07219" in facts["citation"]
        assert "TensorFlow Datasets recorded 152,756,557 for hopper-medium-v2" in facts["warnings"][0]


def test_known_faults_are_notes():
    told = {name: " ".join(known_facts(dataset)["notes"]) for name, dataset in all_datasets().items()}
    assert "1,200,919" in told["hopper-medium-expert-v0"]
    assert "exchanged" in told["hopper-expert-v1"]
    assert "one step off" in told["walker2d-random-v1"]
    assert "not the real ones" in told["ant-medium-v2"]
    assert "not always marked" in told["ant-full-replay-v2"]
    assert "out of step" in told["antmaze-umaze-v0"]
    assert "at most one positive reward" in told["antmaze-umaze-diverse-v2"]
    assert "identical" in told["carla-town-full-v0"]
    assert "repeats the human demonstrations" in told["door-cloned-v1"]
    assert told["bullet-hopper-medium-v0"] == told["flow-ring-random-v0"] == ""


def test_a_known_hash_that_differs_is_a_warning():
    dataset = find_dataset("hopper-medium-v2")
    facts = {"name": "x", "bytes": dataset.num_bytes, "sha256": dataset.sha256}
    assert file_warnings(dataset, facts) == []
    assert "has SHA-256 0; TensorFlow Datasets recorded 5bdf1b" in file_warnings(dataset, {**facts, "sha256": "0"})[0]
    assert file_warnings(find_dataset("relocate-human-v0"), facts) == []


@pytest.mark.parametrize("block_bytes", [1, 3000])
@pytest.mark.parametrize("name", ["hopper_medium-v2", "hopper_full_replay-v1", "pen-human-v1"])
def test_blocks_and_chunks_make_no_difference(new_path, monkeypatch, name, block_bytes):
    """Blocks are cut at episodes, rows are read in bands of chunks: neither may show."""
    path = MINI / f"{name}.hdf5"
    prints = []
    for size in (16 << 20, block_bytes):
        monkeypatch.setattr("rlbuffers.sources.flat_source._BLOCK_BYTES", size)
        monkeypatch.setattr("rlbuffers.sources.hdf5_columns._BAND_BYTES", size)
        prints.append(rlbuffers.convert(D4RLSource(path), new_path("memory")).fingerprint)
    assert prints[0] == prints[1]


@pytest.mark.parametrize("chunks", [None, (4, 1), (2, 3)])
def test_files_without_chunks_and_with_narrow_ones_are_read(tmp_path, new_path, chunks):
    given_arrays = columns()
    path = write(tmp_path / "x.hdf5", {**given_arrays, "observations": given_arrays["observations"]})
    with h5py.File(path, "a") as file:
        del file["observations"]
        file.create_dataset("observations", data=given_arrays["observations"], chunks=chunks)
    target = new_path("memory")
    rlbuffers.convert(D4RLSource(path), target)
    with rlbuffers.open(target) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations"], given_arrays["observations"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "expected arrays rewards; found actions, observations, terminals, timeouts"),
        ({"observations": None}, "expected arrays observations; found"),
        ({"actions": np.zeros((6, 2))}, "expected 9 rows in 'actions', like 'rewards'; found 6 rows"),
        ({"timeouts": np.array(True)}, "expected 9 rows in 'timeouts', like 'rewards'; found a scalar"),
        ({"terminals": np.full(STEPS, np.nan)}, "expected flags in 'terminals', found NaN in row 0"),
        ({"rewards": np.zeros((STEPS, 2))}, r"expected one number a row in 'rewards', found rows of shape \(2,\)"),
        ({"terminals": np.zeros((STEPS, 2))}, "expected one number a row in 'terminals'"),
        ({"terminals": np.full(STEPS, b"x")}, r"expected numbers of at most 8 bytes in 'terminals', found \|S1"),
        ({"rewards": np.zeros(STEPS, complex)}, "expected numbers of at most 8 bytes in 'rewards', found complex128"),
        (
            {"next_observations": np.zeros((STEPS, 3, 2))},
            r"expected rows of shape \(3,\) in 'next_observations', like 'observations'; found \(3, 2\)",
        ),
        ({"episodes/starts": np.zeros(STEPS)}, "the format has an array 'episodes/starts' already"),
        ({name: rows[:0] for name, rows in columns().items()}, "expected transitions, found none"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, change, message):
    with pytest.raises(FormatError, match=rf"x\.hdf5: {message}"):
        D4RLSource(write(tmp_path / "x.hdf5", columns(**change)))


def test_damaged_and_other_files_are_refused(tmp_path):
    content = (MINI / "hopper_medium.hdf5").read_bytes()
    for found, message in (
        (b"", "expected an HDF5 file"),
        (b"text", "expected an HDF5 file"),
        (content[:20_000], "damaged or cut short; the HDF5 library says"),
    ):
        (tmp_path / "x.hdf5").write_bytes(found)
        with pytest.raises(FormatError, match=message):
            D4RLSource(tmp_path / "x.hdf5")
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        D4RLSource(tmp_path / "nothing.hdf5")


def test_damage_inside_the_rows_is_found_while_reading(tmp_path, new_path):
    content = bytearray((MINI / "hopper_medium.hdf5").read_bytes())
    with h5py.File(MINI / "hopper_medium.hdf5") as file:
        chunk = file["observations"].id.get_chunk_info(0)
    content[chunk.byte_offset + 10 : chunk.byte_offset + 200] = bytes(190)
    (tmp_path / "x.hdf5").write_bytes(content)
    with pytest.raises(CorruptDataError, match="damaged or cut short"):
        rlbuffers.convert(D4RLSource(tmp_path / "x.hdf5"), new_path("hdf5"))


def test_sizes_that_cannot_be_true_are_refused_before_they_are_allocated(tmp_path):
    path = write(tmp_path / "x.hdf5", columns())
    with h5py.File(path, "a") as file:
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            row, dtype = file[name].shape[1:], file[name].dtype
            del file[name]
            file.create_dataset(name, (1 << 40, *row), dtype, chunks=(1024, *row), compression="gzip")
    with pytest.raises(CorruptDataError, match=r"announces [\d,]+ bytes, of which 0 compressed ones are stored"):
        D4RLSource(path)


def test_a_buffer_is_not_taken_for_a_d4rl_file(converted, tmp_path):
    target = tmp_path / "b.hdf5"
    rlbuffers.convert(D4RLSource(write(tmp_path / "x.hdf5", columns())), target)
    with pytest.raises(FormatError, match="found an rlbuffers buffer"):
        D4RLSource(target)


@pytest.mark.parametrize("path", sorted(MINI.rglob("*.hdf5")), ids=lambda path: path.stem[:20])
def test_after_a_timeout_nothing_of_the_next_episode_is_seen(new_path, path):
    target = new_path("memory")
    rlbuffers.convert(D4RLSource(path), target)
    with rlbuffers.open(target) as buffer:
        rows = buffer[:]
        ends = np.flatnonzero(rows["timeouts"][:-1]) if "timeouts" in rows else []
        for row in ends:
            assert not np.array_equal(rows["next_observations"][row], rows["observations"][row + 1])


def test_the_row_that_a_fixture_marks_is_where_play_was_reset(new_path):
    path = MINI / "hopper_full_replay-v1.hdf5"
    target = new_path("memory")
    report = rlbuffers.convert(D4RLSource(path), target)
    with rlbuffers.open(target) as buffer:
        ends = np.cumsum(buffer.arrays["episodes/lengths"].all()) - 1
        assert set(load_truth(path)["unmarked_resets"]) < set(ends)
    assert report.measurements == {"unmarked_resets": 1}
