"""What must hold for a finished buffer, checked rule by rule.

`validate` first reads every byte (checksums, fingerprint), then checks what the data mean. A broken
rule is an *error*; what is possible but hardly intended is a *warning*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.reader import Buffer
from rlbuffers.validation.finding import Finding
from rlbuffers.validation.rules import RULES

__all__ = ["ValidationReport", "validate"]


@dataclass(frozen=True)
class ValidationReport:
    """All findings about one buffer."""

    path: str
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """Findings that make the buffer unusable."""
        return [finding for finding in self.findings if finding.status == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that a user must know."""
        return [finding for finding in self.findings if finding.status == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"path": self.path, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def validate(path: str | Path, *, on_rule: Callable[[str], None] | None = None) -> ValidationReport:
    """Read all of a buffer and check every rule of `rlbuffers.validation.rules`.

    Memory is bounded by the columns other than frames, one at a time.

    Parameters
    ----------
    path : str or Path
        The buffer.
    on_rule : callable, optional
        Is given the name of each rule before it is checked.

    Raises
    ------
    BufferNotFoundError
        If nothing is at `path`. Whatever else is wrong is in the report.

    Examples
    --------
    >>> import rlbuffers
    >>> report = rlbuffers.validate("runs.hdf5")
    >>> report.ok, [finding.message for finding in report.errors]
    (True, [])
    """
    try:
        buffer = Buffer(path)
    except FormatError as error:
        return ValidationReport(str(path), [Finding("opens", "error", str(error))])
    findings = [Finding("opens", "ok", f"{len(buffer):,} transitions, layout {buffer.spec.layout}")]
    with buffer:
        broken = ""
        for name, rule in RULES.items():
            if on_rule is not None:
                on_rule(name)
            if broken:
                findings.append(Finding(name, "note", f"not checked, because {broken} failed"))
                continue
            try:
                found = list(rule.check(buffer))
            except CorruptDataError as error:
                found = [Finding(name, "error", str(error))]
            findings += found or [Finding(name, "ok", rule.all_is_well)]
            if rule.is_structural and any(finding.status == "error" for finding in found):
                broken = name
    return ValidationReport(str(path), findings)
