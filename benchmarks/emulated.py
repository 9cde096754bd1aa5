"""What scripts that play Atari games in the emulator share: where a game is, and its pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ale_py
import cv2
import numpy as np

__all__ = ["FRAME_SKIP", "SIZE", "STICKY", "picture", "quiet_emulator", "rom_path"]

Array = np.ndarray[Any, Any]
FRAME_SKIP, STICKY = 4, 0.25
SIZE = (84, 84)


def quiet_emulator(*, seed: int, sticky: float) -> ale_py.ALEInterface:
    """Return an emulator without a game, which prints errors only."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", sticky)
    return ale


def rom_path(game: str) -> Path:
    """Return the file of a game by RL Unplugged's name: ``BankHeist`` is ``bank_heist``."""
    return ale_py.roms.get_rom_path(re.sub(r"(?<!^)(?=[A-Z])", "_", game).lower())


def picture(before: Array, after: Array) -> Array:
    """Return what the agents of these runs saw of two emulator frames: uint8, shape (84, 84)."""
    return cv2.resize(np.maximum(before, after), SIZE, interpolation=cv2.INTER_AREA)
