"""Each rule reports a buffer that breaks it, and only then."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given
from reference import Recipe, make, recipes, write

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import BufferNotFoundError
from rlbuffers.stores.hdf5_views import protect_views
from rlbuffers.stores.memory_store import _BUFFERS
from rlbuffers.validation.rules import RULES

VECTORS = Recipe("episodes", (3, 1, 4, 2))
IMAGES = Recipe("episodes", (3, 1, 4, 2), stack=3)
SHUFFLED = Recipe("transitions", (40,), stack=3)
PLAIN = Recipe("transitions", (40,))


def report_of(made, new_path, store="memory", **options):
    return rlbuffers.validate(write(new_path(store), made), **options)


def findings(report, rule):
    return [(finding.status, finding.message) for finding in report.findings if finding.rule == rule]


def problems(report):
    return {(finding.rule, finding.status) for finding in report.findings if finding.status in ("warning", "error")}


@given(recipe=recipes())
def test_buffers_of_any_kind_pass(store, new_path, recipe):
    report = rlbuffers.validate(write(new_path(store), make(recipe)))
    assert report.errors == []
    assert {finding.rule for finding in report.findings} == {"opens", *RULES}


@pytest.mark.parametrize("recipe", [VECTORS, IMAGES, SHUFFLED], ids=["vectors", "images", "shuffled"])
def test_a_sound_buffer_needs_no_warning(store, new_path, recipe):
    assert problems(report_of(make(recipe), new_path, store)) == set()


def test_a_report_is_json(new_path):
    report = report_of(make(VECTORS), new_path)
    read = json.loads(json.dumps(report.to_json()))
    assert (read["path"], read["ok"]) == (report.path, True)
    assert [finding["rule"] for finding in read["findings"]] == ["opens", *RULES]
    assert {finding["status"] for finding in read["findings"]} <= {"ok", "note"}


def test_the_rules_are_announced(new_path):
    announced = []
    report_of(make(VECTORS), new_path, on_rule=announced.append)
    assert announced == list(RULES)


def test_a_path_without_anything_is_an_error_of_its_own(tmp_path):
    with pytest.raises(BufferNotFoundError):
        rlbuffers.validate(tmp_path / "nothing.hdf5")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_a_file_that_is_no_buffer_does_not_open(tmp_path, content):
    path = tmp_path / "x.hdf5"
    path.write_bytes(content)
    report = rlbuffers.validate(path)
    assert problems(report) == {("opens", "error")}
    assert not report.ok


def flipped(path, name):
    """Change the last byte, of the checksum, of a stored array's first chunk."""
    with rlbuffers.open(path) as buffer:
        places = buffer.arrays[name].table.places(np.array([0]))
        place, file = int(places.offsets[0] + places.sizes[0] - 1), places.files.name(0)
    with open(file, "r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 0x10]))


@pytest.mark.parametrize("store", ["hdf5", "zarr"])
@pytest.mark.parametrize("recipe", [VECTORS, IMAGES, SHUFFLED], ids=["vectors", "images", "shuffled"])
def test_a_flipped_bit_in_any_array_is_found(new_path, store, recipe):
    path = write(new_path(store), make(recipe))
    with rlbuffers.open(path) as buffer:
        names = [name for name, rows in buffer.arrays.items() if len(rows)]
    for name in names:
        copy = new_path(store)
        (shutil.copytree if store == "zarr" else shutil.copy)(path, copy)
        flipped(copy, name)
        report = rlbuffers.validate(copy)
        ((status, message),) = findings(report, "checksums")
        assert status == "error"
        assert f"array {name!r}, chunk 0" in message


@pytest.mark.parametrize("group", ["infos", "episodes"])
def test_a_group_that_plain_readers_do_not_see_is_found(new_path, group):
    columns = [ColumnSpec(name, np.dtype("f4")) for name in ("observations", "actions", "rewards", "infos/x")]
    path = new_path("zarr")
    with rlbuffers.create(path, BufferSpec("episodes", columns)) as writer:
        rows = {name: np.zeros(3, np.float32) for name in ("actions", "rewards", "infos/x")}
        writer.append_episode(Episode(rows, {"observations": np.zeros(4, np.float32)}))
    assert findings(rlbuffers.validate(path), "chunk-tables")[0][0] == "ok"
    (path / group / "zarr.json").unlink()
    ((status, message),) = findings(rlbuffers.validate(path), "chunk-tables")
    assert status == "error"
    assert f"{group}/zarr.json" in message


def swapped(new_path, recipe, **arrays):
    """Write a buffer to memory, then put other content into some of its arrays, unnoticed by checksums.

    Sizes stay as they are; digests and fingerprint are those of the new content, as if a faulty writer had made it.
    """
    made = make(recipe)
    path = new_path("memory")
    writer = rlbuffers.create(path, made.spec)
    for piece in made.pieces:
        (writer.append_episode if isinstance(piece, Episode) else writer.append_transitions)(piece)
    for name, change in arrays.items():
        growing = writer._arrays[name.replace("__", "/")]
        # So few rows are written at once, at the commit.
        growing._write_rows = lambda rows, write=growing._write_rows, change=change: write(change(rows))
    writer.commit()
    return rlbuffers.validate(path)


def with_metadata(new_path, recipe, change):
    """Write a buffer to memory and change its metadata, with a checksum that fits."""
    path = write(new_path("memory"), make(recipe))
    stored = _BUFFERS[str(path)]
    document = json.loads(stored.metadata)
    change(document)
    document.pop("checksum")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    stored.metadata = json.dumps({**document, "checksum": hashlib.sha256(text.encode()).hexdigest()})
    return rlbuffers.validate(path)


def changed(place, value):
    def change(rows):
        rows = rows.copy()
        rows[place] = value
        return rows

    return change


@pytest.mark.parametrize("key", ["digest", "fingerprint"])
def test_content_that_is_not_what_was_written_is_found(new_path, key):
    def change(document):
        (document["arrays"]["rewards"] if key == "digest" else document)[key] = "0" * 64

    report = with_metadata(new_path, VECTORS, change)
    assert ("checksums", "error") in problems(report)


@pytest.mark.parametrize(
    "arrays",
    [
        {"episodes__starts": changed(1, 2)},
        {"episodes__lengths": changed(1, 2)},
        {"episodes__lengths": changed(slice(0, 2), [4, 0])},
        {"episodes__lengths": changed(3, -2)},
        {"episodes__starts": changed(3, 10**9)},
        {"episodes__starts": changed(0, -1)},
    ],
)
def test_episodes_that_do_not_tile_the_rows_are_found(new_path, arrays):
    for recipe in (VECTORS, IMAGES):
        report = swapped(new_path, recipe, **arrays)
        assert findings(report, "equal-lengths") == [("error", "the episodes' starts and lengths do not tile the rows")]


@pytest.mark.parametrize("recipe", [VECTORS, IMAGES, SHUFFLED, PLAIN], ids=["vectors", "images", "shuffled", "plain"])
@pytest.mark.parametrize("count", [0, 1, 9, 11, 41, 10**9])
def test_a_wrong_number_of_transitions_is_found(new_path, recipe, count):
    report = with_metadata(new_path, recipe, lambda document: document["counts"].update(transitions=count))
    ((status, message),) = findings(report, "opens")
    assert status == "error"
    assert f"array 'actions' has {sum(recipe.lengths)} rows, expected {count:,}" in message


@pytest.mark.parametrize("name", ["terminals", "timeouts", "episodes"])
def test_a_wrong_count_is_found(new_path, name):
    report = with_metadata(new_path, VECTORS, lambda document: document["counts"].update({name: 77}))
    ((status, message),) = findings(report, "counts")
    assert status == "error"
    assert message.startswith(f"the metadata says 77 {name}")


@pytest.mark.parametrize("part", ["spec", "arrays", "counts", "fingerprint", "statistics"])
def test_metadata_that_lack_a_part_do_not_open(new_path, part):
    for wrong in ({}, [], None, 3):
        report = with_metadata(new_path, VECTORS, lambda document, wrong=wrong: document.update({part: wrong}))
        assert problems(report) == {("opens", "error")} or (part, wrong) == ("statistics", {})
    report = with_metadata(new_path, VECTORS, lambda document: document.pop(part))
    assert problems(report) == {("opens", "error")}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["rewards", "observations", "next_observations"])
def test_numbers_that_are_not_finite_are_found(new_path, name, bad):
    made = make(PLAIN)
    made.pieces[0][name][[3, 7]] = bad
    number = 2 * made.table[name][0].size
    path = write(new_path("memory"), made)
    told = f"{name!r} holds {number} values that are NaN or infinite, in 2 rows, the first of them row 3"
    assert findings(rlbuffers.validate(path), "finite-values") == [("error", told)]
    with rlbuffers.open(path) as buffer:
        assert buffer.warnings == [told]


def with_space(name, space):
    made = make(PLAIN)
    columns = {**made.spec.columns, name: dataclasses.replace(made.spec.columns[name], space=space)}
    return dataclasses.replace(made, spec=BufferSpec("transitions", columns))


@pytest.mark.parametrize(("action", "outside"), [(0, 0), (5, 0), (6, 1), (-1, 1), (2**62, 1)])
def test_actions_outside_their_space_are_an_error(new_path, action, outside):
    made = make(PLAIN)
    made.pieces[0]["actions"][4] = action
    found = findings(report_of(made, new_path), "values-in-space")
    assert [status for status, _ in found] == ["error" if outside else "ok"]
    if outside:
        assert found[0][1].startswith("1 rows of 'actions' lie outside")


@pytest.mark.parametrize(
    ("space", "outside"),
    [
        ({"type": "box", "low": -0.5, "high": None}, lambda rows: (rows < -0.5).any(axis=1)),
        ({"type": "box", "low": None, "high": [0.0, None, 0.5]}, lambda rows: (rows[:, 0] > 0) | (rows[:, 2] > 0.5)),
        ({"type": "box", "low": -9.0, "high": 9.0}, lambda rows: np.zeros(len(rows), bool)),
    ],
)
def test_rows_outside_a_box_are_counted(new_path, space, outside):
    made = with_space("observations", space)
    count = int(outside(made.table["observations"]).sum())
    found = findings(report_of(made, new_path), "values-in-space")
    assert [status for status, _ in found] == ["warning" if count else "ok"]
    assert not count or found[0][1].startswith(f"{count} rows of 'observations'")


def with_flags(terminals=None, timeouts=None, recipe=VECTORS, whole=True):
    """Return the recipe's buffer with these rows flagged in all."""
    made = make(recipe)
    for episode, (start, stop) in zip(made.pieces, made.bounds, strict=True):
        for name, rows in (("terminals", terminals), ("timeouts", timeouts)):
            if rows is not None:
                episode.columns[name][:] = np.isin(np.arange(start, stop), rows)
    return dataclasses.replace(made, pieces=[dataclasses.replace(episode, whole=whole) for episode in made.pieces])


ENDS = [2, 3, 7, 9]


@pytest.mark.parametrize(
    ("terminals", "timeouts", "expected"),
    [
        (ENDS, [], set()),
        (ENDS[:2], ENDS[2:], set()),
        ([], ENDS, {("terminals-plausible", "NOT ONE of 10 transitions is terminal")}),
        (range(10), [], {
            ("terminals-plausible", "every transition is terminal"),
            ("terminals-plausible", "6 terminals stand before the end"),
        }),
        ([*ENDS, 5], [], {("terminals-plausible", "1 terminals stand before the end")}),
        (ENDS, [0, 1], {("timeouts-plausible", "2 timeouts stand before the end")}),
        (ENDS, [9], set()),
        (ENDS[:3], [], {("timeouts-plausible", "1 episodes end with neither")}),
    ],
)  # fmt: skip
def test_flags_that_make_no_sense_are_warned_of(new_path, terminals, timeouts, expected):
    report = report_of(with_flags(terminals, timeouts), new_path)
    assert report.ok
    found = {(finding.rule, finding.message) for finding in report.warnings}
    assert len(found) == len(expected)
    for rule, beginning in expected:
        assert any(rule == name and message.startswith(beginning) for name, message in found)


def test_episodes_that_were_cut_or_ended_twice_are_noted(new_path):
    report = report_of(with_flags(ENDS, [9], whole=False), new_path)
    assert findings(report, "timeouts-plausible") == [("note", "1 transitions are terminal and timeout at once")]
    ((status, message),) = findings(report, "episode-lengths")
    assert status == "note"
    assert message.startswith(
        "4 episodes were not recorded from beginning to end (episodes/whole is False): returns, and"
    )


def ending_at(lengths, terminals, timeouts=(), *, whole=True):
    """Return a recipe's buffer whose episodes of these numbers end by a terminal or by a timeout."""
    recipe = Recipe("episodes", tuple(lengths))
    ends = np.cumsum(lengths) - 1
    return with_flags(ends[list(terminals)], ends[list(timeouts)], recipe, whole)


@pytest.mark.parametrize(
    ("lengths", "terminals", "timeouts", "count"),
    [
        ([4] * 5, range(5), [], 5),
        ([4] * 6 + [2], range(6), [], 6),  # the recording stopped
        ([4] * 6 + [2], range(7), [], 6),
        ([4] * 5, range(5), range(5), 5),  # both flags at every end
        ([4] * 4, range(4), [], 0),
        ([4] * 5 + [6], range(6), [], 0),
        ([4, 4, 3, 4, 4, 4], range(6), [], 0),
        ([4] * 6, range(5), [5], 0),
        ([4] * 6, [0, 2, 3, 4, 5], [1], 0),
        ([4] * 6, [], range(6), 0),
        ([1] * 20, range(20), [], 0),
    ],
)
def test_terminals_that_only_mark_equal_lengths(new_path, lengths, terminals, timeouts, count):
    made = ending_at(lengths, terminals, timeouts)
    open_ends = [number not in {*terminals, *timeouts} for number in range(len(lengths))]
    pieces = [
        dataclasses.replace(episode, whole=not is_open) for episode, is_open in zip(made.pieces, open_ends, strict=True)
    ]
    report = report_of(dataclasses.replace(made, pieces=pieces), new_path)
    ((status, message),) = findings(report, "terminals-at-limits")
    assert status == ("warning" if count else "ok")
    path = write(new_path("memory"), dataclasses.replace(made, pieces=pieces))
    with rlbuffers.open(path) as buffer:  # the writer notices the same
        assert buffer.warnings == ([message] if count else [])
    if count:
        assert message.startswith(
            f"{count} episodes have 4 steps each and end by a terminal, and none ends by a timeout"
        )


@pytest.mark.parametrize("key", ["max_episode_steps", "horizon"])
@pytest.mark.parametrize(("limit", "longer"), [(6, None), (5, "1 episode is"), (3, "2 episodes are"), (True, None)])
def test_episodes_longer_than_the_limit_are_noted(new_path, key, limit, longer):
    path = write(new_path("memory"), make(Recipe("episodes", (2, 6, 5))), {"environment": {key: limit}})
    ((status, message),) = findings(rlbuffers.validate(path), "episode-lengths")
    assert status == ("note" if longer else "ok")
    with rlbuffers.open(path) as buffer:
        notes = buffer.notes
    if longer:
        told = f"longer than the stated limit of {limit} steps; the longest has 6."
        assert message.startswith(f"{longer} {told}")
        assert len(notes) == 1
        assert notes[0].startswith(f"Episodes are {told}")
    else:
        assert notes == []


def test_the_known_time_limit_is_named_and_goals_are_no_ends(new_path):
    made = ending_at([4] * 5, range(5))
    path = write(new_path("memory"), made, {"environment": {"max_episode_steps": 4}})
    ((_, message),) = findings(rlbuffers.validate(path), "terminals-at-limits")
    assert "4 steps each, the time limit, and end by a terminal" in message
    inside = with_flags([2, 3, 7, 11, 15, 19], [], Recipe("episodes", (4,) * 5))
    assert findings(report_of(inside, new_path), "terminals-at-limits")[0][0] == "ok"
    assert findings(report_of(make(PLAIN), new_path), "terminals-at-limits")[0][0] == "ok"


@pytest.mark.parametrize("recorded", [False, True])
def test_a_task_that_never_terminates_needs_no_terminal_and_has_none(new_path, recorded):
    environment = {"can_terminate": False} if recorded else {"id": "HalfCheetah-v5"}
    task = "the task" if recorded else "HalfCheetah-v5"
    path = write(new_path("memory"), with_flags([], ENDS), {"environment": environment})
    assert findings(rlbuffers.validate(path), "terminals-plausible") == [
        ("ok", f"no transition is terminal, as it should be: {task} never terminates")
    ]
    path = write(new_path("memory"), with_flags(ENDS[:1], ENDS[1:]), {"environment": environment})
    ((status, message),) = findings(rlbuffers.validate(path), "terminals-plausible")
    assert status == "warning"
    assert message.startswith(f"1 transition is terminal, but {task} never terminates.")
    can = {"id": "HalfCheetah-v5", "can_terminate": True}  # what is recorded outranks what is known
    path = write(new_path("memory"), with_flags([], ENDS), {"environment": can})
    assert findings(rlbuffers.validate(path), "terminals-plausible")[0][0] == "warning"


@pytest.mark.parametrize(
    ("missing", "rule", "status"),
    [("terminals", "terminals-plausible", "warning"), ("timeouts", "timeouts-plausible", "note")],
)
@pytest.mark.parametrize("recipe", [VECTORS, PLAIN], ids=["episodes", "transitions"])
def test_missing_flags_are_mentioned(new_path, missing, rule, status, recipe):
    made = make(recipe)
    spec = BufferSpec(made.spec.layout, [column for name, column in made.spec.columns.items() if name != missing])
    for piece in made.pieces:
        (piece if isinstance(piece, dict) else piece.columns).pop(missing)
    report = report_of(dataclasses.replace(made, spec=spec), new_path)
    assert (status, f"there is no column {missing!r}") in [(s, m.split(":")[0]) for s, m in findings(report, rule)]
    assert report.ok


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        (SHUFFLED, changed(3, [4, 5, 6, 160]), "points outside the 160 frames"),
        (SHUFFLED, changed(3, [-1, 0, 1, 2]), "points outside the 160 frames"),
        (SHUFFLED, changed(3, [4, 5, 7, 6]), "not 4 frames in a row"),
        (IMAGES, changed(1, [0, 1, 2, 3]), "the stacks of an episode do not follow one another"),
        (IMAGES, changed(slice(0, 3), [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]), "do not follow one another"),
    ],
)
def test_stacks_that_do_not_follow_are_found(new_path, recipe, change, message):
    report = swapped(new_path, recipe, stack_index=change)
    assert any(message in text for _, text in findings(report, "next-observations"))


def test_stacks_of_independent_transitions_follow_one_another(new_path):
    report = swapped(new_path, SHUFFLED, stack_index=changed(3, [0, 1, 2, 3]))
    assert ("error", "rows of 'stack_index' do not follow one another") in findings(report, "next-observations")


def test_next_stacks_that_do_not_overlap_are_counted(new_path):
    recipe = dataclasses.replace(SHUFFLED, apart=0.3)
    path = write(new_path("memory"), make(recipe))
    count = rlbuffers.open(path).metadata["counts"]["next_overrides"]
    assert count > 0
    expected = [("warning", f"{count} next observations do not overlap with their observation")]
    assert findings(rlbuffers.validate(path), "next-observations") == expected


@pytest.mark.parametrize(
    "arrays",
    [
        {"next_overrides__rows": changed(0, 40)},
        {"next_overrides__rows": changed(0, -1)},
        {"next_overrides__rows": lambda rows: rows[::-1].copy()},
        {"next_overrides__rows": changed(1, 0)},
    ],
)
def test_overrides_of_rows_that_cannot_be_found_are_an_error(new_path, arrays):
    report = swapped(new_path, dataclasses.replace(SHUFFLED, apart=0.3), **arrays)
    assert ("next-observations", "error") in problems(report)


def test_returns_that_are_not_the_sum_of_rewards_are_found(new_path):
    report = swapped(new_path, VECTORS, episodes__returns=changed(2, 100.0))
    assert findings(report, "returns-equal-stored") == [("error", "1 episodes, the first of them number 2")]


def test_rows_that_state_another_return_than_their_episode_are_warned_of(new_path):
    made = make(dataclasses.replace(PLAIN, extra=(("episode_ids", "int64", ()), ("episode_returns", "float32", ()))))
    made.pieces[0]["episode_ids"][:] = np.arange(40) // 10
    made.pieces[0]["episode_returns"][:] = np.arange(40) // 10
    assert [status for status, _ in findings(report_of(made, new_path), "returns-equal-stored")] == ["note"]
    made.pieces[0]["episode_returns"][[3, 39]] = 7
    found = findings(report_of(made, new_path), "returns-equal-stored")
    assert found[0] == ("warning", "2 rows state another return than their episode")


def test_rows_that_occur_twice_are_counted(new_path):
    for recipe in (PLAIN, SHUFFLED):
        made = make(recipe)
        for values in made.pieces[0].values():
            values[[30, 31]] = values[7]
        expected = [("warning", "2 of 40 rows repeat another row")]
        assert findings(report_of(made, new_path), "no-duplicates") == expected


@pytest.mark.parametrize("recipe", [VECTORS, IMAGES], ids=["vectors", "images"])
def test_episodes_that_occur_twice_are_counted(new_path, recipe):
    made = make(recipe)
    made.pieces.append(made.pieces[2])
    expected = "1 of 5 episodes repeat another one, e.g. episode 4 repeats 2"
    assert findings(report_of(made, new_path), "no-duplicates") == [("warning", expected)]


@pytest.mark.parametrize("recipe", [VECTORS, IMAGES, SHUFFLED], ids=["vectors", "images", "shuffled"])
def test_views_that_show_something_else_are_found(new_path, recipe):
    made = make(recipe)
    path = write(new_path("hdf5"), made)
    for shape in (made.table["next_observations"].shape, (3,)):
        with h5py.File(path, "r+") as file:
            del file["next_observations"]
            layout = h5py.VirtualLayout(shape, made.table["observations"].dtype)
            file.create_virtual_dataset("next_observations", layout)
        protect_views(path)  # as if a faulty writer had made it
        assert problems(rlbuffers.validate(path)) == {("views-agree", "error")}


def test_observations_that_are_nan_agree_with_their_view(new_path):
    made = make(VECTORS)
    made.pieces[0].observations["observations"][1] = np.nan
    report = report_of(made, new_path, "hdf5")
    assert [status for status, _ in findings(report, "views-agree")] == ["ok"]


def test_columns_of_any_name_are_validated(new_path):
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations/α", np.float16, (2,)),
            ColumnSpec("actions", np.float64, (3,), {"type": "box", "low": -1, "high": 1}),
            ColumnSpec("rewards", np.int8),
        ],
    )
    columns = {"actions": np.full((4, 3), 2.0), "rewards": np.ones(4, np.int8)}
    with rlbuffers.create(new_path("hdf5"), spec) as writer:
        writer.append_episode(Episode(columns, {"observations/α": np.arange(10).reshape(5, 2).astype(np.float16)}))
    report = rlbuffers.validate(writer.path)
    assert problems(report) == {("values-in-space", "error"), ("terminals-plausible", "warning")}
