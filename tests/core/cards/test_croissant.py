"""Croissant that its own validator takes without an error or a warning, and that says what the buffer says."""

import hashlib
import json
import logging

import numpy as np
import pytest
from reference import Recipe, make, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.cards.croissant import render_croissant
from rlbuffers.errors import UnsupportedError
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource

# rdflib, which the validator parses with, calls its own deprecated classes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def validated(text, tmp_path, caplog):
    """Return the data set as `mlcroissant` reads it, after it found nothing to complain of."""
    mlcroissant = pytest.importorskip("mlcroissant")
    path = tmp_path / "croissant.json"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(path)
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert [record.getMessage() for record in caplog.records] == []  # an unusual context is only logged
    return dataset.metadata


def facts(**more):
    return {"written_by": {"created": "2026-03-04T05:06:07+00:00"}, **more}


@pytest.fixture
def wide_path(new_path):
    """A buffer with every kind of column, episode columns and extras."""
    dtypes = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    dtypes += ["float16", "float32", "float64"]

    def write_to(store):
        spec = BufferSpec(
            "episodes",
            [
                ColumnSpec("observations/a", np.float64, (2, 3)),
                ColumnSpec("observations/b", np.float32),
                ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 3, "start": 1}),
                ColumnSpec("rewards", np.float32),
                *(ColumnSpec(f"infos/{dtype}", np.dtype(dtype), (2,)) for dtype in dtypes),
            ],
            episode_columns=[ColumnSpec("seeds", np.uint64)],
            extras=[ColumnSpec("weights", np.float32, (4,))],
        )
        with rlbuffers.create(new_path(store), spec, facts()) as writer:
            columns = {"actions": np.ones(3, np.int64), "rewards": np.ones(3, np.float32)}
            columns |= {f"infos/{dtype}": np.ones((3, 2), dtype) for dtype in dtypes}
            observed = {"observations/a": np.zeros((4, 2, 3)), "observations/b": np.zeros(4, np.float32)}
            writer.append_episode(Episode(columns, observed, {"seeds": 1}))
            writer.append_extra("weights", np.ones((5, 4), np.float32))
        return writer.path

    return write_to


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_every_column_has_its_type_and_shape(wide_path, store, tmp_path, caplog):
    path = wide_path(store)
    with rlbuffers.open(path) as buffer:
        found = validated(render_croissant(buffer, "Wide & <odd>"), tmp_path, caplog)
        transitions, episodes, extras = found.record_sets
        assert {field.name.removeprefix("transitions/") for field in transitions.fields} == set(buffer.spec.batch_names)
        for field in transitions.fields:
            column = buffer.spec.batch_column(field.name.removeprefix("transitions/"))
            assert field.array_shape_tuple == (column.shape or None)
            kind = {"b": "Boolean", "i": "Int", "u": "UInt", "f": "Float"}[column.dtype.kind]
            bits = "" if column.dtype.kind == "b" else 8 * column.dtype.itemsize
            assert str(field.data_types[0]).rpartition("/")[2] == f"{kind}{bits}"
            assert field.source.extract.column == column.name
    assert {field.name.rpartition("/")[2] for field in episodes.fields} == {
        "starts", "lengths", "returns", "whole", "final_known", "seeds",
    }  # fmt: skip
    assert [field.source.extract.column for field in extras.fields] == ["extras/weights"]
    assert found.name == "Wide & <odd>"
    assert found.date_published.date().isoformat() == "2026-03-04"


def test_an_hdf5_file_has_its_size_and_checksum(new_path, tmp_path, caplog):
    path = write(new_path("hdf5"), make(Recipe("transitions", (9,), stack=2)))
    with rlbuffers.open(path) as buffer:
        (file,) = json.loads(render_croissant(buffer, "x"))["distribution"]
    content = path.read_bytes()
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["contentSize"] == f"{len(content)} B"
    assert file["contentUrl"] == path.name


def test_a_zarr_directory_is_a_set_of_files_with_a_checksum_of_its_root(new_path, tmp_path, caplog):
    path = write(new_path("zarr"), make(Recipe("episodes", (5, 4))))
    with rlbuffers.open(path) as buffer:
        files, root = json.loads(render_croissant(buffer, "x", url="https://example.org/a b/"))["distribution"]
    matched = {found for pattern in files["includes"] for found in path.parent.glob(pattern) if found.is_file()}
    assert matched == {found for found in path.rglob("*") if found.is_file()}
    assert root["sha256"] == hashlib.sha256((path / "zarr.json").read_bytes()).hexdigest()
    assert root["contentUrl"] == f"https://example.org/a b/{path.name}/zarr.json"


def test_a_shard_of_rl_unplugged(breakout_shard, tmp_path, caplog):
    path = tmp_path / "shard.zarr"
    rlbuffers.convert(RLUAtariSource(breakout_shard, "Breakout"), path)
    with rlbuffers.open(path) as buffer:
        text = render_croissant(buffer, "A shard")
        assert text == render_croissant(buffer, "A shard")
        found = validated(text, tmp_path, caplog)
        assert found.version == f"1.0.0+{buffer.fingerprint[:12]}"
        assert found.data_limitations == buffer.metadata["warnings"]
        assert found.license[0].startswith("not stated")
        assert "Advances in Neural Information Processing Systems" in found.cite_as
        assert [person.name for person in found.creators][:2] == ["Caglar Gulcehre", "Ziyu Wang"]
        document = json.loads(text)
        assert document["isBasedOn"][0]["sha256"] == hashlib.sha256(breakout_shard.read_bytes()).hexdigest()
        measured = {fact["name"]: fact for fact in document["variableMeasured"]}
        assert measured["number of transitions"]["value"] == 300
        assert measured["rewards"]["maxValue"] == buffer.metadata["statistics"]["rewards"]["max"]
        assert measured["order"]["value"] == "shuffled"
        assert "behavior policy epsilon" not in measured  # it is not known


def test_scores_license_and_parents(new_path, tmp_path, caplog):
    made = make(Recipe("episodes", (5,)))
    more = facts(
        license="CC-BY-4.0",
        environment={"id": "Hopper-v2", "reference_scores": {"min": -20.0, "max": 3234.0}},
        derivation={"operation": "subset", "parents": [{"name": "parent.hdf5", "fingerprint": "abc"}]},
        left_out=["The last row."],
    )
    with rlbuffers.create(new_path("hdf5"), made.spec, more) as writer:
        writer.append_episode(made.pieces[0])
    with rlbuffers.open(writer.path) as buffer:
        text = render_croissant(buffer, "x", url="https://example.org/data")
    found = validated(text, tmp_path, caplog)
    assert found.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert found.url == "https://example.org/data"
    assert found.data_collection_missing_data == "The last row."
    document = json.loads(text)
    assert document["isBasedOn"][0]["identifier"]["value"] == "abc"
    scores = next(fact for fact in document["variableMeasured"] if fact["name"] == "reference scores")
    assert (scores["minValue"], scores["maxValue"]) == (-20.0, 3234.0)


def test_a_buffer_in_memory_has_no_files(new_path):
    path = write(new_path("memory"), make(Recipe("episodes", (5,))))
    with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError, match="has no files to describe"):
        render_croissant(buffer, "x")
