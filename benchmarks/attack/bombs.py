"""Small files of other formats that claim, or unpack to, gigabytes: each must be refused within seconds and 300 MB.

    python benchmarks/attack/bombs.py

Every bomb is made of a fixture in tests/data or by hand, converted in a process of its own, and looked at by `info`.
Takes some minutes; with RLBUFFERS_BOMBS=minari only the rows with that word.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import zstandard
from attempts import PATIENCE, Attack, attempt, judged, load_sources, main_of
from google_crc32c import value as crc32c

import rlbuffers

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
KIND = "Claimed sizes"
GIGABYTE = 1 << 30
MEMBERS = 2_000_000
PIECE = bytes(1 << 22)
ATARI = ("rl-unplugged", "--task", "Pong", "--file")
CONTROL = ("rl-unplugged", "--task", "cheetah_run", "--suite", "control-suite", "--file")
DMLAB = ("rl-unplugged", "--suite", "dmlab", "--task", "rooms_watermaze/training_0", "--file")
PIXELS = DATA / "tfds" / "mini_rlds" / "pixels" / "1.0.0"
DOPAMINE = DATA / "dopamine" / "Breakout" / "1" / "replay_logs"
REVERB = next((DATA / "reverb" / "pendulum").iterdir())
MINARI = DATA / "minari" / "fixture" / "cartpole-arrow-v0"
LEROBOT = DATA / "lerobot" / "v2.1"
ZARR = DATA / "diffusion_policy" / "pusht.zarr"
HONEST = {"minari": MINARI, "diffusion-policy": ZARR}

Bomb = tuple[str, tuple[str, ...], Callable[[Path], Path]]
_BOMBS: list[Bomb] = []


def bomb(row: str, *words: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Add what makes a bomb in an empty folder and returns its path; `words` stand before that in `convert`."""

    def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        _BOMBS.append((row, words, make))
        return make

    return add


def masked(data: bytes) -> bytes:
    """Return the checksum of a TFRecord."""
    checksum = crc32c(data)
    return struct.pack("<I", (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def header(length: int) -> bytes:
    """Return what stands before a record of so many bytes."""
    packed = struct.pack("<Q", length)
    return packed + masked(packed)


def varint(value: int) -> bytes:
    """Encode a number as Protocol Buffers do."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def delimited(number: int, content: bytes) -> bytes:
    """Encode a field that has a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(name: str, kind: int, content: bytes) -> bytes:
    """Encode a tf.train.Example of one feature: 1 byte strings, 2 floats, 3 integers."""
    return delimited(1, delimited(1, delimited(1, name.encode()) + delimited(2, delimited(kind, content))))


def record(data: bytes) -> bytes:
    """Frame a record."""
    return header(len(data)) + data + masked(data)


def zeros_behind(first: bytes, size: int) -> Iterator[bytes]:
    """Yield some bytes and so many zeros."""
    yield first
    for _ in range(size // len(PIECE)):
        yield PIECE


@functools.cache
def _zeros() -> bytes:
    """Return `PIECE` deflated, so that it can stand behind anything that was flushed."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    return deflater.compress(PIECE) + deflater.flush(zlib.Z_FULL_FLUSH)


def _streamed(pieces: Iterable[bytes], checksum: Callable[[bytes, int], int], first: int) -> tuple[bytes, int, int]:
    """Return the deflated pieces, their checksum and their size; zeros are deflated only once."""
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    parts, found, size, is_flushed = [], first, 0, False
    for piece in pieces:
        found, size = checksum(piece, found), size + len(piece)
        if piece is not PIECE:
            parts.append(deflater.compress(piece))
        else:
            parts += [b"" if is_flushed else deflater.flush(zlib.Z_FULL_FLUSH), _zeros()]
        is_flushed = piece is PIECE
    return b"".join([*parts, deflater.flush()]), found, size


def gzip_of(pieces: Iterable[bytes]) -> bytes:
    """Return a GZIP stream."""
    data, checksum, size = _streamed(pieces, zlib.crc32, 0)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + data + struct.pack("<LL", checksum, size & 0xFFFFFFFF)


def zlib_of(pieces: Iterable[bytes]) -> bytes:
    """Return a ZLIB stream, as of Reverb."""
    data, checksum, _ = _streamed(pieces, zlib.adler32, 1)
    return b"\x78\x01" + data + struct.pack(">L", checksum)


def written(path: Path, data: bytes) -> Path:
    """Write a file."""
    path.write_bytes(data)
    return path


def sparse(path: Path, first: bytes, size: int) -> Path:
    """Write a file of which most was never written."""
    with path.open("wb") as file:
        file.write(first)
        file.truncate(size)
    return path


def copied(source: Path, folder: Path) -> Path:
    """Copy a fixture."""
    return Path(shutil.copytree(source, folder / source.name))


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON document."""
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def npy(shape: str, dtype: str = "<f4") -> bytes:
    """Return the header of an array."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _shard(pieces: Callable[[], Iterator[bytes]], folder: Path) -> Path:
    return written(folder / "shard.gz", gzip_of(pieces()))


def _packed(number: int, content: bytes, times: int) -> Callable[[], Iterator[bytes]]:
    """Return what makes the record of one feature whose list has the same bytes again and again."""
    packed = delimited(1, content * times) if number == 3 else content * times
    return lambda: iter([record(example("actions" if number == 3 else "o_t", number, packed))])


for _words in (ATARI, CONTROL, DMLAB):
    for _row, _pieces in (
        ("shards: a record of 1 GB", lambda: zeros_behind(header(GIGABYTE - 1), GIGABYTE)),
        ("shards: 100 million packed numbers", lambda: _packed(3, b"\0", 100_000_000)()),
        ("shards: 60 million packed numbers", lambda: _packed(3, b"\0", 60_000_000)()),
        ("shards: 30 million byte strings", lambda: _packed(1, b"\x0a\0", 30_000_000)()),
        ("shards: 12 million numbers, not packed", lambda: _packed(2, b"\x0d\0\0\0\0", 12_000_000)()),
    ):
        bomb(_row, *_words)(functools.partial(_shard, _pieces))
bomb("shards: a record of 3 GB", *ATARI)(
    functools.partial(_shard, lambda: zeros_behind(header(3 * GIGABYTE), 3 * GIGABYTE))
)
bomb("shards: zeros without end", *ATARI)(functools.partial(_shard, lambda: zeros_behind(b"", 3 * GIGABYTE)))


def _shard_of(folder: Path) -> Path:
    return next(folder.glob("*.tfrecord-*"))


@bomb("tfds: a record of 1 GB in a sparse file", "tfds", "--dir")
def _(folder: Path) -> Path:
    path = copied(PIXELS, folder)
    sparse(_shard_of(path), header(GIGABYTE), 2 * GIGABYTE)
    return path


def _shard_lengths(lengths: Any, folder: Path) -> Path:
    path = copied(PIXELS, folder)
    changed(path / "dataset_info.json", lambda info: info | {"splits": [info["splits"][0] | {"shardLengths": lengths}]})
    return path


for _lengths in (
    *([str(1 << 60)], [1 << 62], ["-5"], [-1], ["9" * 5000], [1] * 3_000_000, ["1"] * 9_000_000, [1 << 60] * 100_000),
):
    bomb("tfds: lengths of shards", "tfds", "--dir")(functools.partial(_shard_lengths, _lengths))


@bomb("tfds: lengths of shards", "tfds", "--dir")
def _(folder: Path) -> Path:
    path = _shard_lengths([str(1 << 26)], folder)
    sparse(_shard_of(path), b"", 4 * GIGABYTE)
    return path


def _image(kind: str, folder: Path) -> Path:
    """Put an image that claims 60,000 × 60,000 pixels in place of the first one of each step."""
    png = b"\x89PNG\r\n\x1a\n"
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png += struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(bytes(1 << 20))
    png += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 60_000, 60_000, 3) + bytes(9) + b"\xff\xd9"
    image = png if kind == "png" else jpeg
    if folder.name.startswith("lerobot"):
        path = copied(LEROBOT, folder)
        for place in (path / "data").rglob("*.parquet"):
            table = pyarrow.parquet.read_table(place)
            images = [{"bytes": image, "path": "x"}] * len(table)
            pyarrow.parquet.write_table(table.append_column("observation.images.top", [images]), place)
        return path
    path = copied(PIXELS, folder)
    shard = _shard_of(path)
    from rlbuffers.decoding.example_file import read_examples
    from rlbuffers.decoding.example_writer import framed_record, serialize_example

    written = []
    for features, _ in read_examples(shard):
        values = {
            name: value if isinstance(value, np.ndarray) else [image] * len(value) for name, value in features.items()
        }
        written.append(framed_record(serialize_example(values)))
    shard.write_bytes(b"".join(written))
    return path


bomb("images of 60,000 x 60,000 pixels", "tfds", "--dir")(functools.partial(_image, "png"))
bomb("images of 60,000 x 60,000 pixels", "tfds", "--dir")(functools.partial(_image, "jpeg"))


def _dopamine(folder: Path, **arrays: tuple[bytes, int]) -> Path:
    path = copied(DOPAMINE, folder)
    for name, (first, size) in arrays.items():
        written(path / f"$store$_{name}_ckpt.0.gz", gzip_of(zeros_behind(first, size)))
    return path


for _shape in (f"({1 << 60}, 84, 84)", f"({1 << 22}, 1024, 1024)", f"({1 << 24}, 1, 1)", f"(100, {1 << 40}, 1)"):
    bomb("dopamine: claimed shapes", "dopamine")(
        lambda folder, shape=_shape: _dopamine(folder, observation=(npy(shape, "|u1"), 1 << 22))
    )


@bomb("dopamine: claimed shapes", "dopamine")
def _(folder: Path) -> Path:
    rows = f"({1 << 24},)"
    return _dopamine(
        folder,
        observation=(npy(f"({1 << 24}, 1, 1)", "|u1"), 1 << 24),
        action=(npy(rows, "<i8"), 1 << 27),
        reward=(npy(rows, "<f8"), 1 << 27),
        terminal=(npy(rows, "|u1"), 1 << 24),
    )


@bomb("dopamine: zeros without end", "dopamine")
def _(folder: Path) -> Path:
    capacity = np.load(io.BytesIO(gzip.decompress((DOPAMINE / "$store$_action_ckpt.0.gz").read_bytes()))).shape[0]
    return _dopamine(folder, action=(npy(f"({capacity},)", "<i4"), 3 * GIGABYTE))


for _name in ("tables", "items", "chunks"):

    @bomb("reverb: a record of 1 GB", "reverb", "--table", "transitions")
    def _(folder: Path, name: str = _name) -> Path:
        path = copied(REVERB, folder)
        written(path / f"{name}.tfrecord", zlib_of(zeros_behind(header(GIGABYTE), GIGABYTE + (64 << 20))))
        return path

    @bomb("reverb: 20 records of 60 MB", "reverb", "--table", "transitions")
    def _(folder: Path, name: str = _name) -> Path:
        path = copied(REVERB, folder)
        large = record(delimited(99, bytes(60_000_000)))
        written(path / f"{name}.tfrecord", zlib_of(large for _ in range(20)))
        return path


def _npz(folder: Path, name: str, first: bytes, size: int) -> Path:
    path = folder / "x.npz"
    with zipfile.ZipFile(DATA / "stable_baselines" / "walk.npz") as source:
        members = {info.filename: source.read(info) for info in source.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in members.items():
            if member != name:
                archive.writestr(member, content)
        with archive.open(name, "w", force_zip64=True) as file:
            for piece in zeros_behind(first, size):
                file.write(piece)
    return path


for _format, _name in (("npz", "rewards.npy"), ("npz", "obs.npy"), ("stable-baselines", "episode_starts.npy")):

    @bomb("npz: a member that becomes 900 MB", _format)
    def _(folder: Path, name: str = _name) -> Path:
        size = 900 * (1 << 20)
        return _npz(folder, name, npy(f"({size // 4},)"), size)


for _shape in ("(-3,)", "(True,)", "(" + "1, " * 40 + ")", f"({1 << 62},)", f"({1 << 40}, 0)", "(1.5,)"):
    bomb("npz: headers", "npz")(lambda folder, shape=_shape: _npz(folder, "rewards.npy", npy(shape), 0))


@bomb("npz: a header without end", "npz")
def _(folder: Path) -> Path:
    return _npz(folder, "rewards.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", GIGABYTE)


def _members(folder: Path, *, stated: int) -> Path:
    """Write a directory of 2 million members that all stand in one place."""
    path = folder / "x.npz"
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 11, 0) + b"0000000.npy"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0) + b"0000000.npy"
    entries = np.tile(np.frombuffer(entry, np.uint8), (MEMBERS, 1))
    for place in range(7):
        entries[:, -5 - place] += (np.arange(MEMBERS) // 10**place % 10).astype(np.uint8)
    ends = b""
    if stated > 0xFFFF:
        ends = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, stated, stated, entries.size, len(local))
        ends += struct.pack("<4sLQL", b"PK\6\7", 0, len(local) + entries.size, 1)
    count = min(stated, 0xFFFF)
    ends += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, entries.size, len(local), 0)
    return written(path, local + entries.tobytes() + ends)


for _format, _stated in (("npz", 2_000_000), ("npz", 3), ("exorl", 2_000_000), ("diffusion-policy", 3)):
    bomb("ZIP: 2 million members", _format)(functools.partial(_members, stated=_stated))


def _minari(folder: Path, **facts: Any) -> Path:
    path = copied(MINARI, folder)
    changed(path / "data" / "metadata.json", lambda found: found | facts)
    return path


for _facts in (
    {"total_episodes": 1 << 60},
    {"total_episodes": 1e300},
    {"observation_space": json.dumps({"type": "Box", "dtype": "float32", "shape": [1 << 60], "low": 0, "high": 1})},
    {"observation_space": json.dumps({"type": "MultiBinary", "n": [1 << 60]})},
    {"observation_space": '{"type": "Tuple", "subspaces": [' * 900 + '{"type": "Discrete", "n": 2}' + "]}" * 900},
    {"action_space": json.dumps({"type": "MultiDiscrete", "nvec": [[1 << 60] * 1000] * 1000})},
):
    bomb("minari: metadata", "minari")(lambda folder, facts=_facts: _minari(folder, **facts))


@bomb("minari: metadata", "minari")
def _(folder: Path) -> Path:
    path = copied(MINARI, folder)
    (path / "data" / "metadata.json").write_text("[" + "{}," * 10_000_000 + "{}]")
    return path


@bomb("minari: metadata", "minari")
def _(folder: Path) -> Path:
    path = copied(MINARI, folder)
    sparse(path / "data" / "metadata.json", b"{", 1 << 40)
    return path


for _codec in ("zstd", "lz4"):

    @bomb("minari: Arrow buffers that become 1 GB", "minari")
    def _(folder: Path, codec: str = _codec) -> Path:
        path = copied(MINARI, folder)
        place = path / "data" / "0" / "part-0.arrow"
        large = pyarrow.array(np.zeros(1 << 27), pyarrow.float64())
        options = pyarrow.ipc.IpcWriteOptions(compression=codec)
        wide = pyarrow.table({"rewards": large})
        with pyarrow.ipc.new_file(place, wide.schema, options=options) as writer:
            writer.write_table(wide)
        return path


@bomb("minari: Parquet of 130 million rows", "minari")
def _(folder: Path) -> Path:
    path = copied(MINARI, folder)
    (path / "data" / "0" / "part-0.arrow").unlink()
    table = pyarrow.table({"rewards": pyarrow.array(np.zeros(1 << 27), pyarrow.float64())})
    pyarrow.parquet.write_table(table, path / "data" / "0" / "part-0.parquet", row_group_size=1 << 27)
    return path


def _wide_row(table: pyarrow.Table, name: str) -> pyarrow.Table:
    """Give the first row of a column 100 million numbers, which are all alike."""
    lists = pyarrow.ListArray.from_arrays(
        np.concatenate([[0], np.full(len(table), 100_000_000)]).astype(np.int32), np.zeros(100_000_000, np.float32)
    )
    return table.set_column(table.schema.get_field_index(name), name, lists)


@bomb("lerobot: a row of 100 million numbers", "lerobot")
def _(folder: Path) -> Path:
    path = copied(LEROBOT, folder)
    place = path / "data" / "chunk-000" / "episode_000001.parquet"
    pyarrow.parquet.write_table(_wide_row(pyarrow.parquet.read_table(place), "action"), place)
    return path


@bomb("lerobot: 50 million episodes", "lerobot")
def _(folder: Path) -> Path:
    path = copied(DATA / "lerobot" / "v3.0", folder)
    place = next((path / "meta" / "episodes").rglob("*.parquet"))
    zeros = np.zeros(50_000_000, np.int64)
    pyarrow.parquet.write_table(pyarrow.table({"episode_index": zeros, "length": zeros}), place)
    return path


@bomb("lerobot: documents", "lerobot")
def _(folder: Path) -> Path:
    path = copied(LEROBOT, folder)
    sparse(path / "meta" / "episodes.jsonl", b'{"episode_index": 0, "x": "', 1 << 36)
    return path


@bomb("lerobot: documents", "lerobot")
def _(folder: Path) -> Path:
    path = copied(LEROBOT, folder)
    changed(path / "meta" / "info.json", lambda info: info | {"total_episodes": 1 << 60, "x": [[]] * 9_000_000})
    return path


@bomb("rllib: a row of 100 million numbers", "rllib")
def _(folder: Path) -> Path:
    path = copied(DATA / "rllib" / "steps", folder)
    place = sorted(path.glob("*.parquet"))[0]
    pyarrow.parquet.write_table(_wide_row(pyarrow.parquet.read_table(place), "obs"), place)
    return path


@bomb("rllib: 65,000 texts of 1 MB in a dictionary", "rllib")
def _(folder: Path) -> Path:
    path = copied(DATA / "rllib" / "steps", folder)
    place = sorted(path.glob("*.parquet"))[0]
    count = 65_000
    large = pyarrow.DictionaryArray.from_arrays(np.zeros(count, np.int32), ["x" * (1 << 20)])
    rewards = pyarrow.array(np.zeros(count), pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table({"rewards": rewards, "obs": large}), place)
    return path


@bomb("rllib: a line without end", "rllib")
def _(folder: Path) -> Path:
    return sparse(folder / "x.json", b'{"type": "SampleBatch", "obs": "', 1 << 36)


@bomb("rllib: a line without end", "rllib")
def _(folder: Path) -> Path:
    path = folder / "x.json"
    path.write_bytes(b'{"type": "SampleBatch", "obs": [' + b"[]," * 40_000_000)
    return path


@bomb("rllib: a packed array of 1 GB", "rllib")
def _(folder: Path) -> Path:
    import base64

    packed = base64.b64encode(pyarrow.compress(bytes(GIGABYTE - 1), "lz4", asbytes=True)).decode()
    path = folder / "x.json"
    path.write_text(json.dumps({"type": "SampleBatch", "obs": packed, "rewards": [1.0]}) + "\n")
    return path


def _zarray(folder: Path, array: str, **facts: Any) -> Path:
    path = copied(ZARR, folder)
    changed(path / array / ".zarray", lambda found: found | facts)
    return path


for _facts in (
    {"shape": [1 << 60, 2]},
    {"chunks": [1 << 40, 2]},
    {"chunks": [1 << 26, 2]},
    {"shape": [1 << 60, 1 << 60]},
    {"shape": [1 << 40, 2], "chunks": [1, 1]},
    {"dtype": "<f99999999999"},
):
    bomb("diffusion-policy: .zarray", "diffusion-policy")(
        lambda folder, facts=_facts: _zarray(folder, "data/action", **facts)
    )
    bomb("diffusion-policy: .zarray", "diffusion-policy")(
        lambda folder, facts=_facts: _zarray(
            folder,
            "meta/episode_ends",
            **{name: value[:1] if isinstance(value, list) else value for name, value in facts.items()},
        )
    )


def _chunk(compressor: dict[str, Any], content: Callable[[], bytes], folder: Path) -> Path:
    path = _zarray(folder, "data/action", compressor=compressor)
    (path / "data" / "action" / "0.0").write_bytes(content())
    return path


def _of_gigabyte(codec: str) -> bytes:
    """Return zeros as a codec stores them: in as many streams as it takes one behind the other."""
    if codec == "gzip":
        return gzip_of(zeros_behind(b"", GIGABYTE))
    if codec == "zlib":
        return zlib_of(zeros_behind(b"", GIGABYTE))
    compress: Callable[[bytes], bytes] = {"bz2": bz2.compress, "zstd": zstandard.compress, "lzma": lzma.compress}[codec]
    return compress(b"x") + compress(bytes(1 << 25)) * 32


for _id in ("zlib", "gzip", "bz2", "zstd", "lzma"):
    bomb("diffusion-policy: chunks", "diffusion-policy")(
        functools.partial(_chunk, {"id": _id}, functools.partial(_of_gigabyte, _id))
    )


def _blosc() -> bytes:
    return bytes([2, 1, 1, 4]) + struct.pack("<III", (1 << 31) - 100, 1 << 20, 64) + bytes(64)


bomb("diffusion-policy: chunks", "diffusion-policy")(
    functools.partial(_chunk, {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}, _blosc)
)
bomb("diffusion-policy: chunks", "diffusion-policy")(
    functools.partial(_chunk, {"id": "lz4", "acceleration": 1}, lambda: struct.pack("<I", 1 << 30) + bytes(64))
)


@bomb("diffusion-policy: chunks", "diffusion-policy")
def _(folder: Path) -> Path:
    path = _zarray(folder, "data/action", compressor=None)
    sparse(path / "data" / "action" / "0.0", b"", 8 * GIGABYTE)
    return path


@bomb("diffusion-policy: a ZIP member of 1 GB", "diffusion-policy")
def _(folder: Path) -> Path:
    path = folder / "x.zarr.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in ZARR.rglob("*"):
            if file.is_file() and file.name != "0.0":
                archive.write(file, file.relative_to(ZARR).as_posix())
        with archive.open("data/action/0.0", "w", force_zip64=True) as member:
            for piece in zeros_behind(b"", GIGABYTE):
                member.write(piece)
    return path


def run(attack: Attack, folder: Path, seed: int) -> None:
    """Make one bomb after the other, convert it, and look at it."""
    del seed  # nothing is drawn
    load_sources()
    chosen = os.environ.get("RLBUFFERS_BOMBS", "")
    for number, (row, words, make) in enumerate(_BOMBS):
        if chosen not in row:
            continue
        place = folder / f"{words[0]}-{number}"
        place.mkdir()
        path, output = make(place), place / "out.hdf5"
        # What stands before the path: options; behind it for formats that take it first.
        tried = attempt(["convert", *words, path, "-o", output, "--workers", "0"], seconds=PATIENCE)
        # Sizes that are only said, and not needed for the rows, may be passed over.
        unharmed = functools.partial(_is_as_fixture, output, words[0], folder) if words[0] in HONEST else None
        attack.note(row, judged(tried, unharmed), tried, " ".join(words))
        if tried.exit_code and output.exists():
            attack.note(row, "FAILED: something was left", tried)
        looked = attempt(["info", path], seconds=PATIENCE)
        attack.note("info of each", judged(looked), looked, row)
        shutil.rmtree(place)


def _is_as_fixture(output: Path, name: str, folder: Path) -> bool:
    return _content(output) == _honest_content(name, folder)


@functools.cache
def _honest_content(name: str, folder: Path) -> str:
    output = folder / f"{name}.hdf5"
    attempt(["convert", name, HONEST[name], "-o", output, "--workers", "0"])
    return _content(output)


def _content(path: Path) -> str:
    with rlbuffers.open(path) as buffer:
        return buffer.fingerprint


if __name__ == "__main__":
    main_of(KIND, __doc__, run)
