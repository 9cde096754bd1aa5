"""Published datasets by name: which files a name stands for, where they are, and what reads them.

A name is ``FORMAT:NAME``, such as ``d4rl:halfcheetah-medium-v2``, ``rl-unplugged:Breakout/run_1/shard_1``,
``minari:D4RL/pen/human-v2`` or ``tfds:d4rl_mujoco_halfcheetah/v2-medium``. One file a format.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlbuffers.errors import UsageError
from rlbuffers.listing import listed, nearest
from rlbuffers.published.downloads import Downloads
from rlbuffers.published.known import KnownDataset

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source

__all__ = ["EXAMPLES", "Downloads", "KnownDataset", "datasets", "named_source"]

# Format to a name of it, for messages; the module of that name does the rest.
EXAMPLES = {
    "d4rl": "halfcheetah-medium-v2",
    "rl-unplugged": "Breakout/run_1/shard_1",
    "minari": "D4RL/pen/human-v2",
    "tfds": "d4rl_mujoco_halfcheetah/v2-medium",
}


def datasets(pattern: str | None = None) -> list[KnownDataset]:
    """List the published datasets that are known by name; nothing is asked of a server.

    Those of Minari and TensorFlow Datasets are found by name too, and are listed by these libraries.

    Parameters
    ----------
    pattern : str, optional
        Part of a name, or a pattern with ``*`` and ``?``, with the format or without; capitals make no difference.

    Returns
    -------
    list of KnownDataset
        In the order of the formats.

    Examples
    --------
    >>> import rlbuffers
    >>> [dataset.name for dataset in rlbuffers.datasets("d4rl:hopper-*-v2")][:2]
    ['d4rl:hopper-random-v2', 'd4rl:hopper-medium-v2']
    """
    wanted = (pattern or "*").lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    return [
        dataset
        for dataset in _all()
        if any(fnmatch.fnmatchcase(name.lower(), wanted) for name in (dataset.name, dataset.name.partition(":")[2]))
    ]


def _all() -> Iterator[KnownDataset]:
    for prefix in EXAMPLES:
        for dataset in _module(prefix).known():
            yield replace(dataset, name=f"{prefix}:{dataset.name}")


def named_source(name: str, downloads: Downloads | None = None) -> Source[Any]:
    """Return what reads a published dataset, after downloading what is not there.

    Parameters
    ----------
    name : str
        ``FORMAT:NAME``, see the module's docstring.
    downloads : Downloads, optional
        Where files are kept; ``~/.rl_unplugged/datasets`` by default.

    Raises
    ------
    UsageError
        If it is no such name.
    DownloadError, BufferNotFoundError, MissingDependencyError
        If it is not there and cannot be downloaded.
    """
    prefix, colon, rest = name.partition(":")
    if not colon or not rest or prefix not in EXAMPLES:
        examples = listed([f"{known}:{example}" for known, example in EXAMPLES.items()])
        hint = nearest(prefix, EXAMPLES) if colon else ""
        raise UsageError(
            f"{name!r} is not the name of a published dataset{hint}; names look like {examples}. A file is opened by "
            "its format's class in rlbuffers.sources"
        )
    return _module(prefix).source(rest, downloads or Downloads())  # type: ignore[no-any-return]


def _module(prefix: str) -> Any:
    return importlib.import_module(f"{__name__}.{prefix.replace('-', '_')}")
