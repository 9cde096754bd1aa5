"""Buffers at addresses, against the same buffers in files: in fsspec's memory and on a web server."""

from __future__ import annotations

import contextlib
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
from rlbuffers import network
from rlbuffers.errors import (
    BufferNotFoundError,
    CorruptDataError,
    DownloadError,
    FormatError,
    RlbuffersError,
    UsageError,
)
from rlbuffers.inspecting.read_speed import measure_read_speed
from rlbuffers.paths import Url, located
from rlbuffers.stores import remote
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
    with pytest.raises(UsageError, match="write a file and upload it"):
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


FAULTS = {
    "stall": r"sent nothing for 0\.4 s",
    "silence": r"sent nothing for 0\.4 s",
    "trickle": r"less than 1,024 a second|sent nothing|not an HDF5|ZIP|range requests|replaced",
    "slow header": r"sent nothing for 0\.4 s",
    "cut": "payload|closed|reset|disconnected|cut",
    "endless": "at most|web page|HDF5|ZIP|does not say|range|JSON|expected",
    "endless ranges": "at most|HDF5|ZIP|does not say|range|JSON|expected",
    "no ranges": "range requests|replaced",
    "other range": "another range",
    "loop": "more than 5 redirects",
    "file": "not an http or https address",
    "ftp": "not an http or https address",
    "web page": "web page",
    "busy": r"HTTP 503.*2 tries",
    "later": "asks to wait 7,200 s",
    "forbidden": "HTTP 403",
    "garbage": "Bad status line|Expected HTTP|disconnected|nothing",
    "compressed": "compressed its answer",
}


class FaultyHandler(RangeHandler):
    """Serves files as `RangeHandler` does, but those that end in `at` with a fault."""

    fault: str | None = None
    over: threading.Event
    at = ""
    left = 10**9  # how many answers have the fault

    def do_GET(self):
        cls = type(self)
        if self.fault is None or not self.path.endswith(self.at) or cls.left <= 0:
            super().do_GET()
            return
        cls.left -= 1
        self.requests.append(self.path)
        self.close_connection = True
        with contextlib.suppress(OSError):
            getattr(self, "_" + self.fault.replace(" ", "_"))()

    def _stall(self):
        self.over.wait(20)

    def _silence(self):
        self._head(206, **{"Content-Range": "bytes 0-999/1000", "Content-Length": "1000"})
        self.over.wait(20)

    def _trickle(self):
        self._head(200, **{"Content-Length": "100000"})
        while not self.over.wait(0.05):
            self.wfile.write(b"{")

    def _slow_header(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.over.wait(0.05):
            self.wfile.write(b"x")

    def _cut(self):
        start = re.match(r"bytes=(\d+)", self.headers["Range"])[1]
        self._head(206, **{"Content-Range": f"bytes {start}-/*", "Content-Length": "1000"})

    def _endless(self):
        self._head(200)
        while True:
            self.wfile.write(b" " * 65536)

    def _endless_ranges(self):
        self._head(206, **{"Content-Range": "bytes 0-999/*"})
        while True:
            self.wfile.write(b" " * 65536)

    def _no_ranges(self):
        del self.headers["Range"]
        super().do_GET()

    def _other_range(self):
        self._head(206, **{"Content-Range": "bytes 7-999/1000", "Content-Length": "0"})

    def _loop(self):
        self._head(302, Location=self.path)

    def _file(self):
        self._head(302, Location="file:///etc/passwd")

    def _ftp(self):
        self._head(302, Location="ftp://127.0.0.1/x")

    def _web_page(self):
        self._head(200, **{"Content-Type": "text/html", "Content-Length": "1000"})

    def _busy(self):
        self._head(503)

    def _later(self):
        self._head(429, **{"Retry-After": "7200"})

    def _forbidden(self):
        self._head(403)

    def _garbage(self):
        self.wfile.write(b"\xff" * 1000)

    def _compressed(self):
        self._head(200, **{"Content-Encoding": "gzip"})

    def _head(self, status, **headers):
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """Serve a buffer and return (its address without the ending, handler) of a server with faults."""
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("RLBUFFERS_TIMEOUT", "0.4")
    monkeypatch.setenv("RLBUFFERS_RETRIES", "1")
    monkeypatch.setattr(network, "_FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(remote, "MAX_DOCUMENT_BYTES", 1 << 20)
    handler = type("Handler", (FaultyHandler,), {"requests": [], "over": threading.Event()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=tmp_path)) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/x", handler
        handler.over.set()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_server_is_one_line(tmp_path, faulty, ending, fault):
    url, handler = faulty
    write(tmp_path / f"x.{ending}", make(RECIPES["vectors"]))
    handler.fault = fault
    with pytest.raises(RlbuffersError, match=FAULTS[fault]) as error, rlbuffers.open(f"{url}.{ending}", cache=0) as one:
        one[:]
    assert str(error.value).startswith(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("ending", "at"), [("zarr", "c/0/0"), ("zarr.zip", "zip"), ("hdf5", "hdf5")])
@pytest.mark.parametrize("fault", ["stall", "trickle", "cut", "busy", "loop", "web page", "forbidden"])
def test_a_server_that_fails_later_is_one_line(tmp_path, faulty, fault, ending, at):
    url, handler = faulty
    write(tmp_path / f"x.{ending}", make(RECIPES["vectors"]))
    handler.at = at
    buffer = rlbuffers.open(f"{url}.{ending}", cache=0)
    handler.fault = fault
    with pytest.raises(DownloadError, match=FAULTS[fault]) as error:
        buffer[:]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("fault", ["cut", "busy"])
def test_a_failure_that_passes_is_not_noticed(tmp_path, faulty, monkeypatch, ending, fault):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "3")
    monkeypatch.setenv("RLBUFFERS_TIMEOUT", "20")
    url, handler = faulty
    made = make(RECIPES["vectors"])
    write(tmp_path / f"x.{ending}", made)
    handler.fault, handler.left = fault, 2
    with rlbuffers.open(f"{url}.{ending}", cache=0) as buffer:
        handler.left = 2
        assert_same_rows(buffer[:], made.table)
    assert handler.left == 0


@pytest.mark.parametrize("ending", ["hdf5", "zarr.zip", "zarr"])
def test_a_file_that_is_replaced_while_it_is_open_is_noticed(tmp_path, faulty, ending):
    url, _ = faulty
    path = write(tmp_path / f"x.{ending}", make(RECIPES["shuffled"]))
    with rlbuffers.open(f"{url}.{ending}", cache=0) as buffer:
        buffer.rows([0])
        changed = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
        for part in changed:
            part.write_bytes(part.read_bytes() + b" ")
        with pytest.raises(DownloadError, match="replaced on the server while it was read"):
            buffer.rows([5])


def test_a_redirect_to_another_place_is_followed(tmp_path, faulty):
    url, handler = faulty
    made = make(RECIPES["vectors"])
    write(tmp_path / "x.hdf5", made)
    handler._loop = lambda self: self._head(307, Location="/x.hdf5")
    handler.fault, handler.at = "loop", "y.hdf5"
    with rlbuffers.open(url.replace("/x", "/y.hdf5")) as buffer:
        assert_same_rows(buffer[:], made.table)


def test_claims_of_many_arrays_are_not_followed():
    with pytest.raises(CorruptDataError, match="claims 10,001 arrays"):
        remote.RemoteFolder(Url("http://127.0.0.1:1/x.zarr")).documents([f"a{number}" for number in range(10_001)])


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "zip", "data", "nonsense", "FTP", "file+x"])
def test_schemes_that_are_not_read_are_one_line(scheme):
    with pytest.raises(UsageError, match="nothing is known about addresses that begin with") as error:
        rlbuffers.open(f"{scheme}://127.0.0.1/x.zarr")
    assert "\n" not in str(error.value)


def test_object_stores_are_given_the_limits(monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    monkeypatch.setenv("RLBUFFERS_TIMEOUT", "7")
    monkeypatch.setenv("RLBUFFERS_RETRIES", "2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    options = remote._options("s3", {})
    system = s3fs.S3FileSystem(anon=True, skip_instance_cache=True, **options)
    config = fsspec.asyn.sync(system.loop, system.set_session).meta.config
    assert (config.connect_timeout, config.read_timeout) == (7, 7)
    assert config.retries["mode"] == "standard"
    assert config.retries["total_max_attempts"] == 3
    theirs = {"s3": {"config_kwargs": {"read_timeout": 99}}}
    assert remote._options("s3", theirs)["config_kwargs"]["read_timeout"] == 99
    assert remote._options("gs", {}) == {}


def test_a_silent_object_store_is_given_up(faulty, monkeypatch):
    pytest.importorskip("s3fs")
    url, handler = faulty
    handler.fault = "stall"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": url.removesuffix("/x")})
    with pytest.raises(DownloadError, match=r"s3://bucket/x\.zarr.*: cannot be read") as error:
        rlbuffers.open("s3://bucket/x.zarr")
    assert "\n" not in str(error.value)
