"""The committed cards say what the buffers' metadata say."""

from pathlib import Path

import pytest

import rlbuffers
from rlbuffers.card import render_card
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "data_cards"
# A card is about one buffer, whose fingerprint it states, or about a family of published datasets.
FAMILY_SECTIONS = ["## Facts", "## In a buffer", "## Known faults", "## License and citation"]
SECTIONS = [
    "## Columns",
    "## Statistics",
    "## Environment",
    "## Behavior policy",
    "## Source",
    "## License and citation",
]


@pytest.mark.parametrize("game", ["Breakout", "Pong"])
def test_shard_card_equals_its_buffer(game, tmp_path):
    shard = ROOT / "tests" / "data" / "rl_unplugged" / game / "run_1-00001-of-00100"
    path = tmp_path / "buffer.hdf5"
    rlbuffers.convert(RLUAtariSource(shard, game), path)
    card = (CARDS / f"{game.lower()}-demo-shard.md").read_text()
    title = next(line for line in card.splitlines() if line.startswith("# ")).removeprefix("# ")
    with rlbuffers.open(path) as buffer:
        assert render_card(buffer.metadata, title) == card


@pytest.mark.parametrize("card", sorted(CARDS.glob("*.md")), ids=lambda path: path.stem)
def test_card_has_its_sections(card):
    if card.name == "README.md":
        assert all(f"({other.name})" in card.read_text() for other in CARDS.glob("*.md") if other != card)
        return
    text = card.read_text()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert "license: " in front
    assert "task_categories:\n- reinforcement-learning" in front
    expected = SECTIONS if "\nFingerprint: " in body else FAMILY_SECTIONS
    assert [line for line in body.splitlines() if line.startswith("## ") and line in expected] == expected


def test_cell_text_cannot_break_the_table():
    metadata = {
        "spec": {"layout": "transitions", "order": "time", "columns": {}, "episode_columns": {}, "extras": {}},
        "counts": {"transitions": 1},
        "statistics": {},
        "fingerprint": "f",
        "environment": {"id": "a | b"},
    }
    assert "| id | a \\| b |" in render_card(metadata, "x")
