"""The committed cards of buffers equal those of freshly made buffers."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import rlbuffers
from rlbuffers.cards.buffer_card import render_card
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers_cli.main import cli
from rlbuffers_train import POLICY, TrainingRequest, train_online

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "data_cards"
SHARD = "run_1-00001-of-00100"
# When and by which versions a buffer was written differs from one to the next.
MADE = re.compile(r"\n## How it was made\n.*?(?=\n## )", re.DOTALL)


def title_of(card):
    return next(line for line in card.splitlines() if line.startswith("# ")).removeprefix("# ")


def sections(card):
    """Cut a card into its sections by heading; the part before the first one has an empty heading."""
    parts = re.split(r"^## (.*)$", card, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def names_of(table):
    """Return the first cells of a table of facts."""
    return [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]


@pytest.mark.parametrize("game", ["Breakout", "Pong"])
def test_a_shard(game, tmp_path):
    path = tmp_path / f"{SHARD}.hdf5"
    rlbuffers.convert(RLUAtariSource(ROOT / "tests" / "data" / "rl_unplugged" / game / SHARD, game), path)
    card = (CARDS / f"{game.lower()}-demo-shard.md").read_text()
    with rlbuffers.open(path) as buffer:
        assert MADE.sub("", render_card(buffer.metadata, title_of(card), file=path.name)) == card


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory):
    """What a bare `rlbuffers generate` makes, but by a policy that was hardly trained, and less of it."""
    folder = tmp_path_factory.mktemp("cartpole")
    settings = {"epoch": 1, "step_per_epoch": 1200, "eval_episodes": 1}
    train_online(TrainingRequest("qrdqn", task="CartPole-v1", logdir=folder / "run", settings=settings))
    path = folder / "qrdqn-eps0.2.hdf5"
    words = ["generate", "--policy", "qrdqn", "--eps", "0.2", "--resume-path", folder / "run" / POLICY]
    words += ["--buffer-size", "6000", "--output", path]
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return path


def test_cartpole(cartpole):
    """Training differs from one machine to the next; what does not depend on the weights must be the same."""
    card = (CARDS / "cartpole-qrdqn-eps0.2.md").read_text()
    with rlbuffers.open(cartpole) as buffer:
        made = sections(MADE.sub("", render_card(buffer.metadata, title_of(card), file=cartpole.name)))
    committed = sections(card)
    assert list(made) == list(committed)
    for title in ("How to load it", "Layout", "Columns", "Environment", "Source", "Notes"):
        assert made[title] == committed[title], title
    for title in ("Episode ends", "Statistics", "Behavior policy"):
        assert names_of(made[title]) == names_of(committed[title]), title
    fingerprints = [re.findall("[0-9a-f]{64}", part[""]) for part in (made, committed)]
    assert [len(found) for found in fingerprints] == [1, 1]
    front = [re.sub(r"size_categories:\n- .*", "", part[""].partition("\n---\n")[0]) for part in (made, committed)]
    assert front[0] == front[1]


def commands(text):
    """Return the command lines that stand in a card, one a line."""
    lines = re.findall(r"^    (rlbuffers .*)$", text, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("card", sorted(CARDS.glob("*.md")), ids=lambda path: path.stem)
def test_commands_in_cards_are_understood(card, tmp_path):
    for words in commands(card.read_text()):
        command, words = cli, words[1:]
        while isinstance(command, click.Group):
            command, words = command.get_command(click.Context(command), words[0]), words[1:]
        # A file that a card speaks of is not there; everything else about the line must be right.
        given = [str(tmp_path) if word.startswith(("~", "dqn/")) else word for word in words]
        command.make_context("rlbuffers", given, max_content_width=100)
