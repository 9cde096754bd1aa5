"""Attack what a buffer says of itself: every value of its metadata, its documents, the sizes that it claims, `--where`.

    python benchmarks/attack/metadata.py --seed 0

Each place of the metadata of a rich buffer gets values of other types and sizes, one at a time, with the checksum made
right again, or as many of these as `--seed` draws. Where the buffer still opens, a command drawn by chance reads it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from attempts import FAILED, HARMLESS, MEGABYTES, NOTICED, REFUSED, Attack, Attempt, attempt, judged, main_of

import rlbuffers
from rlbuffers import BufferSpec, ColumnSpec, Episode
from rlbuffers.errors import RlbuffersError
from rlbuffers.reader import Buffer

Json = dict[str, Any]
Place = tuple[str | int, ...]
_CLAIMS = (10**12, 2**53, 2**63 - 1)
_EXPORTS = ("d3rlpy", "d4rl", "lerobot", "npz", "ogbench", "rlds", "robomimic", "tianshou", "zarr")
_ABSENT = object()
_SHARE = 0.1
_SHARE_OF_DOCUMENTS = 0.4


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list ..."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "absent": _ABSENT,
    "null": None,
    "true": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "2^63": 2**63,
    "10^400": 10**400,
    "1e300": 1e300,
    "NaN": "NaN",
    "empty text": "",
    "long text": "x" * 1_000_000,
    "lists 20 deep": nested(20),
    "lists 400 deep": nested(400),
    "lists 900 deep": nested(900),
    "empty list": [],
    "list": [1, "a", None, {}],
    "ragged": [[1, 2], [3]],
    "empty object": {},
    "object": {"a": {"b": 1}},
    **{f"dtype {name}": name for name in ("V", "float128", "S5", "O", "M8[s]", ">f4", "i8")},
}


def make_buffer(path: Path) -> None:
    """Write a small buffer whose metadata have every key."""
    rng = np.random.default_rng(0)
    spec = BufferSpec(
        "episodes",
        [
            ColumnSpec("observations", np.float32, (2,), {"type": "box", "low": [-9.0, None], "high": 9.0}),
            ColumnSpec("actions", np.int64, (), {"type": "discrete", "n": 5, "start": 1}),
            ColumnSpec("rewards", np.float32),
            ColumnSpec("terminals", np.bool_),
            ColumnSpec("timeouts", np.bool_),
        ],
        episode_columns=[ColumnSpec("seeds", np.int64)],
        extras=[ColumnSpec("weights", np.float32, (2,))],
    )
    part = {"name": "p", "format": "npz", "first_row": 0, "transitions": 9, "files": [{"name": "a", "bytes": 3}]}
    derivation = {"operation": "subset", "arguments": {"episodes": 2}, "parents": []}
    written_by = {"command": "c", "created": "2026-01-01T00:00:00+00:00", "python": "3", "platform": "p"}
    parent = {"name": "p", "fingerprint": "ab", "counts": {"transitions": 9}, "written_by": written_by}
    facts = {
        "environment": {
            "id": "Maze-v0",
            "suite": "S",
            "terminals_end_episodes": True,
            "can_terminate": True,
            "fps": 10,
            "reference_scores": {"min": 0.0, "max": 10.0},
            "max_episode_steps": 5,
            "action_names": list("abcde"),
            "env_spec": {"id": "x"},
            "env_args": {"env_name": "x"},
            "tasks": {"0": "x"},
            "robot_type": "r",
        },
        "behavior_policy": {"name": "random", "epsilon": 0.1},
        "source": {
            "format": "rows",
            "reader_version": 1,
            "name": "n",
            "dataset": "d",
            "published_at": "https://x",
            "files": [{"name": "a", "bytes": 3, "sha256": "00"}],
            "parts": [part, {**part, "first_row": 9}],
            "checkpoints": [{"capacity": 3, "add_count": 4}],
            "author": "me",
            "author_email": "x",
            "features": {"observations": {"shape": [2], "names": ["a", "b"], "dtype": "float32"}},
            "exported_from": {"source": {"format": "d4rl"}, "derivation": derivation, "fingerprint": "ab"},
        },
        "derivation": {**derivation, "parents": [{**parent, "first_row": 0, "derivation": derivation}]},
        "normalization": {
            "epsilon": 0.001,
            "columns": {"observations": {"mean": [0.0, 0.0], "std": [1.0, 1.0], "dtype": "float32"}},
        },
        "storage": {"level": 1},
        "scalars": {
            "number": {"dtype": "int32", "value": 1},
            "text": {"dtype": "str", "value": "t"},
            "bytes": {"dtype": "S5", "value": "t"},
        },
        "measurements": {"x": 1.5},
        "warnings": ["w"],
        "left_out": ["l"],
        "notes": ["n"],
        "license": "MIT",
        "citation": "@misc{a, author={B, C and D}, title={x}}",
        "written_by": {**written_by, "versions": {"numpy": "1"}},
    }
    with rlbuffers.create(path, spec, facts) as writer:
        for number, length in enumerate((3, 5, 4, 6)):
            last = np.arange(length) == length - 1
            columns = {
                "actions": rng.integers(1, 6, length),
                "rewards": rng.integers(-3, 4, length).astype(np.float32),
                "terminals": last & (number < 2),
                "timeouts": last & (number >= 2),
            }
            observed = {"observations": rng.normal(size=(length + 1, 2)).astype(np.float32)}
            writer.append_episode(Episode(columns, observed, {"seeds": number}))
        writer.append_extra("weights", np.arange(6, dtype=np.float32).reshape(3, 2))


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of each value of a JSON document, of lists the first ones."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*at, key))


def changed(document: Json, at: Place, value: Any) -> Json:
    """Return a document with another value at a place, or without it."""
    new = copy.deepcopy(document)
    holder: Any = new
    for key in at[:-1]:
        holder = holder[key]
    if value is _ABSENT:
        del holder[at[-1]]
    else:
        holder[at[-1]] = value
    return new


def with_checksum(document: Json) -> str:
    """Return the text of metadata, with the checksum that fits them."""
    bare = {key: value for key, value in document.items() if key != "checksum"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f'{text[:-1]},"checksum":"{hashlib.sha256(text.encode()).hexdigest()}"}}'


def store_hdf5(path: Path, text: str) -> None:
    """Put metadata into an HDF5 buffer."""
    with h5py.File(path, "r+", locking=False) as file:
        del file.attrs["rlbuffers"]
        file.attrs.create("rlbuffers", text.encode(), dtype=h5py.string_dtype("utf-8", len(text.encode())))


def store_zarr(path: Path, text: str) -> None:
    """Put metadata into a Zarr buffer."""
    head = '{"zarr_format": 3, "node_type": "group", "attributes": {"rlbuffers": '
    (path / "zarr.json").write_text(f"{head}{text}}}}}")


def commands(path: Path, out: Path) -> dict[str, list[str | Path]]:
    """Return the commands that read a buffer."""
    new = out / "new.hdf5"
    over = ["-o", new, "--overwrite"]
    return {
        "info": ["info", path],
        "info --json": ["info", path, "--json"],
        "list": ["list", path.parent],
        "validate": ["validate", path],
        "card": ["card", path],
        "card --croissant": ["card", path, "--croissant"],
        "show": ["show", path],
        "show --json": ["show", path, "--json"],
        "report": ["report", path, "-o", out / "page.html"],
        "subset": ["subset", path, "--by", "episodes", "--size", "50%", *over],
        "filter": ["filter", path, "--where", "length > 1", *over],
        "merge": ["merge", path, path, *over],
        "diff": ["diff", path, out / "whole.hdf5"],
        "repair": ["repair", path, *over],
        "repack": ["repack", path, *over],
        "bench": ["bench", path, "--seconds", "0.05"],
        **{f"export {name}": ["export", path, "--to", name, "-o", out / f"export-{name}"] for name in _EXPORTS},
        "export minari": ["export", path, "--to", "minari", "-o", "export-minari-v0"],
    }


def attack_values(
    attack: Attack, folder: Path, seed: int, suffix: str, store: Callable[[Path, str], None], share: float = 1.0
) -> None:
    """Change every value of the metadata, or a share of them."""
    out = folder / f"out-{suffix}"
    out.mkdir()
    make_buffer(out / "whole.hdf5")
    path = folder / "in" / f"buffer.{suffix}"
    path.parent.mkdir(exist_ok=True)
    make_buffer(path)
    with Buffer(path) as buffer:
        document = dict(buffer.metadata)
    rng = random.Random(seed)
    names = list(commands(path, out))
    minari = {"MINARI_DATASETS_PATH": str(out)}

    def tried_on(name: str) -> Attempt:
        for made in out.glob("export-*"):
            shutil.rmtree(made) if made.is_dir() else made.unlink()
        return attempt(commands(path, out)[name], environment=minari)

    for name in names:
        works = tried_on(name)
        if works.exit_code:
            raise SystemExit(f"{name} does not work unharmed: {works.errors}")
    chosen = [(at, word) for at in places(document) for word in VALUES if rng.random() < share]
    for at, word in chosen:
        store(path, with_checksum(changed(document, at, VALUES[word])))
        how = f"{'/'.join(map(str, at))} = {word}"
        if not opens(path):
            # The same refusal in every command; one in so many is asked for it.
            tried = attempt(["info", path]) if rng.random() < _SHARE else None
            attack.note(f"{suffix}: metadata, refused", outcome(tried) if tried else REFUSED, tried, how)
            continue
        name = rng.choice(names)
        tried = tried_on(name)
        attack.note(f"{suffix}: metadata, opened", outcome(tried), tried, f"{how}, {name}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def opens(path: Path) -> bool:
    """Whether a buffer opens; anything but a refusal in one line comes through."""
    try:
        with Buffer(path):
            return True
    except RlbuffersError as error:
        if "\n" in str(error) or len(str(error)) > 3000:
            raise AssertionError(f"not one line: {str(error)[:200]}") from error
        return False


def outcome(tried: Attempt, unharmed: Callable[[], bool] = lambda: True) -> str:
    """Say what came of an attempt; `validate` and `diff` refuse by a report, `list` by a line in its table."""
    command, output = tried.words[0], tried.output
    if "Traceback" not in tried.errors and not tried.stopped and tried.megabytes <= MEGABYTES:
        if command == "validate" and tried.exit_code == 1 and "NOT VALID" in output:
            return REFUSED
        if command == "diff" and tried.exit_code == 1 and not tried.errors:
            return HARMLESS
        if command == "list" and tried.exit_code == 0 and "damaged" in output:
            return NOTICED
    return judged(tried, unharmed)


def attack_claims(attack: Attack, folder: Path) -> None:
    """Claim more rows than there are, in the metadata and in what describes the arrays."""
    out = folder / "claims"
    out.mkdir()
    for claim in _CLAIMS:
        for name in ("rewards", "observations", "episodes/starts"):
            for kind in ("hdf5", "zarr", "zarr.zip"):
                path = out / f"buffer.{kind}"
                make_buffer(path)
                claim_rows(path, name, claim)
                for words in (["info", path], ["validate", path], ["list", out], ["show", path]):
                    tried = attempt(words)
                    how = f"{name} {claim}"
                    found = outcome(tried)
                    found = f"{FAILED}: accepted" if found == HARMLESS else found
                    attack.note(f"{kind}: claimed rows", found, tried, how)
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def claim_rows(path: Path, name: str, claim: int) -> None:
    """Let all of a buffer say that an array has so many rows (and the others of its kind as many)."""
    with Buffer(path) as buffer:
        document = json.loads(json.dumps(dict(buffer.metadata)))
        rows = document["arrays"][name]["shape"][0]
    alike = [one for one, facts in document["arrays"].items() if facts["shape"][0] == rows]
    for one in alike:
        document["arrays"][one]["shape"][0] = claim
    if rows == document["counts"]["transitions"]:
        document["counts"]["transitions"] = claim
    text = with_checksum(document)
    if path.is_dir():
        store_zarr(path, text)
        for one in alike:
            claim_in(path / one / "zarr.json", claim)
    elif path.suffix == ".zip":
        whole = path.with_suffix(".unpacked")
        with zipfile.ZipFile(path) as archive:
            archive.extractall(whole)
        store_zarr(whole, text)
        for one in alike:
            claim_in(whole / one / "zarr.json", claim)
        path.unlink()
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(whole.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(whole).as_posix())
        shutil.rmtree(whole)
    else:
        store_hdf5(path, text)
        with h5py.File(path, "r+", locking=False) as file:
            for one in alike:
                file[one].resize(claim, axis=0)


def claim_in(document: Path, claim: int) -> None:
    """Change the number of rows in an array's document."""
    described = json.loads(document.read_text())
    described["shape"][0] = claim
    document.write_text(json.dumps(described, indent=2, ensure_ascii=False))


def attack_documents(attack: Attack, folder: Path, seed: int) -> None:
    """Change values of an array's `zarr.json`, and put ZIP files of other kinds in a buffer's place."""
    path = folder / "documents.zarr"
    make_buffer(path)
    place = path / "rewards" / "zarr.json"
    document = json.loads(place.read_text())
    rng = random.Random(seed)
    for at in places(document):
        for word, value in VALUES.items():
            if rng.random() >= _SHARE_OF_DOCUMENTS:
                continue
            place.write_text(json.dumps(changed(document, at, value)))
            how = f"{'/'.join(map(str, at))} = {word}"
            if opens(path):
                tried = attempt(["validate", path])
                attack.note("zarr: values of zarr.json", outcome(tried), tried, how)
            else:
                attack.note("zarr: values of zarr.json", REFUSED, None, how)
    bombs = folder / "bombs"
    bombs.mkdir()
    many, deflated = bombs / "many.zarr.zip", bombs / "deflated.zarr.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(200_000):
            archive.writestr(f"a/c/{number}", b"")
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zarr.json", "w") as member:
        for _ in range(400):
            member.write(bytes(1 << 20))
    sparse = bombs / "sparse.zarr"
    sparse.mkdir()
    with (sparse / "zarr.json").open("wb") as file:
        file.truncate(1 << 36)
    for bomb in (many, deflated, sparse):
        for words in (["info", bomb], ["validate", bomb], ["list", bombs]):
            tried = attempt(words)
            attack.note("zarr: bombs", outcome(tried), tried, bomb.name)


def attack_conditions(attack: Attack, folder: Path) -> None:
    """Give `filter --where` texts that are large in some way."""
    path = folder / "conditions.hdf5"
    make_buffer(path)
    texts = [
        f"length > {'9' * 5000}",
        f"length > {'9' * 400}",
        f"length > 0x{'f' * 4000}",
        f"{'(' * 1000}length{')' * 1000} > 1",
        f"{'abs(' * 1000}length{')' * 1000} > 1",
        f"{'not ' * 2000}length > 1",
        f"{'-' * 4000}length > 1",
        f"length{' + length' * 1000} > 1",
        f"length{' < length' * 1000}",
        "x" * 1_000_000,
        f"`{'x' * 9000}` > 1",
        "10 ** 10 ** 10 > length",
        "length ** 9999999 > 1",
        "9" * 5000,
        f"observations[{'9' * 4500}] > 1",
        "observations[10 ** 10 ** 10] > 1",
        "length > 1e400",
        "'a' * 1000000000 > length",
        "[1] * 1000000000 == length",
        "length > \ud800",
        "length % 0 > 1",
        "(lambda: 1)() > 1",
        "__import__('os').system('true') == 0",
    ]
    for text in texts:
        tried = attempt(["filter", path, "--where", text, "-o", folder / "filtered.hdf5", "--overwrite"])
        attack.note("conditions of filter", outcome(tried), tried, text[:40])


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Run all of it."""
    attack_conditions(attack, folder)
    attack_claims(attack, folder)
    attack_documents(attack, folder, seed)
    attack_values(attack, folder, seed, "hdf5", store_hdf5, 0.06)
    attack_values(attack, folder, seed, "zarr", store_zarr, 0.03)


if __name__ == "__main__":
    main_of("What a buffer says of itself", __doc__, run)
