"""Buffers at addresses, against the same buffers in files: in fsspec's memory and on a web server."""

from __future__ import annotations

import functools
import http.server
import itertools
import pickle
import re
import threading

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import Recipe, assert_same_rows, make, taken, write

import rlbuffers
from rlbuffers.errors import BufferNotFoundError, CorruptDataError, DownloadError, FormatError, UsageError
from rlbuffers.inspecting.read_speed import measure_read_speed
from rlbuffers.paths import Url, located
from rlbuffers.stores.remote import RemoteFiles, _coalesced

RECIPES = {
    "vectors": Recipe("episodes", (5, 3, 200)),
    "images": Recipe("episodes", (5, 3), stack=3),
    "shuffled": Recipe("transitions", (40,), stack=4, size=(20, 20), apart=0.1),
}
ENDINGS = ("hdf5", "zarr", "zarr.zip")


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Python's file server, with range requests."""

    requests: list[str]
    ranges = True

    def send_head(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        self.requests.append(self.path)
        if not asked or not self.ranges:
            return super().send_head()
        try:
            file = open(self.translate_path(self.path), "rb")  # noqa: SIM115
        except OSError:
            self.send_error(404)
            return None
        with file:
            start, stop = int(asked[1]), int(asked[2]) + 1
            content = file.read()
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{min(stop, len(content)) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content[start:stop])))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(content[start:stop])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")
    handler = type("Handler", (RangeHandler,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=tmp_path)) as running:
        running.handler = handler
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def uploaded(tmp_path, server):
    """Write a buffer and return (local path, address, files at the address) in either of two places."""

    def upload(kind, ending, place):
        path = write(tmp_path / f"x.{ending}", make(RECIPES[kind]))
        if place == "http":
            return path, f"{server.url}/x.{ending}"
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file():
                memory.pipe(f"/bucket/{file.relative_to(tmp_path).as_posix()}", file.read_bytes())
        return path, f"memory://bucket/x.{ending}"

    return upload


@pytest.mark.parametrize("place", ["memory", "http"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("cache", [0, "1GB"])
def test_the_same_rows_as_from_a_file(uploaded, kind, ending, place, cache):
    path, url = uploaded(kind, ending, place)
    table = make(RECIPES[kind]).table
    with rlbuffers.open(path) as local, rlbuffers.open(url, cache=cache) as buffer:
        assert buffer.path == url
        assert buffer.metadata == local.metadata
        rng = np.random.default_rng(0)
        for _ in range(4):
            rows = rng.integers(len(buffer), size=8)
            assert_same_rows(buffer.rows(rows), taken(table, rows))
        assert_same_rows(buffer[:], table)
        assert_same_rows(buffer.sampler(4, seed=3).sample(), local.sampler(4, seed=3).sample())


@pytest.mark.parametrize("place", ["memory", "http"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_kept_compressed_is_fetched_once(uploaded, server, ending, place):
    _, url = uploaded("shuffled", ending, place)
    with rlbuffers.open(url, cache=0) as buffer:
        for rows in buffer.arrays.values():
            rows.place = "compressed"
        buffer[:]
        buffer[:]
        before = len(server.handler.requests)
        assert_same_rows(buffer[:], make(RECIPES["shuffled"]).table)
        assert len(server.handler.requests) == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_travels_by_its_address(uploaded, ending):
    _, url = uploaded("shuffled", ending, "memory")
    with rlbuffers.open(url) as buffer, pickle.loads(pickle.dumps(buffer)) as again:
        assert again.path == url
        assert_same_rows(again[:], make(RECIPES["shuffled"]).table)


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_what_is_needed_is_fetched(tmp_path, server, ending):
    made = make(Recipe("transitions", (600,), stack=4, size=(30, 30)))
    write(tmp_path / f"x.{ending}", made)
    with rlbuffers.open(f"{server.url}/x.{ending}", cache=0) as buffer:
        buffer.rows([0], ["observations"])
        server.handler.requests.clear()
        assert_same_rows(buffer.rows([3, 4, 5, 6], ["rewards"]), {"rewards": made.table["rewards"][3:7]})
        buffer.rows([10, 11, 12], ["observations"])
        assert len(server.handler.requests) < 12


@pytest.mark.parametrize("place", ["memory", "http"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_there_is_one_line(uploaded, ending, place):
    _, url = uploaded("vectors", ending, place)
    missing = url.replace("/x.", "/y.")
    with pytest.raises(BufferNotFoundError, match=re.escape(missing)) as error:
        rlbuffers.open(missing)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["memory", "http"])
@pytest.mark.parametrize("name", ["frames/c/0/0/0", "rewards/c/0", "frames/zarr.json"])
def test_a_missing_part_is_one_line(uploaded, place, name):
    path, url = uploaded("shuffled", "zarr", place)
    (path / name).unlink()
    if place == "memory":
        fsspec.filesystem("memory").rm(f"/bucket/x.zarr/{name}")
    with pytest.raises(CorruptDataError, match=rf"x\.zarr/{name}: this part of the buffer is missing") as error:
        rlbuffers.open(url)[:]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_object_is_one_line(uploaded, tmp_path, ending):
    path, url = uploaded("shuffled", ending, "http")
    with rlbuffers.open(path, cache=0) as buffer:
        places = buffer.arrays["frames"].table.places(np.array([7]))
        ((content,), offset) = places.read(), int(places.offsets[0])
    for file in [path] if path.is_file() else [path / "frames/c/0/0/0"]:
        file.write_bytes(file.read_bytes().replace(bytes(content), bytes(content[:-1]) + bytes([content[-1] ^ 1])))
    with pytest.raises(CorruptDataError, match=rf"http.*array 'frames', chunk 7 \(offset {offset}") as error:
        rlbuffers.open(url, cache=0)[7]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["hdf5", "zarr.zip"])
def test_an_object_that_was_cut_short_is_refused(uploaded, ending):
    path, url = uploaded("shuffled", ending, "http")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FormatError, match=re.escape(url)):
        rlbuffers.open(url)


def test_a_server_that_is_not_there_is_one_line(server):
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:1/x\.hdf5: cannot be read: ") as error:
        rlbuffers.open("http://127.0.0.1:1/x.hdf5")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["memory://bucket/x.txt", "memory://bucket/x", "nonsense://x.zarr"])
def test_addresses_of_no_buffer_are_refused(url):
    with pytest.raises(UsageError, match=re.escape(url)):
        rlbuffers.open(url)


@pytest.mark.parametrize("place", ["memory", "http"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_its_speed_is_measured(uploaded, ending, place):
    path, url = uploaded(next(iter(RECIPES)), ending, place)
    found = measure_read_speed(url, seconds=0.05)
    assert found.cold_batch_seconds is None
    with rlbuffers.open(path) as buffer:
        assert found.transitions == len(buffer)


def test_nothing_is_written_to_an_address():
    with pytest.raises(UsageError, match="write one and upload it"):
        write("memory://bucket/x.zarr", make(RECIPES["vectors"]))


def test_addresses_keep_their_slashes():
    url = located("s3://bucket/folder/x.zarr")
    assert isinstance(url, Url)
    assert (str(url), url.name, url.stem, url.suffix) == ("s3://bucket/folder/x.zarr", "x.zarr", "x", ".zarr")
    assert str(located("file:///folder/x.zarr")) == "/folder/x.zarr"
    assert not isinstance(located("memory:x"), Url)
    assert not isinstance(located("folder/x.zarr"), Url)


def test_a_file_address_is_a_path(tmp_path):
    path = write(tmp_path / "x.zarr", make(RECIPES["vectors"]))
    with rlbuffers.open(f"file://{path}") as buffer:
        assert buffer.path == path


@given(data=st.data())
def test_ranges_that_are_close_are_one_request(data):
    content = {number: np.random.default_rng(number).bytes(500_000) for number in range(3)}
    for number, part in content.items():
        fsspec.filesystem("memory").pipe(f"/ranges/{number}", part)
    count = data.draw(st.integers(0, 30))
    numbers = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), np.int64)
    offsets = np.array(data.draw(st.lists(st.integers(0, 400_000), min_size=count, max_size=count)), np.int64)
    sizes = np.array(data.draw(st.lists(st.integers(1, 90_000), min_size=count, max_size=count)), np.int64)
    files = RemoteFiles(Url("memory://ranges"), [Url(f"memory://ranges/{number}") for number in range(3)])
    found = files.read(numbers, offsets, sizes)
    wanted = zip(numbers.tolist(), offsets.tolist(), sizes.tolist(), strict=True)
    assert [bytes(part) for part in found] == [content[n][offset : offset + size] for n, offset, size in wanted]
    requests, _ = _coalesced(numbers, offsets, sizes)
    for (file, _, stop), (following, start, _) in itertools.pairwise(requests):
        assert following > file or start - stop > 64 << 10
