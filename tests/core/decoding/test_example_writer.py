from __future__ import annotations

import numpy as np
import pytest
import wire
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlbuffers.decoding.example_file import read_examples
from rlbuffers.decoding.example_values import parse_example
from rlbuffers.decoding.example_writer import framed_record, serialize_example
from rlbuffers.errors import CorruptDataError, UsageError

LENGTHS = st.integers(0, 40)
INTEGERS = st.sampled_from(["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
VALUES = st.one_of(
    hnp.arrays(INTEGERS, LENGTHS),
    hnp.arrays(np.float32, LENGTHS, elements=st.floats(width=32, allow_nan=False)),
    st.lists(st.binary(max_size=200), max_size=5),
)


@given(st.dictionaries(st.text(max_size=140), VALUES, max_size=5))
@example({"edges": np.array([2**k + d for k in range(0, 63, 7) for d in (-1, 0, 1)] + [-1, -(2**63), 2**63 - 1])})
def test_what_is_written_is_read(features):
    found = parse_example(serialize_example(features), "x")
    assert sorted(found) == sorted(features)
    for name, values in features.items():
        if isinstance(values, np.ndarray) and len(values):
            assert found[name].dtype == (np.float32 if values.dtype.kind == "f" else np.int64)
            np.testing.assert_array_equal(found[name], values.astype(found[name].dtype))
        else:
            assert list(found[name]) == list(values)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.lists(st.floats(width=32), min_size=1))
def test_bytes_are_those_of_the_specification(integers, floats):
    features = {"b/ints": np.array(integers, np.int64), "a": np.array(floats, np.float32), "c": [b"", b"x" * 300]}
    slow = {
        "a": wire.feature("float", floats),
        "b/ints": wire.feature("int64", integers),
        "c": wire.feature("bytes", features["c"]),
    }
    assert serialize_example(features) == wire.example(slow)
    assert serialize_example(dict(reversed(features.items()))) == wire.example(slow)


def test_arrays_are_flattened_and_wide_types_kept_as_far_as_an_example_can():
    features = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "bits": np.array([0, 2**64 - 1], np.uint64),
        "half": np.array([0.1], np.float16),
        "strided": np.arange(10)[::2],
    }
    found = parse_example(serialize_example(features), "x")
    assert found["matrix"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found["bits"].view(np.uint64).tolist() == [0, 2**64 - 1]
    assert found["half"].astype(np.float16) == np.float16(0.1)
    assert found["strided"].tolist() == [0, 2, 4, 6, 8]


def test_other_arrays_are_refused():
    with pytest.raises(UsageError, match="feature 'x': an Example holds numbers and bytes"):
        serialize_example({"x": np.array(["text"])})


@given(st.binary(max_size=300))
def test_framing_is_that_of_the_specification(data):
    assert framed_record(data) == wire.tfrecord(data)


def test_a_file_of_examples(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"".join(framed_record(serialize_example({"n": np.array([number])})) for number in range(300)))
    seen = []
    found = list(read_examples(path, seen.append))
    assert [int(features["n"][0]) for features, _ in found] == list(range(300))
    assert found[7][1] == f"{path}: record 7"
    assert b"".join(seen) == path.read_bytes()
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="record 299: its CRC-32C does not fit"):
        list(read_examples(path))
    path.write_bytes(content[:-1])
    with pytest.raises(CorruptDataError, match="cut short; the file ends within record 299"):
        list(read_examples(path))
