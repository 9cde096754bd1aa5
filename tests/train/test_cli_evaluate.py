"""`rlbuffers evaluate` as users meet it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from small_runs import error_of, small_request

from rlbuffers_cli.main import cli
from rlbuffers_train import train_offline
from rlbuffers_train.checkpoint import load_checkpoint, save_checkpoint
from rlbuffers_train.comparing.checkpoint_evaluation import JudgedPolicy
from rlbuffers_train.playing.episodes import play_episodes
from rlbuffers_train.playing.video import record_video

STEPS = 5


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, ["evaluate", *words], catch_exceptions=False)


def found(*words: str) -> dict[str, Any]:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["evaluate", *words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def trained(buffer: Path, logdir: Path, name: str = "bcq", lr: float = 0.01, **settings: Any) -> Path:
    rates = {"lr": lr} if name == "bcq" else {}
    return train_offline(small_request(name, buffer, logdir, settings, rates)).logdir


def test_tells_what_a_policy_is_worth(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    logdir = trained(make_signal_buffer(), tmp_path / "run", epoch=1)
    result = run(str(logdir), "--episodes", "7", "--seed", "3")
    assert result.exit_code == 0, result.output
    told = "".join(result.output.split())  # long paths are folded
    for part in (
        f"policy bcq after 100 updates, {logdir / 'best.pth'}",
        "task Signal-v0",
        "episodes 7, seed 3, 0% random actions",
        "return 5.0 ± 0.0, median 5.0, 5.0 to 5.0",
        "length 5.0, 5 to 5 steps",
        "normalized none: no reference scores of this task are known",
    ):
        assert part.replace(" ", "") in told


def test_json_holds_every_episode(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = str(trained(make_signal_buffer(), tmp_path / "run") / "last.pth")
    random = found(checkpoint, "--episodes", "200", "--eps", "1", "--num-envs", "7")
    returns = np.array(random["returns"])
    assert len(returns) == len(random["lengths"]) == random["num_episodes"] == 200
    assert set(random["lengths"]) == {STEPS}
    assert abs(returns.mean() - 2.5) < 0.3  # each of 5 steps is right by chance
    statistics = random["return"]
    assert statistics["mean"] == pytest.approx(returns.mean())
    assert statistics["std"] == pytest.approx(returns.std())
    assert (statistics["min"], statistics["median"], statistics["max"]) == (
        returns.min(),
        np.median(returns),
        returns.max(),
    )
    again, other = (found(checkpoint, "--episodes", "20", "--eps", "1", "--seed", seed) for seed in ("0", "1"))
    assert again["returns"] != other["returns"]
    assert again == found(checkpoint, "--episodes", "20", "--eps", "1")


def test_no_episode_is_one_that_chose_the_policy(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    # Nothing is learned, so scores are those of one fixed policy on different episodes.
    settings = {"epoch": 3, "update_per_epoch": 1, "eval_episodes": 40, "seed": 5}
    logdir = trained(make_signal_buffer(), tmp_path / "run", lr=1e-12, **settings)
    history = load_checkpoint(logdir / "last.pth", torch.device("cpu")).history
    mean = found(str(logdir), "--episodes", "40", "--seed", "5")["return"]["mean"]
    assert mean not in [record.evaluation.mean for record in history]


def test_warns_where_the_data_are_from_elsewhere(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = str(trained(make_signal_buffer(), tmp_path / "run") / "best.pth")
    assert load_checkpoint(Path(checkpoint), torch.device("cpu")).environment["id"] == "Signal-v0"
    gymnasium.register("OtherSignal-v0", entry_point=gymnasium.spec("Signal-v0").entry_point, max_episode_steps=STEPS)
    try:
        result = run(checkpoint, "--task", "OtherSignal-v0", "--episodes", "2")
        assert result.exit_code == 0
        warnings = [line for line in result.output.splitlines() if line.startswith("Warning: ")]
        assert warnings == ["Warning: the data come from Signal-v0, evaluation is in OtherSignal-v0"]
        assert found(checkpoint, "--task", "OtherSignal-v0", "--episodes", "1")["warnings"]
        assert not found(checkpoint, "--episodes", "1")["warnings"]
    finally:
        del gymnasium.registry["OtherSignal-v0"]


def test_a_checkpoint_that_names_no_environment_needs_one(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    logdir = trained(make_signal_buffer(), tmp_path / "run", eval_episodes=0, epoch=1)
    path = logdir / "last.pth"
    assert found(str(logdir), "--episodes", "1")["task"] == "Signal-v0"  # what the data say
    checkpoint = load_checkpoint(path, torch.device("cpu"))
    save_checkpoint(path, type(checkpoint)(**{**vars(checkpoint), "environment": {}}))
    result = run(str(path))
    assert result.exit_code == 2
    assert "neither the training nor its data name an environment; pass --task" in result.output


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["nothing.pth"], 1, "nothing.pth: there is no such checkpoint"),
        (["."], 1, ".: no run, but it holds some; name one, such as run"),
        (["empty"], 1, "empty: there is no checkpoint in this folder; name a file such as empty/best.pth"),
        (
            ["run", "--task", "CartPole-v1"],
            2,
            "CartPole-v1 has observations (4,) and 2 actions, run/best.pth is for observations",
        ),
        (["run", "--task", "Signal-v7"], 2, "there is no task 'Signal-v7'; did you mean 'Signal-v0'?"),
        (["run", "--video", "out.mp4"], 2, "out.mp4: videos are written as GIF; name a file that ends in .gif"),
        (["run", "--video", "out.gif"], 1, "Signal-v0 draws no pictures, so there can be no video of it"),
        (["run", "--video", "run/last.pth/out.gif"], 2, "nothing can be written in"),
        (["run", "--episodes", "0"], 2, "--episodes"),
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
    trained(make_signal_buffer(), tmp_path / "run", epoch=1, update_per_epoch=1)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == exit_code
    assert told in error_of(result)


class Fades(gymnasium.Env[np.ndarray, np.int64]):
    """A picture that gets lighter with every step; episodes take 8."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return np.zeros(2, np.float32), 1.5, self.steps == 8, False, {}

    def render(self) -> np.ndarray:  # type: ignore[override]
        return np.full((30, 800, 3), 20 * self.steps, np.uint8)


def test_a_video_shows_a_whole_episode(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = trained(make_signal_buffer(), tmp_path / "run") / "best.pth"
    gymnasium.register("Fades-v0", entry_point=Fades)
    try:
        result = run(str(checkpoint), "--task", "Fades-v0", "--episodes", "1", "--video", str(tmp_path / "out.gif"))
    finally:
        del gymnasium.registry["Fades-v0"]
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'out.gif'}: an episode of its own, return 12.0 in 8 steps" in result.output
    with Image.open(tmp_path / "out.gif") as video:
        shades = []
        for frame in range(video.n_frames):
            video.seek(frame)
            shades.append(video.convert("RGB").getpixel((5, 5))[0])
            assert video.info["duration"] == 40  # of 50 steps a second every other one is shown
        assert shades == [0, 40, 80, 120, 160]
        assert video.size == (400, 15)


@pytest.mark.parametrize("asked", [None, "x11"])
def test_drawing_looks_for_no_display(
    asked: str | None, make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SDL complains of a missing display, past Python, where it is let look for one.
    found = []

    class Looks(Fades):
        def render(self) -> np.ndarray:  # type: ignore[override]
            found.append(os.environ.get("SDL_VIDEODRIVER"))
            return super().render()

    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    if asked is not None:
        monkeypatch.setenv("SDL_VIDEODRIVER", asked)
    policy = JudgedPolicy(trained(make_signal_buffer(), tmp_path / "run") / "best.pth").policy
    gymnasium.register("Looks-v0", entry_point=Looks)
    try:
        record_video(policy, "Looks-v0", np.random.default_rng(0), tmp_path / "out.gif")
    finally:
        del gymnasium.registry["Looks-v0"]
    assert found[0] == (asked or "dummy")
    assert os.environ.get("SDL_VIDEODRIVER") == asked


def test_a_video_of_a_game_is_what_the_policy_sees(tmp_path: Path) -> None:
    class Still:
        def act(self, observations: np.ndarray) -> np.ndarray:
            self.seen = observations
            return np.zeros(len(observations), np.int64)

        def fork(self, generator: np.random.Generator) -> Still:
            return self

    policy = Still()
    told = record_video(policy, "BreakoutNoFrameskip-v4", np.random.default_rng(0), tmp_path / "game.gif")
    assert (told.num_steps, told.is_whole) == (900, False)
    assert str(told).endswith("in 900 steps, cut after a minute")
    with Image.open(tmp_path / "game.gif") as video:
        assert video.size == (252, 252)
        video.seek(video.n_frames - 1)
        shown = np.asarray(video.convert("L"), np.int64)[1::3, 1::3]
    assert np.abs(shown - policy.seen[0, -1]).max() <= 8  # a GIF has 256 colors


def test_a_policy_is_judged_without_the_command(make_aim_buffer: Callable[..., Path], tmp_path: Path) -> None:
    logdir = trained(make_aim_buffer(), tmp_path / "run", "td3-bc", update_per_epoch=20)
    judged = JudgedPolicy(str(logdir), seed=2)  # the folder means its best epoch
    counts: list[int] = []
    told = judged.play(4, on_episode=counts.append)
    assert sorted(counts) == [1, 2, 3, 4]
    forked = play_episodes(judged.policy, "Aim-v0", 4, np.random.default_rng(0))
    assert told.episodes.returns.shape == forked.returns.shape == (4,)
    assert told.normalized is None
