"""The fixtures of formats that are not HDF5, how each is converted, and their JSON with one value at a time changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class ForeignInput:
    """A fixture: a file or a folder below tests/data.

    `at` stands before the path in the words of `rlbuffers convert FORMAT`, `options` after it.
    """

    format: str
    place: str
    at: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return DATA / self.place

    @property
    def name(self) -> str:
        return f"{self.format}: {self.place}"

    def words(self, path: Path, output: Path) -> list[str]:
        return [
            *("convert", self.format, *self.at, str(path), *self.options),
            *("-o", str(output), "--workers", "0", "--overwrite"),
        ]


def _shard(place: str, task: str, *options: str) -> ForeignInput:
    return ForeignInput("rl-unplugged", f"rl_unplugged/{place}", ("--task", task, *options, "--file"))


INPUTS = (
    _shard("Pong/run_1-00001-of-00100", "Pong"),
    _shard("atari_episodes_ordered/Pong/run_1-00000-of-00050", "Pong", "--layout", "episodes"),
    _shard("dm_control_suite/cheetah_run/train-00000-of-00100", "cheetah_run", "--suite", "control-suite"),
    ForeignInput("tfds", "tfds/mini_rlds/pixels/1.0.0", ("--dir",)),
    ForeignInput("tfds", "tfds/d4rl_mujoco_hopper/v1-medium-replay/1.2.0", ("--dir",)),
    ForeignInput("dopamine", "dopamine/Breakout/1/replay_logs"),
    ForeignInput("reverb", "reverb/pendulum/2026-11-22T22:33:49.769010802+00:00", (), ("--table", "transitions")),
    ForeignInput("imitation", "imitation/walk.npz"),
    ForeignInput("stable-baselines", "stable_baselines/walk.npz"),
    ForeignInput("exorl", "exorl"),
    ForeignInput("ogbench", "ogbench/pointmaze-medium-navigate-v0.npz"),
    ForeignInput("minari", "minari/fixture/cartpole-arrow-v0"),
    ForeignInput("rllib", "rllib/batches"),
    ForeignInput("rllib", "rllib/steps.jsonl"),
    ForeignInput("rllib", "rllib/steps"),
    ForeignInput("lerobot", "lerobot/v2.1"),
    ForeignInput("lerobot", "lerobot/v3.0"),
    ForeignInput("diffusion-policy", "diffusion_policy/pusht.zarr"),
)

# What the writer of a document would never have put in place of a value.
HOSTILE: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("-1", -1),
    ("0", 0),
    ("2^63", 1 << 63),
    ("2^60", 1 << 60),
    ("1e300", 1e300),
    ("1.5", 1.5),
    ("empty text", ""),
    ("[]", []),
    ("{}", {}),
    ("true", True),
    ("long text", "x" * 70_000),
    ("a list of a text", ["y"]),
    ("nested 900 deep", "NESTED"),
)
_NESTED = "[" * 900 + "]" * 900
Step = str | int


@dataclass(frozen=True)
class Document:
    """JSON of a fixture: a whole file, or one line of one."""

    file: Path
    line: int | None = None

    def content(self, root: Path) -> Any:
        text = (root / self.file).read_text() if root.is_dir() else root.read_text()
        return json.loads(text if self.line is None else text.splitlines()[self.line])

    def rewrite(self, root: Path, content: Any) -> None:
        path = root / self.file if root.is_dir() else root
        text = json.dumps(content).replace('\\"NESTED\\"', _NESTED).replace('"NESTED"', _NESTED)
        if self.line is not None:
            lines = path.read_text().splitlines()
            lines[self.line] = text
            text = "\n".join(lines) + "\n"
        path.write_text(text)


def documents_of(root: Path) -> Iterator[Document]:
    """Yield the JSON documents of a fixture; of files of lines and of many alike only the first ones."""
    files = sorted(path for path in root.rglob("*") if path.is_file()) if root.is_dir() else [root]
    seen: set[str] = set()
    for path in files:
        inner = path.relative_to(root)
        if path.suffix not in (".json", ".jsonl") and path.name not in (".zarray", ".zgroup", ".zattrs"):
            continue
        if path.suffix == ".jsonl" or path.name.startswith("output-"):
            yield Document(inner, 0)
        elif not (path.name == "metadata.json" and inner.parts[0].isdigit() and path.name in seen):
            yield Document(inner)
            if inner.parts[0].isdigit():
                seen.add(path.name)


def places_of(content: Any, longest_list: int = 3) -> Iterator[tuple[Step, ...]]:
    """Yield the way to every value of a document, the whole included; JSON in a text (Minari's spaces) is gone into.

    Of long lists only the first elements are.
    """
    yield ()
    inner = _parsed(content)
    items = (
        inner.items() if isinstance(inner, dict) else enumerate(inner[:longest_list]) if isinstance(inner, list) else ()
    )
    for step, value in items:
        for rest in places_of(value, longest_list):
            yield (step, *rest)


def _parsed(content: Any) -> Any:
    if isinstance(content, str) and content.startswith('{"'):
        return json.loads(content)
    return content


def changed(content: Any, place: tuple[Step, ...], value: Any) -> Any:
    """Return a document with another value at a place."""
    if not place:
        return value
    inner = copy.deepcopy(_parsed(content))
    inner[place[0]] = changed(inner[place[0]], place[1:], value)
    return json.dumps(inner) if isinstance(content, str) else inner
