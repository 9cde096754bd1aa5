"""How an episode of a LeRobot dataset ended.

``next.done`` is 1 for ends by the task and by time alike, and most datasets lack it. So an episode ends with
a terminal only where its last row shows the task's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["EpisodeEnds"]

Array = np.ndarray[Any, Any]
_DONE, _SUCCESS, _TRUNCATED = "infos/next/done", "infos/next/success", "infos/next/truncated"


class EpisodeEnds:
    """Decides which episodes ended by their task.

    ``next.success`` decides where there is one. Else the last row must be done, and either ``next.truncated``
    says that it was not time, or the only reward of the episode is the last one, which is 1.

    Attributes
    ----------
    asked, terminal, undecided : int
        Episodes that were asked about, that ended by their task, and whose last row is done without any of these.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.terminal = 0
        self.undecided = 0

    def is_terminal(self, columns: Mapping[str, Array]) -> bool:
        """Whether an episode ended by its task, given its columns under a buffer's names."""
        self.asked += 1
        done, success, truncated = (
            bool(columns[name].reshape(-1)[-1]) if name in columns else None for name in (_DONE, _SUCCESS, _TRUNCATED)
        )
        if success is not None:
            terminal = success
        elif not done:
            terminal = False
        elif truncated is not None:
            terminal = not truncated
        else:
            rewards = columns["rewards"]
            terminal = bool(rewards[-1] == 1 and not rewards[:-1].any())
            self.undecided += not terminal
        self.terminal += terminal
        return terminal

    def warnings(self) -> list[str]:
        """Say what was not decided, if anything."""
        if not self.undecided:
            return []
        return [
            "Episodes that are done in their last row without a sign whether by the task or by time: "
            f"{self.undecided:,}. They end with a timeout; infos/next/done has the flags as they are stored."
        ]
