"""Metadata of buffers that are derived very often: the writer never refuses, and readers bear them."""

from __future__ import annotations

import json

import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers.editing.merge import merge
from rlbuffers.json_documents import MAX_NESTING, require_plain
from rlbuffers.lineage import CUT_LINEAGE, with_short_lineage
from rlbuffers.metadata import parse_metadata, render_metadata


def derived(facts, generation):
    parent = {"name": f"generation {generation}", "counts": {"transitions": 9}, **facts}
    return {"derivation": {"operation": "subset", "arguments": {"by": ["a"]}, "parents": [parent, {"name": "other"}]}}


def exported(facts, generation):
    return {"source": {"format": f"generation {generation}", "exported_from": facts}}


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, dict | list) else 0


@pytest.mark.parametrize(
    "steps", [[derived], [exported], [derived, exported, exported]], ids=["edits", "exports", "both"]
)
def test_old_parents_are_left_out_with_a_note(steps):
    facts, few = {}, None
    for generation in range(300):
        facts = steps[generation % len(steps)](facts, generation)
        if generation == 20:
            few = facts
    assert with_short_lineage(few) == few
    before = json.dumps(facts)
    short = with_short_lineage({**facts, "notes": ["n"]})
    assert json.dumps(facts) == before
    assert short["notes"] == ["n", CUT_LINEAGE]
    assert with_short_lineage(short) == short  # and one note
    assert MAX_NESTING - 60 < depth_of(short) <= MAX_NESTING - 40
    require_plain(short)
    key = next(iter(facts))
    newest = json.dumps(short[key])
    assert f"generation {299}" in newest
    assert f"generation {299 - 40}" in newest


def test_a_buffer_of_two_hundred_generations(tmp_path):
    """What no writer makes in a test's time is put together, and edited by the ordinary commands from there."""
    made = make(Recipe("episodes", (3, 2)))
    facts = {}
    for generation in range(200):
        facts = derived(facts, generation)
    path = write(tmp_path / "old.zarr", made, facts)
    report = merge([path, path], tmp_path / "merged.zarr")
    with rlbuffers.open(report.path) as buffer:
        assert CUT_LINEAGE in buffer.metadata["notes"]
        assert buffer.metadata["notes"].count(CUT_LINEAGE) == 1
        text = render_metadata(buffer.metadata)
    assert parse_metadata(text, "x")["derivation"]["operation"] == "merge"
