"""Downloads with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlbuffers.published.downloads import Downloads

__all__ = ["downloads_to"]


def downloads_to(folder: Path) -> Downloads:
    """Return what downloads into a folder and shows how far it is."""
    from rlbuffers.published.downloads import Downloads

    return Downloads(folder, _download)


def _download(url: str, path: Path, num_bytes: int | None, sha256: str | None) -> None:
    from rlbuffers.sources.download import download
    from rlbuffers_cli.console import progress_bar

    with progress_bar() as progress:
        progress.console.print(f"{url} -> {path}", soft_wrap=True)
        bar = progress.add_task("Downloading", total=None)
        download(
            url,
            path,
            lambda done, total: progress.update(bar, completed=done, total=total, count=done),
            num_bytes=num_bytes,
            sha256=sha256,
        )
