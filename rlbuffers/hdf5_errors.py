"""What h5py raises on a damaged file, in one place."""

from __future__ import annotations

__all__ = ["HDF5_ERRORS", "reason_of"]

HDF5_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    ValueError,
    TypeError,
    AttributeError,
    SystemError,
)


def reason_of(error: Exception) -> str:
    """Return what the library says of an error, in one line."""
    lines = str(error).strip("'\"").splitlines()
    return lines[0] if lines else repr(error)
