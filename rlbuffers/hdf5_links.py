"""Names in an HDF5 file and what they lead to: hard, soft and external links, virtual datasets, external storage.

h5py's ``visititems`` sees each object once, under one of its names, and no soft links: a column that is a link is not
among what it shows. Here every name is seen. What leads out of the file is found before any of it is opened: HDF5
opens other files by itself as soon as such a name is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

from rlbuffers.errors import FormatError
from rlbuffers.local_inputs import kind_of_file, refuse_special

__all__ = [
    "STORED_IN",
    "SUPERBLOCK_BYTES",
    "is_other_file",
    "leads_inside",
    "leads_outside",
    "linked_file",
    "names_below",
    "refuse_outside",
    "refuse_what_is_outside",
    "require_closed",
    "shown",
]

# One group under very many names makes a small file list without end.
_MOST_NAMES = 64
_SELF = "."
# HDF5 File Format Specification 3.0, section II.A: version at byte 8, consistency flags at byte 11 of versions 2 and 3.
_VERSION_BYTE, _FLAGS_BYTE = 8, 11
_FLAGGED_VERSIONS = (2, 3)
SUPERBLOCK_BYTES = 12
STORED_IN = "stored in"


def require_closed(first: bytes, where: object) -> None:
    """Refuse a file that is open for writing.

    Parameters
    ----------
    first : bytes
        The file's first `SUPERBLOCK_BYTES` bytes.
    where : object
        The file, for the message.

    Raises
    ------
    FormatError
        If its consistency flags are set.
    """
    if len(first) > _FLAGS_BYTE and first[_VERSION_BYTE] in _FLAGGED_VERSIONS and first[_FLAGS_BYTE]:
        raise FormatError(
            f"{where}: open for writing, or its writer was killed (HDF5's consistency flag is set). Close the program "
            "that writes it; if it was killed, `rlbuffers repair FILE -o NEW` salvages a buffer, and `h5clear -s FILE` "
            "clears the flag of any other file (try that on a copy)"
        )


def leads_inside(group: h5py.Group, name: str) -> bool:
    """Whether a name is there and leads, through hard links alone, to something in the file."""
    parts = name.split("/")
    places = ["/".join(parts[: count + 1]).encode() for count in range(len(parts))]
    links = group.id.links
    return all(links.exists(place) and links.get_info(place).type == h5py.h5l.TYPE_HARD for place in places)


def names_below(group: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset | None]]:
    """Yield every name below a group with what it leads to, in the order of the names.

    Soft links, and external ones if they are there (see `refuse_what_is_outside`), are followed. What has several
    names is seen under each of them. A name that leads nowhere, or back to a group that holds it, comes with None.

    Raises
    ------
    FormatError
        If a name is not UTF-8, or a group has more names than a file that means well gives it.
    """
    yield from _below(group, "", (_identity(group),), Counter())


def _below(
    group: h5py.Group, prefix: str, holders: tuple[tuple[int, int], ...], seen: Counter[tuple[int, int]]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset | None]]:
    for name in sorted(_texts(group)):
        path = f"{prefix}{name}"
        item = _item(group, name)
        if not isinstance(item, h5py.Group):
            if item is None or isinstance(item, h5py.Dataset):
                yield path, item
            continue
        identity = _identity(item)
        if identity in holders:
            yield path, None
            continue
        seen[identity] += 1
        if seen[identity] > _MOST_NAMES:
            raise FormatError(f"{group.file.filename}: the group {item.name!r} has more than {_MOST_NAMES} names")
        yield path, item
        yield from _below(item, f"{path}/", (*holders, identity), seen)


def _item(group: h5py.Group, name: str) -> Any:
    """Return what a name leads to, or None."""
    try:
        return group.get(name)
    except RuntimeError:  # of links to each other
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_SOFT:
            raise
        return None


def _texts(group: h5py.Group) -> Iterator[str]:
    for name in group:
        if isinstance(name, bytes):
            raise FormatError(
                f"{group.file.filename}: expected names of arrays in UTF-8, found {name!r}; the file may be damaged"
            )
        yield name


def _identity(group: h5py.Group) -> tuple[int, int]:
    info = h5py.h5o.get_info(group.id)
    return info.fileno, info.addr


def refuse_what_is_outside(file: h5py.File, where: object, *, is_source: bool = True) -> None:
    """Refuse a file in which anything leads to another file; nothing outside is opened to tell.

    Parameters
    ----------
    file : h5py.File
        The open file.
    where : object
        Its name, for messages.
    is_source : bool, default True
        Whether it is read by `rlbuffers convert`, which has an option to follow links.

    Raises
    ------
    FormatError
        If there is an external link, a dataset that is stored in other files, or a virtual one of other files.
    """
    folder = Path(str(file.filename)).parent
    for name, what, other in leads_outside(file):
        refuse_outside(folder, where, (name, what, other), is_source=is_source)


def refuse_outside(folder: Path, where: object, lead: tuple[str, str, str], *, is_source: bool = True) -> None:
    """Refuse a file for something in it that leads to another one; see `refuse_what_is_outside`.

    Parameters
    ----------
    folder : Path
        Where the file is.
    where, is_source
        As for `refuse_what_is_outside`.
    lead : (str, str, str)
        Its name, what it is, the other file.

    Raises
    ------
    FormatError
        Always.
    """
    name, what, other = lead
    gone = "" if _beside(folder, other) else ", which is not there"
    option = "pass --follow-links, or " if is_source else ""
    raise FormatError(
        f"{where}: {name!r} is {what} {other!r}{gone}; other files are not followed. If you trust it, {option}copy "
        "the data into one file"
    )


def linked_file(folder: Path, where: object, lead: tuple[str, str, str]) -> Path:
    """Return the file that something in another one leads to.

    HDF5 shows a virtual dataset whose file is gone as fill values, without a word.

    Parameters
    ----------
    folder, where, lead
        As for `refuse_outside`.

    Raises
    ------
    FormatError
        If there is no such file, or it is not an ordinary one.
    """
    name, what, other = lead
    places = _beside(folder, other)
    if not places:
        raise FormatError(f"{where}: {name!r} is {what} {other!r}, which is not there")
    for place in places:  # whichever it is, HDF5 opens it
        refuse_special(place)
    return places[0]


def leads_outside(
    file: h5py.File,
    on_item: Callable[[str], bool] | None = None,
    on_object: Callable[[str, Any], None] | None = None,
) -> Iterator[tuple[str, str, str]]:
    """Yield (name, what it is, other file) of all that leads out of a file; nothing outside is opened.

    Parameters
    ----------
    file : h5py.File
        The open file.
    on_item : callable, optional
        Is given the name of each link and object before it is looked at. It returns True to end the walk; it must not
        raise, of which h5py makes a SystemError.
    on_object : callable, optional
        Is given the name and the identifier of each object; it must not raise.
    """
    found: list[tuple[str, str, str]] = []
    tell = on_item or (lambda name: False)
    links = file.id.links

    def look_at_link(name: bytes, info: Any) -> bool | None:  # h5py's own walk stumbles over names that are no text
        if tell(shown(name)):
            return True
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            found.append((shown(name), "an external link to", shown(links.get_val(name)[0])))
        return None

    def look_at_object(name: bytes) -> bool | None:
        text = shown(name)
        if tell(text):
            return True
        opened = h5py.h5o.open(file.id, name)
        if isinstance(opened, h5py.h5d.DatasetID):
            found.extend((text, what, other) for what, other in _stored_outside(opened))
        if on_object is not None:
            on_object(text, opened)
        return None

    links.visit(look_at_link, info=True)
    yield from found
    found.clear()
    h5py.h5o.visit(file.id, look_at_object)  # without h5py's objects, which cost as much as reading short datasets
    yield from found


def _stored_outside(dataset: Any) -> Iterator[tuple[str, str]]:
    created = dataset.get_create_plist()
    layout = created.get_layout()
    if layout == h5py.h5d.CONTIGUOUS:
        for number in range(created.get_external_count()):
            yield STORED_IN, Path(created.get_external(number)[0].decode(errors="replace")).as_posix()
    elif layout == h5py.h5d.VIRTUAL:
        virtual = h5py.Dataset(dataset)
        for source in virtual.virtual_sources():
            if is_other_file(source.file_name, virtual):
                yield "a virtual dataset of", source.file_name


def is_other_file(name: str, dataset: h5py.Dataset) -> bool:
    """Whether the file that a virtual dataset names is another one than its own."""
    return name not in (_SELF, dataset.file.filename)


def _beside(folder: Path, other: str) -> list[Path]:
    """Return where HDF5 may find another file that a file names: as it is said, or beside the file."""
    with suppress(OSError, ValueError):  # of names that cannot be those of files
        places = dict.fromkeys((folder / other, Path(other), folder / Path(other).name))
        return [place for place in places if kind_of_file(place)]
    return []


def shown(name: str | bytes) -> str:
    """Return a name as text; h5py gives bytes where it is not UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name
