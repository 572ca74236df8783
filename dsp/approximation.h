/* exp, log and e^x-style powers as plain arithmetic, so that loops over bins become vector code.
 *
 * Relative error of kws_exp below 3e-7 for -87 < x < 88, absolute error of kws_log below 3e-7 for
 * positive normal numbers (tests/test_native_stages.py). Both take what is out of range as the
 * nearest in range; NaN gives some number, so callers keep it away.
 */
#ifndef KWS_APPROXIMATION_H
#define KWS_APPROXIMATION_H

#include <stdint.h>

#include "vector.h"

typedef union {
    float value;
    int32_t bits;
} kws_float_bits;

KWS_INLINE float kws_exp(float x) {
    /* 2^whole * e^rest, |rest| <= ln 2 / 2; ln 2 in two parts keeps the rest exact. */
    const float bounded = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    const float scaled = bounded * 1.44269504f;
    const int32_t whole = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float turns = (float)whole;
    const float rest = (bounded - turns * 0.693359375f) - turns * -2.12194440e-4f;
    float sum = 1.0f / 5040.0f;
    sum = sum * rest + 1.0f / 720.0f;
    sum = sum * rest + 1.0f / 120.0f;
    sum = sum * rest + 1.0f / 24.0f;
    sum = sum * rest + 1.0f / 6.0f;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    kws_float_bits scale;
    scale.bits = (whole + 127) * (1 << 23);
    return sum * scale.value;
}

KWS_INLINE float kws_log(float x) {
    /* ln of a mantissa between sqrt(1/2) and sqrt(2) by the series of atanh. */
    kws_float_bits number;
    number.value = x < 1.17549435e-38f ? 1.17549435e-38f : x;
    const int32_t exponent = (number.bits - 0x3f3504f3) >> 23;
    number.bits -= exponent * (1 << 23);
    const float s = (number.value - 1.0f) / (number.value + 1.0f);
    const float square = s * s;
    float sum = 1.0f / 9.0f;
    sum = sum * square + 1.0f / 7.0f;
    sum = sum * square + 1.0f / 5.0f;
    sum = sum * square + 1.0f / 3.0f;
    sum = sum * square + 1.0f;
    return 2.0f * s * sum + (float)exponent * 0.693147181f;
}

#endif
