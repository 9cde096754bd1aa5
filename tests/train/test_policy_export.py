"""Exported policies act as the checkpoint's, without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result

from rlbuffers_cli.main import cli
from rlbuffers_train import policy_export
from rlbuffers_train.algorithms import ALGORITHMS, AlgorithmEntry, load_algorithm
from rlbuffers_train.checkpoint import Checkpoint, save_checkpoint
from rlbuffers_train.loaded_policy import load_policy
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.policy_export import export_policy
from rlbuffers_train.problem import BoxActions, DiscreteActions, ObservationStatistics, ProblemSpec

STATISTICS = ObservationStatistics((100.0, -2.0, 0.5), (0.01, 3.0, 1.0))
ACTIONS = {"discrete": DiscreteActions(4), "box": BoxActions((-2.0, 0.0), (2.0, 10.0))}
SMALL = {"hidden_sizes": (8, 6), "vae_hidden_sizes": (8, 6), "norm_obs": True}


def write_checkpoint(path: Path, entry: AlgorithmEntry, problem: ProblemSpec | None = None, **changes: Any) -> Path:
    """Write an algorithm as it begins, with random weights."""
    problem = problem or ProblemSpec((3,), "float32", ACTIONS[entry.actions], STATISTICS)
    algorithm_class = load_algorithm(entry.name, entry.actions)
    known = {one.name for one in fields(algorithm_class.config_class)}
    values = {name: value for name, value in {**SMALL, **changes}.items() if name in known}
    config = algorithm_class.config_class(**{**algorithm_class.recommended(problem).to_json(), **values})
    torch.manual_seed(3)
    algorithm = algorithm_class(problem, config, np.random.default_rng(0), torch.device("cpu"))
    with torch.no_grad():
        for part in vars(algorithm).values():
            for parameter in part.parameters() if isinstance(part, torch.nn.Module) else ():
                parameter.mul_(4.0)  # so that actions depend on the observation
    checkpoint = Checkpoint(
        algorithm=entry.name,
        task="Some-v0",
        problem=problem,
        config=config.to_json(),
        settings=OfflineSettings(buffer="x.hdf5").to_json(),
        buffer_fingerprint="f" * 64,
        step=12,
        history=[],
        streams={},
        algorithm_state=algorithm.state_dict(),
        torch_random_state=torch.get_rng_state(),
    )
    save_checkpoint(path, checkpoint)
    return path


def observed(count: int = 50) -> np.ndarray:
    return np.random.default_rng(1).normal(STATISTICS.mean, STATISTICS.std, (count, 3)).astype(np.float32)


def acted(checkpoint: Path, observations: np.ndarray) -> np.ndarray:
    return load_policy(checkpoint, eps=0.0, generator=np.random.default_rng(0)).act(observations)


def entry_of(name: str, actions: str) -> AlgorithmEntry:
    return next(entry for entry in ALGORITHMS if (entry.name, entry.actions) == (name, actions))


@pytest.mark.parametrize("entry", ALGORITHMS, ids=lambda entry: f"{entry.name}-{entry.actions}")
def test_every_policy_that_is_a_function_is_exported(entry: AlgorithmEntry, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pth", entry)
    if (entry.name, entry.actions) == ("bcq", "box"):
        result = run(checkpoint, "-o", tmp_path / "policy.pt2")
        assert result.exit_code == 1
        assert "draws its actions at random, so it is no function of the observation" in result.output
        return
    exported = export_policy(checkpoint, tmp_path / "policy.pt2")
    assert exported.is_checked
    program = torch.export.load(exported.path).module()
    for count in (1, 50):
        found = program(torch.from_numpy(observed(count))).numpy()
        np.testing.assert_allclose(found, acted(checkpoint, observed(count)), rtol=1e-4, atol=1e-5)
        assert found.dtype == (np.int64 if entry.actions == "discrete" else np.float32)
    assert len(np.unique(found.round(3), axis=0)) > 1


@pytest.mark.parametrize(("name", "actions"), [("td3-bc", "box"), ("cql", "box"), ("cql", "discrete")])
def test_onnx_acts_as_the_checkpoint(name: str, actions: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pth", entry_of(name, actions))
    result = run(checkpoint, "-o", tmp_path / "policy.onnx")
    assert result.exit_code == 0, result.output
    told = f"{name} of Some-v0 after 12 updates, from {checkpoint}; same actions as the checkpoint"
    assert result.output == f"{tmp_path}/policy.onnx: {told}\n"
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    for count in (1, 50):
        (found,) = session.run(["actions"], {"observations": observed(count)})
        np.testing.assert_allclose(found, acted(checkpoint, observed(count)), rtol=1e-4, atol=1e-5)
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "policy.onnx").metadata_props}
    assert (facts["algorithm"], facts["task"], facts["format"]) == (name, "Some-v0", "rlbuffers-policy")
    assert json.loads(facts["observations"]) == {"shape": [3], "dtype": "float32"}


def test_images_stay_bytes(tmp_path: Path) -> None:
    problem = ProblemSpec((4, 84, 84), "uint8", DiscreteActions(4))
    checkpoint = write_checkpoint(
        tmp_path / "best.pth", entry_of("qrdqn", "discrete"), problem, norm_obs=False, hidden_sizes=(16,)
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 84, 84), np.uint8)
    for name in ("policy.pt2", "policy.onnx"):
        exported = export_policy(checkpoint, tmp_path / name)
        assert exported.facts["observations"] == {"shape": [4, 84, 84], "dtype": "uint8"}
    found = torch.export.load(tmp_path / "policy.pt2").module()(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    np.testing.assert_array_equal(found, acted(checkpoint, images))
    np.testing.assert_array_equal(session.run(None, {"observations": images})[0], found)


def test_the_file_needs_torch_alone_and_holds_no_critics(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pth", entry_of("td3-bc", "box"), hidden_sizes=(256, 256))
    export_policy(checkpoint, tmp_path / "policy.pt2")
    assert (tmp_path / "policy.pt2").stat().st_size < 1.5 * 4 * (3 * 256 + 256 * 256 + 256 * 2)
    np.save(tmp_path / "observations.npy", observed())
    code = (
        "import sys, json, numpy, torch\n"
        "facts = {'policy.json': ''}\n"
        "program = torch.export.load('policy.pt2', extra_files=facts).module()\n"
        "with torch.no_grad():\n"
        "    numpy.save('actions.npy', program(torch.from_numpy(numpy.load('observations.npy'))).numpy())\n"
        "assert not [name for name in sys.modules if name.startswith('rlbuffers')]\n"
        "print(json.loads(facts['policy.json'])['algorithm'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "td3-bc\n"
    # Wide layers are multiplied by other functions here than in the file: sums are rounded otherwise.
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), acted(checkpoint, observed()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["policy.pt2", "policy.onnx"])
def test_wide_layers_run_everywhere(name: str, tmp_path: Path) -> None:
    # Layers of this size are not multiplied by torch's own function where there is a faster one.
    checkpoint = write_checkpoint(tmp_path / "best.pth", entry_of("td3-bc", "box"), hidden_sizes=(750, 750))
    exported = export_policy(checkpoint, tmp_path / name)
    assert exported.is_checked
    assert b"mkldnn" not in exported.path.read_bytes()


def run(*words: str | Path) -> Result:
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(cli, ["export-policy", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["no.pth", "-o", "a.pt2"], 1, "no.pth: there is no such checkpoint"),
        (["best.pth", "-o", "a.pt"], 2, "exported as .pt2 (torch.export) or .onnx; TorchScript is deprecated, .pt2 is"),
        (["best.pth", "-o", "a.tflite"], 2, "a.tflite: policies are exported as .pt2 (torch.export) or .onnx"),
        (["best.pth", "-o", "best.pt2"], 1, "best.pt2: exists already; pass --overwrite"),
        (["best.pth"], 2, "--output"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    words: list[str], exit_code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "best.pth", entry_of("il", "box"))
    (tmp_path / "best.pt2").write_bytes(b"")
    result = run(*words)
    assert result.exit_code == exit_code
    assert told in result.output


def test_without_the_exporter_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pth", entry_of("il", "box"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = run(checkpoint, "-o", tmp_path / "policy.onnx")
    assert result.exit_code == 1
    assert "Exporting to ONNX needs onnxscript. Install it with: pip install 'rlbuffers[onnx]'" in result.output


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path / "last.pth", ALGORITHMS[0])
    monkeypatch.setattr(policy_export, "_trace", lambda *arguments: pytest.fail("it was traced"))
    result = run(path, "-o", "/proc/policy.pt2")
    assert (result.exit_code, result.output) == (1, "Error: /proc/policy.pt2: No such file or directory\n")
