"""The file of a checkpoint: a ZIP archive of `torch.save`, whose claims are compared with its bytes before use."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlbuffers.errors import CorruptDataError, FormatError

__all__ = ["read_content", "require_tensors", "stored_bytes"]

_MOST_MEMBERS = 10_000  # a tensor each; the largest algorithm here has some hundreds
_MOST_DESCRIBED = 64 << 20  # bytes of the pickle, which describes tensors and holds the facts
_DESCRIPTION = "data.pkl"
_END_BYTES = 22 + (1 << 16)  # where a ZIP archive's last record is looked for
_END, _NUMBER_OF_MEMBERS = b"PK\x05\x06", slice(10, 12)
_ENDLESS = 0xFFFF  # a count that stands elsewhere, for more members than this
_DEEPEST, _MOST_VALUES = 16, 1_000_000
_Scalar = int | float | str | bool | None


def read_content(path: Path) -> Any:
    """Return what a checkpoint holds, its tensors on the CPU.

    Raises
    ------
    CorruptDataError
        If the file is damaged.
    FormatError
        If it is something else.
    """
    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise FormatError(f"{path}: not a checkpoint of rlbuffers (it claims more memory than there is)") from error
    except Exception as error:  # whatever torch's reader stumbles over: the file is not what it writes
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise FormatError(f"{path}: not a checkpoint of rlbuffers ({reason})") from error


def _check_archive(path: Path) -> None:
    """Check the zip archive that `torch.save` writes; `torch.load` reads damaged weights in silence."""
    try:
        size = path.stat().st_size
        _refuse_many_members(path, size)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise FormatError(f"{path}: not a checkpoint of rlbuffers (its members are compressed)")
            # What a damaged directory calls a folder has no bytes for torch, whatever its checksum says.
            if any(member.external_attr or member.is_dir() for member in members):
                raise CorruptDataError(f"{path}: damaged: unexpected entries in the ZIP directory")
            if sum(member.file_size for member in members) > size:
                raise CorruptDataError(f"{path}: damaged: its members claim more bytes than the file has")
            described = sum(member.file_size for member in members if member.filename.endswith(_DESCRIPTION))
            if described > _MOST_DESCRIBED:
                raise FormatError(
                    f"{path}: not a checkpoint of rlbuffers (its description has {described:,} bytes, expected at "
                    f"most {_MOST_DESCRIBED:,})"
                )
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        if isinstance(error, FormatError):
            raise
        raise CorruptDataError(f"{path}: not a checkpoint, or a damaged one ({error})") from error
    if damaged is not None:
        raise CorruptDataError(f"{path}: damaged, {damaged!r} fails its checksum; use another checkpoint")


def _refuse_many_members(path: Path, size: int) -> None:
    """Look at the number of members before Python makes an object of each."""
    with path.open("rb") as file:
        file.seek(max(size - _END_BYTES, 0))
        end = file.read()
    found = end.rfind(_END)
    stated = end[found:][_NUMBER_OF_MEMBERS] if found >= 0 else b""
    if int.from_bytes(stated, "little") > _MOST_MEMBERS:
        raise FormatError(f"{path}: not a checkpoint of rlbuffers (more than {_MOST_MEMBERS:,} members)")


def require_tensors(value: Any, where: str) -> None:
    """Refuse what is not tensors on the CPU, numbers and texts, in dicts and lists, each with bytes of its own.

    Raises
    ------
    FormatError
        If something else is there, or so much that looking at it would take long.
    """
    left = [_MOST_VALUES]
    _require_tensors(value, where, _DEEPEST, left)


def _require_tensors(value: Any, where: str, depth: int, left: list[int]) -> None:
    # Lists that hold one another may stand for any number of values: visits are counted, not objects.
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        raise FormatError(f"{where}: nested more than {_DEEPEST} deep, or more than {_MOST_VALUES:,} values")
    if isinstance(value, Mapping):
        if not all(isinstance(name, str | int) for name in value):
            raise FormatError(f"{where}: expected names, got other keys")
        for inner in value.values():
            _require_tensors(inner, where, depth - 1, left)
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_tensors(inner, where, depth - 1, left)
    elif isinstance(value, torch.Tensor):
        _require_plain(value, where)
    elif not isinstance(value, _Scalar):
        raise FormatError(f"{where}: expected tensors, numbers and texts, got {type(value).__name__}")


def _require_plain(tensor: torch.Tensor, where: str) -> None:
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise FormatError(f"{where}: a tensor of shape {tuple(tensor.shape)} does not have so many numbers in the file")


def stored_bytes(value: Any) -> int:
    """Return how many bytes the tensors of a checkpoint have, which :func:`require_tensors` has passed."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return sum(map(stored_bytes, inner))
