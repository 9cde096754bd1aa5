from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from minari_files import CHOICE, VECTOR, box, decoded, episode, facts, image_file, write_arrow, write_facts, write_hdf5
from truth import DATA, assert_is_truth, load_truth

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, FormatError, RlbuffersError, UnsupportedError
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.minari.places import dataset_folder, dataset_name, datasets_root, is_dataset_id

FIXTURES = DATA / "minari" / "fixture"
WRITERS = {"hdf5": write_hdf5, "arrow": write_arrow}


@pytest.fixture(params=WRITERS)
def write(request):
    """Write a dataset by hand in each of the two payloads."""
    return WRITERS[request.param]


def converted(folder, output="x.hdf5"):
    path = folder.parent / output
    rlbuffers.convert(MinariSource(folder / "data"), path)
    return rlbuffers.open(path)


def refused(folder, error, message):
    """The conversion fails with one line and leaves nothing."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(error, match=message) as raised:
        rlbuffers.convert(MinariSource(folder / "data"), folder.parent / "x.hdf5")
    assert len(str(raised.value).splitlines()) == 1
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["cartpole-hdf5-v0", "cartpole-arrow-v0", "pendulum-timeouts-v0"])
@pytest.mark.parametrize("store", ["hdf5", "zarr"])
def test_fixtures_are_what_minari_reads(tmp_path, name, store):
    rlbuffers.convert(MinariSource(FIXTURES / name / "data"), tmp_path / f"x.{store}")
    assert_is_truth(tmp_path / f"x.{store}", load_truth(FIXTURES / name))
    with rlbuffers.open(tmp_path / f"x.{store}") as buffer:
        assert buffer.arrays["episodes/whole"].all().all()
        assert buffer.metadata["left_out"] == buffer.metadata["warnings"] == []
        assert buffer.metadata["source"]["dataset_id"] == f"fixture/{name}"
        assert buffer.metadata["environment"]["id"] == buffer.metadata["environment"]["env_spec"]["id"]
        assert buffer.metadata["behavior_policy"] == {"name": "random"}
        assert not {"observation_space", "total_steps"} & set(buffer.metadata["source"])


def test_ends_of_every_kind(tmp_path, write):
    kinds = ("terminal", "timeout", "both", "neither", "timeout", "neither")
    lengths = (3, 1, 2, 4, 5, 1)
    episodes = [episode(steps, number, end) for number, (steps, end) in enumerate(zip(lengths, kinds, strict=True))]
    with converted(write(tmp_path / "d", episodes)) as buffer:
        assert buffer.num_episodes == len(kinds)
        for number, arrays in enumerate(episodes):
            found = buffer.episode(number)
            assert sorted(found) == ["actions", "observations", "rewards", "terminals", "timeouts"]
            for ours, theirs in {"terminals": "terminations", "timeouts": "truncations"}.items():
                assert found.pop(ours).tolist() == arrays[theirs].tolist()
            for name, rows in found.items():
                assert rows.dtype == arrays[name].dtype
                np.testing.assert_array_equal(rows, arrays[name])
        assert buffer.arrays["episodes/whole"].all().tolist() == [kind != "neither" for kind in kinds]
        assert not len(buffer.rows_without_next)
        following = buffer[:]["next_observations"]
        assert following[:, 0].tolist() == np.repeat(np.arange(6), lengths).tolist()
        assert buffer.metadata["counts"]["terminals"] == 2


def test_episodes_are_in_the_order_of_their_numbers(tmp_path, write):
    with converted(write(tmp_path / "d", [episode(1, number) for number in range(12)])) as buffer:
        assert buffer[:]["observations"][:, 0].tolist() == list(range(12))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "bool"])
def test_flags_of_any_dtype(tmp_path, dtype):
    arrays = episode(3, end="both")
    flags = {name: arrays[name].astype(dtype) for name in ("terminations", "truncations")}
    with converted(write_hdf5(tmp_path / "d", [arrays | flags])) as buffer:
        rows = buffer[:]
        assert rows["terminals"].dtype == rows["timeouts"].dtype == bool
        assert rows["terminals"].tolist() == rows["timeouts"].tolist() == [False, False, True]


def test_a_flag_that_is_neither_yes_nor_no(tmp_path):
    folder = write_hdf5(tmp_path / "d", [episode(2, terminations=np.array([0.0, np.nan]))])
    refused(folder, FormatError, r"d/data: episode 0: expected flags in 'terminals', found NaN in row 1")


def test_terminals_inside_an_episode_are_kept_and_told(tmp_path):
    arrays = episode(4, terminations=np.array([False, True, False, False]), truncations=np.arange(4) == 3)
    with converted(write_hdf5(tmp_path / "d", [arrays])) as buffer:
        assert buffer.num_episodes == 1
        assert buffer[:]["terminals"].tolist() == [False, True, False, False]
        assert buffer.metadata["environment"]["terminals_end_episodes"] is False
    assert rlbuffers.validate(tmp_path / "x.hdf5").ok


def test_rewards_of_one_number_a_row(tmp_path):
    with converted(write_hdf5(tmp_path / "d", [episode(3, rewards=np.arange(3.0)[:, None])])) as buffer:
        assert buffer[:]["rewards"].tolist() == [0, 1, 2]


def test_dtypes_that_differ_between_episodes(tmp_path, write):
    """A list of Python ints becomes int64 in one episode, one with a float in it float64 in the next."""
    rewards = [np.zeros(2, np.int64), np.array([0, 0.5]), np.zeros(2, np.int64)]
    infos = [np.arange(3), np.arange(3) / 2, np.arange(3)]
    episodes = [
        episode(2, number, rewards=reward, **{"infos/x": info})
        for number, (reward, info) in enumerate(zip(rewards, infos, strict=True))
    ]
    with converted(write(tmp_path / "d", episodes)) as buffer:
        rows = buffer[:]
        assert (rows["rewards"].dtype, rows["infos/x"].dtype) == (np.float64, np.float64)
        assert rows["rewards"].tolist() == [0, 0, 0, 0.5, 0, 0]
        assert rows["infos/x"].tolist() == [1, 2, 0.5, 1, 1, 2]
        assert (
            "'rewards' has other dtypes in other episodes (float64, int64); all are float64 here."
            in (buffer.metadata["notes"])
        )


def test_numbers_of_the_other_byte_order(tmp_path):
    arrays = episode(3)
    swapped = {name: rows.astype(rows.dtype.newbyteorder(">")) for name, rows in arrays.items()}
    with converted(write_hdf5(tmp_path / "d", [swapped])) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations"], arrays["observations"])


NESTED = {
    "type": "Dict",
    "subspaces": {
        "goal": {"type": "Tuple", "subspaces": [VECTOR, {"type": "Dict", "subspaces": {"n": CHOICE | {"start": 5}}}]},
        "many": {"type": "MultiDiscrete", "dtype": "int64", "nvec": [2, 3], "start": [0, 1]},
        "bits": {"type": "MultiBinary", "n": [2, 2]},
        "grid": box("float64", (2, 3, 1)),
        "one": box("float32", ()),
    },
}


def nested_observations(steps):
    rng = np.random.default_rng(steps)
    return {
        "observations/goal/_index_0": rng.normal(size=(steps + 1, 2)).astype(np.float32),
        "observations/goal/_index_1/n": rng.integers(5, 8, steps + 1),
        "observations/many": rng.integers(1, 2, (steps + 1, 2)),
        "observations/bits": rng.integers(0, 2, (steps + 1, 2, 2), np.int8),
        "observations/grid": rng.normal(size=(steps + 1, 2, 3, 1)),
        "observations/one": rng.normal(size=steps + 1).astype(np.float32),
    }


def test_nested_spaces(tmp_path, write):
    episodes = [episode(steps, **nested_observations(steps)) for steps in (3, 2)]
    if write is write_arrow:  # Minari flattens every Box, also one of a single number
        for arrays in episodes:
            arrays["observations/one"] = arrays["observations/one"][:, None]
    with converted(write(tmp_path / "d", episodes, facts(observation_space=NESTED))) as buffer:
        for number, steps in enumerate((3, 2)):
            found = buffer.episode(number)
            for name, rows in nested_observations(steps).items():
                assert found[name].dtype == rows.dtype
                np.testing.assert_array_equal(found[name], rows, err_msg=name)
        columns = buffer.spec.columns
        assert columns["observations/goal/_index_1/n"].space == {"type": "discrete", "n": 3, "start": 5}
        assert columns["observations/goal/_index_0"].space == {"type": "box", "low": [-1.0, None], "high": [1.0, None]}
        assert columns["observations/many"].space["high"] == [1, 3]
        assert buffer.metadata["warnings"] == []
    assert rlbuffers.validate(tmp_path / "x.hdf5").ok


def test_parquet(tmp_path):
    episodes = [episode(steps, number) for number, steps in enumerate((2, 3))]
    write_arrow(tmp_path / "d", episodes, suffix="parquet")
    with converted(tmp_path / "d") as buffer, converted(write_arrow(tmp_path / "e", episodes), "y.hdf5") as other:
        assert buffer.fingerprint == other.fingerprint


def test_infos_come_after_their_actions(tmp_path, write):
    episodes = [
        episode(
            steps,
            number,
            **{
                "infos/place": number * 10 + np.arange(steps + 1) / 2,
                "infos/deep/er": np.arange((steps + 1) * 4).reshape(-1, 2, 2),
            },
        )
        for number, steps in enumerate((2, 3))
    ]
    with converted(write(tmp_path / "d", episodes)) as buffer:
        rows = buffer[:]
        assert rows["infos/place"].tolist() == [0.5, 1.0, 10.5, 11.0, 11.5]
        np.testing.assert_array_equal(buffer.episode(1)["infos/deep/er"], episodes[1]["infos/deep/er"][1:])
        assert buffer.arrays["episodes/reset_infos/place"].all().tolist() == [0, 10]
        np.testing.assert_array_equal(buffer.arrays["episodes/reset_infos/deep/er"].all()[1], [[0, 1], [2, 3]])


def test_infos_of_other_shapes(tmp_path):
    texts = np.array([b"a", b"b", b"c"])
    first = {
        "infos/short": np.arange(2),
        "infos/odd": np.arange(7),
        "infos/once": np.float64(3),
        "infos/text": texts,
        "infos/sometimes": np.arange(3),
        "infos/grows": np.zeros((3, 1)),
        "infos/empty": np.zeros((3, 0)),
        "infos/mixed": np.zeros(3),
        "infos/wide": np.zeros(3, np.longdouble),
        "infos/images": [image_file(np.full((8, 8), shade, np.uint8)) for shade in (0, 99, 200)],
        "infos/vlen": [
            image_file(np.full((9, 9), 7, np.uint8)),
            image_file(np.eye(9, dtype=np.uint8)),
            b"\xff\xd8\xff",
        ],
        "unknown": np.zeros(2),
    }
    second = first | {"infos/sometimes": None, "infos/grows": np.zeros((3, 2)), "infos/mixed": np.zeros(2)}
    with converted(write_hdf5(tmp_path / "d", [episode(2, **first), episode(2, 1, **second)])) as buffer:
        assert [name for name in buffer.spec.columns if name.startswith("infos")] == ["infos/short"]
        assert buffer[:]["infos/short"].tolist() == [0, 1, 0, 1]
        left_out = dict(text.split(": ", 1) for text in buffer.metadata["left_out"])
        assert set(left_out) == {repr(name) for name in first if name != "infos/short"}
        assert left_out["'infos/sometimes'"] == "only 1 of 2 episodes have it"
        assert left_out["'infos/grows'"] == "its rows differ in shape between episodes"
        assert left_out["'infos/odd'"] == "it has neither one entry a step nor one more"
        assert left_out["'infos/images'"] == "it holds image files, of which no space states the shape"
        assert left_out["'unknown'"] == "the format does not describe it"


def test_infos_that_arrow_holds_in_other_ways(tmp_path):
    import pyarrow as pa

    folder = write_arrow(tmp_path / "d", [episode(2)])
    (path,) = folder.rglob("*.arrow")
    table = pa.ipc.open_file(path).read_all()
    infos = {
        "text": pa.array(["a", "b", "c"]),
        "ragged": pa.array([[1], [1, 2], []]),
        "nulls": pa.array([1, None, 2]),
        "pairs": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)),
        "holes": pa.array([[1, None], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)),
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
    }
    table = table.append_column("infos", pa.StructArray.from_arrays(list(infos.values()), list(infos)))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)  # batches are pieces of one episode
    with converted(folder) as buffer:
        assert buffer[:]["infos/pairs"].tolist() == [[3, 4], [5, 6]]
        assert buffer.spec.columns["infos/pairs"].dtype == np.int32
        assert [text.split(":")[0] for text in buffer.metadata["left_out"]] == [
            f"'infos/{name}'" for name in ("holes", "nulls", "ragged", "text", "when")
        ]


IMAGES = {"grey": (40, 33), "colour": (32, 48, 3), "small": (7, 7, 3)}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("same_length", [False, True])
def test_images_that_are_files(tmp_path, write, kind, same_length):
    """Some versions of Minari make JPEG of images of any size; without different lengths they are a matrix."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, *IMAGES[kind]), np.uint8)
    if same_length:
        images[:] = images[0]
    files = [image_file(image) for image in images]
    assert (len(set(map(len, files))) == 1) == same_length
    folder = write(
        tmp_path / "d", [episode(3, observations=files)], facts(observation_space=box("uint8", IMAGES[kind]))
    )
    with converted(folder) as buffer:
        found = buffer.episode(0)["observations"]
        assert (found.dtype, found.shape) == (np.uint8, images.shape)
        np.testing.assert_array_equal(found, [decoded(file) for file in files])
        assert buffer.metadata["notes"] == ["'observations' was stored as image files; what JPEG loses is lost."]


@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_are_arrays(tmp_path, kind):
    """Before Minari 0.5.3 images were no files, and no key of the metadata says so."""
    images = np.random.default_rng(0).integers(0, 256, (3, *IMAGES[kind]), np.uint8)
    images[:, 0, :3] = np.array([0xFF, 0xD8, 0xFF]).reshape(3, *[1] * (images.ndim - 3))
    said = facts(observation_space=box("uint8", IMAGES[kind]), minari_version="0.5.1")
    with converted(write_hdf5(tmp_path / "d", [episode(2, observations=images)], said)) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations"], images)
        assert buffer.metadata["notes"] == []


def test_vectors_of_bytes_are_no_images(tmp_path):
    """Not even if each begins as a JPEG file does: their space says what they are."""
    memory = np.tile(np.array([0xFF, 0xD8, 0xFF, 0, 1], np.uint8), (3, 1))
    folder = write_hdf5(tmp_path / "d", [episode(2, observations=memory)], facts(observation_space=box("uint8", (5,))))
    with converted(folder) as buffer:
        np.testing.assert_array_equal(buffer.episode(0)["observations"], memory)


@pytest.mark.parametrize(
    ("files", "space", "error", "message"),
    [
        (
            [b"\xff\xd8\xff", b"no image"],
            box("uint8", (32, 32)),
            CorruptDataError,
            "'observations': image 0 is damaged",
        ),
        (None, box("uint8", (32, 33)), FormatError, r"image 0: expected shape \(32, 33\), found \(32, 32\)"),
        (
            None,
            box("uint8", (32, 32)) | {"shape": [6000, 6000]},
            FormatError,
            r"image 0: expected shape \(6000, 6000\)",
        ),
        (None, None, FormatError, "it holds image files, of which no space states the shape"),
    ],
)
def test_images_that_cannot_be_read(tmp_path, files, space, error, message):
    files = files or [image_file(image) for image in (np.zeros((32, 32), np.uint8), np.eye(32, dtype=np.uint8))]
    said = facts(observation_space=space)
    refused(write_hdf5(tmp_path / "d", [episode(1, observations=files)], said), error, message)


def test_seeds_may_have_64_bits(tmp_path, write):
    seeds = [{"seed": 2**64 - 1}, {}, {"seed": 0}]
    with converted(write(tmp_path / "d", [episode(1, n) for n in range(3)], None, seeds)) as buffer:
        assert buffer.arrays["episodes/seeds"].all().tolist() == [2**64 - 1, 0, 0]
        assert buffer.arrays["episodes/seeds_known"].all().tolist() == [True, False, True]
        assert any("seeds_known is False there" in note for note in buffer.metadata["notes"])


def test_no_seeds_no_columns(tmp_path, write):
    with converted(write(tmp_path / "d", [episode(1)])) as buffer:
        assert not buffer.spec.episode_columns
        assert buffer.metadata["notes"] == []


def test_what_else_is_said_of_episodes_is_left_out_by_name(tmp_path):
    attributes = {"options/goal/x": 1.5, "rewards_sum": 0.0, "success": True, "seed": "abc"}
    with converted(write_hdf5(tmp_path / "d", [episode(1)], None, [attributes])) as buffer:
        assert buffer.metadata["left_out"] == [
            "'success', which is said of an episode",
            "seeds that are no whole numbers of 64 bits",
            "the options that episodes were reset with",
        ]
    folder = write_arrow(tmp_path / "e", [episode(1)], None, [{"options": {"goal": {"x": 1}}, "rewards_max": 1}])
    with converted(folder, "y.hdf5") as buffer:
        assert buffer.metadata["left_out"] == ["the options that episodes were reset with"]


def test_facts_of_the_dataset(tmp_path, write):
    said = facts(
        env_spec={"id": "Maze-v3", "max_episode_steps": 300, "kwargs": {"limit": float("inf")}},
        eval_env_spec={"id": "Maze-v4"},
        ref_min_score=-1.5,
        ref_max_score=7,
        algorithm_name="SAC",
        author=["A", "B"],
        combined_datasets=["a/b-v0"],
        num_episodes_average_score=100,
        something_new={"x": float("nan")},
        jpeg_encoding=True,
        dataset_size=0.1,
        total_steps=2,
    )
    with converted(write(tmp_path / "d", [episode(2)], said)) as buffer:
        metadata = buffer.metadata
        assert metadata["environment"] == {
            "id": "Maze-v3",
            "max_episode_steps": 300,
            "env_spec": {"id": "Maze-v3", "max_episode_steps": 300, "kwargs": {"limit": None}},
            "eval_env_spec": {"id": "Maze-v4"},
            "reference_scores": {"min": -1.5, "max": 7},
        }
        assert metadata["behavior_policy"] == {"name": "SAC"}
        source = dict(metadata["source"])
        names = [file["name"] for file in source.pop("files")]
        payload = ["main_data.hdf5"] if write is write_hdf5 else ["0/metadata.json", "0/part-0.arrow"]
        assert names == ["metadata.json", *payload]
        assert source == {
            "format": "minari",
            "data_format": "hdf5" if write is write_hdf5 else "arrow",
            "dataset_id": "x/y-v0",
            "minari_version": "0.5.3",
            "author": ["A", "B"],
            "combined_datasets": ["a/b-v0"],
            "num_episodes_average_score": 100,
            "something_new": {"x": None},
        }
        assert metadata["warnings"] == metadata["left_out"] == []


@pytest.mark.parametrize("scores", [{}, {"ref_min_score": 1.0}, {"ref_min_score": 0, "ref_max_score": float("nan")}])
def test_no_reference_scores_unless_both_are_known(tmp_path, scores):
    with converted(write_hdf5(tmp_path / "d", [episode(2)], facts(**scores))) as buffer:
        assert "reference_scores" not in buffer.metadata["environment"]


def test_a_specification_that_is_none(tmp_path):
    with converted(write_hdf5(tmp_path / "d", [episode(2)], facts() | {"env_spec": "{"})) as buffer:
        assert buffer.metadata["environment"] == {}
        assert buffer.metadata["left_out"] == ["'env_spec' of the metadata, which is no JSON object"]


def test_minari_0_4_says_everything_in_the_file(tmp_path):
    folder = write_hdf5(tmp_path / "d", [episode(2), episode(3, 1, "timeout")])
    (folder / "data" / "metadata.json").unlink()
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        file.attrs.update(
            facts(minari_version="0.4.3", author="A", env_spec={"id": "Maze-v3"}, ref_min_score=0.0, ref_max_score=2.0)
        )
        file.attrs.update({"total_episodes": 2, "total_steps": 5, "algorithm_name": np.bytes_(b"SAC")})
    with converted(folder) as buffer:
        assert (buffer.num_episodes, len(buffer)) == (2, 5)
        assert buffer.spec.columns["actions"].space == {"type": "discrete", "n": 3}
        assert buffer.metadata["environment"]["id"] == "Maze-v3"
        assert buffer.metadata["environment"]["reference_scores"] == {"min": 0.0, "max": 2.0}
        assert buffer.metadata["behavior_policy"] == {"name": "SAC"}
        assert buffer.metadata["source"]["author"] == "A"
        assert [file["name"] for file in buffer.metadata["source"]["files"]] == ["main_data.hdf5"]
        assert buffer.metadata["warnings"] == []


def test_spaces_may_be_absent(tmp_path, write):
    said = facts(observation_space=None, action_space=None, env_spec={"id": "Maze-v3"})
    with converted(write(tmp_path / "d", [episode(2)], said)) as buffer:
        assert buffer.spec.columns["observations"].space is None
        assert buffer.spec.columns["observations"].shape == (2,)


def test_a_space_that_does_not_fit_is_left_out(tmp_path):
    with converted(write_hdf5(tmp_path / "d", [episode(2)], facts(observation_space=box("float32", (5,))))) as buffer:
        assert buffer.spec.columns["observations"].space is None
        (warning,) = buffer.metadata["warnings"]
        assert warning.startswith("The space of 'observations' does not fit its rows (float32 (2,)); left out")


def test_another_version_and_another_number_of_steps_are_told(tmp_path, write):
    said = facts(minari_version="1.0.0", total_steps=17)
    with converted(write(tmp_path / "d", [episode(2)], said)) as buffer:
        assert buffer.metadata["warnings"] == [
            "Written by Minari 1.0.0, which this reader was not made for.",
            "The metadata say 17 steps, there are 2.",
        ]


def test_episodes_without_the_last_observation(tmp_path):
    """Some published episodes have T observations: the last one is not known, and none is made up."""
    episodes = [episode(2), episode(3, 1, "timeout"), episode(2, 2, "timeout")]
    for arrays in episodes[:2]:
        arrays["observations"] = arrays["observations"][:-1]
    with converted(write_hdf5(tmp_path / "d", episodes)) as buffer:
        assert buffer.arrays["episodes/final_known"].all().tolist() == [False, False, True]
        assert buffer.rows_without_next.tolist() == [1, 4]
        assert not buffer[:]["next_observations"][[1, 4]].any()
        assert buffer.metadata["warnings"] == ["2 episodes lack the observation after their last action."]


def test_several_datasets_become_one_buffer(tmp_path):
    folders = [write_hdf5(tmp_path / str(number), [episode(2, number)]) for number in range(2)]
    rlbuffers.convert(ConcatenatedSource([MinariSource(folder / "data") for folder in folders]), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert [part["first_row"] for part in buffer.metadata["source"]["parts"]] == [0, 2]


TEXT = {"type": "Text", "max_length": 5, "min_length": 1, "charset": "ab"}


def test_texts_are_left_out_by_name(tmp_path):
    texts = np.array([b"a", b"ab", b"b"])
    space = {"type": "Dict", "subspaces": {"mission": TEXT, "place": VECTOR}}
    given = {"observations/mission": texts, "observations/place": np.zeros((3, 2), np.float32)}
    with converted(write_hdf5(tmp_path / "d", [episode(2, **given)], facts(observation_space=space))) as buffer:
        assert buffer.spec.observation_names == ["observations/place"]
        assert buffer.metadata["left_out"] == ["'observations/mission': it holds texts or objects, or single values"]


@pytest.mark.parametrize(
    ("arrays", "said", "error", "message"),
    [
        (
            {"actions": None, "actions/left": np.zeros(2), "actions/right": np.zeros(2)},
            {"action_space": {"type": "Dict", "subspaces": {"left": CHOICE, "right": CHOICE}}},
            UnsupportedError,
            r"metadata\.json: the actions are several \(actions/left, actions/right\)",
        ),
        ({"actions": np.array([b"a", b"b"])}, {"action_space": TEXT}, UnsupportedError, "numbers in 'actions'"),
        ({"observations": np.array([b"a", b"b", b"c"])}, {"observation_space": TEXT}, UnsupportedError, "in 'observ"),
        ({"rewards": None}, {}, FormatError, "episode 0: expected rewards; found actions, observations"),
        ({"observations": None}, {}, FormatError, "episode 0: expected observations; found actions"),
        ({"actions": np.zeros(3)}, {}, FormatError, r"expected 2 rows in 'actions'; found shape \(3,\)"),
        ({"observations": np.zeros((4, 2))}, {}, FormatError, r"expected 2 or 3 rows in 'observations'; found shape"),
        ({"truncations": np.zeros(1)}, {}, FormatError, "expected 2 rows in 'truncations'"),
        ({"rewards": np.zeros((2, 3))}, {}, FormatError, r"expected one number a row in 'rewards', found .* \(3,\)"),
        ({"rewards": np.array([0, np.nan])}, {}, FormatError, "expected finite rewards, found nan in row 1"),
        ({"observations": np.zeros((3, 0))}, {}, FormatError, "'observations' cannot be a column"),
        ({}, {"total_episodes": 2}, FormatError, "the metadata say 2 episodes, there are 1"),
        (
            {},
            {"total_episodes": "many"},
            FormatError,
            r"metadata\.json: expected a number as total_episodes, found 'many'",
        ),
        ({}, {"total_steps": [3]}, FormatError, r"expected a number as total_steps, found \[3\]"),
    ],
)
def test_datasets_that_are_refused(tmp_path, arrays, said, error, message):
    refused(write_hdf5(tmp_path / "d", [episode(2, **arrays)], facts(**said)), error, message)


def test_observations_of_different_length(tmp_path):
    given = {"observations/a": np.zeros((3, 2)), "observations/b": np.zeros((2, 2))}
    folder = write_hdf5(tmp_path / "d", [episode(2, **given)], facts(observation_space=None))
    refused(folder, FormatError, "expected 3 rows in 'observations/b'|differ in length")


def test_episodes_of_different_shape(tmp_path):
    folder = write_hdf5(tmp_path / "d", [episode(2), episode(2, observations=np.zeros((3, 4)))])
    refused(folder, FormatError, "'observations' cannot be a column: its rows differ in shape between episodes")


def test_no_steps_and_no_episodes(tmp_path, write):
    refused(write(tmp_path / "d", [episode(2), episode(0)]), FormatError, "episode 1: expected steps, found none")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "data").mkdir()
    write_facts(tmp_path / "e", 0, "arrow", None)
    refused(tmp_path / "e", FormatError, "expected episodes, found none")


def test_a_step_that_went_missing(tmp_path, write):
    folder = write(tmp_path / "d", [episode(2)], None, [{"total_steps": 3}])
    refused(folder, FormatError, "episode 0: expected 3 steps, as stated beside it; found 2")


def test_an_episode_that_went_missing(tmp_path):
    folder = write_hdf5(tmp_path / "d", [episode(1)] * 3, facts() | {"total_episodes": 2})
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1"]
    refused(folder, FormatError, "expected a group 'episode_1', which is missing")


def test_a_folder_that_went_missing(tmp_path):
    folder = write_arrow(tmp_path / "d", [episode(1)] * 3, facts() | {"total_episodes": 2})
    for path in (folder / "data" / "1").iterdir():
        path.unlink()
    (folder / "data" / "1").rmdir()
    refused(folder, FormatError, "expected a folder '1' for that episode, which is missing")


def test_metadata_that_are_no_object(tmp_path, write):
    folder = write(tmp_path / "d", [episode(1)])
    path = folder / "data" / "metadata.json"
    path.write_text("[]")
    refused(folder, FormatError, r"metadata\.json: expected a JSON object")
    path.write_text('{"total_episodes": 1')
    refused(folder, CorruptDataError, r"metadata\.json: damaged or cut short")


def test_two_columns_of_one_name(tmp_path):
    import pyarrow as pa

    folder = write_arrow(tmp_path / "d", [episode(2)])
    (path,) = folder.rglob("*.arrow")
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    table = table.rename_columns(["rewards" if name == "actions" else name for name in table.schema.names])
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    refused(
        folder, FormatError, r"part-0\.arrow: expected columns of different names, found observations, rewards, rew"
    )


def test_episode_metadata_of_arrow(tmp_path):
    folder = write_arrow(tmp_path / "d", [episode(1)])
    path = folder / "data" / "0" / "metadata.json"
    for text, error, message in (
        ("{", CorruptDataError, "damaged or cut short"),
        ("3", FormatError, "expected a JSON object"),
    ):
        path.write_text(text)
        refused(folder, error, message)
    path.unlink()
    refused(folder, BufferNotFoundError, "there is no such file")


@pytest.mark.parametrize("fraction", [0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("name", ["cartpole-hdf5-v0", "cartpole-arrow-v0"])
def test_files_that_were_cut_short(tmp_path, name, fraction):
    import shutil

    folder = tmp_path / "d"
    shutil.copytree(FIXTURES / name, folder)
    path = next(iter(sorted(folder.rglob("*.arrow")) or folder.rglob("*.hdf5")))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    refused(folder, FormatError, path.name)


def test_two_files_of_an_episode(tmp_path):
    folder = write_arrow(tmp_path / "d", [episode(1)])
    (folder / "data" / "0" / "part-1.arrow").write_bytes(b"")
    refused(folder, FormatError, r"expected one \.arrow or \.parquet file, found 2")


def test_rows_of_another_size_than_the_space_says(tmp_path):
    folder = write_arrow(tmp_path / "d", [episode(1)], facts(observation_space=box("float32", (3,))))
    refused(folder, FormatError, r"expected rows of shape \(3,\) in 'observations', found 2 numbers")


def test_damage_never_ends_in_a_traceback(tmp_path):
    """A bit flips anywhere in either payload: one line, or a buffer; nothing else."""
    rng = np.random.default_rng(0)
    lines = []
    for number, write in enumerate([write_hdf5, write_arrow] * 20):
        folder = write(tmp_path / str(number), [episode(3, **{"infos/x": np.arange(4)})])
        path = next(iter(sorted(folder.rglob("*.arrow")) or folder.rglob("*.hdf5")))
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            converted(folder, f"{number}.hdf5").close()
        except RlbuffersError as error:
            lines.append(len(str(error).splitlines()))
    assert set(lines) == {1}


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("cartpole-v0", True),
        ("D4RL/pen/human-v2", True),
        ("ab/x-v10", True),
        ("a/b/x-v1", True),
        ("a/x-v0", False),
        ("x", False),
        ("x-v0/", False),
        ("x-v0\n", False),
        ("/abs/x-v0", False),
        ("../x-v0", False),
        ("x y-v0", False),
    ],
)
def test_ids(name, is_id):
    assert is_dataset_id(name) == is_id


def test_a_dataset_is_found_by_path_or_id(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder = write_hdf5(tmp_path / "ab" / "cd-v0", [episode(1)])
    assert datasets_root() == tmp_path
    for name in ("ab/cd-v0", str(folder), str(folder / "data")):
        assert dataset_folder(name) == folder / "data"
    assert [str(dataset_name(name)) for name in ("ab/cd-v0", str(folder), f"{folder}/data/")] == [
        "ab/cd-v0",
        "cd-v0",
        "cd-v0",
    ]
    with pytest.raises(BufferNotFoundError, match="expected the folder of a Minari dataset"):
        dataset_folder(str(tmp_path / "ab"))


def test_minari_keeps_datasets_at_home(monkeypatch, tmp_path):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert datasets_root() == tmp_path / ".minari" / "datasets"


def test_reading_hdf5_imports_nothing_heavy(tmp_path):
    import subprocess
    import sys

    folder = write_hdf5(tmp_path / "d", [episode(1)])
    code = f"""
import sys, rlbuffers
from pathlib import Path
from rlbuffers.sources.minari.dataset import MinariSource
rlbuffers.convert(MinariSource(Path({str(folder / "data")!r})), {str(tmp_path / "x.hdf5")!r})
assert not any(name.split(".")[0] in ("minari", "gymnasium", "pyarrow", "PIL", "torch") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert json.loads((folder / "data" / "metadata.json").read_text())["total_episodes"] == 1
