from __future__ import annotations

import numpy as np
import pytest

import rlbuffers
from rlbuffers.errors import FormatError, UsageError
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.npz import NpzSource
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers.sources.stated_actions import StatedActionsSource
from rlbuffers.stated_actions import StatedActions


def archive(path, lengths, *, width=3, **more):
    """Write episodes of random steps, and return the rows."""
    count = sum(lengths)
    rng = np.random.default_rng(count)
    ends = np.zeros(count, bool)
    ends[np.cumsum(lengths) - 1] = True
    columns = {
        "observations": rng.normal(size=(count, width)),
        "actions": rng.integers(0, 4, count),
        "rewards": rng.normal(size=count),
        "terminals": ends,
        **more,
    }
    np.savez(path, **columns)
    return columns


def test_parts_follow_one_another_and_are_named(tmp_path, new_path):
    parts = [
        archive(tmp_path / f"{number}.npz", lengths, weights=np.full(7, number, np.float32))
        for number, lengths in enumerate([(2, 3), (4,), (1, 1)])
    ]
    paths = [tmp_path / f"{number}.npz" for number in range(3)]
    path = new_path("hdf5")
    report = rlbuffers.convert(ConcatenatedSource([NpzSource(path) for path in paths]), path)
    assert (report.written.episodes, report.written.transitions) == (5, 11)
    with rlbuffers.open(path) as buffer:
        for name in ("observations", "actions", "rewards", "terminals"):
            np.testing.assert_array_equal(buffer[:][name], np.concatenate([part[name] for part in parts]))
        source = buffer.metadata["source"]
        assert [file["name"] for file in source["files"]] == ["0.npz", "1.npz", "2.npz"]
        assert [(part["name"], part["first_row"], part["transitions"]) for part in source["parts"]] == [
            (str(paths[0]), 0, 5),
            (str(paths[1]), 5, 4),
            (str(paths[2]), 9, 2),
        ]
        for number in range(3):
            np.testing.assert_array_equal(buffer.extra(f"part{number}/weights"), [number] * 7)
    assert rlbuffers.validate(path).ok


@pytest.mark.parametrize("workers", [0, 1])
def test_pieces_that_are_decoded_elsewhere_come_back_to_their_part(dataset_dir, new_path, workers):
    shards = [dataset_dir / game / "run_1-00001-of-00100" for game in ("Breakout", "Breakout")]
    path = new_path("zarr")
    source = ConcatenatedSource([RLUAtariSource(shard, "Breakout") for shard in shards])
    rlbuffers.convert(source, path, workers=workers)
    with rlbuffers.open(path) as buffer:
        once = rlbuffers.convert(RLUAtariSource(shards[0], "Breakout"), new_path("memory")).path
        with rlbuffers.open(once) as single:
            for name, rows in single[:].items():
                np.testing.assert_array_equal(buffer[:][name], np.concatenate([rows, rows]))
        parts = buffer.metadata["source"]["parts"]
        assert [part["measurements"]["records"] for part in parts] == [300, 300]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, r"column 'observations' is float64 \(4,\) instead of float64 \(3,\), unlike .*0.npz"),
        ({"extra": np.zeros(4)}, r"column 'extra' is float64 \(\) instead of absent"),
        ({"actions": np.zeros(4, np.int32)}, r"column 'actions' is int32 \(\) instead of int64 \(\)"),
    ],
)
def test_parts_that_differ_are_refused(tmp_path, change, message):
    archive(tmp_path / "0.npz", (3,))
    archive(tmp_path / "1.npz", (4,), **change)
    with pytest.raises(FormatError, match=message):
        ConcatenatedSource([NpzSource(tmp_path / f"{number}.npz") for number in range(2)])


def test_nothing_is_refused():
    with pytest.raises(UsageError, match="no source was given"):
        ConcatenatedSource([])


def test_a_bad_part_is_named(tmp_path):
    archive(tmp_path / "0.npz", (3,))
    rewards = np.array([0.0, 1.0, np.nan, 0.0])
    archive(tmp_path / "1.npz", (4,), rewards=rewards)
    source = ConcatenatedSource([NpzSource(tmp_path / f"{number}.npz") for number in range(2)])
    with pytest.raises(FormatError, match=r"1\.npz: expected finite rewards, found nan in row 5"):
        rlbuffers.convert(source, tmp_path / "x.hdf5")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["0.npz", "1.npz"]


@pytest.mark.parametrize(("games", "offset"), [(("Breakout", "Pong"), True), (("Breakout", "Breakout"), False)])
def test_games_have_the_wider_space_and_episodes_of_their_own(dataset_dir, new_path, games, offset):
    """Shards of a run hold rows of the same episodes, and those of two games do not."""
    path = new_path("hdf5")
    shards = [(dataset_dir / game / "run_1-00001-of-00100", game) for game in games]
    single = []
    for shard, game in shards:
        alone = rlbuffers.convert(RLUAtariSource(shard, game, limit=100), new_path("memory")).path
        with rlbuffers.open(alone) as buffer:
            single.append(buffer.arrays["episode_ids"].all())
    report = rlbuffers.convert(ConcatenatedSource([RLUAtariSource(*shard, limit=100) for shard in shards]), path)
    moved = int(single[0].max()) + 1 if offset else 0
    with rlbuffers.open(path) as buffer:
        np.testing.assert_array_equal(
            buffer.arrays["episode_ids"].all(), np.concatenate([single[0], single[1] + moved])
        )
        assert buffer.metadata["source"]["parts"][1].get("episode_id_offsets", {}).get("episode_ids", 0) == moved
        assert buffer.spec.columns["actions"].space["n"] == (6 if offset else 4)
    told = [text for text in report.warnings if "space of column 'actions' is discrete, 0 to 3 in" in text]
    assert len(told) == offset
    if told:
        assert told[0].endswith("the whole has discrete, 0 to 5")
        assert str(shards[1][0]) in told[0]


def test_ids_in_columns_are_moved_too(tmp_path, new_path):
    numbers = np.array([0, 0, 1, 1])
    for number in range(3):
        archive(tmp_path / f"{number}.npz", (2, 2), episode_ids=numbers - (number == 2))
    sources = [NpzSource(tmp_path / f"{number}.npz") for number in range(3)]
    path = rlbuffers.convert(ConcatenatedSource(sources[:2]), new_path("memory")).path
    with rlbuffers.open(path) as buffer:
        assert buffer.arrays["episode_ids"].all().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    stated = StatedActionsSource(
        ConcatenatedSource([NpzSource(tmp_path / f"{number}.npz") for number in range(2)]), StatedActions(4)
    )
    rlbuffers.convert(stated, path, overwrite=True)
    with rlbuffers.open(path) as buffer:
        assert buffer.arrays["episode_ids"].all().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(FormatError, match=r"2\.npz: its episode_ids \(-1 to -1\) are taken by the parts before"):
        rlbuffers.convert(
            ConcatenatedSource([NpzSource(tmp_path / f"{number}.npz") for number in (0, 2)]), tmp_path / "x.hdf5"
        )
    assert not (tmp_path / "x.hdf5").exists()
