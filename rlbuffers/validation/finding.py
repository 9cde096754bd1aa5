"""What the rules of `validate` yield."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """The result of one rule, or one of its results.

    Parameters
    ----------
    rule : str
        Name of the rule.
    status : {"ok", "note", "warning", "error"}
        ``note`` is neither good nor bad.
    message : str
        What was found, with numbers.
    """

    rule: str
    status: Literal["ok", "note", "warning", "error"]
    message: str
