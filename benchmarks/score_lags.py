"""How many steps after its reward a game redraws its score, measured in the emulator.

    .venv/bin/python benchmarks/score_lags.py [GAME ...]

Each game of RL Unplugged is played by random actions as the DQN of the dataset played it (four emulator frames a step,
the brighter of the last two, gray, 84 x 84, sticky actions). For every row of the picture, whether it changed from one
step to the next is correlated with whether a reward was earned so many steps before; the strongest row counts.
`rlbuffers/sources/rl_unplugged/reward_alignment.py` holds what this prints, and says what it is for.
"""

from __future__ import annotations

import sys

import numpy as np
from emulated import FRAME_SKIP, STICKY, picture, quiet_emulator, rom_path

from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES
from rlbuffers.sources.rl_unplugged.reward_alignment import RewardAlignment

STEPS = 12_000


def played(game: str, steps: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pictures (T, 84, 84) and rewards (T,) of each episode; row t has the picture before its action."""
    ale = quiet_emulator(seed=seed, sticky=STICKY)
    ale.loadROM(rom_path(game))
    actions = ale.getMinimalActionSet()
    rng = np.random.default_rng(seed)
    episodes = []
    taken = 0
    while taken < steps:
        ale.reset_game()
        pictures, rewards = [], []
        screens = [ale.getScreenGrayscale()] * 2
        while not ale.game_over() and taken < steps:
            pictures.append(picture(*screens))
            action = actions[rng.integers(len(actions))]
            reward = 0
            for _ in range(FRAME_SKIP):
                reward += ale.act(action)
                screens = [screens[1], ale.getScreenGrayscale()]
            rewards.append(reward)
            taken += 1
        episodes.append((np.stack(pictures), np.asarray(rewards, np.float32)))
    return episodes


def main() -> None:
    """Print the best lag of each game, and all strengths."""
    print(f"{'game':<16} rewards  lag  strength at lags 0, 1, 2, and at -1, -2 (before the reward)")
    for game in sys.argv[1:] or ATARI_GAMES:
        measured = RewardAlignment()
        for pictures, rewards in played(game, STEPS):
            measured.add(pictures, rewards)
        strengths = measured.strengths()
        lag = -measured.best_offset if measured.best_offset is not None else None
        row = ", ".join(f"{strengths[offset]:.2f}" for offset in (0, -1, -2, 1, 2))
        print(f"{game:<16} {measured.rewards:>7,}  {lag!s:>4}  {row}", flush=True)


if __name__ == "__main__":
    main()
