"""Where published files are kept on this machine, and how those that are not there are fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlbuffers.paths import DEFAULT_DATASET_DIR

__all__ = ["Downloads", "Fetch"]

# Fetches an address into a path, which exists only once the file is complete; size and SHA-256 if they are known.
Fetch = Callable[[str, Path, int | None, str | None], None]


def _fetch(url: str, path: Path, num_bytes: int | None, sha256: str | None) -> None:
    from rlbuffers.sources.download import download

    download(url, path, num_bytes=num_bytes, sha256=sha256)


@dataclass(frozen=True)
class Downloads:
    """The folder of published files.

    Parameters
    ----------
    folder : Path
        Where files are, and are downloaded to; ``~`` is expanded.
    fetch : callable
        What downloads one, without progress unless given.
    """

    folder: Path = DEFAULT_DATASET_DIR
    fetch: Fetch = _fetch

    def file(self, place: Path, url: str, *, num_bytes: int | None = None, sha256: str | None = None) -> Path:
        """Return the path of a file below the folder, after downloading it if it is not there.

        Raises
        ------
        DownloadError
            If it cannot be downloaded.
        """
        path = self.folder.expanduser() / place
        if not path.exists():
            self.fetch(url, path, num_bytes, sha256)
        return path
