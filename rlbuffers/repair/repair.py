"""Writing what is whole of a damaged buffer as a new one that says what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rlbuffers.conversion.convert import convert
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.hidden_paths import final_of
from rlbuffers.reader import Buffer
from rlbuffers.repair.damaged import DamagedBuffer, open_damaged
from rlbuffers.repair.interrupted import find_interrupted, is_hidden, open_interrupted
from rlbuffers.repair.losses import Loss
from rlbuffers.repair.planning import make_plan
from rlbuffers.repair.salvage_plan import SalvagePlan
from rlbuffers.repair.source import SalvageSource
from rlbuffers.stores import format_of
from rlbuffers.tally import Tally
from rlbuffers.writing.journal import interrupted_of

__all__ = ["RepairReport", "repair"]

_MOST_PROBLEMS = 10
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RepairReport:
    """What was found, and what was made of it.

    Parameters
    ----------
    path : str
        The damaged buffer, or what an interrupted writer left.
    unit : {"episodes", "rows"}
        What is kept as a whole or not at all.
    is_damaged : bool
        False if nothing is wrong with it; then nothing was written.
    is_interrupted : bool
        Whether its writer never finished.
    output : Path or None
        The new buffer; None if nothing was written.
    kept : Tally or None
        What it holds, read back; None if nothing was written.
    num_kept, num_lost : int
        Episodes or rows.
    num_rows_kept, num_rows_lost : int
        Transitions.
    lost_rows : str
        Ranges of the transitions that were lost, the ends included.
    losses : sequence of Loss
        By array.
    problems : sequence of str
        What is wrong beside the arrays.
    fingerprint : str
        Content hash of the new buffer; empty if nothing was written.
    buffer_bytes : int
        Its size on disk.
    seconds : float
        Wall time.
    remains : Path or None
        What an interrupted writer left, where it stands now.
    """

    path: str
    unit: str
    is_damaged: bool
    is_interrupted: bool
    output: Path | None
    kept: Tally | None
    num_kept: int
    num_lost: int
    num_rows_kept: int
    num_rows_lost: int
    lost_rows: str
    losses: tuple[Loss, ...]
    problems: tuple[str, ...]
    fingerprint: str
    buffer_bytes: int
    seconds: float
    remains: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        places = {name: None if place is None else str(place) for name, place in self._places().items()}
        return {**asdict(self), **places}

    def _places(self) -> dict[str, Path | None]:
        return {"output": self.output, "remains": self.remains}


def repair(
    path: str | Path,
    output: str | Path | None,
    *,
    overwrite: bool = False,
    without: Collection[str] = (),
    trust_metadata: bool = False,
    on_progress: OnProgress | None = None,
) -> RepairReport:
    """Check every chunk of a buffer and write everything that is whole into a new one.

    Memory is bounded by some blocks of 16 MB and some bytes a row. The damaged buffer is not changed.

    Parameters
    ----------
    path : str or Path
        The damaged buffer; or the name that an interrupted one would have got, or its partial file.
    output : str or Path or None
        The new one; None to find out what could be salvaged, and write nothing.
    overwrite : bool, default False
        Whether an existing output is replaced.
    without : collection of str
        Columns to leave out; see `rlbuffers.repair.columns.optional_columns`.
    trust_metadata : bool, default False
        Whether metadata that fail their checksum are taken as they are.
    on_progress : callable, optional
        Is given (what is done, amount done, amount in all).

    Raises
    ------
    BufferNotFoundError, FormatError, CorruptDataError
        If there is no buffer, or nothing of it can be salvaged; says what can be done.
    BufferExistsError, UsageError
        If the output is taken, or is what is read.
    BufferBusyError
        If a process is writing it now.
    """
    started = time.perf_counter()
    where = Path(path)
    tell = on_progress or (lambda what, done, total: None)
    if output is not None:
        _require_output(Path(output), where)
    damaged = _open(where, trust_metadata)
    damaged.check(lambda done, total: tell("Checking", done, total))
    problems = (*damaged.problems, *_problems_of_container(damaged), *_harmless(damaged))
    plan = make_plan(damaged, without)
    is_damaged = bool(problems or plan.losses or damaged.is_interrupted)
    kept, fingerprint, size = None, "", 0
    if output is not None and is_damaged:
        source = SalvageSource(damaged, plan, _facts(damaged, plan, problems, without))
        report = convert(
            source,
            output,
            overwrite=overwrite,
            on_progress=lambda done, total, count: tell("Writing", count, total or count),
        )
        kept, fingerprint, size = report.written, report.fingerprint, report.buffer_bytes
    return RepairReport(
        path=str(damaged.path),
        unit=_unit(plan),
        is_damaged=is_damaged,
        is_interrupted=damaged.is_interrupted,
        output=Path(output) if output is not None and is_damaged else None,
        kept=kept,
        num_kept=len(plan.kept),
        num_lost=plan.num_lost,
        num_rows_kept=plan.num_rows,
        num_rows_lost=plan.num_rows_lost,
        lost_rows=plan.lost_rows,
        losses=plan.losses,
        problems=problems,
        fingerprint=fingerprint,
        buffer_bytes=size,
        seconds=time.perf_counter() - started,
        remains=_remains(damaged) if damaged.is_interrupted else None,
    )


def _open(path: Path, trust_metadata: bool) -> DamagedBuffer:
    """Open a finished buffer, or what an interrupted writer of it left."""
    found = None if path.exists() and not is_hidden(path) else find_interrupted(path)
    if found is None:
        return open_damaged(path, trust_metadata=trust_metadata)
    try:  # its writer may have been killed between finishing it and giving it its name
        return replace(open_damaged(found), is_interrupted=True)
    except FormatError:
        return open_interrupted(found)


def _remains(damaged: DamagedBuffer) -> Path | None:
    """Return where the partial buffer is, which a writer of its own name has moved aside."""
    places = (damaged.path, interrupted_of(final_of(damaged.path)))
    return next((place for place in places if place.exists()), None)


def _require_output(output: Path, path: Path) -> None:
    format_of(output)
    if output.exists() and path.exists() and output.samefile(path):
        raise UsageError(f"{output}: is what is to be repaired; choose another name for the output")


def _problems_of_container(damaged: DamagedBuffer) -> list[str]:
    """Say why a finished buffer cannot be opened, or what contradicts itself in it, which may be beside its rows."""
    if damaged.is_interrupted:
        return []
    try:
        with Buffer(damaged.path) as buffer:
            return [*islice(buffer.container_problems(), _MOST_PROBLEMS)]
    except FormatError as error:
        return [" ".join(str(error).split()).removeprefix(f"{damaged.path}: ")]


def _harmless(damaged: DamagedBuffer) -> list[str]:
    """Say of which arrays every chunk was found although what tells where they are is damaged."""
    return [
        f"{name}: {array.problem}; every chunk was found all the same"
        for name, array in damaged.arrays.items()
        if array.problem and not array.num_bad_chunks
    ]


def _facts(
    damaged: DamagedBuffer, plan: SalvagePlan, problems: Collection[str], without: Collection[str]
) -> dict[str, Any]:
    """Say in the new buffer's metadata what it was made of and what was lost."""
    metadata = damaged.metadata
    unit = _unit(plan)
    warnings = [
        f"Salvaged from {'an interrupted' if damaged.is_interrupted else 'a damaged'} buffer: "
        f"{plan.num_lost:,} {unit} ({plan.num_rows_lost:,} transitions) were lost"
    ]
    left_out = [f"{loss.array}: {loss.problem}" for loss in plan.losses if loss.what == "the column"]
    parent = {
        "name": damaged.path.name,
        **{name: metadata[name] for name in ("fingerprint", "counts", "written_by", "derivation") if name in metadata},
    }
    return {
        "derivation": {
            "operation": "repair",
            "arguments": {"without": sorted(without)},
            "parents": [parent],
            "kept": {unit: len(plan.kept), "transitions": plan.num_rows},
            "lost": {unit: plan.num_lost, "transitions": plan.num_rows_lost, "rows": plan.lost_rows},
            "losses": [loss.to_json() for loss in plan.losses],
            "problems": list(problems),
        },
        "warnings": [*metadata.get("warnings", []), *warnings],
        "left_out": [*metadata.get("left_out", []), *left_out],
    }


def _unit(plan: SalvagePlan) -> str:
    return "episodes" if plan.spec.layout == "episodes" else "rows"
