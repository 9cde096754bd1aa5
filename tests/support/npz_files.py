"""Archives as other libraries write them: OGBench's, imitation's, Stable Baselines'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def write_ogbench(path: Path, seen: Sequence[Array], actions: Sequence[Array], **more: Sequence[Array]) -> Path:
    """Write trajectories of T + 1 observations and as many actions, as data_gen_scripts/generate_locomaze.py does.

    `more` are further arrays of T + 1 rows for each trajectory.
    """
    lasts = np.cumsum([len(part) for part in seen]) - 1
    terminals = np.zeros(lasts[-1] + 1, bool)
    terminals[lasts] = True
    arrays = {name: np.concatenate(parts) for name, parts in more.items()}
    np.savez_compressed(
        path, observations=np.concatenate(seen), actions=np.concatenate(actions), terminals=terminals, **arrays
    )
    return path


def write_imitation(
    path: Path, seen: Sequence[Array], acts: Sequence[Array], terminal: Sequence[bool], rews: Sequence[Array] | None
) -> Path:
    """Write trajectories as imitation/data/serialize.py of imitation 0.4 does, with a pickle of infos."""
    lengths = [len(part) for part in acts]
    infos: Array = np.array([{} for _ in range(sum(lengths))], object)
    rewards = {} if rews is None else {"rews": np.concatenate(rews)}
    np.savez_compressed(
        path,
        obs=np.concatenate(seen),
        acts=np.concatenate(acts),
        infos=infos,
        terminal=np.array(terminal),
        indices=np.cumsum(lengths[:-1]).astype(np.int64),
        **rewards,
    )
    return path


def write_stable_baselines(
    path: Path, obs: Sequence[Array], actions: Sequence[Array], rewards: Sequence[Array]
) -> Path:
    """Write episodes as stable_baselines/gail/dataset/record_expert.py does."""
    starts = np.concatenate([np.arange(len(part)) == 0 for part in obs])
    np.savez(
        path,
        actions=np.concatenate(actions),
        obs=np.concatenate(obs),
        rewards=np.concatenate(rewards),
        episode_returns=np.array([part.sum() for part in rewards]),
        episode_starts=starts,
    )
    return path


def write_exorl(
    path: Path,
    seen: Array,
    actions: Array,
    rewards: Array,
    *,
    terminal: bool = False,
    marks: bool = False,
    **more: Array,
) -> Path:
    """Write an episode as save_episode of exorl's replay_buffer.py does; with `marks` as DreamerV2 does."""
    count = len(seen)
    discounts = np.ones((count, 1), np.float32)
    discounts[-1] = not terminal
    places = np.arange(count)
    flags = {"is_first": places == 0, "is_last": places == count - 1, "is_terminal": (places == count - 1) & terminal}
    np.savez_compressed(
        path,
        observation=seen,
        action=np.concatenate([np.zeros_like(actions[:1]), actions]),
        reward=np.concatenate([np.zeros(1, rewards.dtype), rewards])[:, None],
        discount=discounts,
        **(flags if marks else {}),
        **more,
    )
    return path
