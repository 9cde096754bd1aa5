"""What another library's format has no word for, and its files carry beside the rows for `rlbuffers convert`.

One JSON document, `NAME`: an attribute of HDF5 files, the comment of NumPy's archives (`COMMENT` and the hexadecimal
digits of its zlib stream; an array where that is too long), a file in directories. Other libraries do not look there::

    {"metadata": {...}, "spaces": {"actions": {...}}, "episode_spaces": {...}, "fingerprint": "..."}

``metadata`` are the keys of the buffer's metadata that are told and not derived from its rows, see
`rlbuffers.metadata.METADATA_KEYS`; so that a fact which gets a key there is carried, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlbuffers.errors import CorruptDataError, FormatError, SpecError
from rlbuffers.json_documents import parsed_json
from rlbuffers.metadata import METADATA_KEYS, is_derived
from rlbuffers.schema import BufferSpec, ColumnSpec, next_name

if TYPE_CHECKING:
    from rlbuffers.table import Table

__all__ = ["COMMENT", "EXPORTED_FROM", "NAME", "KeptFacts", "kept_document", "lost_on_readers"]

NAME = "rlbuffers_metadata"
COMMENT = f"{NAME}:".encode()
EXPORTED_FROM = "exported_from"
_SPACES, _EPISODE_SPACES, _METADATA, _FINGERPRINT = "spaces", "episode_spaces", "metadata", "fingerprint"
# What is true of the buffer that was exported, and not of the one that its file becomes.
_OF_ORIGIN = ("source", "derivation", "written_by")
_NORMALIZATION = "normalization"


def kept_document(buffer: Table, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the document for a buffer.

    Parameters
    ----------
    buffer : Table
        What is exported.
    names : mapping of str to str
        Columns to their names when the file is read again, where these are others.
    """
    told = {key: value for key, value in buffer.metadata.items() if not is_derived(key) and value not in ({}, [], "")}
    columns = told.get(_NORMALIZATION, {}).get("columns")
    if columns:
        renamed = {names.get(name, name): column for name, column in columns.items()}
        told[_NORMALIZATION] = {**told[_NORMALIZATION], "columns": renamed}
    spec = buffer.spec
    spaces = {names.get(name, name): column.space for name, column in spec.columns.items() if column.space is not None}
    once = {name: column.space for name, column in spec.episode_columns.items() if column.space is not None}
    return {_METADATA: told, _SPACES: spaces, _EPISODE_SPACES: once, _FINGERPRINT: buffer.fingerprint}


def lost_on_readers(buffer: Table) -> list[str]:
    """Name what the document says and no reader but rlbuffers would know, where it changes what the numbers mean."""
    if not buffer.metadata.get(_NORMALIZATION):
        return []
    return [f"that observations are normalized, for readers other than rlbuffers ({NAME} holds mean and std)"]


class KeptFacts:
    """The document of a file that is read again.

    Parameters
    ----------
    document : mapping
        See the module's docstring.
    where : str
        What was read, for messages.

    Raises
    ------
    FormatError
        If the document is not of that form.
    """

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        parts = (_METADATA, _SPACES, _EPISODE_SPACES)
        told: Any = document.get(_METADATA, {})
        wrong = [key for key in parts if not isinstance(document.get(key, {}), dict)]
        if not wrong:
            wrong = [
                f"{_METADATA}/{key}"
                for key, value in told.items()
                if not isinstance(value, METADATA_KEYS.get(key, type(value)))
            ]
        if wrong:
            raise FormatError(f"{where}: {NAME}: {wrong[0]!r} is of another kind than rlbuffers writes; remove it")
        self._told: dict[str, Any] = {key: value for key, value in told.items() if not is_derived(key)}
        self._spaces: dict[str, Any] = document.get(_SPACES, {})
        self._episode_spaces: dict[str, Any] = document.get(_EPISODE_SPACES, {})
        self._fingerprint = document.get(_FINGERPRINT)
        self._warnings: list[str] = []

    @classmethod
    def of_text(cls, text: Any, where: str) -> KeptFacts:
        """Parse the document.

        Raises
        ------
        CorruptDataError
            If it is no JSON.
        FormatError
            If it is not of the expected form.
        """
        try:
            document = parsed_json(text)
        except (TypeError, ValueError) as error:
            raise CorruptDataError(f"{where}: {NAME}: damaged: not JSON ({error!s:.80}); remove it") from error
        if not isinstance(document, dict):
            raise FormatError(f"{where}: {NAME}: expected a JSON object")
        return cls(document, where)

    @classmethod
    def of_comment(cls, comment: bytes, where: str) -> KeptFacts | None:
        """Parse the comment of an archive; None if it is another one."""
        if not comment.startswith(COMMENT):
            return None
        try:
            text = zlib.decompress(bytes.fromhex(comment.removeprefix(COMMENT).decode()))
        except (ValueError, zlib.error) as error:
            raise CorruptDataError(f"{where}: {NAME}: the comment of the archive is damaged ({error})") from error
        return cls.of_text(text, where)

    @classmethod
    def of_attribute(cls, item: Any, where: str) -> KeptFacts | None:
        """Read the attribute of a group or a dataset of an HDF5 file; None if it has none."""
        return cls.of_text(item.attrs[NAME], where) if NAME in item.attrs else None

    def spec(self, spec: BufferSpec) -> BufferSpec:
        """Return a spec with the spaces that the file itself does not tell."""
        spaces = dict(self._spaces)
        for name in spec.observation_names:
            if name in spaces:
                spaces.setdefault(next_name(name), spaces[name])
        return BufferSpec(
            spec.layout,
            [self._with_space(column, spaces) for column in spec.columns.values()],
            spec.order,
            spec.stack,
            [self._with_space(column, self._episode_spaces) for column in spec.episode_columns.values()],
            spec.extras,
        )

    def _with_space(self, column: ColumnSpec, spaces: Mapping[str, Any]) -> ColumnSpec:
        if column.space is not None or column.name not in spaces:
            return column
        try:
            return ColumnSpec(column.name, column.dtype, column.shape, spaces[column.name])
        except (SpecError, TypeError, AttributeError, ValueError, OverflowError):
            text = f"The space of column {column.name!r} that the file states does not fit its rows; it is left out."
            if text not in self._warnings:
                self._warnings.append(text)
            return column

    def early(self) -> dict[str, Any]:
        """Return what parts of a whole must agree on."""
        return {_NORMALIZATION: self._told[_NORMALIZATION]} if _NORMALIZATION in self._told else {}

    def metadata(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a source tells of its file, and what the file keeps of the buffer that it was made of."""
        found = dict(own)
        for key, value in self._told.items():
            if key in _OF_ORIGIN:
                continue
            mine = own.get(key)
            if isinstance(value, list) and isinstance(mine, list):
                found[key] = [*value, *(text for text in mine if text not in value)]
            elif isinstance(value, dict) and isinstance(mine, dict) and key != _NORMALIZATION:
                found[key] = {**mine, **value}
            else:
                found[key] = value
        if self._warnings:
            found["warnings"] = [*found.get("warnings", []), *self._warnings]
        origin = {key: self._told[key] for key in _OF_ORIGIN if key in self._told}
        if isinstance(self._fingerprint, str):
            origin[_FINGERPRINT] = self._fingerprint
        return {**found, "source": {**own["source"], **({EXPORTED_FROM: origin} if origin else {})}}
