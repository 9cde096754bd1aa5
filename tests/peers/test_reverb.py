"""dm-reverb itself against our reader: what it checkpoints and serves, value by value."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import rlbuffers
from rlbuffers.errors import DownloadError, UnsupportedError, UsageError
from rlbuffers.sources.reverb.checkpoint import ReverbSource
from rlbuffers.sources.reverb.directory import read_messages
from rlbuffers.sources.reverb.protos import parse_chunk_head
from rlbuffers.sources.reverb.server import ReverbServerSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import reverb
    import tensorflow as tf
    import tree
    from reverb.platform.default.checkpointers import DefaultCheckpointer

OBSERVATIONS = {
    "vector": lambda rng: rng.standard_normal(3).astype(np.float32),
    "image": lambda rng: rng.integers(0, 256, (12, 10, 3), dtype=np.uint8),
    "dict": lambda rng: {"pos": rng.standard_normal(2), "frame": rng.integers(0, 9, (4, 4), dtype=np.uint8)},
    "integers": lambda rng: rng.integers(-(2**40), 2**40, (2, 2)),
}


def play(rng, observe, length, *, ends="terminal"):
    """Return the steps of an episode, and the observation after it."""
    steps = [
        {
            "observation": observe(rng),
            "action": rng.standard_normal(2).astype(np.float32),
            "reward": np.float32(rng.standard_normal()),
            "discount": np.float32(1),
        }
        for _ in range(length)
    ]
    if ends == "terminal":
        steps[-1]["discount"] = np.float32(0)
    return steps, observe(rng)


def flat(value, name):
    if isinstance(value, dict):
        return {f"{name}/{key}": inner for key, inner in value.items()}
    return {name: value}


def expected_of(episodes):
    """Return the columns of the buffer, step by step."""
    table = {}
    for steps, last in episodes:
        following = [*(step["observation"] for step in steps[1:]), last]
        for step, after in zip(steps, following, strict=True):
            row = {
                "actions": step["action"],
                "rewards": step["reward"],
                "discounts": step["discount"],
                "terminals": step["discount"] == 0,
                **flat(step["observation"], "observations"),
                **flat(after, "next_observations"),
            }
            for name, value in row.items():
                table.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in table.items()}


def spec_of(value, *leading):
    """Return the signature of a value, or of several along a new axis."""
    if isinstance(value, dict):
        return {name: spec_of(inner, *leading) for name, inner in value.items()}
    value = np.asarray(value)
    return tf.TensorSpec((*leading, *value.shape), value.dtype)


@pytest.fixture
def serve(tmp_path):
    """A function that starts a server with tables, and returns it with a client."""
    servers = []

    def start(**signatures):
        tables = [
            reverb.Table(
                name,
                reverb.selectors.Uniform(),
                reverb.selectors.Fifo(),
                max_size=1000,
                rate_limiter=reverb.rate_limiters.MinSize(1),
                signature=signature,
            )
            for name, signature in signatures.items()
        ]
        return start_tables(tables)

    def start_tables(tables):
        server = reverb.Server(tables, checkpointer=DefaultCheckpointer(str(tmp_path / "checkpoints")))
        servers.append(server)
        return reverb.Client(f"localhost:{server.port}")

    start.tables = start_tables
    yield start
    for server in servers:
        server.stop()


def converted(source, tmp_path):
    output = tmp_path / "x.hdf5"
    rlbuffers.convert(source, output, overwrite=True)
    assert rlbuffers.validate(output).ok
    return rlbuffers.open(output)


def assert_rows(found, expected):
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def in_some_order(rows, expected):
    """Return our rows in the order of `expected`; rewards tell rows apart."""
    assert len(rows["rewards"]) == len(expected["rewards"])
    place = {float(reward): row for row, reward in enumerate(rows["rewards"])}
    order = [place[float(reward)] for reward in expected["rewards"]]
    return {name: values[order] for name, values in rows.items()}


@pytest.mark.parametrize("squeezed", [True, False])
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_transitions(serve, tmp_path, kind, squeezed):
    rng = np.random.default_rng(0)
    episodes = [play(rng, OBSERVATIONS[kind], 5), play(rng, OBSERVATIONS[kind], 1), play(rng, OBSERVATIONS[kind], 4)]
    example = {**episodes[0][0][0], "next_observation": episodes[0][1]}
    client = serve(t=spec_of(example) if squeezed else spec_of(example, 1))
    with client.trajectory_writer(num_keep_alive_refs=3) as writer:
        for number, (steps, last) in enumerate(episodes):
            following = [*(step["observation"] for step in steps[1:]), last]
            for step, after in zip(steps, following, strict=True):
                writer.append({**step, "next_observation": after})
                chosen = tf.nest.map_structure(lambda column: column[-1] if squeezed else column[-1:], writer.history)
                writer.create_item("t", priority=1.5 + number, trajectory=chosen)
            writer.end_episode()
    path = client.checkpoint()
    expected = expected_of(episodes)
    with converted(ReverbSource(Path(path)), tmp_path) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        rows = buffer[:]
        assert_rows(rows, expected)
        assert rows["priorities"].tolist() == [1.5] * 5 + [2.5] + [3.5] * 4
        assert rows["steps"].tolist() == [0, 1, 2, 3, 4, 0, 0, 1, 2, 3]
        assert len(set(rows["episode_ids"].tolist())) == 3
    with converted(ReverbServerSource(client.server_address), tmp_path) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "shuffled")
        assert_rows(in_some_order(buffer[:], expected), expected)
        assert sorted(buffer[:]["priorities"].tolist()) == [1.5] * 5 + [2.5] + [3.5] * 4


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_pairs_of_overlapping_steps(serve, tmp_path, kind, compact):
    """An episode's last observation is appended with zeros, as Acme does."""
    rng = np.random.default_rng(1)
    episodes = [play(rng, OBSERVATIONS[kind], 7), play(rng, OBSERVATIONS[kind], 6, ends="timeout")]
    example = episodes[0][0][0]
    signature = spec_of(example, 2)
    if compact:
        signature = {**spec_of(example), "observation": signature["observation"]}
    client = serve(t=signature)
    with client.trajectory_writer(num_keep_alive_refs=4) as writer:
        for column, _ in tree.flatten_with_path(example):
            writer.configure(column, num_keep_alive_refs=4, max_chunk_length=3)
        for steps, last in episodes:
            void = {name: np.zeros_like(value) for name, value in steps[0].items() if name != "observation"}
            for number, step in enumerate([*steps, {**void, "observation": last}]):
                writer.append(step)
                if number:
                    history = writer.history
                    chosen = tf.nest.map_structure(lambda column: column[-2:], history)
                    if compact:
                        rest = {name: history[name][-2] for name in void}
                        chosen = {**rest, "observation": chosen["observation"]}
                    writer.create_item("t", priority=1.0, trajectory=chosen)
            writer.end_episode()
    expected = expected_of(episodes)
    with converted(ReverbSource(Path(client.checkpoint())), tmp_path) as buffer:
        assert (buffer.spec.layout, buffer.spec.order) == ("transitions", "time")
        assert_rows(buffer[:], expected)
    with converted(ReverbServerSource(client.server_address), tmp_path) as buffer:
        assert_rows(in_some_order(buffer[:], expected), expected)


@pytest.mark.parametrize("kind", OBSERVATIONS)
@pytest.mark.parametrize("ends", ["terminal", "timeout"])
def test_whole_episodes_of_several_chunks(serve, tmp_path, kind, ends):
    """As Acme's EpisodeAdder writes them: one more step, of which only the observation counts."""
    rng = np.random.default_rng(2)
    episodes = [play(rng, OBSERVATIONS[kind], length, ends=ends) for length in (5, 1, 7)]
    example = episodes[0][0][0]
    client = serve(t=spec_of(example, None))
    with client.trajectory_writer(num_keep_alive_refs=10) as writer:
        for column, _ in tree.flatten_with_path(example):
            writer.configure(column, num_keep_alive_refs=10, max_chunk_length=2)
        for steps, last in episodes:
            void = {name: np.zeros_like(value) for name, value in steps[0].items() if name != "observation"}
            for step in [*steps, {**void, "observation": last}]:
                writer.append(step)
            chosen = tf.nest.map_structure(lambda column: column[:], writer.history)
            writer.create_item("t", priority=float(len(steps)), trajectory=chosen)
            writer.end_episode()
    expected = expected_of(episodes)
    with converted(ReverbSource(Path(client.checkpoint())), tmp_path) as buffer:
        assert buffer.spec.layout == "episodes"
        assert buffer.arrays["episodes/lengths"].all().tolist() == [5, 1, 7]
        assert buffer.arrays["episodes/priorities"].all().tolist() == [5, 1, 7]
        assert buffer.arrays["episodes/whole"].all().tolist() == [ends == "terminal"] * 3
        assert not len(buffer.rows_without_next)
        assert_rows(buffer[:], expected)
    with converted(ReverbServerSource(client.server_address), tmp_path) as buffer:
        assert sorted(buffer.arrays["episodes/lengths"].all().tolist()) == [1, 5, 7]
        assert_rows(in_some_order(buffer[:], expected), expected)


@pytest.mark.parametrize("kind", ["image", "integers", "dict"])
def test_delta_encoded_chunks(serve, tmp_path, kind):
    """Of the older writer, whose items are steps in a row."""
    rng = np.random.default_rng(6)
    episodes = [play(rng, OBSERVATIONS[kind], 8)]
    client = serve(t=spec_of(episodes[0][0][0], 2))
    ((steps, last),) = episodes
    void = {name: np.zeros_like(value) for name, value in steps[0].items() if name != "observation"}
    with client.writer(2, delta_encoded=True, chunk_length=2) as writer:
        for number, step in enumerate([*steps, {**void, "observation": last}]):
            writer.append(step)
            if number:
                writer.create_item("t", 2, 1.0)
    path = Path(client.checkpoint())
    heads = [parse_chunk_head(record) for _, record in read_messages(path / "chunks.tfrecord")]
    assert all(head.delta_encoded for head in heads)
    with converted(ReverbSource(path), tmp_path) as buffer:
        assert_rows(buffer[:], expected_of(episodes))


def test_overlapping_windows(serve, tmp_path):
    rng = np.random.default_rng(3)
    ((steps, last),) = episodes = [play(rng, OBSERVATIONS["vector"], 9, ends="timeout")]
    client = serve(t=spec_of(steps[0], 4))
    with client.trajectory_writer(num_keep_alive_refs=4) as writer:
        for number, step in enumerate(steps):
            writer.append(step)
            if number >= 3 and number % 2:
                writer.create_item("t", 1.0, tf.nest.map_structure(lambda column: column[-4:], writer.history))
    del last
    expected = expected_of(episodes)
    with converted(ReverbSource(Path(client.checkpoint())), tmp_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [4, 4, 4]
        assert buffer.arrays["episodes/first_steps"].all().tolist() == [0, 2, 4]
        assert buffer.rows_without_next.tolist() == [3, 7, 11]
        rows, order = buffer[:], [0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7]
        known = np.arange(12) % 4 != 3
        for name, values in expected.items():
            np.testing.assert_array_equal(rows[name][known], values[order][known], err_msg=name)
        np.testing.assert_array_equal(rows["rewards"], expected["rewards"][order])


def test_windows_across_episodes_are_cut(serve, tmp_path):
    rng = np.random.default_rng(4)
    episodes = [play(rng, OBSERVATIONS["vector"], 3, ends="timeout") for _ in range(2)]
    client = serve(t=spec_of(episodes[0][0][0], 6), pairs=spec_of(episodes[0][0][0], 2))
    with client.trajectory_writer(num_keep_alive_refs=6) as writer:
        for steps, _ in episodes:
            for step in steps:
                writer.append(step)
                if writer.episode_steps > 1 or steps is episodes[1][0]:
                    writer.create_item("pairs", 1.0, tf.nest.map_structure(lambda c: c[-2:], writer.history))
            writer.end_episode(clear_buffers=False)
        writer.create_item("t", 1.0, tf.nest.map_structure(lambda column: column[-6:], writer.history))
    path = Path(client.checkpoint())
    with converted(ReverbSource(path, "t"), tmp_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [3, 3]
        assert buffer.rows_without_next.tolist() == [2, 5]
        np.testing.assert_array_equal(buffer[:]["rewards"], expected_of(episodes)["rewards"])
    with converted(ReverbSource(path, "pairs"), tmp_path) as buffer:
        assert len(buffer) == 4
        assert "1 items whose two observations are of different episodes" in " ".join(buffer.metadata["left_out"])


def test_the_legacy_writer_and_a_table_without_signature(serve, tmp_path):
    client = serve(t=None)
    rng = np.random.default_rng(5)
    rows = [
        [rng.standard_normal(3), np.int32(k), np.float64(k), np.float32(k != 5), rng.standard_normal(3)]
        for k in range(6)
    ]
    for row in rows:
        client.insert(row, {"t": 1.0})
    names = dict(zip("01234", ["observations", "actions", "rewards", "discounts", "next_observations"], strict=True))
    for source in (
        ReverbSource(Path(client.checkpoint()), names=names),
        ReverbServerSource(client.server_address, names=names),
    ):
        with converted(source, tmp_path) as buffer:
            found = in_some_order(buffer[:], {"rewards": np.arange(6.0)})
            for number, name in names.items():
                np.testing.assert_array_equal(found[name], np.array([row[int(number)] for row in rows]))
            assert found["terminals"].tolist() == [False] * 5 + [True]


def test_many_types_and_nested_tuples(serve, tmp_path):
    """Texts and complex numbers cannot be stored and are named."""
    step = {
        "observation": np.float16([1, 2]),
        "action": np.uint64(2**63),
        "reward": np.float64(0.5),
        "terminated": np.bool_(True),
        "truncated": np.bool_(False),
        "next_observation": np.float16([3, 4]),
        "extra": (np.int8(-3), {"b": np.uint16([[7, 8]]), "a": np.int16([-1])}),
        "note": np.array("text", object),
        "wave": np.complex64(1j),
    }
    client = serve(t=tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, tf.as_dtype(leaf.dtype)), step))
    with client.trajectory_writer(num_keep_alive_refs=1) as writer:
        writer.append(step)
        writer.create_item("t", 1.0, tf.nest.map_structure(lambda column: column[-1], writer.history))
    for source in (ReverbSource(Path(client.checkpoint())), ReverbServerSource(client.server_address)):
        with converted(source, tmp_path) as buffer:
            assert_rows(
                buffer[:],
                {
                    "observations": step["observation"][None],
                    "actions": step["action"][None],
                    "rewards": step["reward"][None],
                    "terminals": np.array([True]),
                    "timeouts": np.array([False]),
                    "extra/0": step["extra"][0][None],
                    "extra/1/a": step["extra"][1]["a"][None],
                    "extra/1/b": step["extra"][1]["b"][None],
                },
            )
            left_out = " ".join(buffer.metadata["left_out"])
            assert "'note'" in left_out
            assert "'wave'" in left_out


def test_what_a_server_cannot_give_is_refused(serve, tmp_path):
    selectors = reverb.selectors
    strict = reverb.rate_limiters.SampleToInsertRatio(1.0, 1, 1.0)
    client = serve.tables(
        [
            reverb.Table(
                "once", selectors.Uniform(), selectors.Fifo(), 9, reverb.rate_limiters.MinSize(1), max_times_sampled=1
            ),
            reverb.Table("fifo", selectors.Fifo(), selectors.Fifo(), 9, reverb.rate_limiters.MinSize(1)),
            reverb.Table("ratio", selectors.Uniform(), selectors.Fifo(), 9, strict),
            reverb.Table("empty", selectors.Uniform(), selectors.Fifo(), 9, reverb.rate_limiters.MinSize(1)),
        ]
    )
    for name in ("once", "fifo", "ratio"):
        client.insert([np.zeros(2)], {name: 1.0})
        with pytest.raises(UnsupportedError, match=r"client\.checkpoint\(\)"):
            ReverbServerSource(client.server_address, name)
    with pytest.raises(ValueError, match="has no items"):
        ReverbServerSource(client.server_address, "empty")
    with pytest.raises(UsageError, match="'empty', 'fifo', 'once', 'ratio'; say which with --table"):
        ReverbServerSource(client.server_address)
    with pytest.raises(UsageError, match="no table 'x'"):
        ReverbServerSource(client.server_address, "x")


def test_no_server(monkeypatch):
    monkeypatch.setattr("rlbuffers.sources.reverb.server._TIMEOUT_SECONDS", 1)
    with pytest.raises(DownloadError, match="localhost:1: no answer from a Reverb server"):
        ReverbServerSource("localhost:1")
