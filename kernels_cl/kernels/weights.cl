/* weights.cl: products with the weights of one type, and the weights themselves. Built once for each type that a model
 * has (W_Q4_K, ...). The formats are those of engine/quant_blocks.h; dtype_to_f32 says what they mean, and weights32
 * gives its bits: products of an f16 scale, a sub-scale and a quant fit the 24 bits of a float. */

#if defined(W_F32) || defined(W_F16) || defined(W_BF16)
#define ANY_WIDTH /* rows may end in the middle of a group of 32 */
#elif defined(W_Q2_K) || defined(W_Q3_K) || defined(W_Q4_K) || defined(W_Q5_K) || defined(W_Q6_K) || defined(W_IQ4_XS)
#define SUPER_BLOCKS /* of 256 */
#endif

#define LOW(q) ((q) & (uchar16)15)
#define HIGH(q) ((q) >> (uchar16)4)

/* Weights 32 g .. 32 g + 15 to *lo, the next 16 to *hi. */
#if defined(W_F32)
#define GROUP_BYTES 128
#define WEIGHT_AT(row, i) (((const global float *)(row))[i])
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    *lo = vload16(2 * g, (const global float *)row);
    *hi = vload16(2 * g + 1, (const global float *)row);
}
#elif defined(W_F16)
#define GROUP_BYTES 64
#define WEIGHT_AT(row, i) vload_half(i, (const global half *)(row))
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    *lo = vload_half16(2 * g, (const global half *)row);
    *hi = vload_half16(2 * g + 1, (const global half *)row);
}
#elif defined(W_BF16)
#define GROUP_BYTES 64
#define WEIGHT_AT(row, i) as_float((uint)((const global ushort *)(row))[i] << 16)
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    *lo = as_float16(convert_uint16(vload16(2 * g, (const global ushort *)row)) << 16);
    *hi = as_float16(convert_uint16(vload16(2 * g + 1, (const global ushort *)row)) << 16);
}
#elif defined(W_Q4_0)
#define GROUP_BYTES 18
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 18;
    uchar16 q = vload16(0, b + 2);
    float d = half_at(b);
    *lo = d * (convert_float16(LOW(q)) - 8.0f);
    *hi = d * (convert_float16(HIGH(q)) - 8.0f);
}
#elif defined(W_Q4_1)
#define GROUP_BYTES 20
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 20;
    uchar16 q = vload16(0, b + 4);
    float d = half_at(b), m = half_at(b + 2);
    *lo = d * convert_float16(LOW(q)) + m;
    *hi = d * convert_float16(HIGH(q)) + m;
}
#elif defined(W_Q5_0) || defined(W_Q5_1)
/* Bit i of the block's word is bit 4 of weight i. */
INLINE uchar16 fifth_bits(const global uchar *qh)
{
    const uchar16 bit = (uchar16)(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
    uchar16 bytes = select((uchar16)qh[1], (uchar16)qh[0], (char16)((char8)-1, (char8)0)); /* see two() below */
    return as_uchar16((bytes & bit) == bit) & (uchar16)16;
}
#ifdef W_Q5_0
#define GROUP_BYTES 22
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 22;
    uchar16 q = vload16(0, b + 6);
    float d = half_at(b);
    *lo = d * (convert_float16(LOW(q) | fifth_bits(b + 2)) - 16.0f);
    *hi = d * (convert_float16(HIGH(q) | fifth_bits(b + 4)) - 16.0f);
}
#else
#define GROUP_BYTES 24
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 24;
    uchar16 q = vload16(0, b + 8);
    float d = half_at(b), m = half_at(b + 2);
    *lo = d * convert_float16(LOW(q) | fifth_bits(b + 4)) + m;
    *hi = d * convert_float16(HIGH(q) | fifth_bits(b + 6)) + m;
}
#endif
#elif defined(W_Q8_0)
#define GROUP_BYTES 34
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 34;
    const global char *q = (const global char *)b + 2;
    float d = half_at(b);
    *lo = d * convert_float16(vload16(0, q));
    *hi = d * convert_float16(vload16(1, q));
}
#elif defined(W_Q2_K)
#define GROUP_BYTES 10 /* a block of eight has 84 */
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)(g / 8) * 84, *q = b + 16 + g % 8 / 4 * 32;
    uchar shift = (uchar)(2 * (g % 4)), s0 = b[2 * (g % 8)], s1 = b[2 * (g % 8) + 1];
    float d = half_at(b + 80), dmin = half_at(b + 82);
    *lo = d * (float)(s0 & 15) * convert_float16(vload16(0, q) >> shift & (uchar16)3) - dmin * (float)(s0 >> 4);
    *hi = d * (float)(s1 & 15) * convert_float16(vload16(1, q) >> shift & (uchar16)3) - dmin * (float)(s1 >> 4);
}
#elif defined(W_Q3_K)
#define GROUP_BYTES 13 /* a block of eight has 110 */
INLINE float scale_q3(const global uchar *s, uint j)
{
    int low = s[j % 8] >> 4 * (j / 8) & 15, high = s[8 + j % 4] >> 2 * (j / 4) & 3;
    return (float)((low | high << 4) - 32);
}
INLINE float16 quants_q3(uchar16 q, uchar16 mask, uchar shift, uchar bit)
{
    uchar16 top = (mask >> bit & (uchar16)1) << (uchar16)2;
    return convert_float16((q >> shift & (uchar16)3) | top) - 4.0f;
}
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)(g / 8) * 110, *q = b + 32 + g % 8 / 4 * 32;
    uchar shift = (uchar)(2 * (g % 4)), bit = (uchar)(g % 8);
    float d = half_at(b + 108);
    *lo = d * scale_q3(b + 96, 2 * (g % 8)) * quants_q3(vload16(0, q), vload16(0, b), shift, bit);
    *hi = d * scale_q3(b + 96, 2 * (g % 8) + 1) * quants_q3(vload16(1, q), vload16(1, b), shift, bit);
}
#elif defined(W_Q4_K) || defined(W_Q5_K)
/* Scale and minimum of sub-block j, of six bits each. */
INLINE void scale_min(const global uchar *s, uint j, float *scale, float *min)
{
    if (j < 4) {
        *scale = (float)(s[j] & 63);
        *min = (float)(s[j + 4] & 63);
    } else {
        *scale = (float)((s[j + 4] & 15) | (s[j - 4] >> 6) << 4);
        *min = (float)(s[j + 4] >> 4 | (s[j] >> 6) << 4);
    }
}
#ifdef W_Q4_K
#define KQ_BYTES 144
#define KQ_QUANTS 16
#define FIFTH(i) ((uchar16)0)
#define GROUP_BYTES 18
#else
#define KQ_BYTES 176
#define KQ_QUANTS 48
#define GROUP_BYTES 22
#define FIFTH(i) ((vload16(i, b + 16) >> (uchar)j & (uchar16)1) << (uchar16)4)
#endif
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    uint j = g % 8;
    const global uchar *b = row + (size_t)(g / 8) * KQ_BYTES, *q = b + KQ_QUANTS + j / 2 * 32;
    uchar shift = (uchar)(4 * (j % 2));
    float scale, min;
    scale_min(b + 4, j, &scale, &min);
    scale *= half_at(b);
    min *= half_at(b + 2);
    *lo = scale * convert_float16((vload16(0, q) >> shift & (uchar16)15) | FIFTH(0)) - min;
    *hi = scale * convert_float16((vload16(1, q) >> shift & (uchar16)15) | FIFTH(1)) - min;
}
#elif defined(W_Q6_K)
#define GROUP_BYTES 26 /* a block of eight has 210 */
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    uint half_block = g % 8 / 4, quarter = g % 4;
    const global uchar *b = row + (size_t)(g / 8) * 210;
    const global uchar *ql = b + 64 * half_block + 32 * (quarter % 2), *qh = b + 128 + 32 * half_block;
    const global char *scales = (const global char *)b + 192 + 2 * (g % 8);
    uchar shift = (uchar)(4 * (quarter / 2)), top = (uchar)(2 * quarter);
    float d = half_at(b + 208);
    uchar16 q0 = (vload16(0, ql) >> shift & (uchar16)15) | (vload16(0, qh) >> top & (uchar16)3) << (uchar16)4;
    uchar16 q1 = (vload16(1, ql) >> shift & (uchar16)15) | (vload16(1, qh) >> top & (uchar16)3) << (uchar16)4;
    *lo = d * (float)scales[0] * (convert_float16(q0) - 32.0f);
    *hi = d * (float)scales[1] * (convert_float16(q1) - 32.0f);
}
#elif defined(W_IQ4_NL) || defined(W_IQ4_XS)
/* What a 4-bit index means. */
INLINE float16 levels(uchar16 q)
{
    const char16 table = (char16)(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    return convert_float16(shuffle(table, q));
}
#ifdef W_IQ4_NL
#define GROUP_BYTES 18
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    const global uchar *b = row + (size_t)g * 18;
    uchar16 q = vload16(0, b + 2);
    float d = half_at(b);
    *lo = d * levels(LOW(q));
    *hi = d * levels(HIGH(q));
}
#else
#define GROUP_BYTES 17
INLINE void weights32(const global uchar *row, uint g, float16 *lo, float16 *hi)
{
    uint j = g % 8;
    const global uchar *b = row + (size_t)(g / 8) * 136;
    uchar16 q = vload16(j, b + 8);
    int low = b[4 + j / 2] >> 4 * (j % 2) & 15, high = (b[2] | b[3] << 8) >> 2 * j & 3;
    float d = half_at(b) * (float)((low | high << 4) - 32);
    *lo = d * levels(LOW(q));
    *hi = d * levels(HIGH(q));
}
#endif
#endif

/* Columns a pass over a row multiplies at once. A column's sum is the same whatever the others are. */
#define COLUMNS 4u

/* The lanes that share a row: few, so that short rows keep all of them busy. */
#ifdef GPU_STYLE
#define ROW_LANES (LANES / PRODUCT_ROWS)
#else
#define ROW_LANES 1u
#endif

/* Of other types one column takes GROUPS groups of 32 at a time: in the CPU style a whole block, whose scales are then read
 * once, and whose shifts are constants. The order of additions is the same. */
#if defined(SUPER_BLOCKS) && !defined(GPU_STYLE)
#define GROUPS 8u
#else
#define GROUPS 1u
#endif

/* The k-quants that most models are made of have ways of their own in the CPU style. */
#if !defined(GPU_STYLE) && (defined(W_Q4_K) || defined(W_Q5_K) || defined(W_Q6_K))
/* Vectors at any address. vload16 of bytes is eight loads of two in some drivers, which they do not join again. */
#ifdef __clang__
typedef uchar16 any_uchar16 __attribute__((aligned(1)));
typedef uint16 any_uint16 __attribute__((aligned(1)));
typedef uint8 any_uint8 __attribute__((aligned(1)));
#define LOAD(type, p) (*(const global any_##type *)(p))
#else
INLINE uchar16 load_uchar16(const global uchar *p)
{
    return vload16(0, p);
}
INLINE uint8 load_uint8(const global uchar *p)
{
    return (uint8)(as_uint4(vload16(0, p)), as_uint4(vload16(1, p)));
}
INLINE uint16 load_uint16(const global uchar *p)
{
    return (uint16)(load_uint8(p), load_uint8(p + 32));
}
#define LOAD(type, p) load_##type(p)
#endif
#endif

/* Two rows at a time, 64 weights after the other. The scales of a block of both rows are unpacked at once; min is what is added,
 * so that a weight is quant * scale + min. */
#if !defined(GPU_STYLE) && (defined(W_Q4_K) || defined(W_Q5_K))
#define BLOCKWISE
/* Eight times a, eight times b; not put together of two vectors, which Oclgrind crashes at. */
INLINE float16 two(float a, float b)
{
    return select((float16)b, (float16)a, (int16)((int8)-1, (int8)0));
}

#define BLOCK_BYTES KQ_BYTES
#define ROW_SCALES 8
/* Both rows' at once: eight of the first, eight of the second. */
INLINE void block_scales(const global uchar *b0, const global uchar *b1, float *scale, float *min)
{
    uint4 h0 = as_uint4(LOAD(uchar16, b0)), h1 = as_uint4(LOAD(uchar16, b1));
    uint2 s0 = (uint2)(h0.y, h1.y), s1 = (uint2)(h0.z, h1.z), s2 = (uint2)(h0.w, h1.w);
    uint2 scales = s0 & 0x3f3f3f3f, later_scales = (s2 & 0x0f0f0f0f) | (s0 >> 2 & 0x30303030);
    uint2 mins = s1 & 0x3f3f3f3f, later_mins = (s2 >> 4 & 0x0f0f0f0f) | (s1 >> 2 & 0x30303030);
    uchar16 all = as_uchar16((uint4)(scales.x, later_scales.x, scales.y, later_scales.y));
    float4 d = halves((uint2)(h0.x, h1.x));
    vstore16(convert_float16(all) * two(d.x, d.y), 0, scale);
    all = as_uchar16((uint4)(mins.x, later_mins.x, mins.y, later_mins.y));
    vstore16(convert_float16(all) * two(-d.z, -d.w), 0, min);
}
#if defined(W_Q4_K) && defined(__AVX512F__) && defined(__has_builtin)
#if __has_builtin(__builtin_ia32_permvarsf512)
#define HAS_TABLES
#endif
#endif
#ifdef HAS_TABLES
/* A sub-block has 16 weights at most: they are computed once, and looked up by the low four bits of each lane. The same
 * numbers as below, with half of the instructions. */
typedef int plain_int16 __attribute__((__vector_size__(64)));
typedef float plain_float16 __attribute__((__vector_size__(64)));
INLINE float16 look_up(float16 table, uint16 i)
{
    return __builtin_astype(__builtin_ia32_permvarsf512(__builtin_astype(table, plain_float16),
                                                        __builtin_astype(i, plain_int16)),
                            float16);
}
INLINE void weights64(const global uchar *b, uint j, const float *scale, const float *min, float16 *w)
{
    const float16 each = (float16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    float16 first = MAD(each, (float16)scale[2 * j], (float16)min[2 * j]);
    float16 second = MAD(each, (float16)scale[2 * j + 1], (float16)min[2 * j + 1]);
    const global uchar *q = b + KQ_QUANTS + 32 * j;
    uint16 q0 = convert_uint16(LOAD(uchar16, q)), q1 = convert_uint16(LOAD(uchar16, q + 16));
    w[0] = look_up(first, q0);
    w[1] = look_up(first, q1);
    w[2] = look_up(second, q0 >> 4);
    w[3] = look_up(second, q1 >> 4);
}
#else
/* Bit i of the fifth bits' bytes, as bit 4. */
#ifdef W_Q5_K
#define FIFTH_BIT(part, i) ((LOAD(uchar16, b + 16 + 16 * part) >> (uchar)(i) & (uchar16)1) << (uchar16)4)
#else
#define FIFTH_BIT(part, i) ((uchar16)0)
#endif
INLINE float16 weights_of(uchar16 q, float scale, float min)
{
    return MAD(convert_float16(q), (float16)scale, (float16)min);
}
INLINE void weights64(const global uchar *b, uint j, const float *scale, const float *min, float16 *w)
{
    const global uchar *q = b + KQ_QUANTS + 32 * j;
    uchar16 q0 = LOAD(uchar16, q), q1 = LOAD(uchar16, q + 16);
    w[0] = weights_of(LOW(q0) | FIFTH_BIT(0, 2 * j), scale[2 * j], min[2 * j]);
    w[1] = weights_of(LOW(q1) | FIFTH_BIT(1, 2 * j), scale[2 * j], min[2 * j]);
    w[2] = weights_of(HIGH(q0) | FIFTH_BIT(0, 2 * j + 1), scale[2 * j + 1], min[2 * j + 1]);
    w[3] = weights_of(HIGH(q1) | FIFTH_BIT(1, 2 * j + 1), scale[2 * j + 1], min[2 * j + 1]);
}
#endif

/* R rows (w) times N columns (x): sums [R * N]. */
#define TILE(R, N)                                                                                                       \
    INLINE void tile##R##N(const global uchar *const *w, uint k, const global float *const *x, float *sums)              \
    {                                                                                                                    \
        float16 even[R * N], odd[R * N];                                                                                 \
        UNROLL for (uint i = 0; i < R * N; i++) even[i] = odd[i] = 0;                                                    \
        for (uint block = 0; block < k / 256; block++) {                                                                 \
            float scales[2 * ROW_SCALES], mins[2 * ROW_SCALES];                                                          \
            block_scales(w[0] + (size_t)block * BLOCK_BYTES, w[R - 1] + (size_t)block * BLOCK_BYTES, scales, mins);      \
            UNROLL for (uint i = 0; i < R * BLOCK_BYTES; i += 64)                                                        \
                SOON(w[i / BLOCK_BYTES] + (size_t)block * BLOCK_BYTES + i % BLOCK_BYTES);                                \
            UNROLL for (uint j = 0; j < 4; j++) UNROLL for (uint r = 0; r < R; r++)                                      \
            {                                                                                                            \
                float16 each[4];                                                                                         \
                weights64(w[r] + (size_t)block * BLOCK_BYTES, j, scales + ROW_SCALES * r, mins + ROW_SCALES * r, each);  \
                UNROLL for (uint c = 0; c < N; c++)                                                                      \
                {                                                                                                        \
                    const global float *from = x[c] + 256 * block + 64 * j;                                              \
                    even[r * N + c] = MAD(each[0], vload16(0, from), even[r * N + c]);                                   \
                    odd[r * N + c] = MAD(each[1], vload16(1, from), odd[r * N + c]);                                     \
                    even[r * N + c] = MAD(each[2], vload16(2, from), even[r * N + c]);                                   \
                    odd[r * N + c] = MAD(each[3], vload16(3, from), odd[r * N + c]);                                     \
                }                                                                                                        \
            }                                                                                                            \
        }                                                                                                                \
        UNROLL for (uint i = 0; i < R * N; i++) sums[i] = sum16(even[i] + odd[i]);                                       \
    }
TILE(2, 1)
TILE(1, 4)
#endif

/* Q6_K. Widening bytes takes more shuffles than anything else, so a word of four quants stays one: each byte is masked and
 * converted where it is. The inputs are put in that order, and divided by what the place is worth, once for all rows of a group. */
#if !defined(GPU_STYLE) && defined(W_Q6_K)
#define WORDWISE
#define BLOCK_BYTES 210
/* Every second number of two vectors, written out for Oclgrind. */
#define EVENS(a, b) (float16)(a.s0, a.s2, a.s4, a.s6, a.s8, a.sa, a.sc, a.se, b.s0, b.s2, b.s4, b.s6, b.s8, b.sa, b.sc, b.se)
#define ODDS(a, b) (float16)(a.s1, a.s3, a.s5, a.s7, a.s9, a.sb, a.sd, a.sf, b.s1, b.s3, b.s5, b.s7, b.s9, b.sb, b.sd, b.sf)
/* 256 inputs as words of weights lie: lane i of to[5 * h + byte] is input 64 h + 4 i + byte / 256^byte, of to[5 * h + 4] -32 times
 * their sum: a weight is quant - 32. */
INLINE void spread_inputs(const global float *x, float16 *to)
{
    UNROLL for (uint h = 0; h < 4; h++)
    {
        float16 a = vload16(4 * h, x), b = vload16(4 * h + 1, x), c = vload16(4 * h + 2, x), d = vload16(4 * h + 3, x);
        float16 e0 = EVENS(a, b), o0 = ODDS(a, b), e1 = EVENS(c, d), o1 = ODDS(c, d);
        float16 v0 = EVENS(e0, e1), v1 = EVENS(o0, o1), v2 = ODDS(e0, e1), v3 = ODDS(o0, o1);
        to[5 * h] = v0;
        to[5 * h + 1] = v1 * 0x1p-8f;
        to[5 * h + 2] = v2 * 0x1p-16f;
        to[5 * h + 3] = v3 * 0x1p-24f;
        to[5 * h + 4] = -32.0f * (v0 + v1 + (v2 + v3));
    }
}

/* Quants 64 h .. 64 h + 63 of a block. Four bytes at a time: the device is little-endian (cl_device.c). */
INLINE uint16 quants64(const global uchar *b, uint h)
{
    const uint16 left = (uint16)((uint8)4, (uint8)2), right = (uint16)((uint8)0, (uint8)2);
    uint8 t = LOAD(uint8, b + 128 + 32 * (h / 2));
    uint16 low = LOAD(uint16, b + 64 * (h / 2));
    uint16 top = (uint16)(t.s0, t.s1, t.s2, t.s3, t.s4, t.s5, t.s6, t.s7, t.s0, t.s1, t.s2, t.s3, t.s4, t.s5, t.s6, t.s7);
    return h % 2 ? (low >> 4 & 0x0f0f0f0f) | (top >> right & 0x30303030)
                 : (low & 0x0f0f0f0f) | (top << left & 0x30303030);
}

/* Four numbers of v, each four times; one by one for Oclgrind. One shuffle where it is compiled with optimisation. */
#define FOURS(v, a, b, c, d)                                                                                             \
    (float16)(v.s##a, v.s##a, v.s##a, v.s##a, v.s##b, v.s##b, v.s##b, v.s##b, v.s##c, v.s##c, v.s##c, v.s##c, v.s##d, v.s##d, v.s##d, \
              v.s##d)

/* n_rows <= ROWS_AT_ONCE times N columns: sums [rows * N]. */
#define ROWS_AT_ONCE 16u
#define WORDS_TILE(N)                                                                                                    \
    INLINE void rows_times##N(const global uchar *rows, ulong row_bytes, uint n_rows, uint k,                            \
                              const global float *const *x, float *sums)                                                 \
    {                                                                                                                    \
        float16 total[ROWS_AT_ONCE * N];                                                                                 \
        for (uint i = 0; i < n_rows * N; i++)                                                                            \
            total[i] = 0;                                                                                                \
        for (uint block = 0; block < k / 256; block++) {                                                                 \
            float16 spread[20 * N];                                                                                      \
            UNROLL for (uint c = 0; c < N; c++) spread_inputs(x[c] + 256 * block, spread + 20 * c);                      \
            for (uint r = 0; r < n_rows; r++) {                                                                          \
                const global uchar *b = rows + r * row_bytes + (size_t)block * BLOCK_BYTES;                              \
                float16 scale = convert_float16(as_char16(LOAD(uchar16, b + 192))) * half_at(b + 208);                   \
                const float16 each[4] = {FOURS(scale, 0, 1, 2, 3), FOURS(scale, 4, 5, 6, 7), FOURS(scale, 8, 9, a, b),   \
                                         FOURS(scale, c, d, e, f)};                                                      \
                UNROLL for (uint i = 0; i < BLOCK_BYTES; i += 64) LATER(b + i + 2 * ROWS_AT_ONCE * row_bytes);           \
                UNROLL for (uint h = 0; h < 4; h++)                                                                      \
                {                                                                                                        \
                    uint16 q = quants64(b, h);                                                                           \
                    float16 q0 = convert_float16(q & 0xff), q1 = convert_float16(q & 0xff00);                            \
                    float16 q2 = convert_float16(q & 0xff0000), q3 = convert_float16(as_int16(q & 0xff000000));          \
                    UNROLL for (uint c = 0; c < N; c++)                                                                  \
                    {                                                                                                    \
                        const float16 *from = spread + 20 * c + 5 * h;                                                   \
                        float16 sum = MAD(q0, from[0], from[4]);                                                         \
                        sum = MAD(q1, from[1], sum);                                                                     \
                        sum = MAD(q2, from[2], sum);                                                                     \
                        sum = MAD(q3, from[3], sum);                                                                     \
                        total[r * N + c] = MAD(each[h], sum, total[r * N + c]);                                          \
                    }                                                                                                    \
                }                                                                                                        \
            }                                                                                                            \
        }                                                                                                                \
        for (uint i = 0; i < n_rows * N; i++)                                                                            \
            sums[i] = sum16(total[i]);                                                                                   \
    }
WORDS_TILE(1)
WORDS_TILE(4)
#else
#define ROWS_AT_ONCE ((uint)PRODUCT_ROWS)
#endif

#if !defined(BLOCKWISE) && !defined(WORDWISE)
/* This lane's share of row * x[c] for N columns. */
#define DOT(N, GROUPS)                                                                                                   \
    INLINE void dot##N(const global uchar *row, uint k, uint lane, const global float *const *x, float *sums)            \
    {                                                                                                                    \
        float16 a[N], b[N], lo, hi;                                                                                      \
        UNROLL for (uint c = 0; c < N; c++) a[c] = b[c] = 0;                                                             \
        for (uint block = lane; block < k / 32 / GROUPS; block += ROW_LANES) {                                           \
            UNROLL for (uint i = 0; i < GROUPS * GROUP_BYTES; i += 64)                                                   \
                SOON(row + (size_t)block * (GROUPS * GROUP_BYTES) + i);                                                  \
            UNROLL for (uint i = 0; i < GROUPS; i++)                                                                     \
            {                                                                                                            \
                uint g = block * GROUPS + i;                                                                             \
                weights32(row, g, &lo, &hi);                                                                             \
                UNROLL for (uint c = 0; c < N; c++)                                                                      \
                {                                                                                                        \
                    a[c] = MAD(lo, vload16(2 * g, x[c]), a[c]);                                                          \
                    b[c] = MAD(hi, vload16(2 * g + 1, x[c]), b[c]);                                                      \
                }                                                                                                        \
            }                                                                                                            \
        }                                                                                                                \
        UNROLL for (uint c = 0; c < N; c++) sums[c] = sum16(a[c] + b[c]);                                                \
        DOT_TAIL(N)                                                                                                      \
    }
#ifdef ANY_WIDTH
#define DOT_TAIL(N)                                                                                                      \
    for (uint i = k / 32 * 32 + lane; i < k; i += ROW_LANES)                                                             \
        for (uint c = 0; c < N; c++)                                                                                     \
            sums[c] = MAD(WEIGHT_AT(row, i), x[c][i], sums[c]);
#else
#define DOT_TAIL(N)
#endif
DOT(1, GROUPS)
DOT(4, 1u)

/* Behind the last column stands that one again (its sum is dropped): two ways of a product are enough to compile. */
INLINE void dot_columns(const global uchar *row, uint k, uint lane, const global float *const *x, uint n, float *sums)
{
    if (n == 1)
        dot1(row, k, lane, x, sums);
    else
        dot4(row, k, lane, x, sums);
}
#endif

INLINE void store_sum(global float *out, float sum, uint flags)
{
    *out = flags & FLAG_ADD ? *out + sum : sum;
}

/* Rows first .. end of a slab (at most ROWS_AT_ONCE) times n_columns (<= COLUMNS) inputs, each to its output. */
INLINE void product_rows(const global uchar *slab, ulong row_bytes, uint k, uint first, uint end,
                         const global float *const *x, uint n_columns, global float *const *out,
                         const global float *bias, uint flags, local float *spare)
{
#ifdef GPU_STYLE
    uint row = first + LANE / ROW_LANES, lane = LANE % ROW_LANES;
    float sums[COLUMNS] = {0, 0, 0, 0};
    if (row < end)
        dot_columns(slab + row * row_bytes, k, lane, x, n_columns, sums);
    for (uint c = 0; c < n_columns; c++) {
        spare[LANE] = sums[c];
        MEET();
        if (lane == 0 && row < end) {
            float sum = spare[LANE];
            for (uint i = 1; i < ROW_LANES; i++)
                sum += spare[LANE + i];
            store_sum(out[c] + row, sum + (flags & FLAG_BIAS ? bias[row] : 0), flags);
        }
        MEET();
    }
#elif defined(WORDWISE)
    float sums[ROWS_AT_ONCE * COLUMNS];
    uint width = n_columns == 1 ? 1 : COLUMNS;
    if (n_columns == 1)
        rows_times1(slab + first * row_bytes, row_bytes, end - first, k, x, sums);
    else
        rows_times4(slab + first * row_bytes, row_bytes, end - first, k, x, sums);
    for (uint row = first; row < end; row++)
        for (uint c = 0; c < n_columns; c++)
            store_sum(out[c] + row, sums[(row - first) * width + c] + (flags & FLAG_BIAS ? bias[row] : 0), flags);
#elif defined(BLOCKWISE)
    for (uint row = first; row < end; row += 2) {
        const global uchar *rows[2] = {slab + row * row_bytes, slab + min(row + 1, end - 1) * row_bytes};
        float sums[2 * COLUMNS];
        if (n_columns == 1) {
            tile21(rows, k, x, sums);
        } else {
            tile14(rows, k, x, sums);
            tile14(rows + 1, k, x, sums + COLUMNS);
        }
        uint width = n_columns == 1 ? 1 : COLUMNS;
        for (uint r = 0; r < 2 && row + r < end; r++)
            for (uint c = 0; c < n_columns; c++)
                store_sum(out[c] + row + r, sums[r * width + c] + (flags & FLAG_BIAS ? bias[row + r] : 0), flags);
    }
#else
    for (uint row = first; row < end; row++) {
        float sums[COLUMNS];
        dot_columns(slab + row * row_bytes, k, 0, x, n_columns, sums);
        for (uint c = 0; c < n_columns; c++)
            store_sum(out[c] + row, sums[c] + (flags & FLAG_BIAS ? bias[row] : 0), flags);
    }
#endif
}

/* out[t * out_stride + out_base + r] = x[t] * w[r]. A group takes rows_each rows, a multiple of PRODUCT_ROWS. Two slabs of
 * one type (Q and K, gate and up) are one launch: the n2 rows of w2 follow those of w. Groups: (rows / rows_each of the first,
 * then of the second). */
KERNEL product(const global uchar *w, ulong w_base, const global uchar *w2, ulong w2_base, ulong row_bytes, uint k,
                    uint n, uint n2, uint rows_each, const global float *x, ulong x_base, uint n_tokens,
                    global float *out, ulong out_stride, ulong out_base, const global float *bias,
                    const global float *bias2, uint flags)
{
    local float spare[LANES];
    uint first = (uint)get_group_id(0) * rows_each, n_first = (n + rows_each - 1) / rows_each * rows_each;
    const global uchar *slab = w + w_base;
    if (first >= n_first) {
        first -= n_first;
        slab = w2 + w2_base;
        bias = bias2;
        out_base += n;
        n = n2;
    }
    for (uint t = 0; t < n_tokens; t += COLUMNS) {
        const global float *from[COLUMNS];
        global float *to[COLUMNS];
        uint n_columns = min(COLUMNS, n_tokens - t);
        for (uint c = 0; c < COLUMNS; c++) {
            size_t column = t + min(c, n_columns - 1);
            from[c] = x + x_base + column * k;
            to[c] = out + out_base + column * out_stride;
        }
        uint end = min(n, first + rows_each);
        for (uint row = first; row < end; row += ROWS_AT_ONCE)
            product_rows(slab, row_bytes, k, row, min(end, row + ROWS_AT_ONCE), from, n_columns, to, bias, flags, spare);
    }
}

/* The same for tiles of pairs that want one expert (route.cl): pair p reads row p / pairs_per_row of x and writes row p
 * of out. Groups: (rows / PRODUCT_ROWS, most tiles there can be). */
KERNEL expert_product(const global uchar *w, ulong w_base, ulong row_bytes, uint k, uint n, ulong expert_bytes,
                           uint first_expert, uint n_experts, const global uint4 *tiles, const global uint *pairs, const global float *x,
                           uint pairs_per_row, global float *out, ulong out_stride, ulong out_base)
{
    local float spare[LANES];
    if (get_group_id(1) >= tiles[0].x)
        return;
    uint4 tile = tiles[get_group_id(1) + 1];
    if (tile.x < first_expert || tile.x - first_expert >= n_experts)
        return; /* of another piece of the stack */
    const global uchar *slab = w + w_base + (tile.x - first_expert) * expert_bytes;
    uint first = (uint)get_group_id(0) * PRODUCT_ROWS;
    for (uint i = 0; i < tile.z; i += COLUMNS) {
        const global float *from[COLUMNS];
        global float *to[COLUMNS];
        uint n_columns = min(COLUMNS, tile.z - i);
        for (uint c = 0; c < COLUMNS; c++) {
            size_t pair = pairs[tile.y + i + min(c, n_columns - 1)];
            from[c] = x + pair / pairs_per_row * k;
            to[c] = out + out_base + pair * out_stride;
        }
        product_rows(slab, row_bytes, k, first, min(n, first + (uint)PRODUCT_ROWS), from, n_columns, to, x, 0, spare);
    }
}

INLINE void expand_group(const global uchar *row, uint k, uint g, global float *out)
{
    float16 lo, hi;
#ifdef ANY_WIDTH
    if (32 * g + 32 > k) {
        for (uint i = 32 * g; i < k; i++)
            out[i] = WEIGHT_AT(row, i);
        return;
    }
#endif
    weights32(row, g, &lo, &hi);
    vstore16(lo, 2 * g, out);
    vstore16(hi, 2 * g + 1, out);
}

INLINE void expand_row(const global uchar *row, uint k, global float *out)
{
    for (uint g = LANE; g < (k + 31) / 32; g += LANES)
        expand_group(row, k, g, out);
}

/* out[i] = row first + i. Groups: (rows). */
KERNEL expand(const global uchar *w, ulong w_base, ulong row_bytes, uint k, uint first, global float *out)
{
    size_t i = get_group_id(0);
    expand_row(w + w_base + (first + i) * row_bytes, k, out + i * k);
}

/* out[t] = row ids[t] - first, where that is one of the n rows here. Groups: (tokens). */
KERNEL lookup(const global uchar *w, ulong w_base, ulong row_bytes, uint k, uint n, const global int *ids, int first,
                   global float *out)
{
    size_t t = get_group_id(0);
    int row = ids[t] - first;
    if (row >= 0 && (uint)row < n)
        expand_row(w + w_base + (size_t)row * row_bytes, k, out + t * k);
}
