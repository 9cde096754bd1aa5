"""Writers that are killed: what they noted is salvaged, and the next writer begins anew."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from reference import Recipe, assert_same_rows, make, taken, write

import rlbuffers
from rlbuffers.episode import Episode
from rlbuffers.errors import BufferBusyError, CorruptDataError
from rlbuffers.hidden_paths import partial_of
from rlbuffers.repair.repair import repair
from rlbuffers.writing import journal
from rlbuffers.writing.journal import interrupted_of, journal_of, num_journaled, tail_of

SUPPORT = Path(__file__).parents[2] / "support"
RECIPES = {
    "vectors": Recipe("episodes", (7, 300, 1, 2) * 6, extra=(("infos/qpos", "float64", (300,)),)),
    "images": Recipe("episodes", (30, 5, 300, 1) * 6, stack=3, size=(6, 6)),
    "shuffled": Recipe("transitions", (70, 1, 300) * 8, stack=2, size=(6, 6), apart=0.1),
    "pairs": Recipe("transitions", (70, 1, 300) * 8, extra=(("infos/qpos", "float64", (300,)),)),
}
STORES = ["hdf5", "zarr"]
EVERY = pytest.mark.parametrize(("kind", "store"), [(kind, store) for kind in RECIPES for store in STORES])
# Writes, says after each append how many rows there are, and waits to be killed.
CHILD = """
    import sys
    sys.path.insert(0, {support!r})
    import rlbuffers
    from rlbuffers.writing import journal
    from reference import Recipe, make
    journal.INTERVAL_SECONDS = 0.0
    made = make({recipe!r})
    writer = rlbuffers.create({path!r}, made.spec, {{"environment": {{"id": "Maze-v0"}}}})
    for piece in made.pieces:
        (writer.append_episode if made.bounds else writer.append_transitions)(piece)
        print(writer.num_transitions, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def checkpoint_always(monkeypatch):
    monkeypatch.setattr(journal, "INTERVAL_SECONDS", 0.0)


def append(writer, piece):
    (writer.append_episode if isinstance(piece, Episode) else writer.append_transitions)(piece)


def begun(path, made, count):
    """A writer that has appended some pieces."""
    writer = rlbuffers.create(path, made.spec, {"environment": {"id": "Maze-v0"}})
    for piece in made.pieces[:count]:
        append(writer, piece)
    return writer


def assert_beginning(path, made, count):
    """Check that a buffer holds the first `count` rows."""
    assert rlbuffers.validate(path).ok
    with rlbuffers.open(path) as buffer:
        assert_same_rows(buffer[:], taken(made.table, slice(count)))


@EVERY
def test_a_killed_writer_loses_nothing_that_was_noted(tmp_path, new_path, kind, store):
    recipe, path = RECIPES[kind], tmp_path / f"x.{store}"
    made = make(recipe)
    code = textwrap.dedent(CHILD).format(support=str(SUPPORT), recipe=recipe, path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    rng = random.Random(f"{kind} {store}")
    for _ in range(rng.randrange(1, len(made.pieces))):
        noted = int(child.stdout.readline())
    child.kill()  # somewhere in the appends that follow
    assert child.wait() == -9
    later = [int(line) for line in child.stdout.read().splitlines() if line]
    child.stdin.close()
    child.stdout.close()
    assert not path.exists()
    report = repair(path, new_path("memory"))
    assert report.is_interrupted
    kept = report.num_rows_kept
    assert kept >= max([noted, *later])
    assert_beginning(report.output, made, kept)
    with rlbuffers.open(report.output) as buffer:
        assert buffer.metadata["environment"] == {"id": "Maze-v0"}
        assert buffer.metadata["derivation"]["operation"] == "repair"


@EVERY
def test_killed_inside_a_checkpoint(tmp_path, new_path, checkpoint_always, kind, store):
    """The journal is one checkpoint ahead of the tail: everything that the tail counts is there."""
    made, path = make(RECIPES[kind]), tmp_path / "a" / f"x.{store}"
    rng = random.Random(f"{kind} {store}")
    writer = begun(path, made, 0)
    partial = partial_of(path)
    for number, piece in enumerate(made.pieces):
        before = tail_of(partial).read_bytes() if number else b""
        count = writer.num_transitions
        append(writer, piece)
        if not number or rng.random() < 0.7:
            continue
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        shutil.copytree(path.parent, tmp_path / "b")
        copy = tmp_path / "b" / path.name
        tail_of(partial_of(copy)).write_bytes(before)
        report = repair(copy, new_path("memory"))
        assert (report.num_rows_kept, report.num_lost) == (count, 0)
        assert_beginning(report.output, made, count)
    writer.abort()


@EVERY
def test_damage_to_what_is_left(tmp_path, new_path, checkpoint_always, kind, store):
    """A bad byte anywhere, or a journal that was cut: what is kept is right, and what is lost is said."""
    made, path = make(RECIPES[kind]), tmp_path / "a" / f"x.{store}"
    writer = begun(path, made, len(made.pieces))
    rng = random.Random(f"{kind} {store}")
    num_kept = []
    for _ in range(8):
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        shutil.copytree(path.parent, tmp_path / "b")
        copy = tmp_path / "b" / path.name
        damage(rng, partial_of(copy))
        try:
            report = repair(copy, new_path("memory"))
        except CorruptDataError:
            continue
        lost = lost_of(report)
        rows = [row for row in range(report.num_rows_kept + report.num_rows_lost) if row not in lost]
        with rlbuffers.open(report.output) as buffer:
            found, unknown = buffer[:], buffer.rows_without_next
        for name, values in taken(made.table, rows).items():
            known = np.ones(len(rows), bool)
            if name == "next_observations":
                known[unknown] = False
            np.testing.assert_array_equal(found[name][known], values[known], err_msg=name)
        num_kept.append(len(rows))
    writer.abort()
    assert max(num_kept) > 0


def lost_of(report):
    """Return the rows that a report says are lost."""
    lost = set()
    for piece in report.lost_rows.split(", ") if report.lost_rows else []:
        first, _, last = piece.partition("-")
        lost |= set(range(int(first), int(last or first) + 1))
    return lost


def damage(rng, partial):
    files = [file for file in (partial.rglob("*") if partial.is_dir() else [partial]) if file.is_file()]
    kind = rng.choice(["flip", "flip", "cut journal", "flip tail"])
    file = {"flip": rng.choice(files), "cut journal": journal_of(partial), "flip tail": tail_of(partial)}[kind]
    content = bytearray(file.read_bytes())
    if kind == "cut journal":
        content = content[: rng.randrange(len(content) // 2, len(content))]
    else:
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    file.write_bytes(content)


@pytest.mark.parametrize("store", STORES)
def test_nothing_is_left_of_the_journal(tmp_path, checkpoint_always, store):
    made, path = make(RECIPES["vectors"]), tmp_path / f"x.{store}"
    writer = begun(path, made, len(made.pieces))
    assert num_journaled(partial_of(path)) == len(made)
    writer.commit()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert_beginning(path, made, len(made))
    begun(tmp_path / f"y.{store}", made, 3).abort()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_no_journal_before_the_first_checkpoint(tmp_path):
    writer = begun(tmp_path / "x.hdf5", make(RECIPES["pairs"]), 3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".x.hdf5.lock", ".x.hdf5.partial"]
    writer.abort(keep=True)
    assert list(tmp_path.iterdir()) == []


def leave_interrupted(path, made, count):
    """Leave what a killed writer leaves."""
    begun(path, made, count).abort(keep=True)


@pytest.mark.parametrize("store", STORES)
def test_a_writer_that_fails_can_keep_what_it_has(tmp_path, new_path, checkpoint_always, store):
    made, path = make(RECIPES["images"]), tmp_path / f"x.{store}"
    leave_interrupted(path, made, 9)
    assert not path.exists()
    report = repair(path, new_path("memory"))
    assert_beginning(report.output, made, made.bounds[8][1])


@pytest.mark.parametrize("store", STORES)
def test_the_next_writer_begins_anew_and_keeps_what_was_left(tmp_path, new_path, checkpoint_always, store):
    made, path = make(RECIPES["vectors"]), tmp_path / f"x.{store}"
    leave_interrupted(path, made, 5)
    writer = begun(path, made, 2)
    assert num_journaled(interrupted_of(path)) == made.bounds[4][1]
    report = repair(interrupted_of(path), new_path("memory"))
    assert_beginning(report.output, made, made.bounds[4][1])
    writer.abort(keep=True)
    rlbuffers.create(path, made.spec).abort()
    assert num_journaled(interrupted_of(path)) == made.bounds[4][1]  # the shorter one went
    write(path, made)  # the same command succeeds
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert_beginning(path, made, len(made))


def test_what_another_command_left_stays(tmp_path, new_path, checkpoint_always, monkeypatch):
    made, path = make(RECIPES["pairs"]), tmp_path / "x.zarr"
    leave_interrupted(path, made, 5)
    monkeypatch.setattr(sys, "argv", ["rlbuffers", "generate", "--eps", "0.3"])
    with rlbuffers.create(path, made.spec) as writer:
        append(writer, made.pieces[0])
    assert writer.interrupted == interrupted_of(path)
    report = repair(interrupted_of(path), new_path("memory"))
    assert report.num_rows_kept == 442


def test_the_result_may_get_the_name_that_was_meant(tmp_path, checkpoint_always):
    made, path = make(RECIPES["pairs"]), tmp_path / "x.hdf5"
    leave_interrupted(path, made, 4)
    report = repair(path, path)
    assert_beginning(path, made, report.num_rows_kept)


def test_a_finished_buffer_that_never_got_its_name(tmp_path, new_path, checkpoint_always):
    made, path = make(RECIPES["pairs"]), tmp_path / "x.hdf5"
    leave_interrupted(path, made, 4)
    write(tmp_path / "whole.hdf5", made).rename(partial_of(path))
    report = repair(path, new_path("memory"))
    assert_beginning(report.output, made, len(made))


def test_what_is_being_written_is_left_alone(tmp_path, checkpoint_always):
    path = tmp_path / "x.hdf5"
    writer = begun(path, make(RECIPES["pairs"]), 2)
    with pytest.raises(BufferBusyError, match="a process is writing it"):
        repair(path, None)
    writer.abort()


def test_without_a_checkpoint_nothing_can_be_done(tmp_path):
    partial_of(tmp_path / "x.hdf5").write_bytes(b"\x89HDF")
    with pytest.raises(CorruptDataError, match="killed before its first checkpoint"):
        repair(tmp_path / "x.hdf5", None)


def test_extras_of_an_interrupted_buffer_are_left_out(tmp_path, new_path, checkpoint_always):
    made, path = make(RECIPES["pairs"]), tmp_path / "x.hdf5"
    extras = [rlbuffers.ColumnSpec("weights", np.float32)]
    spec = rlbuffers.BufferSpec("transitions", made.spec.columns, extras=extras)
    writer = rlbuffers.create(path, spec)
    append(writer, made.pieces[0])
    writer.append_extra("weights", np.ones(3, np.float32))
    writer.abort(keep=True)
    report = repair(path, new_path("memory"))
    assert [(loss.array, loss.problem) for loss in report.losses] == [
        ("extras/weights", "not written before the interruption")
    ]
    assert_beginning(report.output, made, 70)
