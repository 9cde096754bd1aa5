"""What stands beside a path while it is written."""

from __future__ import annotations

import errno
import shutil

from rlbuffers.hidden_paths import final_of, partial_of, remove_path


def test_the_names_lead_back(tmp_path):
    assert final_of(partial_of(tmp_path / "x.zarr")) == tmp_path / "x.zarr"


def test_a_folder_is_removed_where_too_many_files_are_open(tmp_path, monkeypatch):
    folder, outside = tmp_path / "x.zarr", tmp_path / "outside"
    (folder / "a" / "c" / "0").mkdir(parents=True)
    (folder / "a" / "c" / "0" / "0").write_text("1")
    outside.mkdir()
    (outside / "kept").write_text("2")
    (folder / "link").symlink_to(outside)

    def too_many(path):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(shutil, "rmtree", too_many)
    remove_path(folder)
    assert not folder.exists()
    assert (outside / "kept").read_text() == "2"
