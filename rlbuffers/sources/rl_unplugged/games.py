"""The Atari games of RL Unplugged and where their shards are published.

Gulcehre et al., "RL Unplugged: A Suite of Benchmarks for Offline Reinforcement Learning", NeurIPS
2020. The suite has 46 games: 9 for tuning and 37 for testing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from rlbuffers.errors import UsageError

__all__ = [
    "ATARI_GAMES",
    "NUM_RUNS",
    "NUM_SHARDS",
    "check_game",
    "episodes_shard_name",
    "episodes_shard_url",
    "num_episode_shards",
    "shard_name",
    "shard_url",
]

# Game to the size of its minimal action set, which the data's environments used (read from ale-py 0.12).
ATARI_GAMES = {
    "Alien": 18,
    "Amidar": 10,
    "Assault": 7,
    "Asterix": 9,
    "Atlantis": 4,
    "BankHeist": 18,
    "BattleZone": 18,
    "BeamRider": 9,
    "Boxing": 18,
    "Breakout": 4,
    "Carnival": 6,
    "Centipede": 18,
    "ChopperCommand": 18,
    "CrazyClimber": 9,
    "DemonAttack": 6,
    "DoubleDunk": 18,
    "Enduro": 9,
    "FishingDerby": 18,
    "Freeway": 3,
    "Frostbite": 18,
    "Gopher": 8,
    "Gravitar": 18,
    "Hero": 18,
    "IceHockey": 18,
    "Jamesbond": 18,
    "Kangaroo": 18,
    "Krull": 18,
    "KungFuMaster": 14,
    "MsPacman": 9,
    "NameThisGame": 6,
    "Phoenix": 8,
    "Pong": 6,
    "Pooyan": 6,
    "Qbert": 6,
    "Riverraid": 18,
    "RoadRunner": 18,
    "Robotank": 18,
    "Seaquest": 18,
    "SpaceInvaders": 6,
    "StarGunner": 18,
    "TimePilot": 10,
    "UpNDown": 6,
    "VideoPinball": 9,
    "WizardOfWor": 10,
    "YarsRevenge": 18,
    "Zaxxon": 18,
}

NUM_RUNS = 5
NUM_SHARDS = 100
_BUCKET = "https://storage.googleapis.com/rl_unplugged/atari"
_NUM_EPISODE_SHARDS = 50
# These games' runs were published with one checkpoint less.
_SHORT_GAMES = {"Carnival": 49, "Gravitar": 49, "StarGunner": 49}


def check_game(game: str, games: Mapping[str, int] = ATARI_GAMES, suite: str = "RL Unplugged") -> str:
    """Return `game` if it is one of the suite.

    Raises
    ------
    UsageError
        If it is not; names the nearest match.
    """
    if game in games:
        return game
    lowered = {name.lower(): name for name in games}
    near = difflib.get_close_matches(game.lower(), lowered, n=1)
    hint = f"did you mean {lowered[near[0]]}?" if near else f"choose one of {', '.join(games)}"
    raise UsageError(f"{game!r} is not one of the {len(games)} Atari games of {suite}; {hint}")


def shard_name(run_id: int, shard_id: int) -> str:
    """Return the file name of a shard, such as ``run_1-00001-of-00100``.

    Raises
    ------
    UsageError
        If there is no such run (1 to 5) or shard (0 to 99).
    """
    return _name(run_id, shard_id, NUM_SHARDS)


def run_of_shard(game: str, name: str) -> str | None:
    """Name the run that a shard of a game is of, such as ``Pong, run 1``; None if its file name is another."""
    found = re.fullmatch(r"run_(\d+)-\d+-of-\d+", name)
    return found and f"{game}, run {int(found[1])}"


def shard_url(game: str, run_id: int, shard_id: int) -> str:
    """Return where a shard of raw Atari transitions is published."""
    return f"{_BUCKET}/{check_game(game)}/{shard_name(run_id, shard_id)}"


def episodes_shard_name(game: str, run_id: int, shard_id: int) -> str:
    """Return the file name of a shard of whole episodes, such as ``run_1-00001-of-00050``.

    Raises
    ------
    UsageError
        If there is no such game, run (1 to 5) or shard (0 to 49; 0 to 48 for three games).
    """
    return _name(run_id, shard_id, num_episode_shards(game))


def num_episode_shards(game: str) -> int:
    """Return in how many shards a run's whole episodes are published."""
    return _SHORT_GAMES.get(check_game(game), _NUM_EPISODE_SHARDS)


def episodes_shard_url(game: str, run_id: int, shard_id: int) -> str:
    """Return where a shard of whole Atari episodes is published."""
    return f"{_BUCKET}_episodes_ordered/{check_game(game)}/{episodes_shard_name(game, run_id, shard_id)}"


def _name(run_id: int, shard_id: int, num_shards: int) -> str:
    if not 1 <= run_id <= NUM_RUNS:
        raise UsageError(f"run id {run_id}: expected 1 to {NUM_RUNS}")
    if not 0 <= shard_id < num_shards:
        raise UsageError(f"shard id {shard_id}: expected 0 to {num_shards - 1}")
    return f"run_{run_id}-{shard_id:05d}-of-{num_shards:05d}"
