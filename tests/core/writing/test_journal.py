from __future__ import annotations

import numpy as np
import pytest

from rlbuffers.errors import CorruptDataError
from rlbuffers.writing import journal
from rlbuffers.writing.journal import (
    JournalWriter,
    Record,
    keep_interrupted,
    num_journaled,
    read_records,
    remove_interrupted,
)


def test_records_end_where_one_is_damaged(tmp_path):
    path = tmp_path / "journal"
    records = [
        Record({"number": number}, {"rows": np.arange(number, dtype=np.int16).reshape(-1, 1)}) for number in range(5)
    ]
    whole = [record.encoded() for record in records]
    path.write_bytes(b"".join(whole))
    assert [record.facts["number"] for record in read_records(path)] == list(range(5))
    for record, read in zip(records, read_records(path), strict=True):
        np.testing.assert_array_equal(record.arrays["rows"], read.arrays["rows"])
    content = bytearray(b"".join(whole))
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        complete = np.searchsorted(np.cumsum([len(part) for part in whole]), place, side="right")
        assert [record.facts["number"] for record in read_records(path)] == list(range(complete))
        path.write_bytes(content[:place])
        assert len(list(read_records(path))) == complete


def test_a_record_of_another_kind_is_said(tmp_path):
    import xxhash

    content = b"no record at all"
    path = tmp_path / "journal"
    path.write_bytes(len(content).to_bytes(8, "little") + xxhash.xxh3_128_digest(content) + content)
    with pytest.raises(CorruptDataError, match="a record at 0 is of another version"):
        list(read_records(path))


def test_an_array_larger_than_its_record_is_no_record(tmp_path):
    record = Record({}, {"rows": np.zeros(3, np.int8)}).encoded()
    forged = record[24:].replace(b"[3]", b"[9]")
    import xxhash

    path = tmp_path / "journal"
    path.write_bytes(len(forged).to_bytes(8, "little") + xxhash.xxh3_128_digest(forged) + forged)
    with pytest.raises(CorruptDataError):
        list(read_records(path))


def test_a_checkpoint_is_due_after_the_interval(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    writer = JournalWriter(tmp_path / ".x.hdf5.partial")
    assert not writer.is_due
    now[0] += journal.INTERVAL_SECONDS
    assert writer.is_due
    writer.begin(Record({}, {}))
    writer.checkpoint(Record({}, {}), Record({"transitions": 3}, {}))
    assert not writer.is_due
    assert num_journaled(tmp_path / ".x.hdf5.partial") == 3
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".x.hdf5.partial.journal", ".x.hdf5.partial.tail"]


def leave(folder, transitions, command):
    partial = folder / ".x.hdf5.partial"
    partial.write_text(command)
    writer = JournalWriter(partial)
    writer.begin(Record({"written_by": {"command": command}}, {}))
    writer.checkpoint(Record({}, {}), Record({"transitions": transitions}, {}))


def test_what_holds_more_is_kept(tmp_path):
    final = tmp_path / "x.hdf5"
    for transitions, kept in ((5, 5), (3, 5), (8, 8)):
        leave(tmp_path, transitions, "a")
        keep_interrupted(final)
        assert num_journaled(journal.interrupted_of(final)) == kept
        assert not any(".partial" in entry.name for entry in tmp_path.iterdir() if entry.suffix == ".journal")
        (tmp_path / ".x.hdf5.partial").unlink(missing_ok=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_only_the_same_command_removes_it(tmp_path):
    final = tmp_path / "x.hdf5"
    assert not remove_interrupted(final)
    leave(tmp_path, 5, "a")
    keep_interrupted(final)
    assert remove_interrupted(final, "b")
    assert len(list(tmp_path.iterdir())) == 3
    assert not remove_interrupted(final, "a")
    assert list(tmp_path.iterdir()) == []


def test_a_journal_without_its_buffer_is_removed(tmp_path):
    leave(tmp_path, 5, "a")
    (tmp_path / ".x.hdf5.partial").unlink()
    keep_interrupted(tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []
