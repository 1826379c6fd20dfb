"""The fast path: one pass over whole NDJSON lines into columns, compiled on first use by numba.

Belongs here: the scanner and the grouping of rows by series, written in the subset of Python that numba compiles.
Whatever the scanner does not recognise at once (an escape in a key, an unknown field, an odd number, anything wrong)
it leaves to `record`, line by line: it never rejects and never guesses, so `record` stays the only definition.

The number conversion is the Eisel-Lemire algorithm (Lemire, "Number parsing at a gigabyte per second", 2021) after
Clinger's exact short cut; both round as `float()` does, and cases they cannot decide go to `record`.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR0917 - one loop per line of input; calls between compiled parts would cost more
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

KIND_TS, KIND_VALUE, KIND_TEXT, KIND_DOUBLE, KIND_BOOLEAN = range(5)
PAD = 4096  # readable bytes behind the block, so that the scanner may look ahead without a check
DONE, FULL_ENTRIES, FULL_ROWS = 0, 1, 2
STATUS_FAST, STATUS_SLOW = 0, 1
_LOWEST, _HIGHEST = -60, 60


def _powers_of_five() -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """The 128 most significant bits of 5^q (of its reciprocal, rounded up, where q < 0): high word, low word."""
    words = []
    for q in range(_LOWEST, _HIGHEST + 1):
        power = 5 ** abs(q)
        if q < 0:
            bits = (power - 1).bit_length()
            found = 2 ** (bits + 127 if q >= -27 else 2 * bits + 128) // power + 1
            while found >= 1 << 128:
                found //= 2
        else:
            found = power << 128 >> power.bit_length()
        words.append((found >> 64, found & (2**64 - 1)))
    return np.array(words, dtype=np.uint64)


POWERS = _powers_of_five()
TENS = np.array([float(10**i) for i in range(23)])
TAIL = np.array([(1 << (8 * n)) - 1 for n in range(8)], dtype=np.uint64)  # masks of the last n bytes of a word
jit = numba.njit(cache=True, nogil=True, boundscheck=False)


def _load(bits: int) -> Any:
    """A compiled read of `bits` at a byte offset: numba's own indexing costs a sign check at every byte."""

    def typed(context: Any, array: Any, offset: Any) -> Any:
        result = types.uint64 if bits == 64 else types.int64

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            from llvmlite import ir
            from numba.core import cgutils

            proxy: Any = cgutils.create_struct_proxy
            data = proxy(signature.args[0])(context, builder, value=arguments[0]).data
            place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(bits).as_pointer())
            word = builder.load(place, align=1)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return result(array, types.int64), generate

    return intrinsic(typed)


at = _load(8)  # one byte, as a signed number
word_at = _load(64)  # eight bytes, little end first, at any alignment


def _mul_high_low(a, b):  # type: ignore[no-untyped-def]
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    a0, a1, b0, b1 = a & mask, a >> shift, b & mask, b >> shift
    low = a0 * b0
    middle = a1 * b0 + (low >> shift)
    middle2 = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> shift) + (middle2 >> shift), (middle2 << shift) | (low & mask)


mul_high_low = jit(_mul_high_low)


def _eisel_lemire(mantissa, exponent):  # type: ignore[no-untyped-def]
    """(exact, value) of mantissa × 10^exponent; mantissa is not 0."""
    w = mantissa
    leading = 0
    while w >> np.uint64(63) == np.uint64(0):
        w = w << np.uint64(1)
        leading += 1
    index = exponent - _LOWEST
    high, low = mul_high_low(w, POWERS[index, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        second, _ = mul_high_low(w, POWERS[index, 1])
        low = low + second
        if second > low:
            high = high + np.uint64(1)
    if low == np.uint64(0xFFFFFFFFFFFFFFFF):
        return False, np.uint64(0)
    upper = np.int64(high >> np.uint64(63))
    shift = np.uint64(upper + 64 - 52 - 3)
    bits = high >> shift
    power = ((217706 * exponent) >> 16) + 63 + upper - leading + 1023
    if power <= 0 or power >= 2046:
        return False, np.uint64(0)
    half = low <= np.uint64(1) and -4 <= exponent <= 23 and bits & np.uint64(3) == np.uint64(1)
    if half and (bits << shift) == high:
        bits = bits & ~np.uint64(1)
    bits = (bits + (bits & np.uint64(1))) >> np.uint64(1)
    if bits >= np.uint64(1) << np.uint64(53):
        bits = np.uint64(1) << np.uint64(52)
        power += 1
    return True, (bits & ~(np.uint64(1) << np.uint64(52))) | (np.uint64(power) << np.uint64(52))


eisel_lemire = jit(_eisel_lemire)


def _number(buf, p, scratch):  # type: ignore[no-untyped-def]
    """(position behind, value, digits of an integer or 99); position -1 if it is not a number decided here."""
    negative = at(buf, p) == 45
    if negative:
        p += 1
    mantissa = np.uint64(0)
    ten = np.uint64(10)
    digits = 0
    exponent = 0
    c = at(buf, p)
    if c == 48:
        p += 1
        if 48 <= at(buf, p) <= 57:
            return -1, 0.0, 0
    elif 49 <= c <= 57:
        while 48 <= at(buf, p) <= 57:
            mantissa = mantissa * ten + np.uint64(at(buf, p) - 48)
            digits += 1
            p += 1
    else:
        return -1, 0.0, 0
    whole = digits
    if at(buf, p) == 46:
        p += 1
        first = p
        while 48 <= at(buf, p) <= 57:
            mantissa = mantissa * ten + np.uint64(at(buf, p) - 48)
            if mantissa != np.uint64(0):
                digits += 1
            p += 1
        if p == first:
            return -1, 0.0, 0
        exponent = first - p
        whole = 99
    if digits > 19:
        return -1, 0.0, 0
    if at(buf, p) | 32 == 101:
        p += 1
        sign = 1
        if at(buf, p) == 45 or at(buf, p) == 43:
            sign = -1 if at(buf, p) == 45 else 1
            p += 1
        first = p
        power = 0
        while 48 <= at(buf, p) <= 57 and p - first < 5:
            power = power * 10 + (at(buf, p) - 48)
            p += 1
        if p == first:
            return -1, 0.0, 0
        exponent += sign * power
        whole = 99
    if mantissa == np.uint64(0):
        return p, (-0.0 if negative and whole == 99 else 0.0), whole
    if mantissa <= np.uint64(9007199254740992) and -22 <= exponent <= 22:
        value = np.float64(mantissa)
        value = value / TENS[-exponent] if exponent < 0 else value * TENS[exponent]
    elif _LOWEST <= exponent <= _HIGHEST:
        exact, bits = eisel_lemire(mantissa, exponent)
        if not exact:
            return -1, 0.0, 0
        scratch[0] = bits
        value = scratch.view(np.float64)[0]
    else:
        return -1, 0.0, 0
    return p, (-value if negative else value), whole


number = jit(_number)


def _two(buf, p):  # type: ignore[no-untyped-def]
    """Two ASCII digits as a number, or a large negative one."""
    a, b = at(buf, p) - 48, at(buf, p + 1) - 48
    if a < 0 or a > 9 or b < 0 or b > 9:
        return np.int64(-100_000)
    return a * 10 + b


two = jit(_two)


def _time(buf, p):  # type: ignore[no-untyped-def]
    """(position behind the closing quote, microseconds) of an RFC 3339 time; position -1 if not decided here."""
    year = two(buf, p) * 100 + two(buf, p + 2)
    month, day = two(buf, p + 5), two(buf, p + 8)
    hour, minute, second = two(buf, p + 11), two(buf, p + 14), two(buf, p + 17)
    marks = at(buf, p + 4) == 45 and at(buf, p + 7) == 45 and at(buf, p + 13) == 58 and at(buf, p + 16) == 58
    if not marks or (at(buf, p + 10) | 32 != 116 and at(buf, p + 10) != 32):
        return -1, 0
    if year < 1900 or month < 1 or month > 12 or day < 1 or hour < 0 or minute < 0 or second < 0:
        return -1, 0
    if hour > 23 or minute > 59 or second > 59:
        return -1, 0
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    longest = 31 if month in (1, 3, 5, 7, 8, 10, 12) else (30 if month != 2 else (29 if leap else 28))
    if day > longest:
        return -1, 0
    p += 19
    micros = 0
    if at(buf, p) == 46:
        p += 1
        scale = 100_000
        first = p
        while 48 <= at(buf, p) <= 57:
            micros += scale * (at(buf, p) - 48)
            scale //= 10
            p += 1
        if p == first or p - first > 18:
            return -1, 0
    offset = 0
    if at(buf, p) | 32 == 122:
        p += 1
    elif (at(buf, p) == 43 or at(buf, p) == 45) and at(buf, p + 3) == 58:
        hours, minutes = two(buf, p + 1), two(buf, p + 4)
        if hours < 0 or minutes < 0 or hours > 23 or minutes > 59:
            return -1, 0
        offset = (hours * 60 + minutes) * (-1 if at(buf, p) == 45 else 1)
        p += 6
    else:
        return -1, 0
    if at(buf, p) != 34:
        return -1, 0
    y = year - (1 if month <= 2 else 0)  # days from the civil calendar, with years that start in March
    era_year = y % 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = (y // 400) * 146097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719468
    return p + 1, ((days * 1440 + hour * 60 + minute - offset) * 60 + second) * 1_000_000 + micros


time = jit(_time)


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


def _line(buf, p, row, key_bytes, keys, required, latest, entries, table, arena, state, last, scratch, ts, value, codes, doubles, booleans):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
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
            if c != 34:
                return -1
            p, micros = time(buf, p + 1)
            if p < 0 or micros > latest or 0 <= micros < 31_536_000_000_000:
                return -1
            ts[row] = micros
            seen |= bit
        elif kind == KIND_VALUE:
            p, found, digits = number(buf, p, scratch)
            if p < 0:
                return -1
            value[row] = found
            seen |= bit
        elif c == 110 and word(buf, p, 110, 117, 108, 108):
            p += 4
        elif kind == KIND_DOUBLE:
            p, found, digits = number(buf, p, scratch)
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
    scratch = np.zeros(1, dtype=np.uint64)
    while pos < end:
        if row >= len(ts):
            return row, lines, pos, FULL_ROWS
        p = blank(buf, pos)
        if at(buf, p) == 10:
            lines += 1
            pos = p + 1
            continue
        after = line(buf, p, row, key_bytes, keys, required, latest, entries, table, arena, state, last, scratch, ts, value, codes, doubles, booleans)  # fmt: skip  # noqa: E501
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


group = jit(_group)
