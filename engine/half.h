/* half.h: f16 and bf16 <-> f32, one number at a time, in portable C.
 *
 * Exact: every value, subnormals, infinities and NaN included; towards the short formats round to nearest,
 * ties to even. Bit for bit what x86 (VCVTPH2PS, VCVTPS2PH) and Arm do, so that a kernel's vector conversion
 * and this one may be mixed: a NaN stays a NaN and comes out quiet, its upper payload bits are kept. Source
 * of the formats: IEEE 754-2019 binary16; bfloat16 is the upper half of a binary32. Pure functions, any
 * thread. */
#ifndef FERRUM_HALF_H
#define FERRUM_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1Fu, fraction = h & 0x3FFu;
    if (exponent == 0) /* zero or subnormal: fraction * 2^-24, exact in f32 */
        return f32_from_bits(sign | f32_bits((float)fraction * 0x1p-24f));
    if (exponent == 31)
        return f32_from_bits(sign | 0x7F800000u | (fraction ? 0x400000u : 0) | fraction << 13);
    return f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint16_t f16_from_f32(float x)
{
    uint32_t bits = f32_bits(x), magnitude = bits & 0x7FFFFFFFu;
    uint32_t sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7F800000u) /* NaN */
        return (uint16_t)(sign | 0x7E00u | (magnitude >> 13 & 0x1FFu));
    if (magnitude >= 0x477FF000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7C00u);
    if (magnitude <
        0x38800000u) { /* below 2^-14: 0.5 has an ulp of 2^-24, so the addition does the rounding */
        uint32_t rounded = f32_bits(f32_from_bits(magnitude) + 0.5f);
        return (uint16_t)(sign | (rounded - 0x3F000000u));
    }
    uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded - (112u << 23)) >> 13);
}

static inline float bf16_to_f32(uint16_t h)
{
    return f32_from_bits((uint32_t)h << 16);
}

#endif
