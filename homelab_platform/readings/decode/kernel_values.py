"""Compiled reading of single values for the kernel: bytes, numbers, times.

Belongs here: what decides one value, and leaves it undecided rather than guess. Not here: lines and columns (kernel).

The number conversion is the Eisel-Lemire algorithm (Lemire, "Number parsing at a gigabyte per second", 2021) after
Clinger's exact short cut; both round as `float()` does, and cases they cannot decide go to `record`.
"""

# ruff: noqa: PLR0911, PLR0912 - one pass over the bytes; calls between compiled parts would cost more
from __future__ import annotations

import os
from typing import Any

from homelab_platform.readings.decode.kernel_cache import kernel_cache

os.environ.setdefault("NUMBA_CACHE_DIR", str(kernel_cache()))

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

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
allocating_jit = numba.njit(cache=True, nogil=True, boundscheck=False)
jit = numba.njit(cache=True, nogil=True, boundscheck=False, _nrt=False)  # type: ignore[call-overload]
"""For what allocates nothing: without `_nrt` each call counts a reference up and down for every array that it is given,
in one atomic step each, which is more than half of the kernel's time."""


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


def _as_float(context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


as_float: Any = intrinsic(_as_float)  # the number with a point that 64 bits are
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


def _product(mantissa, exponent):  # type: ignore[no-untyped-def]
    """(whether it is decided here, value) of mantissa × 10^exponent; mantissa is not 0."""
    if mantissa <= np.uint64(9007199254740992) and -22 <= exponent <= 22:
        value = np.float64(mantissa)
        return True, value / TENS[-exponent] if exponent < 0 else value * TENS[exponent]
    if _LOWEST <= exponent <= _HIGHEST:
        exact, bits = eisel_lemire(mantissa, exponent)
        return exact, as_float(bits)
    return False, 0.0


product = jit(_product)


def _power_at(buf, p):  # type: ignore[no-untyped-def]
    """(position behind, power of ten) of what stands behind an `e`; position -1 when there is no digit."""
    sign = 1
    if at(buf, p) == 45 or at(buf, p) == 43:
        sign = -1 if at(buf, p) == 45 else 1
        p += 1
    first = p
    power = 0
    while 48 <= at(buf, p) <= 57 and p - first < 5:
        power = power * 10 + (at(buf, p) - 48)
        p += 1
    return (p if p > first else -1), sign * power


power_at = jit(_power_at)


def _number(buf, p):  # type: ignore[no-untyped-def]
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
            # of many digits the mantissa may wrap to 0 (2^64): once they count, all that follow count
            if digits != 0 or mantissa != np.uint64(0):
                digits += 1
            p += 1
        if p == first:
            return -1, 0.0, 0
        exponent = first - p
        whole = 99
    if digits > 19:
        return -1, 0.0, 0
    if at(buf, p) | 32 == 101:
        p, power = power_at(buf, p + 1)
        if p < 0:
            return -1, 0.0, 0
        exponent += power
        whole = 99
    if mantissa == np.uint64(0):
        return p, (-0.0 if negative and whole == 99 else 0.0), whole
    decided, value = product(mantissa, exponent)
    if not decided:
        return -1, 0.0, 0
    return p, (-value if negative else value), whole


number = jit(_number)


def _digits(buf, p):  # type: ignore[no-untyped-def]
    """(position behind, number) of at most 19 ASCII digits; position -1 when there are none or more."""
    first = p
    found = np.int64(0)
    while 48 <= at(buf, p) <= 57:
        if p - first == 19 or (p - first == 18 and (found > 922337203685477580)):
            return -1, found
        found = found * 10 + (at(buf, p) - 48)
        p += 1
    if p == first or found < 0:
        return -1, found
    return p, found


digits_at = jit(_digits)


def _scaled(whole):  # type: ignore[no-untyped-def]
    """Microseconds of an epoch number in s, ms, µs or ns, told apart by their size; -1 if it is none."""
    if 1_000_000_000 <= whole < 100_000_000_000:
        return whole * 1_000_000
    if 1_000_000_000_000 <= whole < 100_000_000_000_000:
        return whole * 1_000
    if 1_000_000_000_000_000 <= whole < 100_000_000_000_000_000:
        return whole
    if whole >= 1_000_000_000_000_000_000:
        return whole // 1_000
    return np.int64(-1)


scaled = jit(_scaled)


def _epoch(buf, p):  # type: ignore[no-untyped-def]
    """(position behind, microseconds) of an epoch number; position -1 if it is not decided here."""
    first = p
    p, whole = digits_at(buf, p)
    if p < 0:
        return -1, whole
    if at(buf, first) == 48:
        return -1, whole
    c = at(buf, p)
    if c != 46 and c | 32 != 101:
        micros = scaled(whole)
        return (p if micros >= 0 else -1), micros
    p, found, _ = number(buf, first)
    if p < 0:
        return -1, whole
    if 1e9 <= found < 1e11:
        return p, np.int64(np.rint(found * 1e6))
    if 1e12 <= found < 1e14:
        return p, np.int64(np.rint(found * 1e3))
    return -1, whole


epoch = jit(_epoch)


def _quoted_epoch(buf, p):  # type: ignore[no-untyped-def]
    """(position behind the closing quote, microseconds) of an epoch number in quotes, without a fraction."""
    first = p
    p, whole = digits_at(buf, p)
    if p < 0 or at(buf, p) != 34:
        return -1, whole
    length = p - first
    micros = scaled(whole)
    if micros < 0 or length not in (10, 13, 16, 19):
        return -1, whole
    return p + 1, micros


quoted_epoch = jit(_quoted_epoch)


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
    if 48 <= at(buf, p + 4) <= 57:
        return quoted_epoch(buf, p)
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
    if at(buf, p) == 46 or at(buf, p) == 44:
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
    elif at(buf, p) == 43 or at(buf, p) == 45:
        colon = 1 if at(buf, p + 3) == 58 else 0
        short = at(buf, p + 3) == 34
        hours, minutes = two(buf, p + 1), (np.int64(0) if short else two(buf, p + 3 + colon))
        if hours < 0 or minutes < 0 or hours > 23 or minutes > 59:
            return -1, 0
        offset = (hours * 60 + minutes) * (-1 if at(buf, p) == 45 else 1)
        p += 3 if short else 5 + colon
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
