"""Amounts of memory as people write them."""

from __future__ import annotations

import re

from rlbuffers.errors import UsageError

__all__ = ["parse_bytes"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_UNITS |= {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def parse_bytes(size: int | str) -> int:
    """Turn a number of bytes, or a text such as ``"2GB"``, ``"1.5 GiB"`` or ``"0"``, into a number of bytes.

    Raises
    ------
    UsageError
        If it is neither, or negative.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size)
        if found is not None and found[2].upper() in _UNITS:
            return int(float(found[1]) * _UNITS[found[2].upper()])
    elif isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    raise UsageError(f"{size!r} is no amount of memory; expected bytes, or a text such as '500MB', '2GB' or '1GiB'")
