"""Options of how updates are computed, from the command to the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from nested import same
from small_runs import small_request

from rlbuffers.errors import UsageError
from rlbuffers_cli.main import cli
from rlbuffers_train.checkpoint import load_checkpoint
from rlbuffers_train.devices import pick_device, set_threads
from rlbuffers_train.offline import train_offline
from rlbuffers_train.problem import DiscreteActions, ProblemSpec
from rlbuffers_train.running.training_request import TrainingRequest

CPU = torch.device("cpu")


def request(buffer: Path, logdir: Path, precision: str) -> TrainingRequest:
    settings = {"epoch": 3, "eval_episodes": 10, "precision": precision}
    return small_request("bcq", buffer, logdir, settings, {"target_update_freq": 7, "lr": 0.01})


def test_bfloat16_learns_repeats_itself_and_differs(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for name, precision in (("first", "bfloat16"), ("second", "bfloat16"), ("exact", "float32")):
        summary = train_offline(request(buffer, tmp_path / name, precision))
        assert summary.best is not None
        assert summary.best.mean == 5.0
    first, second, exact = (
        load_checkpoint(tmp_path / name / "last.pth", CPU).algorithm_state for name in ("first", "second", "exact")
    )
    assert same(first, second)
    assert not same(first, exact)
    weights = first["network"]
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_precision_may_change_when_a_run_is_resumed(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(request(make_signal_buffer(), tmp_path / "run", "float32"))
    settings = {"epoch": 4, "precision": "bfloat16"}
    train_offline(TrainingRequest("bcq", resume_path=tmp_path / "run" / "last.pth", device="cpu", settings=settings))
    checkpoint = load_checkpoint(tmp_path / "run" / "last.pth", CPU)
    assert checkpoint.settings["precision"] == "bfloat16"
    assert checkpoint.settings["epoch"] == 4


def test_other_precisions_and_devices_are_refused() -> None:
    result = CliRunner().invoke(cli, ["train", "bcq", "--precision", "float16"])
    assert result.exit_code == 2
    assert "'float16' is not one of 'float32', 'bfloat16'" in result.output
    with pytest.raises(UsageError, match="device 'abacus' cannot be used here"):
        pick_device("abacus")
    with pytest.raises(UsageError, match="device 'meta' cannot be used here"):  # holds no numbers
        pick_device("meta")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_threads_follow_the_work() -> None:
    before = torch.get_num_threads()
    vectors = ProblemSpec((17,), "float32", DiscreteActions(2))
    images = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(2))
    try:
        for problem, products, most, expected in (
            (images, 0, 0, 8),
            (images, 0, 3, 3),
            (vectors, 256 * 256 * 256, 0, 4),
            (vectors, 256 * 256 * 256, 2, 2),
            (vectors, 64 * 128 * 128, 0, 1),
            (vectors, 64 * 128 * 128, 2, 1),
        ):
            torch.set_num_threads(8)
            set_threads(problem, products, most)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
