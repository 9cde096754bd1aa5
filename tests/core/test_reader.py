"""One contract over every store: what was written is what is read, by any way of reading."""

from __future__ import annotations

import builtins
import functools
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Made, Recipe, assert_same_rows, make, recipes, taken, write

import rlbuffers
from rlbuffers.errors import SpecError, UnsupportedError, UsageError
from rlbuffers.reader import DEFAULT_CACHE_BYTES
from rlbuffers.schema import next_name

CACHES = [0, DEFAULT_CACHE_BYTES]
STACKED = Recipe("episodes", (1, 11, 12, 13, 1), stack=3)
VECTORS = Recipe("episodes", (1, 5, 256, 1, 3))
SHUFFLED = Recipe("transitions", (3, 9), stack=4, apart=0.3)


@functools.cache
def made(recipe: Recipe) -> Made:
    return make(recipe)


@pytest.fixture(scope="module")
def open_recipe(store, new_path):
    """A function from a recipe to its buffer in this store, open."""
    written = {}

    def open_made(recipe, **options):
        if recipe not in written:
            written[recipe] = write(new_path(store), made(recipe))
        return rlbuffers.open(written[recipe], **options)

    return open_made


@given(recipe=recipes(), cache=st.sampled_from([0, 5000, DEFAULT_CACHE_BYTES]), data=st.data())
def test_every_way_of_reading_gives_what_was_written(store, new_path, recipe, cache, data):
    expected = make(recipe)
    count = len(expected)
    with rlbuffers.open(write(new_path(store), expected), cache=cache) as buffer:
        assert len(buffer) == count
        assert buffer.spec == expected.spec
        assert_same_rows(buffer[:], expected.table)

        rows = data.draw(st.lists(st.integers(-count, count - 1), max_size=20))
        assert_same_rows(buffer.rows(rows), taken(expected.table, np.array(rows, int)))

        key = data.draw(st.slices(count))
        assert_same_rows(buffer[key], taken(expected.table, key))

        row = data.draw(st.integers(-count, count - 1))
        assert_same_rows(buffer[row], taken(expected.table, row))

        names = data.draw(st.lists(st.sampled_from(sorted(expected.table)), min_size=1, unique=True))
        assert_same_rows(buffer.rows(rows, names), {name: expected.table[name][rows] for name in names})


@given(recipe=recipes().filter(lambda recipe: recipe.layout == "episodes"))
def test_episodes_come_back_whole(store, new_path, recipe):
    expected = make(recipe)
    with rlbuffers.open(write(new_path(store), expected)) as buffer:
        assert buffer.num_episodes == len(recipe.lengths)
        for number, (episode, (start, stop)) in enumerate(zip(buffer.episodes(), expected.bounds, strict=True)):
            wanted = taken(expected.table, slice(start, stop))
            for name in buffer.spec.observation_names:
                wanted[name] = np.concatenate([wanted[name], wanted.pop(next_name(name))[-1:]])
            assert_same_rows(episode, wanted)
            assert_same_rows(buffer.episode(number - len(recipe.lengths)), wanted)
            assert (buffer.episode_of(np.arange(start, stop)) == number).all()


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("recipe", [STACKED, VECTORS, SHUFFLED], ids=["stacked", "vectors", "shuffled"])
def test_every_single_row(open_recipe, recipe, cache):
    with open_recipe(recipe, cache=cache) as buffer:
        for row in range(-len(buffer), len(buffer)):
            assert_same_rows(buffer[row], taken(made(recipe).table, row))


def test_iterating_ends_after_the_last_row(open_recipe):
    with open_recipe(VECTORS) as buffer:
        rewards = [transition["rewards"] for transition in buffer]
    np.testing.assert_array_equal(rewards, made(VECTORS).table["rewards"])


@pytest.mark.parametrize("cache", CACHES)
def test_a_batch_stays_as_it_was_while_others_are_read(open_recipe, cache):
    with open_recipe(SHUFFLED, cache=cache) as buffer:
        batches = [buffer.rows([row, row]) for row in range(len(buffer))]
        views = [buffer.rows([row])["observations"][0, 1:, 0] for row in range(len(buffer))]
    for row, (batch, view) in enumerate(zip(batches, views, strict=True)):
        assert_same_rows(batch, taken(made(SHUFFLED).table, [row, row]))
        np.testing.assert_array_equal(view, made(SHUFFLED).table["observations"][row, 1:, 0])


def test_arrays_outlive_the_buffer(open_recipe):
    with open_recipe(STACKED, cache=0) as buffer:
        batch = buffer[:]
    assert_same_rows(batch, made(STACKED).table)


def test_writing_into_a_batch_does_not_change_the_buffer(open_recipe):
    with open_recipe(VECTORS) as buffer:
        for values in buffer[:].values():
            values[...] = 1
        assert_same_rows(buffer[:], made(VECTORS).table)


@pytest.mark.parametrize("rows", [[len(made(VECTORS))], [0, -len(made(VECTORS)) - 1], [[0]], [0.5], [True]])
def test_rows_that_do_not_exist_are_refused(open_recipe, rows):
    with open_recipe(VECTORS) as buffer, pytest.raises(UsageError):
        buffer.rows(rows)


def test_a_row_that_does_not_exist_is_an_index_error(open_recipe):
    with open_recipe(VECTORS) as buffer, pytest.raises(IndexError):
        buffer[len(buffer)]


@pytest.mark.parametrize("name", ["frames", "stack_index", "episodes/starts", "next_rewards", ""])
def test_an_unknown_column_is_refused_by_name(open_recipe, name):
    with open_recipe(STACKED) as buffer, pytest.raises(SpecError, match="there is no column"):
        buffer.rows([0], [name])


def test_transitions_have_no_episodes(open_recipe):
    with open_recipe(SHUFFLED) as buffer:
        assert buffer.num_episodes == 0
        for ask in (lambda: buffer.episode(0), lambda: next(buffer.episodes()), lambda: buffer.episode_of([0])):
            with pytest.raises(UnsupportedError, match="independent transitions"):
                ask()


@pytest.mark.parametrize("number", [5, -6])
def test_an_episode_that_does_not_exist_is_refused(open_recipe, number):
    with open_recipe(STACKED) as buffer, pytest.raises(UsageError, match="the buffer has 5"):
        buffer.episode(number)


def test_episode_of_counts_negative_rows_from_the_end(open_recipe):
    with open_recipe(VECTORS) as buffer:
        assert buffer.episode_of([-1, 0]).tolist() == [4, 0]
        with pytest.raises(UsageError):
            buffer.episode_of([len(buffer)])


def test_a_buffer_travels_to_other_processes_by_its_path(open_recipe):
    with open_recipe(STACKED, cache=0) as buffer, pickle.loads(pickle.dumps(buffer)) as again:
        assert again.path == buffer.path
        assert_same_rows(again[:], made(STACKED).table)


def test_a_closed_buffer_says_so(open_recipe):
    for recipe in (VECTORS, SHUFFLED):
        buffer = open_recipe(recipe)
        buffer.close()
        buffer.close()
        for ask in (lambda: buffer.rows([0]), lambda: buffer[0], lambda: buffer[:]):  # noqa: B023
            with pytest.raises(UsageError, match="closed"):
                ask()


def test_the_public_open_is_not_the_builtin():
    assert rlbuffers.open is not builtins.open


@given(recipe=recipes(), cuts=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_the_fingerprint_depends_on_the_content_only(new_path, recipe, cuts):
    content = make(recipe)
    recut = content
    if recipe.layout == "transitions":
        edges = [0, *np.cumsum(cuts).clip(max=len(content)).tolist(), len(content)]
        pieces = [taken(content.table, slice(*edge)) for edge in itertools.pairwise(edges)]
        recut = Made(content.spec, pieces, content.table)
    paths = [write(new_path(store), content) for store in ("hdf5", "zarr")] + [write(new_path("memory"), recut)]
    fingerprints = {rlbuffers.open(path).fingerprint for path in paths}
    assert len(fingerprints) == 1


@pytest.mark.parametrize("recipe", [STACKED, VECTORS, SHUFFLED], ids=["stacked", "vectors", "shuffled"])
def test_the_fingerprint_changes_with_any_column(new_path, recipe):
    fingerprints = {rlbuffers.open(write(new_path("memory"), make(recipe))).fingerprint}
    count = 1
    for piece in range(len(recipe.lengths)):
        for name in piece_columns(make(recipe).pieces[piece]):
            changed = make(recipe)
            values = piece_columns(changed.pieces[piece])[name]
            values[-1:] = ~values[-1:] if values.dtype.kind in "bui" else values[-1:] + 1
            fingerprints.add(rlbuffers.open(write(new_path("memory"), changed)).fingerprint)
            count += 1
    assert len(fingerprints) == count


def piece_columns(piece):
    return piece if isinstance(piece, dict) else {**piece.columns, **piece.observations}


def test_dtypes_with_equal_bytes_have_different_fingerprints(new_path):
    zeros = [make(Recipe("transitions", (2,), extra=(("infos/x", dtype, ()),))) for dtype in ("int32", "uint32")]
    for content in zeros:
        content.pieces[0]["infos/x"][:] = 0
    assert len({rlbuffers.open(write(new_path("memory"), content)).fingerprint for content in zeros}) == 2
