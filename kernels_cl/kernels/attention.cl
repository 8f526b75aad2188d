/* attention.cl: rows into the paged KV cache, and attention over it. Built once for each type of the cache (KV_F16,
 * KV_F32, KV_I8). The layout is that of struct kv_layer (engine/backend.h): this is also the form in which blocks are
 * saved, so that any backend reads what another one wrote. */

#define PAGE ((uint)PAGE_TOKENS)
#define D_MAX ((uint)HEAD_DIM_LIMIT)

#if defined(KV_F16)
#define VALUE_BYTES 2u
#define SCALE_BYTES 0u
INLINE float value_at(const global uchar *row, uint d)
{
    return vload_half(d, (const global half *)row);
}
INLINE float16 values_at(const global uchar *row, uint d)
{
    return vload_half16(0, (const global half *)row + d);
}
#elif defined(KV_F32)
#define VALUE_BYTES 4u
#define SCALE_BYTES 0u
INLINE float value_at(const global uchar *row, uint d)
{
    return ((const global float *)row)[d];
}
INLINE float16 values_at(const global uchar *row, uint d)
{
    return vload16(0, (const global float *)row + d);
}
#else
#define VALUE_BYTES 1u
#define SCALE_BYTES 4u
INLINE float value_at(const global uchar *row, uint d)
{
    return (float)((const global char *)row)[d];
}
INLINE float16 values_at(const global uchar *row, uint d)
{
    return convert_float16(vload16(0, (const global char *)row + d));
}
#endif

/* Where one layer's K and V lie: see struct kv_layer. */
#define KV_ARGS                                                                                                          \
    global uchar *pool, ulong page_bytes, ulong k_offset, ulong v_offset, const global uint *table

/* The rows of KV head h in the page of position p. */
INLINE size_t rows_of(const global uint *table, ulong page_bytes, ulong slab, uint p, uint h, uint head_dim)
{
    return table[p / PAGE] * page_bytes + slab + (size_t)h * PAGE * (head_dim * VALUE_BYTES + SCALE_BYTES);
}

/* a - b, but not below 0; in signed numbers, because Oclgrind knows no saturating subtraction. */
INLINE uint difference(uint a, uint b)
{
    int d = (int)a - (int)b;
    return d > 0 ? (uint)d : 0;
}

/* The scale of row i, behind the values of all rows; 1 where the type needs none. */
INLINE float scale_of(const global uchar *rows, uint i, uint head_dim)
{
#ifdef KV_I8
    return ((const global float *)(rows + (size_t)PAGE * head_dim))[i];
#else
    return 1.0f;
#endif
}

/* Writes x [head_dim] as row i of a head's rows. */
INLINE void store_row(global uchar *rows, uint i, const local float *x, uint head_dim, local float *spare)
{
    global uchar *row = rows + (size_t)i * head_dim * VALUE_BYTES;
#ifdef KV_I8
    float largest = 0;
    for (uint d = LANE; d < head_dim; d += LANES)
        largest = fmax(largest, fabs(x[d]));
    float scale = lanes_max(largest, spare) / 127.0f;
    for (uint d = LANE; d < head_dim; d += LANES)
        ((global char *)row)[d] = scale > 0 ? convert_char_sat_rte(x[d] / scale) : (char)0;
    if (LANE == 0)
        ((global float *)(rows + (size_t)PAGE * head_dim))[i] = scale;
#else
    for (uint d = LANE; d < head_dim; d += LANES)
#ifdef KV_F16
        vstore_half_rte(x[d], d, (global half *)row);
#else
        ((global float *)row)[d] = x[d];
#endif
#endif
}

/* Norm and rotation of one head, where asked for, in place. */
INLINE void norm_head(local float *x, const global float *w, uint head_dim, float eps, local float *spare)
{
    float sum = 0;
    for (uint d = LANE; d < head_dim; d += LANES)
        sum = MAD(x[d], x[d], sum);
    float scale = 1.0f / sqrt(lanes_sum(sum, spare) / (float)head_dim + eps);
    for (uint d = LANE; d < head_dim; d += LANES)
        x[d] = x[d] * scale * w[d];
    MEET();
}

INLINE void rotate_head(local float *x, const global float *cosines, const global float *sines, uint n_rot,
                        uint interleaved)
{
    uint n = n_rot / 2;
    for (uint i = LANE; i < n; i += LANES) {
        uint i0 = interleaved ? 2 * i : i, i1 = interleaved ? 2 * i + 1 : i + n;
        float a = x[i0], b = x[i1], c = cosines[i], s = sines[i];
        x[i0] = a * c - b * s;
        x[i1] = b * c + a * s;
    }
    MEET();
}

/* One head of one token of the fused rows: q to [H, T, D], k and v to the cache. Groups: (H + 2 KV, tokens). */
KERNEL rope_cache(KV_ARGS, const global float *qkv, global float *q, const global float *q_norm,
                       const global float *k_norm, const global float *cosines, const global float *sines, uint n_head,
                       uint n_kv_head, uint head_dim, uint n_rot, uint n_tokens, uint pos, float eps, uint flags)
{
    local float x[D_MAX], spare[LANES];
    uint h = (uint)get_group_id(0), t = (uint)get_group_id(1), p = pos + t;
    bool is_q = h < n_head, is_v = h >= n_head + n_kv_head;
    const global float *from = qkv + ((size_t)t * (n_head + 2 * n_kv_head) + h) * head_dim;
    for (uint d = LANE; d < head_dim; d += LANES)
        x[d] = from[d];
    MEET();
    if (!is_v && (flags & ROPE_FLAG_NORM))
        norm_head(x, is_q ? q_norm : k_norm, head_dim, eps, spare);
    if (!is_v)
        rotate_head(x, cosines + (size_t)p * (n_rot / 2), sines + (size_t)p * (n_rot / 2), n_rot,
                    flags & ROPE_FLAG_INTERLEAVED);
    if (is_q) {
        global float *to = q + ((size_t)h * n_tokens + t) * head_dim;
        for (uint d = LANE; d < head_dim; d += LANES)
            to[d] = x[d];
        return;
    }
    uint kv_head = is_v ? h - n_head - n_kv_head : h - n_head;
    store_row(pool + rows_of(table, page_bytes, is_v ? v_offset : k_offset, p, kv_head, head_dim), p % PAGE, x, head_dim,
              spare);
}

#ifdef GPU_STYLE

/* One query of one head; a lane takes one key of a page, then every LANES-th dimension of the values. Online softmax over
 * the pages. Groups: (tokens, H). */
KERNEL attention(KV_ARGS, const global float *q, global float *out, float scale, uint n_tokens, uint n_head,
                      uint n_kv_head, uint head_dim, uint pos, uint window)
{
    local float query[D_MAX], weights[PAGE], spare[LANES];
    uint t = (uint)get_group_id(0), h = (uint)get_group_id(1), kv_head = h / (n_head / n_kv_head);
    uint end = pos + t + 1, begin = window ? difference(end, window) : 0;
    float sums[D_MAX / LANES], largest = -INFINITY, total = 0;
    const global float *from = q + ((size_t)h * n_tokens + t) * head_dim;
    for (uint d = LANE; d < head_dim; d += LANES)
        query[d] = from[d];
    for (uint i = 0; i < D_MAX / LANES; i++)
        sums[i] = 0;
    MEET();
    for (uint page = begin / PAGE; page <= (end - 1) / PAGE; page++) {
        uint first = difference(begin, page * PAGE), n = min(end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(table, page_bytes, k_offset, page * PAGE, kv_head, head_dim);
        const global uchar *v = pool + rows_of(table, page_bytes, v_offset, page * PAGE, kv_head, head_dim);
        bool seen = LANE >= first && LANE < n;
        float score = 0;
        const global uchar *row = k + (size_t)LANE * head_dim * VALUE_BYTES;
        for (uint d = 0; seen && d < head_dim; d++)
            score = MAD(query[d], value_at(row, d), score);
        score = seen ? score * scale_of(k, LANE, head_dim) * scale : -INFINITY;
        float now = fmax(largest, lanes_max(score, spare));
        float keep = largest == now ? 1.0f : exp(largest - now), weight = seen ? exp(score - now) : 0.0f;
        total = total * keep + lanes_sum(weight, spare);
        largest = now;
        weights[LANE] = seen ? weight * scale_of(v, LANE, head_dim) : 0.0f;
        MEET();
        for (uint d = LANE, i = 0; d < head_dim; d += LANES, i++) {
            float sum = sums[i] * keep;
            for (uint j = first; j < n; j++)
                sum = MAD(weights[j], value_at(v + (size_t)j * head_dim * VALUE_BYTES, d), sum);
            sums[i] = sum;
        }
        MEET();
    }
    global float *to = out + ((size_t)t * n_head + h) * head_dim;
    for (uint d = LANE, i = 0; d < head_dim; d += LANES, i++)
        to[d] = sums[i] / total;
}

#else

INLINE float dot_row(const float *q, const global uchar *row, uint head_dim)
{
    float16 sums = 0;
    uint d = 0;
    for (; d + 16 <= head_dim; d += 16)
        sums = MAD(vload16(0, q + d), values_at(row, d), sums);
    float sum = sum16(sums);
    for (; d < head_dim; d++)
        sum = MAD(q[d], value_at(row, d), sum);
    return sum;
}

/* sums = sums * keep + weights[first .. n) * rows */
INLINE void add_rows(float *sums, float keep, const float *weights, const global uchar *rows, uint first, uint n,
                     uint head_dim)
{
    size_t row_bytes = head_dim * VALUE_BYTES;
    uint d = 0;
    for (; d + 16 <= head_dim; d += 16) {
        float16 sum = vload16(0, sums + d) * keep;
        for (uint j = first; j < n; j++)
            sum = MAD((float16)weights[j], values_at(rows + j * row_bytes, d), sum);
        vstore16(sum, 0, sums + d);
    }
    for (; d < head_dim; d++) {
        float sum = sums[d] * keep;
        for (uint j = first; j < n; j++)
            sum = MAD(weights[j], value_at(rows + j * row_bytes, d), sum);
        sums[d] = sum;
    }
}

/* One query of one head: the scores of a page, their exponentials, then its values. Groups: (tokens, H). */
KERNEL attention(KV_ARGS, const global float *q, global float *out, float scale, uint n_tokens, uint n_head,
                      uint n_kv_head, uint head_dim, uint pos, uint window)
{
    uint t = (uint)get_group_id(0), h = (uint)get_group_id(1), kv_head = h / (n_head / n_kv_head);
    uint end = pos + t + 1, begin = window ? difference(end, window) : 0;
    float query[D_MAX], sums[D_MAX], weights[PAGE], largest = -INFINITY, total = 0;
    const global float *from = q + ((size_t)h * n_tokens + t) * head_dim;
    for (uint d = 0; d < head_dim; d++) {
        query[d] = from[d] * scale;
        sums[d] = 0;
    }
    for (uint page = begin / PAGE; page <= (end - 1) / PAGE; page++) {
        uint first = difference(begin, page * PAGE), n = min(end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(table, page_bytes, k_offset, page * PAGE, kv_head, head_dim);
        const global uchar *v = pool + rows_of(table, page_bytes, v_offset, page * PAGE, kv_head, head_dim);
        float now = largest;
        for (uint j = 0; j < PAGE; j++)
            weights[j] = -INFINITY;
        for (uint j = first; j < n; j++) {
            weights[j] =
                dot_row(query, k + (size_t)j * head_dim * VALUE_BYTES, head_dim) * scale_of(k, j, head_dim);
            now = fmax(now, weights[j]);
        }
        float16 page_total = 0;
        for (uint j = 0; j < PAGE; j += 16) {
            float16 e = exp(vload16(0, weights + j) - now);
            page_total += e;
            vstore16(e, 0, weights + j);
        }
        float keep = largest == now ? 1.0f : exp(largest - now);
        total = total * keep + sum16(page_total);
        largest = now;
        for (uint j = first; j < n; j++)
            weights[j] *= scale_of(v, j, head_dim);
        add_rows(sums, keep, weights, v, first, n, head_dim);
    }
    global float *to = out + ((size_t)t * n_head + h) * head_dim;
    for (uint d = 0; d < head_dim; d++)
        to[d] = sums[d] / total;
}
#endif
