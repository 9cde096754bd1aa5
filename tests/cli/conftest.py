"""Fixtures shared by the tests of the commands."""

from __future__ import annotations

import shutil
import socket

import pytest
from click.testing import CliRunner

from rlbuffers_cli import console as console_module
from rlbuffers_cli.main import cli


@pytest.fixture
def run(monkeypatch):
    """A function that runs a command line in this process, 100 columns wide; unexpected exceptions come through."""
    monkeypatch.setattr(console_module.console, "width", 100)

    def run_words(*words):
        return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)

    return run_words


@pytest.fixture(scope="session")
def pong_buffer(tmp_path_factory, dataset_dir):
    """A finished buffer, not to be changed."""
    buffers = tmp_path_factory.mktemp("buffers")
    words = ["convert", "rl-unplugged", "--task", "Pong", "--shard-id", "1", "--workers", "0"]
    result = CliRunner().invoke(cli, [*words, "--dataset-dir", str(dataset_dir), "--buffer-dir", str(buffers)])
    assert result.exit_code == 0, result.output
    return buffers / "Pong" / "run_1-00001-of-00100.hdf5"


@pytest.fixture
def pong_copy(pong_buffer, tmp_path):
    return shutil.copy(pong_buffer, tmp_path / "copy.hdf5")


@pytest.fixture
def closed_port():
    """A port of this machine where nobody answers."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
