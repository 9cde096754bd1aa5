"""Environments by name, preprocessed one way for training, data generation and evaluation.

Every environment made here resets itself in gymnasium's ``NEXT_STEP`` mode: the observation of an
ending step is the true final one, and the step after it ignores its action, gives reward 0 and
returns the first observation of the next episode. One rule tells rows of data from such rows: **the
step after a step with terminated or truncated set is no transition.**

Atari tasks are named ``<Game>NoFrameskip-v4`` and run in ``ale_py.vector_env.AtariVectorEnv``. What
that class does was found by experiment with ale-py 0.12.1:

- An observation is uint8 (4, 84, 84), oldest frame first: OpenCV's ``INTER_AREA`` over the grayscale
  screen, after the maximum of the last two of the 4 skipped frames.
- At a reset the stack is three **zero** frames and the first frame; it is not the first frame repeated.
- Where the action set has FIRE, a reset presses it for one frame, *before* 0 to 28 no-op frames; in
  other games 0 to 29 no-op frames pass. The FIRE launches Breakout's first ball. After a lost life
  nothing is pressed.
- ``episodic_life=True`` resets the whole game at each lost life, so later lives are never seen.
  ``life_loss_info=True`` reports ``terminated`` and plays on; training uses it, as DQN did. The step
  after a lost life is then an ordinary step of the game: by the rule above it is left out, which
  costs one transition a life.
- The time limit counts emulator frames (108,000, that is 27,000 steps) and sets ``truncated``, never
  together with ``terminated``.
- Where an episode ends within the first two of the 4 skipped frames, the final observation's newest
  frame is the screen of the step before.
- An action number out of range stops a worker thread, and ``step`` waits for ever.
- Rewards are int32. Every call returns a new observation array. The same seed gives the same steps
  for any number of threads. Seeds are int32: environment i takes ``seed + i``.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import logging
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.errors import MissingDependencyError, UsageError
from rlbuffers.optional import require
from rlbuffers.task_ends import ending_facts

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

__all__ = ["ATARI_SUFFIX", "MAX_SEED", "atari_task", "environment_facts", "make_vector_env", "reward_threshold"]

ATARI_SUFFIX = "NoFrameskip-v4"
FRAME_SKIP = 4
FRAME_STACK = 4
FRAME_SIZE = 84
MAX_NOOP_FRAMES = 30
MAX_EPISODE_FRAMES = 108_000
_BARE_NAME = re.compile(r"(NoFrameskip)?(-v\d+)?$")
MAX_SEED = 2**30  # leaves room for seed + i below 2**31
_logger = logging.getLogger(__name__)
# gymnasium records none for Atari. Pong ends at 21 points; 20 is where published runs stop.
_ATARI_REWARD_THRESHOLDS = {"PongNoFrameskip-v4": 20.0}


def make_vector_env(
    task: str, num_envs: int, seed: int, *, training: bool, renders: bool = False
) -> VectorEnv[Any, Any, Any]:
    """Make `num_envs` copies of an environment that step together and reset themselves.

    Parameters
    ----------
    task : str
        ``CartPole-v1`` or another id of gymnasium, or ``<Game>NoFrameskip-v4``.
    num_envs : int
        Number of copies, at least 1.
    seed : int
        Seeds the copies and their action spaces; any non-negative integer. Call ``reset()`` without
        a seed afterwards: it continues from this one.
    training : bool
        Whether Atari rewards are clipped to [-1, 1] and a lost life is reported as ``terminated``.
        Otherwise rewards are the game's and an episode is a full game. Other tasks do not differ.
    renders : bool, default False
        Whether ``render()`` gives pictures, RGB. Atari tasks have none: their observations are pictures.

    Returns
    -------
    gymnasium.vector.VectorEnv
        Observations of shape (num_envs, ``*obs``).

    Raises
    ------
    UsageError
        If there is no such task; the message names the nearest one.
    MissingDependencyError
        If the task's packages are not installed.
    """
    if num_envs < 1:
        raise UsageError(f"num_envs={num_envs}: at least one environment is needed")
    game = _rom_of_task(task)
    envs = _make_classic(task, num_envs, renders) if game is None else _make_atari(game, num_envs, training)
    bounded_seed = seed % MAX_SEED
    envs.reset(seed=bounded_seed)
    envs.action_space.seed(bounded_seed)
    return envs


def environment_facts(task: str) -> dict[str, Any]:
    """Describe an environment for a buffer's metadata.

    Returns
    -------
    dict
        Valid JSON: ``id``, ``package_versions``, ``observation_space``, ``action_space``,
        ``preprocessing`` (empty where observations are passed on as they are), ``rom_md5`` (None
        where there is no ROM), ``max_episode_steps`` (None where there is no limit),
        ``reward_threshold`` (None where there is none) and, if that is known, ``can_terminate``. Bounds
        that are infinite are None.
    """
    envs = make_vector_env(task, 1, 0, training=False)
    game = _rom_of_task(task)
    facts: dict[str, Any] = {
        "id": task,
        "package_versions": {"gymnasium": importlib.metadata.version("gymnasium")},
        "observation_space": _describe_space(envs.single_observation_space, task),
        "action_space": _describe_space(envs.single_action_space, task),
        "preprocessing": {},
        "rom_md5": None,
        "max_episode_steps": None,
        "reward_threshold": reward_threshold(task),
        **ending_facts({"id": task}),
    }
    envs.close()
    if game is None:
        gymnasium = require("gymnasium", extra="train", purpose=f"The task {task}")
        facts["max_episode_steps"] = gymnasium.spec(task).max_episode_steps
        return facts
    facts["package_versions"]["ale-py"] = importlib.metadata.version("ale-py")
    facts["preprocessing"] = {
        "implementation": "ale_py.vector_env.AtariVectorEnv",
        "frame_skip": FRAME_SKIP,
        "max_pool_frames": 2,
        "grayscale": True,
        "resize": [FRAME_SIZE, FRAME_SIZE],
        "resize_method": "area",
        "frame_stack": FRAME_STACK,
        "stack_padding": "zeros",
        "max_noop_frames": MAX_NOOP_FRAMES,
        "fire_reset": True,
        "sticky_action_probability": 0.0,
        "reward_clipping": False,
        "episodic_life": False,
    }
    facts["rom_md5"] = _rom_md5(game)
    facts["max_episode_steps"] = MAX_EPISODE_FRAMES // FRAME_SKIP
    return facts


def reward_threshold(task: str) -> float | None:
    """Return of an episode from which the task counts as solved, or None where nothing says so."""
    if _rom_of_task(task) is not None:
        return _ATARI_REWARD_THRESHOLDS.get(task)
    gymnasium = require("gymnasium", extra="train", purpose=f"The task {task}")
    threshold = gymnasium.spec(task).reward_threshold
    return None if threshold is None else float(threshold)


def atari_task(game: str) -> str | None:
    """Return the task of an Atari game's bare name (``Breakout``, as RL Unplugged says), or None.

    Raises
    ------
    MissingDependencyError
        If ale-py is not installed, so that nobody can tell.
    """
    task = game + ATARI_SUFFIX
    return task if task in _atari_roms() else None


def _make_classic(task: str, num_envs: int, renders: bool) -> VectorEnv[Any, Any, Any]:
    gymnasium = require("gymnasium", extra="train", purpose=f"The task {task}")
    mode = gymnasium.vector.AutoresetMode.NEXT_STEP
    is_mujoco = "gymnasium.envs.mujoco" in str(gymnasium.spec(task).entry_point)
    drawing = {"render_mode": "rgb_array"} if renders else {}
    if renders and is_mujoco:
        drawing["camera_name"] = "track"  # others see a runner leave the picture
    try:
        if is_mujoco:
            _pass_on_mujoco_warnings()
        with warnings.catch_warnings():
            # Data name the version that they are from; that there is a newer one is no news to their user.
            warnings.filterwarnings("ignore", message=".*is out of date")
            return gymnasium.make_vec(  # type: ignore[no-any-return]
                task,
                num_envs,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": mode},
                **drawing,
            )
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:  # MuJoCo's v2 and v3 raise the latter
        remedy = "Install it with: pip install 'rlbuffers[mujoco]'" if is_mujoco else str(error)
        raise MissingDependencyError(f"The task {task} needs another package. {remedy}") from error


def _pass_on_mujoco_warnings() -> None:
    """Log MuJoCo's warnings: it would append each to a file in the working directory.

    Every environment made repeats what is deprecated in gymnasium's model files, which no user can change.
    """
    mujoco = importlib.import_module("mujoco")

    def pass_on(message: str) -> None:
        _logger.log(logging.DEBUG if "deprecated" in message else logging.WARNING, "MuJoCo: %s", message)

    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(pass_on)


def _make_atari(game: str, num_envs: int, training: bool) -> VectorEnv[Any, Any, Any]:
    vector_env = require("ale_py.vector_env", extra="atari", purpose="Playing Atari games")
    return vector_env.AtariVectorEnv(  # type: ignore[no-any-return]
        game,
        num_envs=num_envs,
        frameskip=FRAME_SKIP,
        maxpool=True,
        grayscale=True,
        img_height=FRAME_SIZE,
        img_width=FRAME_SIZE,
        stack_num=FRAME_STACK,
        noop_max=MAX_NOOP_FRAMES,
        use_fire_reset=True,
        repeat_action_probability=0.0,
        max_num_frames_per_episode=MAX_EPISODE_FRAMES,
        reward_clipping=training,
        episodic_life=False,
        life_loss_info=training,
    )


def _rom_of_task(task: str) -> str | None:
    """Return the ROM of an Atari task, or None for a task of gymnasium; refuse all others."""
    atari = _atari_roms() if task.endswith(ATARI_SUFFIX) else {}
    if task in atari:
        return atari[task]
    classic = _classic_tasks()
    if task in classic:
        return None
    nearest = _nearest_task(task, [*classic, *(atari or _atari_roms_if_installed())])
    raise UsageError(f"there is no task {task!r}" + (f"; did you mean {nearest!r}?" if nearest else ""))


def _nearest_task(task: str, tasks: list[str]) -> str | None:
    """Return the task whose bare name (``pong`` for ``ALE/Pong-v5``) comes nearest, if any does."""
    # The last of several tasks with one bare name is kept: gymnasium's own, in its newest version.
    ordered = sorted(tasks, key=lambda name: "/" not in name)
    bare = {_BARE_NAME.sub("", name.rpartition("/")[2]).lower(): name for name in ordered}
    nearest = difflib.get_close_matches(_BARE_NAME.sub("", task.rpartition("/")[2]).lower(), bare, n=1)
    return bare[nearest[0]] if nearest else None


def _classic_tasks() -> list[str]:
    gymnasium = require("gymnasium", extra="train", purpose="Making environments")
    # ale-py's own registrations are left out: they are the games without this preprocessing.
    return [id for id, spec in gymnasium.registry.items() if not str(spec.entry_point).startswith("ale_py")]


def _atari_roms() -> dict[str, str]:
    """Return the ROM of every Atari task."""
    roms = require("ale_py.roms", extra="atari", purpose="Playing Atari games")
    return {rom.title().replace("_", "") + ATARI_SUFFIX: rom for rom in roms.get_all_rom_ids()}


def _atari_roms_if_installed() -> dict[str, str]:
    """Return the Atari tasks that a message may suggest."""
    try:
        return _atari_roms()
    except MissingDependencyError:
        return {}


def _rom_md5(game: str) -> str:
    roms = require("ale_py.roms", extra="atari", purpose="Playing Atari games")
    content = roms.get_rom_path(game).read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _describe_space(space: Any, task: str) -> dict[str, Any]:
    if hasattr(space, "n") and hasattr(space, "start"):  # MultiBinary has n, MultiDiscrete has start
        first = int(space.start)
        return {"type": "discrete", "n": int(space.n), **({"start": first} if first else {})}
    if not hasattr(space, "low"):
        raise UsageError(f"{task}: the space {space} is neither a box nor one set of numbered choices")
    return {
        "type": "box",
        "dtype": str(space.dtype),
        "shape": list(space.shape),
        "low": _describe_bound(space.low),
        "high": _describe_bound(space.high),
    }


def _describe_bound(bound: np.ndarray[Any, Any]) -> Any:
    """Return one number where all agree, else a list; JSON knows no infinity, so that is None."""
    if (bound == bound.flat[0]).all():
        return _finite(bound.flat[0].item())
    return [_finite(value) for value in bound.ravel().tolist()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
