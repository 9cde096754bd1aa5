"""The commit of the working directory in a run's files, against what git itself says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from small_runs import small_request

from rlbuffers_train import TrainingRequest, train_offline
from rlbuffers_train.running import code_version
from rlbuffers_train.running.code_version import commit_of_working_directory
from rlbuffers_train.running.run_config import read_config

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
SMALL = {"epoch": 1, "update_per_epoch": 2, "eval_episodes": 0}


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, in whose subfolder the process works."""
    folder = tmp_path / "code"
    (folder / "experiments").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "model.py").write_text("width = 1\n")
    git(folder, "add", "model.py")
    git(folder, "commit", "--quiet", "-m", "first")
    monkeypatch.chdir(folder / "experiments")
    return folder


@needs_git
def test_commit_and_changes_are_git_s(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert commit_of_working_directory() == {"commit": head, "changed": False}
    (repository / "notes.txt").write_text("untracked")
    assert commit_of_working_directory() == {"commit": head, "changed": False}
    (repository / "model.py").write_text("width = 2\n")
    assert commit_of_working_directory() == {"commit": head, "changed": True}


@needs_git
def test_there_is_none_without_repository_commit_or_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert commit_of_working_directory() is None
    git(tmp_path, "init", "--quiet")
    assert commit_of_working_directory() is None
    (tmp_path / "model.py").write_text("")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    assert commit_of_working_directory() is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of_working_directory() is None


@needs_git
def test_nobody_waits_for_a_slow_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(repository, "rev-parse", "HEAD")
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nif [ "$1" = status ]; then exec sleep 60; fi\necho {head}\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr(code_version, "_MOST_SECONDS", 0.5)
    assert commit_of_working_directory() == {"commit": head, "changed": None}


@needs_git
def test_a_run_tells_who_began_it_and_who_went_on(
    repository: Path, make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    run = tmp_path / "run"
    train_offline(small_request("bcq", make_signal_buffer(), run, SMALL))
    begun = json.loads((run / "config.json").read_text())
    assert begun["written_by"]["git"] == {"commit": first, "changed": False}
    assert "resumed_by" not in begun
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "second")
    second = git(repository, "rev-parse", "HEAD")
    resumed = TrainingRequest("bcq", resume_path=run, device="cpu", settings={"epoch": 2})
    train_offline(resumed)
    train_offline(replace(resumed, settings={"epoch": 3}, logdir=tmp_path / "elsewhere"))
    for folder, times in ((run, 1), (tmp_path / "elsewhere", 2)):
        document = yaml.safe_load((folder / "config.yaml").read_text())
        assert document["written_by"] == begun["written_by"]
        assert [one["git"]["commit"] for one in document["resumed_by"]] == [second] * times
        assert read_config(folder).algorithm == "bcq"


@pytest.mark.parametrize("content", [None, "no JSON", "[]"])
def test_runs_without_these_files_go_on(
    content: str | None, make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_offline(small_request("bcq", make_signal_buffer(), run, SMALL))
    (run / "config.yaml").unlink()
    (run / "config.json").unlink() if content is None else (run / "config.json").write_text(content)
    train_offline(TrainingRequest("bcq", resume_path=run, device="cpu", settings={"epoch": 2}))
    document = json.loads((run / "config.json").read_text())
    assert document["written_by"]["versions"]["torch"]
    assert "resumed_by" not in document


def test_a_configuration_of_before_is_trained_again(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    train_offline(small_request("bcq", make_signal_buffer(), tmp_path / "run", SMALL))
    path = tmp_path / "run" / "config.yaml"
    document = yaml.safe_load(path.read_text())
    del document["written_by"]["git"]
    path.write_text(yaml.safe_dump(document))
    config = read_config(path)
    train_offline(config.under(TrainingRequest("bcq", logdir=tmp_path / "again", device="cpu")))
    assert json.loads((tmp_path / "again" / "config.json").read_text())["buffer_fingerprint"]
