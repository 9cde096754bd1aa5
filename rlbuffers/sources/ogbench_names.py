"""OGBench's names: which datasets there are, by their file names.

The names are those of the repository's own commands (data_gen_scripts/commands.sh) and of its list of larger sets;
what is derived from a name is as in ``ogbench.utils.make_env_and_datasets``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OGBenchName", "find_ogbench"]

_KINDS = (
    r"(?:visual-)?(?:point|ant|humanoid)maze-(?:medium|large|giant|teleport)-(?P<maze>navigate|stitch|explore)",
    r"antsoccer-(?:arena|medium)-(?P<soccer>navigate|stitch)",
    r"(?:visual-)?cube-(?:single|double|triple|quadruple|octuple)-(?P<cube>play|noisy)",
    r"(?:visual-)?scene-(?P<scene>play|noisy)",
    r"(?:visual-)?puzzle-(?:3x3|4x4|4x5|4x6)-(?P<puzzle>play|noisy)",
    r"powderworld-(?:easy|medium|hard)-(?P<powder>play)",
)
# What may stand between the kind and the version, and behind it: larger sets come in numbered parts.
_NAME = re.compile(
    rf"(?P<kind>{'|'.join(_KINDS)})(?:-100m)?(?P<task>-singletask(?:-task\d)?)?(?:-oraclerep)?-(?P<version>v\d)"
    r"(?:-\d+)?(?P<validation>-val)?"
)


@dataclass(frozen=True)
class OGBenchName:
    """What a file name of OGBench tells.

    Parameters
    ----------
    dataset : str
        Such as ``antmaze-large-navigate-v0``.
    environment : str
        Gymnasium's id, such as ``antmaze-large-v0``.
    split : str
        ``train`` or ``validation``.
    """

    dataset: str
    environment: str
    split: str


def find_ogbench(path: Path) -> OGBenchName | None:
    """Return what a file's name tells, or None if it is not one of OGBench's."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    collected = next(match[group] for group in ("maze", "soccer", "cube", "scene", "puzzle", "powder") if match[group])
    base = match["kind"].removesuffix(f"-{collected}")
    return OGBenchName(
        dataset=path.stem.removesuffix("-val"),
        environment=f"{base}{match['task'] or ''}-{match['version']}",
        split="validation" if match["validation"] else "train",
    )
