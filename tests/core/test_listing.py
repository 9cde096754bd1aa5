from __future__ import annotations

import pytest

from rlbuffers.listing import listed


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, ... and 1 more"), (5000, "0, 1, 2, ... and 4,997 more")],
)
def test_a_long_list_is_cut(count, expected):
    assert listed(map(str, range(count)), 3) == expected
