"""Servers that stall, lie, never end, or send something else: each fault, for each container and command.

::

    python benchmarks/attack/servers.py

A server on this machine plays each fault, from the first answer on, and while a buffer is read. Limits are small
(RLBUFFERS_TIMEOUT, RLBUFFERS_RETRIES), so that waiting for them takes a minute.
"""

from __future__ import annotations

import http.server
import shutil
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attempts import FAILED, HARMLESS, NOTICED, Attack, Attempt, attempt, judged, main_of

import rlbuffers.exports.export
import rlbuffers.inspecting.footprint
import rlbuffers.stores.remote_http  # noqa: F401  like the others, loaded once, before attempts fork
from rlbuffers.conversion.convert import convert
from rlbuffers.reader import open_buffer
from rlbuffers.sources.npz import NpzSource

ENDINGS = ("hdf5", "zarr", "zarr.zip")
ENVIRONMENT = {"RLBUFFERS_TIMEOUT": "0.3", "RLBUFFERS_RETRIES": "1"}
COMMANDS: dict[str, list[str]] = {
    "info": ["info", "URL"],
    "validate": ["validate", "URL"],
    "show": ["show", "URL", "0"],
    "subset": ["subset", "URL", "--size", "0.5", "-o", "OUT/x.hdf5"],
    "export": ["export", "URL", "--to", "npz", "-o", "OUT/x.npz"],
}


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves files and ranges of them, after so many honest answers with a fault."""

    fault: str | None = None
    honest = 0
    passing = 10**9  # answers with the fault, before it has passed
    over = threading.Event()

    def do_GET(self) -> None:
        """Answer."""
        cls = Server
        with suppress(OSError):
            if cls.fault is None or cls.honest > 0 or cls.passing <= 0:
                cls.honest -= 1
                self._serve()
                return
            cls.passing -= 1
            self.close_connection = True
            FAULTS[cls.fault](self)

    def _serve(self, ranges: bool = True, extra: bytes = b"") -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes() + extra
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last or len(content)) + 1
        if "Range" in self.headers and ranges:
            part = content[start:stop]
            self.head(206, Content_Range=f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        else:
            part = content
            self.head(200, Content_Length=len(part))
        self.wfile.write(part)

    def head(self, status: int, **headers: Any) -> None:
        """Send the beginning of an answer."""
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), str(text))
        self.end_headers()

    def range_start(self) -> int:
        """Return where the range that is asked for begins."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    def begin(self, **headers: Any) -> None:
        """Send the beginning of what looks like the range that was asked for."""
        if "Range" in self.headers:
            self.head(206, Content_Range=f"bytes {self.range_start()}-/*", **headers)
        else:
            self.head(200, **headers)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _repeat(server: Server, content: bytes, seconds: float = 0.0) -> None:
    while not server.over.wait(seconds) if seconds else not server.over.is_set():
        server.wfile.write(content)


def _silent_after_header(server: Server) -> None:
    server.begin(Content_Length=10**6)
    server.over.wait(30)


def _trickle(server: Server) -> None:
    server.begin(Content_Length=10**6)
    _repeat(server, b"{", 0.1)


def _slow_header(server: Server) -> None:
    server.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    _repeat(server, b"x", 0.1)


def _endless_header(server: Server) -> None:
    server.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _repeat(server, b"X: " + b"x" * 1000 + b"\r\n")


def _endless(server: Server) -> None:
    server.begin()
    _repeat(server, b" " * 65536)


def _endless_chunks(server: Server) -> None:
    server.protocol_version = "HTTP/1.1"
    server.begin(Transfer_Encoding="chunked")
    _repeat(server, b"10000\r\n" + b" " * 65536 + b"\r\n")


def _endless_redirect_body(server: Server) -> None:
    server.head(302, Location=server.path)
    _repeat(server, b" " * 65536)


def _cut(server: Server) -> None:
    server.begin(Content_Length=10**6)


FAULTS: dict[str, Callable[[Server], None]] = {
    "stalls": lambda server: server.over.wait(30) and None,
    "silent after the header": _silent_after_header,
    "a byte now and then": _trickle,
    "a byte of the header now and then": _slow_header,
    "a header without end": _endless_header,
    "a body without end": _endless,
    "chunks without end": _endless_chunks,
    "a redirect's body without end": _endless_redirect_body,
    "closes in the middle": _cut,
    "closes at once": lambda server: None,
    "ignores ranges": lambda server: server._serve(ranges=False),
    "another range": lambda server: server.head(206, Content_Range="bytes 7-9/10", Content_Length=0),
    "claims 1 PB": lambda server: server.begin(Content_Length=10**15),
    "claims a negative length": lambda server: server.begin(Content_Length=-1),
    "claims a length of no number": lambda server: server.begin(Content_Length="x"),
    "too many requests": lambda server: server.head(429),
    "come back in a day": lambda server: server.head(429, Retry_After=86400),
    "unavailable": lambda server: server.head(503),
    "redirects in a loop": lambda server: server.head(302, Location=server.path),
    "redirects to a file": lambda server: server.head(302, Location="file:///etc/passwd"),
    "redirects to ftp": lambda server: server.head(302, Location="ftp://127.0.0.1/x"),
    "redirects to nowhere": lambda server: server.head(302),
    "a web page": lambda server: server.head(200, Content_Type="text/html", Content_Length=0),
    "compressed": lambda server: server.head(200, Content_Encoding="gzip", Content_Length=0),
    "forbidden": lambda server: server.head(403),
    "gone": lambda server: server.head(404),
    "no HTTP": lambda server: server.wfile.write(b"\xff" * 1000) and None,
}
PASSING = ("closes at once", "closes in the middle", "too many requests", "unavailable")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Serve a folder; gives its address."""
    handler = partial(Server, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Server.over.set()
        server.shutdown()


def _play(fault: str | None, honest: int = 0, passing: int = 10**9) -> None:
    Server.over.set()
    Server.over = threading.Event()
    Server.fault, Server.honest, Server.passing = fault, honest, passing


def _buffers(folder: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = 600
    ends = np.arange(rows) % 100 == 99
    columns = {
        "observations": generator.normal(size=(rows, 5)).astype(np.float32),
        "actions": generator.normal(size=(rows, 2)).astype(np.float32),
        "rewards": generator.normal(size=rows).astype(np.float32),
        "terminals": ends,
    }
    np.savez(folder / "x.npz", **columns)
    for ending in ENDINGS:
        convert(NpzSource(folder / "x.npz"), folder / f"x.{ending}")


def _remote(attack: Attack, folder: Path, address: str) -> None:
    with open_buffer(folder / "x.hdf5") as buffer:
        fingerprint = buffer.fingerprint
    out, names = folder / "out", list(COMMANDS)

    def tried_with(name: str, ending: str) -> Attempt:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        words = [word.replace("URL", f"{address}/x.{ending}").replace("OUT", str(out)) for word in COMMANDS[name]]
        return attempt(words, environment=ENVIRONMENT)

    for name in names:
        _play(None)
        honest = tried_with(name, "zarr")
        if honest.exit_code:
            raise SystemExit(f"{name} fails without a fault: {honest.errors}")
    for number, fault in enumerate(FAULTS):
        for place, ending in enumerate(ENDINGS):
            for name, answers in (("info", 0), (names[(number + place) % len(names)], 2 + number % 4)):
                _play(fault, answers)
                tried = tried_with(name, ending)
                outcome = judged(tried, lambda: True)
                if name == "validate" and tried.exit_code == 1 and tried.output and not tried.errors:
                    outcome = NOTICED  # its findings say so
                if tried.exit_code and any(out.iterdir()):
                    outcome = f"{FAILED}: left {[path.name for path in out.iterdir()]}"
                attack.note(f"{ending}: a fault", outcome, tried, f"{fault}, {name}, after {answers} answers")
    patient = {"RLBUFFERS_TIMEOUT": "10", "RLBUFFERS_RETRIES": "3"}
    for fault in PASSING:
        for ending in ENDINGS:
            passed = folder / "passed.hdf5"
            passed.unlink(missing_ok=True)
            _play(fault, passing=2)
            tried = attempt(["repack", f"{address}/x.{ending}", "-o", passed], environment=patient)
            right = not tried.exit_code and _fingerprint(passed) == fingerprint
            outcome = HARMLESS if right else f"{FAILED}: {tried.errors[-200:]}"
            attack.note(f"{ending}: a fault that passes", outcome, tried, fault)
    _play(None)
    for words in (["info", "http://127.0.0.1:1/x.zarr"], ["info", "http://no.such.host.invalid/x.hdf5"]):
        attack.note("no server", judged(attempt(words, environment=ENVIRONMENT)), None, words[1])
    for scheme in ("ftp", "sftp", "file+x", "zip", "javascript"):
        tried = attempt(["info", f"{scheme}://127.0.0.1/x.zarr"], environment=ENVIRONMENT)
        attack.note("other schemes", judged(tried), tried, scheme)


def _fingerprint(path: Path) -> str:
    with open_buffer(path) as buffer:
        return buffer.fingerprint


def _downloads(attack: Attack, folder: Path, address: str) -> None:
    from rlbuffers.sources.rl_unplugged import games

    def before() -> None:
        games._BUCKET = address
        shutil.disk_usage = lambda _: types.SimpleNamespace(free=(256 << 20) + 50_000_000)  # type: ignore[assignment]

    for fault in FAULTS:
        if fault in ("ignores ranges", "another range", "compressed"):  # nothing wrong with these for a whole file
            continue
        datasets = folder / "datasets"
        shutil.rmtree(datasets, ignore_errors=True)
        _play(fault)
        words: list[str | Path] = ["convert", "rl-unplugged", "--suite", "atari", "--task", "Pong"]
        words += ["--dataset-dir", datasets, "-o", folder / "shard.hdf5", "--workers", "0"]
        tried = attempt(words, environment=ENVIRONMENT, before=before)
        outcome = judged(tried)
        kept = [
            path.name for path in datasets.rglob("*") if path.is_file() and not path.name.endswith((".part", ".json"))
        ]
        if kept:
            outcome = f"{FAILED}: kept {kept}"
        attack.note("download: a fault", outcome, tried, fault)


def _run(attack: Attack, folder: Path, seed: int) -> None:
    _buffers(folder, seed)
    with running(folder) as address:
        _remote(attack, folder, address)
        _downloads(attack, folder, address)


if __name__ == "__main__":
    main_of("Servers", __doc__, _run)
