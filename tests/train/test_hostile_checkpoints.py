"""Checkpoints and configurations whose values are of other types and sizes than training writes: one line each."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small_request

from rlbuffers.errors import FormatError, RlbuffersError, UsageError
from rlbuffers_train.algorithms import ALGORITHMS, load_algorithm
from rlbuffers_train.algorithms.bcq_discrete import DiscreteBCQ, DiscreteBCQConfig
from rlbuffers_train.checkpoint import build_algorithm, load_checkpoint
from rlbuffers_train.networks.memory import weights_within
from rlbuffers_train.offline import train_offline
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.online_settings import OnlineSettings
from rlbuffers_train.problem import DiscreteActions, ProblemSpec
from rlbuffers_train.running.run_config import read_config
from rlbuffers_train.settings import Settings

CPU = torch.device("cpu")
CAST = (torch.float64, torch.uint8)
HOSTILE: list[Any] = [
    *(None, True, -1, 2**31, 2**63, 10**400, 1.5, float("nan"), float("inf"), "", "x"),
    *([], [1], [10**9, 10**9], [-1], ["x"], [1] * 10_000, {}, {"x": 1}),
]


_CONTENT: dict[str, Any] = {}  # of one checkpoint, made once


@pytest.fixture
def content(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    if not _CONTENT:
        settings = {"epoch": 1, "update_per_epoch": 2, "eval_episodes": 1}
        train_offline(small_request("bcq", make_signal_buffer(), tmp_path / "run", settings))
        _CONTENT.update(torch.load(tmp_path / "run" / "last.pth", weights_only=True))
    return _CONTENT


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value is; of lists, and of what is numbered as the parameters of an optimizer, the first two."""
    yield at
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in [entry for entry in entries if not isinstance(entry[0], int) or entry[0] < 2]:
        yield from places_in(inner, (*at, name))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    if isinstance(value, dict):
        return {**value, at[0]: changed(value[at[0]], at[1:], new)}
    return [changed(inner, at[1:], new) if number == at[0] else inner for number, inner in enumerate(value)]


def outcome_of(content: Any, path: Path) -> str:
    """Return the message with which a checkpoint is refused, or nothing if its algorithm can be made."""
    torch.save(content, path)
    try:
        build_algorithm(load_checkpoint(path, CPU), np.random.default_rng(0), CPU)
    except RlbuffersError as error:
        return str(error)
    return ""


def test_each_value_of_the_facts_is_checked(content: dict[str, Any], tmp_path: Path) -> None:
    facts = json.loads(content["facts"])
    accepted, rng = [], random.Random(0)
    for at in places_in(facts):
        for new in rng.sample(HOSTILE, 2):
            text = json.dumps(changed(facts, at, new))
            told = outcome_of({**content, "facts": text}, tmp_path / "c.pth")
            assert "\n" not in told
            assert len(told) < 2_000
            if not told:
                accepted.append((".".join(map(str, at)), new))
    # What is free may be anything; a number may be another one of its range.
    free = ("environment", "streams", "unfinished_epoch")
    others = [(place, new) for place, new in accepted if not place.startswith(free)]
    texts = {"task", "buffer_fingerprint", "settings.buffer"}
    assert {place for place, new in others if isinstance(new, str)} <= texts
    assert not [place for place, new in others if isinstance(new, dict) and place != "history.0.metrics"]
    assert not [(place, new) for place, new in others if isinstance(new, float) and not np.isfinite(new)]
    assert not [(place, new) for place, new in others if isinstance(new, int) and abs(new) >= 2**63]
    flags = {"config.norm_obs", "config.orthogonal", "config.scale_pixels", "history.0.is_solved"}
    flags |= {"settings.compile", "settings.clip_rewards", "settings.norm_rewards"}
    assert {place for place, new in others if new is True} <= flags


@pytest.mark.parametrize("at", ["version", "format", "facts", "torch_random_state", "algorithm_state"])
def test_each_part_of_the_file_is_checked(content: dict[str, Any], tmp_path: Path, at: str) -> None:
    for new in [
        *HOSTILE,
        torch.zeros(3),
        torch.zeros(1).expand(2**40),
        torch.zeros(2).to_sparse(),
        {"x": torch.ones(1)},
    ]:
        told = outcome_of({**content, at: new}, tmp_path / "c.pth")
        assert told.startswith((str(tmp_path), "the weights of the checkpoint")), (new, told)
        assert "\n" not in told


def test_each_value_of_the_state_is_checked(content: dict[str, Any], tmp_path: Path) -> None:
    state, rng = content["algorithm_state"], random.Random(0)
    for at in places_in(state):
        found = state
        for step in at:
            found = found[step]
        news: list[Any] = [None, "x", -1, {}, [1], torch.zeros(5), torch.full((1,), float("nan"))]
        if isinstance(found, torch.Tensor):
            news += [found.double(), found.unsqueeze(0), torch.zeros(1).expand(2**40)]
        for new in rng.sample(news, 2):
            told = outcome_of({**content, "algorithm_state": changed(state, at, new)}, tmp_path / "c.pth")
            assert "\n" not in told
            # Options of the optimizer but for its learning rate are those of the config; it may be a new one, and
            # torch casts its averages, and flattens the state of a generator.
            is_cast = at[0:1] in (("optimizer",), ("noise",)) and getattr(new, "dtype", None) in CAST
            assert told or "param_groups" in at or is_cast or at[-1] == "step" or new == {}, (at, new)


def test_lists_that_multiply_are_refused(content: dict[str, Any], tmp_path: Path) -> None:
    shared: list[Any] = []
    for _ in range(60):
        shared = [shared, shared]
    told = outcome_of({**content, "algorithm_state": {"network": shared}}, tmp_path / "c.pth")
    assert "nested more than" in told


def test_claims_of_the_archive_are_compared_with_its_bytes(content: dict[str, Any], tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save(content, stream)
    with zipfile.ZipFile(stream) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = [name for name in members if name.endswith("data.pkl")]
    for more, told in (
        ({f"archive/data/x{number}": b"" for number in range(20_000)}, "more than 10,000 members"),
        ({pickled: bytes(70_000_000)}, "its description has 70,000,000 bytes"),
        ({pickled: members[pickled][:300]}, "not a checkpoint of rlbuffers"),
    ):
        with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
            for name, inner in {**members, **more}.items():
                archive.writestr(name, inner)
            for member in archive.filelist:
                member.external_attr = 0  # as torch writes it
        with pytest.raises(FormatError, match=told):
            load_checkpoint(tmp_path / "c.pth", CPU)


def test_networks_larger_than_the_weights_in_the_file_are_not_made(content: dict[str, Any], tmp_path: Path) -> None:
    facts = json.loads(content["facts"])
    for at, new in (
        (("config", "hidden_sizes"), [5_000, 5_000]),
        (("problem", "actions", "num_actions"), 1 << 20),
    ):
        text = json.dumps(changed(facts, at, new))
        assert "its settings ask for more" in outcome_of({**content, "facts": text}, tmp_path / "c.pth")


def test_networks_have_a_bound(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    problem = ProblemSpec((2,), "float32", DiscreteActions(3))
    with pytest.raises(UsageError, match=r"need more than [\d,]+ MiB of weights; use smaller layers"):
        DiscreteBCQ(problem, DiscreteBCQConfig(hidden_sizes=(100_000, 100_000)), np.random.default_rng(0), CPU)
    wide = {"hidden_sizes": (1 << 24,) * 3}
    request = small_request("bcq", make_signal_buffer(), tmp_path / "run", hyperparameters=wide)
    with pytest.raises(UsageError, match="smaller layers"):
        train_offline(request)
    assert not (tmp_path / "run").exists()


def test_what_is_made_is_counted() -> None:
    bytes_of_two = 4 * (12 + 4) * 2
    with weights_within(bytes_of_two, "too much"):
        two = [torch.nn.Linear(3, 4) for _ in range(2)]
    with weights_within(bytes_of_two - 1, "too much"), pytest.raises(UsageError, match="too much"):
        copy.deepcopy(two)


def classes() -> list[type[Settings]]:
    configs = [load_algorithm(entry.name, entry.actions).config_class for entry in ALGORITHMS]
    return [*dict.fromkeys(configs), OnlineSettings, OfflineSettings]


@pytest.mark.parametrize("settings", classes())
def test_each_setting_checks_its_type(settings: type[Settings]) -> None:
    needed = {"buffer": "x"} if settings is OfflineSettings else {}
    known = settings(**needed).to_json()
    for one in fields(settings):
        for new in HOSTILE:
            value, told = made_of(settings, {**known, one.name: new}, one.name)
            if told:
                assert one.name.replace("_", "-") in told
                assert len(told) < 300
            else:
                assert value is None or known[one.name] is None or same_kind(value, known[one.name])


def made_of(settings: type[Settings], values: dict[str, Any], name: str) -> tuple[Any, str]:
    """Return a setting as it is read back, or the message with which it is refused."""
    try:
        return getattr(settings.from_json(values), name), ""
    except RlbuffersError as error:
        return None, str(error)


def same_kind(value: Any, known: Any) -> bool:
    if isinstance(known, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    return type(value) is type(known)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [x]\nalgorithm: [*a, *a]", "found an alias ('a')"),
        ("a: &a [x, x]\n" + "".join(f"b{n}: &a{n} [*a, *a]\n" for n in range(30)), "found an alias"),
        ("algorithm: " + "[" * 10_000, "nested more than 20 deep"),
        ("algorithm: bcq\nsettings: " + "{a: " * 30 + "1" + "}" * 30, "nested more than 20 deep"),
        ("# " + "x" * (1 << 16), "at most 65,536 bytes"),
        ("algorithm: bcq\nsettings: {seed: 0x" + "f" * 50_000 + "}", "got a whole number of 200"),
        ("algorithm: bcq\nsettings: {seed: " + "9" * 50_000 + "}", "not YAML"),
        ("algorithm: bcq\nsettings: {seed: 2020-99-99}", "not YAML"),
        ("algorithm: bcq\nhyperparameters: {lr: .nan}", "lr: expected a number, got nan"),
        ("algorithm: bcq\nhyperparameters: {hidden_sizes: [" + "1, " * 9_999 + "1]}", "at most 64 values, got 10,000"),
        ("algorithm: bcq\nhyperparameters: {hidden_sizes: [1e9]}", "expected a list of whole numbers, got '1e9' in it"),
        ("algorithm: bcq\nhyperparameters: {hidden_sizes: [0]}", "hidden_sizes: expected at least 1, got 0"),
    ],
)  # fmt: skip
def test_configurations_that_mean_harm_are_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        read_config(tmp_path / "c.yaml")
    assert str(raised.value).startswith(str(tmp_path / "c.yaml"))
    assert told in str(raised.value)
    assert len(str(raised.value)) < 500
