"""Every item equally likely, with replacement."""

from __future__ import annotations

from rlbuffers.samplers.draws import Drawn, Draws

__all__ = ["UniformDraws"]


class UniformDraws(Draws):
    """Draws independently of what was drawn before."""

    kind = "uniform"

    def draw(self, count: int) -> Drawn:
        """Choose the items of the next batch."""
        first, last = self.bounds()
        return Drawn(self.items.at(self.generator.integers(first, last, size=count)))
