"""Against a small HTTP server on this machine; nothing leaves it."""

from __future__ import annotations

import base64
import http.server
import re
import threading
from dataclasses import dataclass, field

import google_crc32c
import numpy as np
import pytest

from rlbuffers.errors import DownloadError
from rlbuffers.sources.download import download

CONTENT = np.random.default_rng(0).bytes(3_000_000)


def crc_header(content):
    return "crc32c=" + base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


@dataclass
class Behaviour:
    """What the server does; a test changes it."""

    ranges: bool = True
    cut_after: int | None = None
    length: int | None = len(CONTENT)
    hashes: list[str] = field(default_factory=lambda: [crc_header(CONTENT)])
    status: int = 200
    shift: int = 0  # sends another range than was asked for
    requests: list[str | None] = field(default_factory=list)


@pytest.fixture
def server():
    """Yield (url, behaviour) of a running server."""
    behaviour = Behaviour()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            wanted = self.headers["Range"]
            behaviour.requests.append(wanted)
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and behaviour.ranges else 0
            if behaviour.status != 200 or start >= len(CONTENT):
                self.send_error(behaviour.status if behaviour.status != 200 else 416)
                return
            self.send_response(206 if start else 200)
            begin = start - behaviour.shift
            if start:
                self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
            if behaviour.length is not None:
                self.send_header("Content-Length", str(behaviour.length - start))
            for text in behaviour.hashes:
                self.send_header("x-goog-hash", text)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(CONTENT[begin:][: behaviour.cut_after])
            self.close_connection = True

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/Breakout/run_1", behaviour
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_whole_file(server, tmp_path):
    url, behaviour = server
    seen = []
    download(url, tmp_path / "new" / "shard", lambda *now: seen.append(now))
    assert (tmp_path / "new" / "shard").read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["shard"]
    assert behaviour.requests == [None]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_broken_connection_is_resumed_where_it_stopped(server, tmp_path):
    url, behaviour = server
    behaviour.cut_after = 1_000_000
    with pytest.raises(DownloadError, match=r"ended after 1,000,000 of 3,000,000 bytes; try again to go on"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == ["shard.part"]
    with pytest.raises(DownloadError, match=r"ended after 2,000,000 of 3,000,000 bytes"):
        download(url, tmp_path / "shard")
    behaviour.cut_after = None
    seen = []
    download(url, tmp_path / "shard", lambda *now: seen.append(now))
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert behaviour.requests == [None, "bytes=1000000-", "bytes=2000000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert names(tmp_path) == ["shard"]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    url, behaviour = server
    behaviour.ranges = False
    (tmp_path / "shard.part").write_bytes(b"x" * 1000)
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"])
def test_what_is_there_may_be_whole_or_too_long(server, tmp_path, left):
    url, _ = server
    (tmp_path / "shard.part").write_bytes(left)
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


def test_a_beginning_of_another_file_is_noticed_and_removed(server, tmp_path):
    url, _ = server
    (tmp_path / "shard.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="CRC-32C and was removed; try again"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


def test_another_range_than_was_asked_for_is_refused(server, tmp_path):
    url, behaviour = server
    behaviour.shift, behaviour.hashes = 500, []
    (tmp_path / "shard.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="another range"):
        download(url, tmp_path / "shard")
    assert not (tmp_path / "shard").exists()


@pytest.mark.parametrize("length", [len(CONTENT) + 1, len(CONTENT) * 2])
def test_a_file_shorter_than_announced_is_refused(server, tmp_path, length):
    url, behaviour = server
    behaviour.length = length
    with pytest.raises(DownloadError, match=f"ended after 3,000,000 of {length:,} bytes"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == ["shard.part"]


def test_a_file_of_unannounced_length(server, tmp_path):
    url, behaviour = server
    behaviour.length = None
    seen = []
    download(url, tmp_path / "shard", lambda *now: seen.append(now))
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


@pytest.mark.parametrize(
    "hashes", [[], ["md5=abc"], ["md5=abc", crc_header(CONTENT)], [crc_header(CONTENT) + ",md5=abc"]]
)
def test_checksums_are_found_among_others(server, tmp_path, hashes):
    url, behaviour = server
    behaviour.hashes = hashes
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


@pytest.mark.parametrize("hashes", [[crc_header(b"other")], ["crc32c=AAAAAA=="], ["md5=abc," + crc_header(b"other")]])
def test_a_wrong_checksum_is_an_error_and_nothing_is_left(server, tmp_path, hashes):
    url, behaviour = server
    behaviour.hashes = hashes
    with pytest.raises(DownloadError, match="CRC-32C"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


def test_a_checksum_that_cannot_be_read_is_an_error(server, tmp_path):
    url, behaviour = server
    behaviour.hashes = ["crc32c=x"]
    with pytest.raises(DownloadError, match="CRC-32C"):
        download(url, tmp_path / "shard")


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (500, "Internal Server Error")])
def test_a_server_that_refuses_is_quoted(server, tmp_path, status, reason):
    url, behaviour = server
    behaviour.status = status
    with pytest.raises(DownloadError) as error:
        download(url, tmp_path / "shard")
    assert str(error.value).startswith(f"cannot download {url} (HTTP {status}: {reason})")
    assert str(tmp_path / "shard") in str(error.value)
    assert names(tmp_path) == []


def test_no_server_at_all(server, tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/shard"
    with pytest.raises(DownloadError, match=rf"cannot download {url} .*refused.* put it at {tmp_path / 'shard'}"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


def test_a_download_that_is_stopped_can_go_on(server, tmp_path):
    url, behaviour = server

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(url, tmp_path / "shard", stop)
    assert names(tmp_path) == ["shard.part"]
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert behaviour.requests[1] is not None


def test_two_downloads_of_one_file_at_once_are_refused(server, tmp_path):
    url, _ = server

    def again(done, total):
        with pytest.raises(DownloadError, match="another process"):
            download(url, tmp_path / "shard")

    download(url, tmp_path / "shard", again)
    assert (tmp_path / "shard").read_bytes() == CONTENT
