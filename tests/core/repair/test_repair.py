"""Damaged buffers: what is salvaged is what loops over episodes and chunks say, and nothing else."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from chunk_places import chunk_places, chunk_rows, flip
from reference import Recipe, assert_same_rows, make, taken

import rlbuffers
from rlbuffers import ColumnSpec
from rlbuffers.episode import Episode
from rlbuffers.errors import CorruptDataError, FormatError, RlbuffersError, SpecError, UsageError
from rlbuffers.repair.repair import repair
from rlbuffers.writing.storage_options import StorageOptions

EXTRA = (("infos/qpos", "float64", (3,)),)
RECIPES = {
    "vectors": Recipe("episodes", (3, 1, 300, 2, 40, 70, 90, 1), extra=EXTRA),
    "images": Recipe("episodes", (3, 1, 260, 2, 100, 50), stack=3, size=(6, 6), extra=EXTRA),
    "shuffled": Recipe("transitions", (300, 270), stack=4, size=(6, 6), apart=0.2, extra=EXTRA),
    "pairs": Recipe("transitions", (300, 270), extra=EXTRA),
}
STORAGE = StorageOptions(chunk_rows=8)
STORES = ["hdf5", "zarr"]
FLIPS = 12


def made_of(kind):
    """Make a buffer's content: as in the recipe, with a fact of each episode and an extra."""
    made = make(RECIPES[kind])
    spec = made.spec
    facts = [ColumnSpec("seeds", np.int64)] if spec.layout == "episodes" else []
    made.spec = rlbuffers.BufferSpec(
        spec.layout, spec.columns, spec.order, spec.stack, facts, [ColumnSpec("weights", np.float32, (2,))]
    )
    if facts:
        made.pieces = [replace(piece, facts={"seeds": number}) for number, piece in enumerate(made.pieces)]
    return made


def write(path, made, storage=STORAGE):
    with rlbuffers.create(path, made.spec, {"environment": {"id": "Maze-v0"}}, storage=storage) as writer:
        for piece in made.pieces:
            (writer.append_episode if isinstance(piece, Episode) else writer.append_transitions)(piece)
        writer.append_extra("weights", np.arange(10, dtype=np.float32).reshape(5, 2))
    return path


@pytest.fixture(scope="module", params=[(kind, store) for kind in RECIPES for store in STORES], ids="-".join)
def whole(request, tmp_path_factory):
    """A sound buffer in small chunks, with what was written."""
    kind, store = request.param
    made = made_of(kind)
    return write(tmp_path_factory.mktemp("whole") / f"{kind}.{store}", made), made


def copy_of(path, target):
    if path.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(path, target)
    else:
        shutil.copyfile(path, target)
    return target


class Expected:
    """What is left of a buffer when rows `low` to `high` of one of its arrays are lost, worked out one by one."""

    def __init__(self, made, array, low, high):
        self.made = made
        self.left_out = set()
        self.whole, self.final_known = [], []
        count = len(made.bounds) or len(made)
        self.kept = list(range(count))
        judge = self.judge_episode if made.bounds else self.judge_row
        self.flags = {}
        kept = [unit for unit in self.kept if judge(unit, array, low, high)]
        if array == "extras/weights" or not kept:  # nothing is left: the column goes instead
            assert array in ("extras/weights", "infos/qpos", "episodes/seeds")
            self.left_out.add(array)
            self.flags = dict.fromkeys(self.kept, (True, True))
            kept = self.kept
        self.kept = kept

    def judge_episode(self, number, array, low, high):
        start, stop = self.made.bounds[number]
        hit = set(range(low, high))
        known, whole = True, True
        stack = self.made.spec.stack
        if array in ("episodes/starts", "episodes/lengths", "episodes/returns", "stack_index", "extras/weights"):
            kept = True
        elif array == "episodes/whole":
            kept, whole = True, number not in hit
        elif array in ("episodes/final_known", "episodes/final_observations"):
            kept, known = True, number not in hit
        elif array == "episodes/seeds":
            kept = number not in hit
        elif array == "frames":
            frames = [start + number * stack + step for step in range(stop - start + stack)]
            kept, known = not hit & set(frames[:-1]), frames[-1] not in hit
        else:
            kept = not hit & set(range(start, stop))
        self.flags[number] = (whole, known)
        return kept

    def judge_row(self, row, array, low, high):
        made, depth = self.made, self.made.spec.stack + 1
        overridden = [
            number
            for number in range(len(made))
            if made.spec.stack
            and not np.array_equal(made.table["next_observations"][number, :-1], made.table["observations"][number, 1:])
        ]
        if array in ("stack_index", "extras/weights"):
            return True
        if array == "frames":
            return not set(range(low, high)) & set(range(row * depth, row * depth + depth))
        if array == "next_overrides/rows":
            before = overridden[low - 1] if low else -1
            after = overridden[high] if high < len(overridden) else len(made)
            return not before < row < after
        if array == "next_overrides/observations":
            return row not in overridden[low:high]
        return not low <= row < high

    def check(self, path):
        """Compare a repaired buffer."""
        made = self.made
        rows = [row for number in self.kept for row in range(*made.bounds[number])] if made.bounds else self.kept
        table = {name: values.copy() for name, values in taken(made.table, rows).items()}
        for name in self.left_out:
            table.pop(name, None)
        with rlbuffers.open(path) as buffer:
            assert ("weights" in buffer.spec.extras) == ("extras/weights" not in self.left_out)
            if made.bounds:
                lengths = [np.ptp(made.bounds[number]) for number in self.kept]
                ends = np.cumsum(lengths) - 1
                unknown = [end for end, number in zip(ends, self.kept, strict=True) if not self.flags[number][1]]
                for row in unknown:
                    newest = table["next_observations"][row]
                    (newest[-1] if made.spec.stack else newest)[...] = 0
                assert buffer.arrays["episodes/lengths"].all().tolist() == lengths
                assert buffer.rows_without_next.tolist() == unknown
                assert buffer.arrays["episodes/whole"].all().tolist() == [self.flags[number][0] for number in self.kept]
                if "episodes/seeds" not in self.left_out:
                    assert buffer.arrays["episodes/seeds"].all().tolist() == self.kept
            assert_same_rows(buffer[:], table)
            return buffer.metadata


def test_one_bad_chunk_of_each_array(whole, tmp_path, new_path):
    path, made = whole
    rng = random.Random(str(path.name))
    places = chunk_places(path)
    assert len(places) > 6
    for array, chunks in places.items():
        if not chunks or array.startswith("rlbuffers_chunks"):
            continue
        number = rng.randrange(len(chunks))
        copy = copy_of(path, tmp_path / f"damaged{path.suffix}")
        file, offset, size = chunks[number]
        target = copy / file.relative_to(path) if path.is_dir() else copy
        flip(target, offset + rng.randrange(size), rng)
        with rlbuffers.open(path) as buffer:
            num_rows = len(buffer.arrays[array])
        low = number * chunk_rows(path, array)
        high = min(low + chunk_rows(path, array), num_rows)
        expected = Expected(made, array, low, high)
        report = repair(copy, new_path("memory"))
        assert report.is_damaged, array
        assert [loss.array for loss in report.losses if "left out" not in loss.problem] == [array]
        metadata = expected.check(report.output)
        assert rlbuffers.validate(report.output).ok, array
        assert report.num_lost == (len(made.bounds) or len(made)) - len(expected.kept), array
        (parent,) = metadata["derivation"]["parents"]
        with rlbuffers.open(path) as buffer:
            assert parent["fingerprint"] == buffer.fingerprint
        assert metadata["environment"] == {"id": "Maze-v0"}
        assert metadata["derivation"]["lost"]["transitions"] == report.num_rows_lost
        assert any("Salvaged" in warning for warning in metadata["warnings"])


def rows_of(ranges):
    """Return the rows that a text of ranges names."""
    rows = []
    for piece in ranges.split(", ") if ranges else []:
        first, _, last = piece.partition("-")
        rows += range(int(first), int(last or first) + 1)
    return rows


def damaged_anywhere(path, target, rng):
    """Copy a buffer and change a byte, each region being as likely as the others: chunks, indices, descriptions."""
    copy = copy_of(path, target)
    if copy.is_dir():
        file = rng.choice(sorted(file for file in copy.rglob("*") if file.is_file()))
        size = file.stat().st_size
        place = rng.choice([rng.randrange(size), size - 1 - rng.randrange(min(size, 400))])
    else:
        file, size = copy, copy.stat().st_size
        taken_bytes = sorted((offset, length) for chunks in chunk_places(path).values() for _, offset, length in chunks)
        inside = rng.choice(taken_bytes)
        place = rng.choice([inside[0] + rng.randrange(inside[1]), rng.randrange(size), rng.randrange(size)])
    flip(file, place, rng)
    return copy, f"{file} at {place}"


def refused(error, copy):
    """Check that a buffer of which nothing can be salvaged is one line that names it."""
    assert str(copy) in str(error)
    assert "\n" not in str(error)
    return "refused"


def compare(report, path, made):
    """Check that exactly the rows are missing that are said to be."""
    result = report.output or path
    assert rlbuffers.validate(result).ok
    lost = set(rows_of(report.lost_rows))
    rows = [row for row in range(len(made)) if row not in lost]
    assert len(rows) == report.num_rows_kept
    with rlbuffers.open(result) as buffer:
        found, unknown = buffer[:], buffer.rows_without_next
    expected = taken(made.table, rows)
    for name in found:
        known = np.ones(len(rows), bool)
        if name == "next_observations":
            known[unknown] = False
        np.testing.assert_array_equal(found[name][known], expected[name][known], err_msg=name)
    return "repaired" if report.is_damaged else "harmless"


def test_a_changed_byte_anywhere_costs_what_is_said_and_nothing_else(whole, tmp_path, new_path):
    path, made = whole
    rng = random.Random(f"anywhere {path.name}")
    outcomes = set()
    for _ in range(FLIPS):
        copy, what = damaged_anywhere(path, tmp_path / f"damaged{path.suffix}", rng)
        try:
            report = repair(copy, new_path("memory"))
        except FormatError as error:
            outcomes.add(refused(error, copy))
            continue
        outcomes.add(compare(report, copy, made))
    assert "repaired" in outcomes, what


def test_a_sound_buffer_is_left_alone(whole, tmp_path):
    path, _ = whole
    report = repair(path, tmp_path / "new.zarr")
    assert not report.is_damaged
    assert report.output is None
    assert list(tmp_path.iterdir()) == []


def damaged_rewards(tmp_path, store="hdf5", kind="vectors"):
    made = made_of(kind)
    path = write(tmp_path / f"x.{store}", made)
    file, offset, size = chunk_places(path)["rewards"][3]
    flip(file, offset + size - 1, random.Random(0))
    return path, made


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path):
    path, _ = damaged_rewards(tmp_path)
    told = repair(path, None)
    assert told.output is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.hdf5"]
    done = repair(path, tmp_path / "new.hdf5")
    assert (told.lost_rows, told.losses, told.num_kept) == (done.lost_rows, done.losses, done.num_kept)
    assert told.lost_rows == "4-303"
    assert done.kept.transitions == done.num_rows_kept == 207


def test_the_damaged_buffer_stays_as_it_is(tmp_path):
    path, _ = damaged_rewards(tmp_path)
    before = path.read_bytes()
    repair(path, tmp_path / "new.hdf5")
    assert path.read_bytes() == before


def test_a_damaged_column_can_be_left_out_to_keep_its_rows(tmp_path):
    made = made_of("vectors")
    path = write(tmp_path / "x.zarr", made)
    file, offset, _ = chunk_places(path)["infos/qpos"][3]
    flip(file, offset, random.Random(0))
    assert repair(path, None).num_rows_lost == 300
    report = repair(path, tmp_path / "new.zarr", without=["infos/qpos"])
    assert report.num_rows_lost == 0
    with rlbuffers.open(tmp_path / "new.zarr") as buffer:
        expected = {name: values for name, values in made.table.items() if name != "infos/qpos"}
        assert_same_rows(buffer[:], expected)
        assert any(text.startswith("infos/qpos: ") for text in buffer.metadata["left_out"])
        assert buffer.metadata["derivation"]["arguments"] == {"without": ["infos/qpos"]}
    with pytest.raises(SpecError, match="'rewards' cannot be left out; the choice is infos/qpos, episodes/seeds"):
        repair(path, None, without=["rewards"])


@pytest.mark.parametrize("kind", ["vectors", "shuffled"])
def test_zarr_without_an_index_or_a_description_loses_nothing(tmp_path, kind):
    """The chunks of a shard stand one behind the other and carry their checksums: they are found without it."""
    made = made_of(kind)
    for number, damage in enumerate(
        [
            lambda path: flip(path / "rewards/c/0", (path / "rewards/c/0").stat().st_size - 3, random.Random(1)),
            lambda path: (path / "rewards" / "zarr.json").write_text("{"),
            lambda path: (path / "rewards" / "zarr.json").unlink(),
        ]
    ):
        path = write(tmp_path / f"{number}.zarr", made, StorageOptions(chunk_rows=256))
        damage(path)
        report = repair(path, tmp_path / f"new{number}.hdf5")
        assert report.is_damaged
        assert report.num_rows_lost == 0
        with rlbuffers.open(tmp_path / f"new{number}.hdf5") as buffer:
            assert_same_rows(buffer[:], made.table)


def test_a_shard_that_was_cut_short_keeps_its_beginning(tmp_path):
    made = made_of("pairs")
    path = write(tmp_path / "x.zarr", made)
    shard = path / "rewards" / "c" / "0"
    _, offset, _ = chunk_places(path)["rewards"][40]
    shard.write_bytes(shard.read_bytes()[: offset + 2])
    report = repair(path, tmp_path / "new.zarr")
    lost = range(40 * 8, 64 * 8)
    assert rows_of(report.lost_rows) == list(lost)
    with rlbuffers.open(tmp_path / "new.zarr") as buffer:
        assert_same_rows(buffer[:], taken(made.table, [row for row in range(570) if row not in lost]))
    shard.unlink()
    assert rows_of(repair(path, None).lost_rows) == list(range(64 * 8))


def test_an_array_that_is_gone_is_left_out_if_it_can_be(tmp_path):
    made = made_of("pairs")
    path = write(tmp_path / "x.zarr", made)
    shutil.rmtree(path / "infos")
    report = repair(path, tmp_path / "new.zarr")
    assert [(loss.array, loss.what) for loss in report.losses] == [("infos/qpos", "the column")]
    assert report.num_rows_lost == 0
    shutil.rmtree(path / "rewards")
    with pytest.raises(CorruptDataError, match=r"nothing is whole \(.*rewards: 1 of 1 chunks cannot be read"):
        repair(path, None)


def test_damaged_metadata_say_what_can_be_done(tmp_path):
    made = made_of("vectors")
    path = write(tmp_path / "x.zarr", made)
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace("Maze-v0", "Haze-v0"))
    with pytest.raises(CorruptDataError, match=r"fails its checksum.*--trust-metadata"):
        repair(path, tmp_path / "new.zarr")
    report = repair(path, tmp_path / "new.zarr", trust_metadata=True)
    assert report.problems == ("the metadata fail their checksum and were taken as they are", *report.problems[1:])
    with rlbuffers.open(tmp_path / "new.zarr") as buffer:
        assert_same_rows(buffer[:], made.table)
    (path / "zarr.json").write_text(text[:-40])
    with pytest.raises(CorruptDataError, match=r"cannot be read as JSON.*mend the text by hand"):
        repair(path, None, trust_metadata=True)


def test_damaged_mappings_of_virtual_datasets_cost_nothing(tmp_path):
    made = made_of("images")
    path = write(tmp_path / "x.hdf5", made)
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL\x01") + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="virtual"):
        rlbuffers.open(path)
    report = repair(path, tmp_path / "new.hdf5")
    assert report.num_rows_lost == 0
    assert "virtual" in report.problems[0]
    with rlbuffers.open(tmp_path / "new.hdf5") as buffer:
        assert_same_rows(buffer[:], made.table)


def test_what_is_no_buffer_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        repair(tmp_path / "x.hdf5", None)
    (tmp_path / "x.hdf5").write_bytes(b"no HDF5")
    (tmp_path / "x.zarr").mkdir()
    for name in ("x.hdf5", "x.zarr"):
        with pytest.raises(RlbuffersError, match=f"x.{name[2:]}"):
            repair(tmp_path / name, None)
    path = write(tmp_path / "y.zarr", made_of("pairs"))
    with pytest.raises(UsageError, match="choose another name"):
        repair(path, path, overwrite=True)
    with pytest.raises(UsageError, match="must end in"):
        repair(path, tmp_path / "new.txt")
