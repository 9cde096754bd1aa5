from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minari_files import decoded
from reference import Recipe, make, recipes, write
from truth import DATA

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import BufferExistsError, CorruptDataError, UnsupportedError, UsageError
from rlbuffers.exports.export import export
from rlbuffers.sources.minari.dataset import SEEDS, SEEDS_KNOWN, MinariSource

KINDS = ("terminal", "timeout", "both", "neither")
OBSERVED = st.sampled_from(
    [
        (("observations", "float32", (3,)),),
        (("observations", "float64", ()),),
        (("observations", "uint8", (33, 32)),),
        (("observations", "uint8", (32, 40, 3)),),
        (("observations", "uint8", (32, 33, 1)),),
        (("observations", "uint8", (4, 84, 84)),),
        (("observations/position", "float64", ()), ("observations/touch/left", "bool", (2,))),
        tuple((f"observations/_index_{number}", "int16", (1,)) for number in range(11)),
        (("observations/camera", "uint8", (35, 36, 4)), ("observations/state", "int64", (2, 2))),
    ]
)
ACTIONS = st.sampled_from(
    [
        ("int64", (), {"type": "discrete", "n": 3}),
        ("int64", (), {"type": "discrete", "n": 4, "start": -1}),
        ("uint8", (), {"type": "discrete", "n": 3}),
        ("float32", (2,), {"type": "box", "low": -9.0, "high": 9.0}),
        ("float64", (1,), None),
        ("bool", (3,), None),
    ]
)
ENDS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from([1, 1, 2, 3, 7]), st.booleans()), min_size=1, max_size=5
)
EXTRA = (("infos/qpos", "float64", (3,)), ("infos/deep/er", "int8", ()))


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory):
    """Minari's root for these tests."""
    folder = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        yield folder


@pytest.fixture(scope="module")
def new_id():
    """A function that returns an id that was never used."""
    numbers = iter(range(10**6))
    return lambda: f"test/some-v{next(numbers)}"


def write_buffer(path, observed, actions, rewards, ends, extra=EXTRA, seed=0, seeds=True):
    """Write episodes that end as `ends` says: kind, length, whether the final observation is known."""
    lengths = tuple(length for _, length, _ in ends)
    made = make(Recipe("episodes", lengths, observations=observed, extra=extra, seed=seed))
    rng = np.random.default_rng(seed)
    dtype, shape, space = actions
    columns = [column for name, column in made.spec.columns.items() if name not in ("actions", "rewards")]
    columns += [ColumnSpec("actions", np.dtype(dtype), shape, space), ColumnSpec("rewards", np.dtype(rewards))]
    facts = [ColumnSpec(f"reset_{name}", np.dtype(dtype), shape) for name, dtype, shape in extra]
    facts += [ColumnSpec(SEEDS, np.uint64), ColumnSpec(SEEDS_KNOWN, np.bool_)] if seeds else []
    with rlbuffers.create(path, BufferSpec("episodes", columns, episode_columns=facts)) as writer:
        for number, (episode, (kind, length, known)) in enumerate(zip(made.pieces, ends, strict=True)):
            last = np.arange(length) == length - 1
            rows = {
                **episode.columns,
                "terminals": last & (kind in ("terminal", "both")),
                "timeouts": last & (kind in ("timeout", "both")),
                "actions": rng.integers(0, 2, (length, *shape)).astype(dtype),
                "rewards": rng.normal(size=length).astype(rewards),
            }
            observations = {name: values[: length + known] for name, values in episode.observations.items()}
            once = {f"reset_{name}": np.full(shape, number, dtype) for name, dtype, shape in extra}
            is_known = number == 0 or number % 3 > 0
            once |= {SEEDS: (2**64 - 1 - number) * is_known, SEEDS_KNOWN: is_known} if seeds else {}
            writer.append_episode(Episode(rows, observations, once, kind != "neither"))
    return path


def there_and_back(path, new_path, dataset_id, root):
    """Export a buffer and convert what was written; return the report, the buffer and its copy."""
    again = new_path("memory")
    buffer = rlbuffers.open(path)
    report = export(buffer, dataset_id, "minari")
    assert report.path == root / dataset_id
    back = rlbuffers.convert(MinariSource(root / dataset_id / "data"), again)
    assert back.read == report.written
    return report, buffer, rlbuffers.open(again)


@settings(max_examples=15)
@given(
    observed=OBSERVED,
    actions=ACTIONS,
    rewards=st.sampled_from(["float32", "float64"]),
    ends=ENDS,
    extra=st.sampled_from([(), EXTRA]),
)
def test_a_dataset_comes_back_as_the_same_buffer(new_path, new_id, root, observed, actions, rewards, ends, extra):
    """With all observations known nothing is lost, not the dtypes, the spaces, nor the seeds."""
    ends = [(kind, length, True) for kind, length, _ in ends]
    path = write_buffer(new_path("hdf5"), observed, actions, rewards, ends, extra)
    report, buffer, copy = there_and_back(path, new_path, new_id(), root)
    assert copy.fingerprint == buffer.fingerprint
    assert copy.spec.columns["actions"].space in (buffer.spec.columns["actions"].space, unbounded(actions))
    raw = any(shape == (32, 33, 1) for _, _, shape in observed)
    assert [text for text in report.left_out if "PNG files" not in text] == []
    assert len(report.left_out) == raw


def unbounded(actions):
    dtype, shape, space = actions
    bound = [0, 1] if dtype == "bool" else [None, None]
    low, high = (np.full(shape, value, object).tolist() for value in bound)
    return {"type": "box", "low": low, "high": high} if space is None else space | spread(space, shape)


def spread(space, shape):
    return {key: np.full(shape, space[key], object).tolist() for key in ("low", "high") if key in space}


@settings(max_examples=12)
@given(observed=OBSERVED, ends=ENDS)
def test_last_observations_that_are_not_known(new_path, new_id, root, observed, ends):
    """Terminal episodes get zeros, others lose their last transition; nothing of another episode comes in."""
    path = write_buffer(new_path("hdf5"), observed, ("int64", (), None), "float64", ends)
    cut = [not known and kind not in ("terminal", "both") for kind, _, known in ends]
    if all(lost and length == 1 for lost, (_, length, _) in zip(cut, ends, strict=True)):
        with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError, match="needs an observation after each"):
            export(buffer, new_id(), "minari")
        return
    report, buffer, copy = there_and_back(path, new_path, new_id(), root)
    number = 0
    for old, (kind, length, known) in enumerate(ends):
        before = buffer.episode(old)
        kept = length - cut[old]
        if not kept:
            continue
        after = copy.episode(number)
        number += 1
        for name, rows in before.items():
            if name == "timeouts" and cut[old]:
                assert after[name].tolist() == [False] * (kept - 1) + [True]
            elif name.startswith("observations") and not known and kind in ("terminal", "both"):
                np.testing.assert_array_equal(after[name][:-1], rows)
                assert not after[name][-1].any()
            else:
                expected = rows[: kept + name.startswith("observations")]
                np.testing.assert_array_equal(after[name], expected, err_msg=name)
    assert copy.num_episodes == number == report.written.episodes
    assert report.written.transitions == len(buffer) - sum(cut)
    said = " ".join(report.left_out)
    zeros = sum(not known and kind in ("terminal", "both") for kind, _, known in ends)
    gone = sum(lost and length == 1 for lost, (_, length, _) in zip(cut, ends, strict=True))
    assert (f"last transition of {sum(cut)} episodes without a terminal" in said) == any(cut)
    assert (f"of {zeros} terminal episodes is not known: zeros stand there" in said) == (zeros > 0)
    assert (f"{gone} episodes that consist of such a transition alone" in said) == (gone > 0)


@given(recipe=recipes())
def test_any_buffer_is_written_or_refused(new_path, new_id, root, recipe):
    path = write(new_path("memory"), make(recipe))
    if recipe.layout == "transitions":
        with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError, match=r"Minari holds episodes; .* npz"):
            export(buffer, new_id(), "minari")
        return
    report, buffer, copy = there_and_back(path, new_path, new_id(), root)
    before, after = buffer[:], copy[:]
    lost = {name for name, _, _ in recipe.extra if not name.startswith("infos/")}
    assert set(before) - set(after) == lost
    for name, rows in after.items():
        assert rows.dtype == before[name].dtype
        np.testing.assert_array_equal(rows, before[name], err_msg=name)
    said = [text for text in report.left_out if text.startswith("columns: ")]
    assert said == ([f"columns: {', '.join(sorted(lost))}"] if lost else [])


@pytest.mark.parametrize("name", ["cartpole-hdf5-v0", "pendulum-timeouts-v0"])
def test_a_fixture_comes_back_as_minari_wrote_it(new_path, new_id, root, name):
    folder = DATA / "minari" / "fixture" / name / "data"
    rlbuffers.convert(MinariSource(folder), path := new_path("hdf5"))
    dataset_id = new_id()
    report, _, _ = there_and_back(path, new_path, dataset_id, root)
    assert report.left_out == []
    with h5py.File(folder / "main_data.hdf5") as first, h5py.File(root / dataset_id / "data/main_data.hdf5") as second:
        assert list(first) == list(second)
        for number in first:
            assert {"id", "total_steps", "seed"} <= set(second[number].attrs)
            for key in second[number].attrs:
                assert second[number].attrs[key] == first[number].attrs[key]
            for key in ("observations", "actions", "rewards", "terminations", "truncations"):
                assert second[number][key].dtype == first[number][key].dtype
                np.testing.assert_array_equal(second[number][key], first[number][key])
    before, after = (json.loads((path / "metadata.json").read_text()) for path in (folder, root / dataset_id / "data"))
    own = {"dataset_id": dataset_id, "minari_version": "0.5.3", "dataset_size": after["dataset_size"]}
    same = {key: json.loads(value) if "space" in key or "spec" in key else value for key, value in after.items()}
    assert same == {
        **{key: json.loads(value) if "space" in key or "spec" in key else value for key, value in before.items()},
        **own,
    }


def plain(path, facts=(), extras=(), metadata=None, columns=()):
    """Write one episode of three steps."""
    made = make(Recipe("episodes", (3,), extra=tuple((name, "int16", ()) for name in columns)))
    spec = BufferSpec(
        "episodes",
        made.spec.columns,
        episode_columns=[ColumnSpec(name, np.int16) for name in facts],
        extras=[ColumnSpec(name, np.int16) for name in extras],
    )
    (episode,) = made.pieces
    with rlbuffers.create(path, spec, metadata) as writer:
        writer.append_episode(Episode(episode.columns, episode.observations, dict.fromkeys(facts, 7)))
        for name in extras:
            writer.append_extra(name, np.zeros(4, np.int16))
    return path


def test_what_has_no_place_is_told(tmp_path, new_id):
    path = plain(
        tmp_path / "x.hdf5",
        facts=("env_indices", "reset_infos/gone", "seeds"),
        extras=("metadata/w",),
        columns=("discounts", "infos/x"),
        metadata={"scalars": {"metadata/i": {"dtype": "int8", "value": 1}}, "environment": {"id": "X-v0"}},
    )
    dataset_id = new_id()
    with rlbuffers.open(path) as buffer:
        report = export(buffer, dataset_id, "minari")
    assert report.left_out == [
        "columns: discounts",
        "what each episode has once: env_indices, reset_infos/gone",
        "of the whole buffer: metadata/w, metadata/i",
        "that the environment is X-v0: Minari wants gymnasium's whole specification",
    ]
    with h5py.File(report.path / "data" / "main_data.hdf5") as file:
        assert file["episode_0"].attrs["seed"] == 7
        assert file["episode_0/infos/x"].shape == (3,)


def test_facts_of_the_dataset(tmp_path, new_id):
    spec = {"id": "Maze-v3", "max_episode_steps": 300}
    metadata = {
        "environment": {"id": "Maze-v3", "env_spec": spec, "reference_scores": {"min": -1.0, "max": 2.5}},
        "behavior_policy": {"name": "SAC"},
        "source": {"author": "A", "requirements": ["mazes>=1"], "description": "d", "num_episodes_average_score": 10},
    }
    with rlbuffers.open(plain(tmp_path / "x.hdf5", metadata=metadata)) as buffer:
        report = export(buffer, dataset_id := new_id(), "minari")
    found = json.loads((report.path / "data" / "metadata.json").read_text())
    assert found.pop("dataset_size") == 0.0  # megabytes, as Minari rounds them
    observed, acted = json.loads(found.pop("observation_space")), json.loads(found.pop("action_space"))
    assert (observed["type"], observed["shape"]) == ("Box", [3])
    assert acted == {"type": "Discrete", "dtype": "int64", "start": 0, "n": 6}
    assert json.loads(found.pop("env_spec")) == spec
    assert found == {
        "total_episodes": 1,
        "total_steps": 3,
        "data_format": "hdf5",
        "jpeg_encoding": True,
        "dataset_id": dataset_id,
        "minari_version": "0.5.3",
        "algorithm_name": "SAC",
        "ref_min_score": -1.0,
        "ref_max_score": 2.5,
        "num_episodes_average_score": 10,
        "description": "d",
        "author": ["A"],
        "requirements": ["mazes>=1"],
    }
    assert report.left_out == []


def test_images_are_files_that_lose_nothing(tmp_path, new_id):
    made = make(Recipe("episodes", (2, 3), observations=(("observations", "uint8", (40, 32, 3)),)))
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        report = export(buffer, new_id(), "minari")
        with h5py.File(report.path / "data" / "main_data.hdf5") as file:
            for number in range(2):
                files = file[f"episode_{number}/observations"][:]
                np.testing.assert_array_equal(
                    np.stack([decoded(row.tobytes()) for row in files]), buffer.episode(number)["observations"]
                )
    assert report.left_out == []


def test_images_that_png_cannot_give_back_need_a_newer_minari(tmp_path, new_id):
    made = make(Recipe("episodes", (2,), observations=(("observations", "uint8", (40, 32, 1)),)))
    with rlbuffers.open(write(tmp_path / "x.hdf5", made)) as buffer:
        report = export(buffer, new_id(), "minari")
        expected = buffer.episode(0)["observations"]
    with h5py.File(report.path / "data" / "main_data.hdf5") as file:
        np.testing.assert_array_equal(file["episode_0/observations"], expected)
    found = json.loads((report.path / "data" / "metadata.json").read_text())
    assert (found["jpeg_encoding"], found["minari_version"]) == (False, "0.5.4")
    assert report.left_out == [
        "what Minari before 0.5.4 could read: PNG files would not give these images back in their shape"
    ]


def test_episodes_larger_than_a_block(tmp_path, new_path, new_id, root, monkeypatch):
    monkeypatch.setattr("rlbuffers.exports.base.BLOCK_BYTES", 400)
    ends = [("timeout", length, length % 2 == 0) for length in (1, 30, 2, 31, 3, 1, 40)]
    observed = (("observations/image", "uint8", (32, 33)), ("observations/x", "float32", (2,)))
    path = write_buffer(tmp_path / "x.hdf5", observed, ("int64", (), None), "float64", ends)
    seen = []
    with rlbuffers.open(path) as buffer:
        export(buffer, dataset_id := new_id(), "minari", on_progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 3
    monkeypatch.undo()
    rlbuffers.convert(MinariSource(root / dataset_id / "data"), tmp_path / "y.hdf5")
    with rlbuffers.open(path) as buffer, rlbuffers.open(tmp_path / "y.hdf5") as copy:
        kept = [number for number, (_, length, known) in enumerate(ends) if known or length > 1]
        for number, old in enumerate(kept):
            length = copy.arrays["episodes/lengths"].all()[number]
            for name in ("observations/image", "observations/x"):
                np.testing.assert_array_equal(copy.episode(number)[name], buffer.episode(old)[name][: length + 1])


def test_a_buffer_without_flags(tmp_path, new_path, new_id, root):
    made = make(Recipe("episodes", (3, 2)))
    spec = BufferSpec("episodes", [column for name, column in made.spec.columns.items() if not name.startswith("t")])
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        for number, episode in enumerate(made.pieces):
            rows = {name: values for name, values in episode.columns.items() if not name.startswith("t")}
            observations = {name: values[: len(values) - number] for name, values in episode.observations.items()}
            writer.append_episode(Episode(rows, observations))
    _, _, copy = there_and_back(tmp_path / "x.hdf5", new_path, new_id(), root)
    assert copy[:]["terminals"].tolist() == [False] * 4
    assert copy[:]["timeouts"].tolist() == [False] * 3 + [True]


def test_an_episode_of_which_nothing_is_left_changes_no_other(tmp_path, new_path, new_id, root):
    made = make(Recipe("episodes", (3, 1)))
    with rlbuffers.create(tmp_path / "x.hdf5", made.spec) as writer:
        for number, episode in enumerate(made.pieces):
            rows = {**episode.columns, "terminals": episode.columns["terminals"] & (number == 0)}
            rows["timeouts"] = np.zeros(len(episode), bool)
            observations = {name: values[: len(values) - number] for name, values in episode.observations.items()}
            writer.append_episode(Episode(rows, observations))
    _, _, copy = there_and_back(tmp_path / "x.hdf5", new_path, new_id(), root)
    assert copy[:]["terminals"].tolist() == [False, False, True]
    assert not copy[:]["timeouts"].any()


def test_recordings_that_are_not_whole_are_told(tmp_path, new_id):
    made = make(Recipe("episodes", (3, 2)))
    with rlbuffers.create(tmp_path / "x.hdf5", made.spec) as writer:
        for episode in made.pieces:
            writer.append_episode(Episode(episode.columns, episode.observations, whole=False))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        report = export(buffer, new_id(), "minari")
    assert report.left_out == ["that 2 episodes were not recorded from beginning to end (episodes/whole)"]


@pytest.mark.parametrize("name", ["x", "x-v0.hdf5", "/abs/x-v0", "../x-v0", "n/x-v0", "n n/x-v0", "-v", "out/x"])
def test_what_is_no_id(tmp_path, name):
    with (
        rlbuffers.open(plain(tmp_path / "x.hdf5")) as buffer,
        pytest.raises(UsageError, match=r"expected the id of a Minari dataset, such as"),
    ):
        export(buffer, name, "minari")


def test_a_dataset_that_is_there_stays_unless_told(tmp_path, new_id, root):
    dataset_id = new_id()
    with rlbuffers.open(plain(tmp_path / "x.hdf5")) as buffer:
        export(buffer, dataset_id, "minari")
        before = (root / dataset_id / "data" / "main_data.hdf5").read_bytes()
        with pytest.raises(BufferExistsError, match="exists already"):
            export(buffer, dataset_id, "minari")
        assert (root / dataset_id / "data" / "main_data.hdf5").read_bytes() == before
        export(buffer, dataset_id, "minari", overwrite=True)
    assert sorted(path.name for path in (root / dataset_id).rglob("*")) == ["data", "main_data.hdf5", "metadata.json"]


def test_what_is_not_on_disk_as_it_was_is_noticed(tmp_path, monkeypatch, new_id, root):
    (root / "bad").mkdir()
    monkeypatch.setattr("rlbuffers.exports.episode_arrays.NumberArray.append", lambda *given: None)
    with (
        rlbuffers.open(plain(tmp_path / "x.hdf5")) as buffer,
        pytest.raises(CorruptDataError, match="rewards sum to 0"),
    ):
        export(buffer, "bad/x-v0", "minari")
    assert list((root / "bad").iterdir()) == []


def test_what_is_refused_leaves_nothing(tmp_path, root):
    path = write_buffer(
        tmp_path / "x.hdf5",
        (("observations", "float32", (3,)),),
        ("int64", (), None),
        "float64",
        [("timeout", 1, False)],
    )
    with rlbuffers.open(path) as buffer, pytest.raises(UnsupportedError, match="no episode has one; export to d4rl"):
        export(buffer, "refused/x-v0", "minari")
    assert not (root / "refused").exists()
