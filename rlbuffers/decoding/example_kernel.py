"""The compiled part of ``example_proto.py``: a parser of the Protocol Buffers wire format.

Importing this module imports numba; the machine code is cached on disk after its first use. Every
position that is read is checked against the end of the enclosing message first.
"""

from __future__ import annotations

import numpy as np

from rlbuffers.compiled import jit

__all__ = ["MALFORMED", "MISSING", "TWICE", "WRONG_COUNT", "WRONG_KIND", "parse"]

MALFORMED, WRONG_KIND, WRONG_COUNT, MISSING, TWICE = -1, -2, -3, -4, -5
_UNKNOWN = 1


@jit
def _varint(data, position, stop):
    """Return (value, next position); the position is -1 if the number does not end in time."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while position < stop and shift < 70:
        byte = np.uint64(data[position])
        position += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < 0x80:
            return value, position
        shift += np.uint64(7)
    return value, -1


@jit
def _field(data, position, stop):
    """Return (number, wire type, start, end of the payload); end is -1 if malformed."""
    tag, position = _varint(data, position, stop)
    if position < 0:
        return 0, 0, 0, -1
    number, wire = np.int64(tag >> np.uint64(3)), np.int64(tag & np.uint64(7))
    if wire == 0:
        _, end = _varint(data, position, stop)
        return number, wire, position, end
    if wire == 2:
        length, position = _varint(data, position, stop)
        if position < 0 or length > np.uint64(stop - position):
            return number, wire, position, -1
        return number, wire, position, position + np.int64(length)
    width = 8 if wire == 1 else 4 if wire == 5 else -1
    if width < 0 or position + width > stop:
        return number, wire, position, -1
    return number, wire, position, position + width


@jit
def _little32(data, position):
    return (
        np.int64(data[position])
        | np.int64(data[position + 1]) << 8
        | np.int64(data[position + 2]) << 16
        | np.int64(data[position + 3]) << 24
    )


@jit
def _read_list(data, start, stop, kind, count, first, second):
    """Fill `first` (values, or offsets) and `second` (lengths); return the number of values or an error."""
    found = 0
    while start < stop:
        number, wire, begin, end = _field(data, start, stop)
        if end < 0 or number != 1:
            return MALFORMED
        if kind == 1:
            if wire != 2:
                return MALFORMED
            if found < count:
                first[found], second[found] = begin, end - begin
            found += 1
        elif wire == 2 and kind == 2:
            if (end - begin) % 4:
                return MALFORMED
            for position in range(begin, end, 4):
                if found < count:
                    first[found] = _little32(data, position)
                found += 1
        elif wire == 2:
            position = begin
            while position < end:
                value, position = _varint(data, position, end)
                if position < 0:
                    return MALFORMED
                if found < count:
                    first[found] = np.int64(value)
                found += 1
        elif wire == 5 and kind == 2:
            if found < count:
                first[found] = _little32(data, begin)
            found += 1
        elif wire == 0 and kind == 3:
            value, _ = _varint(data, begin, end)
            if found < count:
                first[found] = np.int64(value)
            found += 1
        else:
            return MALFORMED
        start = end
    return found


@jit
def _known_key(data, start, stop, keys, key_stops):
    begin = 0
    for index in range(len(key_stops)):
        end = key_stops[index]
        if end - begin == stop - start:
            same = True
            for offset in range(end - begin):
                if keys[begin + offset] != data[start + offset]:
                    same = False
                    break
            if same:
                return index
        begin = end
    return -1


@jit
def _read_entry(data, start, stop, keys, key_stops, kinds, counts, slots, first, second, seen):
    """Read one map entry; return (status, feature index, number of values found)."""
    key_start = key_stop = value_start = value_stop = 0
    while start < stop:
        number, wire, begin, end = _field(data, start, stop)
        if end < 0 or wire != 2:
            return MALFORMED, 0, 0
        if number == 1:
            key_start, key_stop = begin, end
        elif number == 2:
            value_start, value_stop = begin, end
        start = end
    index = _known_key(data, key_start, key_stop, keys, key_stops)
    if index < 0:
        return _UNKNOWN, 0, 0
    if seen[index]:
        return TWICE, index, 0
    seen[index] = True
    if value_start == value_stop:
        return WRONG_COUNT, index, 0
    number, wire, begin, end = _field(data, value_start, value_stop)
    if end < 0 or end != value_stop or wire != 2:
        return MALFORMED, index, 0
    if number != kinds[index]:
        return WRONG_KIND, index, 0
    columns = slice(slots[index], slots[index + 1])
    found = _read_list(data, begin, end, kinds[index], counts[index], first[columns], second[columns])
    if found < 0:
        return found, index, 0
    if found != counts[index]:
        return WRONG_COUNT, index, found
    return 0, index, found


@jit
def parse(data, starts, stops, keys, key_stops, kinds, counts, slots, first, second, unknown):
    """Parse all records; return (record, status, feature index, found) of the first problem."""
    for record in range(len(starts)):
        seen = np.zeros(len(counts), np.bool_)
        start, stop = starts[record], stops[record]
        while start < stop:
            number, wire, begin, end = _field(data, start, stop)
            if end < 0 or number != 1 or wire != 2:
                return record, MALFORMED, 0, 0
            position = begin
            while position < end:
                number, wire, entry, entry_end = _field(data, position, end)
                if entry_end < 0 or number != 1 or wire != 2:
                    return record, MALFORMED, 0, 0
                status, index, found = _read_entry(
                    data, entry, entry_end, keys, key_stops, kinds, counts, slots,
                    first[record], second[record], seen,
                )  # fmt: skip
                if status < 0:
                    return record, status, index, found
                unknown[record] += status
                position = entry_end
            start = end
        for index in range(len(counts)):
            if not seen[index]:
                return record, MISSING, index, 0
    return 0, 0, 0, 0
