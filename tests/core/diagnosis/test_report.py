"""The diagnosis, with packages that do not work: each is tried in a real process."""

from __future__ import annotations

import pytest

from rlbuffers.diagnosis import report
from rlbuffers.diagnosis.machine import available_cores, memory_bytes
from rlbuffers.diagnosis.probe import import_modules, run_python
from rlbuffers.diagnosis.requirements import CORE, Need

NUMPY = Need("numpy", ">=1.26", "1.26.4")
FAKES = {
    "crashing": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "raising": "raise ImportError('libGL.so.1: cannot open shared object file')",
    "leaving": "import os; os._exit(3)",
    "first": "",
    "second": "import sys\nif 'first' in sys.modules: raise RuntimeError('two versions of one library')",
    "fine": "",
}


@pytest.fixture
def diagnosed(tmp_path, monkeypatch):
    """A function from groups of needs to the diagnosis; packages of FAKES can be imported."""
    for name, code in FAKES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def diagnose(**groups):
        monkeypatch.setattr(report, "needs", lambda: {CORE: [NUMPY], **groups})
        return report.diagnose()

    return diagnose


def test_each_way_of_being_broken_is_one_line_with_a_remedy(diagnosed):
    found = diagnosed(
        crash=[Need("crashing", ">=1", "1.5"), Need("fine", "", "1")],
        import_error=[Need("raising", "<5", "4")],
        exit=[Need("leaving", "", "2")],
        clash=[Need("first", "", "1"), Need("second", "", "2")],
        version=[Need("fine", ">=9", "1.0")],
        incomplete=[Need("fine", "", "1"), Need("absent", "", None)],
        missing=[Need("absent", "", None)],
        works=[Need("fine", "", "1")],
    )
    states = {group.name: group.state for group in found.groups}
    assert states.pop(CORE) == "works"
    assert states == {
        "crash": "broken",
        "import_error": "broken",
        "exit": "broken",
        "clash": "broken",
        "version": "broken",
        "incomplete": "incomplete",
        "missing": "missing",
        "works": "works",
    }
    assert found.problems == [
        "crashing 1.5 cannot be imported: crashes (SIGSEGV). Install it anew: "
        "pip install --force-reinstall 'crashing>=1'",
        "raising 4 cannot be imported: ImportError: libGL.so.1: cannot open shared object file. Install it anew: "
        "pip install --force-reinstall 'raising<5'",
        "leaving 2 cannot be imported: ends with exit code 3. Install it anew: pip install --force-reinstall 'leaving'",
        "first 1, second 2 work apart but not together: RuntimeError: two versions of one library. Let pip choose "
        "versions that fit: pip install --upgrade 'rlbuffers[clash]'",
        "fine 1.0 is installed, >=9 is needed: pip install 'fine>=9'",
    ]
    assert not found.ok


def test_a_core_that_cannot_write_is_broken(diagnosed, tmp_path):
    (tmp_path / "h5py.py").write_text("raise ImportError('HDF5 1.2 is too old')")
    found = diagnosed()
    assert found.problems == ["the core does not work: ImportError: HDF5 1.2 is too old"]
    assert found.groups[0].state == "broken"


def test_a_core_package_that_is_absent_is_broken(diagnosed):
    found = diagnosed(core=[NUMPY, Need("absent", ">=3", None)])
    assert found.problems == ["absent is not installed: pip install 'absent>=3'"]


def test_this_installation_works():
    found = report.diagnose()
    assert found.ok, found.problems
    enables = {group.name: group.enables for group in found.groups}
    assert "convert minari (Arrow files and JPEG images)" in enables["minari"]
    assert found.torch.startswith("torch ")
    assert set(found.decoders) == {"zlib", "zstd"}
    assert found.to_json()["ok"] is True


def test_what_takes_too_long_is_said(monkeypatch):
    monkeypatch.setattr("rlbuffers.diagnosis.probe._TIMEOUT_SECONDS", 0.2)
    assert run_python(["-c", "import time; time.sleep(60)"]).problem == "did not end within 0.2 s"


def test_output_and_success():
    assert run_python(["-c", "print(7)"]).output == "7\n"
    assert import_modules(["json", "zlib"]).problem == ""


def test_the_machine():
    total, available = memory_bytes()
    assert total >= available > 0
    assert available_cores() > 0
