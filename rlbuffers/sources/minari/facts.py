"""What the metadata of a Minari dataset say: ``metadata.json``, or in Minari 0.4 the file's own attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlbuffers.errors import CorruptDataError, FormatError, UnsupportedError
from rlbuffers.kept_facts import NAME
from rlbuffers.listing import listed
from rlbuffers.local_inputs import require_inside
from rlbuffers.schema import ACTIONS, OBSERVATIONS
from rlbuffers.sources.files import finite_object, json_object_in
from rlbuffers.sources.json_text import parse_json
from rlbuffers.sources.minari.places import METADATA_FILE
from rlbuffers.sources.minari.spaces import Leaf, leaves_of, parse_space
from rlbuffers.task_ends import ending_facts

__all__ = ["DatasetFacts"]

_KNOWN_VERSIONS = re.compile(r"0\.[45]\.\d+")
_SPACES = {"observation_space": OBSERVATIONS, "action_space": ACTIONS}
# What the buffer says in other ways, or what is about the files alone.
_SAID_ELSEWHERE = (
    *_SPACES,
    "env_spec",
    "eval_env_spec",
    "ref_min_score",
    "ref_max_score",
    "algorithm_name",
    "total_episodes",
    "total_steps",
    "dataset_size",
    "jpeg_encoding",
    NAME,
)


class DatasetFacts:
    """The metadata of one dataset.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder.
    attributes : mapping
        Where there is no ``metadata.json``: the attributes of the file.

    Attributes
    ----------
    warnings, left_out : list of str
        What a user must know, and what cannot be kept.

    Raises
    ------
    FormatError, CorruptDataError
        If it is no JSON object.
    """

    def __init__(self, folder: Path, attributes: Mapping[str, Any]) -> None:
        path = folder / METADATA_FILE
        self.where = str(path) if path.exists() else str(folder)
        self._facts = json_object_in(require_inside(folder, path)) if path.exists() else dict(attributes)
        self.warnings: list[str] = []
        self.left_out: list[str] = []
        version = str(self._facts.get("minari_version"))
        if not _KNOWN_VERSIONS.fullmatch(version):
            self.warnings.append(f"Written by Minari {version}, which this reader was not made for.")

    def count(self, name: str) -> int | None:
        """Return a number that the metadata state, or None.

        Raises
        ------
        FormatError
            If it is no whole number.
        """
        value = self._facts.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise FormatError(f"{self.where}: expected a number as {name}, found {value!r:.80}")
        return int(value)

    def leaves(self) -> dict[str, Leaf]:
        """Return the spaces by the names of their columns.

        Raises
        ------
        FormatError
            If a space cannot be understood.
        UnsupportedError
            If the actions are several, or texts.
        """
        leaves: dict[str, Leaf] = {}
        for key, name in _SPACES.items():
            if self._facts.get(key) is None:
                continue
            where = f"{self.where}: {key}"
            leaves.update({leaf.name: leaf for leaf in leaves_of(parse_space(self._facts[key], where), name, where)})
        several = [name for name in leaves if name.startswith(f"{ACTIONS}/")]
        if several:
            raise UnsupportedError(
                f"{self.where}: the actions are several ({listed(several)}); a buffer holds one array of actions. "
                "Flatten them in the environment before recording"
            )
        return leaves

    def environment(self) -> dict[str, Any]:
        """Return what is known of the environment, for the buffer's metadata."""
        found: dict[str, Any] = {}
        spec = self._object("env_spec")
        if spec:
            found = {"id": spec.get("id"), "env_spec": spec, "max_episode_steps": spec.get("max_episode_steps")}
            found |= ending_facts(found)
        evaluation = self._object("eval_env_spec")
        if evaluation:
            found["eval_env_spec"] = evaluation
        scores = {"min": self._facts.get("ref_min_score"), "max": self._facts.get("ref_max_score")}
        if all(isinstance(score, int | float) and math.isfinite(score) for score in scores.values()):
            found["reference_scores"] = scores
        return finite_object(found)

    def behavior_policy(self) -> dict[str, Any]:
        """Return what is known of who acted."""
        name = self._facts.get("algorithm_name")
        return {"name": str(name)} if name else {}

    def source(self) -> dict[str, Any]:
        """Return all other facts, under the names that they have in the dataset."""
        return finite_object({name: value for name, value in self._facts.items() if name not in _SAID_ELSEWHERE})

    def _object(self, name: str) -> dict[str, Any]:
        """Return a JSON object that stands in a text; {} if there is none."""
        value = self._facts.get(name)
        try:
            found = parse_json(value, self.where) if isinstance(value, str) else value
        except CorruptDataError:
            found = None
        if isinstance(found, dict):
            return found
        if value is not None:
            self.left_out.append(f"{name!r} of the metadata, which is no JSON object")
        return {}
