"""What a license is called elsewhere: the Hugging Face Hub's identifier, and the page that states it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["License", "find_license"]

_SPDX = "https://spdx.org/licenses"


@dataclass(frozen=True)
class License:
    """A license as metadata state it.

    Parameters
    ----------
    text : str
        As stated; empty if nothing is.
    hub_id : str
        The Hub's identifier: ``unknown`` if nothing is stated or known, ``other`` for one that the Hub has no word for.
    url : str or None
        Where its text is.
    """

    text: str
    hub_id: str
    url: str | None

    @property
    def is_known(self) -> bool:
        """Whether a license is stated at all."""
        return self.hub_id != "unknown"


# SPDX identifiers that the Hub knows, in the Hub's spelling.
_HUB_IDS = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "artistic-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "bsl-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "ecl-2.0",
    "epl-1.0",
    "epl-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "gfdl",
    "gpl-2.0",
    "gpl-3.0",
    "isc",
    "lgpl-2.1",
    "lgpl-3.0",
    "mit",
    "mpl-2.0",
    "ms-pl",
    "ncsa",
    "odbl",
    "osl-3.0",
    "pddl",
    "postgresql",
    "unlicense",
    "wtfpl",
    "zlib",
]
_UNKNOWN_BEGINNINGS = ("", "unknown", "not stated", "none")


def find_license(text: str | None) -> License:
    """Tell a license from what metadata say of it.

    Parameters
    ----------
    text : str or None
        An SPDX identifier, or any sentence. One that begins with "not stated" or "unknown" states none.
    """
    stated = " ".join((text or "").split())
    folded = stated.lower()
    if folded in _HUB_IDS:
        return License(stated, folded, f"{_SPDX}/{_spdx_name(stated)}.html")
    if folded in _UNKNOWN_BEGINNINGS or folded.startswith(_UNKNOWN_BEGINNINGS[1:]):
        return License(stated, "unknown", None)
    return License(stated, "other", None)


def _spdx_name(stated: str) -> str:
    """Return the identifier in SPDX's spelling where it was given in the Hub's."""
    if stated != stated.lower():
        return stated
    if stated in ("isc", "mit", "ncsa"):
        return stated.upper()
    return "Apache-2.0" if stated == "apache-2.0" else stated.upper()
