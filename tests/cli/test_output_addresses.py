"""Nothing is written to an address, by no command: it would be a local folder called ``s3:``."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from reference import Recipe, make, write
from round_trips import invoke

import rlbuffers
from rlbuffers.errors import UsageError
from rlbuffers.exports import EXPORTS
from rlbuffers.exports.export import export
from rlbuffers_cli.main import cli

ADDRESSES = ["s3://bucket/x.zarr", "https://server/x.hdf5", "hf://a/x.zarr", "gs://b/x.npz", "memory://b/x.zarr"]
WRITTEN = {"output", "outputs", "output_dir", "buffer_dir", "logdir", "video"}


def outputs(command, words=()):
    """Yield (words of a command, option that says where it writes) for all commands below one."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and (parameter.name in WRITTEN or "--output" in parameter.opts):
            yield words, parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from outputs(found, (*words, name))


OUTPUTS = list(outputs(cli))


def test_all_commands_are_found():
    assert {words[0] for words, _ in OUTPUTS} >= {"convert", "export", "generate", "merge", "repair", "split", "train"}


@pytest.mark.parametrize(
    ("words", "option"), OUTPUTS, ids=lambda value: " ".join(value) if type(value) is tuple else ""
)
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_output_option_refuses_addresses(words, option, address):
    context = click.Context(click.Command(words[-1]))
    with pytest.raises(click.UsageError, match="is an address") as error:
        option.process_value(context, [address] if option.multiple else address)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_command_line_makes_no_folder(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (5,))))
    for words in (["repack", "x.hdf5", "-o", address], ["export", "x.hdf5", "--to", "npz", "-o", address]):
        refused = invoke(*words)
        assert refused.exit_code == 2
        assert "is an address, and output is written to files" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5"]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("address", ADDRESSES[:4])
def test_python_makes_no_folder(tmp_path, monkeypatch, kind, address):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (5,))))
    with rlbuffers.open("x.hdf5") as buffer:
        for name in set(EXPORTS) - {"minari"}:
            with pytest.raises(UsageError, match="is an address"):
                export(buffer, kind(address), name)
    with pytest.raises(UsageError, match="is an address"):
        write(kind(address), make(Recipe("episodes", (5,))))
    assert [path.name for path in tmp_path.iterdir()] == ["x.hdf5"]


def test_buffers_in_memory_keep_their_names():
    write("memory:x", make(Recipe("episodes", (5,))))
    with rlbuffers.open("memory:x") as buffer:
        assert len(buffer) == 5
