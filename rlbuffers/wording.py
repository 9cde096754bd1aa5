"""Words that several messages share."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed"]


def listed(names: Iterable[str], limit: int = 10) -> str:
    """Return names as a list that fits into a line: the first ones, and how many more there are.

    Parameters
    ----------
    names : iterable of str
        In the order in which they are shown.
    limit : int, default 10
        Names that are shown; one more is shown where it is the only one left.

    Returns
    -------
    str
        ``a, b, c and 7 more``; ``none`` if there is no name.
    """
    found = list(names)
    if len(found) <= limit + 1:
        return ", ".join(found) or "none"
    return f"{', '.join(found[:limit])} and {len(found) - limit:,} more"
