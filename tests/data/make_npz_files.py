"""Make the small archives of OGBench, imitation and Stable Baselines: random walks, written by each format's rule."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent
sys.path.insert(0, str(DATA.parent / "support"))

from npz_files import write_exorl, write_imitation, write_ogbench, write_stable_baselines  # noqa: E402

LENGTHS = (9, 9, 9)


def main() -> None:
    """Write the files beside this script."""
    rng = np.random.default_rng(12)
    for folder in ("exorl", "ogbench", "imitation", "stable_baselines"):
        (DATA / folder).mkdir(exist_ok=True)
    seen = [rng.normal(size=(length + 1, 2)).cumsum(axis=0).astype(np.float32) for length in LENGTHS]
    longer = [rng.uniform(-1, 1, (length + 1, 2)).astype(np.float32) for length in LENGTHS]
    write_ogbench(
        DATA / "ogbench" / "pointmaze-medium-navigate-v0.npz",
        seen,
        longer,
        qpos=seen,
        qvel=[np.zeros_like(part) for part in seen],
    )
    pictures = [rng.integers(0, 8, (length + 1, 64, 64, 3), np.uint8) // 7 for length in (2, 2)]
    write_ogbench(
        DATA / "ogbench" / "visual-cube-single-play-v0-val.npz",
        pictures,
        [part[:, :5, 0, 0].astype(np.float32) for part in pictures],
        qpos=[part[:, 0, :3, 0].astype(np.float32) for part in pictures],
        qvel=[part[:, 1, :3, 0].astype(np.float32) for part in pictures],
        button_states=[part[:, 2, :2, 0].astype(np.int64) for part in pictures],
    )
    lengths = (5, 1, 7)
    seen = [rng.normal(size=(length + 1, 4)).astype(np.float32) for length in lengths]
    acts = [rng.integers(0, 2, length) for length in lengths]
    rews = [rng.normal(size=length) for length in lengths]
    write_imitation(DATA / "imitation" / "walk.npz", seen, acts, [True, True, False], rews)
    for number, (part, rewards) in enumerate(zip(seen, rews, strict=True)):
        path = DATA / "exorl" / f"episode_{number:06}_{len(rewards)}.npz"
        forces = rng.uniform(-1, 1, (len(rewards), 1)).astype(np.float32)
        write_exorl(path, part, forces, rewards.astype(np.float32), terminal=number == 1, physics=part[:, :2])
    obs = [part[:-1] for part in seen]
    write_stable_baselines(
        DATA / "stable_baselines" / "walk.npz", obs, [part[:, None] for part in acts], [part.copy() for part in rews]
    )


if __name__ == "__main__":
    main()
