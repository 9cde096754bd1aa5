"""The same play in every source's own format, with observations that tell where they stand.

Step t of episode e shows the number 1 + 10 e + t in every element, so the next observation of a row shows its own
number plus one, unless it is another episode's. `WRITERS` has a function for each source, from episodes to sources
that read files of them; an episode is its length and how it ends.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
from diffusion_policy_files import write_demonstrations
from dopamine_log import SIZE, write_checkpoint
from endings import ENDS
from lerobot_files import frames, write_v21, write_v30
from minari_files import episode as minari_episode
from minari_files import write_arrow, write_hdf5
from npz_files import write_exorl, write_imitation, write_ogbench, write_stable_baselines
from PIL import Image
from reverb_checkpoint import write_steps
from rlds import plain_episode, write_dataset
from rllib_files import batch, steps, write_lines, write_parquet
from rlu_records import FIRST, LAST, MID, control_rows, encoded
from robomimic_files import demo, write_demos
from tianshou_files import Step, save
from wire import png, tfrecord, transition, write_shard

import rlbuffers
from rlbuffers.sources.base import Source
from rlbuffers.sources.buffer_selection import BufferSelection
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.d3rlpy.mdp_dataset import MDPDatasetSource
from rlbuffers.sources.d3rlpy.replay_buffer import D3rlpySource
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
from rlbuffers.sources.diffusion_policy import DiffusionPolicySource
from rlbuffers.sources.dopamine.logs import DopamineSource
from rlbuffers.sources.exorl import ExORLSource
from rlbuffers.sources.imitation import ImitationSource
from rlbuffers.sources.lerobot.dataset import LeRobotSource
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.npz import NpzSource
from rlbuffers.sources.ogbench import OGBenchSource
from rlbuffers.sources.policy_rollout import PolicyRolloutSource
from rlbuffers.sources.reverb.checkpoint import ReverbSource
from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers.sources.rl_unplugged.control_episodes import RLUControlEpisodesSource
from rlbuffers.sources.rl_unplugged.dmlab import RLUDmlabSource
from rlbuffers.sources.rl_unplugged.pairs import RLUPairsSource
from rlbuffers.sources.rl_unplugged.rwrl import RLURwrlSource
from rlbuffers.sources.rl_unplugged.tasks import CONTROL_SUITE_TASKS, DMLAB_TASKS, RWRL_TASKS
from rlbuffers.sources.rl_unplugged.windows import RLUWindowsSource
from rlbuffers.sources.rllib.dataset import RLlibSource
from rlbuffers.sources.robomimic.dataset import RobomimicSource
from rlbuffers.sources.stable_baselines import StableBaselinesSource
from rlbuffers.sources.tfds.rlds import RLDSSource
from rlbuffers.sources.tianshou.hdf5 import TianshouSource

Array = np.ndarray[Any, Any]
Episodes = Sequence[tuple[int, str]]
Writer = Callable[[Path, Episodes], Iterator[Source[Any]]]
LONGEST = 6
EPISODE_ENDS = ENDS
STACK = 2


def numbers(episode: int, length: int) -> Array:
    """Return the number of each of the T + 1 observations of an episode."""
    return 1 + 10 * episode + np.arange(length + 1)


def each(episodes: Episodes) -> Iterator[tuple[Array, bool, bool]]:
    """Yield numbers, whether there is a terminal, whether there is a timeout."""
    for number, (length, end) in enumerate(episodes):
        yield numbers(number, length), end in ("terminal", "both"), end in ("timeout", "both")


def flagged(episodes: Episodes) -> Episodes:
    """Give every episode but the last a flag, for formats that have nothing else to tell where one ends."""
    return [*((length, "timeout" if end == "neither" else end) for length, end in episodes[:-1]), episodes[-1]]


def single_ends(episodes: Episodes) -> Episodes:
    """Leave terminals and timeouts only, for formats that know no other end."""
    return [(length, "terminal" if end in ("terminal", "both") else "timeout") for length, end in episodes]


def flat(episodes: Episodes, following: str) -> dict[str, Array]:
    """Return arrays with the D4RL names; `following` says how next observations were made: none, true or shifted."""
    episodes = episodes if following == "true" else flagged(episodes)
    shown = [seen[:-1] for seen, _, _ in each(episodes)]
    count = sum(map(len, shown))
    lasts = np.cumsum([len(part) for part in shown]) - 1
    flags = {name: np.zeros(count, bool) for name in ("terminals", "timeouts")}
    for last, (_, terminal, timeout) in zip(lasts, each(episodes), strict=True):
        flags["terminals"][last], flags["timeouts"][last] = terminal, timeout
    observations = vectors(np.concatenate(shown))
    columns = {"observations": observations, "actions": np.zeros((count, 1), np.float32), "rewards": np.ones(count)}
    if following == "true":
        columns["next_observations"] = observations + 1
    if following == "shifted":
        columns["next_observations"] = np.roll(observations, -1, axis=0)
    return {**columns, **flags}


def vectors(shown: Array) -> Array:
    return np.repeat(shown[:, None], 2, axis=1).astype(np.float32)


def write_arrays(path: Path, arrays: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, rows in arrays.items():
            file[name] = rows
    return path


def d4rl(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    for following in ("none", "true", "shifted"):
        yield D4RLSource(write_arrays(folder / f"{following}.hdf5", flat(episodes, following)))


def qlearning(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    some_rows = [(3, "timeout"), *episodes]
    yield D4RLQLearningSource(write_arrays(folder / "x.hdf5", flat(some_rows, "none")))


def npz(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    for following in ("none", "true", "shifted"):
        np.savez(folder / f"{following}.npz", **flat(episodes, following))
        yield NpzSource(folder / f"{following}.npz")


def ogbench(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """As published, and what OGBench's loader makes of it: with next observations, and compact."""
    seen = [vectors(numbers) for numbers, _, _ in each(episodes)]
    path = write_ogbench(folder / "raw.npz", seen, seen)
    yield OGBenchSource(path)
    steps = [vectors(numbers)[:-1] for numbers, _, _ in each(episodes)]
    arrays = {"observations": np.concatenate(steps), "actions": np.concatenate(steps)}
    lasts = np.cumsum([len(part) for part in steps]) - 1
    terminals = np.isin(np.arange(len(arrays["actions"])), lasts).astype(np.float32)
    np.savez(folder / "regular.npz", **arrays, terminals=terminals, next_observations=arrays["observations"] + 1)
    yield OGBenchSource(folder / "regular.npz")
    with np.load(path) as archive:
        valids = 1.0 - archive["terminals"]
        both = np.minimum(archive["terminals"] + np.append(archive["terminals"][1:], 1.0), 1.0)
        compact = {"observations": archive["observations"], "actions": archive["actions"]}
        np.savez(folder / "compact.npz", **compact, terminals=both, valids=valids)
    yield OGBenchSource(folder / "compact.npz")


def imitation(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    seen = [vectors(numbers) for numbers, _, _ in each(episodes)]
    ends = [terminal for _, terminal, _ in each(episodes)]
    path = folder / "x.npz"
    yield ImitationSource(write_imitation(path, seen, [part[:-1] for part in seen], ends, None))


def exorl(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    paths = [
        write_exorl(
            folder / f"{number}.npz", seen := vectors(numbers), seen[1:], np.ones(len(seen) - 1), terminal=terminal
        )
        for number, (numbers, terminal, _) in enumerate(each(episodes))
    ]
    yield ExORLSource(paths)


def stable_baselines(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    seen = [vectors(numbers)[:-1] for numbers, _, _ in each(episodes)]
    path = folder / "x.npz"
    yield StableBaselinesSource(write_stable_baselines(path, seen, seen, [np.ones(len(part)) for part in seen]))


def concatenated(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """Also where a part ends in the middle of an episode, and the next one begins."""
    parts = [*npz(folder, episodes)]
    yield ConcatenatedSource(parts)


def buffer_selection(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """All of a buffer, every other episode, and the beginnings of episodes."""
    for number, source in enumerate([*npz(folder, episodes), *atari_episodes(folder, episodes)]):
        path = folder / f"chosen{number}.hdf5"
        rlbuffers.convert(source, path)
        buffer = rlbuffers.open(path)
        some = np.arange(0, buffer.num_episodes, 2)
        lengths = buffer.arrays["episodes/lengths"].all()
        yield BufferSelection(buffer)
        yield BufferSelection(buffer, some)
        yield BufferSelection(buffer, some, lengths=(lengths[some] + 1) // 2)


def d3rlpy(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    arrays: dict[str, Any] = {"num_episodes": len(episodes), "version": "2.1"}
    for number, (seen, terminal, _) in enumerate(each(episodes)):
        length = len(seen) - 1
        arrays[f"observations_{number}"] = vectors(seen[:-1])
        arrays[f"actions_{number}"] = np.zeros((length, 1), np.float32)
        arrays[f"rewards_{number}"] = np.ones((length, 1), np.float32)
        arrays[f"terminated_{number}"] = terminal
    yield D3rlpySource(write_arrays(folder / "x.h5", arrays))


def mdp_dataset(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    columns = flat(single_ends(episodes), "none")
    arrays = {name: columns[name] for name in ("observations", "actions", "rewards")}
    terminals = columns["terminals"].astype(np.float32)
    ends = (columns["terminals"] | columns["timeouts"]).astype(np.float32)
    arrays |= {"terminals": terminals, "episode_terminals": ends, "discrete_action": False}
    yield MDPDatasetSource(write_arrays(folder / "v1.h5", {**arrays, "version": "1.0"}))
    # In version 0 an episode has a row more than it has transitions, so one of one row has none.
    longer = flat(single_ends([(3, "timeout"), *episodes]), "none")
    arrays = {name: longer[name] for name in ("observations", "actions", "rewards")}
    ends = (longer["terminals"] | longer["timeouts"]).astype(np.float32)
    arrays |= {"terminals": longer["terminals"].astype(np.float32), "episode_terminals": ends}
    more = {"discrete_action": False, "create_mask": False, "mask_size": 1}
    yield MDPDatasetSource(write_arrays(folder / "v0.h5", {**arrays, **more}))


def tianshou(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    for saves_next in (True, False):
        steps = []
        for seen, terminal, timeout in each(episodes if saves_next else flagged(episodes)):
            for t, number in enumerate(seen[:-1]):
                ends = t == len(seen) - 2
                rows = {
                    "obs": np.full(2, number, np.float32),
                    "act": np.int64(0),
                    "rew": 1.0,
                    "terminated": ends and terminal,
                    "truncated": ends and timeout,
                    **({"obs_next": np.full(2, number + 1, np.float32)} if saves_next else {}),
                }
                steps.append(Step({**rows, "done": rows["terminated"] or rows["truncated"]}))
        for capacity in (len(steps), max(len(steps) - 2, 1)):
            yield TianshouSource(save(folder / f"{saves_next}{capacity}.hdf5", [steps], capacity))
            yield TianshouSource(save(folder / f"v{saves_next}{capacity}.hdf5", [steps, steps], capacity, vector=True))


def minari(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    made = [
        minari_episode(length, number, end, observations=vectors(numbers(number, length)))
        for number, (length, end) in enumerate(episodes)
    ]
    yield MinariSource(write_hdf5(folder / "hdf5", made) / "data")
    yield MinariSource(write_arrow(folder / "arrow", made) / "data")


def dopamine(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """Only terminals, and the end of the log, end an episode in such logs; three black frames begin one."""
    shown: list[int] = []
    terminals: list[bool] = []
    for number, (length, _) in enumerate(episodes):
        shown += [0, 0, 0, *numbers(number, length)[:-1].tolist()]
        terminals += [False] * (length + 2) + [number < len(episodes) - 1]
    count = len(shown)
    arrays = {
        "observation": np.stack([np.full(SIZE, number, np.uint8) for number in shown]),
        "action": np.array(shown, np.int32),
        "reward": np.zeros(count, np.float32),
        "terminal": np.array(terminals, np.uint8),
        "add_count": np.array(count),
    }
    write_checkpoint(folder / "replay_logs", 0, arrays)
    yield DopamineSource(folder / "replay_logs", stack=STACK)


def reverb(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """Items that carry their next observation, items of two rows, and items of a whole episode."""
    seen = [numbers for numbers, _, _ in each(episodes)]
    ends = [terminal for _, terminal, _ in each(episodes)]
    shown = np.concatenate([part[:-1] for part in seen])
    lasts = np.cumsum([len(part) - 1 for part in seen]) - 1
    discounts = np.ones(len(shown), np.float32)
    discounts[lasts] = ~np.array(ends)
    columns = {"action": np.ones((len(shown), 1), np.float32), "reward": np.ones(len(shown)), "discount": discounts}
    single = {**columns, "observation": vectors(shown), "next_observation": vectors(shown + 1)}
    yield ReverbSource(write_steps(folder / "single", single, [(row, row + 1) for row in range(len(shown))]))
    # Now with a row for each last observation.
    all_shown = np.concatenate(seen)
    void = np.concatenate([np.arange(len(part)) == len(part) - 1 for part in seen])
    longer = {name: np.zeros((len(all_shown), *rows.shape[1:]), rows.dtype) for name, rows in columns.items()}
    for name, rows in columns.items():
        longer[name][~void] = rows
    longer["observation"] = vectors(all_shown)
    episode_of = np.repeat(np.arange(len(seen)), [len(part) for part in seen]).tolist()
    begins = np.concatenate([[0], np.flatnonzero(void) + 1])
    pairs = [(row, row + 2) for row in np.flatnonzero(~void).tolist()]
    yield ReverbSource(write_steps(folder / "pairs", longer, pairs, episodes=episode_of))
    whole = [(int(start), int(stop)) for start, stop in itertools.pairwise(begins)]
    yield ReverbSource(write_steps(folder / "whole", longer, whole, episodes=episode_of))


def lerobot(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    made = [
        frames(len(seen) - 1, number, **{"observation.state": vectors(seen[:-1])})
        for number, (seen, _, _) in enumerate(each(episodes))
    ]
    yield LeRobotSource(write_v21(folder / "v2.1", made))
    yield LeRobotSource(write_v30(folder / "v3.0", made))


def robomimic(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """With true next observations, with those of robomimic's own conversion of D4RL, and without any."""
    for following in ("true", "repeated", "none"):
        demos = []
        for number, (seen, terminal, _) in enumerate(each(episodes)):
            after = np.append(seen[1:-1], seen[-2]) if following == "repeated" else seen[1:]
            observed = {"obs/object": vectors(seen[:-1]), "obs/agentview_image": None, "next_obs/agentview_image": None}
            observed["next_obs/object"] = None if following == "none" else vectors(after)
            demos.append(demo(len(seen) - 1, number, success=int(terminal), **observed))
        yield RobomimicSource(write_demos(folder / f"{following}.hdf5", demos))


def tfds(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    made = []
    for (seen, terminal, _), (_, end) in zip(each(episodes), episodes, strict=True):
        raw = plain_episode(len(seen), terminal=terminal) | {"steps/observation": vectors(seen)}
        if end == "neither":
            raw["steps/is_last"] = raw["steps/is_last"] & False
        made.append(raw)
    yield RLDSSource(write_dataset(folder / "rlds", made))


def frame(number: int) -> Array:
    return np.full((84, 84), number, np.uint8)


def atari_transitions(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for episode, (seen, terminal, _) in enumerate(each(episodes)):
        padded = [0, 0, 0, *seen.tolist()]
        for t in range(len(seen) - 1):
            both = tuple(np.stack([frame(number) for number in padded[t + k : t + k + 4]]) for k in (0, 1))
            ends = t == len(seen) - 2
            records.append(transition(both, d_t=0.0 if ends and terminal else 1.0, episode_id=episode))
    yield RLUAtariSource(write_shard(folder / "run_1-00001-of-00100", records), "Pong")


def atari_episodes(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for episode, (seen, terminal, _) in enumerate(each(episodes)):
        shown = seen[:-1]
        discounts = np.ones(len(shown), np.float32)
        discounts[-1] = not terminal
        zeros = np.zeros(len(shown), np.float32)
        rows = {
            "observations": [png(frame(number)) for number in shown],
            "actions": np.ones(len(shown), np.int64),
            "clipped_rewards": zeros,
            "unclipped_rewards": zeros,
            "discounts": discounts,
            "checkpoint_idx": np.array([7]),
            "episode_idx": np.array([episode]),
            "episode_return": np.array([0.0]),
            "clipped_episode_return": np.array([0.0]),
        }
        records.append(encoded(rows))
    yield RLUAtariEpisodesSource(write_shard(folder / "run_1-00001-of-00050", records), "Pong", stack=STACK)


CHEETAH = CONTROL_SUITE_TASKS["cheetah_run"]


def control_episode(seen: Array, *, terminal: bool, ends: bool = True) -> dict[str, Any]:
    """Return rows of RL Unplugged's control suite; the discount stands where a pair of rows has it."""
    discounts = np.ones(len(seen), np.float32)
    discounts[-2:] = not terminal
    step_types = np.full(len(seen), MID, np.float32)
    step_types[0] = FIRST
    step_types[-1] = LAST if ends else MID
    return control_rows(int(seen[0]), len(seen), discount=discounts, step_type=step_types)


def rows_of(episode: dict[str, Any], rows: slice) -> bytes:
    return encoded({name: values[rows] for name, values in episode.items()})


def control_pairs(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for seen, terminal, timeout in each(episodes):
        episode = control_episode(seen, terminal=terminal, ends=terminal or timeout)
        episode["discount"][:-2] = 1
        records += [rows_of(episode, slice(t, t + 2)) for t in range(len(seen) - 1)]
    yield RLUPairsSource(write_shard(folder / "train-00000-of-00100", records), CHEETAH)


def control_windows(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for seen, terminal, timeout in each(episodes):
        episode = control_episode(seen, terminal=terminal, ends=terminal or timeout)
        records += [rows_of(episode, slice(None)), rows_of(episode, slice(len(seen) // 2 - 1, None))]
    yield RLUWindowsSource(write_shard(folder / "train-00000-of-00100", records), CHEETAH)


def control_episodes(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for seen, terminal, timeout in each(episodes):
        episode = control_episode(seen, terminal=terminal, ends=terminal or timeout)
        episode["discount"][:-1] = 1
        records.append(encoded(episode))
    yield RLUControlEpisodesSource(write_shard(folder / "train-00000-of-00100", records), CHEETAH)


def rwrl(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for seen, terminal, _ in each(episodes):
        discounts = np.ones(len(seen), np.float32)
        discounts[-1] = not terminal
        rows = {
            "observation:position": vectors(seen),
            "action": np.zeros(len(seen), np.float32),
            "reward": np.zeros(len(seen), np.float32),
            "discount": discounts,
        }
        records.append(tfrecord(encoded(rows)))
    path = folder / "episodes.tfrecord-00000-of-00003"
    path.write_bytes(b"".join(records))
    yield RLURwrlSource(path, RWRL_TASKS["cartpole_swingup"])


def dmlab(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    records = []
    for episode, (seen, _, _) in enumerate(each(episodes)):
        count = len(seen)
        rows = {
            "observations_pixels": [color_png(number) for number in seen],
            "observations_reward": np.zeros(count, np.float32),
            "observations_action": np.zeros((count, 15), np.float32),
            "actions": np.zeros(count, np.int64),
            "rewards": np.zeros(count, np.float32),
            "discounts": np.ones(count, np.float32),
            "discounted_rewards": np.zeros(count, np.float32),
            "episode_id": np.array([episode]),
            "start_idx": np.array([0]),
            "episode_return": np.array([0.0], np.float32),
        }
        records.append(encoded(rows))
    task = DMLAB_TASKS["rooms_select_nonmatching_object/training_0"]
    shard = write_shard(folder / "tfrecord-00000-of-00500", records)
    for last_row in ("observation", "transition"):
        yield RLUDmlabSource(shard, task, last_row=last_row)


def color_png(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((72, 96, 3), number, np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


class ClockEnv(gymnasium.Env[Array, int]):
    """Plays the episodes of `script`, and shows the numbers of their observations."""

    script: Episodes = ()
    observation_space = gymnasium.spaces.Box(0, 1000, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._episode = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        if seed is None:  # the reset with a seed is not played
            self._episode = (self._episode + 1) % len(self.script)
        length, self._end = self.script[self._episode]
        self._seen = vectors(numbers(self._episode, length))
        self._step = 0
        return self._seen[0], {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._step += 1
        ends = self._step == len(self._seen) - 1
        terminal, timeout = ends and self._end != "timeout", ends and self._end in ("timeout", "both")
        return self._seen[self._step], 0.0, terminal, timeout, {}


class NoPolicy:
    def act(self, observations: Array) -> Array:
        return np.zeros(len(observations), np.int64)


def policy_rollout(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    if "Clock-v0" not in gymnasium.registry:
        gymnasium.register("Clock-v0", ClockEnv, disable_env_checker=True, order_enforce=False)
    ClockEnv.script = episodes
    size = sum(length for length, _ in episodes)
    for num_envs in (1, 2):
        yield PolicyRolloutSource(NoPolicy(), {}, "Clock-v0", size=size, num_envs=num_envs, seed=0)


def diffusion_policy(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    shown = vectors(np.concatenate([seen[:-1] for seen, _, _ in each(episodes)]))
    arrays = {"action": np.zeros((len(shown), 1), np.float32), "state": shown}
    lengths = [length for length, _ in episodes]
    for name in ("x.zarr", "x.zarr.zip"):
        yield DiffusionPolicySource(write_demonstrations(folder / name, arrays, lengths))


def rllib(folder: Path, episodes: Episodes) -> Iterator[Source[Any]]:
    """Batches that cut episodes, steps and Parquet; with true next observations, with none, and with shifted ones."""
    for following in ("none", "true", "shifted"):
        columns = flat(episodes, following)
        names = {
            "observations": "obs",
            "next_observations": "new_obs",
            "terminals": "terminateds",
            "timeouts": "truncateds",
        }
        named = {names.get(name, name): values for name, values in columns.items()}
        ids = np.repeat(np.arange(len(episodes)), [length for length, _ in episodes])
        for form, more in (("with ids", {"eps_id": ids}), ("without", {})):
            found = {**named, **more}
            parts = [{name: values[at : at + 2] for name, values in found.items()} for at in range(0, len(ids), 2)]
            place = folder / f"{following} {form}"
            yield RLlibSource(write_lines(place / "batches.json", [batch(part, ["obs"]) for part in parts]))
            yield RLlibSource(write_lines(place / "steps.jsonl", steps(found)))
            yield RLlibSource(write_parquet(place / "steps.parquet", found))


WRITERS: dict[type[Source[Any]], Writer] = {
    BufferSelection: buffer_selection,
    ConcatenatedSource: concatenated,
    D3rlpySource: d3rlpy,
    D4RLQLearningSource: qlearning,
    D4RLSource: d4rl,
    DiffusionPolicySource: diffusion_policy,
    DopamineSource: dopamine,
    ExORLSource: exorl,
    ImitationSource: imitation,
    LeRobotSource: lerobot,
    MDPDatasetSource: mdp_dataset,
    MinariSource: minari,
    NpzSource: npz,
    OGBenchSource: ogbench,
    PolicyRolloutSource: policy_rollout,
    RLDSSource: tfds,
    RLUAtariEpisodesSource: atari_episodes,
    RLUAtariSource: atari_transitions,
    RLUControlEpisodesSource: control_episodes,
    RLUDmlabSource: dmlab,
    RLUPairsSource: control_pairs,
    RLURwrlSource: rwrl,
    RLUWindowsSource: control_windows,
    RLlibSource: rllib,
    ReverbSource: reverb,
    StableBaselinesSource: stable_baselines,
    RobomimicSource: robomimic,
    TianshouSource: tianshou,
}
