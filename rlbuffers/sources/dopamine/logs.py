"""Dopamine replay logs, such as the DQN Replay Dataset: gzipped ring buffers of single frames, in time order.

Format: ``circular_replay_buffer.py`` of google/dopamine, dumped by ``logged_replay_buffer.py`` of
google-research/batch_rl. ``checkpoints.py`` knows the files, ``links.py`` how one follows another,
``cuts.py`` where episodes begin and end. What was seen after an episode's last action was never stored.

The files are read twice: first all, for the places of episodes; then the frames again, an episode at
a time. Memory is bounded by the longest episode, eighteen bytes a row of two checkpoints, and two bytes
a row of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlbuffers.episode import Episode
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.listing import listed
from rlbuffers.reader_versions import source_facts
from rlbuffers.schema import ACTIONS, FRAMES, OBSERVATIONS, REWARDS, TERMINALS, TIMEOUTS, BufferSpec, ColumnSpec
from rlbuffers.sources.base import RowSource
from rlbuffers.sources.dopamine.checkpoints import Checkpoint, find_checkpoints, numbers_in
from rlbuffers.sources.dopamine.cuts import Cut, CutCounts
from rlbuffers.sources.dopamine.links import Link
from rlbuffers.sources.dopamine.rows import Chain, ChainRows, find_chains
from rlbuffers.sources.dqn_runs import (
    BEHAVIOR,
    CITATION,
    DQN_REPLAY_GAMES,
    MAX_EPISODE_BYTES,
    STEP_LIMIT,
    environment_facts,
)
from rlbuffers.sources.rl_unplugged.games import check_game
from rlbuffers.tally import Tally

__all__ = ["DopamineSource"]

Array = np.ndarray[Any, Any]
_FOLDER = "replay_logs"
_NOTES = [
    "Rows of zeros before an episode, which Dopamine stores so that stacks can be read off the log, are no steps; "
    "zeros pad the first stacks.",
    "timeouts were rebuilt: the padding of the next episode follows exactly the step limit, and no terminal. A log "
    "of before 2021 stores such a cut as terminal.",
    "What was seen after an episode's last action was never stored (episodes/final_known).",
    "An episode whose beginning or end lies outside the converted checkpoints has episodes/whole False.",
]


class DopamineSource(RowSource[Episode]):
    """Episodes of one or more checkpoints of a run, in time order.

    Parameters
    ----------
    replay_logs : str or Path
        The folder with the files, or the one that holds it as ``replay_logs``.
    checkpoint : int or sequence of int, optional
        Which checkpoints; all by default. Rows that a checkpoint has in common with the one before it are
        taken once. Episodes that go on from one to the next are whole where the files show that nothing is
        missing between.
    stack : int, default 4
        Frames in an observation; the first ones of an episode are padded with zeros.
    game : str, optional
        One of the games of DQN Replay; tells the number of actions. By default the folder's name, as
        in ``Breakout/1/replay_logs``, if it is one of them.
    step_limit : int, default 27,000
        Steps after which an episode was cut.
    facts : mapping, optional
        More facts for ``source`` in the metadata.

    Raises
    ------
    BufferNotFoundError, FormatError, UsageError
        If a file is missing or no such array, or there is no such checkpoint, game or stack.
    """

    def __init__(
        self,
        replay_logs: str | Path,
        checkpoint: int | Sequence[int] | None = None,
        *,
        stack: int = 4,
        game: str | None = None,
        step_limit: int = STEP_LIMIT,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value in (("stack", stack), ("step limit", step_limit)):
            if value < 1:
                raise UsageError(f"{name} {value}: expected at least 1")
        inner = Path(replay_logs) / _FOLDER
        self.folder = inner if inner.is_dir() else Path(replay_logs)
        self.run_id, named = _run_of(self.folder)
        self.game = check_game(game, DQN_REPLAY_GAMES, "DQN Replay") if game is not None else named
        numbers = [checkpoint] if isinstance(checkpoint, int) else checkpoint
        self.checkpoints = find_checkpoints(self.folder, numbers)
        _require_alike(self.checkpoints)
        self._stack = stack
        self._facts = {**({} if self.run_id is None else {"run_id": self.run_id}), **(facts or {})}
        self._files: list[dict[str, Any]] = []
        self._links: list[Link] = []
        self._counts = CutCounts(step_limit)
        self._reward_sum = 0.0
        self._bytes_read = 0

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def spec(self) -> BufferSpec:
        """Episodes of stacked frames; each says in which checkpoint it begins."""
        first = self.checkpoints[0]
        discrete = {"type": "discrete", "n": DQN_REPLAY_GAMES[self.game]} if self.game else None
        clipped = {"type": "box", "low": -1.0, "high": 1.0} if self.game else None
        pixels = {"type": "box", "low": 0, "high": 255}
        return BufferSpec(
            layout="episodes",
            stack=self._stack,
            columns=[
                ColumnSpec(OBSERVATIONS, np.dtype(np.uint8), (self._stack, *first.size), pixels),
                ColumnSpec(ACTIONS, first.action_dtype, (), discrete),
                ColumnSpec(REWARDS, first.reward_dtype, (), clipped),
                ColumnSpec(TERMINALS, np.dtype(np.bool_)),
                ColumnSpec(TIMEOUTS, np.dtype(np.bool_)),
            ],
            episode_columns=[ColumnSpec("checkpoint_idx", np.dtype(np.int64))],
        )

    def pieces(self) -> Iterator[Episode]:
        """Look at all rows, then yield the episodes."""
        chains, self._links, self._files = find_chains(self.checkpoints, self._note)
        for chain in chains:
            rows = ChainRows(chain, self._note)
            self._reward_sum += chain.reward_sum
            terminal, zero = np.concatenate(chain.terminals), np.concatenate(chain.zeros)
            for cut in self._counts.cuts_of(terminal, zero, from_start=chain.from_start):
                self._check_length(chain, cut)
                rows.skip_to(cut.start)
                yield self._episode(rows, chain, cut)

    def _check_length(self, chain: Chain, cut: Cut) -> None:
        size = self.checkpoints[0].size
        if (cut.stop - cut.start) * math.prod(size) > MAX_EPISODE_BYTES:
            raise FormatError(
                f"{self.folder}: an episode that begins in checkpoint {chain.epoch_of(cut.start)} has "
                f"{cut.stop - cut.start:,} steps, expected at most {MAX_EPISODE_BYTES // math.prod(size):,}; "
                "is this a log whose terminals are missing?"
            )

    def _episode(self, rows: ChainRows, chain: Chain, cut: Cut) -> Episode:
        frames, actions, rewards = rows.take(cut.stop - cut.start, self._stack - 1)
        is_last = np.arange(len(rewards)) == len(rewards) - 1
        columns = {
            ACTIONS: actions,
            REWARDS: rewards,
            TERMINALS: is_last & (cut.end == "terminal"),
            TIMEOUTS: is_last & (cut.end == "limit"),
        }
        facts = {"checkpoint_idx": chain.epoch_of(cut.start)}
        return Episode(columns, {FRAMES: frames}, facts, whole=cut.begins and cut.end != "cut")

    def _note(self, count: int) -> None:
        self._bytes_read += count

    def tally(self) -> Tally:
        """Count rows that are no padding, and sum the stored rewards."""
        return Tally(self._counts.episodes, self._counts.steps, self._reward_sum)

    @property
    def total(self) -> int:
        """Bytes of frames to read; those of a wrapped ring are read once more."""
        return 2 * sum(checkpoint.path("observation").stat().st_size for checkpoint in self.checkpoints)

    @property
    def done(self) -> int:
        """Bytes of frames read so far."""
        return min(self._bytes_read, self.total)

    def metadata(self) -> dict[str, Any]:
        """Describe the logs and what was measured on them."""
        known = {"id": self.game, "suite": "DQN Replay", **environment_facts(self._stack)} if self.game else {}
        counters = [
            {"number": checkpoint.number, "capacity": checkpoint.capacity, "add_count": checkpoint.add_count}
            for checkpoint in self.checkpoints
        ]
        return {
            "environment": known,
            "behavior_policy": {"name": BEHAVIOR, "epsilon": "unknown"} if self.game else {},
            "source": source_facts("dopamine", files=self._files, checkpoints=counters, **self._facts),
            "measurements": {
                "joined_checkpoints": sum(link.is_joined for link in self._links),
                "repeated_rows": sum(link.repeated for link in self._links),
                **self._counts.to_json(),
            },
            "warnings": [*self._link_warnings(), *self._counts.warnings()],
            "left_out": [
                *self._repeated(),
                "invalid_range of every checkpoint, which follows from add_count",
                *(text for checkpoint in self.checkpoints for text in self._left_out_of(checkpoint)),
            ],
            "license": "not stated by the publisher (the code beside the data is Apache-2.0)" if self.game else "",
            "citation": CITATION if self.game else "",
            "notes": _NOTES,
        }

    def _link_warnings(self) -> list[str]:
        """Say where checkpoints do not follow each other, except where others were left out that stand between."""
        there = numbers_in(self.folder)
        is_chosen = {link: there.index(link.after.number) - there.index(link.before.number) > 1 for link in self._links}
        shown = [link for link in self._links if link.kind == "differs" or not is_chosen[link]]
        return [text for link in shown if (text := link.warning())]

    def _repeated(self) -> list[str]:
        """Say how many rows of which checkpoints were in the one before."""
        repeated = {link.after.number: link.repeated for link in self._links if link.repeated}
        if not repeated:
            return []
        each = listed(f"{rows:,} of checkpoint {number}" for number, rows in repeated.items())
        return [f"{sum(repeated.values()):,} repeated rows, which the checkpoint before holds too: {each}"]

    def _left_out_of(self, checkpoint: Checkpoint) -> list[str]:
        """Name what of a checkpoint is not in the buffer, and not in the checkpoint before."""
        number, last = checkpoint.number, checkpoint.capacity - 1
        kind = next((link.kind for link in self._links if link.after is checkpoint), None)
        texts = []
        # The last row of a final dump is the last one of the checkpoint before.
        stop = last if kind == "final" else checkpoint.capacity
        if checkpoint.add_count < stop:
            rows = f"row {last:,}" if checkpoint.add_count == last else f"rows {checkpoint.add_count:,} to {stop - 1:,}"
            texts.append(f"checkpoint {number}: {rows}, not written in this dump (its add_count says so)")
        elif checkpoint.ends_before_last_row and kind not in ("goes on", "final"):
            texts.append(
                f"checkpoint {number}: row {last:,}, the last one of checkpoint {number - 1}; convert both to have it"
            )
        texts += [f"checkpoint {number}: {name}, which is not read" for name in checkpoint.other_files()]
        return texts


def _run_of(folder: Path) -> tuple[int | None, str | None]:
    """Return run and game from a path such as ``Breakout/1/replay_logs``, as far as it is one."""
    parts = folder.resolve().parts[-3:]
    if len(parts) < 3 or parts[2] != _FOLDER or not parts[1].isdecimal() or parts[0] not in DQN_REPLAY_GAMES:
        return None, None
    return int(parts[1]), parts[0]


def _require_alike(checkpoints: Sequence[Checkpoint]) -> None:
    first = checkpoints[0]
    for other in checkpoints[1:]:
        for what in ("size", "action_dtype", "reward_dtype"):
            if getattr(first, what) != getattr(other, what):
                raise FormatError(
                    f"{other.path('observation')}: {what.replace('_', ' ')} {getattr(other, what)}, unlike "
                    f"{getattr(first, what)} in checkpoint {first.number}; convert them apart"
                )
