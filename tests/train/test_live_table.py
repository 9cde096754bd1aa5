from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.running.live_table import LiveTable
from rlbuffers_train.running.reporting import Progress


def record(epoch: int) -> EpochRecord:
    evaluation = EvaluationResult(mean=epoch + 0.25, std=1.0, num_episodes=10, mean_length=3.0)
    return EpochRecord(epoch, epoch * 1000, {"loss": 0.5}, evaluation, False, 60.0 * epoch)


def progress(epoch: int) -> Progress:
    return Progress(epoch, 30, 1234, "updates", 56.7, "waiting for data 3%, update 90%, evaluation 7%", "training")


def make_console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=is_terminal, width=110, height=14, legacy_windows=False), stream


def test_without_a_terminal_each_epoch_is_a_line() -> None:
    console, stream = make_console(is_terminal=False)
    with LiveTable(console, "title [bold]") as table:
        table.note("a note on [/tmp]")
        table.progress(progress(1))
        table.epoch_done(record(1))
    assert stream.getvalue() == (
        "title [bold]\na note on [/tmp]\nepoch 1  step 1,000  return 1.2 ± 1.0 (10 episodes)  loss 0.5"
        "  57/s  time: waiting for data 3%, update 90%, evaluation 7%\n"
    )


def test_a_terminal_shows_the_newest_epochs_and_in_the_end_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, stream = make_console(is_terminal=True)
    with LiveTable(console, "title") as table:
        for epoch in range(1, 26):
            table.epoch_done(record(epoch))
        table.progress(progress(26))
        drawn_at_last = stream.getvalue().rpartition("title")[2]
    while_running = re.findall(r"│ +(\d+) │", drawn_at_last)
    assert while_running == ["20", "21", "22", "23", "24", "25"]
    at_the_end = stream.getvalue().rpartition("title")[2]
    assert re.findall(r"│ +(\d+) │ +[\d,]+ │", at_the_end) == [str(epoch) for epoch in range(1, 26)]
    assert "│ 25.2 ± 1.0 │" in at_the_end


def test_each_epoch_is_one_line_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, color_system=None)
    names = ("quantile_loss", "imitation_loss", "gap", "mean_value", "mean_weight", "entropy", "alpha")
    metrics = dict.fromkeys(names, -1.23456e-05)
    result = EvaluationResult(mean=-1234.56, std=345.67, num_episodes=10, mean_length=3.0)
    with LiveTable(console, "title") as table:
        for epoch in (1, 2, 3):
            table.epoch_done(EpochRecord(epoch, 1_000_000 + epoch, metrics, result, False, 60.0))
    rows = [line for line in stream.getvalue().rpartition("title")[2].splitlines() if line.startswith("│")]
    assert len(rows) == 3
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells == [str(number), f"1,000,00{number}", "-1234.6 ± 345.7", "-1.235e-05", "-1.235e-05", "1.0"]
        assert "…" not in row


def test_progress_tells_where_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console, stream = make_console(is_terminal=True)
    with LiveTable(console, "title") as table:
        table.progress(progress(2))
    assert "epoch 2/30  training  1,234 updates (57/s)" in stream.getvalue()
    assert "waiting for data 3%, update 90%, evaluation 7%" in stream.getvalue()


def test_a_refused_run_shows_nothing() -> None:
    console, stream = make_console(is_terminal=False)
    with pytest.raises(ValueError, match="refused"), LiveTable(console, "title"):
        raise ValueError("refused")
    assert stream.getvalue() == ""
