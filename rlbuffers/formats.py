"""What a table of formats says of each: a line for people, and the packages that it can make use of."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

__all__ = ["Format"]


@dataclass(frozen=True)
class Format:
    """One line of a table of formats.

    Parameters
    ----------
    summary : str
        What it is.
    modules : sequence of str
        Modules beyond the core's that it uses.
    extra : str, optional
        The extra of rlbuffers that installs them.
    needed_for : str, optional
        What does not work without them; everything, if empty.
    """

    summary: str
    modules: tuple[str, ...] = ()
    extra: str | None = None
    needed_for: str = ""

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.modules if importlib.util.find_spec(module) is None]
