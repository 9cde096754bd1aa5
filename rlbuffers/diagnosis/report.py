"""The diagnosis: core, extras, what each enables, and what is wrong with a remedy."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from packaging.specifiers import SpecifierSet

from rlbuffers.diagnosis.machine import available_cores, machine_facts
from rlbuffers.diagnosis.probe import Outcome, import_modules, run_python
from rlbuffers.diagnosis.requirements import CORE, Need, needs

__all__ = ["Diagnosis", "GroupState", "diagnose"]

State = Literal["works", "missing", "incomplete", "broken"]
_SELF_TEST = ["-m", "rlbuffers.diagnosis.self_test"]
_TORCH = (
    "import torch\n"
    "device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'CPU'\n"
    "print(f'torch {torch.__version__} on {device}, {torch.get_num_threads()} threads')"
)
_COMMANDS = {
    "train": ["train", "generate", "Buffer.to_torch_dataset()"],
    "atari": ["Atari games in train and generate"],
    "mujoco": ["HalfCheetah, Hopper, Walker2d, ... in train and generate"],
    "video": ["evaluate --video"],
    "onnx": ["export-policy -o policy.onnx"],
}


@dataclass(frozen=True)
class GroupState:
    """The core or an extra.

    Parameters
    ----------
    name : str
        ``core``, or the extra's name.
    state : str
        ``missing``: nothing of it is installed beyond what others need; ``incomplete``: some is.
    needs : sequence of Need
        Its packages.
    enables : sequence of str
        What works with it.
    problems : sequence of str
        What is wrong, each with a remedy; empty unless `state` is ``broken``.
    """

    name: str
    state: State
    needs: Sequence[Need]
    enables: Sequence[str]
    problems: Sequence[str]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Parameters
    ----------
    version : str
        Of rlbuffers.
    machine : mapping
        Python, platform, cores, RAM, in words.
    groups : sequence of GroupState
        The core and each extra.
    torch : str
        Its version and device; empty without it.
    decoders : mapping
        What decodes each codec.
    problems : sequence of str
        What is wrong, each with a remedy.
    """

    version: str
    machine: Mapping[str, str]
    groups: Sequence[GroupState]
    torch: str
    decoders: Mapping[str, str]
    problems: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether the core works and nothing that is installed is broken."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {**asdict(self), "ok": self.ok}


def diagnose() -> Diagnosis:
    """Look at the machine and the packages, import each group and try the core, each in its own process."""
    wanted = needs()
    with ThreadPoolExecutor(max(int(available_cores()), 1)) as pool:
        tested = pool.submit(run_python, _SELF_TEST)
        has_torch = any(need.name == "torch" and need.installed for group in wanted.values() for need in group)
        torch = pool.submit(run_python, ["-c", _TORCH if has_torch else ""])
        imported = {name: pool.submit(_problems, name, group) for name, group in wanted.items()}
        self_test, problems = tested.result(), {name: found.result() for name, found in imported.items()}
    told = json.loads(self_test.output) if not self_test.problem else {"enables": {}, "decoders": {}}
    if self_test.problem and not problems[CORE]:
        problems[CORE].append(f"the core does not work: {self_test.problem}")
    groups = [
        _group(name, group, [*_COMMANDS.get(name, []), *told["enables"].get(name, [])], problems[name])
        for name, group in wanted.items()
    ]
    every = [*_python_problem(), *(problem for group in groups for problem in group.problems)]
    version = importlib.metadata.version("rlbuffers")
    return Diagnosis(
        version=version,
        machine=machine_facts(),
        groups=groups,
        torch=torch.result().output.strip(),
        decoders=told["decoders"],
        problems=list(dict.fromkeys(every)),
    )


def _group(name: str, group: Sequence[Need], enables: Sequence[str], problems: list[str]) -> GroupState:
    state: State = "works"
    absent = [need for need in group if need.installed is None]
    if problems:
        state = "broken"
    elif absent:
        state = "missing" if len(absent) == len(group) else "incomplete"
    return GroupState(name, state, group, enables, problems)


def _problems(name: str, group: Sequence[Need]) -> list[str]:
    """Say what is wrong with the installed packages of a group, each package that is at fault in one line."""
    found = [
        f"{need.name} {need.installed} is installed, {need.asked} is needed: pip install '{need.name}{need.asked}'"
        for need in group
        if need.installed is not None and not need.fits
    ]
    if name == CORE:
        found += [
            f"{need.name} is not installed: pip install '{need.name}{need.asked}'"
            for need in group
            if need.installed is None
        ]
    present = [need for need in group if need.installed is not None]
    together = import_modules([need.module for need in present])
    if together.problem:
        found += _culprits(name, present, together)
    return found


def _culprits(name: str, present: Sequence[Need], together: Outcome) -> list[str]:
    alone = {need: import_modules([need.module]).problem for need in present}
    broken = [
        f"{need.name} {need.installed} cannot be imported: {problem}. Install it anew: "
        f"pip install --force-reinstall '{need.name}{need.asked}'"
        for need, problem in alone.items()
        if problem
    ]
    packages = ", ".join(f"{need.name} {need.installed}" for need in present)
    target = "rlbuffers" if name == CORE else f"rlbuffers[{name}]"
    apart = (
        f"{packages} work apart but not together: {together.problem}. "
        f"Let pip choose versions that fit: pip install --upgrade '{target}'"
    )
    return broken or [apart]


def _python_problem() -> list[str]:
    asked = importlib.metadata.metadata("rlbuffers")["Requires-Python"] or ""
    version = ".".join(map(str, sys.version_info[:3]))
    return [] if SpecifierSet(asked).contains(version) else [f"Python {version} is too old: {asked} is needed"]
