"""Settings of training on a buffer."""

from __future__ import annotations

from dataclasses import dataclass

from rlbuffers_train.devices import ComputeSettings
from rlbuffers_train.settings import setting

__all__ = ["OfflineSettings"]


@dataclass(frozen=True, kw_only=True)
class OfflineSettings(ComputeSettings):
    """Settings of the trainer, as checkpoints keep them. Some may change when resuming."""

    buffer: str = setting(about="Path of the data.")
    seed: int = setting(0, "Seed of everything random.", at_least=0)
    epoch: int = setting(10, "Number of epochs.", at_least=1)
    update_per_epoch: int = setting(1000, "Updates from one evaluation to the next.", at_least=1)
    eval_episodes: int = setting(10, "Episodes of an evaluation; 0 trains without any.", at_least=0)
    clip_rewards: bool = setting(False, "Whether rewards are clipped to [-1, 1] (0 or 1).")
    norm_rewards: bool = setting(False, "Whether rewards are scaled so that the data's returns span 1,000 (0 or 1).")
    num_actions: int | None = setting(None, "Number of actions, if the buffer does not record it.", at_least=1)
    first_action: int | None = setting(None, "Number of the first of these; 0 with --num-actions alone.")
    action_low: tuple[float, ...] | None = setting(None, "Lower bounds of actions that are vectors: one, or one each.")
    action_high: tuple[float, ...] | None = setting(None, "Upper bounds of these.")
