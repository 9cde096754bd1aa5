"""`rlbuffers train`: the algorithms on buffers, and the experts that make data."""

from rlbuffers_cli.commands.train.group import train

__all__ = ["train"]
