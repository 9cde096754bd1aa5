"""The ring against a list of everything that was ever added."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlbuffers import BufferSpec, ColumnSpec, RingBuffer
from rlbuffers.errors import OutOfRangeError, SpecError, UsageError
from rlbuffers.samplers import Priorities
from rlbuffers.transforms import ClipRewards

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


def make_ring(rows_kept: int, num_envs: int, stack: int) -> RingBuffer:
    shape = (stack, *SIZE) if stack > 1 else SIZE
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8, shape),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
        stack=stack if stack > 1 else 0,
    )
    return RingBuffer(spec, rows_kept * num_envs, num_envs)


def append(ring: RingBuffer, games: list[Played], row: int) -> None:
    ring.append(
        {
            "observations": np.stack([game.observations[row] for game in games]),
            "actions": np.array([game.actions[row] for game in games]),
            "rewards": np.array([game.rewards[row] for game in games], np.float32),
            "terminals": np.array([game.terminated[row] for game in games]),
            "timeouts": np.array([game.truncated[row] for game in games]),
        }
    )


def fill(ring: RingBuffer, games: list[Played], num_rows: int) -> None:
    for row in range(num_rows):
        append(ring, games, row)


def drawable(games: list[Played], num_rows: int, rows_kept: int, stack: int, n_step: int) -> list[tuple[int, int]]:
    """List (environment, row) of every transition that is complete and still there, oldest first."""
    oldest = num_rows - rows_kept + stack - 1 if num_rows > rows_kept else 0
    return [
        (env, row)
        for row in range(oldest, num_rows - n_step)
        for env, game in enumerate(games)
        if row == 0 or not game.ends(row - 1)
    ]


@given(
    num_rows=st.integers(1, 60),
    rows_kept=st.integers(9, 25),
    num_envs=st.integers(1, 3),
    stack=st.sampled_from([1, 4]),
    n_step=st.integers(1, 4),
    end_share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=100)
def test_draws_exactly_the_transitions_of_a_slow_list(
    num_rows: int, rows_kept: int, num_envs: int, stack: int, n_step: int, end_share: float, seed: int
) -> None:
    """100 rings, 100 batches of each."""
    rng = np.random.default_rng(seed)
    games = [play(rng, num_rows, stack, end_share) for _ in range(num_envs)]
    ring = make_ring(rows_kept, num_envs, stack)
    fill(ring, games, num_rows)
    expected = drawable(games, num_rows, rows_kept, stack, n_step)
    sampler = ring.sampler(max(len(expected) // 5, 1), rng, n_step=n_step, gamma=GAMMA)
    assert sampler.num_items == len(expected)
    if not expected:
        with pytest.raises(UsageError, match="no complete transition"):
            sampler.sample()
        return
    place = {game.observations[row].tobytes(): (env, row) for env, game in enumerate(games) for row in range(num_rows)}
    slow = {(env, row): slow_transition(games[env], row, n_step) for env, row in expected}
    batches = [sampler.sample() for _ in range(100)]
    drawn = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    seen = [place[observation.tobytes()] for observation in drawn["observations"]]
    assert set(seen) == set(expected)  # 20 draws each leave one out with a probability of 2e-9
    rewards, last, discounts = (np.array(values) for values in zip(*(slow[one] for one in seen), strict=True))
    np.testing.assert_allclose(drawn["rewards"], rewards, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn["discounts"], discounts, rtol=1e-6)
    for index, (env, row) in enumerate(seen):
        assert drawn["actions"][index] == games[env].actions[row]
        assert drawn["terminals"][index] == games[env].terminated[last[index] - 1]
        assert drawn["timeouts"][index] == games[env].truncated[last[index] - 1]
    following = np.stack([games[env].observations[row] for (env, _), row in zip(seen, last, strict=True)])
    np.testing.assert_array_equal(drawn["next_observations"], following)


@given(num_rows=st.integers(1, 40), stack=st.sampled_from([1, 4]), end_share=st.sampled_from([0.0, 0.3, 1.0]))
def test_rows_are_numbered_from_the_oldest(num_rows: int, stack: int, end_share: float) -> None:
    games = [play(np.random.default_rng(num_rows + env), num_rows, stack, end_share) for env in range(2)]
    ring = make_ring(12, 2, stack)
    fill(ring, games, num_rows)
    expected = drawable(games, num_rows, 12, stack, 1)
    assert len(ring) == len(expected)
    batch = ring.rows(np.arange(len(ring)))
    assert sorted(batch) == ring.spec.batch_names
    for index, (env, row) in enumerate(expected):
        game = games[env]
        np.testing.assert_array_equal(batch["observations"][index], game.observations[row])
        np.testing.assert_array_equal(batch["next_observations"][index], game.observations[row + 1])
        assert batch["rewards"][index] == np.float32(game.rewards[row])
        assert (batch["terminals"][index], batch["timeouts"][index]) == (game.terminated[row], game.truncated[row])
    if expected:
        newest = ring.rows([-1, -len(ring)], ["rewards"])["rewards"]
        np.testing.assert_array_equal(newest, batch["rewards"][[-1, 0]])
    with pytest.raises(OutOfRangeError, match="there is no row"):
        ring.rows([len(ring)])


@given(seed=st.integers(0, 2**16), n_step=st.integers(1, 3), end_share=st.sampled_from([0.0, 0.2]))
def test_priorities_follow_what_is_appended_and_forgotten(seed: int, n_step: int, end_share: float) -> None:
    """Against a dict of priorities: new transitions get the greatest so far, forgotten ones are gone."""
    rng = np.random.default_rng(seed)
    games = [play(rng, 60, 1, end_share) for _ in range(2)]
    ring = make_ring(10, 2, 1)
    sampler = ring.sampler(7, seed, n_step=n_step, priorities=Priorities(alpha=1.0, beta=1.0, epsilon=0.0))
    known: dict[tuple[int, int], float] = {}
    greatest = 1.0
    for num_rows in range(1, 61):
        append(ring, games, num_rows - 1)
        alive = drawable(games, num_rows, 10, 1, n_step)
        known = {one: known.get(one, greatest) for one in alive}
        if not alive:
            continue
        place = {games[env].observations[row].tobytes(): (env, row) for env, row in alive}
        batch = sampler.sample()
        seen = [place[observation.tobytes()] for observation in batch["observations"]]
        smallest = min(known.values())
        np.testing.assert_allclose(batch["importance_weights"], [smallest / known[one] for one in seen], rtol=1e-6)
        priorities = rng.random(7) * 3 + 0.1
        sampler.update_priorities(batch["indices"], priorities)
        known.update(zip(seen, priorities.tolist(), strict=True))
        greatest = max(greatest, priorities.max())


def test_updates_of_what_was_forgotten_are_passed_over() -> None:
    games = [play(np.random.default_rng(0), 40, 1, 0.0)]
    ring = make_ring(10, 1, 1)
    fill(ring, games, 10)
    sampler = ring.sampler(5, priorities=Priorities())
    old = sampler.sample()["indices"]
    for row in range(10, 40):
        append(ring, games, row)
    sampler.update_priorities(old, np.full(5, 1e9))
    weights = sampler.sample()["importance_weights"]
    np.testing.assert_array_equal(weights, 1.0)
    with pytest.raises(UsageError, match="none that this sampler draws"):
        sampler.update_priorities([40], [1.0])


def test_rewards_are_clipped_before_they_are_summed() -> None:
    ring = make_ring(10, 1, 1)
    game = play(np.random.default_rng(1), 9, 1, 0.0)
    game.rewards = [5.0] * 9
    fill(ring, [game], 9)
    batch = ring.sampler(4, n_step=3, gamma=1.0, transforms=[ClipRewards()]).sample()
    np.testing.assert_array_equal(batch["rewards"], 3.0)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [("int8", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_sums_of_narrow_rewards_do_not_overflow(dtype: str, wanted: str) -> None:
    reward = 49_984 if dtype.startswith("float") else 100
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (1,)),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", dtype),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
    )
    ring = RingBuffer(spec, 10, 1)
    for _ in range(9):
        row = {
            "observations": np.zeros((1, 1), np.float32),
            "actions": np.zeros(1, np.int64),
            "rewards": np.full(1, reward, dtype),
            "terminals": np.zeros(1, bool),
            "timeouts": np.zeros(1, bool),
        }
        ring.append(row)
    rewards = ring.sampler(4, n_step=3, gamma=1.0).sample()["rewards"]
    assert rewards.dtype == wanted
    assert rewards.tolist() == [3.0 * reward] * 4


def test_nothing_is_read_ahead_of_what_changes() -> None:
    with pytest.raises(UsageError, match="a ring changes while it is drawn from"):
        make_ring(10, 1, 1).sampler(2).loader()


def test_frames_are_kept_once() -> None:
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.uint8, (4, 84, 84)),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
        ],
        stack=4,
    )
    tracemalloc.start()
    ring = RingBuffer(spec, 1000, 10)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(ring) == 0
    assert held < 1000 * 84 * 84 * 1.1


def test_a_stack_that_comes_from_nowhere_is_refused() -> None:
    ring = make_ring(40, 1, 4)
    game = play(np.random.default_rng(0), 1, 4, 0.0)
    game.observations[0] = np.ones((4, *SIZE), np.uint8)
    with pytest.raises(SpecError, match="environment 0"):
        append(ring, [game], 0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="do not hold"):
        make_ring(5, 2, 4)
    with pytest.raises(UsageError, match="do not hold 6-step"):
        make_ring(10, 2, 4).sampler(2, n_step=6)
    ring = make_ring(10, 2, 1)
    game = play(np.random.default_rng(0), 1, 1, 0.0)
    with pytest.raises(SpecError, match="one row for each of 2 environments, got 1"):
        append(ring, [game], 0)
    with pytest.raises(SpecError, match="expected"):
        ring.append({"actions": np.zeros(2, np.int64)})
    with pytest.raises(SpecError, match="layout 'episodes'"):
        RingBuffer(BufferSpec("episodes", [ColumnSpec(n, "f4") for n in ("observations", "actions", "rewards")]), 9)
