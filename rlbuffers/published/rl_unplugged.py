"""Which shards of RL Unplugged a name or a request stands for, where they are, and which source reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlbuffers.errors import UsageError
from rlbuffers.published.downloads import Downloads
from rlbuffers.published.known import KnownDataset

if TYPE_CHECKING:
    from rlbuffers.sources.base import Source
    from rlbuffers.sources.rl_unplugged.tasks import KnownTask, ShardSet

__all__ = ["SUITES", "Request", "Shards", "find_shards", "known", "source"]

Open = Callable[[Path, Mapping[str, Any]], "Source[Any]"]


@dataclass(frozen=True)
class Request:
    """What a shard is named by; None where not every suite has it and it is not given."""

    task: str
    run_id: int | None = None
    limit: int | None = None
    stack: int | None = None
    last_row: str | None = None
    challenge: str | None = None
    difficulty: str | None = None


@dataclass(frozen=True)
class Shards:
    """The shards of one data set.

    Parameters
    ----------
    title : str
        What the progress bar says.
    folder : Path
        Where shards stand below the folder of datasets, and buffers below that of buffers.
    name, url : callable
        Give a shard's file name and address by its number.
    open : callable
        Makes a source of a file and of facts about it.
    facts : mapping
        What is known of all shards.
    stated : mapping
        What is known of a file that the user names: nothing but what the user says.
    """

    title: str
    folder: Path
    name: Callable[[int], str]
    url: Callable[[int], str]
    open: Open
    facts: Mapping[str, Any]
    stated: Mapping[str, Any]

    def published(self, number: int, downloads: Downloads) -> Source[Any]:
        """Return what reads a shard, after downloading it if it is not there.

        Raises
        ------
        UsageError
            If there is no shard of that number.
        DownloadError
            If it cannot be downloaded.
        """
        url = self.url(number)
        path = downloads.file(self.folder / self.name(number), url)
        return self.open(path, {**self.facts, "shard_id": number, "published_at": url})


def find_shards(suite: str, layout: str | None, request: Request) -> Shards:
    """Return the shards that the options name.

    Raises
    ------
    UsageError
        If the suite has no such layout, task or option; says which there are.
    """
    layouts = SUITES[suite]
    chosen = layout or next(iter(layouts))
    if chosen not in layouts:
        raise UsageError(f"--layout {chosen} does not fit --suite {suite}, which has {' and '.join(layouts)} only")
    builder, options = layouts[chosen]
    for name in ("run_id", "limit", "stack", "last_row", "challenge", "difficulty"):
        if getattr(request, name) is not None and name not in options:
            raise UsageError(f"--{name.replace('_', '-')} does not fit --suite {suite} --layout {chosen}; leave it out")
    return builder(request)


def _atari_transitions(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
    from rlbuffers.sources.rl_unplugged.games import check_game, shard_name, shard_url

    game, run = check_game(request.task), _run_id(request)
    return Shards(
        title=game,
        folder=Path(game),
        name=lambda shard: shard_name(run, shard),
        url=lambda shard: shard_url(game, run, shard),
        open=lambda path, facts: RLUAtariSource(path, game, facts=dict(facts), limit=request.limit),
        facts={"dataset": "rl_unplugged/atari", "run_id": run},
        stated=_given(dataset="rl_unplugged/atari", run_id=request.run_id),
    )


def _atari_episodes(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
    from rlbuffers.sources.rl_unplugged.games import check_game, episodes_shard_name, episodes_shard_url

    game, run = check_game(request.task), _run_id(request)
    stack = request.stack or 4
    return Shards(
        title=game,
        folder=Path("atari_episodes_ordered") / game,
        name=lambda shard: episodes_shard_name(game, run, shard),
        url=lambda shard: episodes_shard_url(game, run, shard),
        open=lambda path, facts: RLUAtariEpisodesSource(path, game, stack=stack, facts=dict(facts)),
        facts={"run_id": run},
        stated=_given(run_id=request.run_id),
    )


def _given(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _run_id(request: Request) -> int:
    return 1 if request.run_id is None else request.run_id


def _control_transitions(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
    from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, check_task, control_suite_shards

    task = check_task(request.task, CONTROL_SUITE_TASKS, "control-suite")
    return _published(
        control_suite_shards(task), lambda path, facts: RLUPairsSource(path, task, facts=facts, limit=request.limit)
    )


def _control_episodes(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.control_episodes import RLUControlEpisodesSource
    from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, check_task, control_suite_shards

    task = check_task(request.task, CONTROL_SUITE_TASKS, "control-suite")
    return _published(
        control_suite_shards(task, episodes=True),
        lambda path, facts: RLUControlEpisodesSource(path, task, facts=facts),
    )


def _locomotion_transitions(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
    from rlbuffers.sources.rl_unplugged.tasks import LOCOMOTION_TASKS, check_task, locomotion_shards
    from rlbuffers.sources.rl_unplugged.windows import RLUWindowsSource

    task = check_task(request.task, LOCOMOTION_TASKS, "locomotion")
    if task.sequences == "seq2":
        return _published(
            locomotion_shards(task), lambda path, facts: RLUPairsSource(path, task, facts=facts, limit=request.limit)
        )
    if request.limit is not None:
        raise UsageError(f"--limit counts transitions, and {task.name} is published in windows of 40 steps only")
    return _published(locomotion_shards(task), lambda path, facts: RLUWindowsSource(path, task, facts=facts))


def _locomotion_episodes(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.control_episodes import RLUControlEpisodesSource
    from rlbuffers.sources.rl_unplugged.tasks import LOCOMOTION_TASKS, check_task, locomotion_shards

    task = check_task(request.task, LOCOMOTION_TASKS, "locomotion")
    return _published(
        locomotion_shards(task, episodes=True), lambda path, facts: RLUControlEpisodesSource(path, task, facts=facts)
    )


def _rwrl_episodes(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.rwrl import RLURwrlSource
    from rlbuffers.sources.rl_unplugged.tasks import RWRL_TASKS, check_task, rwrl_shards

    task = check_task(request.task, RWRL_TASKS, "rwrl")
    challenge, percent = request.challenge or "none", int(request.difficulty or 100)
    return _published(
        rwrl_shards(task, challenge, percent),
        lambda path, facts: RLURwrlSource(path, task, facts=facts),
        {"combined_challenge": challenge, "percent": percent},
        _given(
            dataset="rl_unplugged/rwrl",
            combined_challenge=request.challenge,
            percent=int(request.difficulty) if request.difficulty else None,
        ),
    )


def _dmlab_episodes(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.dmlab import LastRow, RLUDmlabSource
    from rlbuffers.sources.rl_unplugged.tasks import DMLAB_TASKS, check_task, dmlab_shards

    task = check_task(request.task, DMLAB_TASKS, "dmlab")
    last_row: LastRow = "transition" if request.last_row == "transition" else "observation"
    return _published(
        dmlab_shards(task), lambda path, facts: RLUDmlabSource(path, task, last_row=last_row, facts=facts)
    )


def _bsuite_transitions(request: Request) -> Shards:
    from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
    from rlbuffers.sources.rl_unplugged.sequences import LastStepEnds
    from rlbuffers.sources.rl_unplugged.tasks import bsuite_shards, check_bsuite_task

    task = check_bsuite_task(request.task)
    return _published(
        bsuite_shards(task),
        lambda path, facts: RLUPairsSource(path, task, LastStepEnds(), facts=facts, limit=request.limit),
    )


def _published(
    shards: ShardSet,
    open_shard: Open,
    more: Mapping[str, Any] | None = None,
    stated: Mapping[str, Any] | None = None,
) -> Shards:
    """Describe shards whose local folders are those of the bucket; a file is one of them unless `stated` says less."""
    folder = Path(shards.folder)
    facts = {"dataset": f"rl_unplugged/{shards.folder}", **(more or {})}
    return Shards(
        title=str(folder),
        folder=folder,
        name=shards.name,
        url=shards.url,
        open=open_shard,
        facts=facts,
        stated=facts if stated is None else stated,
    )


_Builder = Callable[[Request], Shards]
# Suite to its layouts, the default first: what finds the shards, and the options that it understands.
SUITES: Mapping[str, Mapping[str, tuple[_Builder, Sequence[str]]]] = {
    "atari": {
        "transitions": (_atari_transitions, ("run_id", "limit")),
        "episodes": (_atari_episodes, ("run_id", "stack")),
    },
    "control-suite": {"transitions": (_control_transitions, ("limit",)), "episodes": (_control_episodes, ())},
    "locomotion": {"transitions": (_locomotion_transitions, ("limit",)), "episodes": (_locomotion_episodes, ())},
    "rwrl": {"episodes": (_rwrl_episodes, ("challenge", "difficulty"))},
    "dmlab": {"episodes": (_dmlab_episodes, ("last_row",))},
    "bsuite": {"transitions": (_bsuite_transitions, ("limit",))},
}


# What a part of a name says, beside the suite and the task.
_PARTS = re.compile(r"(run|shard|challenge|percent)_(\w+)")
_LAYOUTS = ("transitions", "episodes")


def source(name: str, downloads: Downloads) -> Source[Any]:
    """Return what reads ``[SUITE/]TASK[/LAYOUT][/run_R][/challenge_C][/percent_P][/shard_S]``.

    Suite ``atari``, run 1, shard 0 and the suite's first layout unless said.
    """
    parts = name.split("/")
    suite = parts.pop(0) if parts[0] in SUITES else "atari"
    layout, task, stated = None, [], dict[str, str]()
    for part in parts:
        found = _PARTS.fullmatch(part)
        if part in _LAYOUTS:
            layout = part
        elif found:
            stated[found[1]] = found[2]
        else:
            task.append(part)
    run, shard, percent = (_number(stated.get(key), name) for key in ("run", "shard", "percent"))
    difficulty = None if percent is None else str(percent)
    request = Request("/".join(task), run, challenge=stated.get("challenge"), difficulty=difficulty)
    return find_shards(suite, layout, request).published(shard or 0, downloads)


def _number(text: str | None, name: str) -> int | None:
    if text is not None and not text.isdecimal():
        raise UsageError(
            f"rl-unplugged:{name}: expected a number, found {text!r}; names look like Breakout/run_1/shard_1"
        )
    return None if text is None else int(text)


def known() -> Iterator[KnownDataset]:
    """Yield every task, with every run or challenge where there are several."""
    from rlbuffers.sources.rl_unplugged import games, tasks

    for game in games.ATARI_GAMES:
        for run in range(1, games.NUM_RUNS + 1):
            yield KnownDataset(f"{game}/run_{run}", games.NUM_SHARDS, None, "atari, DQN, transitions")
            shards = games.num_episode_shards(game)
            yield KnownDataset(f"{game}/episodes/run_{run}", shards, None, "atari, DQN, episodes")
    yield from _of_suite("control-suite", tasks.CONTROL_SUITE_TASKS, tasks.control_suite_shards)
    yield from _of_suite("locomotion", tasks.LOCOMOTION_TASKS, tasks.locomotion_shards)
    for name, task in tasks.RWRL_TASKS.items():
        for challenge in tasks.RWRL_CHALLENGES:
            for percent in tasks.RWRL_PERCENTAGES:
                shards = tasks.rwrl_shards(task, challenge, percent).count
                full = f"rwrl/{name}/challenge_{challenge}/percent_{percent}"
                yield KnownDataset(full, shards, None, f"rwrl, {task.behavior}")
    yield from _of_suite("dmlab", tasks.DMLAB_TASKS, tasks.dmlab_shards)
    yield from _of_suite("bsuite", tasks.BSUITE_TASKS, tasks.bsuite_shards)


def _of_suite(
    suite: str, tasks: Mapping[str, KnownTask], shards_of: Callable[[KnownTask], ShardSet]
) -> Iterator[KnownDataset]:
    for name, task in tasks.items():
        yield KnownDataset(f"{suite}/{name}", shards_of(task).count, None, f"{suite}, {task.behavior}")
