"""What TFDS's ``rlu_atari`` builders made of RL Unplugged's Atari episodes, and how it is undone.

Format: ``rl_unplugged/atari_utils.py`` of tensorflow/datasets. The builders copy the records' rewards, which stand one
row early (``rl_unplugged/atari_records.py`` says how that is known); of a terminal episode they move the discounts
a row to the front, and lose the first. The last row is a transition, although RLDS calls it an observation only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.schema import ACTIONS, DISCOUNTS, OBSERVATIONS, REWARDS
from rlbuffers.sources.dqn_runs import BEHAVIOR, environment_facts
from rlbuffers.sources.rl_unplugged.atari_records import moved_to_their_actions
from rlbuffers.sources.rl_unplugged.games import ATARI_GAMES

__all__ = ["as_played", "atari_facts", "atari_game", "atari_notes", "atari_spaces"]

Array = np.ndarray[Any, Any]
# Versions before 1.1 have the reward as it was played, and the clipped one beside it.
_EARLY = (REWARDS, "clipped_reward")
_CONFIG = re.compile(r"(\w+)_run_\d+")


def as_played(columns: Mapping[str, Array], *, is_terminal: bool) -> dict[str, Array]:
    """Return the columns of an episode with rewards and discounts at the actions that they follow.

    Parameters
    ----------
    columns : mapping of name to array of T rows
        Of all rows of an episode, the last one included.
    is_terminal : bool
        Whether the builder took the episode for a terminal one, and moved its discounts.
    """
    moved = {name: moved_to_their_actions(columns[name]) for name in _EARLY if name in columns}
    if is_terminal and DISCOUNTS in columns:
        discounts = columns[DISCOUNTS]
        # All discounts of these data but the last are 1, and so was the first, which is lost.
        moved[DISCOUNTS] = np.concatenate([np.ones_like(discounts[:1]), discounts[:-1]])
    return {**columns, **moved}


def atari_facts(config: str) -> dict[str, Any]:
    """Return ``environment`` and ``behavior_policy`` of a configuration such as ``Asterix_run_1``."""
    game = atari_game(config)
    named = {"id": game} if game else {}
    return {
        "environment": {**named, "suite": "RL Unplugged Atari", **environment_facts(1)},
        "behavior_policy": {"name": BEHAVIOR, "epsilon": "unknown"},
    }


def atari_spaces(config: str) -> dict[str, Any]:
    """Return the spaces of actions and observations, as far as the name of a configuration tells them."""
    game = atari_game(config)
    discrete = {ACTIONS: {"type": "discrete", "n": ATARI_GAMES[game]}} if game else {}
    return {OBSERVATIONS: {"type": "box", "low": 0, "high": 255}, **discrete}


def atari_notes(episodes: int) -> list[str]:
    """Say what was moved."""
    return [
        "The dataset has rewards one row early; they were moved to the actions that earned them. What the first action "
        f"of an episode earned is not in it: the reward is 0 there, in {episodes:,} rows.",
        "The last row of an episode is a transition; what was seen after it is not known (episodes/final_known).",
        "The discounts of terminal episodes, which the builder had moved by a row, were moved back.",
    ]


def atari_game(config: str) -> str:
    """Return the game of a configuration, or nothing if its name tells none."""
    found = _CONFIG.fullmatch(config)
    return found[1] if found and found[1] in ATARI_GAMES else ""
