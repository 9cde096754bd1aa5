"""What rlbuffers asks for, from the metadata it was installed with, and what is installed."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement

__all__ = ["CORE", "Need", "module_of", "needs"]

CORE = "core"
_DISTRIBUTION = "rlbuffers"
# Extras that only gather others.
_GATHERING = ("all", "dev")
# Distributions whose module has another name.
_MODULES = {
    "dm-reverb": "reverb",
    "mkdocs-material": "material",
    "opencv-python-headless": "cv2",
    "pygame-ce": "pygame",
    "pyyaml": "yaml",
    "pillow": "PIL",
}


@dataclass(frozen=True)
class Need:
    """One package that is asked for.

    Parameters
    ----------
    name : str
        Name of the distribution.
    asked : str
        The versions that fit, such as ``>=1.26``; empty for any.
    installed : str or None
        The version that is there.
    """

    name: str
    asked: str
    installed: str | None

    @property
    def fits(self) -> bool:
        """Whether a version that is asked for is installed."""
        wanted = Requirement(f"{self.name}{self.asked}")
        return self.installed is not None and wanted.specifier.contains(self.installed, prereleases=True)

    @property
    def module(self) -> str:
        """Name of the module to import."""
        return module_of(self.name)


def module_of(distribution: str) -> str:
    """Return the name of the module that a distribution brings."""
    return _MODULES.get(distribution, distribution.replace("-", "_"))


def needs() -> dict[str, list[Need]]:
    """Return what the core and each extra ask for, extras that an extra includes too."""
    listed = [Requirement(text) for text in importlib.metadata.requires(_DISTRIBUTION) or []]
    extras = sorted({extra for requirement in listed for extra in _extras_of(requirement)} - set(_GATHERING))
    return {
        group: [_need(requirement) for requirement in _asked_by(extra, listed)]
        for group, extra in [(CORE, ""), *((extra, extra) for extra in extras)]
    }


def _extras_of(requirement: Requirement) -> list[str]:
    return re.findall(r"extra == [\"']([^\"']+)[\"']", str(requirement.marker or ""))


def _asked_by(extra: str, listed: list[Requirement]) -> Iterator[Requirement]:
    """Yield the requirements of an extra, or those of the core, that apply to this Python and platform."""
    for requirement in listed:
        if bool(extra) != bool(_extras_of(requirement)):
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == _DISTRIBUTION:
            for included in sorted(requirement.extras):
                yield from _asked_by(included, listed)
        else:
            yield requirement


def _need(requirement: Requirement) -> Need:
    try:
        installed = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        installed = None
    return Need(requirement.name, str(requirement.specifier), installed)
