"""The front matter of every card is YAML, with keys and values that the Hugging Face Hub knows."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rlbuffers.cards.buffer_card import render_card
from rlbuffers.cards.front_matter import size_category

CARDS = Path(__file__).parents[2] / "data_cards"
# The Hub's specification of dataset cards.
KEYS = {
    "license", "license_name", "license_link", "pretty_name", "tags", "task_categories", "size_categories", "configs",
    "viewer", "language",
}  # fmt: skip
LICENSES = {"apache-2.0", "cc-by-4.0", "mit", "other", "unknown"}
SIZES = {
    "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B",
    "100B<n<1T", "n>1T",
}  # fmt: skip


def front(text):
    start, matter, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter)


def check(found):
    assert set(found) <= KEYS
    assert found["license"] in LICENSES
    assert ("license_name" in found) == (found["license"] == "other")
    assert isinstance(found["pretty_name"], str)
    assert found["task_categories"] == ["reinforcement-learning"]
    assert all(isinstance(tag, str) and " " not in tag for tag in found["tags"])
    assert len(set(found["tags"])) == len(found["tags"])
    assert set(found.get("size_categories", [])) <= SIZES
    assert found["viewer"] is False
    for config in found.get("configs", []):
        assert set(config) == {"config_name", "data_files"}


@pytest.mark.parametrize("card", sorted(CARDS.glob("*.md")), ids=lambda path: path.stem)
def test_committed_cards(card):
    text = card.read_text()
    if card.name == "README.md":
        assert all(f"({other.name})" in text for other in CARDS.glob("*.md") if other != card)
    else:
        check(front(text))


def metadata(**facts):
    return {
        "spec": {
            "layout": "transitions",
            "order": "time",
            "stack": 0,
            "columns": {},
            "episode_columns": {},
            "extras": {},
        },
        "counts": {"transitions": 1},
        "statistics": {},
        "fingerprint": "f" * 64,
        **facts,
    }


@given(st.text(min_size=1), st.text(), st.text(), st.text(min_size=1))
def test_any_text_stays_yaml_and_itself(name, license_, environment, file):
    found = front(render_card(metadata(license=license_, environment={"id": environment}), name, file=file))
    assert found["pretty_name"] == name
    assert found["configs"][0]["data_files"] == file
    if found["license"] == "other":
        assert found["license_name"] == " ".join(license_.split())


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("MIT", "mit"), ("CC-BY-4.0", "cc-by-4.0"), ("", "unknown"), (None, "unknown"), ("Our own terms", "other")],
)
def test_licenses(stated, expected):
    assert front(render_card(metadata(license=stated), "x"))["license"] == expected


@pytest.mark.parametrize("power", range(13))
def test_sizes(power):
    assert size_category(10**power) in SIZES
    assert size_category(10**power - 1) in SIZES
    if 3 <= power <= 12:
        assert size_category(10**power) != size_category(10**power - 1)
