"""Change one value at a time in checkpoints and configurations, and give them to the commands that read such.

    python benchmarks/attack/checkpoints.py

Each number, text, list and mapping in the facts, the algorithm's state and config.yaml is replaced by values of other
types, sizes and signs; tensors get other shapes and dtypes; YAML has aliases that multiply, and archives members that
are not there. `train --resume-path`, `train --config`, `evaluate`, `export-policy`, `generate --resume-path` and
`compare` must refuse in one line. A value that is as good as the one before may be accepted, and does no harm.
"""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from attempts import FAILED, HARMLESS, Attack, attempt, judged, main_of

import rlbuffers
import rlbuffers_train  # noqa: F401  so that each attempt starts with it loaded
from rlbuffers_train.offline import train_offline
from rlbuffers_train.running.training_request import TrainingRequest

HOSTILE: Sequence[Any] = (
    None, True, -1, 0, 2**31, 2**62, 2**63, 10**4000, 1.5, -0.5, float("nan"), float("inf"), 1e308, "", "x", "../../x",
    "y" * 100_000,
    [], [1], [10**9, 10**9], [1] * 5_000_000, [-1], ["x"], {}, {"x": 1}, {"": None},
)  # fmt: skip
_TRIES_PER_KIND = 30
_SECONDS_PER_ATTEMPT = 60.0  # torch's exporter and trainings of some updates take seconds
_DEEP = 3_000
_CLAIMED = "claimed sizes"


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value is, parents before what is in them; of long lists the first three entries."""
    if at:
        yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places_in(inner, (*at, name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value[:3]):
            yield from places_in(inner, (*at, number))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with another value in one place."""
    if not at:
        return new
    if isinstance(value, dict):
        return {**value, at[0]: changed(value[at[0]], at[1:], new)}
    return [changed(inner, at[1:], new) if number == at[0] else inner for number, inner in enumerate(value)]


def without(value: Any, at: tuple[Any, ...]) -> Any:
    """Return a copy without the value of one place."""
    found = copy.deepcopy(value)
    parent = found
    for step in at[:-1]:
        parent = parent[step]
    del parent[at[-1]]
    return found


def at_place(value: Any, at: tuple[Any, ...]) -> Any:
    """Return what is in one place."""
    for step in at:
        value = value[step]
    return value


def write_buffer(path: Path) -> Path:
    """Write vectors with two numbered actions, as CartPole's are."""
    spec = rlbuffers.BufferSpec(
        "episodes",
        [
            rlbuffers.ColumnSpec("observations", np.float32, (4,)),
            rlbuffers.ColumnSpec("actions", np.int64, space={"type": "discrete", "n": 2}),
            rlbuffers.ColumnSpec("rewards", np.float32),
            rlbuffers.ColumnSpec("terminals", np.bool_),
            rlbuffers.ColumnSpec("timeouts", np.bool_),
        ],
    )
    rng = np.random.default_rng(0)
    with rlbuffers.create(path, spec, {"environment": {"id": "CartPole-v1"}}) as writer:
        for _ in range(20):
            columns = {
                "actions": rng.integers(0, 2, 10),
                "rewards": np.ones(10, np.float32),
                "terminals": np.arange(10) == 9,
                "timeouts": np.zeros(10, bool),
            }
            observations = rng.normal(size=(11, 4)).astype(np.float32)
            writer.append_episode(rlbuffers.Episode(columns, {"observations": observations}))
    return path


def commands(run: Path, buffer: Path, folder: Path) -> list[list[str | Path]]:
    """Return what reads a run's newest checkpoint."""
    last = run / "last.pth"
    return [
        ["evaluate", last, "--episodes", "1", "--json"],
        ["export-policy", last, "-o", folder / "policy.pt2", "--overwrite"],
        ["train", "bcq", "--buffer", buffer, "--resume-path", run, "--epoch", "2"],
        ["train", "bcq", "--buffer", buffer, "--seeds", "0", "--logdir", run.parent, "--epoch", "2"],
        ["generate", "--resume-path", last, "--buffer-size", "20", "--output", folder / "g.hdf5", "--overwrite"],
        ["compare", run],
    ]


class Runs:
    """A run in a folder, and what becomes of the commands when its checkpoint holds something else."""

    def __init__(self, attack: Attack, folder: Path, rng: random.Random) -> None:
        self._attack = attack
        self._folder = folder
        self._rng = rng
        self._buffer = write_buffer(folder / "x.hdf5")
        self._whole = folder / "whole" / "seed0"
        settings = {"epoch": 1, "update_per_epoch": 2, "eval_episodes": 1}
        small = {"hidden_sizes": (8,), "batch_size": 4}
        train_offline(TrainingRequest("bcq", buffer=self._buffer, logdir=self._whole, device="cpu",
                                      settings=settings, hyperparameters=small))  # fmt: skip
        self.content: dict[str, Any] = torch.load(self._whole / "last.pth", weights_only=True)

    def try_content(self, what: str, content: Any, how: str, *, may_pass: bool = True) -> None:
        """Write a checkpoint of another content and give it to one command, each in turn by chance."""
        stream = io.BytesIO()
        torch.save(content, stream)
        self.try_bytes(what, stream.getvalue(), how, may_pass=may_pass)

    def try_bytes(self, what: str, content: bytes, how: str, *, may_pass: bool = False) -> None:
        """Write a checkpoint of these bytes and give it to one command, by chance."""
        run = self._folder / "run" / "seed0"
        shutil.rmtree(run.parent, ignore_errors=True)
        shutil.copytree(self._whole, run)
        (run / "last.pth").write_bytes(content)
        words = self._rng.choice(commands(run, self._buffer, self._folder))
        tried = attempt(words, seconds=_SECONDS_PER_ATTEMPT)
        # `compare` makes no networks: it has nothing to hold their sizes against.
        outcome = judged(tried, lambda: may_pass or (what == _CLAIMED and words[0] == "compare"))
        self._attack.note(what, outcome, tried, how)

    def try_config(self, what: str, text: str, how: str, *, may_pass: bool = False) -> None:
        """Train by a configuration."""
        path = self._folder / "c.yaml"
        path.write_text(text)
        logdir = self._folder / "from-config"
        shutil.rmtree(logdir, ignore_errors=True)
        words = ["train", "--config", path, "--logdir", logdir, "--epoch", "1", "--update-per-epoch", "1"]
        tried = attempt([*words, "--eval-episodes", "0"], seconds=_SECONDS_PER_ATTEMPT)
        self._attack.note(what, judged(tried, lambda: may_pass), tried, how)

    def config(self) -> dict[str, Any]:
        """Return what the run wrote into config.yaml."""
        document: dict[str, Any] = yaml.safe_load((self._whole / "config.yaml").read_text())
        return document


def change_values(runs: Runs, rng: random.Random) -> None:
    """Change each value of the facts, of the state and of config.yaml."""
    facts = json.loads(runs.content["facts"])
    pairs = [(at, new) for at in places_in(facts) for new in HOSTILE]
    for at, new in rng.sample(pairs, _TRIES_PER_KIND):
        text = json.dumps(changed(facts, at, new)) if new != 10**4000 else _with_long_number(facts, at)
        runs.try_content(
            "checkpoint: facts", {**runs.content, "facts": text}, f"{at} {str(new)[:20] if new != 10**4000 else 'long'}"
        )
    for at in rng.sample(list(places_in(facts)), 10):
        runs.try_content(
            "checkpoint: facts left out", {**runs.content, "facts": json.dumps(without(facts, at))}, f"{at}"
        )
    deep = "[" * _DEEP + "]" * _DEEP
    for name in ("streams", "environment", "problem", "history"):
        text = json.dumps(changed(facts, (name,), "DEEP")).replace('"DEEP"', deep)
        runs.try_content("checkpoint: facts", {**runs.content, "facts": text}, f"{name} nested", may_pass=False)
    state = {name: value for name, value in runs.content.items() if name != "facts"}
    pairs = [(at, new) for at in places_in(state) for new in [*HOSTILE, *tensors_like(at_place(state, at))]]
    for at, new in rng.sample(pairs, _TRIES_PER_KIND):
        shown = f"{tuple(new.shape)} {new.dtype}" if isinstance(new, torch.Tensor) else type(new).__name__
        runs.try_content(
            "checkpoint: state and tensors",
            {"facts": runs.content["facts"], **changed(state, at, new)},
            f"{at} {shown}",
        )
    document = runs.config()
    pairs = [(at, new) for at in places_in(document) for new in HOSTILE if new != 10**4000]
    for at, new in rng.sample(pairs, _TRIES_PER_KIND):
        text = yaml.safe_dump(changed(document, at, new)) if not isinstance(new, list) or len(new) < 99 else "a: 1"
        runs.try_config("config.yaml: values", text, f"{at} {str(new)[:20]}", may_pass=True)


def _with_long_number(facts: Any, at: tuple[Any, ...]) -> str:
    return json.dumps(changed(facts, at, "LONG")).replace('"LONG"', "1" + "0" * 4000)


def tensors_like(value: Any) -> list[torch.Tensor]:
    """Return tensors that are nearly as a value is."""
    if not isinstance(value, torch.Tensor):
        return [torch.zeros(2), torch.zeros(0)]
    return [
        value.reshape(-1)[:1].expand(10**6) if value.numel() else torch.zeros(1),
        value.to(torch.float64),
        value.to(torch.complex64),
        torch.full_like(value, 0),
        torch.full(value.shape, float("nan")),
        value.unsqueeze(0),
        value.to_sparse() if value.dim() else value,
        torch.zeros(1).expand(2**40),
    ]


def claim_sizes(runs: Runs) -> None:
    """Let settings, shapes and archives claim what is not there."""
    facts = json.loads(runs.content["facts"])
    for at, new in [
        (("config", "hidden_sizes"), [100_000, 100_000]),
        (("config", "hidden_sizes"), [2**20] * 60),
        (("config", "hidden_sizes"), [8] * 1_000_000),
        (("problem", "observation_shape"), [2**40, 2**40]),
        (("problem", "observation_shape"), [2**29]),
        (("problem", "actions", "num_actions"), 2**40),
        (("problem", "actions", "num_actions"), 2**19),
        (("history",), [{}] * 1_000_000),
    ]:
        for _ in range(4):
            changed_facts = json.dumps(changed(facts, at, new))
            runs.try_content(_CLAIMED, {**runs.content, "facts": changed_facts}, f"{at}", may_pass=False)
    shared: list[Any] = []
    for _ in range(60):
        shared = [shared, shared]
    for place in ("algorithm_state", "torch_random_state", "facts"):
        runs.try_content("lists that multiply", {**runs.content, place: {"x": shared}}, place, may_pass=False)
    stream = io.BytesIO()
    torch.save(runs.content, stream)
    members = {member.filename: zipfile.ZipFile(stream).read(member) for member in zipfile.ZipFile(stream).infolist()}
    (pickled,) = [name for name in members if name.endswith("data.pkl")]
    for how, compression, more in [
        ("a bomb", zipfile.ZIP_DEFLATED, {"archive/data/99": bytes(1 << 29)}),
        ("20,000 members", zipfile.ZIP_STORED, {f"archive/data/x{number}": b"" for number in range(20_000)}),
        ("a description of zeros", zipfile.ZIP_STORED, {pickled: bytes(100_000_000)}),
        ("a description cut short", zipfile.ZIP_STORED, {pickled: members[pickled][:500]}),
        ("text in place of a description", zipfile.ZIP_STORED, {pickled: b"I" + b"9" * 100_000 + b"\n."}),
    ]:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", compression) as archive:
            for name, content in {**members, **more}.items():
                archive.writestr(name, content)
            for member in archive.filelist:
                member.external_attr = 0  # as torch writes it
        for _ in range(3):
            runs.try_bytes("archives", packed.getvalue(), how)


def write_yaml(runs: Runs) -> None:
    """Give documents to ``--config`` that stand for more than they are."""
    laughs = "a: &a0 [x, x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}, *a{n}, *a{n}]\n" for n in range(40))
    for how, text in [
        ("aliases that multiply", laughs + "algorithm: bcq\n"),
        ("an alias of itself", "algorithm: &a [*a]\n"),
        ("lists nested", "algorithm: " + "[" * 100_000),
        ("keys nested", "".join(" " * n + "a:\n" for n in range(500))),
        ("indents nested", "algorithm: bcq\nsettings: " + "{a: " * 500 + "}" * 500),
        ("a long number", "algorithm: bcq\nsettings: {seed: 0x" + "f" * 500_000 + "}"),
        ("a long decimal", "algorithm: bcq\nsettings: {seed: " + "9" * 500_000 + "}"),
        ("a long text", "algorithm: " + "x" * 900_000),
        ("a huge document", "# " + "x" * 50_000_000),
        ("many keys", "".join(f"k{n}: 1\n" for n in range(50_000))),
        ("a python object", "algorithm: !!python/object/apply:os.system [id]"),
        ("a date", "algorithm: bcq\nsettings: {seed: 2020-99-99}"),
        ("a set as a key", "? {a: 1}\n: 2\n"),
        ("binary", "algorithm: !!binary aGk="),
        ("wide layers", "algorithm: bcq\nhyperparameters: {hidden_sizes: [200000, 200000]}"),
        ("many layers", "algorithm: bcq\nhyperparameters: {hidden_sizes: [" + "1, " * 100_000 + "1]}"),
        ("infinite", "algorithm: bcq\nhyperparameters: {lr: .inf}"),
        ("not a number", "algorithm: bcq\nhyperparameters: {lr: .nan}"),
    ]:
        runs.try_config("config.yaml: documents", text, how)


def give_options(runs: Runs, attack: Attack, folder: Path) -> None:
    """Ask for what no machine has, on the command line."""
    for option, value in [
        ("--hidden-sizes", "100000,100000"),
        ("--hidden-sizes", ",".join(["8"] * 5000)),
        ("--hidden-sizes", "99999999999999999999"),
        ("--batch-size", "99999999999"),
        ("--n-step", "99999999999999999999"),
        ("--threads", "99999999999"),
        ("--seed", "9" * 5000),
        ("--lr", "nan"),
        ("--lr", "1e400"),
    ]:
        words = ["train", "bcq", "--buffer", folder / "x.hdf5", "--logdir", folder / "asked", option, value]
        tried = attempt([*words, "--eval-episodes", "0", "--epoch", "1"], seconds=_SECONDS_PER_ATTEMPT)
        attack.note("options", judged(tried), tried, f"{option} {value[:20]}")


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Do all of it."""
    rng = random.Random(seed)
    runs = Runs(attack, folder, rng)
    runs.try_content("unchanged", runs.content, "each command must accept it")
    if attack.outcomes["unchanged"][HARMLESS] != 1:
        attack.note("unchanged", f"{FAILED}: the undamaged checkpoint was refused")
    claim_sizes(runs)
    write_yaml(runs)
    give_options(runs, attack, folder)
    change_values(runs, rng)


if __name__ == "__main__":
    main_of("Checkpoints and configurations", __doc__, run)
