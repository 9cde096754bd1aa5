"""Damaged `.zarr.zip`: members are found by the headers before them or by the directory behind them."""

from __future__ import annotations

import json
import random
import shutil
import struct
import zipfile

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, taken

import rlbuffers
from rlbuffers.atomic import partial_of
from rlbuffers.episode import Episode
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError
from rlbuffers.repair.repair import repair
from rlbuffers.writing.storage_options import StorageOptions

EXTRA = (("infos/qpos", "float64", (3,)),)
RECIPES = {
    "vectors": Recipe("episodes", (3, 1, 300, 2, 40, 70, 90, 1), extra=EXTRA),
    "images": Recipe("episodes", (3, 1, 60, 2, 20), stack=3, size=(6, 6), extra=EXTRA),
    "shuffled": Recipe("transitions", (100, 70), stack=4, size=(6, 6), apart=0.2, extra=EXTRA),
}
STORAGE = StorageOptions(chunk_rows=8)
FLIPS = 10
LOCAL_HEADER_BYTES = 30


def append(writer, piece):
    (writer.append_episode if isinstance(piece, Episode) else writer.append_transitions)(piece)


def write(path, made):
    with rlbuffers.create(path, made.spec, storage=STORAGE) as writer:
        for piece in made.pieces:
            append(writer, piece)


@pytest.fixture(scope="module", params=RECIPES)
def whole(request, tmp_path_factory):
    made = make(RECIPES[request.param])
    path = tmp_path_factory.mktemp("zip") / "x.zarr.zip"
    write(path, made)
    with zipfile.ZipFile(path) as archive:
        return path, made, archive.infolist(), archive.start_dir


def damaged(whole, tmp_path, content):
    path = tmp_path / whole.name
    path.write_bytes(content)
    return path


def assert_all_is_there(report, made):
    assert report.is_damaged
    assert report.num_rows_lost == 0
    assert rlbuffers.validate(report.output).ok
    with rlbuffers.open(report.output) as buffer:
        assert_same_rows(buffer[:], made.table)


def test_a_sound_one_is_not_damaged(whole):
    assert not repair(whole[0], None).is_damaged


@pytest.mark.parametrize("left", [0, 1, 45, -23, -1])
def test_without_its_directory_nothing_is_lost(whole, tmp_path, new_path, left):
    """As a writer leaves it that is killed before the directory is written, or in the middle."""
    path, made, _, directory = whole
    content = path.read_bytes()
    cut = damaged(path, tmp_path, content[: directory + left] if left >= 0 else content[:left])
    with pytest.raises(CorruptDataError, match="not a whole ZIP file"):
        rlbuffers.open(cut)
    assert_all_is_there(repair(cut, new_path("memory")), made)


@pytest.mark.parametrize("part", [slice(4), slice(18, 26), slice(26, 30), slice(30, 33), slice(30)])
def test_damaged_headers_cost_nothing_with_the_directory(whole, tmp_path, new_path, part):
    path, made, members, _ = whole
    content = bytearray(path.read_bytes())
    for member in members[random.Random(0).randrange(3) :: 3]:
        at = range(*part.indices(LOCAL_HEADER_BYTES + 3))
        for place in at:
            content[member.header_offset + place] ^= 0xA5
    copy = damaged(path, tmp_path, content)
    report = repair(copy, new_path("memory"))
    if report.is_damaged:
        assert_all_is_there(report, made)
    else:  # of sizes the directory is asked
        assert rlbuffers.validate(copy).ok


def test_damaged_sizes_cost_nothing_without_the_directory(whole, tmp_path, new_path):
    """Then a member ends where the next one begins."""
    path, made, members, directory = whole
    content = bytearray(path.read_bytes()[:directory])
    for number, member in enumerate(members):
        stated = struct.unpack_from("<I", content, member.header_offset + 22)[0]
        other = (0, stated // 2, stated + 7, 2**32 - 1)[number % 4]
        struct.pack_into("<I", content, member.header_offset + 22, other)
    assert_all_is_there(repair(damaged(path, tmp_path, content), new_path("memory")), made)


def test_a_changed_byte_loses_what_is_said_and_nothing_else(whole, tmp_path, new_path):
    path, made, _, _ = whole
    content, rng = path.read_bytes(), random.Random(1)
    for _ in range(FLIPS):
        place = rng.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= rng.randrange(1, 256)
        copy = damaged(path, tmp_path, changed)
        try:
            report = repair(copy, new_path("memory"))
        except RlbuffersError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        if not report.is_damaged:
            assert rlbuffers.validate(copy).ok
            continue
        assert rlbuffers.validate(report.output).ok
        lost = set()
        for piece in report.lost_rows.split(", ") if report.lost_rows else []:
            first, _, last = piece.partition("-")
            lost |= set(range(int(first), int(last or first) + 1))
        rows = [row for row in range(len(made)) if row not in lost]
        expected = taken(made.table, rows)
        with rlbuffers.open(report.output) as buffer:
            found, known = buffer[:], np.ones(len(rows), bool)
            known[buffer.rows_without_next] = False
            for name, values in found.items():
                chosen = known if name == "next_observations" else slice(None)
                np.testing.assert_array_equal(values[chosen], expected[name][chosen], err_msg=name)


def test_without_its_metadata_it_is_refused(whole, tmp_path):
    path, _, members, _ = whole
    copy = damaged(path, tmp_path, path.read_bytes()[: members[-1].header_offset + 40])
    assert members[-1].filename == "zarr.json"
    with pytest.raises(CorruptDataError, match=r"zarr\.json: cannot be read as JSON"):
        repair(copy, None)
    copy.write_bytes(b"PK\x03\x04 and something else")
    with pytest.raises(CorruptDataError, match=r"zarr\.json: .* is missing or empty"):
        repair(copy, None)


@pytest.mark.parametrize("name", ["x.hdf5", "x.zarr.zip"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CorruptDataError, match="the file is empty"):
        repair(tmp_path / name, None)


def test_a_writer_that_was_killed_early(tmp_path):
    """There are whole shards, and nothing says of which columns."""
    made = make(RECIPES["vectors"])
    writer = rlbuffers.create(tmp_path / "x.zarr.zip", made.spec, storage=STORAGE)
    for piece in made.pieces:
        append(writer, piece)
    partial = partial_of(tmp_path / "x.zarr.zip")
    (tmp_path / "killed").mkdir()
    shutil.copy(partial, tmp_path / "killed")
    writer.abort()
    with pytest.raises(CorruptDataError, match=r"of a \.zarr\.zip no checkpoints are taken"):
        repair(tmp_path / "killed" / "x.zarr.zip", None)


def test_a_writer_that_was_killed_while_it_wrote_the_directory(whole, tmp_path, new_path):
    path, made, _, directory = whole
    partial = partial_of(tmp_path / "x.zarr.zip")
    partial.write_bytes(path.read_bytes()[: directory + 100])
    report = repair(tmp_path / "x.zarr.zip", new_path("memory"))
    assert report.is_interrupted
    assert_all_is_there(report, made)


def test_links_in_a_folder_are_not_followed(tmp_path):
    made = make(RECIPES["vectors"])
    path = tmp_path / "x.zarr"
    write(path, made)
    shard = path / "rewards" / "c" / "0"
    shutil.move(shard, tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptDataError, match=r"rewards: .*shard 0 is missing, empty or unreadable .*a symbolic link"):
        repair(path, None)
    document = path / "zarr.json"
    shutil.move(document, tmp_path / "document")
    document.symlink_to(tmp_path / "document")
    with pytest.raises(FormatError, match="a symbolic link to"):
        repair(path, None)


@pytest.mark.parametrize("key", ["spec", "arrays", "normalization"])
def test_metadata_that_are_trusted_are_still_checked(tmp_path, new_path, key):
    """What only describes is left out by name; what says how bytes are read is refused."""
    made = make(RECIPES["vectors"])
    path = tmp_path / "x.zarr"
    write(path, made)
    root = json.loads((path / "zarr.json").read_text())
    facts = root["attributes"]["rlbuffers"]
    facts["license"] = facts["statistics"] = 7
    (path / "zarr.json").write_text(json.dumps(root))
    report = repair(path, new_path("memory"), trust_metadata=True)
    assert any("left out of the metadata: license" in problem for problem in report.problems)
    assert report.num_rows_lost == 0
    facts[key] = [7]
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(CorruptDataError, match=f"the metadata cannot be used: {key}"):
        repair(path, None, trust_metadata=True)
