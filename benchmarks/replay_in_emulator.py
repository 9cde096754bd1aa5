"""Play the actions of recorded Atari episodes again, and compare a buffer's rewards with the emulator's.

    .venv/bin/python benchmarks/replay_in_emulator.py SHARD --task Asterix

SHARD is one of RL Unplugged's shards of whole episodes. It is converted, and the buffer's actions are played from the
start of a game, as the DQN of these runs played (Dopamine: four emulator frames a step, the brighter of the last two,
gray, 84 x 84). In each frame the emulator kept the action before with probability 1/4; what it did is not
recorded, so every number of kept frames is tried in every step, and those states go on whose picture is the next one of
the episode. An episode whose pictures cannot be reached is not replayed, and said so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from emulated import FRAME_SKIP, picture, quiet_emulator, rom_path

import rlbuffers
from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource

# States with the same picture that are followed side by side.
MAX_STATES = 24
Array = np.ndarray[Any, Any]


@dataclass
class State:
    """A state of the emulator that fits all pictures so far.

    Parameters
    ----------
    saved : ALEState
        The emulator's own copy.
    action : int
        What the emulator would go on with.
    rewards : tuple of int
        Earned in each step so far.
    """

    saved: Any
    action: int
    rewards: tuple[int, ...]


class Emulator:
    """A game whose every frame is decided here."""

    def __init__(self, game: str) -> None:
        self._ale = quiet_emulator(seed=0, sticky=0.0)
        self._ale.loadROM(rom_path(game))
        self.actions = self._ale.getMinimalActionSet()

    def start(self) -> State:
        """Begin a game."""
        self._ale.reset_game()
        return State(self._ale.cloneState(), 0, ())

    def step(self, state: State, action: int, kept: int) -> tuple[State, Array, bool]:
        """Go on with the action before for `kept` frames, then with `action`; also tell whether the game is over."""
        self._ale.restoreState(state.saved)
        reward, screens = 0, []
        for frame in range(FRAME_SKIP):
            current = state.action if frame < kept else action
            reward += self._ale.act(self.actions[current])
            screens.append(self._ale.getScreenGrayscale())
        after = state.action if kept == FRAME_SKIP else action
        reached = State(self._ale.cloneState(), after, (*state.rewards, reward))
        return reached, picture(*screens[-2:]), self._ale.game_over()

    def identity(self, state: State) -> bytes:
        """Return what tells states apart that look alike."""
        self._ale.restoreState(state.saved)
        return self._ale.getRAM().tobytes() + bytes([state.action])


@dataclass
class Replay:
    """What came of an episode: the rewards of the emulator, and whether the game was over after the last action."""

    rewards: Array
    over: bool
    exact: float


def replayed(emulator: Emulator, pictures: Array, actions: Array) -> Replay | int:
    """Play an episode; return what the emulator gave, or the step whose picture it could not reach."""
    states, exact = [emulator.start()], 0
    for step, action in enumerate(actions[:-1]):
        tried = [
            emulator.step(state, int(action), kept)
            for state in states
            for kept in range(FRAME_SKIP + 1 if state.action != action else 1)
        ]
        errors = [int(np.abs(seen.astype(int) - pictures[step + 1]).sum()) for _, seen, _ in tried]
        best = min(errors)
        if best > 0.02 * pictures[step + 1].size:
            return step
        exact += best == 0
        found = {
            emulator.identity(state): state for (state, _, _), error in zip(tried, errors, strict=True) if error == best
        }
        states = list(found.values())[:MAX_STATES]
    ends = [emulator.step(state, int(actions[-1]), kept) for state in states for kept in range(FRAME_SKIP + 1)]
    rewards = np.array([state.rewards for state, _, _ in ends])
    return Replay(rewards[0], all(over for _, _, over in ends), exact / max(len(actions) - 1, 1))


def main() -> None:
    """Print a line for each episode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--task", required=True)
    arguments = parser.parse_args()
    emulator = Emulator(arguments.task)
    wrong = 0
    print("episode  rows  pictures equal  rewards  rows equal  equal one row early  over after the last action")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.hdf5"
        rlbuffers.convert(RLUAtariEpisodesSource(arguments.shard, arguments.task, stack=1), path)
        with rlbuffers.open(path) as buffer:
            for number in range(buffer.num_episodes):
                episode = buffer.episode(number)
                rewards = episode["rewards"]
                found = replayed(emulator, episode["observations"][:, 0], episode["actions"])
                if isinstance(found, int):
                    print(
                        f"{number:>7}  {len(rewards):>4}  not replayed: the picture after step {found} was not reached"
                    )
                    continue
                clipped = np.clip(found.rewards, -1, 1)
                equal, early = int((clipped == rewards).sum()), int((clipped[1:] == rewards[:-1]).sum())
                wrong += len(rewards) - equal
                print(
                    f"{number:>7}  {len(rewards):>4}  {found.exact:>14.1%}  {np.count_nonzero(clipped):>7}  "
                    f"{equal:>10}  {early:>19}  {'yes' if found.over else 'NO'}"
                )
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
