"""RL Unplugged's bsuite: pairs of steps whose last ones are terminals, whatever the discount."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlu_records import FIRST, LAST, MID, encoded
from wire import write_shard

import rlbuffers
from rlbuffers.errors import FormatError
from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
from rlbuffers.sources.rl_unplugged.sequences import LastStepEnds
from rlbuffers.sources.rl_unplugged.tasks import BSUITE_TASKS, check_bsuite_task

CATCH = BSUITE_TASKS["catch/0_0.1"]


def pair(t, kinds, discount=1.0, **changes):
    made = {
        "observation": np.array([[t] * 6, [t + 1] * 6], np.float32),
        "action": np.array([t % 3, (t + 1) % 3]),
        "reward": np.array([t * 2, 0], np.float32),
        "discount": np.array([discount, 1.0], np.float32),
        "step_type": np.array(kinds, np.int64),
    }
    return encoded({**made, **changes})


@given(rows=st.lists(st.tuples(st.sampled_from([FIRST, MID]), st.sampled_from([MID, LAST])), min_size=1, max_size=8))
def test_last_steps_are_terminals(new_path, rows):
    records = [pair(t, kinds, discount=1.0) for t, kinds in enumerate(rows)]
    shard = write_shard(new_path("shard"), records)
    rlbuffers.convert(RLUPairsSource(shard, CATCH, LastStepEnds()), output := new_path("memory"))
    with rlbuffers.open(output) as buffer:
        found = buffer[:]
        t = np.arange(len(rows))
        np.testing.assert_array_equal(found["observations"][:, 0], t)
        np.testing.assert_array_equal(found["next_observations"][:, 5], t + 1)
        np.testing.assert_array_equal(found["actions"], t % 3)
        assert found["actions"].dtype == np.int64
        np.testing.assert_array_equal(found["rewards"], t * 2)
        ends = [following == LAST for _, following in rows]
        assert found["terminals"].tolist() == ends
        assert found["discounts"].tolist() == [0.0 if end else 1.0 for end in ends]
        assert not found["timeouts"].any()
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 3}
        assert buffer.metadata["environment"]["random_action_probability"] == 0.1
        assert buffer.metadata["measurements"].get("discounts_set_to_zero", 0) == sum(ends)


def test_any_run_is_a_task():
    assert check_bsuite_task("mountain_car/17_0.5").name == "mountain_car/17_0.5"


@pytest.mark.parametrize("change", [{"action": np.array([0.5, 0.5])}, {"observation": np.zeros((1, 6))}])
def test_wrong_records(tmp_path, new_path, change):
    shard = write_shard(tmp_path / "shard", [pair(0, (FIRST, MID)), pair(1, (MID, MID), **change)])
    with pytest.raises(FormatError, match="record 1: expected"):
        rlbuffers.convert(RLUPairsSource(shard, CATCH, LastStepEnds()), new_path("memory"))
