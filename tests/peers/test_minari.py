"""Minari itself against our reader and writer: the same values, episode by episode."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from reference import DTYPES, FLOATS, Recipe, make, write
from truth import DATA

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import BufferExistsError, BufferNotFoundError
from rlbuffers.exports.export import export
from rlbuffers.sources.minari.dataset import MinariSource
from rlbuffers.sources.minari.places import dataset_folder, datasets_root, is_dataset_id

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gymnasium as gym
    import minari
    from gymnasium import spaces

FIXTURES = DATA / "minari" / "fixture"
NEW = "0.5.4" in minari.supported_dataset_versions
try:  # some releases of pyarrow refuse the NumPy that other peers need
    import pyarrow.dataset  # noqa: F401

    HAS_ARROW = True
except ImportError:
    HAS_ARROW = False
needs_arrow = pytest.mark.skipif(not HAS_ARROW, reason="pyarrow cannot be imported here")
# The collector leaves temporary folders to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
COLUMNS = {"rewards": "rewards", "terminals": "terminations", "timeouts": "truncations"}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Minari's root, and no other."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


SPACES = {
    "box": (spaces.Box(-np.inf, 9.5, (3,), np.float32), spaces.Discrete(3)),
    "scalar": (spaces.Box(-1, 1, (), np.float64), spaces.Box(-2, np.array([1, 2], np.float32), (2,), np.float32)),
    "discrete": (spaces.Discrete(4, start=-1), spaces.Discrete(3, start=5)),
    "binary": (spaces.MultiBinary(5), spaces.MultiDiscrete([3, 4], start=[1, 0])),
    "bytes": (spaces.Box(0, 255, (7,), np.uint8), spaces.MultiBinary([2, 2])),
    "image": (spaces.Box(0, 255, (32, 35, 3), np.uint8), spaces.Discrete(2)),
    "gray": (spaces.Box(0, 255, (40, 33), np.uint8), spaces.Discrete(2)),
    "dict": (
        spaces.Dict(
            {
                "place": spaces.Dict({"x": spaces.Box(-1, 1, (2, 2), np.float64), "n": spaces.Discrete(3)}),
                "pair": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(0, 255, (33, 32, 3), np.uint8))),
                "mission": spaces.Text(5),
            }
        ),
        spaces.Box(-1, 1, (1,), np.float32),
    ),
    "tuple": (spaces.Tuple([spaces.Box(-1, 1, (number + 1,)) for number in range(11)]), spaces.Discrete(2)),
}


class SomeEnv(gym.Env):
    """Draws observations; ends after a few steps in one way or the other.

    If `mixed`, rewards are ints in some episodes and floats in others; Minari can write that in HDF5 only.
    """

    def __init__(self, name, *, mixed):
        self.mixed = mixed
        self.observation_space, self.action_space = SPACES[name]
        self.observation_space.seed(1)
        self.action_space.seed(2)
        self.episode = 0

    def _observed(self):
        return self.observation_space.sample(), {"count": self.steps, "speed": np.array([[self.steps / 3.0]])}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.episode += 1
        return self._observed()

    def step(self, action):
        self.steps += 1
        observation, info = self._observed()
        over = self.steps == self.episode % 4 + 1
        reward = 0 if self.mixed and self.episode % 3 == 0 else self.steps / 8
        return observation, reward, over and self.episode % 2 == 0, over and self.episode % 3 == 1, info


def collected(name, data_format, episodes=12):
    """Record a dataset with Minari's own collector; some episodes are cut by the reset, some have no seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = minari.DataCollector(
            SomeEnv(name, mixed=data_format == "hdf5"), record_infos=True, data_format=data_format
        )
        for number in range(episodes):
            options = {"minari_autoseed": False, "goal": 1.5} if number == 5 else None
            env.reset(seed=3 if number == 4 else None, options=options)
            over = False
            while not over:
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                over = terminated or truncated or env.unwrapped.steps > 4
        made = env.create_dataset(
            f"made/{name}-{data_format}-v1", algorithm_name="drawn", author="Me", author_email="m@x"
        )
        env.close()
    return made


def flattened(name, values):
    """Yield (column, rows) of nested observations; texts are no columns."""
    if isinstance(values, dict):
        for key, inner in values.items():
            yield from flattened(f"{name}/{key}", inner)
    elif isinstance(values, tuple):
        for number, inner in enumerate(values):
            yield from flattened(f"{name}/_index_{number}", inner)
    elif not isinstance(values, list):
        yield name, values


def assert_same(found, theirs, infos):
    """Compare an episode of ours with one of Minari's."""
    for name, field in COLUMNS.items():
        np.testing.assert_array_equal(found.pop(name), getattr(theirs, field))
    for name, rows in (*flattened("observations", theirs.observations), ("actions", theirs.actions)):
        assert found[name].dtype == rows.dtype, name
        np.testing.assert_array_equal(found.pop(name), rows, err_msg=name)
    for name, rows in flattened("infos", infos):
        np.testing.assert_array_equal(found.pop(name), np.asarray(rows)[1:], err_msg=name)
    assert not found


@pytest.mark.parametrize(
    "data_format", ["hdf5", pytest.param("arrow", marks=needs_arrow), pytest.param("parquet", marks=needs_arrow)]
)
@pytest.mark.parametrize("name", SPACES)
def test_what_minari_collects(tmp_path, name, data_format):
    dataset = collected(name, data_format)
    rlbuffers.convert(MinariSource(dataset_folder(dataset.spec.dataset_id)), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert (buffer.num_episodes, len(buffer)) == (dataset.total_episodes, dataset.total_steps)
        seeds, known = (buffer.arrays[f"episodes/{key}"].all() for key in ("seeds", "seeds_known"))
        for number, said in enumerate(dataset.storage.get_episode_metadata(range(12))):
            theirs = dataset[number]
            assert_same(buffer.episode(number), theirs, theirs.infos)
            assert (said.get("seed") is not None) == known[number]
            assert seeds[number] == (said.get("seed") or 0)
            assert buffer.arrays["episodes/reset_infos/count"].all()[number] == 0
        assert known.sum() == 11
        assert buffer.metadata["counts"]["whole_episodes"] == 12
        assert buffer.metadata["warnings"] == []
        left_out = ["the options that episodes were reset with"]
        if name == "dict":
            left_out.insert(0, "'observations/mission': it holds texts or objects, or single values")
        assert buffer.metadata["left_out"] == left_out
    assert rlbuffers.validate(tmp_path / "x.hdf5").ok


@pytest.mark.parametrize("name", SPACES)
def test_what_minari_collects_comes_back_to_it(tmp_path, name):
    first = collected(name, "hdf5")
    rlbuffers.convert(MinariSource(dataset_folder(first.spec.dataset_id)), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        second = buffer.to_minari(f"again/{name}-v2")
        for number, theirs in enumerate(second):
            assert_same(buffer.episode(number), theirs, theirs.infos)
    assert second.action_space == first.action_space
    if name != "dict":  # which has a text in it
        assert second.observation_space == first.observation_space
    assert (second.total_episodes, second.total_steps) == (first.total_episodes, first.total_steps)
    metadata = second.storage.metadata
    assert (metadata["algorithm_name"], metadata["author"], metadata["author_email"]) == ("drawn", {"Me"}, {"m@x"})
    for before, after in zip(
        first.storage.get_episode_metadata(range(12)), second.storage.get_episode_metadata(range(12)), strict=True
    ):
        assert before.get("seed") == after.get("seed")
        assert (before["id"], before["total_steps"]) == (after["id"], after["total_steps"])


@pytest.mark.skipif(not NEW, reason="the fixtures were written by Minari 0.5.4, which older ones refuse")
@pytest.mark.parametrize("name", ["cartpole-hdf5-v0", "cartpole-arrow-v0", "pendulum-timeouts-v0"])
def test_fixtures(tmp_path, name):
    rlbuffers.convert(MinariSource(FIXTURES / name / "data"), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        for number, theirs in enumerate(minari.MinariDataset(FIXTURES / name / "data")):
            assert_same(buffer.episode(number), theirs, {})


ENDS = (("terminal", 3, True), ("timeout", 2, True), ("both", 1, True), ("neither", 4, True), ("terminal", 2, False))
CUT = ("timeout", 3, False)


def every_ending(path, observed, actions, extra=()):
    """Write a buffer whose episodes end in every way."""
    ends = (*ENDS, CUT)
    made = make(Recipe("episodes", tuple(length for _, length, _ in ends), observations=observed, extra=extra))
    rng = np.random.default_rng(0)
    dtype, shape, space = actions
    columns = [column for name, column in made.spec.columns.items() if name != "actions"]
    spec = BufferSpec("episodes", [*columns, ColumnSpec("actions", np.dtype(dtype), shape, space)])
    with rlbuffers.create(path, spec, {"source": {"author": "A"}}) as writer:
        for episode, (kind, length, known) in zip(made.pieces, ends, strict=True):
            last = np.arange(length) == length - 1
            rows = {
                **episode.columns,
                "terminals": last & (kind in ("terminal", "both")),
                "timeouts": last & (kind in ("timeout", "both")),
                "actions": rng.integers(1, 3, (length, *shape)).astype(dtype),
            }
            observations = {name: values[: length + known] for name, values in episode.observations.items()}
            writer.append_episode(Episode(rows, observations, whole=kind != "neither"))
    return path


DISCRETE = ("int64", (), {"type": "discrete", "n": 3, "start": 1})
CONTINUOUS = ("float32", (2,), {"type": "box", "low": [-3.0, None], "high": 3.0})
BUFFERS = {
    "vectors": ((("observations", "float32", (3,)),), DISCRETE, spaces.Discrete(3, start=1)),
    "doubles": (
        (("observations", "float64", (2, 2)),),
        CONTINUOUS,
        spaces.Box(np.array([-3, -np.inf], np.float32), np.float32(3), dtype=np.float32),
    ),
    "dicts": (
        (("observations/a", "float32", (2,)), ("observations/b/c", "int64", ()), ("observations/b/d", "bool", (2,))),
        ("uint8", (), {"type": "discrete", "n": 3}),
        spaces.Discrete(3),
    ),
    "tuples": (tuple((f"observations/_index_{i}", "float32", (i + 1,)) for i in range(11)), DISCRETE, None),
    "images": ((("observations", "uint8", (36, 48, 3)),), DISCRETE, None),
    "grays": ((("observations/x", "uint8", (32, 48)), ("observations/y", "uint8", (32, 48, 4))), DISCRETE, None),
    "small images": ((("observations", "uint8", (7, 7, 3)),), DISCRETE, None),
    "stacks": ((("observations", "uint8", (4, 84, 84)),), DISCRETE, None),
}


@pytest.mark.parametrize("kind", BUFFERS)
def test_minari_opens_every_kind_of_buffer(tmp_path, kind):
    observed, actions, action_space = BUFFERS[kind]
    with rlbuffers.open(every_ending(tmp_path / "x.hdf5", observed, actions)) as buffer:
        dataset = buffer.to_minari("ab/some-thing-v3")
        local = minari.list_local_datasets(compatible_minari_version=True)
        assert list(local) == ["ab/some-thing-v3"]
        assert dataset.spec.dataset_id == "ab/some-thing-v3"
        assert (dataset.total_episodes, dataset.total_steps) == (6, len(buffer) - 1)
        assert dataset.action_space == action_space or action_space is None
        for number, theirs in enumerate(dataset):
            ours = buffer.episode(number)
            if number == 4:  # terminal, and the last observation is not known
                for name in buffer.spec.observation_names:
                    ours[name] = np.concatenate([ours[name], np.zeros_like(ours[name][:1])])
            if number == 5:  # the last transition is left out
                for name in ours:
                    ours[name] = ours[name] if name in buffer.spec.observation_names else ours[name][:-1].copy()
                ours["timeouts"][-1] = True
            assert_same(ours, theirs, {})
            assert all(dataset.action_space.contains(action) for action in theirs.actions)
            rows = dict(flattened("observations", theirs.observations))
            for name, values in rows.items():
                space = dataset.observation_space
                for part in name.split("/")[1:]:
                    space = space[int(part.removeprefix("_index_"))] if isinstance(space, spaces.Tuple) else space[part]
                assert space.dtype == values.dtype
                assert space.shape == values.shape[1:]
        dataset.set_seed(1)
        sampled = list(dataset.sample_episodes(3))
        assert len({episode.id for episode in sampled}) == 3
        assert len(list(dataset.filter_episodes(lambda episode: bool(episode.terminations[-1])))) == 3
        with pytest.raises(BufferExistsError):
            buffer.to_minari("ab/some-thing-v3")


@pytest.mark.parametrize("dtype", DTYPES + FLOATS)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_minari_opens_every_dtype(tmp_path, dtype, shape):
    observed = (("observations", dtype, shape),)
    with rlbuffers.open(every_ending(tmp_path / "x.hdf5", observed, CONTINUOUS)) as buffer:
        dataset = buffer.to_minari("ab/x-v0")
        np.testing.assert_array_equal(dataset[0].observations, buffer.episode(0)["observations"])
        assert dataset.observation_space.dtype == dataset[0].observations.dtype == np.dtype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_images_that_png_cannot_give_back(tmp_path, channels):
    observed = (("observations", "uint8", (32, 33, channels)),)
    with rlbuffers.open(every_ending(tmp_path / "x.hdf5", observed, DISCRETE)) as buffer:
        export(buffer, "ab/x-v0", "minari")
        if NEW:
            dataset = minari.load_dataset("ab/x-v0")
            np.testing.assert_array_equal(dataset[0].observations, buffer.episode(0)["observations"])
        else:
            with pytest.raises(ValueError, match=r"does not support the dataset generated by Minari 0\.5\.4"):
                minari.load_dataset("ab/x-v0")


@pytest.mark.parametrize("observed", [BUFFERS["vectors"][0], BUFFERS["images"][0]])
def test_minari_adds_to_what_we_wrote(tmp_path, observed):
    with rlbuffers.open(every_ending(tmp_path / "x.hdf5", observed, DISCRETE)) as buffer:
        dataset = buffer.to_minari("ab/x-v0")
    first = dataset[0]
    more = minari.data_collector.EpisodeBuffer(
        observations=list(first.observations),
        actions=list(first.actions),
        rewards=list(first.rewards),
        terminations=list(first.terminations),
        truncations=list(first.truncations),
    )
    dataset.update_dataset_from_buffer([more])
    assert minari.load_dataset("ab/x-v0").total_episodes == 7
    rlbuffers.convert(MinariSource(datasets_root() / "ab" / "x-v0" / "data"), tmp_path / "y.hdf5")
    with rlbuffers.open(tmp_path / "y.hdf5") as buffer:
        np.testing.assert_array_equal(buffer.episode(6)["actions"], first.actions)


@needs_arrow
def test_datasets_that_minari_combines_and_splits(tmp_path):
    parts = [collected("box", "hdf5", 4), collected("box", "arrow", 2)]
    combined = minari.combine_datasets(parts, "made/both-v0")
    rlbuffers.convert(MinariSource(dataset_folder("made/both-v0")), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer.num_episodes == 6
        assert buffer.metadata["source"]["combined_datasets"] == [part.spec.dataset_id for part in parts]
        for number, theirs in enumerate(combined):
            assert_same(buffer.episode(number), theirs, theirs.infos)


def test_the_environment_is_found_again(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = minari.DataCollector(gym.make("CartPole-v1", max_episode_steps=7))
        for seed in range(3):
            env.reset(seed=seed)
            while not any(env.step(env.action_space.sample())[2:4]):
                pass
        env.create_dataset("cartpole/short-v0", ref_min_score=1.0, ref_max_score=7.0, eval_env="CartPole-v0")
        env.close()
    rlbuffers.convert(MinariSource(dataset_folder("cartpole/short-v0")), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        assert buffer.metadata["environment"]["id"] == "CartPole-v1"
        assert buffer.metadata["environment"]["reference_scores"] == {"min": 1.0, "max": 7.0}
        dataset = buffer.to_minari("cartpole/again-v0")
    first = minari.load_dataset("cartpole/short-v0")
    assert dataset.env_spec == first.env_spec
    assert dataset.env_spec.max_episode_steps == 7
    assert dataset.recover_environment().observation_space == first.observation_space
    assert json.loads(dataset.storage.metadata["eval_env_spec"])["id"] == "CartPole-v0"
    assert minari.get_normalized_score(dataset, np.array([4.0])) == 0.5


@pytest.mark.parametrize(
    "name", ["ab/x-v0", "a/x-v0", "a/b/x-v1", "x-v12", "x", "a b/x-v0", "/x-v0", "é/é-v0", "éé/é-v0", "ab//x-v0"]
)
def test_ids_are_minaris(name):
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(name)
        theirs = "-v" in name
    except (ValueError, TypeError):
        theirs = False
    assert is_dataset_id(name) == (theirs and "//" not in name)


def test_a_download_that_fails(monkeypatch):
    def nothing(name, **given):
        raise ValueError("no network\nat all")

    monkeypatch.setattr(minari, "download_dataset", nothing)
    with pytest.raises(BufferNotFoundError, match=r"^ab/x-v0: minari cannot download it \(no network\)$"):
        dataset_folder("ab/x-v0")
    monkeypatch.setattr(minari, "download_dataset", lambda name, **given: None)
    with pytest.raises(BufferNotFoundError, match="minari has downloaded it, but not to"):
        dataset_folder("ab/x-v0")


def test_a_download(monkeypatch, tmp_path, root):
    def fetch(name, **given):
        with rlbuffers.open(write(tmp_path / "x.hdf5", make(Recipe("episodes", (3,))))) as buffer:
            export(buffer, name, "minari")

    monkeypatch.setattr(minari, "download_dataset", fetch)
    assert dataset_folder("ab/x-v0") == root / "ab" / "x-v0" / "data"
