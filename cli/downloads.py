"""Downloads with a progress bar."""

from __future__ import annotations

from pathlib import Path

__all__ = ["download_unless_there"]


def download_unless_there(url: str, path: Path, *, num_bytes: int | None = None, sha256: str | None = None) -> None:
    """Fetch `url` into `path` unless it is there; see :func:`rlbuffers.sources.download.download`."""
    from rlbuffers.sources.download import download
    from rlbuffers_cli.console import progress_bar

    if path.exists():
        return
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
