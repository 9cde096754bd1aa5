"""`rlbuffers train` as users meet it: one line for a mistake, and the right exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from patience import PATIENCE_SECONDS
from small_runs import error_of
from training_processes import train_in_process, wait_until_saved

import rlbuffers_train
from rlbuffers.errors import UsageError
from rlbuffers_cli.commands.train.running import algorithm_command
from rlbuffers_cli.main import cli
from rlbuffers_train.algorithms import ALGORITHMS, entries_of


def run(*arguments: str, home: Path | None = None) -> Result:
    environment = {"COLUMNS": "200", **({"HOME": str(home)} if home else {})}
    return CliRunner(env=environment).invoke(cli, ["train", *arguments], catch_exceptions=False)


def test_bare_bcq_tells_how_to_make_its_buffer(tmp_path: Path) -> None:
    result = run("bcq", home=tmp_path)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: there is no buffer at {tmp_path}/.rl_unplugged/buffers/CartPole-v1/qrdqn-eps0.2.hdf5. "
        "Make it with: rlbuffers generate --policy qrdqn --eps 0.2; or name one with --buffer\n"
    )


def test_bare_bcq_of_a_task_names_the_task(tmp_path: Path) -> None:
    result = run("bcq", "--task", "PongNoFrameskip-v4", home=tmp_path)
    assert result.exit_code == 1
    assert "rlbuffers generate --policy qrdqn --eps 0.2 --task PongNoFrameskip-v4;" in result.output


def test_trains_and_resumes(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    logdir = tmp_path / "run"
    asked = ["bcq", "--buffer", str(make_signal_buffer()), "--logdir", str(logdir), "--device", "cpu"]
    result = run(*asked, "--epoch", "1", "--update-per-epoch", "20", "--eval-episodes", "3", "--lr", "0.001")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "Training bcq"
    assert lines[1] == "bcq: Fujimoto et al. 2019, Benchmarking Batch Deep RL Algorithms, arXiv:1910.01708"
    assert lines[4].startswith("epoch 1  step 20  return ")
    assert "(3 episodes)" in lines[4]
    assert re.search(r"  \d+/s  time: waiting for data \d+%, update \d+%, evaluation [1-9]\d*%$", lines[4])
    assert lines[5].startswith("last epoch: return ")
    assert lines[6].startswith("best epoch (1): return ")
    assert "waiting for data" in lines[7]
    assert "update" in lines[7]
    assert "evaluation" in lines[7]
    assert lines[8] == f"files: {logdir}"
    result = run("bcq", "--resume-path", str(logdir / "last.pth"), "--epoch", "2")
    assert result.exit_code == 0, result.output
    assert "epoch 2  step 40" in result.output
    assert "epoch 1  step" not in result.output
    result = run("bcq", "--resume-path", str(logdir))  # the folder means its newest state
    assert result.exit_code == 0, result.output
    assert "nothing is left to train: 2 epochs are done. A larger --epoch goes on" in result.output
    assert f"files: {logdir}\n" in result.output


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["bcq", "--buffer", "no.hdf5"], 1, "no.hdf5"),
        (["bcq", "--resume-path", "no.pth"], 1, "no.pth: there is no such checkpoint"),
        (["bcq", "--resume-path", __file__], 1, "not a checkpoint"),
        (["qrdqn", "--task", "CartPole-v9"], 2, "there is no task 'CartPole-v9'; did you mean 'CartPole-v1'?"),
        (["qrdqn", "--device", "tpu9"], 2, "device 'tpu9' cannot be used here"),
        (["bcq", "--epoch", "0"], 2, "--epoch"),
        (
            ["bcq", "--buffer", "a.hdf5", "--buffer", "b.hdf5"],
            2,
            "one can be trained on, got a.hdf5, b.hdf5; `rlbuffers",
        ),
        (["bcq", "--buffer", "memory://bucket/no.zarr"], 1, "memory://bucket/no.zarr"),
        (["BC"], 2, "there is no algorithm 'BC'; did you mean 'il'? There are il, bcq, cql, crr, td3-bc,"),
        (["td3_bc"], 2, "did you mean 'td3-bc'?"),
        (["ppo"], 2, "there is no algorithm 'ppo'; there are il,"),
        (["crr", "--task", "Pendulum-v1"], 2, "crr is for discrete actions, here are continuous actions; for these"),
        (
            ["bcq", "--buffer", "discrete.hdf5", "--tau", "1"],
            2,
            "bcq for discrete actions has no --tau; there are --batch",
        ),
        (["bcq", "--unlikely-action-threshold", "1"], 2, "--unlikely-action-threshold"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    arguments: list[str],
    exit_code: int,
    told: str,
    make_signal_buffer: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_signal_buffer().rename("discrete.hdf5")
    result = run(*arguments, home=tmp_path)
    assert result.exit_code == exit_code
    assert error_of(result)
    assert told in result.output
    assert "Traceback" not in result.output


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("bcq", home=tmp_path)
    assert result.exit_code == 1
    assert result.output == "Error: Training needs torch. Install it with: pip install 'rlbuffers[train]'\n"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])  # Ctrl-C, and what schedulers of clusters send
def test_a_stop_saves_and_tells_how_to_go_on(sent: signal.Signals, tmp_path: Path) -> None:
    logdir = tmp_path / "run"
    sizes = ["--step-per-epoch", "1000", "--epoch", "1000", "--eval-episodes", "1", "--device", "cpu"]
    with train_in_process("qrdqn", "--logdir", str(logdir), *sizes, home=tmp_path) as process:
        wait_until_saved(process, [logdir])
        before = (logdir / "last.pth").stat().st_mtime_ns
        process.send_signal(sent)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert errors.endswith(f"Go on with --resume-path {logdir / 'last.pth'}\n")
    assert (logdir / "last.pth").stat().st_mtime_ns > before


def test_importing_commands_and_names_loads_nothing_heavy() -> None:
    code = (
        "import sys, rlbuffers_train, rlbuffers_train.algorithms, rlbuffers_cli.commands.train;"
        "print([name for name in ('torch', 'gymnasium', 'ale_py', 'matplotlib', 'tensorboard') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    for name in rlbuffers_train.__all__:
        assert getattr(rlbuffers_train, name) is not None
    assert dir(rlbuffers_train) == sorted(rlbuffers_train.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(rlbuffers_train, "nothing")  # noqa: B009


def test_help_lists_every_algorithm_with_its_paper() -> None:
    words = " ".join(run("--help").output.split())
    for entry in ALGORITHMS:
        assert f"{entry.summary} {entry.paper}" in words
    with pytest.raises(UsageError, match="there is no algorithm 'td3'; did you mean 'td3-bc'"):
        entries_of("td3")


def test_help_of_an_algorithm_tells_what_it_declares() -> None:
    words = " ".join(run("bcq", "--help").output.split())
    assert "Actions that targets choose from. [default: 10] [1<=x<=1000000]" in words
    assert "[default: images 32; vectors 128; continuous actions 100]" in words
    assert "--hidden-sizes N,N,..." in words
    assert "--norm-obs 0|1" in words
    assert "--buffer" not in run("sac", "--help").output


def test_help_tells_which_actions_a_hyperparameter_is_for() -> None:
    parts = re.split(r"^(\S.*):$", run("bcq", "--help").output, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    options = {title: re.findall(r"^  (--[a-z-]+)", text, flags=re.MULTILINE) for title, text in sections.items()}
    assert {"--gamma", "--hidden-sizes"} <= set(options["Hyperparameters"])
    assert {"--lr", "--target-update-freq"} <= set(options["Hyperparameters for discrete actions only"])
    assert {"--actor-lr", "--tau"} <= set(options["Hyperparameters for continuous actions only"])
    assert {"--epoch", "--seed"} <= set(options["Training"])
    together = [option for section in options.values() for option in section]
    assert len(set(together)) == len(together)
    command = algorithm_command("bcq")
    assert set(together) == {option.opts[0] for option in command.params if option.opts[0] != "--help"}


@pytest.mark.parametrize("given", [[], ["1"], ["0"]])
def test_a_switch_may_stand_alone(given: list[str], make_aim_buffer: Callable[..., Path], tmp_path: Path) -> None:
    words = ["il", "--buffer", str(make_aim_buffer()), "--logdir", str(tmp_path / "run"), "--hidden-sizes", "8,4"]
    result = run(*words, "--epoch", "1", "--update-per-epoch", "2", "--eval-episodes", "0", "--norm-obs", *given)
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())["hyperparameters"]
    assert config["norm_obs"] == (given != ["0"])
    assert config["hidden_sizes"] == [8, 4]
