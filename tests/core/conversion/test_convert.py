from __future__ import annotations

import dataclasses
import multiprocessing

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make
from wire import example, transition, write_shard

import rlbuffers
from rlbuffers.episode import Transitions
from rlbuffers.errors import BufferExistsError, BufferNotFoundError, CorruptDataError, FormatError, SpecError
from rlbuffers.sources.base import IdentityDecoder, Source
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers.tally import Tally

VECTORS = make(Recipe("episodes", (3, 1, 700, 2)))
BLACK, WHITE = np.zeros((84, 84), np.uint8), np.full((84, 84), 255, np.uint8)
STACKS = ([BLACK, WHITE, BLACK, WHITE], [WHITE, BLACK, WHITE, BLACK])
RECORD = transition(STACKS)
SHUFFLED = make(Recipe("transitions", (5, 256, 300), stack=2, apart=0.2))


class RowsSource(Source):
    """A source of rows that are there already."""

    def __init__(self, made, facts=None):
        self._made = made
        self._facts = facts or {}
        self.observed = 0

    @property
    def where(self):
        return "rows"

    @property
    def spec(self):
        return self._made.spec

    @property
    def decoder(self):
        return IdentityDecoder()

    def pieces(self):
        for piece in self._made.pieces:
            yield Transitions.from_columns(piece, self.spec) if isinstance(piece, dict) else piece

    def observe(self, rows):
        self.observed += len(rows)

    def tally(self):
        return tally_of(self._made)

    def metadata(self):
        return {"source": {"format": "rows"}, **self._facts}


def tally_of(made):
    rewards = made.table["rewards"].astype(np.float64)
    return Tally(len(made.bounds) or None, len(rewards), float(rewards.sum()))


@pytest.fixture(scope="module")
def large_shard(tmp_path_factory):
    """Several batches of records, enough for other processes to get some."""
    path = tmp_path_factory.mktemp("shard") / "shard"
    return write_shard(path, [transition(STACKS, episode_id=number, d_t=0.0) for number in range(1500)])


@pytest.mark.parametrize("made", [VECTORS, SHUFFLED], ids=["episodes", "transitions"])
def test_everything_a_source_yields_is_in_the_buffer(store, new_path, made):
    source = RowsSource(made)
    path = new_path(store)
    report = rlbuffers.convert(source, path)
    with rlbuffers.open(path) as buffer:
        assert_same_rows(buffer[:], made.table)
        assert report.fingerprint == buffer.fingerprint
    assert source.observed == len(made)
    assert report.path == path
    assert report.read == tally_of(made)
    assert report.written.transitions == report.transitions == len(made)
    assert report.written.episodes == (len(made.bounds) or None)
    assert report.written.reward_sum == pytest.approx(report.read.reward_sum)
    assert report.whole_episodes == len(made.bounds)
    assert report.source_bytes == 0
    assert report.buffer_bytes > 0
    assert report.seconds > 0


def test_facts_and_the_command_are_in_the_metadata(new_path):
    path = new_path("memory")
    facts = {"warnings": ["w"], "left_out": ["l"], "measurements": {"m": 1}}
    report = rlbuffers.convert(RowsSource(VECTORS, facts), path)
    assert (report.warnings, report.left_out, report.measurements) == (["w"], ["l"], {"m": 1})
    written_by = rlbuffers.open(path).metadata["written_by"]
    assert written_by["versions"]["numpy"] == np.__version__
    assert set(written_by) == {"command", "created", "python", "platform", "versions"}


def test_a_source_may_know_nothing_about_itself(new_path):
    source = RowsSource(VECTORS)
    source.metadata = dict
    assert rlbuffers.convert(source, new_path("memory")).warnings == []


@pytest.mark.parametrize("workers", [1, 2])
def test_other_processes_make_no_difference(large_shard, new_path, workers):
    paths = [new_path("hdf5"), new_path("zarr")]
    alone = rlbuffers.convert(RLUAtariSource(large_shard, "Pong"), paths[0])
    helped = rlbuffers.convert(RLUAtariSource(large_shard, "Pong"), paths[1], workers=workers)
    assert alone.fingerprint == helped.fingerprint
    assert alone.measurements == helped.measurements
    with rlbuffers.open(paths[1]) as buffer:
        np.testing.assert_array_equal(buffer[:]["episode_ids"], np.arange(1500))
    assert not multiprocessing.active_children()


def test_progress_grows_to_the_end(large_shard, new_path):
    seen = []
    source = RLUAtariSource(large_shard, "Pong")
    rlbuffers.convert(source, new_path("memory"), on_progress=lambda *now: seen.append(now))
    assert [count for *_, count in seen] == [256, 512, 768, 1024, 1280, 1500]
    assert all(total == large_shard.stat().st_size for _, total, _ in seen)
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("record", [0, 300, 1499])
def test_a_record_that_is_bad_ends_the_conversion_wherever_it_is_read(tmp_path, workers, record):
    """With another process at work, the second batch of records is decoded there."""
    shard = write_shard(tmp_path / "shard", [*[RECORD] * record, example({}), *[RECORD] * (1500 - record)])
    with pytest.raises(FormatError, match=f"shard: record {record}: expected feature 'o_t'"):
        rlbuffers.convert(RLUAtariSource(shard, "Pong"), tmp_path / "x.hdf5", workers=workers)
    assert list(tmp_path.iterdir()) == [shard]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_leaves_nothing(large_shard, tmp_path, workers, error):
    def stop(done, total, count):
        if count > 600:
            raise error

    for name in ("x.hdf5", "x.zarr"):
        with pytest.raises(error):
            rlbuffers.convert(RLUAtariSource(large_shard, "Pong"), tmp_path / name, workers=workers, on_progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert not multiprocessing.active_children()


def test_a_shard_without_records_makes_no_buffer(tmp_path):
    with pytest.raises(FormatError, match="shard: expected transitions, found none"):
        rlbuffers.convert(RLUAtariSource(write_shard(tmp_path / "shard", []), "Pong"), tmp_path / "x.hdf5")
    assert [entry.name for entry in tmp_path.iterdir()] == ["shard"]


def test_a_shard_of_other_records_makes_no_buffer(tmp_path):
    shard = write_shard(tmp_path / "shard", [example({})])
    with pytest.raises(FormatError, match="record 0: expected feature 'o_t'"):
        rlbuffers.convert(RLUAtariSource(shard, "Pong"), tmp_path / "x.hdf5")
    assert [entry.name for entry in tmp_path.iterdir()] == ["shard"]


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(BufferNotFoundError, match="nothing: there is no such file"):
        rlbuffers.convert(RLUAtariSource(tmp_path / "nothing", "Pong"), tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_buffer_is_refused_before_reading(tmp_path):
    rlbuffers.convert(RowsSource(VECTORS), tmp_path / "x.hdf5")
    with pytest.raises(BufferExistsError, match="overwrite"):
        rlbuffers.convert(RowsSource(SHUFFLED), tmp_path / "x.hdf5")
    report = rlbuffers.convert(RowsSource(SHUFFLED), tmp_path / "x.hdf5", overwrite=True)
    assert report.transitions == len(SHUFFLED)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e12])
def test_sums_of_rewards_that_cancel_are_no_damage(new_path, scale):
    made = make(Recipe("episodes", (500,) * 8))
    for number, episode in enumerate(made.pieces):
        # Numbers of very different sizes, each followed by its opposite somewhere later.
        half = scale * np.exp(np.random.default_rng(number).normal(size=250) * 8)
        episode.columns["rewards"][:] = np.concatenate([half, -half[::-1]])
    source = RowsSource(made)
    source.tally = lambda: Tally(
        8, 4000, sum(float(piece.columns["rewards"].astype(float).sum()) for piece in made.pieces)
    )
    rlbuffers.convert(source, new_path("memory"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward_sum": 1e3}, "rewards sum to"),
        ({"transitions": 707}, "706 transitions were written of 707 read"),
        ({"episodes": 3}, "4 episodes were written of 3 read"),
    ],
)
def test_what_was_read_and_is_not_there_is_damage(store, new_path, change, message):
    source = RowsSource(VECTORS)
    source.tally = lambda: dataclasses.replace(tally_of(VECTORS), **change)
    path = new_path(store)
    with pytest.raises(CorruptDataError, match=message):
        rlbuffers.convert(source, path)
    with pytest.raises(BufferNotFoundError):
        rlbuffers.open(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rewards_that_are_not_finite_are_refused(tmp_path, bad):
    made = make(Recipe("episodes", (3, 5)))
    made.pieces[1].columns["rewards"][2] = bad
    with pytest.raises(FormatError, match=f"rows: expected finite rewards, found {bad} in row 5"):
        rlbuffers.convert(RowsSource(made), tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_other_values_that_are_not_finite_are_told(tmp_path):
    made = make(Recipe("episodes", (3, 5)))
    made.pieces[1].observations["observations"][[1, 5]] = np.nan  # a step, and the last observation
    count = made.pieces[1].observations["observations"][0].size
    values = "1 value that is" if count == 1 else f"{count} values that are"
    report = rlbuffers.convert(RowsSource(made), tmp_path / "x.hdf5")
    assert report.warnings == [
        f"'episodes/final_observations' holds {values} NaN or infinite, in episode 1",
        f"'observations' holds {values} NaN or infinite, in row 4",
    ]


def test_rows_that_do_not_fit_are_blamed_on_the_source(tmp_path):
    made = make(Recipe("episodes", (3,)))
    broken = dataclasses.replace(made.pieces[0], columns={**made.pieces[0].columns, "actions": np.zeros(4, np.int64)})
    with pytest.raises(FormatError, match="rows: column 'actions': expected 3 rows like 'rewards', got 4"):
        rlbuffers.convert(RowsSource(dataclasses.replace(made, pieces=[broken])), tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_extras_of_a_source_are_in_the_buffer(store, new_path):
    weights = {"policy/w": np.arange(12.0).reshape(4, 3), "policy/b": np.arange(3, dtype=np.int32)}
    spec = rlbuffers.BufferSpec(
        "episodes",
        VECTORS.spec.columns,
        extras=[rlbuffers.ColumnSpec(name, rows.dtype, rows.shape[1:]) for name, rows in weights.items()],
    )
    source = RowsSource(dataclasses.replace(VECTORS, spec=spec))
    source.extras = lambda: weights
    path = new_path(store)
    rlbuffers.convert(source, path)
    with rlbuffers.open(path) as buffer:
        assert_same_rows({name: buffer.extra(name) for name in buffer.spec.extras}, weights)
        assert_same_rows(buffer[:], VECTORS.table)
        with pytest.raises(SpecError, match="there is no extra 'w'; the buffer has policy/b, policy/w"):
            buffer.extra("w")
    assert rlbuffers.validate(path).ok
