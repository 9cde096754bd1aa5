"""Every fact of a buffer comes back from every export, or the export names its loss.

The probes are one for each key of the metadata that is told (`METADATA_KEYS`) and one for each kind of column, so a
fact that gets a key without a probe fails here.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from round_trips import AGAIN, invoke

import rlbuffers
from rlbuffers.episode import Episode
from rlbuffers.errors import CorruptDataError, FormatError, UsageError
from rlbuffers.exports import EXPORTS, default_output
from rlbuffers.exports.export import export
from rlbuffers.kept_facts import NAME, KeptFacts
from rlbuffers.metadata import METADATA_KEYS, is_derived
from rlbuffers.reader_versions import faults_of
from rlbuffers.schema import BufferSpec, ColumnSpec
from rlbuffers.sources.concatenated import ConcatenatedSource
from rlbuffers.sources.d4rl.qlearning import D4RLQLearningSource
from rlbuffers.sources.npz import NpzSource

NORMALIZATION = {
    "epsilon": 0.001,
    "columns": {"observations": {"mean": [1.0, 2.0], "std": [0.5, 0.25], "dtype": "float64"}},
}
PROBES = {
    "environment": {"id": "Probe-v3", "wind": 0.25, "reference_scores": {"min": -1.0, "max": 7.0}},
    "behavior_policy": {"name": "prober", "epsilon": 0.125},
    "source": {"format": "probed", "files": [{"name": "probe.bin", "bytes": 7}], "run": 31},
    "derivation": {"operation": "probe", "arguments": {}, "parents": []},
    "normalization": NORMALIZATION,
    "scalars": {"metadata/probe": {"dtype": "int32", "value": 11}},
    "measurements": {"probed": 13},
    "warnings": ["A warning of the probe."],
    "left_out": ["what the probe left out"],
    "notes": ["A note of the probe."],
    "license": "Probe-1.0",
    "citation": "@misc{probe}",
    "written_by": {"command": "probe", "created": "2020-01-01T00:00:00+00:00"},
}
# What is said of the buffer that was exported, and not of the one that its file becomes.
OF_ORIGIN = ("source", "derivation", "written_by")
OVERLAPPING = [{"capacity": 10, "add_count": 5}, {"capacity": 10, "add_count": 8}]
COPIES = ("hdf5", "zarr")
OBSERVED = {"type": "box", "low": [-2.5, None], "high": 8.0}
ACTIONS = {
    "discrete": ("int64", (), {"type": "discrete", "n": 4}),
    "discrete from 1": ("int64", (), {"type": "discrete", "n": 3, "start": 1}),
    "box": ("float32", (2,), {"type": "box", "low": [-1.0, -3.0], "high": [1.0, None]}),
}
SPACES = {
    "observations": OBSERVED,
    "rewards": {"type": "box", "low": -3.0, "high": 4.5},
    "infos/x": {"type": "box", "low": 0.0, "high": 6.5},
}


def probed(path, actions="discrete", **metadata):
    """Write three episodes; every row is within the spaces."""
    dtype, shape, space = ACTIONS[actions]
    spaces = {**SPACES, "actions": space}
    column = {
        "observations": ("float32", (2,)),
        "actions": (dtype, shape),
        "rewards": ("float32", ()),
        "infos/x": ("float32", ()),
        "terminals": ("bool", ()),
        "timeouts": ("bool", ()),
    }
    spec = BufferSpec(
        "episodes",
        [ColumnSpec(name, np.dtype(kind), row, spaces.get(name)) for name, (kind, row) in column.items()],
        episode_columns=[ColumnSpec("seeds", np.dtype(np.int64), (), {"type": "discrete", "n": 9})],
    )
    rng = np.random.default_rng(3)
    with rlbuffers.create(path, spec, {**PROBES, **metadata}) as writer:
        for number, length in enumerate((4, 3, 5)):
            last = np.arange(length) == length - 1
            columns = {
                "actions": np.ones((length, *shape), dtype),
                "rewards": rng.uniform(-3, 4, length).astype(np.float32),
                "infos/x": rng.uniform(0, 6, length).astype(np.float32),
                "terminals": last & (number != 1),
                "timeouts": last & (number == 1),
            }
            observations = rng.uniform(-2, 8, (length + 1, 2)).astype(np.float32)
            writer.append_episode(Episode(columns, {"observations": observations}, {"seeds": number}))
    return path


def read_again(path, to, folder):
    """Export a buffer and read it again; return the new buffer's path, and what the export names as lost."""
    with rlbuffers.open(path) as buffer:
        output = "probe/probe-v0" if to == "minari" else str(folder / Path(default_output(buffer, to)).name)
        report = export(buffer, output, to)
    if to in COPIES:
        return report.path, report.left_out
    again = folder / "again.hdf5"
    result = invoke("convert", *AGAIN[to], "probe/probe-v0" if to == "minari" else output, "-o", again, "--workers", 0)
    assert result.exit_code == 0, result.output
    return again, report.left_out


@pytest.fixture(autouse=True)
def minari_root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def test_every_told_key_has_a_probe_and_stands_in_the_documentation():
    assert set(PROBES) == {key for key in METADATA_KEYS if not is_derived(key)}
    text = (Path(__file__).parents[3] / "docs" / "format.md").read_text()
    table = text.split("| key | content |")[1].split("\n\n")[0]
    keys = {key for row in re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert keys | {"checksum"} == set(METADATA_KEYS)
    assert all(isinstance(value, METADATA_KEYS[key]) for key, value in PROBES.items())


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("to", EXPORTS)
def test_every_fact_comes_back_or_is_named(tmp_path, to, actions):
    path, left_out = read_again(probed(tmp_path / "probed.zarr", actions, experiment={"tag": 5}), to, tmp_path)
    with rlbuffers.open(path) as buffer, rlbuffers.open(tmp_path / "probed.zarr") as first:
        found, spec, fingerprint = buffer.metadata, buffer.spec, first.fingerprint
    origin = found["source"].get("exported_from", {}) if to not in COPIES else found
    assert origin.get("fingerprint") == fingerprint
    lost = []
    for key, probe in {**PROBES, "experiment": {"tag": 5}}.items():
        if key == "written_by" and to in COPIES:
            continue  # every writing says anew by whom
        if key == "normalization":
            (name,) = found[key]["columns"]
            assert spec.columns[name].dtype == np.float32
            came_back = found[key]["columns"][name] == probe["columns"]["observations"]
        else:
            came_back = _holds((origin if key in OF_ORIGIN else found).get(key), probe)
        if not came_back:
            lost.append(key)
    for name, space in {**SPACES, "actions": ACTIONS[actions][2]}.items():
        names = [other for other in spec.columns if other == name or (name == "observations" and name in other)]
        if not names or not _same_space(spec.columns[names[0]], space):
            lost.append(name)
    if "seeds" not in spec.episode_columns or spec.episode_columns["seeds"].space != {"type": "discrete", "n": 9}:
        lost.append("seeds")
    assert [fact for fact in lost if fact not in " ".join(left_out)] == []
    assert not set(lost) & set(PROBES)
    assert rlbuffers.validate(path).ok


def _holds(found, probe):
    if isinstance(probe, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), value) for key, value in probe.items())
    if isinstance(probe, list):
        return isinstance(found, list) and all(item in found for item in probe)
    return found == probe


def _same_space(column, space):
    """Whether a column has a space; one number a bound is the same as that number for each element."""
    return column.space == ColumnSpec(column.name, column.dtype, column.shape, space).space


@pytest.mark.parametrize("to", EXPORTS)
def test_what_is_normalized_is_not_normalized_again(tmp_path, to):
    raw = probed(tmp_path / "raw.hdf5")
    with pytest.raises(UsageError, match="normalized already"):
        rlbuffers.normalize(raw, tmp_path / "twice.hdf5")
    path, left_out = read_again(raw, to, tmp_path)
    assert any("that observations are normalized, for readers other" in text for text in left_out) == (to not in COPIES)
    result = invoke("normalize", path, "-o", tmp_path / "twice.hdf5")
    assert (result.exit_code, "normalized already" in result.stderr) == (2, True)
    with rlbuffers.open(path) as buffer:
        assert rlbuffers.Normalizer.of(buffer).dtype[buffer.spec.observation_names[0]] == "float64"


@pytest.mark.parametrize("to", EXPORTS)
def test_a_buffer_that_says_nothing_gets_no_facts(tmp_path, to):
    path = tmp_path / "plain.hdf5"
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.dtype(np.float32), (2,)),
            ColumnSpec("actions", np.dtype(np.float32), (1,)),
            ColumnSpec("rewards", np.dtype(np.float32)),
            ColumnSpec("terminals", np.dtype(np.bool_)),
        ],
    )
    with rlbuffers.create(path, spec, {}) as writer:
        rows = np.arange(8, dtype=np.float32).reshape(4, 2)
        columns = {"actions": rows[:3, :1], "rewards": rows[:3, 0], "terminals": np.arange(3) == 2}
        writer.append_episode(Episode(columns, {"observations": rows}))
    again, _ = read_again(path, to, tmp_path)
    with rlbuffers.open(again) as buffer:
        assert "normalization" not in buffer.metadata
        assert to == "minari" or buffer.spec.columns["actions"].space is None
    assert rlbuffers.normalize(again, tmp_path / "once.hdf5").written.transitions == 3


def test_inputs_of_which_only_some_are_normalized_are_refused(tmp_path):
    paths = [probed(tmp_path / "a.hdf5"), probed(tmp_path / "b.hdf5", normalization={})]
    for path in paths:
        with rlbuffers.open(path) as buffer:
            export(buffer, path.with_suffix(".npz"), "npz")
    sources = [NpzSource(path.with_suffix(".npz")) for path in paths]
    with pytest.raises(FormatError, match=r"b\.npz: its observations are normalized in another way than those of"):
        ConcatenatedSource(sources)
    result = invoke("convert", "npz", tmp_path / "a.npz", tmp_path / "b.npz", "-o", tmp_path / "ab.hdf5")
    assert result.exit_code == 1
    assert not (tmp_path / "ab.hdf5").exists()


def test_the_view_of_qlearning_knows_them_too(tmp_path):
    with rlbuffers.open(probed(tmp_path / "a.zarr", "box")) as buffer:
        export(buffer, tmp_path / "a.hdf5", "d4rl")
    rlbuffers.convert(D4RLQLearningSource(tmp_path / "a.hdf5"), tmp_path / "b.hdf5")
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        assert buffer.metadata["normalization"] == NORMALIZATION
        assert buffer.spec.columns["next_observations"].space["high"] == 8.0
        assert buffer.spec.columns["actions"].space == ACTIONS["box"][2]


def test_faults_of_the_buffer_that_was_exported_are_still_told(tmp_path):
    source = {"format": "dopamine", "files": [], "reader_version": 1}
    path = probed(tmp_path / "a.hdf5", source={**source, "checkpoints": OVERLAPPING})
    with rlbuffers.open(path) as buffer:
        export(buffer, tmp_path / "a.npz", "npz")
        before = faults_of(buffer.metadata)
    assert len(before) == 1
    rlbuffers.convert(NpzSource(tmp_path / "a.npz"), tmp_path / "b.hdf5")
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        assert faults_of(buffer.metadata) == before


def test_facts_that_are_too_long_for_a_comment(tmp_path):
    """NumPy reads the archive either way; a comment is no array to it."""
    rng = np.random.default_rng(0)
    long = {"secret": rng.bytes(100_000).hex()}
    for name, more in (("short", {}), ("long", {"experiment": long})):
        with rlbuffers.open(probed(tmp_path / f"{name}.hdf5", **more)) as buffer:
            export(buffer, tmp_path / f"{name}.npz", "npz")
            names = {*buffer.spec.batch_names, "metadata/probe"}
        with np.load(tmp_path / f"{name}.npz") as archive:
            assert set(archive) == names | ({NAME} if more else set())
            assert archive["rewards"].shape == (12,)
        assert zipfile.ZipFile(tmp_path / f"{name}.npz").testzip() is None
    rlbuffers.convert(NpzSource(tmp_path / "long.npz"), tmp_path / "again.hdf5")
    with rlbuffers.open(tmp_path / "again.hdf5") as buffer:
        assert buffer.metadata["experiment"] == long
        assert NAME not in buffer.spec.extras


def altered(tmp_path, change):
    """Export to HDF5, and change the text beside the rows."""
    with rlbuffers.open(probed(tmp_path / "a.zarr")) as buffer:
        export(buffer, tmp_path / "a.hdf5", "d4rl")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file.attrs[NAME] = change(json.loads(file.attrs[NAME]))
    return tmp_path / "a.hdf5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "{", "damaged: not JSON"),
        (lambda _: 7, "damaged: not JSON"),
        (lambda _: '{"spaces": NaN}', "NaN is not a JSON number"),
        (lambda _: "[" * 200_000, "damaged: not JSON"),
        (lambda _: "[]", "expected a JSON object"),
        (lambda _: '{"metadata": []}', "'metadata' is of another kind"),
        (lambda _: '{"metadata": {"warnings": "x"}}', "'metadata/warnings' is of another kind"),
        (lambda _: '{"metadata": {"environment": 3}}', "'metadata/environment' is of another kind"),
    ],
)
def test_facts_that_are_no_such_document_are_refused_in_one_line(tmp_path, change, message):
    path = altered(tmp_path, change)
    result = invoke("convert", "d4rl", "--file", path, "-o", tmp_path / "b.hdf5")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"{path}: {NAME}: " in result.stderr
    assert message in result.stderr
    assert not (tmp_path / "b.hdf5").exists()


@pytest.mark.parametrize("space", [{"type": "sphere"}, 3, {"type": "box", "low": [1, 2, 3], "high": 1}, {}])
def test_a_space_that_does_not_fit_is_left_out_and_said(tmp_path, space):
    path = altered(tmp_path, lambda told: json.dumps({**told, "spaces": {"rewards": space}}))
    result = invoke("convert", "d4rl", "--file", path, "-o", tmp_path / "b.hdf5")
    assert result.exit_code == 0
    text = "The space of column 'rewards' that the file states does not fit its rows"
    assert text in " ".join(result.stderr.split())
    with rlbuffers.open(tmp_path / "b.hdf5") as buffer:
        assert buffer.spec.columns["rewards"].space is None
        assert any(text in warning for warning in buffer.metadata["warnings"])


def test_derived_keys_of_a_document_are_not_believed():
    facts = KeptFacts({"metadata": {"counts": {"transitions": 9}, "spec": {}, "license": "L"}}, "here")
    assert facts.metadata({"source": {}}) == {"source": {}, "license": "L"}


def test_a_comment_that_is_cut_is_refused(tmp_path):
    with rlbuffers.open(probed(tmp_path / "a.hdf5")) as buffer:
        export(buffer, tmp_path / "a.npz", "npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.comment = archive.comment[:-40]
    with pytest.raises(CorruptDataError, match="the comment of the archive is damaged"):
        NpzSource(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"metadata": {"notes": ' + "[" * 300 + "]" * 300 + "}}", '{"metadata": {"x": NaN}}', "{", None],
)
def test_a_document_that_is_not_plain_json_is_refused(text):
    with pytest.raises(CorruptDataError, match=r"x\.npz: rlbuffers_metadata: damaged: not JSON"):
        KeptFacts.of_text(text, "x.npz")
