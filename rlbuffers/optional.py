"""The one place that words a missing optional dependency."""

from __future__ import annotations

import importlib
from types import ModuleType

from rlbuffers.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, *, extra: str | None, purpose: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Parameters
    ----------
    module : str
        Name of the module to import, such as ``"ale_py"``.
    extra : str or None
        The extra of rlbuffers that installs it, such as ``"atari"``; None where it is installed by its own name, as
        the libraries are that buffers are handed to.
    purpose : str
        What needs it, as the beginning of a sentence: ``"Playing Atari games"``.

    Raises
    ------
    MissingDependencyError
        If the module, or one that it imports, is not installed, or does not fit what else is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        wanted = f"'rlbuffers[{extra}]'" if extra else missing.partition(".")[0]
        raise MissingDependencyError(f"{purpose} needs {missing}. Install it with: pip install {wanted}") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingDependencyError(
            f"{purpose} needs {module}, which is installed and does not work: {reason}"
        ) from error
