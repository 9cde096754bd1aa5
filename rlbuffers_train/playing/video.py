"""One episode of a policy as an animated GIF."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlbuffers.atomic import write_bytes_atomically
from rlbuffers.environments import ATARI_SUFFIX, make_vector_env
from rlbuffers.errors import MissingDependencyError, UnsupportedError, UsageError
from rlbuffers.optional import require
from rlbuffers_train.policy import Policy

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

__all__ = ["Video", "check_video", "record_video"]

Array = np.ndarray[Any, Any]
_MAX_SECONDS = 60.0
# Viewers show GIFs of more frames a second too slowly.
_MAX_FPS = 25.0
_MAX_WIDTH = 400
_DEFAULT_FPS = 30.0
_ATARI_FPS = 15.0  # 60 screens a second, of which the policy sees every fourth
_ATARI_ZOOM = 3
# Pictures are drawn into memory: a display or a sound card that is not there need not be searched for and missed.
_NOTHING_TO_OPEN = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}


@dataclass(frozen=True)
class Video:
    """What a video shows.

    Parameters
    ----------
    path : Path
        The file.
    episode_return : float
        Of the steps that are shown.
    num_steps : int
        How many.
    is_whole : bool
        Whether the episode's end is shown; longer ones are cut after a minute.
    """

    path: Path
    episode_return: float
    num_steps: int
    is_whole: bool

    def __str__(self) -> str:
        end = "" if self.is_whole else ", cut after a minute"
        return f"{self.path}: an episode of its own, return {self.episode_return:.1f} in {self.num_steps:,} steps{end}"


def check_video(path: Path, task: str) -> None:
    """Refuse what could not be drawn or written, before anything is played.

    Raises
    ------
    MissingDependencyError
        If a package that draws is not installed.
    UnsupportedError
        If the task cannot be drawn.
    UsageError
        If the path does not end in ``.gif``, or nothing can be written there.
    """
    if path.suffix.lower() != ".gif":
        raise UsageError(f"{path}: videos are written as GIF; name a file that ends in .gif")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: nothing can be written in {folder}; name another place")
    require("PIL", extra="video", purpose="Writing a video")
    _require_pictures(task)


def record_video(
    policy: Policy,
    task: str,
    generator: np.random.Generator,
    path: Path,
    on_step: Callable[[], None] = lambda: None,
) -> Video:
    """Play one episode, a minute of it at most, and write what it looks like.

    Games are shown as the policy sees them, other tasks as their environment draws them.

    Parameters
    ----------
    policy : Policy
        Not changed; a fork of it acts.
    task : str
        See `rlbuffers.environments.make_vector_env`.
    generator : numpy.random.Generator
        Seeds the environment and the policy's fork.
    path : Path
        The GIF; replaced if it is there.
    on_step : callable
        Called after each step; may raise to break off.

    Raises
    ------
    MissingDependencyError
        If a package that draws is not installed.
    UnsupportedError
        If the task cannot be drawn, or not here.
    UsageError
        If the path does not end in ``.gif``, or nothing can be written there.
    """
    check_video(path, task)
    acting = policy.fork(generator)
    envs = make_vector_env(task, 1, int(generator.integers(2**30)), training=False, renders=True)
    try:
        with _no_display():
            observations, _ = envs.reset()
            draw, fps = _drawing(envs, task)
        keep_every = int(np.ceil(fps / _MAX_FPS))
        frames = [draw(observations)]
        total, steps, is_over = 0.0, 0, False
        while not is_over and steps < _MAX_SECONDS * fps:
            observations, rewards, terminated, truncated, _ = envs.step(acting.act(observations))
            total, steps, is_over = total + float(rewards[0]), steps + 1, bool(terminated[0] or truncated[0])
            if steps % keep_every == 0 or is_over:
                frames.append(draw(observations))
            on_step()
    finally:
        envs.close()
    write_bytes_atomically(path, _gif(frames, fps / keep_every))
    return Video(path, total, steps, is_over)


@contextmanager
def _no_display() -> Iterator[None]:
    """Let SDL, which opens what it needs when an environment first draws, open nothing; unless the user says what."""
    added = {name: value for name, value in _NOTHING_TO_OPEN.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _require_pictures(task: str) -> None:
    if task.endswith(ATARI_SUFFIX):
        return
    registration = require("gymnasium.envs.registration", extra="train", purpose=f"The task {task}")
    entry_point = registration.spec(task).entry_point
    made_by = entry_point if callable(entry_point) else registration.load_env_creator(entry_point)
    if "rgb_array" not in getattr(made_by, "metadata", {}).get("render_modes", ()):
        raise UnsupportedError(f"{task} draws no pictures, so there can be no video of it")


def _drawing(envs: VectorEnv[Any, Any, Any], task: str) -> tuple[Callable[[Array], Array], float]:
    """Return what turns observations into a picture, and how many pictures make a second."""
    if task.endswith(ATARI_SUFFIX):
        return _newest_frame, _ATARI_FPS
    try:
        envs.render()
    except Exception as error:  # graphics libraries raise what they like
        if type(error).__name__ == "DependencyNotInstalled":
            raise MissingDependencyError(
                f"Drawing {task} needs another package. Install it with: pip install 'rlbuffers[video]'"
            ) from error
        reason = str(error).splitlines()[0].partition(",")[0]
        raise UnsupportedError(
            f"{task} cannot be drawn here: {reason}. Where there is no display, MUJOCO_GL=egl or MUJOCO_GL=osmesa "
            "lets MuJoCo draw"
        ) from error

    def draw(observations: Array) -> Array:
        pictures: Any = envs.render()
        return np.array(pictures[0])

    return draw, float(envs.metadata.get("render_fps") or _DEFAULT_FPS)


def _newest_frame(observations: Array) -> Array:
    frame: Array = observations[0, -1]
    return frame.repeat(_ATARI_ZOOM, axis=0).repeat(_ATARI_ZOOM, axis=1)


def _gif(frames: list[Array], fps: float) -> bytes:
    image = require("PIL.Image", extra="video", purpose="Writing a video")
    pictures = [image.fromarray(frame) for frame in frames]
    for picture in pictures:
        picture.thumbnail((_MAX_WIDTH, _MAX_WIDTH))
    stream = io.BytesIO()
    pictures[0].save(
        stream, format="GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
    )
    return stream.getvalue()
