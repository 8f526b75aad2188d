/* test_dtype.c: the half formats number by number, every block format against vectors packed here from the
 * formula. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "engine/half.h"
#include "engine/quant_blocks.h"
#include "engine/backend.h"
#include "engine/tensor.h"

/* ---- half formats ---- */

static void half__every_f16_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = f16_to_f32((uint16_t)h);
        if ((h & 0x7C00) == 0x7C00 && (h & 0x3FF) != 0)
            assert_true(isnan(x) && f16_from_f32(x) == (h | 0x200)); /* comes out quiet */
        else
            assert_int_equal(f16_from_f32(x), h);
    }
}

/* The value by the definition of the format, in f64. */
static double f16_by_definition(uint32_t h)
{
    int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 0x3FF);
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return h & 0x8000 ? -magnitude : magnitude;
}

static void f16_to_f32__equals_the_definition(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++)
        if ((h & 0x7C00) != 0x7C00)
            assert_true((double)f16_to_f32((uint16_t)h) == f16_by_definition(h));
    assert_true(isinf(f16_to_f32(0x7C00)) && f16_to_f32(0x7C00) > 0);
    assert_true(isinf(f16_to_f32(0xFC00)) && f16_to_f32(0xFC00) < 0);
}

/* Between each pair of neighbours: below the middle, the middle (to even), above it. */
static void f16_from_f32__rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7BFF; h++) {
        float low = f16_to_f32((uint16_t)h), high = f16_to_f32((uint16_t)(h + 1)),
              middle = low + (high - low) / 2;
        assert_int_equal(f16_from_f32(nextafterf(middle, low)), h);
        assert_int_equal(f16_from_f32(middle), h + (h & 1));
        assert_int_equal(f16_from_f32(nextafterf(middle, high)), h + 1);
        assert_int_equal(f16_from_f32(-middle), 0x8000 | (h + (h & 1)));
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7BFF);
    assert_int_equal(f16_from_f32(65520.0f), 0x7C00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xFC00);
    assert_int_equal(f16_from_f32(1e-40f), 0);
}

static void bf16__is_the_upper_half_of_a_float(void **state)
{
    (void)state;
    assert_true(bf16_to_f32(0x3F80) == 1.0f);
    assert_true(bf16_to_f32(0xC040) == -3.0f);
    assert_true(isnan(bf16_to_f32(0x7FC0)));
}

/* ---- block formats ----
 * Each case packs known quants into bytes at the offsets of the published layout, by hand and not through the
 * structs, and says what every weight must be. Scales are powers of two, so the expectation is exact. */

#define D_HALF 0x3800    /* 0.5 */
#define D_QUARTER 0x3400 /* 0.25 */

static void put_f16(unsigned char *at, uint16_t bits)
{
    at[0] = (unsigned char)bits;
    at[1] = (unsigned char)(bits >> 8);
}

/* A quant of `bits` bits that differs between neighbours, blocks and sub-blocks. */
static int quant(int i, int bits)
{
    return (int)(((unsigned)i * 2654435761u >> 13) & ((1u << bits) - 1));
}

static void assert_weights(enum dtype type, const unsigned char *bytes, const float *expected, size_t n)
{
    float found[256];
    dtype_to_f32(type, bytes, found, n);
    for (size_t i = 0; i < n; i++)
        if (memcmp(&found[i], &expected[i], sizeof *found) != 0 && !(found[i] == 0 && expected[i] == 0))
            fail_msg("%s weight %zu: found %g, expected %g", dtype_info(type)->name, i, (double)found[i],
                     (double)expected[i]);
}

/* Low four bits of 32 quants into 16 bytes, bit 4 of each into qh (may be NULL). */
static void pack_32(const int *q, unsigned char *qs, unsigned char *qh)
{
    for (int i = 0; i < 16; i++)
        qs[i] = (unsigned char)((q[i] & 15) | (q[i + 16] & 15) << 4);
    for (int i = 0; qh && i < 32; i++)
        qh[i / 8] |= (unsigned char)((q[i] >> 4 & 1) << i % 8);
}

static void dtype_to_f32__blocks_of_32(void **state)
{
    (void)state;
    static const struct {
        enum dtype type;
        int bits, zero, qs_at, qh_at;
        bool has_min;
    } cases[] = {
        {DTYPE_Q4_0, 4, 8, 2, 0, false},
        {DTYPE_Q4_1, 4, 0, 4, 0, true},
        {DTYPE_Q5_0, 5, 16, 6, 2, false},
        {DTYPE_Q5_1, 5, 0, 8, 4, true},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        unsigned char bytes[24] = {0};
        int q[32];
        float expected[32];
        for (int i = 0; i < 32; i++) {
            q[i] = quant(i, cases[c].bits);
            expected[i] = 0.5f * (float)(q[i] - cases[c].zero) + (cases[c].has_min ? 0.25f : 0);
        }
        put_f16(bytes, D_HALF);
        if (cases[c].has_min)
            put_f16(bytes + 2, D_QUARTER);
        pack_32(q, bytes + cases[c].qs_at, cases[c].qh_at ? bytes + cases[c].qh_at : NULL);
        assert_weights(cases[c].type, bytes, expected, 32);
    }
}

static void dtype_to_f32__q8_0(void **state)
{
    (void)state;
    unsigned char bytes[34];
    float expected[32];
    put_f16(bytes, D_QUARTER);
    for (int i = 0; i < 32; i++) {
        int q = i == 0 ? -128 : i == 1 ? 127 : quant(i, 8) - 128;
        bytes[2 + i] = (unsigned char)q;
        expected[i] = 0.25f * (float)q;
    }
    assert_weights(DTYPE_Q8_0, bytes, expected, 32);
}

static const int iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void dtype_to_f32__iq4_nl(void **state)
{
    (void)state;
    unsigned char bytes[18];
    float expected[32];
    int q[32];
    put_f16(bytes, D_HALF);
    for (int i = 0; i < 32; i++) {
        q[i] = i % 16;
        expected[i] = 0.5f * (float)iq4_levels[q[i]];
    }
    pack_32(q, bytes + 2, NULL);
    assert_weights(DTYPE_IQ4_NL, bytes, expected, 32);
}

static void dtype_to_f32__iq4_xs(void **state)
{
    (void)state;
    unsigned char bytes[136] = {0};
    float expected[256];
    unsigned high = 0;
    put_f16(bytes, D_HALF);
    for (int j = 0; j < 8; j++) {
        int q[32], scale = quant(j + 5, 6);
        high |= (unsigned)(scale >> 4) << 2 * j;
        bytes[4 + j / 2] |= (unsigned char)((scale & 15) << 4 * (j % 2));
        for (int i = 0; i < 32; i++) {
            q[i] = quant(32 * j + i, 4);
            expected[32 * j + i] = 0.5f * (float)(scale - 32) * (float)iq4_levels[q[i]];
        }
        pack_32(q, bytes + 8 + 16 * j, NULL);
    }
    put_f16(bytes + 2, (uint16_t)high);
    assert_weights(DTYPE_IQ4_XS, bytes, expected, 256);
}

/* Puts the two low bits of 256 quants where Q2_K and Q3_K keep them. */
static void pack_two_bits(const int *q, unsigned char *qs)
{
    for (int half = 0; half < 2; half++)
        for (int part = 0; part < 4; part++)
            for (int l = 0; l < 32; l++)
                qs[32 * half + l] |= (unsigned char)((q[128 * half + 32 * part + l] & 3) << 2 * part);
}

static void dtype_to_f32__q2_k(void **state)
{
    (void)state;
    unsigned char bytes[84] = {0};
    float expected[256];
    int q[256];
    for (int j = 0; j < 16; j++) {
        int scale = quant(j, 4), min = quant(j + 50, 4);
        bytes[j] = (unsigned char)(scale | min << 4);
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            q[i] = quant(i, 2);
            expected[i] = 0.5f * (float)(scale * q[i]) - 0.25f * (float)min;
        }
    }
    pack_two_bits(q, bytes + 16);
    put_f16(bytes + 80, D_HALF);
    put_f16(bytes + 82, D_QUARTER);
    assert_weights(DTYPE_Q2_K, bytes, expected, 256);
}

static void dtype_to_f32__q3_k(void **state)
{
    (void)state;
    unsigned char bytes[110] = {0}, *scales = bytes + 96;
    float expected[256];
    int q[256];
    for (int j = 0; j < 16; j++) {
        int scale = quant(j + 9, 6);
        scales[j % 8] |= (unsigned char)((scale & 15) << (j < 8 ? 0 : 4));
        scales[8 + j % 4] |= (unsigned char)((scale >> 4) << 2 * (j / 4));
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            q[i] = quant(i, 3);
            expected[i] = 0.25f * (float)((scale - 32) * (q[i] - 4));
            bytes[i % 32] |= (unsigned char)((q[i] >> 2) << i / 32);
        }
    }
    pack_two_bits(q, bytes + 32);
    put_f16(bytes + 108, D_QUARTER);
    assert_weights(DTYPE_Q3_K, bytes, expected, 256);
}

/* Pair j of 6-bit scale and min where Q4_K and Q5_K keep it. */
static void pack_scale_min(unsigned char *s, int j, int scale, int min)
{
    if (j < 4) {
        s[j] |= (unsigned char)scale;
        s[j + 4] |= (unsigned char)min;
    } else {
        s[j + 4] |= (unsigned char)((scale & 15) | (min & 15) << 4);
        s[j - 4] |= (unsigned char)((scale >> 4) << 6);
        s[j] |= (unsigned char)((min >> 4) << 6);
    }
}

static void check_q4_k_or_q5_k(enum dtype type, int bits, unsigned char *bytes, unsigned char *qs,
                               unsigned char *qh)
{
    float expected[256];
    put_f16(bytes, D_HALF);
    put_f16(bytes + 2, D_QUARTER);
    for (int j = 0; j < 8; j++) {
        int scale = quant(j + 3, 6), min = quant(j + 70, 6);
        pack_scale_min(bytes + 4, j, scale, min);
        for (int l = 0; l < 32; l++) {
            int q = quant(32 * j + l, bits);
            qs[32 * (j / 2) + l] |= (unsigned char)((q & 15) << 4 * (j % 2));
            if (qh)
                qh[l] |= (unsigned char)((q >> 4) << j);
            expected[32 * j + l] = 0.5f * (float)(scale * q) - 0.25f * (float)min;
        }
    }
    assert_weights(type, bytes, expected, 256);
}

static void dtype_to_f32__q4_k_and_q5_k(void **state)
{
    (void)state;
    unsigned char q4[144] = {0}, q5[176] = {0};
    check_q4_k_or_q5_k(DTYPE_Q4_K, 4, q4, q4 + 16, NULL);
    check_q4_k_or_q5_k(DTYPE_Q5_K, 5, q5, q5 + 48, q5 + 16);
}

static void dtype_to_f32__q6_k(void **state)
{
    (void)state;
    unsigned char bytes[210] = {0};
    float expected[256];
    put_f16(bytes + 208, D_HALF);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, part = i % 128 / 32, l = i % 32;
        int q = quant(i, 6), scale = quant(i / 16 + 30, 8) - 128;
        bytes[64 * half + (part & 1 ? 32 : 0) + l] |= (unsigned char)((q & 15) << (part & 2 ? 4 : 0));
        bytes[128 + 32 * half + l] |= (unsigned char)((q >> 4) << 2 * part);
        bytes[192 + i / 16] = (unsigned char)scale;
        expected[i] = 0.5f * (float)(scale * (q - 32));
    }
    assert_weights(DTYPE_Q6_K, bytes, expected, 256);
}

static void dtype_to_f32__plain_rows(void **state)
{
    (void)state;
    const float expected[3] = {1.5f, -2, 0};
    unsigned char f32[12], f16[6] = {0x00, 0x3E, 0x00, 0xC0, 0, 0}, bf16[6] = {0xC0, 0x3F, 0x00, 0xC0, 0, 0};
    memcpy(f32, expected, sizeof f32);
    assert_weights(DTYPE_F32, f32, expected, 3);
    assert_weights(DTYPE_F16, f16, expected, 3);
    assert_weights(DTYPE_BF16, bf16, expected, 3);
}

static void dtype_to_f32__rows_of_several_blocks_at_odd_addresses(void **state)
{
    (void)state;
    unsigned char bytes[1 + 2 * 34] = {0};
    float found[64];
    put_f16(bytes + 1, D_HALF);
    put_f16(bytes + 1 + 34, D_QUARTER);
    bytes[1 + 2] = 2;
    bytes[1 + 34 + 2 + 31] = 4;
    dtype_to_f32(DTYPE_Q8_0, bytes + 1, found, 64);
    assert_true(found[0] == 1.0f && found[63] == 1.0f && found[1] == 0);
}

/* ---- the table ---- */

static void dtype_info__rows_are_consistent(void **state)
{
    (void)state;
    static const size_t bytes_of_256[DTYPE_N] = {1024, 512, 512, 144, 160, 176, 192, 272,
                                                 84,   110, 144, 176, 210, 144, 136, 256};
    for (int i = 0; i < DTYPE_N; i++) {
        enum dtype type = DTYPE_N;
        size_t n_bytes = 0;
        assert_true(dtype_from_ggml((uint32_t)dtype_info((enum dtype)i)->ggml_id, &type));
        assert_int_equal(type, i);
        assert_true(dtype_row_bytes(type, 256, &n_bytes));
        assert_int_equal(n_bytes, bytes_of_256[i]);
    }
}

static void dtype_row_bytes__refuses_parts_of_blocks_and_overflow(void **state)
{
    (void)state;
    size_t n_bytes;
    assert_false(dtype_row_bytes(DTYPE_Q4_K, 128, &n_bytes));
    assert_false(dtype_row_bytes(DTYPE_F32, SIZE_MAX / 2, &n_bytes));
    assert_true(dtype_row_bytes(DTYPE_Q4_0, 64, &n_bytes) && n_bytes == 36);
}

static void kv_row_bytes__counts_the_scale_of_int8(void **state)
{
    (void)state;
    assert_int_equal(kv_row_bytes(DTYPE_F16, 128), 256);
    assert_int_equal(kv_row_bytes(DTYPE_F32, 128), 512);
    assert_int_equal(kv_row_bytes(DTYPE_I8, 128), 132);
    assert_int_equal(kv_row_bytes(DTYPE_I8, 6), 10);
    assert_int_equal(kv_row_bytes(DTYPE_Q8_0, 6), 0);
}

static void dtype_to_f32__int8(void **state)
{
    (void)state;
    const int8_t src[4] = {-128, -1, 0, 127};
    float found[4];
    dtype_to_f32(DTYPE_I8, src, found, 4);
    assert_true(found[0] == -128.0f && found[1] == -1.0f && found[2] == 0.0f && found[3] == 127.0f);
}

static void dtype_ggml_name__names_known_and_unknown_types(void **state)
{
    (void)state;
    char scratch[24];
    enum dtype type;
    assert_string_equal(dtype_ggml_name(12, scratch), "q4_k");
    assert_string_equal(dtype_ggml_name(16, scratch), "iq2_xxs");
    assert_string_equal(dtype_ggml_name(4294967295u, scratch), "type 4294967295");
    assert_false(dtype_from_ggml(16, &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half__every_f16_survives_the_round_trip),
        cmocka_unit_test(f16_to_f32__equals_the_definition),
        cmocka_unit_test(f16_from_f32__rounds_to_nearest_even),
        cmocka_unit_test(bf16__is_the_upper_half_of_a_float),
        cmocka_unit_test(dtype_to_f32__blocks_of_32),
        cmocka_unit_test(dtype_to_f32__q8_0),
        cmocka_unit_test(dtype_to_f32__iq4_nl),
        cmocka_unit_test(dtype_to_f32__iq4_xs),
        cmocka_unit_test(dtype_to_f32__q2_k),
        cmocka_unit_test(dtype_to_f32__q3_k),
        cmocka_unit_test(dtype_to_f32__q4_k_and_q5_k),
        cmocka_unit_test(dtype_to_f32__q6_k),
        cmocka_unit_test(dtype_to_f32__plain_rows),
        cmocka_unit_test(dtype_to_f32__rows_of_several_blocks_at_odd_addresses),
        cmocka_unit_test(dtype_info__rows_are_consistent),
        cmocka_unit_test(dtype_row_bytes__refuses_parts_of_blocks_and_overflow),
        cmocka_unit_test(kv_row_bytes__counts_the_scale_of_int8),
        cmocka_unit_test(dtype_to_f32__int8),
        cmocka_unit_test(dtype_ggml_name__names_known_and_unknown_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
