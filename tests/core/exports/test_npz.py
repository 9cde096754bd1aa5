from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from reference import Recipe, assert_same_rows, make, recipes, write

import rlbuffers
from rlbuffers.exports.export import export
from rlbuffers.sources.npz import NpzSource


@given(recipe=recipes())
def test_numpy_reads_every_column(new_path, recipe):
    made = make(recipe)
    output = new_path("hdf5").with_suffix(".npz")
    with rlbuffers.open(write(new_path("memory"), made)) as buffer:
        report = export(buffer, output, "npz")
        expected = buffer[:]
    with np.load(output) as archive:
        assert_same_rows(dict(archive), expected)
    assert (report.read.transitions, report.written.transitions) == (len(made), len(made))
    assert report.output_bytes == output.stat().st_size
    said = [text for text in report.left_out if text.startswith("that rows are independent")]
    assert bool(said) == (made.spec.layout == "transitions")


def ends(lengths, kinds):
    """Return the flags of episodes that end as `kinds` say."""
    terminals, timeouts = np.zeros(sum(lengths), bool), np.zeros(sum(lengths), bool)
    for last, kind in zip(np.cumsum(lengths) - 1, kinds, strict=True):
        terminals[last] = kind in ("terminal", "both")
        timeouts[last] = kind in ("timeout", "both")
    return terminals, timeouts


@pytest.mark.parametrize("has_next", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_an_archive_comes_back_the_same(tmp_path, has_next, dtype):
    lengths, kinds = (3, 1, 4, 1, 2, 5), ("terminal", "timeout", "both", "terminal", "timeout", "neither")
    rng = np.random.default_rng(1)
    terminals, timeouts = ends(lengths, kinds)
    count = sum(lengths)
    given_arrays = {
        "observations/image": rng.integers(0, 256, (count, 4, 5)).astype(dtype),
        "observations/position": rng.normal(size=(count, 2)),
        "actions": rng.normal(size=(count, 2)).astype(np.float32),
        "rewards": rng.normal(size=count),
        "terminals": terminals,
        "timeouts": timeouts,
        "infos/step": np.arange(count, dtype=np.int16),
        "metadata/policy/w": rng.normal(size=(3, 2)),
        "metadata/iteration": np.int32(7),
        "metadata/algorithm": np.array("SAC"),
    }
    if has_next:
        for name in ("observations/image", "observations/position"):
            following = np.roll(given_arrays[name], -1, axis=0)
            following[np.cumsum(lengths) - 1] += np.ones((), dtype).astype(following.dtype)
            given_arrays["next_" + name] = following
    np.savez(tmp_path / "in.npz", **given_arrays)
    rlbuffers.convert(NpzSource(tmp_path / "in.npz"), tmp_path / "x.hdf5")
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        report = export(buffer, tmp_path / "out.npz", "npz")
    with np.load(tmp_path / "out.npz") as archive:
        found = dict(archive)
    assert_same_rows(found, {name: np.asarray(rows) for name, rows in given_arrays.items()})
    said = " ".join(report.left_out)
    assert ("next_observations" in said) == (not has_next)


def test_episode_columns_are_left_out_by_name(tmp_path):
    spec = rlbuffers.BufferSpec(
        "episodes",
        make(Recipe("episodes", (2,))).spec.columns,
        episode_columns=[rlbuffers.ColumnSpec("seeds", np.int64)],
    )
    (episode,) = make(Recipe("episodes", (2,))).pieces
    with rlbuffers.create(tmp_path / "x.hdf5", spec) as writer:
        writer.append_episode(rlbuffers.Episode(episode.columns, episode.observations, {"seeds": 3}))
    with rlbuffers.open(tmp_path / "x.hdf5") as buffer:
        report = export(buffer, tmp_path / "x.npz", "npz")
    assert any("seeds" in text for text in report.left_out)
