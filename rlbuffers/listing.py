"""Names in messages: so many that a line stays one to read."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed"]

_MOST = 12


def listed(names: Iterable[str], most: int = _MOST) -> str:
    """Join names by commas; of more than `most`, the first ones and how many others there are.

    Parameters
    ----------
    names : iterable of str
        In the order in which they are shown.
    most : int, default 12
        How many are shown.

    Returns
    -------
    str
        Such as ``"a, b, ... and 3,214 more"``; empty without names.
    """
    found = list(names)
    more = len(found) - most
    return ", ".join([*found[:most], f"... and {more:,} more"] if more > 0 else found)
