from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import FormatError
from rlbuffers.schema import ColumnSpec
from rlbuffers.sources.minari.column_spaces import is_image, is_png, observation_space, space_of
from rlbuffers.sources.minari.spaces import leaves_of, parse_space

INFINITE = float("inf")
BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1.0, -INFINITE], "high": [1.0, INFINITE]}
CHOICE = {"type": "Discrete", "dtype": "int64", "start": 3, "n": 4}
MANY = {"type": "MultiDiscrete", "dtype": "int64", "nvec": [[2, 3]], "start": [[0, 5]]}
BITS = {"type": "MultiBinary", "n": [2, 3]}
TEXT = {"type": "Text", "max_length": 5, "min_length": 1, "charset": "ab"}
DTYPES = {"Box": "float32", "Discrete": "int64", "MultiDiscrete": "int64", "MultiBinary": "int8"}


def leaves(space):
    return list(leaves_of(parse_space(json.dumps(space), "x"), "observations", "x"))


@pytest.mark.parametrize(
    ("space", "shape", "found"),
    [
        (BOX, (2,), {"type": "box", "low": [-1.0, -INFINITE], "high": [1.0, INFINITE]}),
        (BOX | {"shape": [], "low": 0.0, "high": 1.0}, (), {"type": "box", "low": 0.0, "high": 1.0}),
        (CHOICE, (), {"type": "discrete", "n": 4, "start": 3}),
        (CHOICE | {"start": 0}, (), {"type": "discrete", "n": 4}),
        (MANY, (1, 2), {"type": "box", "low": [[0, 5]], "high": [[1, 7]], "minari": MANY}),
        ({"type": "MultiDiscrete", "dtype": "int64", "nvec": [2]}, (1,), {"type": "box", "low": [0], "high": [1]}),
        (BITS, (2, 3), {"type": "box", "low": 0, "high": 1, "minari": BITS}),
        (BITS | {"n": 4}, (4,), {"type": "box", "low": 0, "high": 1, "minari": BITS | {"n": 4}}),
        (TEXT, (), None),
    ],
)
def test_leaves(space, shape, found):
    (leaf,) = leaves(space)
    assert (leaf.name, leaf.shape) == ("observations", shape)
    if leaf.space is None or "minari" not in leaf.space or "minari" in found:
        assert leaf.space == found
    else:
        assert {name: value for name, value in leaf.space.items() if name != "minari"} == found


def test_nested_spaces_have_nested_names():
    inner = {"type": "Dict", "subspaces": {"deep": BITS}}
    space = {"type": "Dict", "subspaces": {"a": BOX, "b": {"type": "Tuple", "subspaces": [CHOICE, inner]}}}
    assert [leaf.name for leaf in leaves(space)] == [
        "observations/a",
        "observations/b/_index_0",
        "observations/b/_index_1/deep",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        "{}",
        "null",
        3,
        "[" * 100_000,
        {"type": "Sequence"},
        {"type": "Dict"},
        {"type": "Dict", "subspaces": [BOX]},
        {"type": "Tuple", "subspaces": {"a": BOX}},
        {"type": "Dict", "subspaces": {"a": 7}},
        {"type": "Box", "dtype": "float32"},
        {"type": "Box", "shape": "no", "low": 0, "high": 1},
        {"type": "Box", "shape": 3, "low": 0, "high": 1},
        {"type": "Discrete"},
        {"type": "Discrete", "n": "x"},
        {"type": "Discrete", "n": INFINITE},
        {"type": "MultiDiscrete"},
        {"type": "MultiDiscrete", "nvec": [2, 3], "start": [1, 2, 3]},
        {"type": "MultiDiscrete", "nvec": [[2], [3, 4]]},
        {"type": "MultiBinary", "n": [None]},
        {"type": ["Box"]},
    ],
)
def test_what_is_no_space(text):
    with pytest.raises(FormatError, match=r"^x: ") as raised:
        list(leaves_of(parse_space(text, "x"), "observations", "x"))
    assert len(str(raised.value).splitlines()) == 1


@st.composite
def _boxes(draw):
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int64", "uint64", "bool"]))
    shape = draw(st.lists(st.integers(1, 3), max_size=3))
    kind = np.dtype(dtype).kind
    low, high = (0, 1) if kind == "b" else (-INFINITE, INFINITE) if kind == "f" else (0, int(np.iinfo(dtype).max))
    bounds = {"low": np.full(shape, low, object).tolist(), "high": np.full(shape, high, object).tolist()}
    return {"type": "Box", "dtype": dtype, "shape": shape, **bounds}


LEAVES = st.one_of(st.sampled_from([BOX, CHOICE, MANY, BITS, CHOICE | {"start": 0}]), _boxes())
SPACES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=12).map(lambda spaces: {"type": "Tuple", "subspaces": spaces}),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(
            lambda spaces: {"type": "Dict", "subspaces": spaces}
        ),
    ),
    max_leaves=14,
)


@given(space=SPACES)
def test_there_and_back(space):
    """In the order of a buffer's columns, which is that of their names."""
    found = leaves(space)
    dtypes = [space_dtype(space, leaf.name) for leaf in found]
    columns = [
        ColumnSpec(leaf.name, np.dtype(dtype), leaf.shape, leaf.space)
        for leaf, dtype in zip(found, dtypes, strict=True)
    ]
    again = observation_space(sorted(columns, key=lambda column: column.name))
    assert json.loads(json.dumps(again)) == space


def space_dtype(space, name):
    for part in name.split("/")[1:]:
        inner = space["subspaces"]
        space = inner[int(part.removeprefix("_index_"))] if isinstance(inner, list) else inner[part]
    return space.get("dtype", DTYPES[space["type"]])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            ColumnSpec("actions", np.float32, (2,)),
            {"type": "Box", "dtype": "float32", "low": [-INFINITE] * 2, "high": [INFINITE] * 2},
        ),
        (
            ColumnSpec("actions", np.float32, (2,), {"type": "box", "low": -1, "high": [None, 5]}),
            {"type": "Box", "dtype": "float32", "low": [-1, -1], "high": [INFINITE, 5]},
        ),
        (
            ColumnSpec("actions", np.int8, (2,), {"type": "discrete", "n": 4, "start": 2}),
            {"type": "Box", "dtype": "int8", "low": [2, 2], "high": [5, 5]},
        ),
        (ColumnSpec("actions", np.uint64), {"type": "Box", "dtype": "uint64", "low": 0, "high": 2**64 - 1}),
        (ColumnSpec("actions", np.bool_), {"type": "Box", "dtype": "bool", "low": 0, "high": 1}),
    ],
)
def test_spaces_of_columns_that_no_space_says_all_of(column, expected):
    assert space_of(column) == expected | {"shape": list(column.shape)}


def test_whole_numbers_of_any_dtype_are_discrete():
    column = ColumnSpec("actions", np.uint8, (), {"type": "discrete", "n": 4})
    assert space_of(column) == {"type": "Discrete", "dtype": "int64", "start": 0, "n": 4}


@pytest.mark.parametrize(
    ("dtype", "shape", "space", "image", "png"),
    [
        ("uint8", (32, 32), None, True, True),
        ("uint8", (64, 64, 3), None, True, True),
        ("uint8", (64, 64, 4), {"type": "box", "low": 0, "high": 255}, True, True),
        ("uint8", (64, 64, 1), None, True, False),
        ("uint8", (64, 64, 7), None, True, False),
        ("uint8", (4, 84, 84), None, False, None),
        ("uint8", (31, 64, 3), None, False, None),
        ("uint8", (64, 64, 3), {"type": "box", "low": 0, "high": 254}, False, None),
        ("uint8", (64,), None, False, None),
        ("int16", (64, 64, 3), None, False, None),
        ("uint8", (), {"type": "discrete", "n": 3}, False, None),
    ],
)
def test_what_minari_takes_for_images(dtype, shape, space, image, png):
    described = space_of(ColumnSpec("observations", np.dtype(dtype), shape, space))
    assert is_image(described) == image
    assert png is None or is_png(described) == png
