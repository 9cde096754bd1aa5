"""Where the files of other libraries have room for what these do not look at; see `rlbuffers.kept_facts`."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.exports.npz_members import write_array
from rlbuffers.kept_facts import COMMENT, NAME

__all__ = ["keep_in_archive", "keep_in_folder", "keep_in_hdf5"]

_MAX_COMMENT_BYTES = 0xFFFF


def keep_in_hdf5(path: Path, place: str, document: Mapping[str, Any]) -> None:
    """Write a document as an attribute of a group or a dataset."""
    from rlbuffers.hdf5_writing import written_hdf5  # not where the table of exports is only looked at

    with written_hdf5(path, mode="r+") as (file, _):
        file[place].attrs[NAME] = _text_of(document)


def keep_in_archive(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as the comment of a ZIP file, which is no array to NumPy; as one only if it is too long."""
    text = _text_of(document)
    comment = COMMENT + zlib.compress(text.encode(), 9).hex().encode()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        if len(comment) <= _MAX_COMMENT_BYTES:
            archive.comment = comment
        else:
            write_array(archive, NAME, np.array(text))


def keep_in_folder(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as a file."""
    path.write_text(_text_of(document), encoding="utf-8")


def _text_of(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, allow_nan=False)
