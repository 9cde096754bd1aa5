"""Zarr buffers as plain zarr-python sees them, with none of our code in between."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from reference import Recipe, assert_same_rows, make, recipes, taken, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.writing.storage_options import StorageOptions

FRAMES = Recipe("transitions", (40,), stack=4, size=(20, 20))


def plain_columns(path, made):
    """Read every column by the recipes of docs/format.md."""
    root = zarr.open_group(path, mode="r")
    found = {name: root[name][...] for name in made.table if name in root}
    if made.spec.stack:
        stacks = root["frames"][...][root["stack_index"][...]]
        found["observations"], found["next_observations"] = stacks[:, :-1], stacks[:, 1:].copy()
        if made.spec.layout == "transitions" and root["next_overrides/rows"].shape[0]:
            found["next_observations"][root["next_overrides/rows"][...]] = root["next_overrides/observations"][...]
    elif made.spec.layout == "episodes":
        ends = root["episodes/starts"][...] + root["episodes/lengths"][...] - 1
        for name in made.spec.observation_names:
            following = np.roll(found[name], -1, axis=0)
            following[ends] = root["episodes/final_" + name][...]
            found["next_" + name] = following
    return found


@given(recipe=recipes())
def test_zarr_shows_every_column(new_path, recipe):
    made = make(recipe)
    assert_same_rows(plain_columns(write(new_path("zarr"), made), made), made.table)


def test_one_transition_is_one_read(new_path):
    made = make(FRAMES)
    root = zarr.open_group(write(new_path("zarr"), made), mode="r")
    for row in (0, 17, 39):
        stack = root["frames"].oindex[root["stack_index"][row]]
        np.testing.assert_array_equal(stack[:-1], made.table["observations"][row])
        np.testing.assert_array_equal(stack[1:], made.table["next_observations"][row])
    assert root["frames"].chunks == (5, 20, 20)


def test_arrays_of_several_shards(new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.stores.zarr_store._FRAME_CHUNKS_PER_SHARD", 16)
    monkeypatch.setattr("rlbuffers.stores.zarr_store._CHUNKS_PER_SHARD", 1)
    for recipe in (FRAMES, Recipe("episodes", (300, 300), observations=(("observations", "float64", (400,)),))):
        made = make(recipe)
        path = write(new_path("zarr"), made)
        assert len(list(path.rglob("c/2/**"))) > 0
        assert_same_rows(plain_columns(path, made), made.table)
        with rlbuffers.open(path, cache=0) as buffer:
            assert_same_rows(buffer[:], made.table)


def test_a_small_array_has_a_shard_of_its_size(new_path):
    root = write(new_path("zarr"), make(FRAMES))
    assert zarr.open_group(root, mode="r")["frames"].shards == (40 * 5, 20, 20)
    random_frames, full_index = 40 * 5 * 20 * 20, 512 << 10
    assert (root / "frames/c/0/0/0").stat().st_size < random_frames + full_index // 8


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"without zarr\.json"):
        rlbuffers.open(tmp_path)


@pytest.mark.parametrize(
    "attributes", [{}, {"rlbuffers": {}}, {"rlbuffers": 3}, {"rlbuffers": {"format": "rlbuffers"}}]
)
def test_a_zarr_store_of_another_kind_is_refused(tmp_path, attributes):
    zarr.create_group(tmp_path / "x.zarr", attributes=attributes)
    with pytest.raises(FormatError, match=r"x\.zarr"):
        rlbuffers.open(tmp_path / "x.zarr")


def test_a_zarr_v2_store_is_refused(tmp_path):
    zarr.create_group(tmp_path / "x.zarr", zarr_format=2)
    with pytest.raises(FormatError, match="Zarr v3"):
        rlbuffers.open(tmp_path / "x.zarr")


@pytest.fixture
def buffer_path(new_path):
    return write(new_path("zarr"), make(FRAMES))


@pytest.mark.parametrize("name", ["zarr.json", "frames/zarr.json", "frames/c/0/0/0", "rewards/c/0"])
@pytest.mark.parametrize("change", ["removed", "emptied", "cut"])
def test_a_file_that_is_missing_or_cut_short_is_an_error(buffer_path, name, change):
    file = buffer_path / name
    if change == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 0 if change == "emptied" else -1])
    with pytest.raises(FormatError, match=buffer_path.name), rlbuffers.open(buffer_path) as buffer:
        buffer[:]


def test_a_damaged_chunk_is_named_with_its_place(buffer_path):
    shard = buffer_path / "frames/c/0/0/0"
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    with rlbuffers.open(buffer_path, cache=0) as buffer:
        with pytest.raises(CorruptDataError, match=r"c/0/0/0: array 'frames', chunk 0 \(offset 0, .*: its CRC"):
            buffer[0]
        assert_same_rows(buffer[1:], taken(make(FRAMES).table, slice(1, None)))


def edited(path, *keys, value):
    document = json.loads(path.read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document))


SHARDING = ("codecs", 0, "configuration")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("node_type",), "group"),
        (("shape",), [201, 20, 20]),
        (("shape",), [200, 20, 21]),
        (("shape",), [200.0, 20, 20]),
        (("shape",), ["x"]),
        (("data_type",), "int8"),
        (("data_type",), "nothing"),
        (("fill_value",), 1),
        (("attributes",), []),
        (("chunk_grid", "configuration", "chunk_shape"), [5, 20, 20]),
        (("chunk_grid", "configuration", "chunk_shape"), [1e400, 20, 20]),
        (("chunk_grid", "configuration", "chunk_shape"), 3),
        (("chunk_grid", "name"), "irregular"),
        (("chunk_key_encoding", "configuration", "separator"), "."),
        (("chunk_key_encoding", "name"), "v2"),
        (("codecs",), []),
        ((*SHARDING, "chunk_shape"), [1e400, 20, 20]),
        ((*SHARDING, "chunk_shape"), [0, 20, 20]),
        ((*SHARDING, "chunk_shape"), [5, 20, 19]),
        ((*SHARDING, "chunk_shape"), [10, 20, 20]),
        ((*SHARDING, "index_location"), "start"),
        ((*SHARDING, "codecs", 0, "configuration"), {"endian": "big"}),
        ((*SHARDING, "codecs", 1, "name"), "gzip"),
        ((*SHARDING, "index_codecs", 0, "configuration"), {"endian": "big"}),
        (("zarr_format",), 4),
        (("storage_transformers",), [{"name": "x"}]),
        (("dimension_names",), "abc"),
        ((*SHARDING, "codecs", 1, "configuration"), {"level": "1", "checksum": False}),
        ((*SHARDING, "codecs", 1, "configuration"), {"level": 1, "checksum": False, "x": 1}),
        (("must_understand",), True),
    ],
)
def test_a_document_that_was_edited_is_refused(buffer_path, keys, value):
    """Also where our reader would not care: others would read something else."""
    edited(buffer_path / "frames" / "zarr.json", *keys, value=value)
    with pytest.raises(FormatError, match="frames"), rlbuffers.open(buffer_path) as buffer:
        buffer[:]
    assert not rlbuffers.validate(buffer_path).ok


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ((*SHARDING, "codecs", 1, "configuration", "level"), 7),
        ((*SHARDING, "codecs", 1, "configuration", "level"), -5),
        ((*SHARDING, "codecs", 1, "configuration"), {"checksum": True, "level": 1}),
        (("attributes",), {"x": 1}),
        (("dimension_names",), ["a", None, "c"]),
        (None, None),
    ],
)
def test_a_document_that_says_the_same_in_other_words_is_read(buffer_path, keys, value):
    """So that another release may have another default level, or another order of keys."""
    place = buffer_path / "frames" / "zarr.json"
    with rlbuffers.open(buffer_path) as buffer:
        before = buffer[:]
    if keys is None:
        place.write_text(json.dumps(dict(reversed(json.loads(place.read_text()).items()))))
    else:
        edited(place, *keys, value=value)
    with rlbuffers.open(buffer_path) as buffer:
        for name, rows in before.items():
            np.testing.assert_array_equal(buffer[:][name], rows)
    assert rlbuffers.validate(buffer_path).ok


@pytest.mark.parametrize("level", [None, 5])
def test_a_document_says_the_level_that_was_used(tmp_path, level):
    spec = BufferSpec(
        "transitions",
        [
            *(ColumnSpec(name, np.uint8, (16, 16)) for name in ("observations", "next_observations")),
            ColumnSpec("actions", np.int64),
            ColumnSpec("rewards", np.float32),
        ],
    )
    images = np.zeros((3, 16, 16), np.uint8)
    table = {"observations": images, "next_observations": images, "actions": [0, 1, 2], "rewards": [0.0, 1.0, 2.0]}
    with rlbuffers.create(tmp_path / "x.zarr", spec, storage=StorageOptions(level=level)) as writer:
        writer.append_transitions({name: np.asarray(rows, spec.columns[name].dtype) for name, rows in table.items()})
    levels = {}
    for name in ("observations", "rewards"):
        document = json.loads((tmp_path / "x.zarr" / name / "zarr.json").read_text())
        levels[name] = document["codecs"][0]["configuration"]["codecs"][1]["configuration"]["level"]
    assert levels == ({"observations": -1, "rewards": 1} if level is None else dict.fromkeys(levels, level))


def test_metadata_with_a_number_too_large_for_a_float_are_refused(buffer_path):
    text = (buffer_path / "zarr.json").read_text()
    assert '"transitions": 40' in text
    (buffer_path / "zarr.json").write_text(text.replace('"transitions": 40', '"transitions": 4e999'))
    with pytest.raises(CorruptDataError, match="too large"):
        rlbuffers.open(buffer_path)
