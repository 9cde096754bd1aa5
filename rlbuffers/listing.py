"""Names in messages: so many, and so long, that a message stays one to read."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

__all__ = ["SCREEN", "listed", "nearest", "shortened", "unlike"]

_MOST = 12
_LONGEST_NAME = 80
# Comparing a name with all names of a very wide table would take seconds.
_MOST_COMPARED = 20_000
SCREEN = 1_600  # characters; 20 lines of 80


def listed(names: Iterable[str], most: int = _MOST) -> str:
    """Join names by commas; of more than `most`, the first ones and how many others there are.

    Parameters
    ----------
    names : iterable of str
        In the order in which they are shown; of a very long one, the ends are.
    most : int, default 12
        How many are shown.

    Returns
    -------
    str
        Such as ``"a, b, ... and 3,214 more"``; empty without names.
    """
    found = list(names)
    more = len(found) - most
    shown = [shortened(str(name), _LONGEST_NAME) for name in found[:most]]
    return ", ".join([*shown, f"... and {more:,} more"] if more > 0 else shown)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint at the names that are most like one that does not exist.

    Parameters
    ----------
    name : str
        What was asked for.
    names : iterable of str
        What there is.

    Returns
    -------
    str
        Such as ``"; did you mean 'a' or 'b'?"``, to end a message with; empty where nothing is like it.
    """
    known = list(itertools.islice(map(str, names), _MOST_COMPARED))
    if name in known:  # in another group, for one
        return ""
    found = difflib.get_close_matches(name[:_LONGEST_NAME], known, 3)
    return f"; did you mean {' or '.join(repr(shortened(one, _LONGEST_NAME)) for one in found)}?" if found else ""


def shortened(text: str, most: int = SCREEN) -> str:
    """Return a text with its middle left out where it is longer than so many characters.

    Parameters
    ----------
    text : str
        What may be too long.
    most : int, default 1,600
        Characters that fit; a few more are returned, which say how many are left out.
    """
    if len(text) <= most:
        return text
    ahead, behind = most * 3 // 4, most // 4
    return f"{text[:ahead]} [... {len(text) - ahead - behind:,} characters ...] {text[len(text) - behind :]}"


def unlike(got: Iterable[str], wanted: Iterable[str]) -> str:
    """Say which names there are and which are expected; of many, those only that make the difference.

    Parameters
    ----------
    got, wanted : iterable of str
        Different names.
    """
    found, expected = set(got), set(wanted)
    if max(len(found), len(expected)) <= _MOST:
        return f"{sorted(found)}, expected {sorted(expected)}"
    missing, others = sorted(expected - found), sorted(found - expected)
    parts = [f"missing {listed(missing)}"] * bool(missing) + [f"not expected {listed(others)}"] * bool(others)
    return f"{len(found):,} names, expected {len(expected):,}; {'; '.join(parts)}"
