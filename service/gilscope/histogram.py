"""A latency histogram of fixed size and bounded error, in HdrHistogram's layout and encoding. Pure.

The layout is log-linear: whole nanoseconds up to 2,047, and from there on 1,024 buckets of equal width for each
doubling, so that a bucket is never wider than 1/1024 of the values in it. That is what HdrHistogram (Gil Tene,
https://github.com/HdrHistogram/HdrHistogram) lays out for a lowest discernible value of 1 ns, a highest trackable
one of 60 s and 3 significant digits, bucket for bucket; and the text of :meth:`Histogram.encode` is its V2
encoding, compressed (``AbstractHistogram.encodeIntoCompressedByteBuffer`` and ``ZigZagEncoding`` of its Java
sources), so that its tools read what we write.
"""

from __future__ import annotations

import base64
import math
import operator
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, compress, groupby, repeat
from typing import NoReturn, Self

UNITS_PER_MS = 1_000_000
"""Latencies are kept in whole nanoseconds: in microseconds, one of 10 us could be off by 5 %."""

HIGHEST = 60_000_000_000
"""The highest value that is told apart: 60 s, in units."""

HIGHEST_MS = HIGHEST / UNITS_PER_MS
LOWEST = 1
DIGITS = 3

_HALF_BITS = 10
"""2**10 buckets per doubling: the power of two that tells values of three digits apart."""

_LINEAR_BITS = _HALF_BITS + 1
"""Values of no more bits than these have a bucket each."""

_COOKIE = 0x1C849303 | 0x10
_COMPRESSED_COOKIE = 0x1C849304 | 0x10
_WORD_SIZE = 0xF0
"""The bits of a cookie that V2 does not care about."""

_OUTER = struct.Struct(">II")
"""Compressed cookie and length of what follows."""

_HEADER = struct.Struct(">IIIIQQd")
"""Cookie, length of the counts, index offset, digits, lowest and highest value, ratio of integers to doubles."""

_VARINT_BYTES = 9
_MAX_BITS = 63
_MAX_PAYLOAD = _HEADER.size + _VARINT_BYTES * ((_MAX_BITS - _HALF_BITS + 1) << _HALF_BITS)
"""What a histogram of three digits can take at most; more is a decompression bomb."""


def _index(value: int) -> int:
    """Return the bucket of a value in units; where latencies are recorded it is inlined."""
    shift = max(0, value.bit_length() - _LINEAR_BITS)
    return (shift << _HALF_BITS) + (value >> shift)


def _bounds(index: int) -> tuple[int, int]:
    """Return the lowest and the highest value, in units, of a bucket."""
    shift = max(0, (index >> _HALF_BITS) - 1)
    low = (index - (shift << _HALF_BITS)) << shift
    return low, low + (1 << shift) - 1


def _middle_ms(index: int) -> float:
    low, high = _bounds(index)
    return (low + high) / 2 / UNITS_PER_MS


_LENGTH = _index(HIGHEST) + 1


class Histogram:
    """Counts latencies, given and returned in milliseconds and kept in about 220 KB however many there are.

    A latency is rounded to the nanosecond, and then to the middle of its bucket: what comes back is off by no
    more than 0.05 % or half a nanosecond, whichever is more. That is below 1 % from 50 ns to 60 s. The least
    and the greatest latency are kept as they were. For one thread, or for the greenlets of one.
    """

    __slots__ = ("_beyond", "_beyond_max_ms", "_counts", "_max_ms", "_min_ms")

    def __init__(self) -> None:
        self._counts = [0] * _LENGTH
        self._min_ms = math.inf
        self._max_ms = -math.inf  # of those that are not beyond
        self._beyond = 0
        self._beyond_max_ms = -math.inf

    def record(self, latency_ms: float) -> None:
        """Count a latency; one above 60 s as 60 s, and as beyond.

        Raises:
            ValueError: it is negative, infinite or not a number.
        """
        if not self._min_ms <= latency_ms <= self._max_ms:
            latency_ms = self._extreme(latency_ms)
        value = int(latency_ms * UNITS_PER_MS + 0.5)
        shift = value.bit_length() - _LINEAR_BITS
        self._counts[(shift << _HALF_BITS) + (value >> shift) if shift > 0 else value] += 1

    def _extreme(self, latency_ms: float) -> float:
        """Check and remember what lies outside of all before it; return what it counts as."""
        if not 0 <= latency_ms < math.inf:
            raise _unfit(latency_ms)
        self._min_ms = min(self._min_ms, latency_ms)
        if latency_ms <= HIGHEST_MS:
            self._max_ms = max(self._max_ms, latency_ms)
            return latency_ms
        self._beyond += 1
        self._beyond_max_ms = max(self._beyond_max_ms, latency_ms)
        return HIGHEST_MS

    def record_many(self, latencies_ms: Iterable[float]) -> None:
        """Count all of these latencies as :meth:`record` would, or none of them.

        Raises:
            ValueError: one is negative, infinite or not a number; then none is counted.
        """
        given = list(latencies_ms)
        if not all(map(math.isfinite, given)) or min(given, default=0.0) < 0:
            raise _unfit(next(latency for latency in given if not 0 <= latency < math.inf))
        if max(given, default=0.0) > HIGHEST_MS:
            for latency in filter(HIGHEST_MS.__lt__, given):
                self.record(latency)
            given = list(filter(HIGHEST_MS.__ge__, given))
        if not given:
            return
        for extreme in (min(given), max(given)):
            self._extreme(extreme)
        counts = self._counts
        for latency in given:
            value = int(latency * UNITS_PER_MS + 0.5)
            shift = value.bit_length() - _LINEAR_BITS
            counts[(shift << _HALF_BITS) + (value >> shift) if shift > 0 else value] += 1

    def merge(self, other: Histogram) -> None:
        """Count all that ``other`` has counted, too: the same as if all had been recorded here."""
        self._counts[:] = map(operator.add, self._counts, other._counts)
        self._min_ms = min(self._min_ms, other._min_ms)
        self._max_ms = max(self._max_ms, other._max_ms)
        self._beyond += other._beyond
        self._beyond_max_ms = max(self._beyond_max_ms, other._beyond_max_ms)

    @property
    def count(self) -> int:
        """How many latencies have been recorded, those beyond 60 s included."""
        return sum(self._counts)

    @property
    def beyond(self) -> int:
        """How many latencies were above 60 s, and are counted as 60 s."""
        return self._beyond

    @property
    def min_ms(self) -> float:
        """The least latency (ms) as it was recorded; after :meth:`decode`, the middle of its bucket.

        Raises:
            ValueError: nothing has been recorded.
        """
        if self._min_ms == math.inf:
            raise ValueError("no values")
        return self._min_ms

    @property
    def max_ms(self) -> float:
        """The greatest latency (ms), as :attr:`min_ms`; beyond 60 s, too, it is what was recorded.

        Raises:
            ValueError: nothing has been recorded.
        """
        if self._min_ms == math.inf:
            raise ValueError("no values")
        return max(self._max_ms, self._beyond_max_ms)

    @property
    def mean(self) -> float:
        """The mean (ms) of the middles of the buckets, beyond 60 s counted as 60 s.

        Raises:
            ValueError: nothing has been recorded.
        """
        if self._min_ms == math.inf:
            raise ValueError("no values")
        mean = math.fsum(self._counts[index] * _middle_ms(index) for index in self._used()) / self.count
        return min(max(mean, self.min_ms), self.max_ms)

    def quantile(self, q: float) -> float:
        """Return the ``q``-quantile (ms) by the nearest-rank method, as :func:`gilscope.quantiles.quantile`.

        It is the middle of the bucket in which the value of that rank lies, but never outside of what was
        recorded; and for the first and the last rank the least and the greatest latency themselves.

        Raises:
            ValueError: nothing has been recorded, or ``q`` is not within 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within 0 to 1, not {q}")
        least, greatest = self.min_ms, self.max_ms
        cumulated = list(accumulate(self._counts))
        total = cumulated[-1]
        rank = max(1, math.ceil(round(q * total, 9)))
        if rank == 1:
            return least
        if rank == total:
            return greatest
        return min(max(_middle_ms(bisect_left(cumulated, rank)), least), greatest)

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """Yield from where to where (ms) each bucket reaches that is not empty, and its count; the lowest first.

        The edges are those of the latencies, which are rounded to the nanosecond: where one bucket ends the
        next begins.
        """
        for index in self._used():
            low, high = _bounds(index)
            yield max(0.0, low - 0.5) / UNITS_PER_MS, (high + 0.5) / UNITS_PER_MS, self._counts[index]

    def _used(self) -> Iterator[int]:
        return compress(range(_LENGTH), self._counts)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same counts in the same buckets: all that :meth:`encode` keeps."""
        return self._counts == other._counts if isinstance(other, Histogram) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Histogram {list(self.buckets())}>"

    def encode(self) -> str:
        """Return the counts as HdrHistogram's compressed V2 text; its values are nanoseconds.

        What of a latency is finer than its bucket is not in it, nor how many were beyond 60 s.

        Raises:
            ValueError: a bucket's count does not fit into 63 bits.
        """
        relevant = max(self._used(), default=-1) + 1
        counts = b"".join(map(_varint, _runs(self._counts[:relevant])))
        header = _HEADER.pack(_COOKIE, len(counts), 0, DIGITS, LOWEST, HIGHEST, 1.0)
        packed = zlib.compress(header + counts)
        return base64.b64encode(_OUTER.pack(_COMPRESSED_COOKIE, len(packed)) + packed).decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the histogram of :meth:`encode`, or of another program with nanoseconds and three digits.

        Its highest value may be another; what is above 60 s counts as beyond.

        Raises:
            ValueError: the text is damaged, or of a histogram with another layout.
        """
        histogram = cls()
        for index, count in _counts(_unpack(text)):
            middle_ms = _middle_ms(index)
            if index < _LENGTH:
                middle_ms = min(middle_ms, HIGHEST_MS)
                histogram._counts[index] += count
                histogram._max_ms = max(histogram._max_ms, middle_ms)
            else:
                histogram._counts[-1] += count
                histogram._beyond += count
                histogram._beyond_max_ms = max(histogram._beyond_max_ms, middle_ms)
            histogram._min_ms = min(histogram._min_ms, middle_ms)
        return histogram


def _unfit(latency_ms: float) -> ValueError:
    return ValueError(f"a latency is a finite number of milliseconds from 0 up, not {latency_ms}")


def _runs(counts: Iterable[int]) -> Iterator[int]:
    """Yield the counts, but where several zeros follow each other minus their number."""
    for count, run in groupby(counts):
        length = len(list(run))
        yield from (-length,) if count == 0 and length > 1 else repeat(count, length)


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    """Encode a number as ZigZag LEB128 of at most 9 bytes; the ninth has 8 bits of it, the others 7.

    Raises:
        ValueError: it is too large for that.
    """
    if number.bit_length() > _MAX_BITS:
        raise ValueError(
            f"HdrHistogram's encoding has no counts above 2**{_MAX_BITS} - 1, and this is {number}"
        )
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    encoded = bytearray()
    while rest > 0x7F and len(encoded) < _VARINT_BYTES - 1:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _numbers(encoded: bytes) -> Iterator[int]:
    """Decode what :func:`_varint` encoded, one after the other."""
    rest, bits = 0, 0
    for byte in encoded:
        if bits == 7 * (_VARINT_BYTES - 1) or byte < 0x80:
            rest |= byte << bits
            yield -((rest + 1) >> 1) if rest & 1 else rest >> 1
            rest, bits = 0, 0
        else:
            rest |= (byte & 0x7F) << bits
            bits += 7
    if bits:
        _refuse("the last count breaks off")


def _unpack(text: str) -> bytes:
    """Return header and counts of an encoded histogram."""
    try:
        whole = base64.b64decode(text, validate=True)
    except ValueError as problem:
        _refuse(f"not base64: {problem}")
    if len(whole) < _OUTER.size:
        _refuse(f"{len(whole)} bytes are too few")
    cookie, length = _OUTER.unpack_from(whole)
    if (cookie | _WORD_SIZE) != (_COMPRESSED_COOKIE | _WORD_SIZE):
        _refuse(f"it begins with {cookie:#x}, a compressed V2 histogram with {_COMPRESSED_COOKIE:#x}")
    if length != len(whole) - _OUTER.size:
        _refuse(f"{length} bytes are announced, and {len(whole) - _OUTER.size} there")
    inflater = zlib.decompressobj()
    try:
        payload = inflater.decompress(whole[_OUTER.size :], _MAX_PAYLOAD + 1)
    except zlib.error as problem:
        _refuse(f"not compressed by zlib: {problem}")
    if len(payload) > _MAX_PAYLOAD:
        _refuse(f"it inflates to more than {_MAX_PAYLOAD} bytes, which no such histogram takes")
    if not inflater.eof or inflater.unused_data:
        _refuse("the compressed part does not end where the text does")
    return payload


def _counts(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield index and count of each bucket that is not empty."""
    if len(payload) < _HEADER.size:
        _refuse(f"{len(payload)} bytes are too few for its header")
    cookie, length, offset, digits, lowest, highest, ratio = _HEADER.unpack_from(payload)
    encoded = payload[_HEADER.size :]
    if (cookie | _WORD_SIZE) != (_COOKIE | _WORD_SIZE):
        _refuse(f"its inside begins with {cookie:#x}, a V2 histogram with {_COOKIE:#x}")
    if length != len(encoded):
        _refuse(f"{length} bytes of counts are announced, and {len(encoded)} there")
    if (offset, digits, lowest, ratio) != (0, DIGITS, LOWEST, 1.0):
        _refuse(
            f"another layout: lowest value {lowest}, {digits} digits, index offset {offset}, ratio {ratio:g}; "
            f"only {LOWEST}, {DIGITS}, 0 and 1 can be read"
        )
    # Every HdrHistogram has room for the whole doubling in which its highest value lies.
    room = _index((1 << min(_MAX_BITS, max(highest.bit_length(), _LINEAR_BITS))) - 1) + 1
    index = 0
    for number in _numbers(encoded):
        if number > 0:
            yield index, number
        index += 1 if number >= 0 else -number
        if index > room:
            _refuse(f"it counts beyond its highest value, {highest}")


def _refuse(why: str) -> NoReturn:
    raise ValueError(f"not a histogram in HdrHistogram's V2 encoding: {why}")
