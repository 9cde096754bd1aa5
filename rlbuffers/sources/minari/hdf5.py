"""The HDF5 payload of a Minari dataset: one group an episode in ``main_data.hdf5``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.hdf5_links import names_below
from rlbuffers.local_inputs import require_inside
from rlbuffers.schema import is_observation
from rlbuffers.sources.hdf5_files import WrittenChunks, check_size, opened_hdf5
from rlbuffers.sources.hdf5_rows import rows_of
from rlbuffers.sources.minari.places import HDF5_FILE
from rlbuffers.sources.minari.stored import MAX_ITEM_BYTES, NEEDED, STORABLE, Rows, Shapes, Stored

__all__ = ["HDF5Payload"]

_JPEG_MAGIC = (0xFF, 0xD8, 0xFF)


class HDF5Payload:
    """Episodes by number, see `Payload`.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.files = [require_inside(folder, folder / HDF5_FILE)]
        self._written = WrittenChunks(self.files[0])
        self._stack = ExitStack()
        self._file: h5py.File | None = None

    def __enter__(self) -> HDF5Payload:
        self._file = self._stack.enter_context(opened_hdf5(self.files[0]))
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    @property
    def num_episodes(self) -> int:
        """Number of episodes in the file."""
        return sum(_text(name).startswith("episode_") for name in self._opened)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The file's own attributes."""
        return self._attributes(self._opened)

    def facts(self, number: int) -> dict[str, Any]:
        """Return the attributes of an episode's group."""
        return self._attributes(self._group(number))

    def stored(self, number: int, shapes: Shapes) -> dict[str, Stored]:
        """Describe the arrays of an episode, under every name; a name that leads to nothing is kept as no array."""
        found: dict[str, Stored] = {}
        with self._translated():
            for name, item in names_below(self._group(number)):
                if isinstance(item, h5py.Dataset):
                    found[name] = self._described(item, shapes.get(name))
                    self._written.look(item, name, is_needed=name in NEEDED or is_observation(name))
                elif item is None:
                    found[name] = Stored("other")
        return found

    def warnings(self) -> list[str]:
        """Say what was never written, and refuse a dataset without most of what is needed."""
        self._written.require()
        return self._written.warnings

    def read(self, number: int, names: Sequence[str], shapes: Shapes) -> dict[str, Rows]:
        """Read arrays of an episode."""
        group = self._group(number)
        return {name: self._rows(group[name], shapes.get(name)) for name in names}

    def _attributes(self, group: h5py.Group) -> dict[str, Any]:
        with self._translated():
            return {_text(name): _plain(value) for name, value in group.attrs.items()}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate what h5py raises, beyond what `opened_hdf5` knows, on a type that makes no sense."""
        try:
            yield
        except RlbuffersError:
            raise
        except (ValueError, TypeError) as error:
            reason = (str(error) or repr(error)).splitlines()[0]
            raise CorruptDataError(f"{self.files[0]}: damaged: {reason}. Fetch the file again") from error

    def _described(self, item: h5py.Dataset, shape: tuple[int, ...] | None) -> Stored:
        found, dtype = item.shape, item.dtype  # h5py asks the library each time
        if not found:  # single values, and None for nothing at all
            return Stored("other")
        if _is_files(dtype, found):
            return Stored("files", found)
        if dtype.kind not in STORABLE or dtype.itemsize > MAX_ITEM_BYTES:
            return Stored("other")
        if self._is_files_of_one_size(item, dtype, found, shape):
            return Stored("files", found[:1])
        return Stored("numbers", found, dtype.newbyteorder("="))

    def _is_files_of_one_size(
        self, item: h5py.Dataset, dtype: np.dtype[Any], found: tuple[int, ...], shape: tuple[int, ...] | None
    ) -> bool:
        """Whether rows of bytes are JPEG files that happen to have one length."""
        width = len(_JPEG_MAGIC)
        if dtype != np.uint8 or len(found) != 2 or found[1] <= width or found[1:] == shape:
            return False
        check_size(item, self.files[0])
        begins = (rows_of(item, 0, count)[:, :width] for count in (1, len(item)))  # most are not, as the first row says
        return len(item) > 0 and all((begin == _JPEG_MAGIC).all() for begin in begins)

    def _rows(self, item: h5py.Dataset, shape: tuple[int, ...] | None) -> Rows:
        check_size(item, self.files[0])
        stored, rows = self._described(item, shape), rows_of(item)
        if stored.kind == "files":
            return [bytes(row) for row in rows]
        return np.asarray(rows, stored.dtype)

    @property
    def _opened(self) -> h5py.File:
        if self._file is None:
            raise FormatError(f"{self.files[0]}: not open")
        return self._file

    def _group(self, number: int) -> h5py.Group:
        group = self._opened.get(f"episode_{number}")
        if not isinstance(group, h5py.Group):
            raise FormatError(f"{self.files[0]}: expected a group 'episode_{number}', which is missing")
        return group


def _is_files(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    kind = h5py.check_vlen_dtype(dtype)
    return len(shape) == 1 and kind is not None and bool(kind == np.uint8)


def _text(name: str | bytes) -> str:
    """Return a name as text; h5py gives bytes where it is no UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _plain(value: Any) -> Any:
    """Turn an HDF5 attribute into what JSON would give."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [_plain(item) for item in value.ravel().tolist()]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
