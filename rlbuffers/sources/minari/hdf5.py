"""The HDF5 payload of a Minari dataset: one group an episode in ``main_data.hdf5``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlbuffers.errors import FormatError
from rlbuffers.sources.hdf5_files import check_size, opened_hdf5

__all__ = ["HDF5Payload"]

Array = np.ndarray[Any, Any]
_STORABLE = "biuf"


class HDF5Payload:
    """Episodes by number. A context manager.

    Parameters
    ----------
    folder : Path
        The dataset's ``data`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.files = [folder / "main_data.hdf5"]
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
        return sum(name.startswith("episode_") for name in self._opened)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The file's own attributes: where datasets of Minari 0.4 keep what metadata.json says now."""
        return dict(self._opened.attrs)

    def facts(self, number: int) -> dict[str, Any]:
        """Return what is known of an episode: id, total_steps, seed, options."""
        return dict(self._group(number).attrs)

    def arrays(self, number: int, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], list[str]]:
        """Read an episode.

        Parameters
        ----------
        number : int
            Which episode.
        shapes : mapping of name to shape
            Unused here: HDF5 datasets know their shapes.

        Returns
        -------
        dict of name to array, or to a list of bytes for images that are files
        list of str
            Names of what is neither.
        """
        found: dict[str, Any] = {}
        others: list[str] = []

        def note(name: str, item: Any) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            check_size(item, self.files[0])
            if item.dtype.kind in _STORABLE and item.ndim:
                found[name] = item[:]
            elif h5py.check_vlen_dtype(item.dtype) == np.uint8:
                found[name] = [bytes(part) for part in item[:]]
            else:
                others.append(name)

        self._group(number).visititems(note)
        return found, others

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
