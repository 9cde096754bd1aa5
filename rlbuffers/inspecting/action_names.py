"""What the numbers of a discrete action mean, for environments that have a settled answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["action_names"]

# The full action set of the Arcade Learning Environment; a game's minimal set keeps this order.
_ALE = [
    "noop",
    "fire",
    "up",
    "right",
    "left",
    "down",
    "up-right",
    "up-left",
    "down-right",
    "down-left",
    "up+fire",
    "right+fire",
    "left+fire",
    "down+fire",
    "up-right+fire",
    "up-left+fire",
    "down-right+fire",
    "down-left+fire",
]
# Minimal sets that are not the full one, as positions in it (read from ale-py 0.12).
_MINIMAL_SETS = {
    "Amidar TimePilot WizardOfWor": "0 1 2 3 4 5 10 11 12 13",
    "Assault": "0 1 2 3 4 11 12",
    "Asterix CrazyClimber MsPacman": "0 2 3 4 5 6 7 8 9",
    "Asteroids": "0 1 2 3 4 5 6 7 10 11 12 13 14 15",
    "Atlantis": "0 1 11 12",
    "BeamRider": "0 1 2 3 4 6 7 11 12",
    "Breakout": "0 1 3 4",
    "AirRaid Carnival DemonAttack NameThisGame Pong SpaceInvaders": "0 1 3 4 11 12",
    "Enduro": "0 1 3 4 5 8 9 11 12",
    "Freeway": "0 2 5",
    "Gopher": "0 1 2 3 4 10 11 12",
    "JourneyEscape": "0 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17",
    "KungFuMaster": "0 2 3 4 5 8 9 11 12 13 14 15 16 17",
    "Phoenix": "0 1 3 4 5 11 12 13",
    "Bowling Pooyan UpNDown": "0 1 2 5 10 13",
    "Qbert": "0 1 2 3 4 5",
    "Skiing": "0 3 4",
    "Tutankham": "0 2 3 4 5 10 11 12",
    "VideoPinball": "0 1 2 3 4 5 10 11 12",
}
_FULL_SETS = [
    "Alien",
    "BankHeist",
    "BattleZone",
    "Berzerk",
    "Boxing",
    "Centipede",
    "ChopperCommand",
    "DoubleDunk",
    "ElevatorAction",
    "FishingDerby",
    "Frostbite",
    "Gravitar",
    "Hero",
    "IceHockey",
    "Jamesbond",
    "Kangaroo",
    "Krull",
    "MontezumaRevenge",
    "Pitfall",
    "PrivateEye",
    "Riverraid",
    "RoadRunner",
    "Robotank",
    "Seaquest",
    "Solaris",
    "StarGunner",
    "Tennis",
    "Venture",
    "YarsRevenge",
    "Zaxxon",
]
_ATARI = {
    **{
        game: [_ALE[int(at)] for at in places.split()]
        for games, places in _MINIMAL_SETS.items()
        for game in games.split()
    },
    **dict.fromkeys(_FULL_SETS, _ALE),
}
# Gymnasium's documentation of each environment.
_CLASSIC = {
    "CartPole": ["push left", "push right"],
    "Acrobot": ["torque -1", "torque 0", "torque +1"],
    "MountainCar": ["push left", "no push", "push right"],
    "LunarLander": ["nothing", "left engine", "main engine", "right engine"],
    "FrozenLake": ["left", "down", "right", "up"],
    "CliffWalking": ["up", "right", "down", "left"],
    "Taxi": ["south", "north", "east", "west", "pick up", "drop off"],
    "Blackjack": ["stick", "hit"],
}
_DECORATION = re.compile(r"^ALE/|(-ram)?(NoFrameskip|Deterministic)?(-v\d+)?$")


def action_names(environment: Mapping[str, Any], num_actions: int) -> list[str] | None:
    """Return a name for each discrete action, or None if they are not known.

    Parameters
    ----------
    environment : mapping
        ``metadata["environment"]``. Its ``action_names`` come first, if it has any.
    num_actions : int
        How many actions there are. Names are returned only if there are as many.
    """
    name = _DECORATION.sub("", str(environment.get("id") or ""))
    found = environment.get("action_names") or _ATARI.get(name) or _CLASSIC.get(name)
    if not isinstance(found, list) or len(found) != num_actions:
        found = _ALE if name in _ATARI and num_actions == len(_ALE) else None
    return None if found is None else [str(word) for word in found]
