from __future__ import annotations

import pytest

from rlbuffers.listing import listed, nearest, shortened, unlike


@pytest.mark.parametrize(
    ("count", "most", "text"),
    [(0, 3, ""), (1, 3, "0"), (3, 3, "0, 1, 2"), (4, 3, "0, 1, 2, ... and 1 more"), (3217, 1, "0, ... and 3,216 more")],
)
def test_the_first_names_and_how_many_others(count, most, text):
    assert listed(map(str, range(count)), most) == text


def test_long_names_lose_their_middle():
    assert listed(["x" * 100 + "end"]) == f"{'x' * 60} [... 23 characters ...] {'x' * 17}end"
    assert shortened("x" * 10, 10) == "x" * 10
    assert len(shortened("x" * 10**6)) < 1_700


def test_the_nearest_names():
    names = [f"column_{number}" for number in range(5_000)]
    assert nearest("colum_17", names).startswith("; did you mean 'column_17' or ")
    assert nearest("zebra", names) == nearest("column_3", names) == nearest("x", []) == ""


def test_names_that_differ():
    assert unlike("ba", "bc") == "['a', 'b'], expected ['b', 'c']"
    many = [f"{number:02}" for number in range(13)]
    assert unlike(many, [*many[1:], "x"]) == "13 names, expected 13; missing x; not expected 00"
    assert unlike(many, [*many, "x"]) == "13 names, expected 14; missing x"
