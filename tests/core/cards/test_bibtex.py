"""Citations are taken apart without losing a field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.cards.bibtex import authors, citation_of, entry_lines

WORD = st.text("abcdefgXYZ {}0123456789-éü:.", max_size=30).map(
    lambda text: text.replace("{", "").replace("}", "").strip()
)


@given(st.dictionaries(st.from_regex(r"[a-z]{2,8}", fullmatch=True), WORD, min_size=1, max_size=6))
def test_fields_keep_their_values(fields):
    entry = "@misc{key, " + ", ".join(f"{name}={{{value}}}" for name, value in fields.items()) + "}"
    lines = entry_lines(entry).splitlines()
    assert lines[0] == "@misc{key,"
    assert lines[-1] == "}"
    assert [line.strip(" ,") for line in lines[1:-1]] == [
        f"{name} = {{{' '.join(value.split())}}}".strip(" ,") for name, value in fields.items()
    ]
    assert entry_lines(entry_lines(entry)) == entry_lines(entry)


def test_values_in_quotes_of_one_word_and_with_inner_braces():
    entry = '@article{a, title = "On {RL}, and more", year = 2020, author={Last, First and {DeepMind} and others}}'
    assert entry_lines(entry).splitlines()[1:3] == ["  title = {On {RL}, and more},", "  year = {2020},"]
    assert authors(entry) == ["First Last", "{DeepMind}"]


@pytest.mark.parametrize("text", ["Cite our paper.", "@misc{a}", "@misc{a, title={open}", "@misc{a, =b}", ""])
def test_what_is_no_entry_stays_as_it_is(text):
    assert entry_lines(text) == text
    assert authors(text) == []


def test_a_buffer_without_a_citation_cites_itself():
    metadata = {"fingerprint": "ab" * 32, "written_by": {"created": "2025-01-02T03:04:05+00:00"}}
    found = citation_of(metadata, "My {odd} name")
    assert found.startswith("@misc{rlbuffers-abababababab,")
    assert "title = {My odd name}" in found
    assert "year = {2025}" in found
    assert "year" not in citation_of({"fingerprint": "ab" * 32}, "x")
