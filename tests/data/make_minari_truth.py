"""Write what Minari itself reads in each of the datasets in ``minari/fixture``, as ``<name>.truth.npz``.

The tests compare the conversion with these arrays, which none of this project's code has touched. Needs minari 0.5.4
(with pyarrow and Pillow), and nothing else. Run it again only when a dataset changes::

    python tests/data/make_minari_truth.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from minari import MinariDataset

FIXTURES = Path(__file__).parent / "minari" / "fixture"


def truth_of(folder: Path) -> dict[str, np.ndarray]:
    episodes = list(MinariDataset(folder / "data").iterate_episodes())
    return {
        "observations": np.concatenate([episode.observations[:-1] for episode in episodes]),
        "next_observations": np.concatenate([episode.observations[1:] for episode in episodes]),
        "next_defined": np.ones(sum(map(len, episodes)), bool),
        "actions": np.concatenate([episode.actions for episode in episodes]),
        "rewards": np.concatenate([episode.rewards for episode in episodes]),
        "terminals": np.concatenate([episode.terminations for episode in episodes]),
        "timeouts": np.concatenate([episode.truncations for episode in episodes]),
        "episode_lengths": np.array([len(episode) for episode in episodes]),
    }


def main() -> None:
    for folder in sorted(FIXTURES.glob("*-v0")):
        columns = truth_of(folder)
        np.savez_compressed(FIXTURES / f"{folder.name}.truth.npz", **columns)
        print(f"{folder.name}: {len(columns['rewards'])} transitions")  # noqa: T201


if __name__ == "__main__":
    main()
