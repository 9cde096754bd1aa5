"""How a demo ended: what robomimic's ``dones`` say, and what they leave open.

``dones`` are written in one of three ways (``dataset_states_to_obs.py --done_mode``), and a file does
not say which: 1 wherever the action led to a state of success (0), in the last row of every demo (1),
or both (2). A demo often goes on for some rows after the first success. robomimic's algorithms do not
bootstrap from any row with 1; here only the last row of a demo can be terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["DemoEnds"]

Array = np.ndarray[Any, Any]


class DemoEnds:
    """Decides which demos ended by success.

    Isaac Lab's attribute ``success`` decides where there is one. Else the last row must be done, and one of
    these must show that it is done for success: ``dones`` is 0 in the last row of some demo, so that 1 does not
    mark ends; rewards are 0 or 1, as robosuite's sparse ones are, and the last one is 1; or the row before
    the last was done as well.

    Attributes
    ----------
    undecided : int
        Demos whose last row is done without any of these.
    """

    def __init__(self) -> None:
        self.undecided = 0
        self._some_end_undone = False
        self._sparse = True
        self._any_reward = False

    def look(self, rewards: Array | None, dones: Array | None) -> None:
        """Look at a demo, before any is asked about; arrays of shape (T,)."""
        if dones is not None:
            self._some_end_undone |= not dones[-1]
        if rewards is None:
            self._sparse = False
        elif self._sparse:
            self._sparse = bool(np.isin(rewards, (0, 1)).all())
            self._any_reward |= bool(rewards.any())

    def is_success(self, rewards: Array | None, dones: Array | None, stated: bool | None) -> bool:
        """Whether a demo ended by success; `stated` is what its attribute says, if it has one."""
        if stated is not None:
            return stated
        if dones is None or not dones[-1]:
            return False
        if self._some_end_undone:
            return True
        if self._sparse and self._any_reward and rewards is not None:
            return bool(rewards[-1] == 1)
        if len(dones) > 1 and dones[-2]:
            return True
        self.undecided += 1
        return False

    def warnings(self, num_demos: int) -> Sequence[str]:
        """Say what was not decided, if anything."""
        if not self.undecided:
            return []
        return [
            f"Demos whose 'dones' is 1 in the last row only: {self.undecided:,} of {num_demos:,}. That may mark the "
            "end of the recording instead of success (done_mode 1), so they end with a timeout. infos/dones has the "
            "flags as they are stored."
        ]
