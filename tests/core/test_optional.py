from __future__ import annotations

import pytest

from rlbuffers.errors import MissingDependencyError
from rlbuffers.optional import require


def test_what_is_installed_is_imported():
    import json.decoder

    assert require("json.decoder", extra=None, purpose="This") is json.decoder


def test_what_is_missing_is_named_with_its_extra():
    with pytest.raises(
        MissingDependencyError, match=r"Music needs no_such\. Install it with: pip install 'rlbuffers\[x\]'"
    ):
        require("no_such.inner", extra="x", purpose="Music")
    with pytest.raises(MissingDependencyError, match=r"pip install no_such$"):
        require("no_such.inner", extra=None, purpose="Music")


def test_what_does_not_fit_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text('raise ImportError("needs another\\nnumpy")')
    monkeypatch.syspath_prepend(tmp_path)
    message = "Music needs broken_package, which is installed and does not work: needs another numpy"
    with pytest.raises(MissingDependencyError, match=message):
        require("broken_package", extra="x", purpose="Music")
