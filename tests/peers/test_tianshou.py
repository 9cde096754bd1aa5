"""Tianshou itself against our reader and writer: the same values, row by row."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, make, write
from truth import DATA

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.exports.export import export
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers.sources.tianshou.hdf5 import TianshouSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tianshou.algorithm.algorithm_base import Algorithm
    from tianshou.data import (
        Batch,
        CachedReplayBuffer,
        PrioritizedReplayBuffer,
        PrioritizedVectorReplayBuffer,
        ReplayBuffer,
        VectorReplayBuffer,
    )
    from tianshou.data.utils.converter import from_hdf5

FIXTURES = DATA / "tianshou"
COLUMNS = {"actions": "act", "rewards": "rew", "terminals": "terminated", "timeouts": "truncated"}
SOME_ENDS = ((False, False), (True, False), (False, True), (True, True))


def converted(path, new_path):
    rlbuffers.convert(TianshouSource(path), output := new_path("memory"))
    return rlbuffers.open(output)


def assert_is(buffer, theirs, *, known_ends):
    """Compare with all available rows in Tianshou's own order, asked for one by one as a trainer gets them."""
    order = theirs.sample_indices(0)
    rows = buffer[:]
    assert len(buffer) == len(theirs) == len(order)
    unknown = set(buffer.rows_without_next.tolist())
    for row, index in enumerate(order):
        batch = theirs[np.array([index])]
        for column, name in COLUMNS.items():
            np.testing.assert_array_equal(rows[column][row], batch[name][0])
        np.testing.assert_array_equal(rows["observations"][row], batch.obs[0])
        if known_ends or row not in unknown:
            np.testing.assert_array_equal(rows["next_observations"][row], batch.obs_next[0])
        else:  # Tianshou stays where it is at an end
            assert theirs.next(np.array([index]))[0] == index
    if not known_ends:
        assert len(unknown) == buffer.num_episodes
    done_or_last = theirs.done[order] | np.isin(order, theirs.unfinished_index())
    assert int(done_or_last.sum()) == buffer.num_episodes


def load_fixture(name):
    """Load as `load_hdf5` does, but for its pickles: NumPy 1 cannot read those that NumPy 2 wrote."""
    with h5py.File(FIXTURES / f"{name}.hdf5") as file:
        arrays = {key: from_hdf5(item) for key, item in file.items() if key not in ("_random_state", "buffers")}
        options = dict(file["options"].attrs)
        size = int(file.attrs["maxsize"])
        if "vector" not in name:
            theirs = ReplayBuffer(size, **options)
            theirs.__dict__.update({**dict(file.attrs), **arrays})
            return theirs
    theirs = VectorReplayBuffer(size, 2, **options)
    theirs.__dict__.update(arrays)
    theirs._set_batch_for_children()
    for ring, length in zip(theirs.buffers, theirs._lengths, strict=True):
        ring._size = ring._insertion_idx = int(length)
    return theirs


@pytest.mark.parametrize("name", ["cartpole", "cartpole-wrapped", "pong-vector-stack4"])
def test_fixtures(new_path, name):
    theirs = load_fixture(name)
    assert_is(converted(FIXTURES / f"{name}.hdf5", new_path), theirs, known_ends="vector" not in name)


def a_batch(rng, envs, numbers, kinds, *, stack):
    """One step of several environments; observations that occur once."""

    def observed(number):
        if stack:
            return np.stack([np.full((2, 3), (number + k) % 256, np.uint8) + np.uint8(number // 256) for k in range(4)])
        return np.array([number, number / 2], np.float32)

    ends = np.array([SOME_ENDS[kind] for kind in kinds])
    return Batch(
        obs=np.stack([observed(number) for number in numbers]),
        obs_next=np.stack([observed(number + 1) for number in numbers]),
        act=rng.integers(0, 5, len(envs)),
        rew=rng.normal(size=len(envs)),
        terminated=ends[:, 0],
        truncated=ends[:, 1],
        info={"speed": rng.normal(size=len(envs))},
        policy={"value": rng.normal(size=len(envs))},
    )


def fill(theirs, rng, num_envs, steps, *, stack, chance):
    """Add steps to random environments."""
    numbers = np.arange(num_envs) * 500
    for _ in range(steps):
        envs = np.flatnonzero(rng.random(num_envs) < 0.7) if num_envs > 1 else np.array([0])
        if not len(envs):
            continue
        kinds = np.where(rng.random(len(envs)) < chance, rng.integers(1, 4, len(envs)), 0)
        theirs.add(a_batch(rng, envs, numbers[envs], kinds, stack=stack), buffer_ids=envs)
        numbers[envs] += 1 + 2 * (kinds > 0)


@given(
    num_envs=st.integers(1, 3),
    capacity=st.integers(2, 9),
    steps=st.integers(1, 30),
    chance=st.sampled_from([0.0, 0.2, 0.7]),
    stack=st.booleans(),
    following=st.booleans(),
    prioritized=st.booleans(),
    compression=st.sampled_from([None, "gzip"]),
    seed=st.integers(0, 100),
)
def test_buffers_that_tianshou_saved(
    new_path, num_envs, capacity, steps, chance, stack, following, prioritized, compression, seed
):
    rng = np.random.default_rng(seed)
    following = following and not stack  # a stack of obs_next begins with wrong frames in Tianshou
    options = {"ignore_obs_next": not following, **({"stack_num": 4, "save_only_last_obs": True} if stack else {})}
    if prioritized:
        options |= {"alpha": 0.6, "beta": 0.4}
    if num_envs == 1:
        theirs = (PrioritizedReplayBuffer if prioritized else ReplayBuffer)(capacity, **options)
    else:
        kind = PrioritizedVectorReplayBuffer if prioritized else VectorReplayBuffer
        theirs = kind(capacity * num_envs, num_envs, **options)
    fill(theirs, rng, num_envs, steps, stack=stack, chance=chance)
    if not len(theirs):
        return
    theirs.save_hdf5(str(path := new_path("hdf5")), compression=compression)
    buffer = converted(path, new_path)
    assert buffer.spec.stack == (4 if stack else 0)
    assert_is(buffer, theirs, known_ends=following)
    order = theirs.sample_indices(0)
    np.testing.assert_array_equal(buffer[:]["infos/speed"], theirs.info.speed[order])
    np.testing.assert_array_equal(buffer[:]["policy/value"], theirs.policy.value[order])
    assert any("never loaded" in text for text in buffer.metadata["left_out"])
    if num_envs > 1:
        envs = buffer.arrays["episodes/env_indices"].all()[buffer.episode_of(np.arange(len(buffer)))]
        np.testing.assert_array_equal(envs, np.searchsorted(theirs.subbuffer_edges, order, side="right") - 1)


@given(steps=st.integers(3, 40), seed=st.integers(0, 20))
def test_cached_buffers(new_path, steps, seed):
    theirs = CachedReplayBuffer(ReplayBuffer(13), cached_buffer_num=2, max_episode_length=50)
    rng = np.random.default_rng(seed)
    fill(theirs, rng, 2, steps, stack=False, chance=0.3)
    if not len(theirs):
        return
    theirs.save_hdf5(str(path := new_path("hdf5")))
    assert_is(converted(path, new_path), theirs, known_ends=True)


def test_stacks_of_stored_next_frames_are_the_right_ones(new_path):
    """Where Tianshou shows wrong frames: its stack of obs_next at an episode's first rows repeats a later frame."""
    theirs = ReplayBuffer(20, stack_num=4, save_only_last_obs=True)
    fill(theirs, np.random.default_rng(0), 1, 12, stack=True, chance=0.2)
    theirs.save_hdf5(str(path := new_path("hdf5")))
    rows = converted(path, new_path)[:]
    np.testing.assert_array_equal(rows["observations"], theirs[np.arange(12)].obs)
    np.testing.assert_array_equal(rows["next_observations"][:, -1], theirs.obs_next[:12])
    np.testing.assert_array_equal(rows["next_observations"][:, :-1], rows["observations"][:, 1:])
    assert (rows["next_observations"] != theirs[np.arange(12)].obs_next).any()


def test_data_that_were_given_as_a_whole(new_path):
    rng = np.random.default_rng(0)
    ends = np.arange(8) % 4 == 3
    rows = {"obs": rng.normal(size=(8, 2)), "act": rng.normal(size=(8, 1)), "rew": rng.normal(size=8)}
    following = np.concatenate([rows["obs"][1:], np.ones((1, 2))])
    following[3] = 2.0
    theirs = ReplayBuffer.from_data(**rows, terminated=ends, truncated=~ends & False, done=ends, obs_next=following)
    theirs.save_hdf5(str(path := new_path("hdf5")))
    buffer = converted(path, new_path)
    np.testing.assert_array_equal(buffer[:]["next_observations"], following)
    np.testing.assert_array_equal(buffer[:]["observations"], rows["obs"])
    assert buffer.arrays["episodes/whole"].all().tolist() == [True, True]


def write_episodes(path, lengths, kinds, *, stack=0, known=True, dictionary=False):
    """Write a buffer of episodes that end as `kinds` say: indices into SOME_ENDS."""
    rng = np.random.default_rng(5)
    names = ["observations/a", "observations/b"] if dictionary else ["observations"]
    dtype, shape = (np.uint8, (stack, 2, 3)) if stack else (np.float32, (3,))
    spec = BufferSpec(
        "episodes",
        [
            *(ColumnSpec(name, dtype, shape) for name in names),
            ColumnSpec("actions", np.float32, (2,)),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
            ColumnSpec("infos/speed", np.float32),
            ColumnSpec("discounts", np.float32),
        ],
        stack=stack,
    )
    with rlbuffers.create(path, spec) as writer:
        for length, kind in zip(lengths, kinds, strict=True):
            last = np.arange(length) == length - 1
            terminal, timeout = SOME_ENDS[kind]
            columns = {
                "actions": rng.normal(size=(length, 2)).astype(np.float32),
                "rewards": rng.normal(size=length).astype(np.float32),
                "terminals": last & terminal,
                "timeouts": last & timeout,
                "infos/speed": rng.normal(size=length).astype(np.float32),
                "discounts": rng.normal(size=length).astype(np.float32),
            }
            if stack:
                frames = rng.integers(0, 256, (length + known, 2, 3), dtype=np.uint8)
                observed = {"frames": np.concatenate([np.repeat(frames[:1], stack - 1, axis=0), frames])}
            else:
                observed = {name: rng.normal(size=(length + known, 3)).astype(np.float32) for name in names}
            writer.append_episode(Episode(columns, observed, whole=bool(kind)))
    return path


def both_ways(path, new_path):
    """Return the buffer, and it as Tianshou loads it from our file and as we hand it over in RAM."""
    buffer = rlbuffers.open(path)
    export(buffer, output := new_path("hdf5"), "tianshou")
    return buffer, (ReplayBuffer.load_hdf5(str(output)), buffer.to_tianshou())


@given(
    ends=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=5),
    stack=st.sampled_from([0, 0, 1, 3, 4]),
    known=st.booleans(),
)
def test_tianshou_gives_every_row_that_we_wrote(new_path, ends, stack, known):
    lengths, kinds = zip(*ends, strict=True)
    buffer, loaded = both_ways(write_episodes(new_path("memory"), lengths, kinds, stack=stack, known=known), new_path)
    rows = buffer[:]
    last = np.cumsum(lengths) - 1
    for theirs in loaded:
        batch = theirs[np.arange(len(buffer))]
        assert len(theirs) == len(buffer)
        for column, name in COLUMNS.items():
            expected = rows[column].copy()
            if column == "timeouts":
                expected[[row for row, kind in zip(last[:-1], kinds[:-1], strict=True) if kind == 0]] = True
            np.testing.assert_array_equal(batch[name], expected)
        np.testing.assert_array_equal(batch.obs, rows["observations"])
        np.testing.assert_array_equal(theirs.info.speed, rows["infos/speed"])
        np.testing.assert_array_equal(batch.discounts, rows["discounts"])
        exact = np.ones(len(buffer), bool)
        if not known or stack > 1:
            exact[last] = False
        np.testing.assert_array_equal(batch.obs_next[exact], rows["next_observations"][exact])
        np.testing.assert_array_equal(batch.obs_next[~exact], rows["observations"][~exact])
        firsts = last - np.array(lengths) + 1
        order = np.arange(len(buffer))
        np.testing.assert_array_equal(theirs.prev(order), np.where(np.isin(order, firsts), order, order - 1))
        np.testing.assert_array_equal(theirs.next(order), np.where(np.isin(order, last), order, order + 1))
        np.testing.assert_array_equal(theirs.sample_indices(0), order)
        assert theirs.unfinished_index().tolist() == ([last[-1]] if kinds[-1] == 0 else [])


def test_dict_observations(new_path):
    path = write_episodes(new_path("memory"), (3, 4), (1, 2), dictionary=True)
    buffer, loaded = both_ways(path, new_path)
    rows = buffer[:]
    for theirs in loaded:
        for key in ("a", "b"):
            np.testing.assert_array_equal(theirs[:].obs[key], rows[f"observations/{key}"])
            np.testing.assert_array_equal(theirs[:].obs_next[key], rows[f"next_observations/{key}"])


@pytest.mark.parametrize("stack", [0, 3])
def test_independent_rows(new_path, stack):
    made = make(Recipe("transitions", (9, 4), stack=stack, apart=0.3))
    _, loaded = both_ways(write(new_path("memory"), made), new_path)
    for theirs in loaded:
        batch = theirs[np.arange(13)]
        np.testing.assert_array_equal(batch.obs, made.table["observations"])
        np.testing.assert_array_equal(batch.obs_next, made.table["next_observations"])
        np.testing.assert_array_equal(batch.rew, made.table["rewards"])


def test_the_file_of_its_rl_unplugged_examples(tmp_path):
    """Tianshou's Atari examples read a file with the D4RL names, which `--to d4rl` writes."""
    shard = DATA / "rl_unplugged" / "Pong" / "run_1-00001-of-00100"
    rlbuffers.convert(RLUAtariSource(shard, "Pong"), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        export(buffer, tmp_path / "y.hdf5", "d4rl")
        with h5py.File(tmp_path / "y.hdf5") as file:
            theirs = ReplayBuffer.from_data(
                obs=file["observations"],
                act=file["actions"],
                rew=file["rewards"],
                terminated=file["terminals"],
                truncated=np.zeros(len(file["terminals"])),
                done=file["terminals"],
                obs_next=file["next_observations"],
            )
        rows = buffer[:]
    assert rows["observations"].shape == (300, 4, 84, 84)
    batch = theirs[np.arange(300)]
    for name, found in (("observations", batch.obs), ("next_observations", batch.obs_next), ("actions", batch.act)):
        np.testing.assert_array_equal(found, rows[name])
    np.testing.assert_array_equal(batch.rew, rows["rewards"])
    np.testing.assert_array_equal(batch.terminated, rows["terminals"])


@pytest.mark.parametrize("stack", [0, 4])
def test_what_was_loaded_works_like_any_buffer(new_path, stack):
    """Sampling, n-step targets, adding, saving and loading again."""
    buffer, loaded = both_ways(write_episodes(new_path("memory"), (5, 3, 4), (1, 2, 1), stack=stack), new_path)
    rows = buffer[:]
    for theirs in loaded:
        batch, indices = theirs.sample(64)
        np.testing.assert_array_equal(batch.obs, rows["observations"][indices])
        order = np.arange(12)
        result = Algorithm.compute_nstep_return(
            theirs[order],
            theirs,
            order,
            lambda target, at: __import__("torch").zeros(len(at), 1),
            gamma=0.9,
            n_step=3,
        )
        expected = [
            sum(0.9**k * rows["rewards"][t + k] for k in range(3) if t + k < stop)
            for stop, length in ((5, 5), (8, 3), (12, 4))
            for t in range(stop - length, stop)
        ]
        np.testing.assert_allclose(result.returns.numpy()[:, 0], expected, rtol=1e-5)

        observation = np.full((stack, 2, 3), 9, np.uint8) if stack else np.full(3, 9, np.float32)
        step = Batch(
            obs=observation,
            obs_next=observation,
            act=np.zeros(2, np.float32),
            rew=7.0,
            terminated=True,
            truncated=False,
            info={"speed": np.float32(3)},
        )
        index, ep_return, ep_len, _ = theirs.add(step)
        assert (index[0], ep_return[0], ep_len[0]) == (0, 7.0, 1)
        assert len(theirs) == 12
        assert theirs[0].rew == 7.0
        np.testing.assert_array_equal(theirs[np.arange(1, 12)].rew, rows["rewards"][1:])
        theirs.save_hdf5(str(path := new_path("hdf5")))
        again = converted(path, new_path)
        np.testing.assert_array_equal(again[:]["rewards"], [*rows["rewards"][1:], 7.0])
        np.testing.assert_array_equal(again.arrays["episodes/lengths"].all(), [4, 3, 4, 1])
        assert again.arrays["episodes/whole"].all().tolist() == [False, True, True, True]


@pytest.mark.parametrize("name", ["cartpole", "cartpole-wrapped", "pong-vector-stack4"])
def test_fixtures_out_again(new_path, name):
    """File, buffer, file: what Tianshou gives of both files is the same."""
    before = load_fixture(name)
    export(converted(FIXTURES / f"{name}.hdf5", new_path), output := new_path("hdf5"), "tianshou")
    after = ReplayBuffer.load_hdf5(str(output))
    order = before.sample_indices(0)
    one, other = before[order], after[np.arange(len(order))]
    marked = other.truncated & ~one.truncated
    for key in ("obs", "obs_next", "act", "rew", "terminated"):
        np.testing.assert_array_equal(other[key], one[key], err_msg=key)
        assert other[key].dtype == one[key].dtype
    assert marked.sum() == ("vector" in name)  # the first environment's unfinished episode
    np.testing.assert_array_equal(other.truncated & ~marked, one.truncated)
