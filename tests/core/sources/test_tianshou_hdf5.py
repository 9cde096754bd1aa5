from __future__ import annotations

import os
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tianshou_files import Step, episodes_of, kept, play, put, save

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError
from rlbuffers.local_inputs import followed_links
from rlbuffers.sources.tianshou import file as tianshou_file
from rlbuffers.sources.tianshou.hdf5 import TianshouSource
from rlbuffers.sources.tianshou.ring import Ring, single_ring, vector_rings


def converted(path, new_path):
    output = new_path("memory")
    report = rlbuffers.convert(TianshouSource(path), output)
    assert report.read.episodes == report.written.episodes
    return rlbuffers.open(output)


def image(number):
    """A frame that occurs once."""
    return np.array([[number % 256, number // 256], [7, 9]], np.uint8)


def rng_of(seed=0):
    return np.random.default_rng(seed)


def edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)
    return path


def assert_same_steps(buffer, episodes, *, following):
    """Compare with steps that were cut into episodes one by one."""
    steps = [step for episode in episodes for step in episode]
    rows = buffer[:]
    for column, name in {
        "actions": "act",
        "rewards": "rew",
        "terminals": "terminated",
        "timeouts": "truncated",
    }.items():
        np.testing.assert_array_equal(rows[column], [step.rows[name] for step in steps])
    assert rows["rewards"].dtype == np.float64
    assert buffer.arrays["episodes/lengths"].all().tolist() == [len(episode) for episode in episodes]
    row = 0
    for episode in episodes:
        for step, after in zip(episode, [*episode[1:], None], strict=True):
            np.testing.assert_array_equal(rows["observations"][row], step.rows["obs"])
            if following or after is not None:
                expected = step.rows["obs_next"] if following else after.rows["obs"]
                np.testing.assert_array_equal(rows["next_observations"][row], expected)
            else:
                assert row in buffer.rows_without_next
            row += 1
    assert len(buffer.rows_without_next) == (0 if following else len(episodes))


@given(
    counts=st.lists(st.integers(0, 25), min_size=1, max_size=3).filter(any),
    capacity=st.integers(1, 9),
    following=st.booleans(),
    vector=st.booleans(),
    chance=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    block=st.sampled_from([1, 40, 1 << 20]),
    seed=st.integers(0, 1000),
)
def test_rings_come_back_in_the_order_of_time(new_path, counts, capacity, following, vector, chance, block, seed):
    counts = counts if vector or counts[0] else [3]
    envs = [
        play(rng_of(seed), count, env=env, chance=chance, obs_next=following)
        for env, count in enumerate(counts if vector else counts[:1])
    ]
    path = save(new_path("hdf5"), envs, capacity, vector=vector)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tianshou_file, "_BLOCK_BYTES", block)
        buffer = converted(path, new_path)
    cut = [episodes_of(kept(steps, capacity)) for steps in envs]
    assert_same_steps(buffer, [episode for episodes in cut for episode in episodes], following=following)
    whole = [
        episode[-1].done and (number > 0 or len(steps) < capacity)
        for steps, episodes in zip(envs, cut, strict=True)
        for number, episode in enumerate(episodes)
    ]
    assert buffer.arrays["episodes/whole"].all().tolist() == whole
    if vector:
        numbers = [env for env, episodes in enumerate(cut) for _ in episodes]
        assert buffer.arrays["episodes/env_indices"].all().tolist() == numbers
    assert buffer.metadata["measurements"]["unfinished_episodes"] == sum(
        bool(steps) and not steps[-1].done for steps in envs
    )


@given(
    counts=st.lists(st.integers(1, 25), min_size=1, max_size=2),
    capacity=st.integers(2, 9),
    depth=st.integers(2, 5),
    following=st.booleans(),
    block=st.sampled_from([1, 1 << 20]),
)
def test_single_frames_are_stacked_as_tianshou_does(new_path, counts, capacity, depth, following, block):
    envs = [play(rng_of(1), count, env=env, observation=image, obs_next=following) for env, count in enumerate(counts)]
    path = save(new_path("hdf5"), envs, capacity, vector=True, stack_num=depth, last_obs=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tianshou_file, "_BLOCK_BYTES", block)
        buffer = converted(path, new_path)
    rows = buffer[:]
    row = 0
    for steps in envs:
        for episode in episodes_of(kept(steps, capacity)):
            frames = [step.rows["obs"] for step in episode]
            final = [episode[-1].rows["obs_next"]] if following else []
            for t in range(len(episode)):
                for name, newest in (("observations", t), ("next_observations", t + 1)):
                    if newest < len(frames + final):
                        stack = [(frames + final)[max(newest - back, 0)] for back in reversed(range(depth))]
                        np.testing.assert_array_equal(rows[name][row], stack)
                row += 1
    episodes = len(buffer.arrays["episodes/lengths"])
    assert buffer.metadata["counts"]["frames"] == row + depth * episodes
    assert len(buffer.rows_without_next) == (0 if following else episodes)


def stacked_episodes(depth, *, moves_on=True, obs_next=True):
    """Steps whose observations are whole stacks, the first of an episode of unrelated frames."""
    rng = rng_of(2)
    steps = []
    for length in (3, 1, 5):
        frames = rng.integers(0, 256, (length + depth, 2, 3), dtype=np.uint8)
        for t in range(length):
            stack, following = frames[t : t + depth], frames[t + 1 : t + 1 + depth]
            if not moves_on and t == 2:
                stack = stack[::-1]
            rows = {"obs": stack, "act": t, "rew": 1.0, "terminated": t == length - 1, "truncated": False}
            steps.append(Step({**rows, "done": t == length - 1, **({"obs_next": following} if obs_next else {})}))
    return steps


@pytest.mark.parametrize("obs_next", [True, False])
@pytest.mark.parametrize("depth", [2, 4])
def test_whole_stacks_become_frames(tmp_path, new_path, depth, obs_next):
    steps = stacked_episodes(depth, obs_next=obs_next)
    with converted(save(tmp_path / "x.hdf5", [steps], 20), new_path) as buffer:
        assert buffer.spec.stack == depth
        rows = buffer[:]
        np.testing.assert_array_equal(rows["observations"], [step.rows["obs"] for step in steps])
        if obs_next:
            np.testing.assert_array_equal(rows["next_observations"], [step.rows["obs_next"] for step in steps])


@pytest.mark.parametrize("wrong", ["obs", "obs_next"])
def test_stacks_that_do_not_move_on_are_kept_as_they_are(tmp_path, new_path, wrong):
    steps = stacked_episodes(4, obs_next=wrong == "obs_next")
    place = 2 if wrong == "obs_next" else 1  # the last row of an episode, or one within it
    steps[place] = Step({**steps[place].rows, wrong: steps[place].rows[wrong][::-1]})
    with converted(save(tmp_path / "x.hdf5", [steps], 20), new_path) as buffer:
        assert buffer.spec.stack == 0
        np.testing.assert_array_equal(buffer[:]["observations"], [step.rows["obs"] for step in steps])
        assert buffer.spec.columns["observations"].shape == (4, 2, 3)


def test_vectors_that_were_stacked_are_single(tmp_path, new_path):
    steps = play(rng_of(), 12)
    with converted(save(tmp_path / "x.hdf5", [steps], 20, stack_num=3), new_path) as buffer:
        assert buffer.spec.stack == 0
        assert_same_steps(buffer, episodes_of(steps), following=True)
        assert "stacked 3 observations" in " ".join(buffer.metadata["notes"])


def test_dicts_infos_policies_and_other_keys_are_columns(tmp_path, new_path):
    more = {
        "info/speed": lambda number: np.float32(number),
        "info/deep/er": lambda number: np.array([number, 1], np.int16),
        "policy/logp": lambda number: number / 2,
        "returns": lambda number: float(number),
        "actions": lambda number: 0.0,
    }
    steps = play(
        rng_of(), 9, observation=lambda n: {"position": np.array([n, 2.0]), "touch": {"left": np.int8(n)}}, more=more
    )
    with converted(save(tmp_path / "x.hdf5", [steps], 20), new_path) as buffer:
        rows = buffer[:]
        for column, place in {
            "infos/speed": "info/speed",
            "infos/deep/er": "info/deep/er",
            "policy/logp": "policy/logp",
            "returns": "returns",
        }.items():
            np.testing.assert_array_equal(rows[column], [step.rows[place] for step in steps])
        positions = [step.rows["obs"]["position"] for step in steps]
        np.testing.assert_array_equal(rows["observations/position"], positions)
        touches = [step.rows["obs_next"]["touch"]["left"] for step in steps]
        np.testing.assert_array_equal(rows["next_observations/touch/left"], touches)
        assert rows["observations/touch/left"].dtype == np.int8


class Marker:
    def __init__(self, path):
        self._path = str(path)

    def __reduce__(self):
        return os.mkdir, (self._path,)


def test_pickles_are_named_and_never_loaded(tmp_path, new_path):
    marker = tmp_path / "was loaded"
    payload = np.frombuffer(pickle.dumps(Marker(marker)), np.int8)

    def add_pickles(file):
        put(file, "_random_state", payload, kind="RandomState")
        put(file, "weight", payload, kind="SegmentTree")
        put(file, "_meta/info/text", payload, kind="pickled_ndarray")
        put(file, "unknown", payload)
        del file["unknown"].attrs["__data_type__"]

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), add_pickles)
    with converted(path, new_path) as buffer:
        left_out = " ".join(buffer.metadata["left_out"])
    for name in ("_random_state (RandomState)", "weight (SegmentTree)", "_meta/info/text (pickled_ndarray)", "unknown"):
        assert name in left_out
    assert not marker.exists()
    pickle.loads(payload.tobytes())  # the trap works
    assert marker.exists()


def pickled(file, name, value, kind):
    file.attrs.pop(name, None)
    put(file, name, np.frombuffer(pickle.dumps(value), np.int8), kind=kind)


@pytest.mark.parametrize("vector", [False, True])
def test_numbers_of_a_buffer_that_was_loaded_and_saved_again(tmp_path, new_path, vector):
    """Then they are NumPy's, which Tianshou pickles."""

    def pickle_numbers(file):
        for name, value in list(file.attrs.items()):
            if not isinstance(value, float):
                pickled(file, name, value, "int64" if isinstance(value, np.int64) else "bool_")

    steps = play(rng_of(), 14, observation=image)
    path = save(tmp_path / "x.hdf5", [steps], 9, vector=vector, stack_num=3, last_obs=True)
    with converted(path, new_path) as expected, converted(edit(path, pickle_numbers), new_path) as found:
        assert found.fingerprint == expected.fingerprint
        assert found.metadata["source"]["buffer"] == expected.metadata["source"]["buffer"]
        assert not found.metadata["left_out"]


@pytest.mark.parametrize("payload", ["code", "text", "float", "rubbish", "cut"])
def test_pickled_numbers_are_looked_at_and_not_loaded(tmp_path, payload):
    marker = tmp_path / "was loaded"
    value = {"code": Marker(marker), "text": "9", "float": np.float64(9)}.get(payload, np.int64(9))

    def put_payload(file):
        pickled(file, "_size", value, "int64")
        if payload in ("rubbish", "cut"):
            data = file["_size"][:]
            del file["_size"]
            put(file, "_size", data[:-9] if payload == "cut" else data[::-1].copy(), kind="int64")

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), put_payload)
    with pytest.raises(FormatError, match="expected a number '_size' among its attributes"):
        TianshouSource(path)
    assert not marker.exists()


def test_pickled_observations_are_refused(tmp_path):
    def pickle_observations(file):
        file["_meta/obs"].attrs["__data_type__"] = "pickled_ndarray"

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), pickle_observations)
    with pytest.raises(FormatError, match=r"x\.hdf5: expected arrays obs in '_meta'"):
        TianshouSource(path)


def test_files_of_old_versions(tmp_path, new_path):
    steps = play(rng_of(), 14)
    path = save(tmp_path / "x.hdf5", [steps], 9, old=True)
    with converted(path, new_path) as buffer:
        assert_same_steps(buffer, episodes_of(kept(steps, 9)), following=True)

    def only_done(file):
        del file["_meta/terminated"], file["_meta/truncated"]

    with converted(edit(path, only_done), new_path) as buffer:
        assert "timeouts" not in buffer.spec.columns
        np.testing.assert_array_equal(buffer[:]["terminals"], [step.done for step in kept(steps, 9)])
        assert "does not tell truncated episodes from terminated ones" in buffer.metadata["warnings"][0]


def test_files_of_very_old_versions(tmp_path, new_path):
    """Up to 0.3: other names, and the buffer does not say where its newest row is."""

    def rename(file):
        for name, other in (("maxsize", "_maxsize"), ("stack_num", "_stack")):
            file.attrs[other] = file.attrs.pop(name)
        del file["last_index"], file["_indices"], file["_meta/terminated"], file["_meta/truncated"]

    steps = play(rng_of(), 14, observation=image)
    path = save(tmp_path / "x.hdf5", [steps], 9, old=True, stack_num=2, last_obs=True)
    with converted(edit(path, rename), new_path) as buffer:
        assert buffer.spec.stack == 2
        np.testing.assert_array_equal(buffer[:]["rewards"], [step.rows["rew"] for step in kept(steps, 9)])


@pytest.mark.parametrize("block", [1, 70, 1 << 20])
def test_a_jump_without_a_flag_cuts(tmp_path, new_path, monkeypatch, block):
    steps = play(rng_of(), 8, chance=0.0)
    steps[2] = Step({**steps[2].rows, "obs_next": np.array([-5, -5], np.float32)})
    path = save(tmp_path / "x.hdf5", [steps], 20)
    monkeypatch.setattr(tianshou_file, "_BLOCK_BYTES", block)
    with converted(path, new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 5]
        assert buffer.arrays["episodes/whole"].all().tolist() == [False, False]
        assert buffer[2]["next_observations"].tolist() == [-5, -5]
        assert buffer.metadata["measurements"]["unmarked_resets"] == 1
        assert "After 1 rows without a flag" in buffer.metadata["warnings"][0]


def test_rows_that_are_done_without_a_reason_cut(tmp_path, new_path):
    steps = play(rng_of(), 6, chance=0.0)
    steps[1] = Step({**steps[1].rows, "done": True})
    with converted(save(tmp_path / "x.hdf5", [steps], 20), new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [2, 4]
        assert not buffer[:]["terminals"].any()
        assert not buffer[:]["timeouts"].any()
        assert "1 rows are done but neither" in buffer.metadata["warnings"][0]


def test_next_observations_unlike_the_observations_are_left_out(tmp_path, new_path):
    def change(file):
        following = file["_meta/obs_next"][:].astype(np.float64)
        del file["_meta/obs_next"]
        put(file, "_meta/obs_next", following)

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 6)], 9), change)
    with converted(path, new_path) as buffer:
        assert len(buffer.rows_without_next) == buffer.num_episodes
        assert "obs_next, whose keys, dtypes or shapes" in buffer.metadata["left_out"][0]


def test_compressed_files_are_read_in_whole_chunks(tmp_path, new_path):
    steps = play(rng_of(), 300, chance=0.05)
    path = save(tmp_path / "x.hdf5", [steps], 200, compression="gzip")
    with converted(path, new_path) as buffer:
        assert_same_steps(buffer, episodes_of(kept(steps, 200)), following=True)


def change_array(name, make):
    def change(file):
        array = file[name][:]
        del file[name]
        put(file, name, make(array))

    return change


def removed(name):
    def change(file):
        del file[name]

    return change


def attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (removed("_meta"), "expected a file of Tianshou's save_hdf5, with a group '_meta'; found _indices, last_index"),
        (removed("_meta/obs"), "expected arrays obs in '_meta'; found act, done"),
        (removed("_meta/rew"), "expected arrays rew in '_meta'"),
        (change_array("_meta/act", lambda rows: rows[:3]), "expected at least 5 rows in '/_meta/act', found 3"),
        (change_array("_meta/rew", lambda rows: np.stack([rows] * 2, axis=1)), "expected one reward a row"),
        (
            change_array("_meta/done", lambda rows: np.stack([rows] * 2, axis=1)),
            "expected one number a row in 'terminals'",
        ),
        (
            change_array("_meta/obs", lambda rows: rows.astype(complex)),
            "expected numbers in '/_meta/obs', found complex128",
        ),
        (attribute("_size", 99), "expected a size and a place for the next row within 9 rows; found 99 and 5"),
        (attribute("stack_num", 10**9), "expected a stack_num of 1 to 256, found 1,000,000,000"),
        (change_array("_meta/terminated", lambda rows: rows.astype("S1")), "expected numbers in '/_meta/terminated'"),
        (change_array("last_index", lambda rows: rows / 2), "expected a whole number in 'last_index', found float64"),
        (lambda file: file.attrs.pop("maxsize"), "expected a number 'maxsize' among its attributes"),
        (lambda file: file.attrs.pop("_insertion_idx"), "expected a number '_insertion_idx'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), change)
    with pytest.raises(FormatError, match=r"x\.hdf5: ") as caught:
        TianshouSource(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_array("_lengths", lambda rows: rows + 100), "sub-buffer 0: expected its rows from 0 to 4, found 103"),
        (change_array("last_index", lambda rows: rows - 4), "the newest at -2"),
        (change_array("_lengths", lambda rows: rows[:1]), "expected a length and a last row for each of 2 sub-buffers"),
        (change_array("_offset", lambda rows: rows / 2), "expected whole numbers in '_offset'"),
        (removed("last_index"), "expected whole numbers in 'last_index'"),
    ],
)
def test_sub_buffers_that_contradict_themselves_are_refused(tmp_path, change, message):
    envs = [play(rng_of(), 3), play(rng_of(), 7, env=1)]
    path = edit(save(tmp_path / "x.hdf5", envs, 4, vector=True), change)
    with pytest.raises(FormatError, match=r"x\.hdf5: ") as caught:
        TianshouSource(path)
    assert message in str(caught.value)


def test_rewards_of_one_column_are_rewards(tmp_path, new_path):
    steps = play(rng_of(), 5)
    change = change_array("_meta/rew", lambda rows: rows[:, None])
    with converted(edit(save(tmp_path / "x.hdf5", [steps], 9), change), new_path) as buffer:
        assert_same_steps(buffer, episodes_of(steps), following=True)


def test_other_files_are_refused(tmp_path):
    for name, content, message in (
        ("x.pkl", pickle.dumps({}), r'x\.pkl: a pickle .* buffer\.save_hdf5\("x\.hdf5"\)'),
        ("x.hdf5", pickle.dumps({}), r"x\.hdf5: a pickle"),
        ("y.hdf5", b"text", "expected an HDF5 file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message):
            TianshouSource(tmp_path / name)
    with pytest.raises(BufferNotFoundError, match="there is no such file"):
        TianshouSource(tmp_path / "nothing.hdf5")


def test_a_file_cut_short_is_refused(tmp_path):
    path = save(tmp_path / "x.hdf5", [play(rng_of(), 50)], 90)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(CorruptDataError, match="damaged or cut short"):
        TianshouSource(path)


def test_sizes_are_not_believed(tmp_path):
    def huge(file):
        del file["_meta/obs"]
        file.create_dataset("_meta/obs", (10**9, 1000), np.float64, chunks=(1000, 10), compression="gzip")
        file["_meta/obs"].attrs["__data_type__"] = "ndarray"

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), huge)
    with pytest.raises(CorruptDataError, match=r"obs' announces 8,000,000,000,000 bytes"):
        TianshouSource(path)


def test_arrays_in_other_files_are_not_followed(tmp_path, new_path):
    other = save(tmp_path / "other.hdf5", [play(rng_of(), 5)], 9)

    def link(file):
        file["_meta/info/linked"] = h5py.ExternalLink(str(other), "_meta/act")
        layout = h5py.VirtualLayout((9,), np.int64)
        layout[:] = h5py.VirtualSource(str(other), "_meta/act", (9,))
        file.create_virtual_dataset("_meta/info/virtual", layout)
        file["_meta/info/virtual"].attrs["__data_type__"] = "ndarray"

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9), link)
    with pytest.raises(FormatError, match="linked' is an external link to"):
        TianshouSource(path)
    with followed_links(), converted(path, new_path) as buffer:
        for name in ("infos/linked", "infos/virtual"):
            np.testing.assert_array_equal(buffer[:][name], buffer[:]["actions"])


def test_other_hdf5_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name in ("observations", "actions", "rewards"):
            file[name] = np.zeros(3)
    with pytest.raises(FormatError, match="with a group '_meta'; found actions, observations, rewards"):
        TianshouSource(tmp_path / "x.hdf5")


@pytest.mark.parametrize("vector", [False, True])
def test_an_empty_buffer_is_no_buffer(tmp_path, new_path, vector):
    def empty(file):
        file.attrs["_size"] = file.attrs["_insertion_idx"] = 0
        if vector:
            file["_lengths"][:] = 0

    path = edit(save(tmp_path / "x.hdf5", [play(rng_of(), 5)], 9, vector=vector), empty)
    with pytest.raises(FormatError, match="expected transitions, found none"):
        rlbuffers.convert(TianshouSource(path), new_path("memory"))


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_that_are_not_finite_are_refused(tmp_path, new_path, reward):
    steps = play(rng_of(), 5)
    steps[3] = Step({**steps[3].rows, "rew": reward})
    with pytest.raises(FormatError, match=r"x\.hdf5: expected finite rewards, found (nan|inf) in row 3"):
        rlbuffers.convert(TianshouSource(save(tmp_path / "x.hdf5", [steps], 9)), new_path("memory"))


@pytest.mark.parametrize(
    ("numbers", "oldest", "overwritten"),
    [
        ({"size": 3, "insertion": 3}, 0, False),
        ({"size": 5, "insertion": 2, "last": 1}, 2, True),
        ({"size": 5, "insertion": 0, "last": 4}, 0, None),
        ({"size": 5, "insertion": 5, "last": 4}, 0, None),
        ({"size": 5, "insertion": 0, "last": 0}, 0, False),  # given as a whole
        ({"size": 5, "insertion": 0, "last": 4, "begins": True}, 0, False),
        ({"size": 5, "insertion": 0, "last": 4, "begins": False}, 0, True),
        ({"size": 5, "insertion": 2, "begins": True}, 2, True),
    ],
)
def test_what_a_single_ring_tells(numbers, oldest, overwritten):
    ring = single_ring("x", capacity=5, **numbers)
    assert (ring.oldest, ring.overwritten, len(ring)) == (oldest, overwritten, numbers["size"])


def test_what_vector_rings_tell():
    rings = vector_rings("x", edges=[0, 4, 8, 12], lengths=[4, 4, 2], lasts=[1, 7, 9])
    assert rings == [Ring(0, 4, 4, 2, True), Ring(4, 4, 4, 0, None), Ring(8, 4, 2, 0, False)]


@given(
    offset=st.integers(0, 20),
    capacity=st.integers(1, 12),
    oldest=st.integers(0, 11),
    length=st.integers(0, 12),
    size=st.integers(1, 15),
)
def test_spans_are_the_rows(offset, capacity, oldest, length, size):
    full = oldest < capacity and oldest > 0
    ring = Ring(offset, capacity, capacity if full else min(length, capacity), oldest if full else 0)
    rows = [row for start, stop in ring.spans(size) for row in range(start, stop)]
    assert rows == ring.rows().tolist()
    assert sorted(rows) == list(range(offset, offset + len(ring)))
    assert all(start // size == (stop - 1) // size for start, stop in ring.spans(size))
