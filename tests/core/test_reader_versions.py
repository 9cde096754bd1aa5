"""Buffers that an earlier version made wrong say so, wherever they have gone since."""

from __future__ import annotations

import shutil

import pytest
from dopamine_log import Ring
from rlds import plain_episode, write_dataset
from truth import DATA

import rlbuffers
from rlbuffers import reader_versions
from rlbuffers.cards.buffer_card import render_card
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.d4rl.hdf5 import D4RLSource
from rlbuffers.sources.dopamine.logs import DopamineSource
from rlbuffers.sources.rl_unplugged.atari_episodes import RLUAtariEpisodesSource
from rlbuffers.sources.rl_unplugged.atari_transitions import RLUAtariSource
from rlbuffers.sources.tfds.rlds import RLDSSource

RLU = DATA / "rl_unplugged"


def episodes(_):
    return RLUAtariEpisodesSource(RLU / "atari_episodes_ordered" / "Pong" / "run_1-00000-of-00050", "Pong")


def transitions(_):
    return RLUAtariSource(RLU / "Pong" / "run_1-00001-of-00100", "Pong")


def dopamine(*dumps):
    """Checkpoints of a ring of 20 rows, each made when so many rows were added."""

    def source(folder):
        ring = Ring(folder / "logs", 20, dumps_itself=False)
        while len(ring.rows) <= max(dumps):
            if len(ring.rows) in dumps:
                ring.dump()
            ring.add(len(ring.rows) + 1, terminal=False)
        return DopamineSource(ring.folder)

    return source


def rlds_named(name):
    return lambda folder: RLDSSource(write_dataset(folder / name, [plain_episode(3)], name=name))


def unknown_d4rl(name):
    """A file that was not known by its name."""

    def make(folder):
        shutil.copy(DATA / "d4rl" / "mini" / "hopper_medium.hdf5", folder / name)
        return D4RLSource(folder / name)

    return make


@pytest.fixture
def as_before(monkeypatch):
    """A function that converts as a version did that knew of no fault."""

    def convert(source, path):
        with monkeypatch.context() as context:
            context.setattr(reader_versions, "MENDS", ())
            rlbuffers.convert(source, path)
        return path

    return convert


def faults(path):
    return [finding.message for finding in rlbuffers.validate(path).errors if finding.rule == "reader"]


def test_a_buffer_of_before_needs_converting_again(tmp_path, as_before):
    old = as_before(episodes(tmp_path), tmp_path / "old.hdf5")
    (fault,) = faults(old)
    assert "rewards stand one row too early" in fault
    assert "Convert the source again" in fault
    with rlbuffers.open(old) as buffer:
        assert buffer.warnings[0] == fault
        assert fault in render_card(buffer.metadata, "old")
    rlbuffers.convert(episodes(tmp_path), tmp_path / "new.hdf5")
    assert faults(tmp_path / "new.hdf5") == []
    with rlbuffers.open(tmp_path / "new.hdf5") as buffer:
        assert buffer.warnings == []


def test_what_was_made_of_it_needs_it_too(tmp_path, as_before):
    old = as_before(episodes(tmp_path), tmp_path / "old.hdf5")
    rlbuffers.convert(episodes(tmp_path), tmp_path / "new.hdf5")
    rlbuffers.subset(old, tmp_path / "part.zarr", size=0.5)
    rlbuffers.merge([tmp_path / "new.hdf5", tmp_path / "part.zarr"], tmp_path / "merged.hdf5")
    rlbuffers.subset(tmp_path / "merged.hdf5", tmp_path / "again.hdf5", size=0.5)
    as_before(ConcatenatedSource([episodes(tmp_path), episodes(tmp_path)]), tmp_path / "joined.hdf5")
    for name in ("part.zarr", "merged.hdf5", "again.hdf5", "joined.hdf5"):
        assert len(faults(tmp_path / name)) == 1, name


@pytest.mark.parametrize(
    ("make", "is_wrong"),
    [
        (transitions, False),
        (rlds_named("some_rlds"), False),
        (rlds_named("rlu_atari_x"), True),
        (dopamine(10, 15), True),
        (dopamine(10, 30, 55), False),
        (dopamine(10), False),
        (unknown_d4rl("antmaze-umaze-v0.hdf5"), True),
        (unknown_d4rl("mine.hdf5"), False),
    ],
)
def test_only_what_was_wrong_is_named(tmp_path, as_before, make, is_wrong):
    assert len(faults(as_before(make(tmp_path), tmp_path / "old.hdf5"))) == is_wrong
