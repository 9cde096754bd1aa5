"""`rlbuffers compare`: runs side by side, their seeds together."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from small_runs import error_of, small_request

from rlbuffers_cli import console as console_module
from rlbuffers_cli.main import cli
from rlbuffers_train import TrainingRequest, train_offline, train_online
from rlbuffers_train.checkpoint import load_checkpoint, save_checkpoint
from rlbuffers_train.comparing.comparison import compare_runs
from rlbuffers_train.playing.confidence import summarize_runs
from rlbuffers_train.running.run_summary import RunSummary


def compare(*words: str | Path) -> Result:
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(cli, ["compare", *map(str, words)], catch_exceptions=False)


def train(buffer: Path, logdir: Path, seed: int, lr: float = 0.01, **settings: Any) -> RunSummary:
    settings = {"epoch": 3, "update_per_epoch": 10, "seed": seed, **settings}
    return train_offline(small_request("bcq", buffer, logdir / f"seed{seed}", settings, {"lr": lr}))


@pytest.fixture
def runs(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> tuple[Path, list[RunSummary]]:
    """Two seeds of one experiment and one of another, which differs in its learning rate."""
    buffer = make_signal_buffer()
    summaries = [train(buffer, tmp_path / "a", seed) for seed in (1, 0)]
    return tmp_path, [*summaries, train(buffer, tmp_path / "b", 0, lr=0.001, epoch=2)]


def test_seeds_are_one_line(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, (first, second, other) = runs
    result = compare(folder / "a", folder / "b" / "seed0")
    assert result.exit_code == 0, result.output
    heading, a, b = (" ".join(line.split()) for line in result.output.splitlines())
    assert heading == "run seeds last return best return steps minutes"
    assert first.last
    assert second.last
    assert other.last
    assert first.best
    assert second.best
    assert other.best
    last, best = (
        summarize_runs([one.mean, two.mean]) for one, two in ((first.last, second.last), (first.best, second.best))
    )
    assert a.startswith(f"bcq, lr 0.01 2 {last} {best} 30 ")
    assert b.startswith(f"bcq, lr 0.001 1 {other.last.mean:.1f} {other.best.mean:.1f} 20 ")


def test_what_sets_runs_apart_is_named(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    first, second = make_signal_buffer(), make_signal_buffer("other.hdf5", seed=1)
    train(first, tmp_path / "a", 0, epoch=1)
    train(second, tmp_path / "b", 0, epoch=1, clip_rewards=True)
    labels = [group.label for group in compare_runs([tmp_path])]
    assert [label.split(", ")[0] for label in labels] == ["bcq", "bcq"]
    assert [label.endswith(f", clip-rewards {clips}") for label, clips in zip(labels, (0, 1), strict=True)] == [
        True
    ] * 2
    assert all(", data " in label for label in labels)
    assert [group.label for group in compare_runs([tmp_path / "a", tmp_path / "a" / "seed0"])] == ["bcq"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_folds_labels_between_their_parts(
    width: int, make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = make_signal_buffer()
    train(buffer, tmp_path / "a", 0, update_per_epoch=5, epoch=1, clip_rewards=True, norm_rewards=True)
    train(buffer, tmp_path / "b", 0, lr=0.002, epoch=1)
    monkeypatch.setattr(console_module.console, "width", width)
    monkeypatch.setattr(type(console_module.console), "is_terminal", True)
    lines = compare(tmp_path).output.splitlines()
    assert max(map(len, lines)) <= width
    parts = {"bcq", "update-per-epoch 5", "clip-rewards 1", "norm-rewards 1", "lr 0.01"}
    width_of_labels = lines[0].index("seeds")
    second = next(number for number, line in enumerate(lines) if number > 1 and line.startswith("bcq"))
    label = " ".join(line[:width_of_labels].strip() for line in lines[1:second])
    assert set(label.split(", ")) == parts
    # No part is on two lines, and the lines that go on are indented.
    assert parts == {part for line in lines[1:second] for part in line[:width_of_labels].strip(" ,").split(", ")}
    assert all(line.startswith("  ") for line in lines[2:second])


def test_what_is_no_terminal_gets_every_row_on_one_line(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, _ = runs
    result = CliRunner(env={"COLUMNS": "30"}).invoke(cli, ["compare", str(folder)])
    assert len(result.output.splitlines()) == 3


def test_json_and_csv_hold_every_run(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, (first, second, other) = runs
    groups = json.loads(compare(folder, "--json").stdout)
    assert [[run["seed"] for run in group["runs"]] for group in groups] == [[0, 1], [0]]
    for run, summary in zip(groups[0]["runs"], (second, first), strict=True):
        assert summary.last
        assert summary.best
        assert (run["last"], run["best"], run["step"]) == (summary.last.mean, summary.best.mean, 30)
        assert run["path"] == str(summary.logdir)
        assert run["last_normalized"] is None
    assert [point["step"] for point in groups[0]["curve"]] == [10, 20, 30]
    assert groups[0]["curve"][-1]["returns"] == [second.last and second.last.mean, first.last and first.last.mean]
    lines = list(csv.DictReader(io.StringIO(compare(folder, "--csv").stdout)))
    assert [(line["label"], line["seed"]) for line in lines] == [
        ("bcq, lr 0.01", "0"),
        ("bcq, lr 0.01", "1"),
        ("bcq, lr 0.001", "0"),
    ]
    assert other.best
    assert float(lines[2]["best"]) == other.best.mean


def test_curves_are_drawn_and_listed(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, (first, *_) = runs
    result = compare(folder, "-o", folder / "curves.png", "-o", folder / "curves.csv")
    assert result.exit_code == 0
    assert f"curves: {folder / 'curves.png'}" in result.output
    with Image.open(folder / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (pixels[0, 0] == 255).all()  # a light background
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    lines = list(csv.DictReader((folder / "curves.csv").read_text().splitlines()))
    assert len(lines) == 3 + 3 + 2
    assert first.last
    found = next(line for line in lines if (line["seed"], line["step"]) == ("1", "30"))
    assert (float(found["return_mean"]), int(found["num_episodes"])) == (first.last.mean, 3)


def test_the_table_is_written_as_markdown(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, (_, _, other) = runs
    result = compare(folder, "-o", folder / "table.md")
    assert result.exit_code == 0, result.output
    assert f"table: {folder / 'table.md'}" in result.output
    lines = (folder / "table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["run", "seeds", "last return", "best return", "steps", "minutes"]
    assert cells[1] == ["---", *["---:"] * 5]
    assert other.last
    assert other.best
    assert cells[3][:5] == ["bcq, lr 0.001", "1", f"{other.last.mean:.1f}", f"{other.best.mean:.1f}", "20"]
    printed = [line.split() for line in result.output.splitlines()[1:3]]
    assert [" ".join(row) for row in cells[2:]] == [" ".join(words) for words in printed]


def test_a_seed_counts_once(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for name, seed, epoch in (("a", 0, 1), ("a", 1, 1), ("b", 0, 2), ("c", 0, 1)):
        train(buffer, tmp_path / name, seed, epoch=epoch)
    (group,) = compare_runs([tmp_path])
    assert [run.path for run in group.runs] == [tmp_path / "b" / "seed0", tmp_path / "a" / "seed1"]
    assert list(group.repeated) == [tmp_path / "a" / "seed0", tmp_path / "c" / "seed0"]
    result = compare(tmp_path)
    assert f"farthest counts, not {tmp_path / 'a' / 'seed0'}, {tmp_path / 'c' / 'seed0'}" in result.output
    (found,) = json.loads(compare(tmp_path, "--json").stdout)
    assert len(found["runs"]) == 2
    assert "farthest" not in compare(tmp_path / "a").output


def test_an_older_release_had_fewer_hyperparameters(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for seed in (0, 1):
        train(buffer, tmp_path, seed, epoch=1)
    path = tmp_path / "seed1" / "last.pth"
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    config = {name: value for name, value in checkpoint.config.items() if name != "orthogonal"}
    settings = {name: value for name, value in checkpoint.settings.items() if name != "precision"}
    save_checkpoint(path, replace(checkpoint, config=config, settings={**settings, "threads": 1}))
    assert [len(group.runs) for group in compare_runs([tmp_path])] == [2]


def test_updates_and_environment_steps_have_panels_of_their_own(
    make_signal_buffer: Callable[..., Path], signal_task: str, tmp_path: Path
) -> None:
    train(make_signal_buffer(), tmp_path / "bcq", 0, epoch=1)
    settings = {"epoch": 1, "step_per_epoch": 100, "num_envs": 2, "eval_episodes": 2}
    train_online(TrainingRequest("qrdqn", task=signal_task, logdir=tmp_path / "qrdqn", settings=settings))
    heights = {}
    for name, words in (("one.png", ["bcq"]), ("both.png", ["bcq", "qrdqn"])):
        assert compare(*(tmp_path / word for word in words), "-o", tmp_path / name).exit_code == 0
        with Image.open(tmp_path / name) as picture:
            heights[name] = picture.height
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        if name == "one.png":  # one evaluation is no line, but a mark in the middle
            middle = pixels[picture.height * 2 // 5 : picture.height * 3 // 5, picture.width * 2 // 5 :][
                :, : picture.width // 5
            ]
            assert (np.abs(middle - (31, 119, 180)).max(axis=2) < 10).sum() > 10
    assert heights["both.png"] == 2 * heights["one.png"]


def test_long_labels_leave_the_panels_their_width(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    for number in range(6):
        switches = {"clip_rewards": number % 2 == 0, "norm_rewards": number < 3}
        train(buffer, tmp_path / str(number), 0, 0.001 * (1 + number), epoch=1, update_per_epoch=2 + number, **switches)
    assert compare(tmp_path, "-o", tmp_path / "c.png").exit_code == 0
    with Image.open(tmp_path / "c.png") as picture:
        is_frame = np.asarray(picture.convert("L")) < 64
    columns = np.flatnonzero(is_frame.sum(axis=0) > is_frame.shape[0] // 2)  # the left and the right side of the panel
    assert columns.max() - columns.min() > 8 * 120 * 0.8


@pytest.mark.parametrize(("name", "begins"), [("c.pdf", b"%PDF"), ("c.svg", b"<?xml")])
def test_papers_get_curves_of_lines(name: str, begins: bytes, runs: tuple[Path, list[RunSummary]]) -> None:
    folder, _ = runs
    assert compare(folder, "-o", folder / name).exit_code == 0
    assert (folder / name).read_bytes().startswith(begins)


def test_a_run_that_goes_on_has_no_best_score_yet(runs: tuple[Path, list[RunSummary]]) -> None:
    folder, _ = runs
    (folder / "b" / "seed0" / "summary.json").unlink()
    assert "unfinished" in compare(folder / "b").output
    (folder / "a" / "seed0" / "summary.json").unlink()
    assert "(1 seeds)" in compare(folder / "a").output


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["nowhere"], 1, "nowhere: there is no run here; name the folder of a run or of several seeds"),
        (
            ["a", "-o", "c.tex"],
            2,
            "c.tex: curves are drawn as .png, .pdf or .svg, listed as .csv; the table is written as",
        ),
        (["a", "--json", "--csv"], 2, "give one of them"),
        (["a", "-o", "c.png"], 2, "there are no curves: none of these runs was evaluated"),
        (["bad"], 1, "last.pth: not a checkpoint"),
        ([], 2, "Missing argument 'RUN...'"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    words: list[str],
    exit_code: int,
    told: str,
    make_signal_buffer: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(make_signal_buffer(), tmp_path / "a", 0, epoch=1, eval_episodes=0)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "last.pth").write_bytes(b"no checkpoint")
    monkeypatch.chdir(tmp_path)
    result = compare(*words)
    assert result.exit_code == exit_code
    assert told in error_of(result)
