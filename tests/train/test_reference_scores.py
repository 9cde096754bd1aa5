from __future__ import annotations

import pytest

from rlbuffers.environments import atari_task
from rlbuffers_train.playing.atari_scores import ATARI_SCORES
from rlbuffers_train.playing.reference_scores import find_reference_scores


@pytest.mark.parametrize(
    ("task", "mean_return", "score"),
    [
        ("HalfCheetah-v5", 12135.0, 100.0),
        ("HalfCheetah-v2", -280.178953, 0.0),
        ("Hopper-v4", (3234.3 - 20.272305) / 2, 50.0),
        ("Walker2d-v3", 1.629008, 0.0),
        ("Ant-v5", 3879.7, 100.0),
        ("PongNoFrameskip-v4", 14.6, 100.0),
        ("BreakoutNoFrameskip-v4", 1.7 + 2 * 28.8, 200.0),
    ],
)
def test_scores_lie_between_the_published_returns(task: str, mean_return: float, score: float) -> None:
    scores = find_reference_scores(task)
    assert scores is not None
    assert scores.normalize(mean_return) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("task", ["CartPole-v1", "Pendulum-v1", "HalfCheetah-v9", "Pong", "AdventureNoFrameskip-v4"])
def test_nothing_is_made_up(task: str) -> None:
    assert find_reference_scores(task) is None


def test_every_game_is_a_task() -> None:
    assert len(ATARI_SCORES) == 57
    assert all(atari_task(game) == f"{game}NoFrameskip-v4" for game in ATARI_SCORES)


def test_scores_that_the_data_bring_come_first() -> None:
    recorded = {"id": "HalfCheetah-v5", "reference_scores": {"min": 0.0, "max": 200.0}}
    scores = find_reference_scores("HalfCheetah-v5", recorded)
    assert scores is not None
    assert scores.normalize(50.0) == 25.0
    others = find_reference_scores("Hopper-v5", recorded)
    assert others is not None
    assert others.high == 3234.3
    partly = {"id": "Toy-v0", "reference_scores": {"min": 1.0, "max": None}}
    assert find_reference_scores("Toy-v0", partly) is None
