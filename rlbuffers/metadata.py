"""The facts a buffer carries about itself, as one JSON document.

``docs/format.md`` lists the keys. The document holds a SHA-256 of itself (key ``checksum``), since
a text in a file is the one thing that no chunk checksum covers.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.json_documents import parsed_json
from rlbuffers.lineage import with_short_lineage
from rlbuffers.listing import shortened
from rlbuffers.metadata_schema import DECISIVE, METADATA, settled

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "METADATA_KEYS",
    "episode_statistics",
    "is_derived",
    "parse_metadata",
    "render_metadata",
    "settled_metadata",
    "written_by",
]

FORMAT_NAME = "rlbuffers"
FORMAT_VERSION = 1
_CHECKSUM = "checksum"
_NORMALIZATION = "normalization"
# The table of docs/format.md, with the JSON type of each value: what a writer derives from the rows and the way in
# which they are stored, and what is told of them.
_DERIVED = {
    "format": str,
    "format_version": int,
    _CHECKSUM: str,
    "spec": dict,
    "arrays": dict,
    "fingerprint": str,
    "counts": dict,
    "statistics": dict,
    "storage": dict,
    "noticed": dict,
}
_MOST_NAMED = 5
_SHOWN = 60
_TOLD = {
    "environment": dict,
    "behavior_policy": dict,
    "source": dict,
    "derivation": dict,
    "normalization": dict,
    "scalars": dict,
    "measurements": dict,
    "warnings": list,
    "left_out": list,
    "notes": list,
    "license": str,
    "citation": str,
    "written_by": dict,
}
METADATA_KEYS: dict[str, type] = {**_DERIVED, **_TOLD}
# What can change the bytes of a buffer, or the weights of a training.
_RECORDED_PACKAGES = ("rlbuffers", "numpy", "h5py", "zarr", "gymnasium", "ale-py", "mujoco", "torch")


def is_derived(key: str) -> bool:
    """Whether a key of the metadata follows from what is stored, so that nobody need be told it."""
    return key in _DERIVED


def render_metadata(facts: Mapping[str, Any]) -> str:
    """Return the JSON text of `facts`, with format name, version and checksum added; see also `with_short_lineage`.

    Raises
    ------
    ValueError
        If a number is not finite, since JSON has no word for it, or see `settled_metadata`.
    """
    document = settled_metadata(parsed_json(json.dumps(with_short_lineage(facts), allow_nan=False)), "new metadata")
    document |= {"format": FORMAT_NAME, "format_version": FORMAT_VERSION}
    document.pop(_CHECKSUM, None)
    document[_CHECKSUM] = _checksum(document)
    return json.dumps(document, sort_keys=True, allow_nan=False)


def parse_metadata(text: str, where: str) -> dict[str, Any]:
    """Return the facts of a JSON text after checking format, version, checksum and the type of every known fact.

    Raises
    ------
    FormatError
        If the text is of another format or of a version that this release does not know; see also `settled_metadata`.
    CorruptDataError
        If the text is not JSON or fails its checksum.
    """
    try:
        document = parsed_json(text)
    except ValueError as error:
        raise CorruptDataError(f"{where}: the metadata is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise FormatError(f"{where}: the metadata does not say format {FORMAT_NAME!r}")
    if not _passes_checksum(document):
        raise CorruptDataError(f"{where}: the metadata fails its checksum; the file is damaged or was edited by hand")
    if document.get("format_version") != FORMAT_VERSION:
        version = shortened(repr(document.get("format_version")), _SHOWN)
        raise FormatError(
            f"{where}: format version {version}, this release reads version {FORMAT_VERSION}; upgrade rlbuffers"
        )
    return settled_metadata(document, where)


def settled_metadata(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return metadata in which every known fact is of the kind that `rlbuffers.metadata_schema` states.

    A fact of another kind is left out, and ``warnings`` name it. Known facts that are null are left out.

    Parameters
    ----------
    document : mapping
        JSON values.
    where : str
        What was read, for messages.

    Raises
    ------
    FormatError
        If the facts by which the stored numbers are read, or that change what they mean, are of another kind.
    """
    stated = {key: value for key, value in document.items() if value is not None or key not in _TOLD}
    if stated.get(_NORMALIZATION) == {}:  # says that there is none
        del stated[_NORMALIZATION]
    found, problems = settled(stated, METADATA)
    decisive = [problem for problem in problems if problem.path.partition(".")[0].partition("[")[0] in DECISIVE]
    if decisive:
        more = f" (and {len(decisive) - 1:,} more)" if len(decisive) > 1 else ""
        raise FormatError(f"{where}: the metadata cannot be used: {decisive[0]}{more}")
    named = [f"The metadata are not as rlbuffers writes them, and this is left out: {one}" for one in problems]
    if len(named) > _MOST_NAMED:
        more = f"{len(named) - _MOST_NAMED:,} more parts of the metadata are not as rlbuffers writes them and left out"
        named = [*named[:_MOST_NAMED], more]
    return {**found, **({"warnings": [*found.get("warnings", []), *named]} if named else {})}


def episode_statistics(metadata: Mapping[str, Any], name: str, *keys: str) -> Mapping[str, Any] | None:
    """Return the statistics of ``episode_returns`` or ``episode_lengths``: ``mean``, ``std``, quantiles.

    None where the buffer has no episodes, or one of `keys` is not a finite number. A column of the same name, which
    counts its episodes once a step, is not meant.
    """
    found = metadata["statistics"].get(name)
    if metadata["spec"]["layout"] != "episodes" or not isinstance(found, dict):
        return None
    return found if all(isinstance(found.get(key), int | float) for key in keys) else None


def _passes_checksum(document: dict[str, Any]) -> bool:
    """Take the checksum out of a document and compare."""
    stated = document.pop(_CHECKSUM, None)
    try:
        return bool(stated == _checksum(document))
    except ValueError:  # half of a surrogate pair
        return False


def _checksum(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def written_by() -> dict[str, Any]:
    """Describe the running command, its time and the versions that it ran with."""
    versions = {}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": shlex.join([sys.argv[0].rpartition("/")[2], *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "versions": versions,
    }
