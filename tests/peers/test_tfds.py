"""TensorFlow Datasets reads our exports, and we read what it writes: compared value by value."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from reference import Recipe, make, write
from truth import DATA

import rlbuffers
from rlbuffers.errors import DownloadError, UnsupportedError, UsageError
from rlbuffers.exports.export import export
from rlbuffers.schema import EPISODE_FINAL_KNOWN, TERMINALS, BufferSpec, ColumnSpec
from rlbuffers.sources.tfds.directory import prepared_dir
from rlbuffers.sources.tfds.endings import position_of_last_key
from rlbuffers.sources.tfds.rlds import RLDSSource

tf.config.set_visible_devices([], "GPU")
FIXTURES = {
    "mini_rlds/vectors/1.0.0": True,
    "mini_rlds/pixels/1.0.0": True,
    "d4rl_mujoco_hopper/v0-medium/1.2.0": False,
    "d4rl_mujoco_hopper/v1-medium-replay/1.2.0": False,
}


def flattened(tree, prefix=""):
    """Return the leaves of nested dicts by their paths."""
    found = {}
    for key, value in tree.items():
        found |= flattened(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def tfds_episodes(directory, split="train"):
    """Return what TFDS reads: the facts of each episode, and its steps stacked."""
    dataset = tfds.builder_from_directory(directory).as_dataset(split=split, shuffle_files=False)
    found = []
    for episode in dataset:
        steps = [flattened(step) for step in tfds.as_numpy(episode.pop("steps"))]
        names = [name for name in steps[0] if name != "objects"]  # as many as there are, in each step
        found.append(
            (flattened(tfds.as_numpy(episode)), {key: np.stack([step[key] for step in steps]) for key in names})
        )
    return found


def converted(directory, tmp_path, **options):
    path = tmp_path / "converted.hdf5"
    rlbuffers.convert(RLDSSource(directory, **options), path, overwrite=True)
    return rlbuffers.open(path)


def feature_of(column):
    """Name of a column in RLDS."""
    first, _, rest = column.partition("/")
    name = {"observations": "observation", "actions": "action", "rewards": "reward", "discounts": "discount"}
    return "/".join([name.get(first, first), *([rest] if rest else [])])


def assert_same_steps(buffer, episodes, *, dtypes=True):
    assert buffer.num_episodes == len(episodes)
    for number, (_, steps) in enumerate(episodes):
        episode = buffer.episode(number)
        count = len(episode["rewards"])
        for column, rows in episode.items():
            if column in ("terminals", "timeouts") and column not in steps:
                continue
            found = steps[feature_of(column)][: len(rows)].reshape(rows.shape)
            np.testing.assert_array_equal(found, rows, err_msg=column)
            assert found.dtype == rows.dtype or not dtypes, column
        assert steps["is_first"].tolist() == [True] + [False] * (len(steps["is_first"]) - 1)
        assert steps["is_last"].tolist() == [False] * (len(steps["is_last"]) - 1) + [True]
        assert len(steps["is_last"]) in (count, count + 1)
        assert steps["is_terminal"][-1] == episode["terminals"][-1]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_we_read_what_tfds_reads(fixture, tmp_path):
    directory = DATA / "tfds" / fixture
    with converted(directory, tmp_path) as buffer:
        assert_same_steps(buffer, tfds_episodes(directory), dtypes=FIXTURES[fixture])


@pytest.mark.parametrize("fixture", FIXTURES)
def test_tfds_reads_the_same_from_a_fixture_that_went_through_a_buffer(fixture, tmp_path):
    directory, output = DATA / "tfds" / fixture, tmp_path / "out"
    with converted(directory, tmp_path) as buffer:
        export(buffer, output, "rlds")
        known = (
            buffer.arrays[EPISODE_FINAL_KNOWN].all()
            | buffer.rows(
                buffer.arrays["episodes/starts"].all() + buffer.arrays["episodes/lengths"].all() - 1, [TERMINALS]
            )[TERMINALS]
        )
    before, after = tfds_episodes(directory), tfds_episodes(output)
    for number, ((_, first), (_, second)) in enumerate(zip(before, after, strict=True)):
        rows = len(second["reward"])
        assert len(first["reward"]) - rows == int(not known[number] and "v1" in fixture)
        kept = rows - int("v1" in fixture)  # its last observations are those of another episode
        for name, values in first.items():
            np.testing.assert_array_equal(second[name][:kept], values[:kept], err_msg=name)
    assert tfds.builder_from_directory(output).info.splits["train"].num_examples == len(after)


ENDS = ("terminal", "timeout", "both", "neither", "terminal", "timeout", "unknown terminal", "unknown timeout")
LENGTHS = (3, 1, 2, 4, 1, 300, 2, 3)


def every_ending(path, observations, actions, rewards="float32", extra=()):
    """Write a buffer with each kind of end."""
    rng = np.random.default_rng(3)
    made = make(
        Recipe("episodes", LENGTHS, observations=observations, extra=(*extra, ("act", *actions), ("rew", rewards, ())))
    )
    columns = [column for name, column in made.spec.columns.items() if name not in ("actions", "rewards", "act", "rew")]
    columns += [
        ColumnSpec(name, made.spec.columns[old].dtype, made.spec.columns[old].shape)
        for name, old in (("actions", "act"), ("rewards", "rew"))
    ]
    facts = [ColumnSpec("seed", np.int64), ColumnSpec("weights/float", np.float64, (2,))]
    with rlbuffers.create(path, BufferSpec("episodes", columns, episode_columns=facts)) as writer:
        for number, (episode, kind) in enumerate(zip(made.pieces, ENDS, strict=True)):
            rows = dict(episode.columns)
            rows["actions"], rows["rewards"] = rows.pop("act"), rows.pop("rew")
            ends = np.arange(len(episode)) == len(episode) - 1
            rows["terminals"] = ends & (kind.endswith("terminal") or kind == "both")
            rows["timeouts"] = ends & (kind.endswith("timeout") or kind == "both")
            known = len(episode) + ("unknown" not in kind)
            observed = {name: values[:known] for name, values in episode.observations.items()}
            facts_here = {"seed": number - 3, "weights/float": rng.normal(size=2)}
            writer.append_episode(rlbuffers.Episode(rows, observed, facts_here, kind != "neither"))
    return path


BUFFERS = {
    "vectors": ((("observations", "float32", (3,)),), ("float32", (2,))),
    "precise": ((("observations", "float64", (3,)),), ("float64", (2,)), "float64"),
    "nested": ((("observations/position", "float64", (3,)), ("observations/touch/left", "bool", (2,))), ("int64", ())),
    "images": (
        (("observations/camera", "uint8", (5, 4, 3)), ("observations/depth", "uint8", (6, 7, 1))),
        ("int32", ()),
    ),
    "alpha": ((("observations", "uint8", (5, 4, 4)),), ("uint8", ())),
    "plain matrix": ((("observations", "uint8", (17, 16)),), ("uint8", ())),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_tfds_opens_every_kind_of_buffer(kind, tmp_path):
    path = every_ending(tmp_path / "my-data.v2.hdf5", *BUFFERS[kind])
    with rlbuffers.open(path) as buffer:
        report = export(buffer, tmp_path / "any name", "rlds")
        episodes = tfds_episodes(tmp_path / "any name")
        assert_same_steps(buffer, episodes)
        for number, (facts, steps) in enumerate(episodes):
            assert facts["seed"] == number - 3
            np.testing.assert_array_equal(facts["weights/float"], buffer.arrays["episodes/weights/float"].all()[number])
            assert facts["final_known"] == ("unknown" not in ENDS[number])
            assert facts["whole"] == (ENDS[number] != "neither")
            real_last_row = ENDS[number] == "unknown timeout"
            assert len(steps["reward"]) == LENGTHS[number] + (not real_last_row)
            if not real_last_row:
                assert not steps["reward"][-1]
                assert not steps["action"][-1].any()
            discount = [1.0] * (LENGTHS[number] - 1) + [float(not steps["is_terminal"][-1])]
            assert steps["discount"][: LENGTHS[number]].tolist() == discount
    assert (report.read, report.left_out != []) == (report.written, True)
    info = tfds.builder_from_directory(tmp_path / "any name").info
    assert (info.name, str(info.version)) == ("my_data_v2", "1.0.0")


def test_tfds_reads_every_dtype(tmp_path):
    names = (
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
    )
    shapes = {"scalar": (), "row": (3,), "long": (20, 13)}
    extra = tuple((f"x/{shape}/{name}", name, shapes[shape]) for name in names for shape in shapes)
    path = every_ending(tmp_path / "x.hdf5", *BUFFERS["vectors"], extra=extra)
    with rlbuffers.open(path) as buffer:
        export(buffer, tmp_path / "out", "rlds")
        assert_same_steps(buffer, tfds_episodes(tmp_path / "out"))
    with converted(tmp_path / "out", tmp_path) as again, rlbuffers.open(path) as buffer:
        for name, column in buffer.spec.columns.items():
            assert again.spec.columns[name].dtype == column.dtype
            np.testing.assert_array_equal(again.arrays[name].all(), buffer.arrays[name].all(), err_msg=name)


def test_tfds_reads_the_newest_frames_of_stacks(tmp_path):
    made = make(Recipe("episodes", (1, 5, 30), stack=4, size=(9, 7)))
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        report = export(buffer, tmp_path / "out", "rlds")
        for number, (_, steps) in enumerate(tfds_episodes(tmp_path / "out")):
            np.testing.assert_array_equal(steps["observation"][..., 0], buffer.episode(number)["observations"][:, -1])
    assert any("stacks of 4" in text for text in report.left_out)


def test_tfds_reads_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("rlbuffers.exports.rlds.shards.SHARD_BYTES", 2_000)
    with rlbuffers.open(every_ending(tmp_path / "x.hdf5", *BUFFERS["vectors"])) as buffer:
        export(buffer, tmp_path / "out", "rlds")
        assert_same_steps(buffer, tfds_episodes(tmp_path / "out"))
    assert len(tfds.builder_from_directory(tmp_path / "out").info.splits["train"].shard_lengths) > 1


class SomeRlds(tfds.core.GeneratorBasedBuilder):
    """Episodes with features of many kinds; the length of an episode tells its key."""

    VERSION = tfds.core.Version("2.1.0")
    COUNT = 23

    def _info(self):
        step = {
            "observation": {
                "rgb": tfds.features.Image(),
                "jpeg": tfds.features.Image(shape=(8, 8, 3), encoding_format="jpeg"),
                "packed": tfds.features.Tensor(shape=(2, 2), dtype=np.float64, encoding="zlib"),
                "raw": tfds.features.Tensor(shape=(), dtype=np.int16, encoding="bytes"),
                "label": tfds.features.ClassLabel(num_classes=5),
            },
            "action": {"move": tfds.features.Tensor(shape=(2,), dtype=np.float32), "stop": np.bool_},
            "reward": np.float64,
            "is_first": np.bool_,
            "is_last": np.bool_,
            "is_terminal": np.bool_,
            "instruction": tfds.features.Text(),
            "objects": tfds.features.Sequence(np.float32),
        }
        features = {
            "steps": tfds.features.Dataset(step),
            "seed": np.int32,
            "robot": tfds.features.Text(),
            "file": tf.string,
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(self.COUNT), "val": self._generate_examples(2)}

    def _generate_examples(self, count):
        rng = np.random.default_rng(0)
        for key in range(count):
            rows = key + 2
            steps = [
                {
                    "observation": {
                        "rgb": rng.integers(0, 255, (6, 5, 3), np.uint8),
                        "jpeg": np.full((8, 8, 3), 7 * row % 255, np.uint8),
                        "packed": rng.normal(size=(2, 2)),
                        "raw": np.int16(row - 5),
                        "label": row % 5,
                    },
                    "action": {"move": rng.normal(size=2).astype(np.float32), "stop": row == 0},
                    "reward": row * 0.5 if row < rows - 1 else 0.0,
                    "is_first": row == 0,
                    "is_last": row == rows - 1,
                    "is_terminal": row == rows - 1 and key % 2 == 0,
                    "instruction": "go",
                    "objects": [1.0] * row,
                }
                for row in range(rows)
            ]
            yield key, {"steps": steps, "seed": key, "robot": "r2", "file": f"{key}.npz"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A dataset that TFDS prepares because we ask for it."""
    return prepared_dir("some_rlds", tmp_path_factory.mktemp("data"))


def test_a_dataset_that_is_not_there_is_prepared_and_then_found(prepared):
    data_dir = prepared.parent.parent
    assert prepared == data_dir / "some_rlds" / "2.1.0"
    before = (prepared / "dataset_info.json").stat().st_mtime_ns
    for name in ("some_rlds", "some_rlds:2.1.0"):
        assert prepared_dir(name, data_dir) == prepared
    assert (prepared / "dataset_info.json").stat().st_mtime_ns == before


def test_features_of_every_kind(prepared, tmp_path):
    with converted(prepared, tmp_path, action="move") as buffer:
        episodes = tfds_episodes(prepared)
        for _, steps in episodes:
            steps["action"] = steps.pop("action/move")
            del steps["instruction"]
        assert_same_steps(buffer, episodes, dtypes=False)
        assert buffer.arrays["episodes/seed"].all().tolist() == [facts["seed"] for facts, _ in episodes]
        dtypes = {name: column.dtype.name for name, column in buffer.spec.columns.items()}
        assert dtypes["observations/packed"] == "float64"
        assert dtypes["observations/raw"] == "int16"
        assert dtypes["rewards"] == "float32"
        assert dtypes["action/stop"] == "bool"
        assert buffer.spec.columns["observations/label"].space == {"type": "discrete", "n": 5}
        assert buffer.spec.columns["observations/rgb"].shape == (6, 5, 3)
        texts = {"robot": "r2", "instruction": "go"}
        assert buffer.metadata["scalars"] == {name: {"dtype": "S2", "value": text} for name, text in texts.items()}
        said = " ".join(buffer.metadata["left_out"])
        assert all(name in said for name in ("steps/objects", "'file'"))


def test_every_split(prepared, tmp_path):
    with converted(prepared, tmp_path, action="move", split="val") as buffer:
        assert buffer.num_episodes == 2
    with converted(prepared, tmp_path, action="move", split="all") as buffer:
        assert buffer.num_episodes == SomeRlds.COUNT + 2


def test_the_example_that_was_yielded_last_is_found(prepared):
    keys = [facts["seed"] for facts, _ in tfds_episodes(prepared)]
    assert keys != sorted(keys)
    assert keys.index(SomeRlds.COUNT - 1) == position_of_last_key("train", SomeRlds.COUNT, shuffled=True)


def test_shards_of_the_sequential_writer(prepared, tmp_path):
    features = tfds.builder_from_directory(prepared).info.features
    identity = tfds.core.DatasetIdentity(
        name="log", version=tfds.core.Version("1.0.0"), data_dir=str(tmp_path), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=2)
    writer.initialize_splits(["train"])
    writer.add_examples({"train": [example for _, example in SomeRlds._generate_examples(None, 5)]})
    writer.close_all()
    assert len(list(tmp_path.glob("log-train.tfrecord-0000?"))) == 3
    with converted(tmp_path, tmp_path / "b", action="move") as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [1, 2, 3, 4, 5]


def test_what_tfds_cannot_prepare(tmp_path):
    with pytest.raises(UsageError, match="has no dataset 'no_such_thing'"):
        prepared_dir("no_such_thing", tmp_path)
    with pytest.raises(DownloadError, match=r"some_rlds:9\.9\.9: TensorFlow Datasets could not prepare it"):
        prepared_dir("some_rlds:9.9.9", tmp_path)


def test_another_file_format(tmp_path):
    builder = SomeRlds(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    with pytest.raises(UnsupportedError, match="the shards are array_record"):
        RLDSSource(builder.data_path)


def test_reading_and_writing_import_no_tensorflow(tmp_path):
    code = f"""
import sys, rlbuffers
from pathlib import Path
from rlbuffers.exports.export import export
from rlbuffers.sources.tfds.rlds import RLDSSource
rlbuffers.convert(RLDSSource(Path({str(DATA / "tfds/mini_rlds/vectors/1.0.0")!r})), {str(tmp_path / "x.hdf5")!r})
export(rlbuffers.open({str(tmp_path / "x.hdf5")!r}), {str(tmp_path / "y")!r}, "rlds")
assert not any(name.startswith(("tensorflow", "torch", "PIL")) for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
