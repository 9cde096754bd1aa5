"""`rlbuffers convert npz`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlbuffers_cli.conversions import (
    OutputOptions,
    files_argument,
    map_option,
    names_of_pairs,
    output_options,
    run_conversion,
    terminals_option,
)

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source
    from rlbuffers.sources.flat_source import TerminalMeaning

__all__ = ["command"]


@click.command("npz")
@files_argument("FILE_OR_DIR...")
@map_option("my_r=rewards")
@terminals_option
@output_options
def command(
    paths: tuple[Path, ...], pairs: tuple[str, ...], terminals: TerminalMeaning | None, output: OutputOptions
) -> None:
    """NumPy archives of flat arrays, with the D4RL names or others that are usual.

    Expected are observations (or observations/KEY), actions, rewards and terminals; timeouts, next_observations and
    anything else of that length are kept. Usual names (obs, next_obs, act, rew, done, terminated, masks, ...) are
    understood, others are named with --map. Archives of ExORL, OGBench, imitation and Stable Baselines are recognized.
    A directory stands for the .npz files in it. Several files become one buffer.
    """
    from rlbuffers.sources.files import files_in

    names = names_of_pairs(pairs)
    target = output.path(Path("npz") / paths[0].stem)
    sources = [_source(path, names, terminals) for path in files_in(paths, (".npz",))]
    run_conversion(sources, target, output, title=paths[0].name)


def _source(path: Path, names: dict[str, str], terminals: TerminalMeaning | None) -> Source[Any]:
    """Return the source for what an archive is; several libraries write such ones, each in its own way."""
    from rlbuffers.errors import UsageError
    from rlbuffers.sources.recognize import recognized

    found = recognized(path)
    if terminals is not None and found in ("imitation", "exorl", "ogbench", "stable-baselines"):
        raise UsageError(f"{path}: --terminals does not apply: an archive of {found} says itself how episodes end")
    if found == "imitation" and not names:
        from rlbuffers.sources.imitation import ImitationSource

        return ImitationSource(path)
    if found == "exorl" and not names:
        from rlbuffers.sources.exorl import ExORLSource

        return ExORLSource([path])
    if found == "ogbench":
        from rlbuffers.sources.ogbench import OGBenchSource

        return OGBenchSource(path, names)
    if found == "stable-baselines":
        from rlbuffers.sources.stable_baselines import StableBaselinesSource

        return StableBaselinesSource(path, names)
    from rlbuffers.sources.npz import NpzSource

    return NpzSource(path, names, terminals=terminals)
