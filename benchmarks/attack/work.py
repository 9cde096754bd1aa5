"""Commands that write, on a small buffer: what the scripts about disks and kills run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from rlbuffers_cli.main import cli

__all__ = ["Work", "left_behind", "make_works"]

_EPISODES, _STEPS = 30, 20
_PARTS = ("x-00001-of-00002.hdf5", "x-00002-of-00002.hdf5")
_EXPORTS = {
    "d4rl": "d.hdf5",
    "npz": "n.npz",
    "ogbench": "o.npz",
    "d3rlpy": "d3.h5",
    "tianshou": "t.hdf5",
    "robomimic": "robomimic.hdf5",
    "lerobot": "lerobot",
    "rlds": "rlds",
}


@dataclass(frozen=True)
class Work:
    """A command and what it writes.

    Attributes
    ----------
    name : str
        Such as "convert to .zarr".
    words : list of str or Path
        The command line without ``rlbuffers``.
    outputs : list of Path
        Files and folders that it makes, all in one folder that holds nothing else.
    """

    name: str
    words: list[str | Path]
    outputs: list[Path]


def make_works(folder: Path, *, episodes: int = _EPISODES) -> list[Work]:
    """Write the inputs and return the commands.

    Parameters
    ----------
    folder : Path
        Where inputs go, and outputs into ``out`` in it.
    episodes : int
        Of the inputs; more take longer.
    """
    rng, count = np.random.default_rng(0), episodes * _STEPS
    table = folder / "x.npz"
    ends = np.arange(count) % _STEPS == _STEPS - 1
    steps = rng.normal(size=(episodes, _STEPS + 1, 6)).astype(np.float32)
    np.savez(
        table,
        observations=steps[:, :-1].reshape(count, -1),
        actions=rng.uniform(-1, 1, (count, 2)).astype(np.float32),
        rewards=rng.normal(size=count).astype(np.float32),
        next_observations=steps[:, 1:].reshape(count, -1),
        terminals=ends,
        timeouts=np.zeros(count, bool),
    )
    buffer, out = folder / "x.hdf5", folder / "out"
    CliRunner().invoke(cli, ["convert", "npz", str(table), "-o", str(buffer)], catch_exceptions=False)
    made = [
        Work(f"convert to {suffix}", ["convert", "npz", table, "-o", out / f"b{suffix}"], [out / f"b{suffix}"])
        for suffix in (".hdf5", ".zarr", ".zarr.zip")
    ]
    made += [
        Work("merge", ["merge", buffer, buffer, "-o", out / "m.hdf5"], [out / "m.hdf5"]),
        Work(
            "subset",
            ["subset", buffer, "-o", out / "s.zarr", "--by", "episodes", "--size", "50%"],
            [out / "s.zarr"],
        ),
        Work("filter", ["filter", buffer, "-o", out / "f.hdf5", "--min-length", "2"], [out / "f.hdf5"]),
        Work("normalize", ["normalize", buffer, "-o", out / "n.zarr"], [out / "n.zarr"]),
        Work("repack", ["repack", buffer, "-o", out / "r.zarr.zip"], [out / "r.zarr.zip"]),
        Work("split", ["split", buffer, "--output-dir", out, "--parts", "2"], [out / name for name in _PARTS]),
    ]
    for name, target in _EXPORTS.items():
        made.append(Work(f"export to {name}", ["export", buffer, "--to", name, "-o", out / target], [out / target]))
    os.environ["MINARI_DATASETS_PATH"] = str(out)
    made += [
        Work("export to minari", ["export", buffer, "--to", "minari", "-o", "m-v0"], [out / "m-v0"]),
        Work("card", ["card", buffer, "-o", out / "README.md"], [out / "README.md"]),
        Work("report", ["report", buffer, "-o", out / "report.html"], [out / "report.html"]),
    ]
    return made


def left_behind(folder: Path, outputs: list[Path]) -> list[str]:
    """Return names in a folder beside those of the outputs."""
    names = {path.name for path in outputs}
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in names) if folder.exists() else []
