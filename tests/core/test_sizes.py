from __future__ import annotations

import pytest

from rlbuffers.errors import UsageError
from rlbuffers.sizes import parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (123, 123),
        ("0", 0),
        ("123", 123),
        ("123 B", 123),
        ("2GB", 2_000_000_000),
        ("2g", 2_000_000_000),
        (" 1.5 gib ", 1_610_612_736),
        ("500MB", 500_000_000),
        ("64KiB", 65536),
        ("1TB", 10**12),
    ],
)
def test_amounts_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", -1, "2 apples", "1e9", "2GBB", "nan", 1.5, True, None, "²"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError, match="no amount of memory"):
        parse_bytes(text)
