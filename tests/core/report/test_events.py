"""Event files are read as TensorBoard reads them."""

import struct

import numpy as np
import pytest

from rlbuffers.errors import BufferNotFoundError, FormatError
from rlbuffers.report.events import read_scalars
from rlbuffers.report.runs import describe_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def written(folder, *parts):
    """Write scalars with torch's writer: (purge step, [(tag, step, value), ...]) for each file."""
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    for number, (purge, scalars) in enumerate(parts):
        writer = tensorboard.SummaryWriter(str(folder), purge_step=purge, filename_suffix=f".{number}")
        for tag, step, value in scalars:
            writer.add_scalar(tag, value, step)
        writer.close()
    return folder


def by_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def test_scalars_equal_tensorboards(tmp_path):
    rng = np.random.default_rng(0)
    scalars = [(tag, step, float(rng.normal())) for step in range(0, 400, 7) for tag in ("loss", "return/mean")]
    folder = written(tmp_path, (1, scalars), (250, [("loss", step, float(step)) for step in range(250, 300, 10)]))
    found, complaints = read_scalars(folder)
    assert complaints == []
    assert found == by_tensorboard(folder)
    assert max(step for step, _ in found["return/mean"]) < 250  # what the resumed run took back


def test_a_file_that_is_being_written_gives_what_is_whole(tmp_path):
    folder = written(tmp_path, (None, [("loss", step, 1.0) for step in range(5)]))
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    found, complaints = read_scalars(folder)
    assert found == {"loss": [(step, 1.0) for step in range(4)]}
    assert len(complaints) == 1
    assert "cut short" in complaints[0]


def test_damage_is_told(tmp_path):
    folder = written(tmp_path, (None, [("loss", step, 1.0) for step in range(5)]))
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(bytes(content))
    assert "CRC-32C" in read_scalars(folder)[1][0]


def test_a_run_says_whether_it_is_of_this_buffer(tmp_path):
    folder = written(tmp_path / "bcq", (None, [("return/mean", step, float(step)) for step in range(2000)]))
    assert describe_run(folder, "abc")["data"] == "does not say on which data it was trained"
    (folder / "config.json").write_text('{"algorithm": "bcq", "buffer_fingerprint": "abc"}')
    (folder / "summary.json").write_text('{"best": {"mean": 1.0, "std": 0.5, "num_episodes": 4}}')
    run = describe_run(folder, "abc")
    assert (run["label"], run["data"], run["best"]["num_episodes"]) == ("bcq", "trained on this buffer", 4)
    assert describe_run(folder, "abd")["data"] == "trained on OTHER data (abc)"
    curve = run["curves"]["return/mean"]
    assert len(curve["x"]) == 500
    assert curve["x"][-1] == 1999
    assert curve["y"] == curve["x"]


def test_wrong_folders(tmp_path):
    with pytest.raises(BufferNotFoundError, match="there is no such folder"):
        describe_run(tmp_path / "nothing", "")
    with pytest.raises(FormatError, match=r"found no events\.out\.tfevents\*"):
        describe_run(tmp_path, "")
    (tmp_path / "events.out.tfevents.0").write_bytes(struct.pack("<Q", 3))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config\.json: expected JSON"):
        describe_run(tmp_path, "")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FormatError, match="expected a JSON object, got list"):
        describe_run(tmp_path, "")
