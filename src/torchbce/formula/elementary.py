"""exp, log and log1p as polynomials for both kinds of kernels, written once like the formulas and bound like them.

Those of the C library are calls, one item at a time, and those of a GPU are fast but lose digits. The method is that of
Cephes (exp) and of FreeBSD's msun (log). Errors, in units of the last place, tested against mpmath: float32 below 1
(log1p_unit 1.25), float64 below 2, for every argument; subnormal numbers, zeros, infinities and NaN are right.

Of numbers between 0 and 1, less will do: `exp_unit` gives one, `log1p_unit` takes one, `log_unit` the sum of two.

The words left to the engine: `bits` reads a float as an integer of its width, `float_of` the reverse; `integer` keeps
an integer at that width, `number` converts its value; `where` chooses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for reading and for type checking

    def bits(value: Any) -> Any: ...
    def float_of(bits: Any) -> Any: ...
    def integer(value: Any) -> Any: ...
    def number(value: Any) -> Any: ...
    def where(condition: Any, yes: Any, no: Any) -> Any: ...


NAMES = ("exp", "exp_unit", "log", "log1p", "log1p_unit", "log_unit")
INFINITY = math.inf
NAN = math.nan

# exp(a) = 2^n exp(r), n the integer nearest to a / ln 2, |r| <= ln 2 / 2. Adding 1.5 * 2^23 (2^52) rounds to an integer
# and leaves it in the low bits. ln 2 is two constants, so that a - n ln 2 is exact. 2^n is two factors, so that
# subnormal results are rounded once and n may be as far from 0 as the clamp allows.


def exp_float32(a: Any) -> Any:
    a = where(a > 89.0, 89.0, a)
    a = where(a < -104.0, -104.0, a)
    shifted = a * 1.44269504088896341 + 12582912.0
    n = shifted - 12582912.0
    k = integer(bits(shifted) - 0x4B400000)
    r = (a - n * 0.693359375) - n * -2.12194440e-4
    p = _exp_series_float32(r)
    half = k >> 1
    return p * float_of((half + 127) << 23) * float_of((k - half + 127) << 23)


def exp_float64(a: Any) -> Any:
    a = where(a > 710.0, 710.0, a)
    a = where(a < -746.0, -746.0, a)
    shifted = a * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    k = integer(bits(shifted) - 0x4338000000000000)
    r = (a - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = _exp_series_float64(r)
    half = k >> 1
    return p * float_of((half + 1023) << 52) * float_of((k - half + 1023) << 52)


def _exp_series_float32(r: Any) -> Any:
    p = 1.9875691500e-4 * r + 1.3981999507e-3
    p = p * r + 8.3334519073e-3
    p = p * r + 4.1665795894e-2
    p = p * r + 1.6666665459e-1
    p = p * r + 5.0000001201e-1
    return (p * (r * r) + r) + 1.0


def _exp_series_float64(r: Any) -> Any:
    p = 1.6059043836821613e-10 * r + 2.08767569878681e-09  # Taylor's 1/13! ... 1/2!: the rest is below 2^-57
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    return (p * (r * r) + r) + 1.0


# exp(a) for a result in [0, 1], or little above. The constant that rounds has 64 (512) too much, so the low bits, moved
# to the exponent's place, give 2^(n + 64), which no result takes out of the range of normal numbers; 2^-64 is exact but
# for subnormal results, which it rounds once.


def exp_unit_float32(a: Any) -> Any:
    a = where(a < -104.0, -104.0, a)
    shifted = a * 1.44269504088896341 + 12582976.0
    n = shifted - 12582976.0
    r = (a - n * 0.693359375) - n * -2.12194440e-4
    p = _exp_series_float32(r)
    return float_of(bits(p) + (bits(shifted) << 23)) * 5.421010862427522e-20


def exp_unit_float64(a: Any) -> Any:
    a = where(a < -746.0, -746.0, a)
    shifted = a * 1.4426950408889634 + 6755399441056256.0
    n = shifted - 6755399441056256.0
    r = (a - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = _exp_series_float64(r)
    return float_of(bits(p) + (bits(shifted) << 52)) * 7.458340731200207e-155


# log(u + c) = k ln 2 + log(1 + f) + c / u, where c is what rounding took from u and sqrt(1/2) <= 1 + f < sqrt(2);
# log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f / (2 + f). Subnormal numbers are scaled up first (there, c is 0).
# c / u needs few digits: 1 / (1 + f) is near 1 - 2s + 2s^2.


def log_sum_float32(u: Any, c: Any) -> Any:
    tiny = u < 1.17549435e-38
    b = bits(where(tiny, u * 8388608.0, u))
    k = integer(b - 0x3F3504F3) >> 23
    f = float_of(b - (k << 23)) - 1.0
    n = number(k) - where(tiny, 23.0, 0.0)
    s = f / (2.0 + f)
    z = s * s
    series = ((0.24279078841 * z + 0.28498786688) * z + 0.40000972152) * z + 0.66666662693
    square = 0.5 * f * f
    rest = c * float_of((127 - k) << 23) * (1.0 - 2.0 * (s - z))
    small = (s * (square + z * series) + rest) + n * 9.0580006145e-06
    result = n * 6.9313812256e-01 - ((square - small) - f)
    result = where(u == INFINITY, u, result)
    return where(u > 0.0, result, where(u == 0.0, -INFINITY, NAN))


def log_sum_float64(u: Any, c: Any) -> Any:
    tiny = u < 2.2250738585072014e-308
    b = bits(where(tiny, u * 4503599627370496.0, u))
    k = integer(b - 0x3FE6A09E667F3BCD) >> 52
    f = float_of(b - (k << 52)) - 1.0
    n = number(k) - where(tiny, 52.0, 0.0)
    s = f / (2.0 + f)
    z = s * s
    series = 1.479819860511658591e-01 * z + 1.531383769920937332e-01
    series = series * z + 1.818357216161805012e-01
    series = series * z + 2.222219843214978396e-01
    series = series * z + 2.857142874366239149e-01
    series = series * z + 3.999999999940941908e-01
    series = series * z + 6.666666666666735130e-01
    square = 0.5 * f * f
    rest = c * float_of((1023 - k) << 52) * (1.0 - 2.0 * (s - z))
    small = (s * (square + z * series) + rest) + n * 1.90821492927058770002e-10
    result = n * 6.93147180369123816490e-01 - ((square - small) - f)
    result = where(u == INFINITY, u, result)
    return where(u > 0.0, result, where(u == 0.0, -INFINITY, NAN))


def log_float32(x: Any) -> Any:
    return log_sum_float32(x, 0.0)


def log_float64(x: Any) -> Any:
    return log_sum_float64(x, 0.0)


# log(1 + v) for v in [0, 1], without looking for its exponent: the same with f = v, so that s is at most 1/3. The
# series is 2/3 + 2/5 z + ..., interpolated between 0 and 1/9: within 0.01 units of the last place.


def log1p_unit_float32(v: Any) -> Any:
    s = v / (2.0 + v)
    z = s * s
    square = 0.5 * v * v
    return v - (square - s * (square + z * _series_float32(z)))


def log1p_unit_float64(v: Any) -> Any:
    s = v / (2.0 + v)
    z = s * s
    square = 0.5 * v * v
    return v - (square - s * (square + z * _series_float64(z)))


def _series_float32(z: Any) -> Any:
    series = ((0.2322433 * z + 0.21706575) * z + 0.28592357) * z + 0.39999706
    return series * z + 0.6666667


def _series_float64(z: Any) -> Any:
    series = 0.1563057780092285 * z + 0.07492143795550767
    series = series * z + 0.10845178394880015
    series = series * z + 0.11734279061303197
    series = series * z + 0.13335178631449257
    series = series * z + 0.1538454396486055
    series = series * z + 0.18181819897962714
    series = series * z + 0.2222222219823677
    series = series * z + 0.285714285716001
    series = series * z + 0.39999999999999525
    return series * z + 0.6666666666666666


# log(base + rest) of a probability, base 0 or 1: log(p) of base 0 and rest p, log(1 - p) of base 1 and rest -p. From
# 1/2 on 1 - p is exact; below, f = rest, which loses no digit of a small p. So s is within 1/3 again. Scaled up always,
# so that subnormal numbers are normal. Of 0 the result is some number below -100.


def log_unit_float32(base: Any, rest: Any) -> Any:
    near = (base == 1.0) & (rest > -0.5)
    b = bits((base + rest) * 8388608.0)
    k = integer(b - 0x3F3504F3) >> 23
    f = where(near, rest, float_of(b - (k << 23)) - 1.0)
    n = where(near, 0.0, number(k) - 23.0)
    s = f / (2.0 + f)
    z = s * s
    square = 0.5 * f * f
    small = s * (square + z * _series_float32(z)) + n * 9.0580006145e-06
    return n * 6.9313812256e-01 - ((square - small) - f)


def log_unit_float64(base: Any, rest: Any) -> Any:
    near = (base == 1.0) & (rest > -0.5)
    b = bits((base + rest) * 4503599627370496.0)
    k = integer(b - 0x3FE6A09E667F3BCD) >> 52
    f = where(near, rest, float_of(b - (k << 52)) - 1.0)
    n = where(near, 0.0, number(k) - 52.0)
    s = f / (2.0 + f)
    z = s * s
    square = 0.5 * f * f
    small = s * (square + z * _series_float64(z)) + n * 1.90821492927058770002e-10
    return n * 6.93147180369123816490e-01 - ((square - small) - f)


def log1p_float32(v: Any) -> Any:
    u = 1.0 + v
    return log_sum_float32(u, v - (u - 1.0))


def log1p_float64(v: Any) -> Any:
    u = 1.0 + v
    return log_sum_float64(u, v - (u - 1.0))
