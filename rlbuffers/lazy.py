"""Public names of a package that are imported when they are first used, so that importing the package loads nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__``.

    Parameters
    ----------
    package : str
        Name of the package, for the message.
    homes : mapping of name to str
        ``"module:attribute"`` for each public name.
    """

    def get(name: str) -> Any:
        try:
            module, _, attribute = homes[name].partition(":")
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        return getattr(importlib.import_module(module), attribute)

    return get
