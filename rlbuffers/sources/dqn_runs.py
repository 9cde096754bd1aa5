"""The training runs of DQN behind RL Unplugged's Atari data and the DQN Replay Dataset: what is documented of them.

Agarwal, Schuurmans & Norouzi, "An Optimistic Perspective on Offline Reinforcement Learning", ICML
2020: five runs of 200 million emulator frames on each of 60 games. RL Unplugged published 46 of the
games anew.
"""

from __future__ import annotations

from typing import Any

from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES

__all__ = [
    "BEHAVIOR",
    "CITATION",
    "DQN_REPLAY_GAMES",
    "MAX_EPISODE_BYTES",
    "SIZE",
    "STEP_LIMIT",
    "environment_facts",
]

BEHAVIOR = "DQN (nature), online training run"
SIZE = (84, 84)
# Steps of the agent after which an episode of these runs was cut.
STEP_LIMIT = 27_000
# Frames of one episode, five times the longest of these runs. It bounds what a damaged file makes us hold.
MAX_EPISODE_BYTES = 1 << 30

# Game to the size of its minimal action set (read from ale-py 0.12); RL Unplugged has the others.
DQN_REPLAY_GAMES = {
    **ATARI_GAMES,
    "AirRaid": 6,
    "Asteroids": 14,
    "Berzerk": 18,
    "Bowling": 6,
    "ElevatorAction": 18,
    "JourneyEscape": 16,
    "MontezumaRevenge": 18,
    "Pitfall": 18,
    "PrivateEye": 18,
    "Skiing": 3,
    "Solaris": 18,
    "Tennis": 18,
    "Tutankham": 8,
    "Venture": 18,
}

CITATION = (
    "@inproceedings{agarwal2020optimistic, "
    "title={An Optimistic Perspective on Offline Reinforcement Learning}, "
    "author={Agarwal, Rishabh and Schuurmans, Dale and Norouzi, Mohammad}, "
    "booktitle={International Conference on Machine Learning}, pages={104--114}, year={2020}}"
)


def environment_facts(stack: int) -> dict[str, Any]:
    """Return how the games were played, for ``environment`` in the metadata."""
    return {
        "observation": f"84×84 gray frames, stack of {stack}, oldest first; max of the last 2 emulator frames",
        "frame_skip": 4,
        "sticky_action_probability": 0.25,
        "action_set": "minimal",
        "reward_clipping": [-1.0, 1.0],
        "terminal_on_life_loss": False,
        "max_episode_steps": STEP_LIMIT,
    }
