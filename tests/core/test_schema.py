from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from reference import make, recipes

from rlbuffers import BufferSpec, ColumnSpec
from rlbuffers.errors import FormatError, SpecError
from rlbuffers.schema import stored_arrays

OBSERVATIONS = ColumnSpec("observations", np.float32, (3,))
IMAGES = ColumnSpec("observations", np.uint8, (4, 84, 84))
ACTIONS = ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 4})
REWARDS = ColumnSpec("rewards", np.float32)


def following(column):
    return ColumnSpec("next_" + column.name, column.dtype, column.shape)


def test_columns_are_sorted_and_typed():
    spec = BufferSpec("episodes", [REWARDS, ColumnSpec("observations", "f4", [3]), ACTIONS])
    assert list(spec.columns) == ["actions", "observations", "rewards"]
    assert spec.columns["observations"] == OBSERVATIONS
    assert spec.batch_names == ["actions", "next_observations", "observations", "rewards"]
    assert spec.batch_column("next_observations") == following(OBSERVATIONS)


def test_dtypes_are_native():
    assert ColumnSpec("x", np.dtype(">f4")).dtype.isnative


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "/a", ".", "..", "a/../b", "a\nb", "a\x00b"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(SpecError, match="column name"):
        ColumnSpec(name, np.float32)


@pytest.mark.parametrize("dtype", ["U3", "S3", "O", "c8", "M8[s]", "m8[s]", [("a", "i4")], "longdouble"])
def test_a_dtype_that_not_all_readers_know_is_refused(dtype):
    with pytest.raises(SpecError, match="cannot be stored"):
        ColumnSpec("x", dtype)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (-1,)])
def test_an_empty_row_is_refused(shape):
    with pytest.raises(SpecError, match="at least 1"):
        ColumnSpec("x", np.float32, shape)


@pytest.mark.parametrize(
    "space",
    [
        {"n": 4},
        {"type": "tuple"},
        {"type": "discrete"},
        {"type": "discrete", "n": 0},
        {"type": "box", "low": [0.0, 1.0], "high": 1.0},
    ],
)
def test_a_space_that_cannot_be_checked_is_refused(space):
    with pytest.raises(SpecError, match="space"):
        ColumnSpec("x", np.int64, (3,), space)


def test_a_discrete_space_of_floats_is_refused():
    with pytest.raises(SpecError, match="space"):
        ColumnSpec("actions", np.float32, (), {"type": "discrete", "n": 4})


@pytest.mark.parametrize("bound", [-np.inf, np.nan, np.float32(-np.inf), None])
def test_bounds_that_are_none_are_stored_as_null(bound):
    column = ColumnSpec("x", np.float64, (2,), {"type": "box", "low": [0.0, bound], "high": np.array([1.0, np.inf])})
    assert column.to_json()["space"] == {"type": "box", "low": [0.0, None], "high": [1.0, None]}
    assert ColumnSpec("x", np.float64, (2,), column.space) == column


@pytest.mark.parametrize(
    ("layout", "columns", "options", "message"),
    [
        ("rows", [OBSERVATIONS, ACTIONS, REWARDS], {}, "layout 'rows'"),
        ("episodes", [OBSERVATIONS, ACTIONS, REWARDS], {"order": "random"}, "order 'random'"),
        ("episodes", [OBSERVATIONS, ACTIONS, REWARDS], {"order": "shuffled"}, "time order"),
        ("episodes", [OBSERVATIONS, ACTIONS], {}, "'rewards'"),
        ("episodes", [OBSERVATIONS, REWARDS], {}, "'actions'"),
        ("episodes", [ACTIONS, REWARDS], {}, "'observations'"),
        ("episodes", [OBSERVATIONS, OBSERVATIONS, ACTIONS, REWARDS], {}, "twice"),
        ("episodes", [OBSERVATIONS, following(OBSERVATIONS), ACTIONS, REWARDS], {}, "do not list it"),
        ("transitions", [OBSERVATIONS, ACTIONS, REWARDS], {}, "needs 'next_observations'"),
        ("transitions", [OBSERVATIONS, following(IMAGES), ACTIONS, REWARDS], {}, "like 'observations'"),
        ("episodes", [OBSERVATIONS, ACTIONS, REWARDS], {"stack": 4}, "stack=4 needs uint8"),
        ("episodes", [IMAGES, ACTIONS, REWARDS], {"stack": 3}, "stack=3 needs uint8"),
        ("episodes", [IMAGES, ACTIONS, REWARDS], {"stack": -4}, "stack=-4 needs uint8"),
        ("episodes", [OBSERVATIONS, ACTIONS, ColumnSpec("rewards", np.float32, (2,))], {}, "'rewards' .* one number"),
        ("episodes", [OBSERVATIONS, ACTIONS, REWARDS, ColumnSpec("terminals", np.uint8)], {}, "'terminals' .* bool"),
        ("episodes", [OBSERVATIONS, ACTIONS, REWARDS, ColumnSpec("timeouts", np.bool_, (1,))], {}, "'timeouts' must"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(layout, columns, options, message):
    with pytest.raises(SpecError, match=message):
        BufferSpec(layout, columns, **options)


@pytest.mark.parametrize(
    ("layout", "stack", "extra"),
    [
        ("episodes", 0, ["observations/position"]),
        ("episodes", 0, ["next_observations/position"]),
        ("episodes", 0, ["infos", "infos/qpos"]),
        ("episodes", 0, ["rewards/c/0"]),
        ("episodes", 0, ["episodes/starts"]),
        ("episodes", 0, ["episodes"]),
        ("episodes", 4, ["frames"]),
        ("episodes", 4, ["stack_index"]),
        ("episodes", 4, ["observations/position"]),
        ("transitions", 4, ["next_overrides/rows"]),
        ("transitions", 4, ["observations/position", "next_observations/position"]),
    ],
)
def test_columns_that_would_share_a_place_in_the_file_are_refused(layout, stack, extra):
    observed = IMAGES if stack else OBSERVATIONS
    columns = [observed, ACTIONS, REWARDS, *(ColumnSpec(name, np.float32) for name in extra)]
    if layout == "transitions":
        columns.append(following(observed))
    with pytest.raises(SpecError, match=extra[-1]):
        BufferSpec(layout, columns, stack=stack)


@pytest.mark.parametrize("name", ["starts", "lengths", "returns", "whole", "final_observations"])
def test_episode_columns_may_not_hide_those_of_the_format(name):
    with pytest.raises(SpecError, match=name):
        BufferSpec("episodes", [OBSERVATIONS, ACTIONS, REWARDS], episode_columns=[ColumnSpec(name, np.int64)])


def test_independent_transitions_have_no_episode_columns():
    columns = [OBSERVATIONS, following(OBSERVATIONS), ACTIONS, REWARDS]
    with pytest.raises(SpecError, match="episode columns"):
        BufferSpec("transitions", columns, episode_columns=[ColumnSpec("seeds", np.int64)])


def test_an_unknown_column_is_named_with_the_known_ones():
    spec = BufferSpec("episodes", [OBSERVATIONS, ACTIONS, REWARDS])
    with pytest.raises(SpecError, match="no column 'next_actions'; the buffer has actions, next_observations"):
        spec.batch_column("next_actions")


@given(recipes())
def test_json_gives_the_same_spec_back(recipe):
    spec = make(recipe).spec
    assert BufferSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"layout": None},
        {"stack": "many"},
        {"columns": 3},
        {"columns": {}},
        {"columns": {"actions": {"dtype": "nothing", "shape": []}}},
        {"columns": {"actions": {"dtype": "int64", "shape": 3}}},
        {"episode_columns": None},
    ],
)
def test_json_that_is_no_spec_is_a_format_error(change):
    described = BufferSpec("episodes", [OBSERVATIONS, ACTIONS, REWARDS]).to_json()
    with pytest.raises(FormatError, match="cannot be understood"):
        BufferSpec.from_json({**described, **change})
    for key in change:
        with pytest.raises(FormatError, match="cannot be understood"):
            BufferSpec.from_json({other: value for other, value in described.items() if other != key})


def test_stacked_images_are_stored_as_single_frames():
    spec = BufferSpec("episodes", [IMAGES, ACTIONS, REWARDS], stack=4)
    assert {name: (array.dtype.name, array.row_shape, array.rows) for name, array in stored_arrays(spec).items()} == {
        "actions": ("int64", (), "transitions"),
        "episodes/final_known": ("bool", (), "episodes"),
        "episodes/lengths": ("int64", (), "episodes"),
        "episodes/returns": ("float64", (), "episodes"),
        "episodes/starts": ("int64", (), "episodes"),
        "episodes/whole": ("bool", (), "episodes"),
        "frames": ("uint8", (84, 84), "frames"),
        "rewards": ("float32", (), "transitions"),
        "stack_index": ("int64", (5,), "transitions"),
    }


def test_vectors_of_episodes_are_stored_with_the_last_one_of_each():
    spec = BufferSpec("episodes", [OBSERVATIONS, ACTIONS, REWARDS], episode_columns=[ColumnSpec("seeds", np.int64)])
    arrays = stored_arrays(spec)
    assert arrays["episodes/final_observations"].row_shape == (3,)
    assert arrays["episodes/final_observations"].rows == "episodes"
    assert arrays["episodes/seeds"].rows == "episodes"
    assert "next_observations" not in arrays
