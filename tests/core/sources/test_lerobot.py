"""LeRobot's datasets, as pyarrow reads them, and their oddities."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_files import FPS, SIZE, TASKS, frames, picture, rewarded, write_fixtures, write_v21, write_v30
from truth import DATA

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UnsupportedError
from rlbuffers.sources.lerobot.columns import column_names
from rlbuffers.sources.lerobot.dataset import LeRobotSource

FIXTURES = DATA / "lerobot"
WRITERS = {"v2.1": write_v21, "v3.0": write_v30}


@pytest.fixture(params=WRITERS)
def write(request):
    """Write a dataset by hand in each version."""
    return WRITERS[request.param]


def converted(folder, new_path):
    target = new_path("hdf5")
    rlbuffers.convert(LeRobotSource(folder), target)
    return rlbuffers.open(target)


def refused(folder, error, message, new_path=None):
    with pytest.raises(error, match=message) as raised:
        rlbuffers.convert(LeRobotSource(folder), new_path("memory")) if new_path else LeRobotSource(folder)
    assert len(str(raised.value).splitlines()) == 1


def ends(buffer):
    starts, lengths = (buffer.arrays[f"episodes/{name}"].all() for name in ("starts", "lengths"))
    rows, last = buffer[:], starts + lengths - 1
    for name in ("terminals", "timeouts"):
        assert rows[name].sum() == rows[name][last].sum()
    return rows["terminals"][last].tolist(), rows["timeouts"][last].tolist()


def test_the_fixtures_hold_what_the_script_writes(tmp_path):
    write_fixtures(tmp_path)
    for path in sorted(FIXTURES.rglob("*.parquet")):
        assert pq.read_table(path).equals(pq.read_table(tmp_path / path.relative_to(FIXTURES)))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_every_number_is_kept(new_path, version):
    tables = [pq.read_table(path) for path in sorted((FIXTURES / version / "data").rglob("*.parquet"))]
    theirs = pa.concat_tables(tables)
    with converted(FIXTURES / version, new_path) as buffer:
        rows = buffer[:]
        for name, ours in {
            "observation.state": "observations/state",
            "action": "actions",
            "timestamp": "infos/timestamp",
            "task_index": "infos/task_index",
        }.items():
            expected = np.array(theirs.column(name).to_pylist(), rows[ours].dtype)
            np.testing.assert_array_equal(rows[ours], expected)
            assert rows[ours].dtype == (np.int64 if name == "task_index" else np.float32)
        lengths = np.bincount(theirs.column("episode_index").to_numpy())
        np.testing.assert_array_equal(buffer.arrays["episodes/lengths"].all(), lengths)
        assert not buffer.arrays["episodes/final_known"].all().any()
        assert buffer.arrays["episodes/episode_index"].all().tolist() == [0, 1, 2]
        environment = {"robot_type": "so100", "fps": FPS, "tasks": {"0": TASKS[0], "1": TASKS[1]}}
        assert buffer.metadata["environment"] == environment
        assert buffer.metadata["source"]["codebase_version"] == version
        if version == "v2.1":
            assert rows["rewards"].tolist() == [0.0] * 8
            assert buffer.metadata["warnings"] == ["The dataset has no rewards; all rewards are 0."]
            assert ends(buffer) == ([False] * 3, [True] * 3)
            return
        assert rows["rewards"].tolist() == [0, 0, 1, 0, 0, 1]
        assert ends(buffer) == ([True, False, True], [False, True, False])
        assert buffer.metadata["warnings"] == []
        assert buffer.metadata["left_out"] == ["'observation.images.wrist', a video"]
        images = rows["observations/images/top"]
        assert images.dtype == np.uint8
        assert images.shape == (6, *SIZE)
        assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 20]


@pytest.mark.parametrize("fixed", [True, False])
def test_dtypes_and_shapes(tmp_path, new_path, fixed):
    rng = np.random.default_rng(0)
    more = {
        "action": rng.normal(size=(4, 2)),
        "observation.matrix": rng.normal(size=(4, 2, 3)).astype(np.float32),
        "observation.flags": rng.random((4, 2)) > 0.5,
        "observation.count": np.arange(4, dtype=np.int32),
        "observation.one": rng.normal(size=(4, 1)).astype(np.float16),
        "next.reward": np.arange(4.0)[:, None],
        "custom.value.deep": rng.integers(0, 255, (4, 3), dtype=np.uint8),
    }
    folder = write_v21(tmp_path / "x", [frames(4, **more)], fixed=fixed)
    with converted(folder, new_path) as buffer:
        rows = buffer[:]
        names = {
            "actions": "action",
            "observations/matrix": "observation.matrix",
            "observations/flags": "observation.flags",
            "observations/count": "observation.count",
            "observations/one": "observation.one",
            "infos/custom/value/deep": "custom.value.deep",
        }
        for ours, theirs in names.items():
            np.testing.assert_array_equal(rows[ours], more[theirs])
            assert rows[ours].dtype == more[theirs].dtype
        assert rows["rewards"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_flat_lists_of_a_stated_shape(tmp_path, new_path):
    rows = {"observation.grid": np.arange(24.0).reshape(2, 12)}
    features = {"observation.grid": {"dtype": "float64", "shape": [3, 4], "names": None}}
    with converted(write_v21(tmp_path / "x", [frames(2, **rows)], features=features), new_path) as buffer:
        np.testing.assert_array_equal(buffer[:]["observations/grid"], np.arange(24.0).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["action", "observation.state", "next.reward", "timestamp", "next.done"],
            ["actions", "observations/state", "rewards", "infos/timestamp", "infos/next/done"],
        ),
        (
            ["actions", "state", "image", "timestamp"],
            ["actions", "observations/state", "observations/image", "infos/timestamp"],
        ),
        (["observation", "observation.state", "action"], ["observations/value", "observations/state", "actions"]),
        (["observation/state", "action", "action.left"], ["observations/state", "actions", "infos/action/left"]),
        (
            ["action", "observation.a", "next.terminated", "next.truncated"],
            ["actions", "observations/a", "terminals", "timeouts"],
        ),
        (["action", "observation.a", "next.truncated"], ["actions", "observations/a", "infos/next/truncated"]),
        (["action", "observation.a", "x", "x.y"], ["actions", "observations/a", "infos/x/value", "infos/x/y"]),
    ],
)
def test_names(names, expected):
    assert list(column_names(names, names).values()) == expected


@pytest.mark.parametrize(
    ("columns", "terminal"),
    [
        ({"next.done": [0, 0, 1], "next.success": [0, 1, 0]}, False),
        ({"next.done": [0, 0, 1], "next.success": [1, 1, 1]}, True),
        ({"next.done": [0, 0, 1], "next.truncated": [0, 0, 1]}, False),
        ({"next.done": [0, 0, 1], "next.truncated": [0, 0, 0]}, True),
        ({"next.done": [0, 0, 1], "next.reward": [0, 0, 1]}, True),
        ({"next.done": [0, 0, 1], "next.reward": [1, 1, 1]}, None),
        ({"next.done": [0, 0, 1]}, None),
        ({"next.done": [0, 1, 0]}, False),
        ({"next.reward": [0, 0, 1]}, False),
    ],
)
def test_what_next_done_means(tmp_path, write, new_path, columns, terminal):
    more = {name: np.array(values, np.float32 if "reward" in name else np.bool_) for name, values in columns.items()}
    with converted(write(tmp_path / "x", [frames(3, **more)]), new_path) as buffer:
        assert ends(buffer) == ([bool(terminal)], [not terminal])
        undecided = [text for text in buffer.metadata["warnings"] if text.startswith("Episodes that are done")]
        assert bool(undecided) == (terminal is None)


def test_an_episode_that_goes_on_in_the_next_file(tmp_path, new_path):
    folder = write_v30(tmp_path / "x", [frames(5)])
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 2), path)
    pq.write_table(table.slice(2), path.with_name("file-001.parquet"))
    with converted(folder, new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == [5]


def test_numbers_in_names_are_numbers(tmp_path, new_path):
    folder = write_v21(tmp_path / "x", [frames(number + 1, number) for number in range(11)])
    chunk = folder / "data" / "chunk-000"
    for number in range(11):
        (chunk / f"episode_{number:06d}.parquet").rename(chunk / f"episode_{number}.parquet")
    with converted(folder, new_path) as buffer:
        assert buffer.arrays["episodes/lengths"].all().tolist() == list(range(1, 12))


def test_files_that_are_missing_are_counted(tmp_path, write, new_path):
    folder = write(tmp_path / "x", [frames(2, number) for number in range(4)])
    sorted((folder / "data").rglob("*.parquet"))[-1].unlink()
    with converted(folder, new_path) as buffer:
        read = 2 if write is write_v30 else 3
        assert buffer.num_episodes == read
        assert f"The info states 4 episodes; there are {read}." in buffer.metadata["warnings"]


def test_what_is_said_of_episodes(tmp_path, new_path):
    said = [{"success": True, "weight": 1, "who": "a"}, {"success": False, "weight": 2.5, "who": "b"}]
    folder = write_v21(tmp_path / "x", [frames(2), frames(3, 1)], said=said)
    with converted(folder, new_path) as buffer:
        assert buffer.arrays["episodes/success"].all().tolist() == [True, False]
        assert buffer.arrays["episodes/weight"].all().tolist() == [1.0, 2.5]
        assert buffer.metadata["left_out"] == ["'who', which is said of an episode"]


def test_lengths_that_are_stated_otherwise(tmp_path, new_path):
    folder = write_v21(tmp_path / "x", [frames(2)], said=[{"length": 7}])
    with converted(folder, new_path) as buffer:
        assert "Episodes whose stated length is another: episode 0: 7 instead of 2." in buffer.metadata["warnings"]


def test_texts_and_ragged_rows_are_left_out_or_refused(tmp_path, new_path):
    folder = write_v21(tmp_path / "x", [frames(2, instruction=["a", "b"])])
    with converted(folder, new_path) as buffer:
        assert buffer.metadata["left_out"] == ["'instruction': it holds texts or objects"]
    change(folder, "action", pa.array([[1.0], [1.0, 2.0]]))
    refused(folder, FormatError, "'action': expected rows of one length, found 1 to 2", new_path)


def change(folder, name, values):
    path = next((folder / "data").rglob("*.parquet"))
    table = pq.read_table(path)
    place = table.schema.names.index(name)
    pq.write_table(table.set_column(place, name, values), path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("action", pa.array([[1.0], None]), "'action': expected numbers in every row, found a row without a value"),
        ("action", pa.array([[1.0], [None]]), "'action': expected numbers in every row, found a row without a value"),
        ("timestamp", pa.array([1.0, None]), "'timestamp': expected numbers in every row"),
        ("episode_index", pa.array([0, None]), "expected whole numbers in 'episode_index'"),
        ("episode_index", pa.array(["a", "b"]), "expected whole numbers in 'episode_index'"),
    ],
)
def test_values_that_are_missing(tmp_path, new_path, name, values, message):
    folder = write_v21(tmp_path / "x", [frames(2)])
    change(folder, name, values)
    refused(folder, FormatError, message, new_path)


def test_images_of_other_kinds(tmp_path, new_path):
    folder = write_v21(tmp_path / "x", [frames(2, **{"observation.image": [picture(1), picture(2)]})])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    change(folder, "observation.image", pa.array([{"bytes": None, "path": "a.png"}] * 2, kind))
    with converted(folder, new_path) as buffer:
        assert buffer.metadata["left_out"] == ["'observation.image': its images stand in other files"]
    change(folder, "observation.image", pa.array([{"bytes": b"no image", "path": None}] * 2, kind))
    with converted(folder, new_path) as buffer:
        assert buffer.metadata["left_out"][0].startswith("'observation.image': its images are neither PNG nor JPEG")
    change(folder, "observation.image", pa.array([{"bytes": picture(1), "path": None}, {"bytes": b"x"}], kind))
    refused(folder, CorruptDataError, "'observation.image': image 1 is damaged", new_path)
    change(folder, "observation.image", pa.array([{"bytes": picture(1)}, {"bytes": None}], kind))
    refused(folder, FormatError, "expected an image in every row", new_path)


def test_an_episode_in_two_places(tmp_path, new_path):
    folder = write_v21(tmp_path / "x", [frames(1), frames(1, 1), frames(1, 2)])
    path = sorted((folder / "data").rglob("*.parquet"))[2]
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "episode_index", pa.array([0])), path)
    refused(folder, FormatError, "expected the rows of episode 0 in one place, found them in two", new_path)


def test_folders_that_are_none(tmp_path, write):
    refused(tmp_path, BufferNotFoundError, r"there is no LeRobot dataset here: meta/info\.json is missing")
    folder = write(tmp_path / "x", [frames(2)])
    text = (folder / "meta" / "info.json").read_text()
    for content, error, message in (
        ("{", CorruptDataError, "not JSON"),
        ("[]", FormatError, "expected a JSON object"),
        (text.replace('"v', '"v9'), UnsupportedError, "expected codebase_version v2.0, v2.1 or v3.0"),
        (json.dumps(json.loads(text) | {"features": []}), FormatError, "expected an object 'features'"),
    ):
        (folder / "meta" / "info.json").write_text(content)
        refused(folder, error, message)


def test_data_that_are_none(tmp_path, write):
    folder = write(tmp_path / "x", [frames(2)])
    path = next((folder / "data").rglob("*.parquet"))
    whole = pq.read_table(path)
    for columns, message in (
        (["action", "episode_index", "timestamp"], "expected an observation that is not a video"),
        (["observation.state", "episode_index"], "expected 'action'"),
        (["observation.state", "action"], "expected a column 'episode_index'"),
    ):
        pq.write_table(whole.select(columns), path)
        refused(folder, FormatError, message)
    pq.write_table(whole.slice(0, 0), path)
    refused(folder, FormatError, "expected transitions, found none")
    shutil.rmtree(folder / "data")
    refused(folder, FormatError, "expected Parquet files in 'data', found none")


def test_files_of_other_columns(tmp_path):
    folder = write_v21(tmp_path / "x", [frames(2), frames(2, 1, **rewarded(2, success=True))])
    refused(folder, FormatError, "only one of both has next.done, next.reward, next.success")


def test_cut_and_damaged_files_are_our_errors(tmp_path, new_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = shutil.copytree(FIXTURES / "v3.0", tmp_path / str(number))
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        path = paths[number % len(paths)]
        damaged = bytearray(path.read_bytes())
        if number % 2:
            damaged = damaged[: int(rng.integers(0, len(damaged)))]
        else:
            for place in rng.integers(0, len(damaged), 10):
                damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(RlbuffersError):  # whatever else comes through fails the test
            rlbuffers.convert(LeRobotSource(folder), new_path("memory"))
