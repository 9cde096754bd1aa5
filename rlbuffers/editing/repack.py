"""`repack`: the same content in another container, more tightly compressed, or cut into other chunks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rlbuffers.conversion.convert import convert
from rlbuffers.editing.derivation import BufferOrPath, EditReport, OnProgress, Parent, opened, require_output
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.tally import tally_of
from rlbuffers.writing.storage_options import StorageOptions

__all__ = ["repack"]


def repack(
    buffer: BufferOrPath,
    output: str | Path,
    *,
    storage: StorageOptions | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> EditReport:
    """Write the same content once more; the fingerprint stays the same.

    The metadata stay those of the buffer, but for ``written_by``, and ``storage``, which says what was chosen.

    Parameters
    ----------
    buffer : Buffer, str or Path
        What to write again.
    output : str or Path
        The new buffer; its name tells the container.
    storage : StorageOptions, optional
        Compression level and chunks; the defaults of the container unless given.
    overwrite : bool, default False
        Whether an existing buffer is replaced once the new one is whole.
    on_progress : callable, optional
        Is given (transitions so far, transitions in all).

    Raises
    ------
    UsageError
        If a number in `storage` cannot be obeyed.
    CorruptDataError
        If what was read has not the fingerprint that the buffer states.

    Examples
    --------
    >>> import rlbuffers
    >>> report = rlbuffers.repack("runs.hdf5", "small.zarr", storage=rlbuffers.StorageOptions(level=9))
    >>> rlbuffers.diff("runs.hdf5", "small.zarr").equal
    True
    """
    path = Path(output)
    with opened(buffer) as parent:
        require_output(path, [parent])
        source = BufferSelection(parent)
        chosen = {name: value for name, value in asdict(storage or StorageOptions()).items() if value is not None}
        read = Parent(str(parent.path), tally_of(parent), parent.fingerprint)
        report = convert(
            source,
            path,
            overwrite=overwrite,
            on_progress=None if on_progress is None else lambda done, total, count: on_progress(count, len(parent)),
            facts={"storage": chosen} if chosen else {},
            storage=storage,
            expected_fingerprint=parent.fingerprint,
        )
    return EditReport(
        "repack", report.path, [read], report.written, report.fingerprint, report.buffer_bytes, report.seconds
    )
