"""A short YAML document, without what lets a few bytes stand for very much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlbuffers.errors import UsageError
from rlbuffers.local_inputs import refuse_special
from rlbuffers.optional import require

__all__ = ["MOST_BYTES", "read_yaml"]

# Those that runs write have some thousand bytes.
MOST_BYTES = 1 << 16
_DEEPEST = 20


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says: numbers, texts, lists and dicts.

    Raises
    ------
    UsageError
        If it is not YAML, longer than `MOST_BYTES`, nested deeper than 20, or has aliases (``*name``), which can
        multiply without end.
    """
    yaml = require("yaml", extra="train", purpose="Reading a configuration")
    size = refuse_special(path).stat().st_size
    if size > MOST_BYTES:
        raise UsageError(f"{path}: expected a configuration of at most {MOST_BYTES:,} bytes, found {size:,} bytes")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise UsageError(
                    f"{path}: expected values, found an alias ({self.peek_event().anchor!r}); write them out"
                )
            self.depth += 1
            if self.depth > _DEEPEST:
                raise UsageError(f"{path}: nested more than {_DEEPEST} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        return yaml.load(path.read_bytes().decode("utf-8"), Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
