"""How tightly stacks of frames can be stored, and how quickly they are decoded and encoded.

    .venv/bin/python benchmarks/image_codecs.py [--games Breakout,Pong]

Random play, some frames apart; a chunk is the 5 frames of a transition. Prints, for each codec, bytes and
microseconds a chunk: medians over blocks of 32 chunks, decoded in one call from memory into memory.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from rlbuffers.environments import make_vector_env
from rlbuffers.stores import native
from rlbuffers.stores.codecs import Codec, ZlibCodec, ZstdCodec, image_bytes_of

GAMES = "Breakout,Pong,Asterix,MsPacman,Qbert,Seaquest,SpaceInvaders"
NUM_ENVS, STEPS, APART, BLOCK = 8, 400, 6, 32
ROUNDS = 15


def chunks_of(game: str) -> list[np.ndarray]:
    """Return the frames of transitions of random play, uint8 (5, 84, 84) each."""
    envs = make_vector_env(f"{game}NoFrameskip-v4", NUM_ENVS, 0, training=False)
    generator = np.random.default_rng(0)
    observations, _ = envs.reset()
    chunks = []
    for step in range(STEPS):
        actions = generator.integers(envs.single_action_space.n, size=NUM_ENVS)
        following = envs.step(actions)[0]
        if step % APART == 0:
            chunks += list(np.concatenate([observations, following[:, -1:]], axis=1))
        observations = following
    envs.close()
    return chunks[: len(chunks) // BLOCK * BLOCK]


def decode_microseconds(codec: Codec, streams: list[bytes], chunk_bytes: int) -> float:
    """Return the time that one chunk takes, in a call for many."""
    decoder = native.native_decoder(codec, 1 << 20)
    if decoder is None:
        raise SystemExit("there is no compiled decoder on this machine: see `rlbuffers doctor`")
    memory = np.frombuffer(b"".join(streams), np.uint8)
    sizes = np.array([len(stream) for stream in streams], np.int32)
    addresses = memory.ctypes.data + np.cumsum(sizes, dtype=np.int64) - sizes
    in_memory = np.full(BLOCK, -1, np.int64)
    target = np.empty(BLOCK * chunk_bytes, np.uint8)
    seconds = []
    for _ in range(ROUNDS):
        for start in range(0, len(streams), BLOCK):
            block = slice(start, start + BLOCK)
            started = time.perf_counter()
            decoder.decode(in_memory, addresses[block], sizes[block], target, chunk_bytes, 1, largest=chunk_bytes)
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) / BLOCK * 1e6


def encoded(codec: Codec, chunks: list[np.ndarray]) -> tuple[list[bytes], float]:
    """Return the streams, and the microseconds that encoding a chunk takes."""
    codec.encode(chunks[0])  # loads what it needs
    started = time.perf_counter()
    streams = [codec.encode(chunk) for chunk in chunks]
    return streams, (time.perf_counter() - started) / len(chunks) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", default=GAMES)
    args = parser.parse_args()
    native.set_decode_threads(1)
    for game in args.games.split(","):
        chunks = chunks_of(game)
        codecs: dict[str, Codec] = {
            "deflate, ISA-L level 1": ZlibCodec(),
            "deflate, fixed code": ZlibCodec(image_bytes=image_bytes_of(np.dtype(np.uint8), chunks[0].shape)),
            "Zstandard, level 1": ZstdCodec(),
            "Zstandard, level -1": ZstdCodec(-1),
        }
        for name, codec in codecs.items():
            streams, encoding = encoded(codec, chunks)
            size = sum(map(len, streams)) / len(streams)
            decoding = decode_microseconds(codec, streams, chunks[0].nbytes)
            print(
                f"{game:15}{name:25}{size:8,.0f} bytes{decoding:8.2f} us decoded{encoding:8.1f} us encoded", flush=True
            )


if __name__ == "__main__":
    main()
