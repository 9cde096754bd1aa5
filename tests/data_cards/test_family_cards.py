"""The cards of families say what the tables in the code say, and each family has exactly one card."""

import re
from pathlib import Path

import pytest
import yaml

from rlbuffers.cards.bibtex import authors, entry_lines
from rlbuffers.cards.licenses import find_license
from rlbuffers.published.rl_unplugged import SUITES
from rlbuffers.sources import SOURCES
from rlbuffers.sources.d4rl.datasets import all_datasets
from rlbuffers.sources.d4rl.facts import known_facts
from rlbuffers.sources.dqn_runs import CITATION, DQN_REPLAY_GAMES
from rlbuffers.sources.ogbench import CITATION as OGBENCH_CITATION
from rlbuffers.sources.rl_unplugged import games, tasks

CARDS = Path(__file__).parents[2] / "data_cards"
SECTIONS = ["Facts", "Get and convert", "In a buffer", "Known faults", "License and citation"]
# Formats in which a library keeps whatever its user recorded: there is no family of data behind them.
LIBRARY_FORMATS = {
    "d3rlpy",
    "diffusion-policy",
    "exorl",
    "imitation",
    "lerobot",
    "npz",
    "reverb",
    "rllib",
    "robomimic",
    "stable-baselines",
    "tianshou",
}
# Formats that are read for one family, under its own name, and those whose families the tables below list.
FORMAT_FAMILIES = {"minari": {"minari"}, "tfds": {"tfds"}, "dopamine": {"dopamine/dqn-replay"}, "ogbench": {"ogbench"}}


def number(value):
    return "not recorded" if value is None else f"{value:,}"


def sizes(observations):
    return ", ".join(f"{name} {size:,}" for name, size in observations.items()) or "not stated"


def d4rl_rows(family):
    for found in all_datasets().values():
        if found.family == family:
            scores = [repr(score) for score in found.scores] if found.scores else ["not stated"] * 2
            yield [found.id, number(found.horizon), *scores, number(found.num_bytes), found.path]


def rwrl_rows():
    for task in tasks.RWRL_TASKS.values():
        for challenge in tasks.RWRL_CHALLENGES:
            counts = [tasks.rwrl_shards(task, challenge, percent).count for percent in tasks.RWRL_PERCENTAGES]
            yield [task.name, challenge, *map(str, counts)]


TABLES = {
    **{f"d4rl/{family}": list(d4rl_rows(family)) for family in sorted({d.family for d in all_datasets().values()})},
    "dopamine/dqn-replay": [
        [game, str(actions), "yes" if game in games.ATARI_GAMES else "no"] for game, actions in DQN_REPLAY_GAMES.items()
    ],
    "rl-unplugged/atari": [
        [game, str(actions), str(int(games.episodes_shard_name(game, 1, 0).rpartition("-")[2]))]
        for game, actions in games.ATARI_GAMES.items()
    ],
    "rl-unplugged/control-suite": [
        [task.name, sizes(task.observations), str(task.action_size), task.behavior]
        for task in tasks.CONTROL_SUITE_TASKS.values()
    ],
    "rl-unplugged/locomotion": [
        [task.name, sizes(task.observations), str(task.action_size), task.sequences.removeprefix("seq")]
        for task in tasks.LOCOMOTION_TASKS.values()
    ],
    "rl-unplugged/rwrl": list(rwrl_rows()),
    "rl-unplugged/dmlab": [[task.name, number(task.num_rows), task.behavior] for task in tasks.DMLAB_TASKS.values()],
    "rl-unplugged/bsuite": [
        [task.name, str(task.environment["random_action_probability"])] for task in tasks.BSUITE_TASKS.values()
    ],
}
CITATIONS = {
    "d4rl": known_facts(all_datasets()["hopper-medium-v2"])["citation"],
    "dqn-replay": CITATION,
    "ogbench": OGBENCH_CITATION,
    "rl-unplugged-atari": tasks.CITATION_2020,
    "rl-unplugged-control": tasks.CITATION_2020,
    "rl-unplugged-dmlab": tasks.CITATION_2021,
}


def family_cards():
    return [path for path in sorted(CARDS.glob("*.md")) if "\nFamilies: " in path.read_text()]


def families_of(text):
    return re.findall(r"`([^`]+)`", re.search(r"^Families: (.*)$", text, flags=re.MULTILINE)[1])


def families_in_the_code():
    found = {f"d4rl/{dataset.family}" for dataset in all_datasets().values()}
    found |= {f"rl-unplugged/{suite}" for suite in SUITES}
    return found.union(*FORMAT_FAMILIES.values())


def table_under(text, heading):
    """Return the cells of the table below a heading, without its two lines of head."""
    body = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, flags=re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_format_is_a_librarys_or_has_families():
    with_families = {family.partition("/")[0] for family in families_in_the_code()}
    assert with_families | LIBRARY_FORMATS == set(SOURCES)
    assert not with_families & LIBRARY_FORMATS


def test_every_family_has_one_card_and_every_card_a_family():
    named = [family for card in family_cards() for family in families_of(card.read_text())]
    assert sorted(named) == sorted(families_in_the_code())
    others = {path.name for path in CARDS.glob("*.md")} - {path.name for path in family_cards()}
    assert all(name == "README.md" or "\nFingerprint: " in (CARDS / name).read_text() for name in others)


@pytest.mark.parametrize("card", family_cards(), ids=lambda path: path.stem)
def test_tables_equal_the_codes(card):
    text = card.read_text()
    for family in families_of(text):
        assert (f"\n### {family}\n" in text) == (family in TABLES)
        if family in TABLES:
            assert table_under(text, family) == TABLES[family]


@pytest.mark.parametrize("card", family_cards(), ids=lambda path: path.stem)
def test_sections_license_and_citation(card):
    text = card.read_text()
    found = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert [title for title in found if title in SECTIONS] == SECTIONS
    assert set(found) <= {*SECTIONS, "Datasets"}
    (bibtex,) = re.findall(r"```bibtex\n(.*?)\n```", text, flags=re.DOTALL)
    assert authors(bibtex)
    assert re.search(r"^  year = \{\d{4}\}", bibtex, flags=re.MULTILINE)
    if card.stem in CITATIONS:
        assert bibtex == entry_lines(CITATIONS[card.stem])
    license_id = yaml.safe_load(text.split("---\n")[1])["license"]
    stated = {"d4rl": known_facts(all_datasets()["hopper-medium-v2"])["license"]}.get(card.stem, tasks.LICENSE)
    assert license_id == find_license(stated).hub_id


def test_what_a_dataset_is_known_for_is_in_its_card():
    """Each note that a buffer of D4RL gets belongs to a row of the card's known faults."""
    text = (CARDS / "d4rl.md").read_text().partition("## Known faults")[2].lower()
    words = {
        "gym": "gym",
        "antmaze": "antmaze",
        "maze2d": "maze2d",
        "adroit": "adroit",
        "kitchen": "kitchen",
        "carla": "carla",
    }
    for dataset in all_datasets().values():
        if known_facts(dataset)["notes"]:
            assert f"| {words[dataset.family]}" in text, dataset.id
