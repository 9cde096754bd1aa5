"""`rlbuffers card`."""

import json

import rlbuffers
from rlbuffers.cards.buffer_card import render_card


def test_the_card_is_printed_or_written(run, pong_buffer, tmp_path):
    with rlbuffers.open(pong_buffer) as buffer:
        expected = render_card(buffer.metadata, "Pong run_1-00001-of-00100", file=pong_buffer.name)
    result = run("card", pong_buffer)
    assert (result.exit_code, result.stdout) == (0, expected)
    path = tmp_path / "card.md"
    assert run("card", pong_buffer, "-o", path).stdout == f"wrote {path}\n"
    assert path.read_text() == expected
    assert run("card", pong_buffer, "--name", "Another").stdout.count("\n# Another\n") == 1


def test_croissant(run, pong_buffer, tmp_path):
    printed = json.loads(run("card", pong_buffer, "--croissant").stdout)
    assert printed["distribution"][0]["contentUrl"] == pong_buffer.name
    path = tmp_path / "croissant.json"
    assert run("card", pong_buffer, "--croissant", "-o", path, "--url", "https://example.org/data").exit_code == 0
    written = json.loads(path.read_text())
    assert written["distribution"][0]["contentUrl"] == f"https://example.org/data/{pong_buffer.name}"


def test_an_address_without_croissant_is_refused(run, pong_buffer):
    result = run("card", pong_buffer, "--url", "https://example.org")
    assert result.exit_code == 2
    assert "--url is a part of --croissant" in result.stderr


def test_no_such_buffer(run, tmp_path):
    result = run("card", tmp_path / "x.hdf5", "--croissant")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
