from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import OutOfRangeError, UsageError
from rlbuffers.row_ranges import ranges_text, rows_of_text

ENDS = st.one_of(st.none(), st.integers(-12, 12))


@given(count=st.integers(1, 10), start=ENDS, stop=ENDS, step=st.one_of(st.none(), st.integers(-3, 3).filter(bool)))
def test_slices_are_those_of_a_list(count, start, stop, step):
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    assert [list(part) for part in rows_of_text(text, count)] == [list(range(count))[start:stop:step]]


@given(count=st.integers(1, 10), row=st.integers(-12, 12))
def test_numbers_are_those_of_a_list(count, row):
    if -count <= row < count:
        assert [list(part) for part in rows_of_text(str(row), count)] == [[list(range(count))[row]]]
    else:
        with pytest.raises(OutOfRangeError, match=f"no row {row};"):
            rows_of_text(str(row), count)


def test_parts_keep_their_order():
    assert [list(part) for part in rows_of_text(" 4, -2: ,1:3", 6)] == [[4], [4, 5], [1, 2]]


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "1.5", ":::", "1,,2", "--3", "2:4:0"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="rows "):
        rows_of_text(text, 5)


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_exactly_the_rows(rows):
    named = []
    for piece in ranges_text(sorted(rows)).split(", ") if rows else []:
        first, _, last = piece.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(rows)


def test_ranges_are_as_few_as_can_be():
    assert ranges_text([3, 4, 5, 7, 9, 10]) == "3-5, 7, 9-10"
    assert ranges_text([3, 4, 5, 7, 9, 10], most=1) == "3-5 and 2 more ranges"
    assert ranges_text([]) == ""
