from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import delimited, entry, example, feature, tfrecord, varint

from rlbuffers.decoding.example_proto import Feature, parse_examples
from rlbuffers.decoding.tfrecord import read_records
from rlbuffers.errors import CorruptDataError, FormatError

FEATURES = (Feature("pngs", "bytes", 2), Feature("reward", "float"), Feature("ids", "int64", 3))
GOOD = {
    "pngs": feature("bytes", [b"first", b""]),
    "reward": feature("float", [0.5]),
    "ids": feature("int64", [1, -1, 2**62]),
}


def parse(records, features=FEATURES):
    """Return one dict a record: values as lists, and the number of unknown features."""
    (batch,) = read_records([b"".join(map(tfrecord, records))], "shard", len(records))
    parsed = parse_examples(batch, features, "shard")
    found = []
    for row in range(len(records)):
        record = {name: values[row].tolist() for name, values in parsed.values.items()}
        for name, offsets in parsed.offsets.items():
            places = zip(offsets[row].tolist(), parsed.lengths[name][row].tolist(), strict=True)
            record[name] = [batch.data[start : start + length] for start, length in places]
        found.append((record, int(parsed.unknown[row])))
    return found


INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)


PNGS = st.lists(st.binary(max_size=300), min_size=2, max_size=2)
IDS = st.lists(INT64, min_size=3, max_size=3)


@given(
    values=st.lists(st.tuples(PNGS, FLOAT32, IDS), min_size=1, max_size=5),
    packed=st.booleans(),
    data=st.data(),
)
def test_values_come_back(values, packed, data):
    records, expected = [], []
    for pngs, reward, ids in values:
        features = {
            "pngs": feature("bytes", pngs),
            "reward": feature("float", [reward], packed=packed),
            "ids": feature("int64", ids, packed=packed),
            "more": feature("float", [1.0] * 200),
        }
        names = data.draw(st.permutations(sorted(features)))
        records.append(example({name: features[name] for name in names}))
        expected.append(({"pngs": pngs, "reward": [reward], "ids": ids}, 1))
    assert parse(records) == expected


def test_every_bit_of_a_float_is_kept():
    bits = np.array([0x7FC00001, 0x80000000, 0x00000001, 0xFF800000], np.uint32)
    records = [example({"x": feature("float", [value])}) for value in bits.view(np.float32).tolist()]
    (batch,) = read_records([b"".join(map(tfrecord, records))], "shard", 4)
    values = parse_examples(batch, [Feature("x", "float")], "shard").values["x"]
    np.testing.assert_array_equal(values.view(np.uint32)[:, 0], bits)


def test_a_list_may_come_in_parts():
    parts = delimited(1, varint(1) + varint(2)) + varint(8) + varint(3)
    assert parse([example({"ids": delimited(3, parts)})], [FEATURES[2]]) == [({"ids": [1, 2, 3]}, 0)]


def test_features_may_come_in_parts():
    halves = delimited(1, entry("reward", GOOD["reward"])) + delimited(1, entry("more", feature("int64", [1])))
    assert parse([halves], [FEATURES[1]]) == [({"reward": [0.5]}, 1)]


def test_names_that_are_beginnings_of_others_are_told_apart():
    features = [Feature(name, "int64") for name in ("a", "ab", "b")]
    record = example({name: feature("int64", [number]) for number, name in enumerate(["ab", "b", "a", "abc", ""])})
    assert parse([record], features) == [({"a": [2], "ab": [0], "b": [1]}, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": feature("float", [1, 2, 3])}, "expected feature 'ids' (3 int64 values), found another kind of list"),
        ({"reward": feature("bytes", [b"x"])}, "expected feature 'reward' (1 float value), found another kind of list"),
        ({"pngs": feature("int64", [1, 2])}, "expected feature 'pngs' (2 bytes values), found another kind of list"),
        ({"ids": feature("int64", [1, 2])}, "expected feature 'ids' (3 int64 values), found 2 values"),
        ({"ids": feature("int64", [1, 2, 3, 4])}, "expected feature 'ids' (3 int64 values), found 4 values"),
        ({"ids": feature("int64", [1, 2], packed=False)}, "expected feature 'ids' (3 int64 values), found 2 values"),
        ({"pngs": feature("bytes", [b"x"] * 300)}, "expected feature 'pngs' (2 bytes values), found 300 values"),
        ({"reward": feature("float", [])}, "expected feature 'reward' (1 float value), found 0 values"),
        ({"reward": b""}, "expected feature 'reward' (1 float value), found 0 values"),
        ({"reward": None}, "expected feature 'reward' (1 float value), which is missing"),
    ],
)
def test_a_feature_that_is_not_as_expected_is_named(change, message):
    features = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(FormatError) as error:
        parse([example(GOOD), example(features), example(GOOD)])
    assert str(error.value) == f"shard: record 1: {message}"
    assert not isinstance(error.value, CorruptDataError)


def test_a_feature_that_occurs_twice_is_an_error():
    record = delimited(1, b"".join(entry(name, GOOD[name]) for name in ("pngs", "ids", "reward", "ids")))
    with pytest.raises(FormatError, match=r"feature 'ids' .* occurs twice"):
        parse([record])


def test_the_first_of_a_later_batch_is_counted_from_the_file():
    batches = read_records([b"".join(map(tfrecord, [example(GOOD)] * 2 + [b""]))], "shard", 2)
    parse_examples(next(batches), FEATURES, "shard")
    with pytest.raises(FormatError, match="record 2"):
        parse_examples(next(batches), FEATURES, "shard")


@pytest.mark.parametrize(
    "record",
    [
        b"\xff" * 12,  # a varint that does not end
        varint(8) + varint(1),  # another wire type
        varint(8 + 3),  # a group
        delimited(2, b""),  # another field
        delimited(1, b"x"),
        delimited(1, delimited(2, b"")),
        delimited(1, delimited(1, varint(8) + varint(1))),
        example({"reward": b"\x0a"}),
        example({"reward": GOOD["reward"] + GOOD["ids"]}),  # two kinds at once
        example({"reward": delimited(2, delimited(1, b"123"))}),  # not a whole number of floats
        example({"reward": delimited(2, delimited(2, b"1234"))}),
        example({"reward": delimited(2, varint(8) + varint(1))}),
        example({"ids": delimited(3, delimited(1, b"\x80"))}),
        example({"ids": delimited(3, varint(8 + 5) + bytes(4))}),
        example({"pngs": delimited(1, varint(8) + varint(1))}),
        delimited(1, varint(8 + 2) + varint(2**63) + b"x"),
        delimited(1, varint(8 + 2) + varint(2**64 - 1) + b"x"),
        delimited(1, varint(2**61 * 8 + 2) + varint(0)),
    ],
)
def test_a_message_that_is_not_well_formed_is_an_error(record):
    with pytest.raises(CorruptDataError, match="record 1: not a well-formed"):
        parse([example(GOOD), record])


def test_a_message_cut_short_anywhere_is_an_error():
    record = example({name: GOOD[name] for name in ("ids", "reward", "pngs")})
    for length in range(len(record)):
        with pytest.raises(FormatError, match="shard: record 0"):
            parse([record[:length]])


@given(st.data())
def test_a_flipped_byte_never_crashes(data):
    """The framing's checksum comes before; this is about a parser that reads only what it may."""
    record = bytearray(example(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    try:
        ((found, _),) = parse([bytes(record)])
    except FormatError:
        return
    assert [len(found[feature.name]) for feature in FEATURES] == [2, 1, 3]


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_refused(data):
    with pytest.raises(FormatError):
        parse([data])
