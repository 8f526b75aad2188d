/* matrix.cl: many tokens at once: out[t, r] = x[t] * w[r] with weights that were expanded to f32 (weights.cl). */

#ifdef GPU_STYLE
#define TILE ((uint)MATRIX_TILE)
#define DEPTH 16u

/* A group of 8 x 8 lanes computes TILE rows x TILE tokens, four by four each. Groups: (rows / TILE, tokens / TILE). */
KERNEL matrix(const global float *w, uint k, uint n, const global float *x, ulong x_base, uint n_tokens,
                   global float *out, ulong out_stride, ulong out_base, const global float *bias,
                   uint bias_base, uint flags)
{
    local float ws[DEPTH][TILE + 1], xs[DEPTH][TILE + 1];
    uint row0 = (uint)get_group_id(0) * TILE, token0 = (uint)get_group_id(1) * TILE;
    uint lane_row = LANE % 8, lane_token = LANE / 8;
    float sums[4][4];
    for (uint i = 0; i < 4; i++)
        for (uint j = 0; j < 4; j++)
            sums[i][j] = 0;
    for (uint at = 0; at < k; at += DEPTH) {
        for (uint i = LANE; i < TILE * DEPTH; i += LANES) {
            uint d = i % DEPTH, r = i / DEPTH;
            bool inside = at + d < k;
            ws[d][r] = inside && row0 + r < n ? w[(size_t)(row0 + r) * k + at + d] : 0;
            xs[d][r] = inside && token0 + r < n_tokens ? x[x_base + (size_t)(token0 + r) * k + at + d] : 0;
        }
        MEET();
        for (uint d = 0; d < DEPTH; d++)
            for (uint i = 0; i < 4; i++)
                for (uint j = 0; j < 4; j++)
                    sums[i][j] = MAD(ws[d][lane_row + 8 * i], xs[d][lane_token + 8 * j], sums[i][j]);
        MEET();
    }
    for (uint i = 0; i < 4; i++) {
        uint row = row0 + lane_row + 8 * i;
        for (uint j = 0; j < 4; j++) {
            uint t = token0 + lane_token + 8 * j;
            if (row >= n || t >= n_tokens)
                continue;
            global float *to = out + out_base + t * out_stride + row;
            float sum = sums[i][j] + (flags & FLAG_BIAS ? bias[bias_base + row] : 0);
            *to = flags & FLAG_ADD ? *to + sum : sum;
        }
    }
}
#else
/* Four rows times four tokens: each loaded number is used four times. */
#define STEP(r)                                                                                                          \
    {                                                                                                                    \
        float16 v = vload16(0, w##r + i);                                                                                \
        s##r##0 = MAD(v, x0, s##r##0);                                                                                   \
        s##r##1 = MAD(v, x1, s##r##1);                                                                                   \
        s##r##2 = MAD(v, x2, s##r##2);                                                                                   \
        s##r##3 = MAD(v, x3, s##r##3);                                                                                   \
    }
#define ROW_SUMS(r) float16 s##r##0 = 0, s##r##1 = 0, s##r##2 = 0, s##r##3 = 0;
#define ROW_OUT(r)                                                                                                       \
    {                                                                                                                    \
        float4 sum = (float4)(sum16(s##r##0), sum16(s##r##1), sum16(s##r##2), sum16(s##r##3));                           \
        for (uint j = i; j < k; j++)                                                                                     \
            sum = MAD((float4)w##r[j], (float4)(t0[j], t1[j], t2[j], t3[j]), sum);                                       \
        sums[r] = sum;                                                                                                   \
    }

INLINE void four_by_four(const global float *const *w, const global float *const *x, uint k, float4 *sums)
{
    const global float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    const global float *t0 = x[0], *t1 = x[1], *t2 = x[2], *t3 = x[3];
    ROW_SUMS(0)
    ROW_SUMS(1)
    ROW_SUMS(2)
    ROW_SUMS(3)
    uint i = 0;
    for (; i + 16 <= k; i += 16) {
        float16 x0 = vload16(0, t0 + i), x1 = vload16(0, t1 + i), x2 = vload16(0, t2 + i), x3 = vload16(0, t3 + i);
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
    }
    ROW_OUT(0)
    ROW_OUT(1)
    ROW_OUT(2)
    ROW_OUT(3)
}

/* A work-item takes MATRIX_ROWS rows and all tokens: four tokens stay near while it walks its rows. Groups: (rows /
 * MATRIX_ROWS). Behind the last row and token the last one is computed again and dropped. */
KERNEL matrix(const global float *w, uint k, uint n, const global float *x, ulong x_base, uint n_tokens,
                   global float *out, ulong out_stride, ulong out_base, const global float *bias,
                   uint bias_base, uint flags)
{
    uint first = (uint)get_group_id(0) * MATRIX_ROWS;
    for (uint t = 0; t < n_tokens; t += 4) {
        const global float *from[4], *rows[4];
        for (uint c = 0; c < 4; c++)
            from[c] = x + x_base + (size_t)min(t + c, n_tokens - 1) * k;
        for (uint row = first; row < min(n, first + (uint)MATRIX_ROWS); row += 4) {
            float4 sums[4];
            for (uint r = 0; r < 4; r++)
                rows[r] = w + (size_t)min(row + r, n - 1) * k;
            four_by_four(rows, from, k, sums);
            for (uint r = 0; r < 4 && row + r < n; r++) {
                float add = flags & FLAG_BIAS ? bias[bias_base + row + r] : 0, each[4];
                vstore4(sums[r], 0, each);
                for (uint c = 0; c < 4 && t + c < n_tokens; c++) {
                    global float *to = out + out_base + (t + c) * out_stride + row + r;
                    *to = flags & FLAG_ADD ? *to + (each[c] + add) : each[c] + add;
                }
            }
        }
    }
}
#endif
