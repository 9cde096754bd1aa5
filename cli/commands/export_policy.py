"""`rlbuffers export-policy`: a trained policy for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from rlbuffers.optional import require
from rlbuffers_cli.option_types import OutputPath

__all__ = ["export_policy"]

_PATH = click.Path(path_type=Path)


@click.command("export-policy")
@click.argument("checkpoint", type=_PATH)
@click.option("-o", "--output", type=OutputPath(), required=True, help="policy.pt2 (torch.export) or policy.onnx.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def export_policy(checkpoint: Path, output: Path, overwrite: bool) -> None:
    """Write the policy of a CHECKPOINT, or of the best epoch of a run's folder, as a file that runs without rlbuffers.

    It maps observations, as the environment gives them, to the actions that the policy holds best; normalization of
    observations is part of it.
    """
    require("torch", extra="train", purpose="Exporting a policy")
    from rlbuffers_cli.console import console
    from rlbuffers_train.policy_export import export_policy as export
    from rlbuffers_train.running.run_folder import find_checkpoint

    path = find_checkpoint(checkpoint)
    exported = export(path, output, overwrite=overwrite)
    facts = exported.facts
    checked = "same actions as the checkpoint" if exported.is_checked else "not checked: onnxruntime is not installed"
    told = f"{facts['algorithm']} of {facts['task'] or 'no task'} after {facts['step']:,} {facts['step_name']}"
    console.print(f"{exported.path}: {told}, from {path}; {checked}", soft_wrap=True)
