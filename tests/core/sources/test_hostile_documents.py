"""JSON of other libraries with one value changed: one line that names the file, or the conversion works."""

import random
import shutil

import pytest
from click.testing import CliRunner
from foreign_inputs import HOSTILE, INPUTS, changed, documents_of, places_of

from rlbuffers_cli.main import cli

# All of some thousands are tried by benchmarks/attack/source_flips.py.
TRIES = 14
WITH_DOCUMENTS = [
    given for given in INPUTS if given.format in ("tfds", "minari", "lerobot", "rllib", "diffusion-policy")
]


@pytest.mark.parametrize("given", WITH_DOCUMENTS, ids=lambda given: given.name)
def test_one_value_is_something_else(tmp_path, given):
    work = tmp_path / given.path.name
    (shutil.copytree if given.path.is_dir() else shutil.copy)(given.path, work)
    tries = [
        (document, place, value)
        for document in documents_of(work)
        for place in places_of(document.content(work))
        for value in HOSTILE
    ]
    for document, place, (label, value) in random.Random(0).sample(tries, min(TRIES, len(tries))):
        path = work / document.file if work.is_dir() else work
        before = path.read_bytes()
        document.rewrite(work, changed(document.content(work), place, value))
        found = CliRunner().invoke(cli, given.words(work, tmp_path / "out.hdf5"))
        said = f"{document.file} {place} {label}: {found.stderr[-300:]}"
        assert found.exception is None or isinstance(found.exception, SystemExit), said
        assert found.exit_code in (0, 1, 2), said
        if found.exit_code:
            lines = [line for line in found.stderr.splitlines() if line and not line.startswith(("Usage", "Try"))]
            assert len(lines) == 1, said
            assert len(lines[0]) < 2000, said
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("name", "place", "words"),
    [
        ("minari", ("action_space", "n"), "metadata.json: action_space: expected a whole number as 'n'"),
        ("minari", ("total_episodes",), "metadata.json: expected a number as total_episodes"),
        (
            "tfds",
            ("splits", 0, "shardLengths", 0),
            "dataset_info.json: split 0: expected a whole number as 'shardLengths'",
        ),
        ("tfds", ("version",), "dataset_info.json: expected a text as 'version'"),
        ("lerobot", ("features",), "info.json: expected an object 'features'"),
    ],
)
def test_the_line_names_file_and_field(tmp_path, name, place, words):
    given = next(given for given in WITH_DOCUMENTS if given.format == name)
    work = shutil.copytree(given.path, tmp_path / given.path.name)
    for document in documents_of(work):
        if document.file.name in words and place in set(places_of(document.content(work))):
            document.rewrite(work, changed(document.content(work), place, [1.5]))
    found = CliRunner().invoke(cli, given.words(work, tmp_path / "out.hdf5"))
    assert found.exit_code == 1
    assert words in found.stderr
    assert len(found.stderr.splitlines()) == 1
