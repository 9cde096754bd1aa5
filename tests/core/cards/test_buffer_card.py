"""A card says what the metadata say, and no text of the data can break it."""

import re

import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.cards.buffer_card import render_card


def metadata(**facts):
    return {
        "spec": {"layout": "episodes", "order": "time", "stack": 0, "columns": {}, "episode_columns": {}, "extras": {}},
        "counts": {"transitions": 12, "episodes": 3, "whole_episodes": 2, "terminals": 1, "timeouts": 2},
        "statistics": {"episode_returns": {"mean": 150.0, "min": 100.0, "max": 200.0}},
        "fingerprint": "f" * 64,
        **facts,
    }


def test_cell_text_cannot_break_the_table_or_become_html():
    odd = "a | b\n<script>alert(1)</script>"
    card = render_card(metadata(environment={"id": odd}, warnings=[odd], behavior_policy={"name": odd}), odd)
    assert "| id | a \\| b &lt;script>alert(1)&lt;/script> |" in card
    _, _, body = card.partition("\n---\n")
    assert "<script" not in re.sub(r"```.*?```", "", body, flags=re.DOTALL)
    assert body.lstrip().splitlines()[0] == "# a \\| b &lt;script>alert(1)&lt;/script>"


def test_a_citation_cannot_end_its_block():
    card = render_card(metadata(citation="text\n```\n# not a heading"), "x")
    assert card.endswith("````bibtex\ntext\n```\n# not a heading\n````\n")


def test_scores_and_ends():
    card = render_card(metadata(environment={"id": "Hopper-v2", "reference_scores": {"min": 50, "max": 250}}), "x")
    assert "A return of 50 scores 0 and one of 250 scores 100" in card
    assert "The mean return of the whole episodes here, 150, scores 50.0." in card
    assert "| recorded from beginning to end | 2 |" in card
    assert "| timeouts | 2 |" in card


def test_a_column_called_episode_returns_is_not_the_episodes_return():
    spec = {**metadata()["spec"], "layout": "transitions"}
    scores = {"reference_scores": {"min": 50, "max": 250}}
    assert "The mean return" not in render_card(metadata(spec=spec, environment=scores), "x")


def test_parents_are_listed_by_generation():
    parent = {"name": "b.hdf5", "fingerprint": "bb", "counts": {"transitions": 7}}
    child = {"name": "a.hdf5", "fingerprint": "aa", "derivation": {"operation": "merge", "parents": [parent]}}
    derivation = {"operation": "subset", "arguments": {"size": 5}, "parents": [child]}
    card = render_card(metadata(derivation=derivation, source={"format": "npz"}), "x")
    assert "| made by | subset |" in card
    assert "| argument size | 5 |" in card
    assert "| 1 | a.hdf5 | aa |  |" in card
    assert "| 2 | b.hdf5 | bb | 7 |" in card


def test_files_with_their_checksums_and_the_command():
    written = {"command": "rlbuffers convert `x`", "created": "2026-01-01", "versions": {"numpy": "2.0"}}
    source = {"format": "npz", "files": [{"name": f"{n}.npz", "bytes": n, "sha256": "ab"} for n in range(120)]}
    card = render_card(metadata(source=source, written_by=written), "x")
    assert "| 7.npz | 7 | ab |" in card
    assert "and 20 more files" in card
    assert "`` rlbuffers convert `x` ``" in card
    assert "| versions | numpy 2.0 |" in card


@pytest.mark.parametrize("stack", [0, 2])
@pytest.mark.parametrize("layout", ["episodes", "transitions"])
def test_buffers_without_any_facts_have_a_card(new_path, store, layout, stack):
    path = write(new_path(store), make(Recipe(layout, (3, 2), stack=stack)))
    with rlbuffers.open(path) as buffer:
        card = render_card(buffer.metadata, "x")
        assert card == render_card(buffer.metadata, "x")
        assert buffer.fingerprint in card
        for name in buffer.spec.columns:
            assert f"| `{name}` |" in card
    assert "License: unknown." in card
