from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.metadata import parse_metadata, render_metadata, written_by

TEXTS = st.text(max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OWN = {"format", "format_version", "checksum"}
TEXT = render_metadata({"license": "MIT", "numbers": [1, 2.5, 1e300, -(2**70)], "name": "Größe", "none": None})


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_facts_come_back(facts):
    found = parse_metadata(render_metadata(facts), "x")
    assert found == {**facts, "format": "rlbuffers", "format_version": 1} or OWN & set(facts)


def test_the_checksum_is_the_one_of_the_format_page():
    document = json.loads(TEXT)
    checksum = document.pop("checksum")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    assert checksum == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_facts_cannot_replace_the_words_of_the_format():
    found = parse_metadata(render_metadata({"format": "mine", "format_version": 7, "checksum": "x"}), "x")
    assert found == {"format": "rlbuffers", "format_version": 1}


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": float("inf")}, {"x": {1}}, {"x": b""}, {"x": "\ud800"}])
def test_facts_that_are_no_json_are_refused(facts):
    with pytest.raises((TypeError, ValueError)):
        render_metadata(facts)


def test_any_flipped_bit_is_noticed_or_harmless():
    """Harmless are the same facts in other words, such as 1E300 and 1e300."""
    facts = parse_metadata(TEXT, "x")
    encoded = TEXT.encode()
    for place in range(len(encoded)):
        for bit in range(8):
            damaged = bytearray(encoded)
            damaged[place] ^= 1 << bit
            try:
                found = parse_metadata(bytes(damaged).decode("utf-8", "surrogateescape"), "x")
            except FormatError:
                continue
            assert found == facts


@pytest.mark.parametrize(
    "text", ["", "null", "3", "[]", "{", "{}", '{"format": "other"}', "[" * 100_000, '{"format": "rlbuffers"}']
)
def test_texts_of_another_kind_are_refused(text):
    with pytest.raises(FormatError, match=r"^shard: "):
        parse_metadata(text, "shard")


def with_checksum(document):
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**document, "checksum": hashlib.sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_with_advice(version):
    with pytest.raises(FormatError, match=f"format version {version!r}, this release reads version 1") as error:
        parse_metadata(with_checksum({"format": "rlbuffers", "format_version": version}), "x")
    assert not isinstance(error.value, CorruptDataError)


def test_what_wrote_a_buffer_is_described():
    described = written_by()
    assert set(described["versions"]) >= {"numpy", "h5py", "zarr"}
    assert described["created"].endswith("+00:00")
    json.dumps(described)
