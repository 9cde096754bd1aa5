from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import rlbuffers.atomic
import rlbuffers.leftovers
from rlbuffers.atomic import (
    AtomicPath,
    discard_unpublished,
    publish_all,
    write_bytes_atomically,
)
from rlbuffers.errors import BufferBusyError, BufferExistsError, NotDurableError
from rlbuffers.hidden_paths import remove_path
from rlbuffers.leftovers import LOCK_MARK, is_being_written
from rlbuffers.repair.repair import repair


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def write_tree(path, text):
    path.mkdir()
    (path / "inner").mkdir()
    (path / "inner" / "file").write_text(text)


def text_of(path):
    return (path / "inner" / "file").read_text() if path.is_dir() else path.read_text()


def write_file(path, text):
    path.write_text(text)


KINDS = pytest.mark.parametrize("write", [write_file, write_tree])


@KINDS
def test_publishing_gives_the_final_name(tmp_path, write):
    final = tmp_path / "new" / "folders" / "x"
    target = AtomicPath(final)
    write(target.partial, "content")
    assert not final.exists()
    target.publish()
    assert text_of(final) == "content"
    assert names(final.parent) == ["x"]


@KINDS
def test_discarding_leaves_nothing(tmp_path, write):
    target = AtomicPath(tmp_path / "x")
    write(target.partial, "content")
    target.discard()
    target.discard()
    assert names(tmp_path) == []


def test_something_at_the_path_is_refused(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(BufferExistsError, match="overwrite"):
        AtomicPath(tmp_path / "x")
    assert names(tmp_path) == ["x"]


def test_something_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = AtomicPath(tmp_path / "x")
    write_file(target.partial, "new")
    (tmp_path / "x").write_text("somebody else's")
    with pytest.raises(BufferExistsError, match="appeared"):
        target.publish()
    assert text_of(tmp_path / "x") == "somebody else's"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("new", [write_file, write_tree])
@pytest.mark.parametrize("old", [write_file, write_tree])
def test_overwriting_keeps_the_old_one_until_the_new_one_is_whole(tmp_path, old, new):
    old(tmp_path / "x", "old")
    target = AtomicPath(tmp_path / "x", overwrite=True)
    new(target.partial, "new")
    assert text_of(tmp_path / "x") == "old"
    target.publish()
    assert text_of(tmp_path / "x") == "new"
    assert names(tmp_path) == ["x"]


@KINDS
def test_failing_to_rename_gives_the_old_one_its_name_back(tmp_path, monkeypatch, write):
    write(tmp_path / "x", "old")
    target = AtomicPath(tmp_path / "x", overwrite=True)
    write(target.partial, "new")
    rename = os.rename

    def fail(old, new):
        if old == target.partial:
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        target.publish()
    assert text_of(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


@KINDS
def test_failing_to_overwrite_keeps_the_old_one(tmp_path, monkeypatch, write):
    write(tmp_path / "x", "old")
    target = AtomicPath(tmp_path / "x", overwrite=True)
    write(target.partial, "new")

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        target.publish()
    assert text_of(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


def test_two_writers_of_one_path(tmp_path):
    first = AtomicPath(tmp_path / "x")
    write_file(first.partial, "first")
    with pytest.raises(BufferBusyError, match="another process"):
        AtomicPath(tmp_path / "x")
    with pytest.raises(BufferBusyError):
        AtomicPath(tmp_path / "x", overwrite=True)
    other = AtomicPath(tmp_path / "y")
    first.publish()
    other.discard()
    AtomicPath(tmp_path / "x", overwrite=True).discard()
    assert text_of(tmp_path / "x") == "first"
    assert names(tmp_path) == ["x"]


def killed_while(tmp_path, work):
    """Run `work` in a process that then kills itself."""
    script = f"""
        import os, pathlib, signal
        from rlbuffers.atomic import AtomicPath
        {textwrap.indent(textwrap.dedent(work), " " * 8).strip()}
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=False)
    assert killed.returncode == -9


@KINDS
def test_what_a_killed_writer_left_is_removed(tmp_path, write):
    killed_while(tmp_path, "AtomicPath(pathlib.Path('x'))")
    write(tmp_path / ".x.partial", "stale")
    assert names(tmp_path) == [".x.lock", ".x.partial"]
    target = AtomicPath(tmp_path / "x")
    assert names(tmp_path) == [".x.lock"]
    write(target.partial, "new")
    target.publish()
    assert text_of(tmp_path / "x") == "new"
    assert names(tmp_path) == ["x"]


def test_a_writer_killed_while_a_directory_makes_way_loses_neither(tmp_path):
    """Between its two renames the old directory has no name; the next writer gives it back."""
    write_tree(tmp_path / "x", "old")
    work = """
        target = AtomicPath(pathlib.Path('x'), overwrite=True)
        target.partial.mkdir()
        target._make_way()
    """
    killed_while(tmp_path, work)
    assert not (tmp_path / "x").exists()
    with pytest.raises(BufferExistsError):
        AtomicPath(tmp_path / "x")
    assert text_of(tmp_path / "x") == "old"
    assert names(tmp_path) == ["x"]


def test_a_directory_that_was_replaced_by_a_killed_writer_is_removed(tmp_path):
    write_tree(tmp_path / "x", "new")
    write_tree(tmp_path / ".x.replaced", "old")
    AtomicPath(tmp_path / "x", overwrite=True).discard()
    assert text_of(tmp_path / "x") == "new"
    assert names(tmp_path) == ["x"]


def test_bytes_are_replaced_at_once(tmp_path):
    write_bytes_atomically(tmp_path / "x", b"old")
    write_bytes_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert names(tmp_path) == ["x"]


def test_a_link_is_replaced_and_what_it_pointed_to_is_kept(tmp_path):
    for kind, write in (("file", write_file), ("tree", write_tree)):
        write(tmp_path / kind, "old")
        (tmp_path / f"link-{kind}").symlink_to(tmp_path / kind)
        target = AtomicPath(tmp_path / f"link-{kind}", overwrite=True)
        write(target.partial, "new")
        target.publish()
        assert text_of(tmp_path / kind) == "old"
        assert text_of(tmp_path / f"link-{kind}") == "new"
    assert names(tmp_path) == ["file", "link-file", "link-tree", "tree"]


def test_leaving_lets_others_write_and_keeps_the_partial_path(tmp_path):
    target = AtomicPath(tmp_path / "x")
    write_file(target.partial, "left")
    assert is_being_written(tmp_path / "x")
    target.leave()
    assert not is_being_written(tmp_path / "x")
    assert names(tmp_path) == [".x.partial"]
    AtomicPath(tmp_path / "x").discard()
    assert names(tmp_path) == []


@pytest.mark.parametrize("published", [True, False])
def test_what_stands_beside_the_partial_path_goes_with_it(tmp_path, published):
    target = AtomicPath(tmp_path / "x")
    write_file(target.partial, "content")
    write_file(tmp_path / ".x.partial.journal", "notes")
    write_file(tmp_path / ".x.partial.tail", "notes")
    (target.publish if published else target.discard)()
    assert names(tmp_path) == (["x"] if published else [])


def test_asking_does_not_take_the_path_from_a_writer(tmp_path):
    """Whoever asks holds the lock for a moment; a writer that comes just then tries again."""
    descriptor = os.open(tmp_path / ".x.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.01, lambda: os.close(descriptor)).start()
    AtomicPath(tmp_path / "x").discard()


def test_where_nothing_can_be_written_the_error_names_the_path():
    with pytest.raises(FileNotFoundError) as caught:
        AtomicPath(pathlib.Path("/proc/x"))
    assert caught.value.filename == "/proc/x"


def interrupted_before(instruction, work):
    """Do `work` with a Ctrl-C before one of its and the module's instructions; return whether it got that far."""
    left = [instruction]

    def trace(frame, event, _):
        if frame.f_code.co_filename not in {__file__, rlbuffers.atomic.__file__, rlbuffers.leftovers.__file__}:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return left[0] <= 0


@KINDS
def test_ctrl_c_at_any_instruction_leaves_nothing_half_written(tmp_path, write):
    def work():
        target = AtomicPath(tmp_path / "x")
        write(target.partial, "content")
        target.publish()

    instruction, seen = 0, set()
    came = True
    while came:
        instruction += 1 if write is write_file else 3
        came = interrupted_before(instruction, work)
        discard_unpublished()
        seen.add(tuple(names(tmp_path)))
        if (tmp_path / "x").exists():
            assert text_of(tmp_path / "x") == "content"
            remove_path(tmp_path / "x")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert seen == {(), ("x",)}
    assert instruction > 100


def test_the_next_run_cleans_what_killed_ones_left_under_other_names(tmp_path, caplog):
    killed_while(tmp_path, "AtomicPath(pathlib.Path('early'))")
    code = """
        target = AtomicPath(pathlib.Path('killed'))
        target.partial.mkdir()
        (target.partial / 'file').write_text('half')
        target.partial.with_name(target.partial.name + '.hdf5').write_text('half')
    """
    killed_while(tmp_path, code)
    living = AtomicPath(tmp_path / "living")
    living.partial.write_text("still going")
    (tmp_path / ".foreign.lock").touch()
    AtomicPath(tmp_path / "x").discard()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".foreign.lock", ".living.lock", ".living.partial"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/killed: what a killed run had begun to write there was removed"
    ]
    living.discard()


def killed_conversion(folder, name="killed.hdf5"):
    """Write some transitions with a checkpoint, in a process that is killed."""
    code = f"""
        import numpy as np, rlbuffers
        from rlbuffers.writing import journal
        journal.INTERVAL_SECONDS = 0.0
        NAMES = ('observations', 'actions', 'next_observations')
        columns = [rlbuffers.ColumnSpec(name, np.float32, (2,)) for name in NAMES]
        columns += [rlbuffers.ColumnSpec('rewards', np.float32), rlbuffers.ColumnSpec('terminals', np.bool_)]
        spec = rlbuffers.BufferSpec('transitions', columns)
        writer = rlbuffers.create({name!r}, spec)
        rows = dict.fromkeys(NAMES, np.ones((7, 2), np.float32))
        writer.append_transitions(rows | dict(rewards=np.ones(7, np.float32), terminals=np.zeros(7, bool)))
    """
    killed_while(folder, code)


def test_what_can_be_salvaged_is_kept(tmp_path, caplog, capfd):
    killed_conversion(tmp_path)
    killed_conversion(tmp_path, "again.zarr")
    told = "killed.hdf5: a killed run left 7 transitions; rlbuffers repair makes a buffer of them"
    assert capfd.readouterr().err.splitlines() == [told]
    (tmp_path / ".again.zarr.partial.tail").unlink()  # as of one that was killed before its first checkpoint
    AtomicPath(tmp_path / "x").discard()
    assert names(tmp_path) == [f".killed.hdf5.partial{suffix}" for suffix in ("", ".journal", ".tail")]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/again.zarr: what a killed run had begun to write there was removed"
    ]
    assert repair(tmp_path / "killed.hdf5", tmp_path / "salvaged.hdf5").num_rows_kept == 7


def test_what_can_be_salvaged_is_kept_by_whoever_writes_another_thing_there(tmp_path):
    killed_conversion(tmp_path)
    write_bytes_atomically(tmp_path / "killed.hdf5", b"not a buffer")
    (tmp_path / "killed.hdf5").rename(tmp_path / "other")
    assert repair(tmp_path / "killed.hdf5", tmp_path / "salvaged.hdf5").num_rows_kept == 7


def test_what_others_lock_is_left_alone(tmp_path):
    for name, content in (("empty", b""), ("foreign", b"12345"), ("longer", b"a lock of rlbuffer")):
        (tmp_path / f".{name}.lock").write_bytes(content)
        (tmp_path / f".{name}.partial").write_text("theirs")
    (tmp_path / "target").write_bytes(LOCK_MARK)
    (tmp_path / ".link.lock").symlink_to(tmp_path / "target")
    (tmp_path / ".link.partial").write_text("theirs")
    os.mkfifo(tmp_path / ".fifo.lock")
    (tmp_path / ".folder.lock").mkdir()
    before = names(tmp_path)
    AtomicPath(tmp_path / "x").discard()
    assert names(tmp_path) == before


def test_cleaning_does_not_race_with_writers(tmp_path):
    """Writers of the same few names, each of which cleans after the others, and some of which are killed."""
    (tmp_path / "shared").mkdir()
    code = """
        import random, sys
        from rlbuffers.errors import BufferBusyError
        rng, kill_at = random.Random(int(sys.argv[1])), int(sys.argv[2])
        for turn in range(150):
            text = f'{sys.argv[1]} {turn} ' * 50
            try:
                target = AtomicPath(pathlib.Path('shared') / rng.choice('abc'), overwrite=True)
            except BufferBusyError:
                continue
            target.partial.mkdir()
            (target.partial / 'file').write_text(text)
            if turn >= kill_at >= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            assert (target.partial / 'file').read_text() == text
            target.publish()
    """
    script = "import os, pathlib, signal\nfrom rlbuffers.atomic import AtomicPath\n" + textwrap.dedent(code)
    kills = [-1, -1, 20, 70]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(seed), str(kill)], cwd=tmp_path)
        for seed, kill in enumerate(kills)
    ]
    assert [process.wait() for process in processes] == [0 if kill < 0 else -9 for kill in kills]
    AtomicPath(tmp_path / "shared" / "x").discard()
    assert set(names(tmp_path / "shared")) <= {"a", "b", "c"}


class Failing:
    """Lets the n-th call of a function of `os` fail."""

    def __init__(self, name, number):
        self._call, self._left = getattr(os, name), number

    def __call__(self, *arguments, **options):
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.EIO, "Input/output error")
        return self._call(*arguments, **options)


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "rename", "unlink", "mkdir"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_call_that_fails_leaves_the_whole_or_nothing(tmp_path, monkeypatch, name, number):
    failure = None
    monkeypatch.setattr(os, name, Failing(name, number))
    try:
        write_bytes_atomically(tmp_path / "x", b"all of it")
    except (OSError, NotDurableError) as error:
        failure = error
    monkeypatch.undo()
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stands = failure is None or isinstance(failure, NotDurableError)
    assert left == ({"x": b"all of it"} if stands else {})
    if failure is not None:
        assert str(tmp_path / "x") in str(failure) or str(tmp_path / ".x.partial") in str(failure)


def test_several_paths_get_their_names_or_none_does(tmp_path, monkeypatch):
    targets = [AtomicPath(tmp_path / name) for name in ("a", "b", "c")]
    for target in targets:
        target.partial.write_text("new")
    monkeypatch.setattr(os, "rename", Failing("rename", 3))
    with pytest.raises(OSError, match="Input/output error") as raised:
        publish_all(targets)
    assert raised.value.filename == str(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
