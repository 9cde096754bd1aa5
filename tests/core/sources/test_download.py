"""Against a small HTTP server on this machine; nothing leaves it."""

from __future__ import annotations

import base64
import http.server
import json
import re
import shutil
import threading
import types
from dataclasses import dataclass, field

import google_crc32c
import numpy as np
import pytest

from rlbuffers import network
from rlbuffers.errors import DownloadError, UsageError
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
    failures: int = 0  # answers of that status before it serves the file
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = CONTENT
    endless: bool = False
    trickle: threading.Event | None = None  # sends a byte now and then until it is set
    stall: threading.Event | None = None  # sends nothing until it is set
    requests: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "0")
    monkeypatch.setattr(network, "_FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def server():
    """Yield (url, behaviour) of a running server."""
    behaviour = Behaviour()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            wanted = self.headers["Range"]
            behaviour.requests.append(wanted)
            behaviour.conditions.append(self.headers["If-Range"])
            if behaviour.stall is not None:
                behaviour.stall.wait(20)
                return
            if behaviour.failures:
                behaviour.failures -= 1
                self.send_response(behaviour.status)
                for name, text in behaviour.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            condition = self.headers["If-Range"]
            if condition is not None and condition not in behaviour.headers.values():
                wanted = None
            content = behaviour.content
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and behaviour.ranges else 0
            refused = behaviour.status not in (200, 302, 429, 503)
            if refused or start >= len(content):
                self.send_error(behaviour.status if refused else 416)
                return
            self.send_response(206 if start else 200)
            begin = start - behaviour.shift
            if start:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            if behaviour.length is not None:
                self.send_header("Content-Length", str(behaviour.length - start))
            for text in behaviour.hashes:
                self.send_header("x-goog-hash", text)
            for name, text in behaviour.headers.items():
                self.send_header(name, text)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                while behaviour.trickle is not None and not behaviour.trickle.wait(0.05):
                    self.wfile.write(b"x")
                self.wfile.write(content[begin:][: behaviour.cut_after])
                while behaviour.endless:
                    self.wfile.write(content)
            except OSError:
                pass

        def log_message(self, *args):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/Breakout/run_1", behaviour
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def begun(url, folder, content, **facts):
    """Leave what an interrupted download would."""
    (folder / "shard.part").write_bytes(content)
    said = {"url": url, "total": len(CONTENT), "validator": None, "checked": True, **facts}
    (folder / "shard.part.json").write_text(json.dumps(said))


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
    with pytest.raises(DownloadError, match=r"ended after 1,000,000 of 3,000,000 bytes\)\. Try again to go on"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == ["shard.part", "shard.part.json"]
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
    begun(url, tmp_path, b"x" * 1000)
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"])
def test_what_is_there_may_be_whole_or_too_long(server, tmp_path, left):
    url, _ = server
    begun(url, tmp_path, left)
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


def test_a_beginning_of_another_file_is_noticed_and_removed(server, tmp_path):
    url, _ = server
    begun(url, tmp_path, b"x" * 1000)
    with pytest.raises(DownloadError, match="CRC-32C and was removed; try again"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


def test_another_range_than_was_asked_for_is_refused(server, tmp_path):
    url, behaviour = server
    behaviour.shift, behaviour.hashes = 500, []
    begun(url, tmp_path, CONTENT[:1000])
    with pytest.raises(DownloadError, match="another range"):
        download(url, tmp_path / "shard")
    assert not (tmp_path / "shard").exists()


@pytest.mark.parametrize("length", [len(CONTENT) + 1, len(CONTENT) * 2])
def test_a_file_shorter_than_announced_is_refused(server, tmp_path, length):
    url, behaviour = server
    behaviour.length = length
    with pytest.raises(DownloadError, match=f"ended after 3,000,000 of {length:,} bytes"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == ["shard.part", "shard.part.json"]


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
    assert names(tmp_path) == ["shard.part", "shard.part.json"]
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


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}])
def test_a_server_that_is_busy_is_asked_again(server, tmp_path, monkeypatch, status, headers):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "3")
    url, behaviour = server
    behaviour.status, behaviour.failures, behaviour.headers = status, 3, headers
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert len(behaviour.requests) == 4


def test_it_is_asked_only_so_often(server, tmp_path, monkeypatch):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "2")
    url, behaviour = server
    behaviour.status, behaviour.failures = 503, 10
    with pytest.raises(DownloadError, match=r"HTTP 503: Service Unavailable \(3 tries\)"):
        download(url, tmp_path / "shard")
    assert len(behaviour.requests) == 3
    assert names(tmp_path) == []


def test_nobody_waits_for_an_hour(server, tmp_path, monkeypatch):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "3")
    url, behaviour = server
    behaviour.status, behaviour.failures, behaviour.headers = 429, 3, {"Retry-After": "3600"}
    with pytest.raises(DownloadError, match="asks to wait 3,600 s"):
        download(url, tmp_path / "shard")
    assert len(behaviour.requests) == 1


def test_tries_that_get_on_are_not_counted(server, tmp_path, monkeypatch):
    monkeypatch.setenv("RLBUFFERS_RETRIES", "1")
    url, behaviour = server
    behaviour.cut_after = 400_000
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert behaviour.requests == [None, *(f"bytes={start}-" for start in range(400_000, 3_000_000, 400_000))]


@pytest.mark.parametrize("silent", ["stall", "trickle"])
def test_a_server_that_stalls_is_given_up(server, tmp_path, monkeypatch, silent):
    monkeypatch.setenv("RLBUFFERS_TIMEOUT", "0.3")
    url, behaviour = server
    over = threading.Event()
    setattr(behaviour, silent, over)
    with pytest.raises(DownloadError, match="RLBUFFERS_TIMEOUT") as error:
        download(url, tmp_path / "shard")
    over.set()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "shard").exists()


def test_a_body_without_end_is_stopped_where_the_file_ends(server, tmp_path):
    url, behaviour = server
    behaviour.endless, behaviour.length = True, None
    with pytest.raises(DownloadError, match="more than 3,000,000 bytes, which the file has"):
        download(url, tmp_path / "shard", num_bytes=len(CONTENT))
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [None, 10**15])
def test_a_body_without_end_is_stopped_before_the_disk_is_full(server, tmp_path, monkeypatch, length):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=(256 << 20) + 10_000_000))
    url, behaviour = server
    behaviour.endless, behaviour.length = True, length
    with pytest.raises(DownloadError, match=r"10,000,000"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("changed", [False, True])
def test_only_the_same_file_is_resumed(server, tmp_path, header, changed):
    url, behaviour = server
    behaviour.hashes, behaviour.headers, behaviour.cut_after = [], {header: '"one"'}, 1_000_000
    with pytest.raises(DownloadError):
        download(url, tmp_path / "shard")
    behaviour.cut_after = None
    if changed:
        behaviour.content, behaviour.headers = CONTENT[::-1], {header: '"two"'}
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == behaviour.content
    assert behaviour.conditions == [None, '"one"']
    assert names(tmp_path) == ["shard"]


def test_without_a_version_or_a_checksum_it_begins_again(server, tmp_path):
    url, behaviour = server
    behaviour.hashes, behaviour.cut_after = [], 1_000_000
    with pytest.raises(DownloadError):
        download(url, tmp_path / "shard")
    behaviour.cut_after, behaviour.content = None, CONTENT[::-1]
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == behaviour.content
    assert behaviour.requests == [None, None]


@pytest.mark.parametrize("facts", ["[", "[" * 5000, "3", "{}", '{"url": 3}'])
def test_what_is_left_may_be_damaged(server, tmp_path, facts):
    url, _ = server
    begun(url, tmp_path, b"x" * 1000)
    (tmp_path / "shard.part.json").write_text(facts)
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "not an http or https address"),
        ("ftp://127.0.0.1/x", "not an http or https address"),
        ("//[", "not an http or https address"),
        ("/Breakout/run_1", "more than 5 redirects"),
    ],
)
def test_redirects_lead_to_web_servers_and_end(server, tmp_path, target, reason):
    url, behaviour = server
    behaviour.status, behaviour.failures, behaviour.headers = 302, 100, {"Location": target}
    with pytest.raises(DownloadError, match=reason):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


def test_a_redirect_is_followed(server, tmp_path):
    url, behaviour = server
    behaviour.status, behaviour.failures, behaviour.headers = 302, 1, {"Location": "/elsewhere"}
    download(url, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == CONTENT
    assert len(behaviour.requests) == 2


def test_redirects_keep_what_is_encrypted():
    assert network.redirected("http://a/x", "https://b/y") == "https://b/y"
    assert network.redirected("https://a/x/y", "z") == "https://a/x/z"
    with pytest.raises(DownloadError, match="not encrypted"):
        network.redirected("https://a/x", "http://a/x")


def test_a_web_page_is_not_kept(server, tmp_path):
    url, behaviour = server
    behaviour.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError, match="web page"):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "data:,x", "nonsense"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(DownloadError, match=re.escape(url)):
        download(url, tmp_path / "shard")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [("TIMEOUT", "0"), ("TIMEOUT", "nan"), ("TIMEOUT", "soon"), ("RETRIES", "-1"), ("RETRIES", "1.5")],
)
def test_limits_are_checked(monkeypatch, name, text):
    monkeypatch.setenv(f"RLBUFFERS_{name}", text)
    with pytest.raises(UsageError, match=re.escape(f"RLBUFFERS_{name}={text}: expected")):
        network.NetworkLimits.from_environment()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("7", 7.0), ("soon", None), ("", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert network.retry_after(header) == seconds
