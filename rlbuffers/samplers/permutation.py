"""Random orders that need no memory, however many items there are."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Permutation"]

Indices = np.ndarray[Any, np.dtype[np.int64]]
_Words = np.ndarray[Any, np.dtype[np.uint64]]
# Below, a table is at most half a megabyte, and every order is equally likely.
_MAX_TABLE = 1 << 16
_NUM_ROUNDS = 8


class Permutation:
    """A random order of the numbers 0 to n - 1, which is computed where it is asked for.

    Small ones are a table. Larger ones are a Feistel network on pairs (left, right) with n <= a b
    of them: each round adds to one half, modulo its size, a hash of the other half. That is a bijection
    on the pairs whatever the hash is; a pair that stands for no number is mapped again until it does
    (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). The memory does not grow with n, and
    the middle of an order costs no more than its beginning.

    Parameters
    ----------
    size : int
        n, at least 1.
    key : int
        Chooses the order; in [0, 2^63).
    """

    def __init__(self, size: int, key: int) -> None:
        self.size = size
        self.key = key
        generator = np.random.default_rng(key)
        self._table = generator.permutation(size) if size <= _MAX_TABLE else None
        self._round_keys = generator.integers(0, 2**64, _NUM_ROUNDS, np.uint64)
        left = int(np.ceil(np.sqrt(size)))
        self._sizes = np.uint64(left), np.uint64(-(-size // left))

    def at(self, start: int, stop: int) -> Indices:
        """Return the numbers at positions `start` to `stop`, exclusive, int64."""
        if self._table is not None:
            return self._table[start:stop]
        numbers = self._mapped(np.arange(start, stop, dtype=np.uint64))
        while (outside := numbers >= np.uint64(self.size)).any():
            numbers[outside] = self._mapped(numbers[outside])
        return numbers.astype(np.int64)

    def _mapped(self, numbers: _Words) -> _Words:
        num_left, num_right = self._sizes
        left, right = np.divmod(numbers, num_right)
        for left_key, right_key in self._round_keys.reshape(-1, 2):
            left = (left + _mixed(right ^ left_key) % num_left) % num_left
            right = (right + _mixed(left ^ right_key) % num_right) % num_right
        mapped: _Words = left * num_right + right
        return mapped


def _mixed(words: _Words) -> _Words:
    """Hash 64-bit words: the finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
