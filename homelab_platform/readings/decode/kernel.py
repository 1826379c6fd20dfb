"""The fast path: one pass over whole NDJSON lines into columns, compiled on first use by numba.

Belongs here: the scanner and the grouping of rows by series, written in the subset of Python that numba compiles.
Whatever the scanner does not recognise at once (an escape in a key, an unknown field, an odd number, anything wrong)
it leaves to `record`, line by line: it never rejects and never guesses, so `record` stays the only definition.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR0917 - one loop per line: a call with so many arrays hands over a hundred words
from __future__ import annotations

import numpy as np

from homelab_platform.readings.decode.kernel_values import TAIL, allocating_jit, at, epoch, jit, number, time, word_at

KIND_TS, KIND_VALUE, KIND_TEXT, KIND_DOUBLE, KIND_BOOLEAN = range(5)
PAD = 4096  # readable bytes behind the block, so that the scanner may look ahead without a check
LONGEST_TEXT = 2048  # bytes; a known text is compared ahead of checking that the line goes on so far, within PAD
DONE, FULL_ENTRIES, FULL_ROWS = 0, 1, 2
STATUS_FAST, STATUS_SLOW = 0, 1


def _same(buf, p, other, start, length):  # type: ignore[no-untyped-def]
    while length >= 8:
        if word_at(buf, p) != word_at(other, start):
            return False
        p += 8
        start += 8
        length -= 8
    return (word_at(buf, p) ^ word_at(other, start)) & TAIL[length] == np.uint64(0)


same = jit(_same)


def _text(buf, p, column, entries, table, arena, state, last):  # type: ignore[no-untyped-def]
    """(position behind the closing quote, entry) of a text; -1: not decided here, -2: no room for a new entry.

    The entry keeps the text as it is spelled, escapes and all; Python gives it its meaning once per entry.
    """
    previous = last[column]
    guess = entries[previous, 3] if previous >= 0 else -1
    if guess >= 0:
        length = entries[guess, 1]
        if at(buf, p + length) == 34 and same(buf, p, arena, entries[guess, 0], length):
            last[column] = guess
            return p + length + 1, guess
    start = p
    mixed = np.uint64(14695981039346656037) ^ np.uint64(column)
    prime = np.uint64(1099511628211)
    while at(buf, p) != 34:
        c = at(buf, p)
        if c < 32:
            return -1, 0
        mixed = (mixed ^ np.uint64(c)) * prime
        if c == 92:
            p += 1
            if at(buf, p) < 32:
                return -1, 0
            mixed = (mixed ^ np.uint64(at(buf, p))) * prime
        p += 1
    length = p - start
    if length > LONGEST_TEXT:
        return -1, 0
    size = np.uint64(len(table) - 1)
    slot = (mixed ^ (mixed >> np.uint64(29))) & size
    while True:
        found = table[slot]
        if found < 0:
            found = state[0]
            if found >= len(entries) or found * 2 >= len(table) or state[1] + length > len(arena):
                return -2, 0
            for i in range(length):
                arena[state[1] + i] = at(buf, start + i)
            entries[found, 0], entries[found, 1], entries[found, 2] = state[1], length, column
            entries[found, 3] = -1
            table[slot] = found
            state[0] += 1
            state[1] += length
            break
        if (
            entries[found, 2] == column
            and entries[found, 1] == length
            and same(buf, start, arena, entries[found, 0], length)
        ):
            break
        slot = (slot + np.uint64(1)) & size
    if previous >= 0:
        entries[previous, 3] = found
    last[column] = found
    return p + 1, found


text = jit(_text)


def _word(buf, p, a, b, c, d):  # type: ignore[no-untyped-def]
    return at(buf, p) == a and at(buf, p + 1) == b and at(buf, p + 2) == c and at(buf, p + 3) == d


word = jit(_word)


def _blank(buf, p):  # type: ignore[no-untyped-def]
    while at(buf, p) == 32 or at(buf, p) == 9 or at(buf, p) == 13:
        p += 1
    return p


blank = jit(_blank)


def _key(buf, p, key_bytes, keys, expected):  # type: ignore[no-untyped-def]
    """The number of the known key whose text starts at `p`, or -1."""
    n = len(keys)
    for i in range(n):
        k = expected + i
        if k >= n:
            k -= n
        length = keys[k, 1]
        if at(buf, p + length) == 34 and same(buf, p, key_bytes, keys[k, 0], length):
            return k
    return -1


key = jit(_key)


def _line(buf, p, row, key_bytes, keys, required, latest, entries, table, arena, state, last, ts, value, codes, doubles, booleans):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Position behind one line's object, -1 if the line is not decided here, -2 if there is no room for an entry."""
    if at(buf, p) != 123:
        return -1
    p = blank(buf, p + 1)
    seen = np.uint64(0)
    previous = len(keys) - 1
    while True:
        if at(buf, p) != 34:
            return -1
        k = key(buf, p + 1, key_bytes, keys, keys[previous, 4])
        if k < 0:
            return -1
        keys[previous, 4] = k
        previous = k
        bit = np.uint64(1) << np.uint64(keys[k, 5])
        if seen & bit != np.uint64(0):
            return -1
        p = blank(buf, p + keys[k, 1] + 2)
        if at(buf, p) != 58:
            return -1
        p = blank(buf, p + 1)
        kind, slot, c = keys[k, 2], keys[k, 3], at(buf, p)
        if kind == KIND_TEXT:
            if c == 34:
                p, entry = text(buf, p + 1, slot, entries, table, arena, state, last)
                if p < 0:
                    return p
                codes[slot, row] = entry
                seen |= bit
            elif word(buf, p, 110, 117, 108, 108):
                p += 4
            else:
                return -1
        elif kind == KIND_TS:
            if c == 34:
                p, micros = time(buf, p + 1)
            else:
                p, micros = epoch(buf, p)
            if p < 0 or micros > latest or 0 <= micros < 31_536_000_000_000:
                return -1
            ts[row] = micros
            seen |= bit
        elif kind == KIND_VALUE:
            p, found, digits = number(buf, p)
            if p < 0:
                return -1
            value[row] = found
            seen |= bit
        elif c == 110 and word(buf, p, 110, 117, 108, 108):
            p += 4
        elif kind == KIND_DOUBLE:
            p, found, digits = number(buf, p)
            if p < 0 or 15 < digits < 99:
                return -1
            doubles[slot, row] = found
            seen |= bit
        elif word(buf, p, 116, 114, 117, 101):
            booleans[slot, row] = 1
            p += 4
            seen |= bit
        elif c == 102 and word(buf, p + 1, 97, 108, 115, 101):
            booleans[slot, row] = 0
            p += 5
            seen |= bit
        else:
            return -1
        p = blank(buf, p)
        if at(buf, p) == 44:
            p = blank(buf, p + 1)
        elif at(buf, p) == 125:
            p = blank(buf, p + 1)
            return p if at(buf, p) == 10 and seen & required == required else -1
        else:
            return -1


line = jit(_line)


def _scan(buf, pos, end, key_bytes, keys, required, latest, entries, table, arena, state, last, ts, value, codes, doubles, booleans, status, places):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Scan lines from `pos` until `end`, where the last byte is a newline.

    Fills one row per line that is not blank; `places` gets its start, end and number within this call. Returns rows,
    lines, the position reached, and DONE, FULL_ENTRIES or FULL_ROWS (call again from there, after making room).
    """
    row = 0
    lines = 0
    while pos < end:
        if row >= len(ts):
            return row, lines, pos, FULL_ROWS
        p = blank(buf, pos)
        if at(buf, p) == 10:
            lines += 1
            pos = p + 1
            continue
        after = line(buf, p, row, key_bytes, keys, required, latest, entries, table, arena, state, last, ts, value, codes, doubles, booleans)  # fmt: skip  # noqa: E501
        if after == -2:
            return row, lines, pos, FULL_ENTRIES
        status[row] = STATUS_FAST
        if after < 0:
            status[row] = STATUS_SLOW
            after = p
            while at(buf, after) != 10:
                after += 1
        lines += 1
        places[row, 0], places[row, 1], places[row, 2] = pos, after, lines
        row += 1
        pos = after + 1
    return row, lines, pos, DONE


scan = jit(_scan)


def _group(bucket, ts, buckets):  # type: ignore[no-untyped-def]
    """Order rows by bucket, keeping their order within one: (order, start of each bucket, is each rising strictly)."""
    starts = np.zeros(buckets + 1, dtype=np.int64)
    for i in range(len(bucket)):
        starts[bucket[i] + 1] += 1
    for b in range(buckets):
        starts[b + 1] += starts[b]
    nxt = starts[:-1].copy()
    order = np.empty(len(bucket), dtype=np.int64)
    rising = np.ones(buckets, dtype=np.bool_)
    for i in range(len(bucket)):
        b = bucket[i]
        at = nxt[b]
        if at > starts[b] and ts[order[at - 1]] >= ts[i]:
            rising[b] = False
        order[at] = i
        nxt[b] = at + 1
    return order, starts, rising


group = allocating_jit(_group)
