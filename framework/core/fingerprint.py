"""Hashes of byte strings, exact and vectorised: Fingerprint64 (FarmHash), SipHash-2-4, and hashes of combinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.core.errors import describe

_K0, _K1, _K2 = (np.uint64(k) for k in (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F))
_CROSS_MULTIPLIER = np.uint64(0xC6A4A7935BD1E995)
CROSS_HASH_KEY = 0xDECAFCAFFE
"""The key that crosses of features start from when none is given."""


class PackedStrings:
    """Byte strings laid one after another in one buffer, so that numpy can read 8 bytes of each at once.

    Args:
        values: an array of any shape, or a list: of bytes, of str (which become UTF-8), or of integers and bools,
            which are written in decimal.

    Raises:
        TypeError: other values.
    """

    def __init__(self, values: Any):
        array = as_bytes(values)
        self.shape = array.shape
        flat = array.reshape(-1)
        if flat.dtype.kind == "S":
            width = flat.dtype.itemsize
            data = np.ascontiguousarray(flat).view(np.uint8) if width else np.zeros(0, np.uint8)
            self.lengths = np.char.str_len(flat).astype(np.int64)
            self.offsets = np.arange(flat.size, dtype=np.int64) * width
        else:
            strings = flat.tolist()
            data = np.frombuffer(b"".join(strings), np.uint8)
            self.lengths = np.fromiter(map(len, strings), np.int64, len(strings))
            self.offsets = np.cumsum(self.lengths) - self.lengths
        # Reads of 4 and 8 bytes may start at any byte of a string: 64 more bytes stand after the last.
        buffer = np.concatenate([data, np.zeros(64, np.uint8)])
        self.bytes = buffer
        self._words = np.ndarray((buffer.size - 8,), "<u8", buffer, strides=(1,))
        self._halves = np.ndarray((buffer.size - 8,), "<u4", buffer, strides=(1,))

    def words(self, at: np.ndarray) -> np.ndarray:
        """The 64-bit little-endian words that start at the given bytes of the buffer."""
        return self._words[at].astype(np.uint64, copy=False)

    def halves(self, at: np.ndarray) -> np.ndarray:
        """The 32-bit little-endian words that start at the given bytes."""
        return self._halves[at].astype(np.uint64)

    def single(self, at: np.ndarray) -> np.ndarray:
        """The bytes at the given places."""
        return self.bytes[at].astype(np.uint64)


def as_bytes(values: Any) -> np.ndarray:
    """Strings or integers as an array of bytes: numpy's fixed-width bytes where they fit, else objects.

    Example:
        >>> as_bytes([7, -1]).tolist(), as_bytes(["a", "ü"]).tolist()
        ([b'7', b'-1'], [b'a', b'\\xc3\\xbc'])
    """
    if isinstance(values, (bytes, str)):
        values = _objects([values], ())
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if isinstance(values, (list, tuple)) and array.dtype.kind == "S":  # numpy drops zero bytes at the end
        array = np.asarray(values, dtype=object)
    kind = array.dtype.kind
    if kind == "S" or (kind == "f" and array.size == 0):
        return array.astype("S1") if kind == "f" else array
    if kind in "iu":
        return array.astype("S21")
    if kind == "b":
        return array.astype(np.uint8).astype("S1")
    if kind == "U":
        return _encode(array)
    if kind in "OT":
        return _objects([_one(v) for v in array.reshape(-1).tolist()], array.shape)
    raise TypeError(f"Hashes are of strings or integers, got {describe(array)}.")


def _one(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, (int, np.integer)):
        return str(int(value)).encode()
    raise TypeError(f"Hashes are of strings or integers, got {describe(value)}.")


def _objects(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


def _encode(array: np.ndarray) -> np.ndarray:
    width = array.dtype.itemsize // 4
    if width == 0:
        return array.astype("S1")
    points = np.ascontiguousarray(array).view(np.uint32)
    if points.size and points.max() >= 128:
        return np.char.encode(array, "utf-8")
    return points.astype(np.uint8).view(f"S{width}").reshape(array.shape)


def _rotate(x: np.ndarray, by: int) -> np.ndarray:
    """The bits of x, rotated to the right."""
    return (x >> np.uint64(by)) | (x << np.uint64(64 - by))


def _mix(x: np.ndarray) -> np.ndarray:
    return x ^ (x >> np.uint64(47))


def _fold(u: np.ndarray, v: np.ndarray, multiplier: Any) -> np.ndarray:
    """128 bits as 64, by the multiplication of Murmur hashes."""
    a = _mix((u ^ v) * multiplier)
    return _mix((v ^ a) * multiplier) * multiplier


def fingerprint64(strings: Any) -> np.ndarray:
    """Fingerprint64 of FarmHash, the hash behind TensorFlow's hash buckets.

    Shape:
        any -> the same, uint64

    Args:
        strings: one string, or an array or list of them: bytes, str (hashed as UTF-8) or integers (in decimal).

    Returns:
        The hashes.

    Raises:
        TypeError: other values.

    Example:
        >>> int(fingerprint64("a"))
        12917804110809363939
        >>> (fingerprint64(["teal", "red"]) % 10).tolist()
        [8, 0]

    Reference:
        https://github.com/google/farmhash
    """
    packed = PackedStrings(strings)
    n, at = packed.lengths, packed.offsets
    out = np.full(n.size, _K2, np.uint64)
    for low, high, function in (
        (1, 3, _upto_3),
        (4, 7, _upto_7),
        (8, 16, _upto_16),
        (17, 32, _upto_32),
        (33, 64, _upto_64),
        (65, None, _longer),
    ):
        chosen = np.flatnonzero((n >= low) if high is None else (n >= low) & (n <= high))
        if chosen.size:
            out[chosen] = function(packed, at[chosen], n[chosen])
    return out.reshape(packed.shape)


def _upto_3(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    y = s.single(at) + (s.single(at + (n >> 1)) << np.uint64(8))
    z = n.astype(np.uint64) + (s.single(at + n - 1) << np.uint64(2))
    return _mix(y * _K2 ^ z * _K0) * _K2


def _multiplier(n: np.ndarray) -> np.ndarray:
    return _K2 + n.astype(np.uint64) * np.uint64(2)


def _upto_7(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    first = n.astype(np.uint64) + (s.halves(at) << np.uint64(3))
    return _fold(first, s.halves(at + n - 4), _multiplier(n))


def _upto_16(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    multiplier = _multiplier(n)
    a, b = s.words(at) + _K2, s.words(at + n - 8)
    return _fold(_rotate(b, 37) * multiplier + a, (_rotate(a, 25) + b) * multiplier, multiplier)


def _upto_32(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    multiplier = _multiplier(n)
    a, b = s.words(at) * _K1, s.words(at + 8)
    c, d = s.words(at + n - 8) * multiplier, s.words(at + n - 16) * _K2
    return _fold(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, multiplier)


def _upto_64(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    multiplier = _multiplier(n)
    a, b = s.words(at) * _K2, s.words(at + 8)
    c, d = s.words(at + n - 8) * multiplier, s.words(at + n - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _fold(y, a + _rotate(b + _K2, 18) + c, multiplier)
    e, f = s.words(at + 16) * multiplier, s.words(at + 24)
    g, h = (y + s.words(at + n - 32)) * multiplier, (z + s.words(at + n - 24)) * multiplier
    return _fold(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, multiplier)


def _weak(s: PackedStrings, at: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """32 bytes and two seeds as two words."""
    w, x, y, z = (s.words(at + 8 * i) for i in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    c = a
    a = a + x + y
    b = b + _rotate(a, 44)
    return a + z, b + c


def _longer(s: PackedStrings, at: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Strings of more than 64 bytes: block by block, with the strings that still have one."""
    blocks = (n - 1) >> 6
    order = np.argsort(-blocks, kind="stable")  # so that those with a block left stand in front
    at, n, blocks = at[order], n[order], blocks[order]
    x = np.full(at.shape, 81, np.uint64) * _K2 + s.words(at)
    y = np.full(at.shape, 81, np.uint64) * _K1 + np.uint64(113)
    z = _mix(y * _K2 + np.uint64(113)) * _K2
    v = np.zeros((2, at.size), np.uint64)
    w = np.zeros((2, at.size), np.uint64)

    def step(i: slice, place: np.ndarray, k: Any, nine: Any) -> None:
        x[i] = _rotate(x[i] + y[i] + v[0, i] + s.words(place + 8), 37) * k
        y[i] = _rotate(y[i] + v[1, i] + s.words(place + 48), 42) * k
        x[i] ^= w[1, i] * nine
        y[i] += v[0, i] * nine + s.words(place + 40)
        z[i] = _rotate(z[i] + w[0, i], 33) * k
        v[:, i] = _weak(s, place, v[1, i] * k, x[i] + w[0, i])
        w[:, i] = _weak(s, place + 32, z[i] + w[1, i], y[i] + s.words(place + 16))
        x[i], z[i] = z[i].copy(), x[i].copy()

    for block in range(int(blocks[0])):
        active = slice(0, int(np.searchsorted(-blocks, -block, "left")))
        step(active, at[active] + 64 * block, _K1, np.uint64(1))
    multiplier = _K1 + ((z & np.uint64(0xFF)) << np.uint64(1))
    w[0] += ((n - 1) & 63).astype(np.uint64)
    v[0] += w[0]
    w[0] += v[0]
    step(slice(None), at + n - 64, multiplier, np.uint64(9))
    low = _fold(v[0], w[0], multiplier) + _mix(y) * _K0 + z
    high = _fold(v[1], w[1], multiplier) + x
    out = np.empty_like(low)
    out[order] = _fold(low, high, multiplier)
    return out


def siphash(strings: Any, key: Sequence[int]) -> np.ndarray:
    """SipHash-2-4, a hash that nobody can find collisions of without its key.

    Shape:
        any -> the same, uint64

    Args:
        strings: as for `fingerprint64`.
        key: two unsigned integers of 64 bits.

    Returns:
        The hashes.

    Example:
        >>> hex(siphash(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
        '0xa129ca6149be45e5'

    Reference:
        https://www.aumasson.jp/siphash/siphash.pdf
    """
    packed = PackedStrings(strings)
    words = packed.lengths >> 3
    order = np.argsort(-words, kind="stable")
    n, at, words = packed.lengths[order], packed.offsets[order], words[order]
    k0, k1 = (np.uint64(int(k) & 0xFFFFFFFFFFFFFFFF) for k in key)
    keys = np.array([k0, k1, k0, k1], np.uint64)
    start = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    state = np.repeat((keys ^ np.array(start, np.uint64))[:, None], n.size, 1)

    def rounds(v: np.ndarray, count: int) -> None:
        for _ in range(count):
            v[0] += v[1]
            v[2] += v[3]
            v[1] = _rotate(v[1], 51) ^ v[0]
            v[3] = _rotate(v[3], 48) ^ v[2]
            v[0] = _rotate(v[0], 32)
            v[2] += v[1]
            v[0] += v[3]
            v[1] = _rotate(v[1], 47) ^ v[2]
            v[3] = _rotate(v[3], 43) ^ v[0]
            v[2] = _rotate(v[2], 32)

    def absorb(v: np.ndarray, message: np.ndarray) -> None:
        v[3] ^= message
        rounds(v, 2)
        v[0] ^= message

    for i in range(int(words[0]) if n.size else 0):
        active = int(np.searchsorted(-words, -i, "left"))
        absorb(state[:, :active], packed.words(at[:active] + 8 * i))
    left = (n & 7).astype(np.uint64)
    last = packed.words(at + 8 * words) & ((np.uint64(1) << (left * np.uint64(8))) - np.uint64(1))
    absorb(state, last | (n.astype(np.uint64) << np.uint64(56)))
    state[2] ^= np.uint64(0xFF)
    rounds(state, 4)
    out = np.empty(n.size, np.uint64)
    out[order] = np.bitwise_xor.reduce(state)
    return out.reshape(packed.shape)


def concatenate_fingerprints(first: Any, second: Any) -> np.ndarray:
    """The fingerprint of an ordered pair of fingerprints (FingerprintCat64); shapes broadcast."""
    k = _CROSS_MULTIPLIER
    first, second = np.atleast_1d(np.asarray(first, np.uint64)), np.atleast_1d(np.asarray(second, np.uint64))
    mixed = (first ^ k ^ (_mix(second * k) * k)) * k
    return _mix(_mix(mixed) * k)


def cross_fingerprints(parts: Sequence[np.ndarray], key: int | None = None) -> np.ndarray:
    """The fingerprint of a combination of values, as in TensorFlow's hashed crosses.

    Args:
        parts: arrays that broadcast against each other: strings count by `fingerprint64`, integers by their value.
        key: where the chain of hashes starts; by default `CROSS_HASH_KEY`.

    Returns:
        The hashes, uint64.

    Example:
        >>> (cross_fingerprints([np.array(["A", "B"]), np.array([101, 102])]) % 5).tolist()
        [1, 1]
    """
    result = np.asarray(CROSS_HASH_KEY if key is None else key, np.uint64)
    for part in parts:
        part = np.asarray(part)
        if part.dtype.kind in "iub":
            hashed = part.astype(np.int64).astype(np.uint64)
        else:
            hashed = fingerprint64(part)
        result = concatenate_fingerprints(result, hashed)
    return result
