"""What is known of a published dataset before it is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KnownDataset"]


@dataclass(frozen=True)
class KnownDataset:
    """One line of the list of published datasets.

    Parameters
    ----------
    name : str
        What `rlbuffers.convert` takes, ``FORMAT:NAME``.
    num_files : int
        In how many files it is published; a name of RL Unplugged takes ``/shard_N`` after it.
    num_bytes : int or None
        Of all files, if it is known.
    about : str
        Suite or family, and what made the data.
    """

    name: str
    num_files: int
    num_bytes: int | None
    about: str
