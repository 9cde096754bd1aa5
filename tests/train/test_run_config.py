"""Runs from the configuration that another run wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from nested import same
from small_runs import error_of

from rlbuffers_cli.main import cli
from rlbuffers_train.algorithms import ALGORITHMS, load_algorithm
from rlbuffers_train.checkpoint import Checkpoint, load_checkpoint
from rlbuffers_train.running.run_config import read_config
from rlbuffers_train.running.run_folder import render_config

SMALL = [
    "--epoch",
    "2",
    "--update-per-epoch",
    "5",
    "--eval-episodes",
    "2",
    "--batch-size",
    "8",
    "--hidden-sizes",
    "8,4",
]


def train(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["train", *map(str, words)], catch_exceptions=False)


def trained(*words: str | Path) -> str:
    result = train(*words)
    assert result.exit_code == 0, result.output
    return result.output


def last(logdir: Path) -> Checkpoint:
    return load_checkpoint(logdir / "last.pth", torch.device("cpu"))


def test_a_configuration_gives_the_same_weights(make_aim_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_aim_buffer()
    first, again = tmp_path / "first", tmp_path / "again"
    words = ["td3-bc", "--preset", "tianshou", "--buffer", buffer, "--seed", "3", "--norm-rewards", *SMALL]
    trained(*words, "--logdir", first)
    trained("--config", first, "--logdir", again)  # the folder means its config.yaml
    assert same(last(again).algorithm_state, last(first).algorithm_state)
    assert [record.evaluation for record in last(again).history] == [
        record.evaluation for record in last(first).history
    ]
    told, repeated = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (first, again))
    assert told.pop("written_by")["versions"] == repeated.pop("written_by")["versions"]
    assert told == repeated
    assert told["hyperparameters"] == {
        **load_algorithm("td3-bc", "box").presets["tianshou"].to_json(),
        "batch_size": 8,
        "hidden_sizes": [8, 4],
    }
    assert told["settings"]["seed"] == 3
    assert told["buffer"] == str(buffer)


def test_options_change_single_values(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    trained("bcq", "--buffer", buffer, "--logdir", tmp_path / "first", "--lr", "0.5", *SMALL)
    trained(f"--config={tmp_path}/first/config.yaml", "--lr", "0.001", "--seeds", "1,2", "--logdir", tmp_path / "other")
    for seed in (1, 2):
        found = last(tmp_path / "other" / f"seed{seed}")
        assert found.config == {**last(tmp_path / "first").config, "lr": 0.001}
        assert found.settings == {**last(tmp_path / "first").settings, "seed": seed}


def test_online_runs_too(signal_task: str, tmp_path: Path) -> None:
    words = ["--epoch", "1", "--step-per-epoch", "100", "--min-history", "20", "--eval-episodes", "1"]
    small = ["--hidden-sizes", "8", "--batch-size", "8", "--device", "cpu"]
    trained("qrdqn", "--task", signal_task, "--logdir", tmp_path / "first", *words, *small)
    trained("qrdqn", "--config", tmp_path / "first" / "config.yaml", "--logdir", tmp_path / "again")
    assert same(last(tmp_path / "again").algorithm_state, last(tmp_path / "first").algorithm_state)


def test_other_data_are_refused_unless_they_are_named(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    buffer = make_signal_buffer()
    trained("bcq", "--buffer", buffer, "--logdir", tmp_path / "first", *SMALL)
    buffer.unlink()
    make_signal_buffer(seed=1)
    result = train("--config", tmp_path / "first" / "config.yaml", "--logdir", tmp_path / "again")
    assert result.exit_code == 2
    assert "signal.hdf5 holds other data than are meant: their fingerprint is" in result.output
    trained("--config", tmp_path / "first" / "config.yaml", "--logdir", tmp_path / "again", "--buffer", buffer)


def test_other_versions_are_told(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    trained("bcq", "--buffer", make_signal_buffer(), "--logdir", tmp_path / "first", *SMALL)
    path = tmp_path / "first" / "config.yaml"
    document = yaml.safe_load(path.read_text())
    document["written_by"]["versions"]["torch"] = "2.0.0"
    path.write_text(yaml.safe_dump(document))
    told = trained("--config", path, "--logdir", tmp_path / "again")
    assert f"Warning: bits may differ from the run of {path}, which had torch 2.0.0 (here " in told


@pytest.mark.parametrize("entry", ALGORITHMS, ids=lambda entry: f"{entry.name}-{entry.actions}")
def test_every_value_comes_back_as_it_was(entry: Any, tmp_path: Path) -> None:
    config = load_algorithm(entry.name, entry.actions).config_class
    values = config().to_json()
    (tmp_path / "config.yaml").write_bytes(render_config({"algorithm": entry.name, "hyperparameters": values}))
    assert config.from_json(read_config(tmp_path / "config.yaml").hyperparameters).to_json() == values


def test_a_few_lines_written_by_hand_are_enough(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"algorithm: bcq\nbuffer: {make_signal_buffer()}\nhyperparameters:\n  lr: 3e-4\n  n_step: 2\n")
    config = read_config(path)
    assert config.hyperparameters == {"lr": 3e-4, "n_step": 2}
    trained("--config", path, "--logdir", tmp_path / "run", *SMALL)
    assert last(tmp_path / "run").config["lr"] == 3e-4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("algorithm: [", "c.yaml: not YAML"),
        ("- bcq", "c.yaml: expected keys and values, got list"),
        ("task: CartPole-v1", "c.yaml: expected the name of an algorithm under 'algorithm', got None"),
        ("algorithm: bqc", "there is no algorithm 'bqc'; did you mean 'bcq'?"),
        ("algorithm: bcq\nbufer: x", "c.yaml: there is no key 'bufer'; did you mean 'buffer'?"),
        ("algorithm: bcq\nbuffer: 3", "c.yaml: buffer: expected text, got 3"),
        ("algorithm: bcq\nsettings: 3", "c.yaml: settings: expected keys and values, got 3"),
        ("algorithm: bcq\nwritten_by: {versions: 3}", "c.yaml: versions: expected keys and values, got 3"),
        ("algorithm: bcq\nsettings: {epochs: 3}", "settings: there is no key 'epochs'; did you mean 'epoch'?"),
        ("algorithm: bcq\nsettings: {epoch: 2.5}", "settings: epoch: expected a whole number, got 2.5"),
        ("algorithm: bcq\nsettings: {epoch: true}", "settings: epoch: expected a whole number, got True"),
        ("algorithm: bcq\nsettings: {clip_rewards: 1}", "clip_rewards: expected true or false, got 1"),
        ("algorithm: bcq\nhyperparameters: {lr: fast}", "hyperparameters: lr: expected a number, got 'fast'"),
        ("algorithm: bcq\nhyperparameters: {lr: true}", "hyperparameters: lr: expected a number, got True"),
        ("algorithm: bcq\nhyperparameters: {hidden_sizes: 64}", "expected a list of whole numbers, got 64"),
        ("algorithm: bcq\nhyperparameters: {vae_lrr: 1}", "there is no key 'vae_lrr'; did you mean 'vae_lr'?"),
        ("algorithm: bcq\nhyperparameters: {lr: -1}", "hyperparameters: lr: expected above 0, got -1"),
        ("algorithm: !!python/object:os.system {}", "c.yaml: not YAML"),
    ],
)
def test_a_wrong_key_or_value_is_named(
    text: str, told: str, make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    result = train("--config", path, "--buffer", make_signal_buffer(), "--logdir", tmp_path / "run")
    assert result.exit_code == 2
    assert told in error_of(result)


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["--config", "no.yaml"], 1, "no.yaml: there is no such configuration"),
        (["cql", "--config", "c.yaml"], 2, "c.yaml is of bcq, not of cql"),
        (["--config", "c.yaml", "--preset", "tianshou"], 2, "--config has the values that --preset brings too"),
        (["--config", "c.yaml", "--resume-path", "l.pth"], 2, "--config has the values that --resume-path brings too"),
        (["--config"], 2, "--config"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    words: list[str], exit_code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("algorithm: bcq\n")
    result = train(*words)
    assert result.exit_code == exit_code
    assert told in result.output
