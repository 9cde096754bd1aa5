"""What is said about a table that was read: sentences for the metadata, by what was counted."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rlbuffers.schema import TERMINALS, TIMEOUTS
from rlbuffers.sources.flat_ends import reset_warnings
from rlbuffers.sources.reverb.shapes import ItemShape
from rlbuffers.sources.reverb.windows import DOUBTFUL, RESETS, VOID

__all__ = ["ACROSS", "BEYOND", "ITEMS", "NO_PAIR", "left_out_of", "notes_of", "warnings_of"]

ITEMS, ACROSS, NO_PAIR = "items", "items_across_episodes", "terminal_steps_without_a_pair"
BEYOND = "rows_beyond_the_last_reward"


def warnings_of(counters: Mapping[str, int]) -> list[str]:
    """Return what a user must know."""
    found = reset_warnings(counters.get(RESETS, 0))
    if counters.get(DOUBTFUL):
        found.append(
            f"{counters[DOUBTFUL]:,} steps have action 0, reward 0 and discount 0: they are taken as terminal steps. "
            "If the writer appended them to hold a last observation, they are none."
        )
    if counters.get(NO_PAIR):
        found.append(
            f"At least {counters[NO_PAIR]:,} terminal steps are the second of a pair and never the first, as their "
            "writer did not append the observation after them: these transitions are not in the buffer."
        )
    return found


def left_out_of(counters: Mapping[str, int], shape: ItemShape) -> list[str]:
    """Return what of the items is not in the buffer."""
    found = []
    if counters.get(ACROSS):
        found.append(
            f"{counters[ACROSS]:,} items whose two observations are of different episodes: they are no transitions"
        )
    if shape.kind == "pair":
        found.append("everything but the observation of each item's second step, which belongs to another item")
    if counters.get(BEYOND):
        found.append("rows of other columns than observations that stand beyond an item's last reward")
    if counters.get(VOID):
        found.append(
            f"{counters[VOID]:,} steps after an episode's end whose action, reward and discount are zero; the first "
            "of each run gave the last observation"
        )
    return found


def notes_of(shape: ItemShape, columns: Collection[str]) -> list[str]:
    """Return how the rows were made."""
    found = ["Nothing was shifted: reward and discount of a step follow its action."]
    if TERMINALS not in columns:
        found.append("terminals: discount 0.")
    if TIMEOUTS not in columns:
        found.append("The table does not say where a time limit ended an episode: there are no timeouts here.")
    if shape.kind == "window":
        found.append(
            "Each item is an episode here (several where it holds ends). Items that are windows of a longer episode "
            "may overlap, and the sum of their rewards is no return; episodes/whole is True only for one that begins "
            "with its episode and reaches a terminal or timeout."
        )
    return found
