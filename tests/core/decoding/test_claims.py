import os
import shutil
from pathlib import Path

import pytest
from foreign_inputs import DATA
from wire import delimited, example, feature, tfrecord

from rlbuffers.decoding.claims import FREE_BYTES, most_bytes, require_room, stored_bytes
from rlbuffers.decoding.example_values import parse_example
from rlbuffers.decoding.tfrecord import read_records
from rlbuffers.errors import CorruptDataError, FormatError
from rlbuffers.local_inputs import followed_links
from rlbuffers.sources.dopamine.checkpoints import find_checkpoints
from rlbuffers.sources.files import files_in
from rlbuffers.sources.lerobot.dataset import LeRobotSource
from rlbuffers.sources.reverb.directory import find_checkpoint
from rlbuffers.sources.rllib.dataset import RLlibSource
from rlbuffers.sources.tfds.rlds import RLDSSource

FORMATS = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


def test_a_sparse_file_holds_little(tmp_path):
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert stored_bytes(path) == 0
    assert most_bytes(path) == FREE_BYTES
    with path.open("r+b") as file:
        file.write(os.urandom(3 << 20))
        os.fsync(file.fileno())
    assert 3 << 20 <= stored_bytes(path) < 4 << 20
    assert most_bytes(path) >= 32 * (3 << 20)


def test_a_bound_is_met_and_not_passed():
    require_room(10, 10, "here")
    with pytest.raises(CorruptDataError, match="here: it announces 11 bytes in memory; more than 10 are not plausible"):
        require_room(11, 10, "here")


@pytest.mark.parametrize(
    ("kind", "content"),
    [(3, delimited(1, bytes(9_000_000))), (1, b"\x0a\0" * 1_500_000), (2, b"\x0d\0\0\0\0" * 450_000)],
)
def test_small_records_that_become_large(kind, content):
    described = delimited(1, b"x") + delimited(2, delimited(kind, content))
    record = delimited(1, delimited(1, described))
    with pytest.raises(CorruptDataError, match="not plausible for a file of this size"):
        parse_example(record, "here")
    assert len(parse_example(record, "here", 1 << 30)["x"]) in (9_000_000, 1_500_000, 450_000)


def test_large_honest_records_are_read_and_batches_end():
    records = [tfrecord(example({"x": feature("bytes", [bytes(20_000)])}))] * 3
    (batch,) = read_records(records, "shard", 10)
    assert len(batch) == 3


BOUNDS = {
    "rlbuffers.decoding.chunk_sizes": {"MAX_STREAMS": "64 streams"},
    "rlbuffers.decoding.claims": {
        "FREE_BYTES": "64 MiB",
        "FREE_STREAM_BYTES": "8 GiB",
        "RECORD_GROWTH": "32 bytes",
        "IMAGE_GROWTH": "128 bytes",
        "STREAM_GROWTH": "250 bytes",
    },
    "rlbuffers.decoding.zip_directory": {"MAX_MEMBERS": "100,000 members"},
    "rlbuffers.decoding.parquet_claims": {"FREE_OBJECTS": "2,000,000 values", "FREE_COLUMN_BYTES": "128 MiB"},
    "rlbuffers.sources.files": {"MAX_JSON_BYTES": "64 MiB"},
    "rlbuffers.sources.json_text": {"MAX_PARSED_BYTES": "256 MiB", "_MAX_DEPTH": "64 levels"},
    "rlbuffers.sources.tfds.directory": {"MAX_SHARDS": "131,072 shards"},
    "rlbuffers.sources.dopamine.checkpoints": {"_MAX_ROWS": "4,194,304 rows"},
    "rlbuffers.sources.rllib.batches": {"_MAX_LINE_BYTES": "128 MiB"},
    "rlbuffers.sources.lerobot.layout": {"_MAX_LINE_BYTES": "16 MiB"},
}
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


@pytest.mark.parametrize("module", BOUNDS)
def test_the_table_of_bounds_is_true(module):
    text = FORMATS.read_text()
    for name, words in BOUNDS[module].items():
        number, unit = words.split()
        constant = getattr(__import__(module, fromlist=[name]), name)
        assert constant == int(number.replace(",", "")) * UNITS.get(unit, 1)
        assert f"| {words}" in text


def _moved_out(tmp_path, source, name):
    """Copy a fixture, move one of its files out of it, and leave a link."""
    folder = Path(shutil.copytree(DATA / source, tmp_path / "in"))
    place = next(folder.rglob(name))
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    return folder


@pytest.mark.parametrize(
    ("source", "name", "opened"),
    [
        ("lerobot/v2.1", "episode_000001.parquet", LeRobotSource),
        ("lerobot/v3.0", "info.json", LeRobotSource),
        ("tfds/mini_rlds/pixels/1.0.0", "*.tfrecord-*", RLDSSource),
        ("tfds/mini_rlds/pixels/1.0.0", "features.json", RLDSSource),
        ("rllib/batches", "*_1.json", RLlibSource),
        ("reverb/pendulum", "chunks.tfrecord", find_checkpoint),
        ("dopamine/Breakout/1/replay_logs", "*action*", lambda path: find_checkpoints(path, None)),
        ("exorl", "episode_000001_1.npz", lambda path: files_in([path], (".npz",))),
    ],
)
def test_links_out_of_folders(tmp_path, source, name, opened):
    folder = _moved_out(tmp_path, source, name)
    with pytest.raises(FormatError, match=r"a symbolic link to .*outside.*pass --follow-links"):
        opened(folder)
    with followed_links():
        opened(folder)


def test_the_hub_s_cache_keeps_working(tmp_path):
    blobs, revision = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    shutil.copytree(DATA / "lerobot" / "v2.1", revision)
    for number, path in enumerate(sorted(path for path in revision.rglob("*") if path.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    assert LeRobotSource(revision).total > 0
