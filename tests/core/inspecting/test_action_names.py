"""Names of actions are those of the emulator and of gymnasium's documentation."""

import pytest

from rlbuffers.inspecting.action_names import action_names
from rlbuffers.sources.dqn_runs import DQN_REPLAY_GAMES


def emulator_names(game):
    ale_py = pytest.importorskip("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    roms = {rom.title().replace("_", ""): rom for rom in ale_py.roms.get_all_rom_ids()}
    emulator = ale_py.ALEInterface()
    emulator.loadROM(ale_py.roms.get_rom_path(roms[game]))
    return [action.name for action in emulator.getMinimalActionSet()]


@pytest.mark.parametrize("game", sorted(DQN_REPLAY_GAMES))
def test_atari_names_equal_the_emulators(game):
    found = action_names({"id": game}, DQN_REPLAY_GAMES[game])
    assert [name.upper().replace("-", "").replace("+", "") for name in found] == emulator_names(game)


@pytest.mark.parametrize("name", ["Pong", "PongNoFrameskip-v4", "PongDeterministic-v0", "ALE/Pong-v5", "Pong-ram-v0"])
def test_a_game_by_any_of_its_names(name):
    assert action_names({"id": name}, 6)[2] == "right"


def test_a_full_action_set_and_unknown_ones():
    assert action_names({"id": "Pong"}, 18)[-1] == "down-left+fire"
    assert action_names({"id": "Pong"}, 5) is None
    assert action_names({"id": "Mine-v0"}, 2) is None
    assert action_names({}, 2) is None
    assert action_names({"id": "CartPole-v1"}, 2) == ["push left", "push right"]


def test_what_the_metadata_say_comes_first():
    assert action_names({"id": "CartPole-v1", "action_names": ["a", "b"]}, 2) == ["a", "b"]
    assert action_names({"id": "CartPole-v1", "action_names": "ab"}, 2) is None
