"""What a buffer says of values, against loops over its episodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UsageError
from rlbuffers_train.off_policy.recorded_values import ValueScale, recorded_episodes

LENGTH = 4
COLUMNS = [
    ColumnSpec("observations", np.float32, (1,)),
    ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
    ColumnSpec("rewards", np.float32),
    ColumnSpec("terminals", np.bool_),
    ColumnSpec("timeouts", np.bool_),
]

# Of each step: its reward and whether the task ends with it. Of each episode besides: whether it was recorded to its
# end, and whether what was observed then is known.
episodes = st.tuples(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=LENGTH), st.booleans(), st.booleans()
)


def write(path: Path | str, recorded: list[tuple[list[tuple[int, bool]], bool, bool]]) -> rlbuffers.Buffer:
    with rlbuffers.create(path, BufferSpec("episodes", COLUMNS), overwrite=True) as writer:
        for steps, whole, final_known in recorded:
            count = len(steps)
            terminals = np.array([ends for _, ends in steps])
            columns = {
                "actions": np.zeros(count, np.int64),
                "rewards": np.array([reward for reward, _ in steps], np.float32),
                "terminals": terminals,
                "timeouts": (np.arange(count) == count - 1) & ~terminals,
            }
            observations = np.zeros((count + final_known, 1), np.float32)
            writer.append_episode(Episode(columns, {"observations": observations}, whole=whole))
    return rlbuffers.open(path)


@settings(max_examples=60, deadline=None)
@given(recorded=st.lists(episodes, min_size=1, max_size=6), gamma=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_episodes_and_the_range_of_values_agree_with_loops(
    recorded: list[tuple[list[tuple[int, bool]], bool, bool]], gamma: float
) -> None:
    buffer = write("memory:recorded-values", recorded)
    row, first, returns, cuts, known = 0, [], [], [], True
    for steps, whole, final_known in recorded:
        total, weight, ended = 0.0, 1.0, False
        for reward, ends in steps:
            if not ended:
                total += weight * reward
                weight *= gamma
                ended = ends
        if whole:
            if not ended:
                cuts.append((len(returns), row + len(steps) - 1, weight))
                known &= final_known
            first.append(row)
            returns.append(total)
        row += len(steps)
    found = recorded_episodes(buffer, gamma, 100, np.random.default_rng(0))
    if not returns:
        assert found is None
        return
    assert found is not None
    assert found.first_rows.tolist() == first
    np.testing.assert_allclose(found.returns, returns, rtol=1e-5, atol=1e-5)
    assert found.cut.tolist() == [number for number, _, _ in cuts]
    assert found.cut_rows.tolist() == [last for _, last, _ in cuts]
    np.testing.assert_allclose(found.cut_discounts, [weight for _, _, weight in cuts])
    assert found.ends_known is known

    if gamma == 1.0 and not any(ends for steps, _, _ in recorded for _, ends in steps):
        with pytest.raises(UsageError, match="values have no bound with gamma 1"):
            ValueScale.of(buffer, gamma)
        return
    scale = ValueScale.of(buffer, gamma)
    assert scale.spread > 0
    assert np.isfinite([scale.center, scale.spread]).all()
    assert all(scale.low - 1e-4 <= value <= scale.high + 1e-4 for value in returns)


def test_the_range_is_that_of_the_same_reward_for_ever_or_once() -> None:
    buffer = write("memory:range", [([(2, False), (3, True)], True, True)])
    scale = ValueScale.of(buffer, 0.75)
    assert (scale.low, scale.high) == (2.0, 12.0)  # 2 once; 3 / (1 - 0.75)
    buffer = write("memory:range", [([(-2, False), (-3, True)], True, True)])
    scale = ValueScale.of(buffer, 0.75)
    assert (scale.low, scale.high) == (-12.0, -2.0)
    assert scale.center == pytest.approx(-2.5 / (1 - 0.75 * 0.5))


def test_some_of_many_episodes_are_drawn_in_order_and_none_twice() -> None:
    buffer = write("memory:many", [([(number % 5, True)], True, True) for number in range(30)])
    found = recorded_episodes(buffer, 0.9, 7, np.random.default_rng(0))
    assert found is not None
    assert len(found.first_rows) == 7
    assert (np.diff(found.first_rows) > 0).all()
    assert found.returns.tolist() == [row % 5 for row in found.first_rows]


def test_independent_transitions_have_no_episodes() -> None:
    spec = BufferSpec("transitions", [*COLUMNS, ColumnSpec("next_observations", np.float32, (1,))], order="shuffled")
    with rlbuffers.create("memory:transitions", spec, overwrite=True) as writer:
        writer.append_transitions(
            {
                "observations": np.zeros((3, 1), np.float32),
                "next_observations": np.zeros((3, 1), np.float32),
                "actions": np.zeros(3, np.int64),
                "rewards": np.ones(3, np.float32),
                "terminals": np.ones(3, np.bool_),
                "timeouts": np.zeros(3, np.bool_),
            }
        )
    assert recorded_episodes(rlbuffers.open("memory:transitions"), 0.9, 10, np.random.default_rng(0)) is None
