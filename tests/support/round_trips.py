"""Through the command line out of a buffer into another format, and back: what must hold for every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

import rlbuffers
from rlbuffers.reader import Buffer
from rlbuffers.schema import TIMEOUTS, next_name
from rlbuffers_cli.main import cli

# How the output of an export is read again: the words before its path.
AGAIN = {
    "d3rlpy": ["d3rlpy"],
    "d4rl": ["d4rl", "--file"],
    "lerobot": ["lerobot"],
    "minari": ["minari"],
    "npz": ["npz"],
    "ogbench": ["ogbench"],
    "rlds": ["tfds", "--dir"],
    "robomimic": ["robomimic"],
    "tianshou": ["tianshou"],
}
_SUFFIXES = {"lerobot": "", "npz": ".npz", "ogbench": ".npz", "rlds": ""}
_CORE_COLUMNS = ("actions", "rewards", "terminals")


def invoke(*words: object) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def assert_round_trip(path: Path, to: str, folder: Path) -> None:
    """Export a buffer and read it again: it is the same, or the export is refused in one line, or says what it lacks.

    Minari's datasets must be looked for in `folder`.
    """
    output = "test/again-v0" if to == "minari" else folder / f"out{_SUFFIXES.get(to, '.hdf5')}"
    result = invoke("export", path, "--to", to, "-o", output)
    if result.exit_code:
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        return
    again = folder / "again.hdf5"
    result_again = invoke("convert", *AGAIN[to], output, "-o", again, "--workers", 0)
    assert result_again.exit_code == 0, result_again.output
    assert_no_next_episode_is_looked_into(again)
    with rlbuffers.open(path) as first, rlbuffers.open(again) as second:
        _assert_core_is_equal(first, second, may_differ="left out" in result.stdout)


def assert_no_next_episode_is_looked_into(path: Path) -> None:
    """At a time limit, or where the recording stopped, the next observation is not the next episode's first one."""
    with rlbuffers.open(path) as buffer:
        if buffer.spec.layout != "episodes":
            return
        starts, lengths = (buffer.arrays[f"episodes/{name}"].all() for name in ("starts", "lengths"))
        ends = (starts + lengths - 1)[:-1]
        if not len(ends):
            return
        unknown = np.isin(ends, buffer.rows_without_next)
        rows = buffer.rows(ends)
        firsts = buffer.rows(starts[1:])
        same = np.ones(len(ends), bool)
        for name in buffer.spec.observation_names:
            different = rows[next_name(name)] != firsts[name]
            same &= ~different.reshape(len(ends), -1).any(axis=1)
        if TIMEOUTS in rows:
            same &= rows[TIMEOUTS] | ~rows["terminals"]
        assert not (same & ~unknown).any()


def _assert_core_is_equal(first: Buffer, second: Buffer, *, may_differ: bool) -> None:
    if len(first) != len(second):
        assert may_differ
        return
    before, after = first[:], second[:]
    if not may_differ:
        if TIMEOUTS not in before and TIMEOUTS in after:  # RLDS has both kinds of ends, or none
            assert not after.pop(TIMEOUTS).any()
        assert {name: rows.dtype for name, rows in after.items()} == {name: rows.dtype for name, rows in before.items()}
        np.testing.assert_array_equal(second.arrays["episodes/lengths"].all(), first.arrays["episodes/lengths"].all())
        np.testing.assert_array_equal(second.rows_without_next, first.rows_without_next)
    for name in _CORE_COLUMNS:
        np.testing.assert_array_equal(after[name].astype(before[name].dtype).reshape(before[name].shape), before[name])
    for name in first.spec.observation_names:
        if name not in after or after[name].shape != before[name].shape:
            assert may_differ
        elif first.spec.stack and may_differ:  # formats pad the stacks at an episode's start each in their way
            np.testing.assert_array_equal(after[name][:, -1], before[name][:, -1])
        else:
            np.testing.assert_array_equal(after[name], before[name])
