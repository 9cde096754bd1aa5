"""One Example at a time, features of any length: against Examples that are written byte by byte here."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import delimited, entry, example, feature, varint

from rlbuffers.decoding.example_values import parse_example
from rlbuffers.errors import CorruptDataError

VALUES = {
    "bytes": st.lists(st.binary(max_size=300), max_size=4),
    "float": st.lists(st.floats(width=32, allow_nan=False), max_size=200),
    "int64": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200),
}
FEATURES = st.dictionaries(
    st.text(max_size=8),
    st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind], st.booleans())),
    max_size=5,
)


@given(features=FEATURES)
def test_every_value_comes_back(features):
    record = example({name: feature(kind, values, packed=packed) for name, (kind, values, packed) in features.items()})
    found = parse_example(record, "here")
    assert set(found) == set(features)
    for name, (kind, values, _) in features.items():
        if kind == "bytes":
            assert found[name] == values
        else:
            assert found[name].dtype == ("float32" if kind == "float" else "int64")
            np.testing.assert_array_equal(found[name], np.array(values, found[name].dtype))


def test_packed_and_single_values_may_be_mixed():
    numbers = delimited(1, varint(5) + varint(6)) + varint(8) + varint(7) + delimited(1, varint(2**64 - 1))
    assert parse_example(delimited(1, entry("x", delimited(3, numbers))), "here")["x"].tolist() == [5, 6, 7, -1]


def test_fields_of_later_versions_are_passed_over():
    known = entry("x", feature("int64", [1]))
    later = varint(9 * 8) + varint(300) + varint(10 * 8 + 1) + bytes(8) + varint(11 * 8 + 5) + bytes(4)
    record = delimited(1, delimited(7, b"?") + known) + delimited(12, b"??") + later
    assert parse_example(record, "here")["x"].tolist() == [1]


def test_an_empty_feature_has_no_kind():
    assert parse_example(delimited(1, delimited(1, delimited(1, b"x"))), "here") == {"x": []}
    assert parse_example(b"", "here") == {}


def test_a_feature_given_twice_is_refused():
    twice = delimited(1, entry("x", feature("int64", [1])) + entry("x", feature("int64", [2])))
    with pytest.raises(CorruptDataError, match="here: feature 'x' occurs twice"):
        parse_example(twice, "here")


@pytest.mark.parametrize(
    "record",
    [
        b"\xff",  # a tag that goes on beyond the end
        b"\xff" * 11,  # a varint of more than ten bytes
        delimited(1, b"abc")[:-1],  # a length beyond the end
        b"\x0b",  # a group, which is long obsolete
        delimited(1, entry("x", delimited(2, delimited(1, b"123")))),  # three bytes are no float
        delimited(1, entry("x", delimited(3, delimited(1, b"\x80")))),  # half a varint
        delimited(1, entry("x", delimited(3, delimited(1, b"\x80" * 11 + b"\x01")))),
        delimited(1, delimited(1, delimited(1, b"\xff\xfe"))),  # a name that is no UTF-8
    ],
)
def test_what_is_no_example(record):
    with pytest.raises(CorruptDataError, match=r"here: not a well-formed tf\.train\.Example"):
        parse_example(record, "here")


@given(features=FEATURES, seed=st.integers(0, 2**32))
def test_damage_raises_nothing_else(features, seed):
    record = bytearray(example({name: feature(kind, values) for name, (kind, values, _) in features.items()}))
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 4)):
        if record:
            record[rng.randrange(len(record))] = rng.randrange(256)
    damaged = bytes(record[: rng.randint(0, len(record))])
    try:
        found = parse_example(damaged, "here")
    except CorruptDataError:
        return
    assert all(isinstance(values, list | np.ndarray) for values in found.values())
