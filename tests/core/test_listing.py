from __future__ import annotations

import pytest

from rlbuffers.listing import listed


@pytest.mark.parametrize(
    ("count", "most", "text"),
    [(0, 3, ""), (1, 3, "0"), (3, 3, "0, 1, 2"), (4, 3, "0, 1, 2, ... and 1 more"), (3217, 1, "0, ... and 3,216 more")],
)
def test_the_first_names_and_how_many_others(count, most, text):
    assert listed(map(str, range(count)), most) == text
