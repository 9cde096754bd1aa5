"""What is counted on the Examples of an RLDS dataset as they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlbuffers.decoding.example_values import FeatureValues
from rlbuffers.sources.tfds.columns import STEPS
from rlbuffers.sources.tfds.endings import Ending
from rlbuffers.stats import total_reward

__all__ = ["Measurements", "scalar_text"]

Array = np.ndarray[Any, Any]
Features = Mapping[str, FeatureValues]


class Measurements:
    """What is counted on the raw Examples."""

    def __init__(self) -> None:
        self.episodes = 0
        self.transitions = 0
        self.reward_sum = 0.0
        self.counts: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.changing_texts: set[str] = set()
        self._texts: dict[str, bytes] = {}

    def add(self, features: Features, ending: Ending, rewards: Array, *, early: bool) -> None:
        """Count one Example, given all its rewards, and whether they stand a row early."""
        if not ending.transitions:
            self.counts["episodes_without_transitions"] += 1
            return
        # Of early rewards the last has no action, and the first is not there.
        stop = ending.transitions - early
        kept, dropped = rewards[:stop], rewards[stop:]
        self.episodes += 1
        self.transitions += ending.transitions
        self.reward_sum += total_reward(kept)
        if ending.unknown:
            self.unknown[ending.unknown] += 1
        self.counts["early_rewards_dropped" if early else "last_rows_dropped"] += len(dropped)
        self.counts["early_rewards_not_zero" if early else "dropped_rows_with_reward"] += int(dropped.any())
        terminal = features.get("steps/is_terminal")
        if isinstance(terminal, np.ndarray):
            self.counts["episodes_with_inner_terminals"] += int(terminal[:-1].any())

    def add_texts(self, texts: Mapping[str, FeatureValues | None]) -> None:
        """Compare the texts of an episode, one or one a step, with those of the first."""
        for key, values in texts.items():
            found = set(values) if isinstance(values, list) else set()
            text = found.pop() if len(found) == 1 else None
            if text is None or self._texts.setdefault(key, text) != text:
                self.changing_texts.add(key)

    def texts(self) -> dict[str, bytes | str]:
        """Return the texts that are the same in every episode, and in every step of it."""
        return {
            key.removeprefix(f"{STEPS}/"): scalar_text(text)
            for key, text in self._texts.items()
            if key not in self.changing_texts
        }

    def to_json(self) -> dict[str, Any]:
        """Return the metadata's measurements."""
        told = {name: count for name, count in self.counts.items() if count}
        return {**told, **({"final_observations_unknown": dict(self.unknown)} if self.unknown else {})}

    def warnings(self) -> list[str]:
        """Say what a user must know."""
        found = [
            f"In {count:,} of {self.episodes:,} episodes the observation after the last action is not known: {reason}."
            for reason, count in self.unknown.items()
        ]
        rewarded, dropped = self.counts["dropped_rows_with_reward"], self.counts["last_rows_dropped"]
        if rewarded:
            found.append(
                f"{rewarded:,} of {dropped:,} last rows, of which RLDS uses the observation only, have a reward: the "
                "builder may have stored transitions there. --last-row transition reads them as such."
            )
        if self.counts["early_rewards_not_zero"]:
            found.append(
                f"In {self.counts['early_rewards_not_zero']:,} of {self.episodes:,} episodes the last row has a "
                "reward. Rewards stand one row early in these datasets, so that no action is left for it, and it is "
                "left out; in published ones it is 0."
            )
        if self.counts["episodes_with_inner_terminals"]:
            found.append(
                f"{self.counts['episodes_with_inner_terminals']:,} episodes go on after is_terminal; terminals say "
                "where, and do not end episodes."
            )
        return found

    def left_out(self) -> list[str]:
        """Say what was skipped."""
        empty = self.counts["episodes_without_transitions"]
        return [f"{empty:,} episodes of one observation and no transition"] if empty else []


def scalar_text(text: bytes) -> bytes | str:
    """Return a text as the metadata's scalars can hold it: bytes if it is ASCII, else what it spells in UTF-8."""
    return text if text.isascii() else text.decode("utf-8", "replace")
