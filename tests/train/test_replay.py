"""The ring against a list of everything that was ever added."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.errors import SpecError, UsageError
from rlbuffers_train.replay import ReplayRing

GAMMA = 0.9
SIZE = (2, 3)


@dataclass
class Played:
    """Rows of one environment as they were added."""

    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)

    def ends(self, row: int) -> bool:
        return self.terminated[row] or self.truncated[row]


def play(rng: np.random.Generator, num_rows: int, stack: int, end_share: float) -> Played:
    """Play in NEXT_STEP mode; every observation is unlike all others. An end resets the stack, or not (a lost life)."""
    played = Played()
    frames: list[np.ndarray] = []
    for row in range(num_rows):
        frame = rng.integers(1, 256, SIZE, np.uint8)
        starts_episode = row == 0 or (row >= 1 and played.ends(row - 1) and rng.random() < 0.7)
        frames = [np.zeros(SIZE, np.uint8)] * (stack - 1) if starts_episode else frames[1:]
        frames = [*frames, frame]
        played.observations.append(np.stack(frames) if stack > 1 else frame)
        played.actions.append(int(rng.integers(4)))
        played.rewards.append(float(rng.normal()))
        end = rng.random() < end_share
        both = rng.random() < 0.2
        is_termination = rng.random() < 0.5
        played.terminated.append(end and (is_termination or both))
        played.truncated.append(end and (not is_termination or both))
    return played


def slow_transition(played: Played, row: int, n_step: int) -> tuple[float, int, float]:
    """Return the n-step reward, the row to bootstrap from and the discount, one step at a time."""
    reward, discount = 0.0, 1.0
    for step in range(n_step):
        reward += discount * played.rewards[row + step]
        discount *= GAMMA
        if played.ends(row + step):
            return reward, row + step + 1, 0.0 if played.terminated[row + step] else discount
    return reward, row + n_step, discount


def fill(ring: ReplayRing, games: list[Played], num_rows: int) -> None:
    for row in range(num_rows):
        ring.add(
            np.stack([game.observations[row] for game in games]),
            np.array([game.actions[row] for game in games]),
            np.array([game.rewards[row] for game in games]),
            np.array([game.terminated[row] for game in games]),
            np.array([game.truncated[row] for game in games]),
        )


@given(
    num_rows=st.integers(1, 60),
    rows_kept=st.integers(9, 25),
    num_envs=st.integers(1, 3),
    stack=st.sampled_from([1, 4]),
    n_step=st.integers(1, 4),
    end_share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_draws_exactly_the_transitions_of_a_slow_list(
    num_rows: int, rows_kept: int, num_envs: int, stack: int, n_step: int, end_share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    games = [play(rng, num_rows, stack, end_share) for _ in range(num_envs)]
    shape = (stack, *SIZE) if stack > 1 else SIZE
    ring = ReplayRing(rows_kept * num_envs, num_envs, shape, "uint8", is_stacked=stack > 1, n_step=n_step, gamma=GAMMA)
    fill(ring, games, num_rows)
    oldest = num_rows - rows_kept + stack - 1 if num_rows > rows_kept else 0
    expected = {
        (env, row)
        for env, game in enumerate(games)
        for row in range(oldest, num_rows - n_step)
        if row == 0 or not game.ends(row - 1)
    }
    assert len(ring) == len(expected)
    if not expected:
        with pytest.raises(UsageError, match="no complete transition"):
            ring.sample(1, rng)
        return
    place = {game.observations[row].tobytes(): (env, row) for env, game in enumerate(games) for row in range(num_rows)}
    drawn = ring.sample(20 * len(expected), rng)
    seen = set()
    for index, observation in enumerate(drawn["observations"]):
        env, row = place[observation.tobytes()]
        seen.add((env, row))
        reward, bootstrap_row, discount = slow_transition(games[env], row, n_step)
        assert drawn["actions"][index] == games[env].actions[row]
        assert drawn["rewards"][index] == pytest.approx(reward, rel=1e-5, abs=1e-6)
        assert drawn["discounts"][index] == pytest.approx(discount, rel=1e-6)
        np.testing.assert_array_equal(drawn["next_observations"][index], games[env].observations[bootstrap_row])
    assert seen <= expected
    if len(expected) <= 20:  # 20 draws each leave one out with a probability of 2e-9
        assert seen == expected


def test_frames_are_kept_once() -> None:
    ring = ReplayRing(1000, 10, (4, 84, 84), "uint8", is_stacked=True, n_step=3, gamma=GAMMA)
    held = sum(value.nbytes for value in vars(ring).values() if isinstance(value, np.ndarray))
    assert held < 1000 * 84 * 84 * 1.1


def test_a_stack_that_comes_from_nowhere_is_refused() -> None:
    ring = ReplayRing(40, 1, (4, *SIZE), "uint8", is_stacked=True, n_step=1, gamma=GAMMA)
    no, zero = np.zeros(1, bool), np.zeros(1)
    with pytest.raises(SpecError, match="environment 0"):
        ring.add(np.ones((1, 4, *SIZE), np.uint8), zero, zero, no, no)


def test_a_ring_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="do not hold"):
        ReplayRing(10, 2, (4, *SIZE), "uint8", is_stacked=True, n_step=3, gamma=GAMMA)
