"""A policy judged by a buffer alone: from Python, and by `rlbuffers evaluate --fqe`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_runs import error_of, small_request

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import UsageError
from rlbuffers_cli.main import cli
from rlbuffers_train import evaluate_off_policy, load_policy, train_offline
from rlbuffers_train.off_policy import judging
from rlbuffers_train.off_policy.fitted_q import FittedQSettings

STEPS, GAMMA = 5, 0.9


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn these little problems in a second: all that differs from the defaults is the size of things."""
    settings = FittedQSettings(updates=600, batch_size=64, hidden_sizes=(32,), lr=3e-3, tau=0.2)
    monkeypatch.setattr(FittedQSettings, "recommended", lambda problem: settings)


def trained(buffer: Path, logdir: Path, name: str = "bcq", **settings: Any) -> Path:
    rates = {"lr": 0.01} if name == "bcq" else {}
    asked = {"epoch": 1, "eval_episodes": 0, **settings}
    return train_offline(small_request(name, buffer, logdir, asked, rates)).logdir


def run(*words: object) -> Result:
    command = ["evaluate", *map(str, words)]
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, command, catch_exceptions=False)


def of_signal(right: float) -> float:
    """Return the value of a policy that is right with a probability, for ever."""
    return right / (1 - GAMMA)


@pytest.mark.parametrize(("eps", "right"), [(None, 1.0), (1.0, 0.5), (0.5, 0.75)])
def test_a_policy_is_worth_what_the_formula_says(
    eps: float | None, right: float, make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    logdir = trained(make_signal_buffer(), tmp_path / "run")
    test = make_signal_buffer("test.hdf5", seed=1)
    counts: list[tuple[int, int]] = []
    found = evaluate_off_policy(
        logdir, test, gamma=GAMMA, eps=eps, on_update=lambda count, total: counts.append((count, total))
    )
    assert counts == [(count, 600) for count in range(1, 601)]
    assert found.value.mean == pytest.approx(of_signal(right), rel=0.03)
    assert (found.value.count, found.at_first_states, found.is_training_data) == (40, True, False)
    assert found.eps == (eps or 0.0)
    with rlbuffers.open(test) as buffer:
        episodes = list(buffer.episodes())
    returns = [sum(GAMMA**step * reward for step, reward in enumerate(one["rewards"])) for one in episodes]
    assert found.recorded is not None
    assert found.continued is not None
    assert found.recorded.mean == pytest.approx(np.mean(returns), rel=1e-5)
    assert found.recorded.standard_error == pytest.approx(np.std(returns, ddof=1) / np.sqrt(40), rel=1e-5)
    # Every episode is cut by the time limit.
    assert found.continued.mean == pytest.approx(np.mean(returns) + GAMMA**STEPS * of_signal(right), rel=0.03)
    actions = np.concatenate([one["actions"] for one in episodes])
    bits = np.concatenate([one["observations"][:-1, 0] for one in episodes])
    agreement = (1 - found.eps) * np.mean(actions == bits) + found.eps / 2
    assert found.closeness == pytest.approx(agreement, abs=1e-6)
    assert found.history[-1] == found.value.mean
    assert len(found.history) == 10
    assert found.warnings == []


def test_vectors_of_actions(make_aim_buffer: Callable[..., Path], tmp_path: Path) -> None:
    path = make_aim_buffer(with_bounds=True)
    logdir = trained(path, tmp_path / "run", "il", epoch=2, update_per_epoch=200)
    found = evaluate_off_policy(logdir, path, gamma=0.5, updates=1500)
    policy = load_policy(logdir, eps=0.0, generator=np.random.default_rng(0))
    with rlbuffers.open(path) as buffer:
        rows = buffer[:]
    shown = rows["observations"]
    costs = -((policy.act(shown) - 2 * shown)[:, 0] ** 2)
    assert found.is_training_data
    # What is shown next has nothing to do with what is done: the same mean cost for ever.
    assert found.value.mean == pytest.approx(costs.mean() / (1 - 0.5), abs=0.15)
    assert found.closeness == pytest.approx((((policy.act(shown) - rows["actions"]) / 2.0) ** 2).mean(), rel=1e-3)
    assert found.closeness_name == "mean squared distance to the data's actions"


def test_data_at_an_address(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    local = make_signal_buffer("signal.zarr.zip")
    fsspec.filesystem("memory").put(str(local), "/judged/signal.zarr.zip")
    logdir = trained(local, tmp_path / "run")
    here, there = (evaluate_off_policy(logdir, place) for place in (local, "memory://judged/signal.zarr.zip"))
    assert (there.value, there.recorded, there.is_training_data) == (here.value, here.recorded, True)


def test_normalized_data_are_seen_as_the_policy_learned_to_see_them(
    make_aim_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    """The data that it learned from, and those that they were made from, show it the same states."""
    source, normalized, others = make_aim_buffer(), tmp_path / "normalized.hdf5", tmp_path / "others.hdf5"
    rlbuffers.normalize(source, normalized, epsilon=0.5)
    rlbuffers.normalize(source, others, epsilon=0.1)
    logdir = trained(normalized, tmp_path / "run", "il")
    found = [evaluate_off_policy(logdir, data, gamma=GAMMA) for data in (source, normalized)]
    assert found[0].closeness == pytest.approx(found[1].closeness, rel=1e-4)
    assert found[0].value.mean == pytest.approx(found[1].value.mean, rel=0.05)
    with pytest.raises(UsageError, match=r"normalized, and not as those that .* was trained on"):
        evaluate_off_policy(logdir, others)
    with pytest.raises(UsageError, match="normalized, and not as those that"):
        evaluate_off_policy(trained(source, tmp_path / "raw", "il"), normalized)


def test_data_without_bounds_of_actions_need_no_environment(
    make_aim_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logdir = trained(make_aim_buffer(), tmp_path / "run", "td3-bc", update_per_epoch=1)
    bare = make_aim_buffer("bare.hdf5", with_bounds=False)

    def no_environment(*arguments: Any) -> None:
        raise AssertionError("asked for an environment")

    monkeypatch.setattr("rlbuffers_train.playing.evaluation_task.environment_facts", no_environment)
    assert evaluate_off_policy(logdir, bare, updates=3).value.count == 60


SPEC = [
    ColumnSpec("observations", np.float32, (2,)),
    ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 2}),
    ColumnSpec("rewards", np.float32),
    ColumnSpec("terminals", np.bool_),
    ColumnSpec("timeouts", np.bool_),
]


def transitions_buffer(path: Path, size: int = 4000) -> Path:
    """Write independent transitions in which every other step is the last one."""
    rng = np.random.default_rng(0)
    bits, following = rng.integers(0, 2, size), rng.integers(0, 2, size)
    actions = rng.integers(0, 2, size)
    columns = {
        "observations": np.stack([bits, 1 - bits], axis=1).astype(np.float32),
        "next_observations": np.stack([following, 1 - following], axis=1).astype(np.float32),
        "actions": actions,
        "rewards": (actions == bits).astype(np.float32),
        "terminals": np.arange(size) % 2 == 0,
        "timeouts": np.zeros(size, np.bool_),
    }
    spec = BufferSpec("transitions", [*SPEC, ColumnSpec("next_observations", np.float32, (2,))], order="shuffled")
    with rlbuffers.create(path, spec, {"environment": {"id": "Elsewhere-v0"}, "warnings": ["made up"]}) as writer:
        writer.append_transitions(columns)
    return path


def test_transitions_give_the_mean_over_their_states_and_say_so(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    logdir = trained(make_signal_buffer(), tmp_path / "run")
    data = transitions_buffer(tmp_path / "rows.hdf5")
    found = evaluate_off_policy(logdir, data, gamma=GAMMA)
    # Right each time, and over with each other step: 1 / (1 - gamma / 2).
    assert found.value.mean == pytest.approx(1 / (1 - GAMMA / 2), rel=0.05)
    assert (found.at_first_states, found.recorded, found.continued) == (False, None, None)
    told = run(logdir, "--fqe", "--buffer", data, "--updates", 5, "--gamma", GAMMA).output
    assert "mean over 4,000 states drawn from the data, as no whole episodes are known" in " ".join(told.split())
    assert "recorded" not in told.replace("recorded in", "")
    assert "Warning: made up" in told
    assert "Warning: the data come from Elsewhere-v0, the policy from Signal-v0" in told


def test_rows_without_a_next_observation_are_not_bootstrapped_from(
    make_signal_buffer: Callable[..., Path], tmp_path: Path
) -> None:
    logdir = trained(make_signal_buffer(), tmp_path / "run")
    path = tmp_path / "unknown.hdf5"
    with rlbuffers.create(path, BufferSpec("episodes", SPEC)) as writer:
        for _ in range(30):
            columns = {
                "actions": np.zeros(3, np.int64),
                # Were the last rows learned from, all that could not be true: they earn 50.
                "rewards": np.array([1.0, 1.0, 50.0], np.float32),
                "terminals": np.zeros(3, np.bool_),
                "timeouts": np.arange(3) == 2,
            }
            observations = np.tile(np.array([0.0, 1.0], np.float32), (3, 1))
            writer.append_episode(Episode(columns, {"observations": observations}))
    found = evaluate_off_policy(logdir, path, gamma=0.5)
    assert found.value.mean == pytest.approx(2.0, rel=0.05)
    assert found.recorded is not None
    assert found.recorded.mean == 1.0 + 0.5 + 12.5
    assert found.continued is None  # nobody knows where it would have gone on


def test_output_and_json_say_the_same(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    path = make_signal_buffer()
    logdir = trained(path, tmp_path / "run")
    words = (logdir, "--fqe", "--buffer", path, "--updates", 20, "--gamma", 0.9, "--seed", 4, "--eps", 0.1)
    first, second = run(*words, "--json"), run(*words, "--json")
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    values = json.loads(first.stdout)
    assert values["value"]["mean"] != json.loads(run(*words, "--json", "--seed", 5).stdout)["value"]["mean"]
    assert values["settings"]["updates"] == 20
    assert (values["gamma"], values["eps"], values["seed"], values["is_training_data"]) == (0.9, 0.1, 4, True)
    told = "".join(run(*words).output.split())  # long paths are folded
    for part in (
        f"policy bcq after 100 updates, {logdir / 'last.pth'}",
        f"data {path}, 200 transitions, which the policy was trained on; data held out (rlbuffers split) are fairer",
        "regression 20 updates, gamma 0.9, seed 4, 10% random actions",
        f"value {values['value']['mean']:.4g} ± {values['value']['standard_error']:.2g}, where 40 recorded episodes",
        f"recorded {values['recorded']['mean']:.4g} ±",
        f"continued {values['continued']['mean']:.4g} ±",
        f"probability of the data's actions {values['closeness']:.3g}",
        f"mean TD error {values['td_error']:.3g}",
    ):
        assert part.replace(" ", "") in told


def test_values_beyond_all_returns_are_warned_of(
    make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_signal_buffer()
    logdir = trained(path, tmp_path / "run")
    wild = FittedQSettings(updates=30, batch_size=64, hidden_sizes=(32,), lr=3.0, tau=1.0)
    monkeypatch.setattr(FittedQSettings, "recommended", lambda problem: wild)
    found = evaluate_off_policy(logdir, path, gamma=GAMMA)
    assert [warning for warning in found.warnings if "of the values lie far outside of 0 to 10" in warning]
    assert [warning for warning in found.warnings if "in the last fifth of the updates; pass more" in warning]


def test_gamma_is_that_of_the_training(make_signal_buffer: Callable[..., Path], tmp_path: Path) -> None:
    path = make_signal_buffer()
    request = small_request("bcq", path, tmp_path / "bcq", {"epoch": 1, "eval_episodes": 0}, {"gamma": 0.7})
    assert evaluate_off_policy(train_offline(request).logdir, path, updates=1).gamma == 0.7
    assert evaluate_off_policy(trained(path, tmp_path / "il", "il"), path, updates=1).gamma == 0.99


def test_a_large_buffer_is_looked_at_in_parts(
    make_signal_buffer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_signal_buffer()
    logdir = trained(path, tmp_path / "run")
    whole = evaluate_off_policy(logdir, path, updates=20)
    monkeypatch.setattr(judging, "_ROWS_AT_ONCE", 7)
    in_parts = evaluate_off_policy(logdir, path, updates=20)
    assert in_parts.value.mean == pytest.approx(whole.value.mean, rel=1e-5)
    assert in_parts.closeness == pytest.approx(whole.closeness, rel=1e-5)
    monkeypatch.setattr(judging, "_MOST_VECTORS", 9)
    assert evaluate_off_policy(logdir, path, updates=20).value.count == 9


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["run", "--fqe"], 2, "--fqe needs data: name them with --buffer"),
        (["run", "--buffer", "signal.hdf5"], 2, "--buffer has no effect: it is a part of --fqe"),
        (["run", "--updates", "5"], 2, "--updates has no effect: it is a part of --fqe"),
        (["run", "--gamma", "0.5"], 2, "--gamma has no effect: it is a part of --fqe"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--video", "a.gif"], 2, "--video has no effect: with --fqe"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--episodes", "20"], 2, "--episodes has no effect: with --fqe"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--task", "CartPole-v1"], 2, "--task has no effect: with --fqe"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--num-envs", "3"], 2, "--num-envs has no effect: with --fqe"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--updates", "0"], 2, "--updates"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--gamma", "1"], 2, "has no terminals"),
        (["run", "--fqe", "--buffer", "nothing.hdf5"], 1, "nothing.hdf5"),
        (["run", "--fqe", "--buffer", "run/last.pth"], 1, "run/last.pth"),
        (["nothing.pth", "--fqe", "--buffer", "signal.hdf5"], 1, "nothing.pth: there is no such checkpoint"),
        (["run", "--fqe", "--buffer", "cut.hdf5"], 1, "cut.hdf5"),
        (["run", "--fqe", "--buffer", "aim.hdf5"], 2, "is for float32 observations (2,) and 2 actions; "),
        (["run", "--fqe", "--buffer", "five.hdf5"], 2, "five.hdf5 has observations float32 (2,) and actions"),
        (["run", "--fqe", "--buffer", "signal.hdf5", "--device", "abacus"], 2, "abacus"),
        (["run", "--fqe", "--buffer", "memory://bucket/no.zarr"], 1, "memory://bucket/no.zarr"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    words: list[str],
    exit_code: int,
    told: str,
    make_signal_buffer: Callable[..., Path],
    make_aim_buffer: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make_signal_buffer()
    trained(path, tmp_path / "run", update_per_epoch=1)
    make_aim_buffer()
    make_signal_buffer("five.hdf5", num_actions=5)
    (tmp_path / "cut.hdf5").write_bytes(path.read_bytes()[:3000])
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == exit_code, result.output
    assert told in error_of(result)
