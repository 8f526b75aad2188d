/* elements.cl: norms and what works on one element at a time. One group per token, or per CHUNK elements of a token. */

INLINE float squares(const global float *x, uint n)
{
#ifdef GPU_STYLE
    float sum = 0;
    for (uint i = LANE; i < n; i += LANES)
        sum = MAD(x[i], x[i], sum);
    return sum;
#else
    float16 sums = 0;
    uint i = 0;
    for (; i + 16 <= n; i += 16) {
        float16 v = vload16(0, x + i);
        sums = MAD(v, v, sums);
    }
    float sum = sum16(sums);
    for (; i < n; i++)
        sum = MAD(x[i], x[i], sum);
    return sum;
#endif
}

/* out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * w; x_base and out_base are of token 0. In place works: a lane writes what it
 * alone reads again. Groups: (tokens). */
KERNEL rms_norm(const global float *x, ulong x_base, ulong stride, const global float *w, global float *out,
                     ulong out_base, uint n, float eps)
{
    local float spare[LANES];
    const global float *row = x + x_base + get_group_id(0) * stride;
    global float *to = out + out_base + get_group_id(0) * stride;
    float scale = 1.0f / sqrt(lanes_sum(squares(row, n), spare) / (float)n + eps);
#ifdef GPU_STYLE
    for (uint i = LANE; i < n; i += LANES)
        to[i] = row[i] * scale * w[i];
#else
    uint i = 0;
    for (; i + 16 <= n; i += 16)
        vstore16(vload16(0, row + i) * scale * vload16(0, w + i), 0, to + i);
    for (; i < n; i++)
        to[i] = row[i] * scale * w[i];
#endif
}

/* Groups of the rest: (chunks of a row, tokens). The macro runs VECTOR for 16 elements at i, SCALAR for one. */
#ifdef GPU_STYLE
#define FOR_CHUNK(n, VECTOR, SCALAR)                                                                                     \
    for (uint i = (uint)get_group_id(0) * (uint)CHUNK + LANE, end = min((n), ((uint)get_group_id(0) + 1) * (uint)CHUNK); i < end;    \
         i += LANES) {                                                                                                   \
        SCALAR                                                                                                           \
    }
#else
#define FOR_CHUNK(n, VECTOR, SCALAR)                                                                                     \
    uint i = (uint)get_group_id(0) * (uint)CHUNK, end = min((n), i + (uint)CHUNK);                                                   \
    for (; i + 16 <= end; i += 16) {                                                                                     \
        VECTOR                                                                                                           \
    }                                                                                                                    \
    for (; i < end; i++) {                                                                                               \
        SCALAR                                                                                                           \
    }
#endif

/* out[t, F] = silu(gu[t, 0..F)) * gu[t, F..2F) */
KERNEL silu_mul(const global float *gate_up, global float *out, uint n)
{
    size_t t = get_group_id(1);
    const global float *gate = gate_up + t * 2 * n, *up = gate + n;
    global float *to = out + t * n;
    FOR_CHUNK(
        n,
        {
            float16 g = vload16(0, gate + i);
            vstore16(g / (1.0f + exp(-g)) * vload16(0, up + i), 0, to + i);
        },
        { to[i] = gate[i] / (1.0f + exp(-gate[i])) * up[i]; })
}

/* out[t] += sum over s, in order, of weights[t, s] * slots[t * n_used + s] */
KERNEL weighted_sum(const global float *slots, const global float *weights, global float *out, uint n, uint n_used)
{
    size_t t = get_group_id(1);
    const global float *slot = slots + t * n_used * n, *weight = weights + t * n_used;
    global float *to = out + t * n;
    FOR_CHUNK(
        n,
        {
            float16 sum = vload16(0, to + i);
            for (uint s = 0; s < n_used; s++)
                sum = MAD((float16)weight[s], vload16(0, slot + (size_t)s * n + i), sum);
            vstore16(sum, 0, to + i);
        },
        {
            float sum = to[i];
            for (uint s = 0; s < n_used; s++)
                sum = MAD(weight[s], slot[(size_t)s * n + i], sum);
            to[i] = sum;
        })
}

/* out[t] += x[t] / (1 + exp(-gate[t])) */
KERNEL add_gated(const global float *x, const global float *gate, global float *out, uint n)
{
    size_t t = get_group_id(1);
    const global float *from = x + t * n;
    global float *to = out + t * n;
    float open = 1.0f + exp(-gate[t]);
    FOR_CHUNK(
        n, { vstore16(vload16(0, to + i) + vload16(0, from + i) / open, 0, to + i); }, { to[i] += from[i] / open; })
}
