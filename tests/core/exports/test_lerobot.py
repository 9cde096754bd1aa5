"""What `export --to lerobot` writes, as pyarrow reads it; LeRobot itself reads it in tests/peers."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from lerobot_files import TASKS
from reference import Recipe, make, write
from truth import DATA
from varied import all_cases, varied_buffers, write_varied

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.decoding.images import decode_images
from rlbuffers.errors import CorruptDataError, UnsupportedError
from rlbuffers.exports.export import export
from rlbuffers.sources.lerobot.dataset import LeRobotSource

ADDED = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def exported(path, new_path):
    output = new_path("hdf5").with_suffix("")
    with rlbuffers.open(path, cache=0) as buffer:
        return export(buffer, output, "lerobot"), output


def rows_of(output):
    tables = [pq.read_table(path) for path in sorted((output / "data").glob("*/*.parquet"))]
    return pa.concat_tables(tables)


def documents(output):
    info = json.loads((output / "meta" / "info.json").read_text())
    stats = json.loads((output / "meta" / "stats.json").read_text())
    episodes = pq.read_table(output / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    return info, stats, episodes


def assert_written(path, episodes, stack, new_path):
    report, output = exported(path, new_path)
    assert report.written == report.read
    table = rows_of(output)
    info, stats, said = documents(output)
    lengths = [len(episode["rewards"]) for episode in episodes]
    count = sum(lengths)
    assert table.schema.names == list(info["features"])
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", len(episodes), count)
    np.testing.assert_array_equal(table.column("index"), np.arange(count))
    np.testing.assert_array_equal(table.column("episode_index"), np.repeat(np.arange(len(episodes)), lengths))
    np.testing.assert_array_equal(table.column("frame_index"), np.concatenate([np.arange(n) for n in lengths]))
    for feature, column in (
        ("action", "actions"),
        ("next.reward", "rewards"),
        ("next.terminated", "terminals"),
        ("next.truncated", "timeouts"),
        ("x", "infos/x"),
    ):
        expected = np.concatenate([episode[column] for episode in episodes])
        np.testing.assert_array_equal(np.array(table.column(feature).to_pylist()), expected)
        measured = stats[feature]
        values = expected.reshape(count, -1).astype(np.float64)
        np.testing.assert_allclose(measured["mean"], values.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(measured["std"], values.std(axis=0), atol=1e-12)
        np.testing.assert_array_equal(measured["min"], values.min(axis=0))
        np.testing.assert_array_equal(measured["max"], values.max(axis=0))
        assert measured["count"] == [count]
    for name in (name for name in episodes[0] if name.startswith("observations")):
        feature = "observation" + name.removeprefix("observations").replace("/", ".")
        feature = "observation.state" if feature == "observation" else feature
        shown = [episode[name][: len(episode["rewards"])] for episode in episodes]
        expected = np.concatenate([rows[:, -1, ..., None] for rows in shown] if stack else shown)
        np.testing.assert_array_equal(np.array(table.column(feature).to_pylist(), expected.dtype), expected)
        assert info["features"][feature]["shape"] == list(expected.shape[1:])
    stops = np.cumsum(lengths)
    for number, own in enumerate(said):
        assert (own["episode_index"], own["length"], own["tasks"]) == (number, lengths[number], ["Maze-v0"])
        assert (own["dataset_from_index"], own["dataset_to_index"]) == (stops[number] - lengths[number], stops[number])
        assert (own["data/chunk_index"], own["data/file_index"], own["seeds"]) == (0, 0, number * 7)
        assert own["stats/next.reward/mean"] == pytest.approx([episodes[number]["rewards"].astype(float).mean()])
    return report


@pytest.mark.parametrize("more", [{}, {"stack": 3}, {"nested": True}])
def test_every_way_of_ending(tmp_path, new_path, more):
    episodes = write_varied(tmp_path / "x.hdf5", all_cases(**more))
    report = assert_written(tmp_path / "x.hdf5", episodes, more.get("stack"), new_path)
    left_out = " ".join(report.left_out)
    assert "what was observed after the last action, where it is known: of 4 episodes" in left_out
    assert "what each episode has once: goals" in left_out
    assert "of the whole buffer: weights, a" in left_out
    assert ("the stacking" in left_out) == bool(more.get("stack"))


@given(varied=varied_buffers())
def test_any_buffer(new_path, varied):
    episodes = write_varied(path := new_path("memory"), varied)
    assert_written(path, episodes, varied.stack, new_path)


def test_episodes_longer_than_a_block_and_many_files(tmp_path, new_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.exports.lerobot.dataset.block_rows", lambda buffer: 4)
    monkeypatch.setattr("rlbuffers.exports.lerobot.dataset._FILE_MEGABYTES", 0)
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (9, 4, 1))))
    _, output = exported(tmp_path / "x.hdf5", new_path)
    assert len(list((output / "data").glob("*/*.parquet"))) == 3
    _, _, said = documents(output)
    assert [own["data/file_index"] for own in said] == [0, 1, 2]
    rlbuffers.convert(LeRobotSource(output), again := new_path("memory"))
    with rlbuffers.open(tmp_path / "x.hdf5") as first, rlbuffers.open(again) as second:
        np.testing.assert_array_equal(first[:]["observations"], second[:]["observations/state"])


def test_images_and_arrays(tmp_path, new_path):
    rng = np.random.default_rng(0)
    shapes = {"rgb": (32, 40, 3), "gray": (33, 32, 1), "small": (4, 4, 3), "flat": (33, 32), "deep": (2, 1, 2, 1)}
    columns = [ColumnSpec(f"observations/{name}", np.uint8, shape) for name, shape in shapes.items()]
    plain = [ColumnSpec("actions", np.float64, (1,)), ColumnSpec("rewards", np.float64)]
    observed = {f"observations/{name}": rng.integers(0, 256, (3, *shape), np.uint8) for name, shape in shapes.items()}
    with rlbuffers.create(tmp_path / "x.hdf5", BufferSpec("episodes", [*columns, *plain])) as writer:
        writer.append_episode(Episode({"actions": rng.normal(size=(3, 1)), "rewards": np.zeros(3)}, observed))
    report, output = exported(tmp_path / "x.hdf5", new_path)
    assert "that rows of actions are vectors of one: numbers are stored" in report.left_out
    table = rows_of(output)
    info, stats, _ = documents(output)
    for name in ("rgb", "gray"):
        files = [row["bytes"] for row in table.column(f"observation.{name}").to_pylist()]
        rows = observed[f"observations/{name}"]
        np.testing.assert_array_equal(decode_images(files, shapes[name], "", extra="lerobot"), rows)
        assert info["features"][f"observation.{name}"]["dtype"] == "image"
        mean = rows.reshape(-1, rows.shape[-1]).mean(axis=0).reshape(-1, 1, 1) / 255
        np.testing.assert_allclose(stats[f"observation.{name}"]["mean"], mean)
    rlbuffers.convert(LeRobotSource(output), again := new_path("memory"))
    with rlbuffers.open(again) as buffer:
        for name, rows in observed.items():
            np.testing.assert_array_equal(buffer[:][name], rows)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_lerobot_dataset_comes_back(new_path, version):
    rlbuffers.convert(LeRobotSource(DATA / "lerobot" / version), path := new_path("memory"))
    report, output = exported(path, new_path)
    assert report.left_out == []
    before, after = rows_of(DATA / "lerobot" / version), rows_of(output)
    for name in before.schema.names:
        if name == "observation.images.top":
            continue
        assert after.column(name).to_pylist() == before.column(name).to_pylist()
    tasks = pq.read_table(output / "meta" / "tasks.parquet")
    assert tasks.column("task").to_pylist() == list(TASKS)
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    info, _, said = documents(output)
    assert (info["fps"], info["robot_type"]) == (10, "so100")
    assert [own["tasks"] for own in said] == [[TASKS[0]], [TASKS[1]], [TASKS[0]]]
    rlbuffers.convert(LeRobotSource(output), again := new_path("memory"))
    with rlbuffers.open(path) as first, rlbuffers.open(again) as second:
        assert first.fingerprint == second.fingerprint


def test_what_rlbuffers_adds_is_no_column(tmp_path, new_path):
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4))))
    _, output = exported(tmp_path / "x.hdf5", new_path)
    rlbuffers.convert(LeRobotSource(output), again := new_path("memory"))
    with rlbuffers.open(tmp_path / "x.hdf5") as first, rlbuffers.open(again) as second:
        assert set(second.spec.columns) == {*first.spec.columns, "observations/state"} - {"observations"}


def test_names_that_are_taken(tmp_path, new_path):
    extra = (("infos/action", "float32", ()), ("infos/index", "int64", ()), ("policy/mean", "float32", (2,)))
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4), extra=extra)))
    report, output = exported(tmp_path / "x.hdf5", new_path)
    assert "columns whose names mean something else there: infos/action, infos/index" in report.left_out
    assert "that columns are not infos: policy/mean" in report.left_out
    assert np.array(rows_of(output).column("policy.mean").to_pylist()).shape == (7, 2)


def test_what_cannot_be_held(tmp_path, new_path):
    write(tmp_path / "x.hdf5", make(Recipe("transitions", (3, 4))))
    with pytest.raises(UnsupportedError, match="LeRobot holds episodes; this buffer holds independent transitions"):
        exported(tmp_path / "x.hdf5", new_path)
    write(tmp_path / "y.hdf5", make(Recipe("episodes", (3,), extra=(("infos/x", "uint8", (1, 2, 1, 2, 1, 2)),))))
    with pytest.raises(UnsupportedError, match="LeRobot stores at most 5 axes"):
        exported(tmp_path / "y.hdf5", new_path)


def test_a_loss_is_found(tmp_path, new_path, monkeypatch):
    def zeros(self, rows):
        return pa.array(np.zeros_like(rows)) if self.name == "next.reward" else original(self, rows)

    from rlbuffers.exports.lerobot.features import Feature

    original = Feature.arrow_rows
    monkeypatch.setattr(Feature, "arrow_rows", zeros)
    write(tmp_path / "x.hdf5", make(Recipe("episodes", (3, 4))))
    with pytest.raises(CorruptDataError, match="rewards sum to"):
        exported(tmp_path / "x.hdf5", new_path)
