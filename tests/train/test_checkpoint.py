from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rlbuffers_train.checkpoint as checkpoint_module
from rlbuffers.errors import BufferNotFoundError, FormatError, RlbuffersError
from rlbuffers_train.algorithms.bcq_discrete import DiscreteBCQ, DiscreteBCQConfig
from rlbuffers_train.batch import make_batch
from rlbuffers_train.checkpoint import Checkpoint, build_algorithm, file_sha256, load_checkpoint, save_checkpoint
from rlbuffers_train.epoch_record import EpochRecord
from rlbuffers_train.offline_settings import OfflineSettings
from rlbuffers_train.playing.episodes import EvaluationResult
from rlbuffers_train.problem import DiscreteActions, ProblemSpec
from rlbuffers_train.settings import json_values

CPU = torch.device("cpu")


@pytest.fixture
def algorithm() -> DiscreteBCQ:
    config = DiscreteBCQConfig(hidden_sizes=(4,))
    made = DiscreteBCQ(ProblemSpec((2,), "float32", DiscreteActions(3)), config, np.random.default_rng(0), CPU)
    rng = np.random.default_rng(0)
    columns = {
        "observations": rng.normal(size=(4, 2)).astype(np.float32),
        "next_observations": rng.normal(size=(4, 2)).astype(np.float32),
        "actions": rng.integers(0, 3, 4),
        "rewards": rng.normal(size=4),
        "terminals": np.zeros(4, bool),
    }
    made.update(make_batch(columns, 0.9, CPU))
    return made


@pytest.fixture
def checkpoint(algorithm: DiscreteBCQ) -> Checkpoint:
    return Checkpoint(
        algorithm="bcq",
        task="Some-v0",
        problem=algorithm.problem,
        config=json.loads(json.dumps(algorithm.config.to_json())),
        settings=json_values(OfflineSettings(buffer="x.hdf5", seed=3)),
        buffer_fingerprint="abc",
        step=7,
        history=[EpochRecord(1, 7, {"loss": 0.5}, EvaluationResult(1.0, 0.0, 3, 5.0), False, 2.0)],
        streams={"policy": np.random.default_rng(5).bit_generator.state},
        algorithm_state=algorithm.state_dict(),
        torch_random_state=torch.get_rng_state(),
    )


def test_what_is_saved_is_loaded(checkpoint: Checkpoint, algorithm: DiscreteBCQ, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "last.pth"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path, CPU)
    for name in (
        "algorithm",
        "task",
        "problem",
        "config",
        "settings",
        "buffer_fingerprint",
        "step",
        "history",
        "streams",
    ):
        assert getattr(loaded, name) == getattr(checkpoint, name)
    assert torch.equal(loaded.torch_random_state, checkpoint.torch_random_state)
    built = build_algorithm(loaded, np.random.default_rng(0), CPU)
    assert built.num_updates == 1
    observations = np.ones((2, 2), np.float32)
    np.testing.assert_array_equal(built.score_actions(observations), algorithm.score_actions(observations))
    assert [entry["step"] for entry in built.state_dict()["optimizer"]["state"].values()] == [1] * 8


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BufferNotFoundError, match="there is no such checkpoint"):
        load_checkpoint(tmp_path / "no.pth", CPU)


def test_every_damaged_byte_is_noticed_or_harmless(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, checkpoint)
    content = path.read_bytes()
    expected = checkpoint.algorithm_state["network"]
    messages = []
    directory = zipfile.ZipFile(path).start_dir  # few bytes, each with a meaning of its own
    for position in [*range(0, directory, 97), *range(directory, len(content))]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            found = load_checkpoint(path, CPU).algorithm_state["network"]
        except RlbuffersError as error:
            messages.append(str(error))
        else:
            assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert len(messages) > 50
    assert not [message for message in messages if "\n" in message]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(checkpoint: Checkpoint, tmp_path: Path, share: float) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, checkpoint)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError, match="damaged"):
        load_checkpoint(path, CPU)


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint was run')",)


def test_foreign_files_are_refused_and_run_no_code(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pth"
    torch.save({"state_dict": torch.zeros(2)}, path)
    with pytest.raises(FormatError, match="not a checkpoint of rlbuffers"):
        load_checkpoint(path, CPU)
    torch.save(Exploit(), path)
    with pytest.raises(FormatError, match="not a checkpoint of rlbuffers"):
        load_checkpoint(path, CPU)
    path.write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(FormatError, match="not a checkpoint"):
        load_checkpoint(path, CPU)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    with pytest.raises(FormatError, match="compressed"):
        load_checkpoint(path, CPU)


def test_another_version_is_refused(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pth"
    monkeypatch.setattr(checkpoint_module, "_VERSION", 99)
    save_checkpoint(path, checkpoint)
    monkeypatch.undo()
    with pytest.raises(FormatError, match="version 99, this release reads 2; upgrade rlbuffers"):
        load_checkpoint(path, CPU)


def test_weights_of_other_shapes_are_refused(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, problem=ProblemSpec((2,), "float32", DiscreteActions(5)))
    with pytest.raises(FormatError, match="do not fit"):
        build_algorithm(other, np.random.default_rng(0), CPU)


def test_a_failed_write_leaves_the_old_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pth"
    save_checkpoint(path, checkpoint)
    before = file_sha256(path)

    def fail(content: object, stream: io.BytesIO) -> None:
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, replace(checkpoint, step=8))
    assert file_sha256(path) == before
    assert [child.name for child in tmp_path.iterdir()] == ["last.pth"]
