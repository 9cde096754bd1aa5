"""How long a test waits for another process before it gives up; nothing is ever measured by it."""

from __future__ import annotations

__all__ = ["PATIENCE_SECONDS"]

PATIENCE_SECONDS = 300
