"""Every value of a buffer's metadata, changed one at a time: refused in one line, or left out and named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import rlbuffers
from rlbuffers.errors import RlbuffersError
from rlbuffers.metadata_schema import DECISIVE
from rlbuffers.stores import memory_store
from rlbuffers_cli.main import cli

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "attack"))
attack = __import__("metadata")

WORDS = ("absent", "null", "-1", "2^63", "lists 20 deep", "list", "dtype V")
COMMANDS = (["info"], ["card"], ["info", "--json"], ["show"], ["validate"])


@pytest.fixture(scope="module")
def whole():
    """The metadata of a buffer in memory, which the tests replace."""
    attack.make_buffer(Path("memory:places"))
    store = memory_store._BUFFERS["memory:places"]
    yield json.loads(store.metadata)
    del memory_store._BUFFERS["memory:places"]


def opened_with(document):
    """Open the buffer with other metadata; None if it is refused."""
    memory_store._BUFFERS["memory:places"].metadata = attack.with_checksum(document)
    try:
        return rlbuffers.open("memory:places")
    except RlbuffersError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    assert len(message) < 2000
    return None


@pytest.mark.parametrize("word", WORDS)
def test_any_value_of_another_kind_is_refused_or_named(whole, word):
    """Where the buffer opens, what is not as the schema says is gone, and each command in turn copes with the rest."""
    places = list(attack.places({key: value for key, value in whole.items() if key != "checksum"}))
    assert len(places) > 200
    for number, at in enumerate(places):
        if (number + WORDS.index(word)) % 2:  # the words before and after have their turn
            continue
        changed = attack.changed(whole, at, attack.VALUES[word])
        buffer = opened_with(changed)
        if buffer is None:
            assert at[0] in (*DECISIVE, "format", "format_version"), at
            continue
        known = changed.get(at[0])
        if known is not None and buffer.metadata.get(at[0]) != known and at[0] != "warnings":
            assert any(f"left out: {at[0]}" in text for text in buffer.warnings), (at, buffer.warnings)
        if number % 8 == WORDS.index(word):
            command, *options = COMMANDS[number // 8 % len(COMMANDS)]
            result = CliRunner().invoke(cli, [command, "memory:places", *options])
            assert result.exception is None or isinstance(result.exception, SystemExit), (at, result.exception)


def test_a_long_text_in_place_of_any_decisive_value_is_refused_in_a_short_line(whole):
    for at in attack.places({key: whole[key] for key in ("format_version", "counts", "spec")}):
        assert opened_with(attack.changed(whole, at, "x" * 10_000)) is None


@pytest.mark.parametrize("depth", [400, 900])
def test_deep_lists_are_refused(whole, depth):
    for key in ("notes", "environment", "anything"):
        assert opened_with({**whole, key: attack.nested(depth)}) is None


def test_facts_of_another_kind_are_not_written(tmp_path):
    """What is written can be read: the same rule holds for writers."""
    path = tmp_path / "x.hdf5"
    attack.make_buffer(path)
    with rlbuffers.open(path) as buffer:
        spec, rows = buffer.spec, buffer.episode(0)
        weights = buffer.extra("weights")
    facts = {"environment": "Maze-v0", "notes": ["kept", 3], "license": None, "mine": [1, {"a": None}]}
    with rlbuffers.create(tmp_path / "y.hdf5", spec, facts) as writer:
        columns = {name: rows[name] for name in rows if name != "observations"}
        episode = rlbuffers.Episode(columns, {"observations": rows["observations"]}, {"seeds": 0})
        writer.append_episode(episode)
        writer.append_extra("weights", weights)
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        assert "environment" not in buffer.metadata
        assert "license" not in buffer.metadata
        assert buffer.metadata["notes"] == ["kept"]
        assert buffer.metadata["mine"] == [1, {"a": None}]
        assert [text.partition("left out: ")[2] for text in buffer.warnings[:2]] == [
            "environment: expected an object, found 'Maze-v0'",
            "notes[1]: expected a text, found 3",
        ]


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "zarr.zip"])
@pytest.mark.parametrize("name", ["rewards", "episodes/starts"])
@pytest.mark.parametrize("claim", [10**12, 2**63 - 1])
def test_rows_that_are_not_there_are_refused(tmp_path, kind, name, claim):
    path = tmp_path / f"x.{kind}"
    attack.make_buffer(path)
    attack.claim_rows(path, name, claim)
    with pytest.raises(RlbuffersError) as error:
        rlbuffers.open(path)
    assert len(str(error.value).splitlines()) == 1
