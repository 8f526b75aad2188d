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

/* Where one layer's K and V lie: see struct kv_layer; and lens, how many positions each sequence has. What changes from
 * token to token is in memory, so that arguments are the same for all. */
#define KV_ARGS                                                                                                          \
    global uchar *pool, ulong page_bytes, ulong k_offset, ulong v_offset, const global uint *table,                      \
        const global uint *lens

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

/* One head of one token of the fused rows, the last ones of the one sequence: q to [H, T, D], k and v to the cache. Groups:
 * (H + 2 KV, tokens). */
KERNEL rope_cache(KV_ARGS, const global float *qkv, global float *q, const global float *q_norm,
                       const global float *k_norm, const global float *cosines, const global float *sines, uint n_head,
                       uint n_kv_head, uint head_dim, uint n_rot, float eps, uint flags)
{
    local float x[D_MAX], spare[LANES];
    uint h = (uint)get_group_id(0), t = (uint)get_group_id(1), n_tokens = (uint)get_num_groups(1);
    uint p = lens[0] - n_tokens + t;
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

/* The queries: q [S, H, T, D]. Row s of the table [S, n_pages] has the pages of sequence s. */
#define QUERY_ARGS const global float *q, uint n_seqs, uint n_pages

/* Token t of the n of sequence seq, row seq * T + t of the output: it sees positions begin .. end. */
struct query {
    uint row, seq, t, n, begin, end;
};

INLINE void find_query(struct query *x, uint row, uint n_rows, uint n_seqs, const global uint *lens, uint window)
{
    x->row = row;
    x->n = n_rows / n_seqs;
    x->seq = row / x->n;
    x->t = row % x->n;
    x->end = lens[x->seq] - x->n + x->t + 1;
    x->begin = window ? difference(x->end, window) : 0;
}

INLINE const global float *query_head(const global float *q, const struct query *x, uint h, uint n_head, uint head_dim)
{
    return q + (((size_t)x->seq * n_head + h) * x->n + x->t) * head_dim;
}

/* ---- few queries: the heads that share a KV head, over a part of the keys ---- */

/* What one group works on: query heads head .. head + n of x, which read kv_head, and pages page .. page_end. */
struct share {
    struct query x;
    uint head, n, kv_head, page, page_end, split;
};

/* Groups: (splits, queries * KV heads * chunks of GQA_HEADS). A query that ends before the split has no pages in it. */
INLINE void my_share(struct share *s, uint n_seqs, const global uint *lens, uint n_head, uint n_kv_head, uint window)
{
    uint each = n_head / n_kv_head, n_chunks = (each + GQA_HEADS - 1) / GQA_HEADS, i = (uint)get_group_id(1);
    uint chunk = i % n_chunks, n_rows = (uint)get_num_groups(1) / n_chunks / n_kv_head;
    s->split = (uint)get_group_id(0);
    s->kv_head = i / n_chunks % n_kv_head;
    find_query(&s->x, i / n_chunks / n_kv_head, n_rows, n_seqs, lens, window);
    s->head = s->kv_head * each + chunk * GQA_HEADS;
    s->n = min((uint)GQA_HEADS, each - chunk * GQA_HEADS);
    s->page = max(s->x.begin / PAGE, s->split * SPLIT_PAGES);
    s->page_end = min((s->x.end - 1) / PAGE + 1, (s->split + 1) * SPLIT_PAGES);
}

/* The part of head i of a share: head_dim sums, then the largest score and the total of the weights. */
INLINE global float *part_of(global float *parts, const struct share *s, uint i, uint n_head, uint n_splits,
                             uint head_dim)
{
    return parts + (((size_t)s->x.row * n_head + s->head + i) * n_splits + s->split) * (head_dim + 2);
}

/* Where the output of that head goes when its keys are all in one part: the same bits as of joining one. */
INLINE global float *out_of(global float *out, const struct share *s, uint i, uint n_head, uint head_dim)
{
    return out + ((size_t)s->x.row * n_head + s->head + i) * head_dim;
}

/* Joins the parts of a query of one head, in their order; empty ones add nothing, so that a query has the same bits with
 * any number of splits behind its own. Groups: (queries, H). */
KERNEL attention_merge(const global float *parts, global float *out, uint n_splits, uint head_dim)
{
    size_t row = get_group_id(0) * get_num_groups(1) + get_group_id(1), width = head_dim + 2;
    const global float *from = parts + row * n_splits * width;
    global float *to = out + row * head_dim;
    float largest = -INFINITY, total = 0;
    for (uint i = 0; i < n_splits; i++)
        largest = fmax(largest, from[i * width + head_dim]);
    for (uint i = 0; i < n_splits; i++)
        total += exp(from[i * width + head_dim] - largest) * from[i * width + head_dim + 1];
    for (uint d = LANE; d < head_dim; d += LANES) {
        float sum = 0;
        for (uint i = 0; i < n_splits; i++)
            sum = MAD(exp(from[i * width + head_dim] - largest), from[i * width + d], sum);
        to[d] = sum / total;
    }
}

#ifdef GPU_STYLE

/* One query of one head; a lane takes one key of a page, then every LANES-th dimension of the values. Online softmax over
 * the pages. Groups: (queries, H). */
KERNEL attention(KV_ARGS, QUERY_ARGS, global float *out, float scale, uint n_head, uint n_kv_head, uint head_dim,
                      uint window)
{
    local float query[D_MAX], weights[PAGE], spare[LANES];
    uint h = (uint)get_group_id(1), kv_head = h / (n_head / n_kv_head);
    struct query x;
    find_query(&x, (uint)get_group_id(0), (uint)get_num_groups(0), n_seqs, lens, window);
    const global uint *pages = table + (size_t)x.seq * n_pages;
    float sums[D_MAX / LANES], largest = -INFINITY, total = 0;
    const global float *from = query_head(q, &x, h, n_head, head_dim);
    for (uint d = LANE; d < head_dim; d += LANES)
        query[d] = from[d];
    for (uint i = 0; i < D_MAX / LANES; i++)
        sums[i] = 0;
    MEET();
    for (uint page = x.begin / PAGE; page <= (x.end - 1) / PAGE; page++) {
        uint first = difference(x.begin, page * PAGE), n = min(x.end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(pages, page_bytes, k_offset, page * PAGE, kv_head, head_dim);
        const global uchar *v = pool + rows_of(pages, page_bytes, v_offset, page * PAGE, kv_head, head_dim);
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
    global float *to = out + ((size_t)x.row * n_head + h) * head_dim;
    for (uint d = LANE, i = 0; d < head_dim; d += LANES, i++)
        to[d] = sums[i] / total;
}

/* The same for the heads of a share: a key is read once for all of them. */
KERNEL attention_part(KV_ARGS, QUERY_ARGS, global float *parts, global float *out, float scale, uint n_head,
                           uint n_kv_head, uint head_dim, uint window, uint n_splits)
{
    local float query[GQA_HEADS * D_MAX], weights[GQA_HEADS * PAGE], spare[LANES];
    float sums[GQA_HEADS][D_MAX / LANES], largest[GQA_HEADS], total[GQA_HEADS];
    struct share s;
    my_share(&s, n_seqs, lens, n_head, n_kv_head, window);
    const global uint *pages = table + (size_t)s.x.seq * n_pages;
    for (uint i = 0; i < GQA_HEADS; i++) {
        largest[i] = -INFINITY;
        total[i] = 0;
        for (uint j = 0; j < D_MAX / LANES; j++)
            sums[i][j] = 0;
        for (uint d = LANE; d < head_dim; d += LANES)
            query[i * D_MAX + d] = i < s.n ? query_head(q, &s.x, s.head + i, n_head, head_dim)[d] : 0;
    }
    MEET();
    for (uint page = s.page; page < s.page_end; page++) {
        uint first = difference(s.x.begin, page * PAGE), n = min(s.x.end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(pages, page_bytes, k_offset, page * PAGE, s.kv_head, head_dim);
        const global uchar *v = pool + rows_of(pages, page_bytes, v_offset, page * PAGE, s.kv_head, head_dim);
        bool seen = LANE >= first && LANE < n;
        const global uchar *row = k + (size_t)LANE * head_dim * VALUE_BYTES;
        float scores[GQA_HEADS] = {0, 0, 0, 0}, keep[GQA_HEADS];
        for (uint d = 0; seen && d < head_dim; d++) {
            float value = value_at(row, d);
            for (uint i = 0; i < GQA_HEADS; i++)
                scores[i] = MAD(query[i * D_MAX + d], value, scores[i]);
        }
        for (uint i = 0; i < s.n; i++) {
            float score = seen ? scores[i] * scale_of(k, LANE, head_dim) * scale : -INFINITY;
            float now = fmax(largest[i], lanes_max(score, spare)), weight = seen ? exp(score - now) : 0.0f;
            keep[i] = largest[i] == now ? 1.0f : exp(largest[i] - now);
            total[i] = total[i] * keep[i] + lanes_sum(weight, spare);
            largest[i] = now;
            weights[i * PAGE + LANE] = seen ? weight * scale_of(v, LANE, head_dim) : 0.0f;
        }
        MEET();
        for (uint d = LANE, c = 0; d < head_dim; d += LANES, c++) {
            for (uint i = 0; i < s.n; i++)
                sums[i][c] *= keep[i];
            for (uint j = first; j < n; j++) {
                float value = value_at(v + (size_t)j * head_dim * VALUE_BYTES, d);
                for (uint i = 0; i < s.n; i++)
                    sums[i][c] = MAD(weights[i * PAGE + j], value, sums[i][c]);
            }
        }
        MEET();
    }
    for (uint i = 0; i < s.n; i++) {
        bool is_whole = n_splits == 1;
        global float *to = is_whole ? out_of(out, &s, i, n_head, head_dim)
                                    : part_of(parts, &s, i, n_head, n_splits, head_dim);
        for (uint d = LANE, c = 0; d < head_dim; d += LANES, c++)
            to[d] = is_whole ? sums[i][c] / total[i] : sums[i][c];
        if (LANE == 0 && !is_whole) {
            to[head_dim] = largest[i];
            to[head_dim + 1] = total[i];
        }
    }
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

/* One query of one head: the scores of a page, their exponentials, then its values. Groups: (queries, H). */
KERNEL attention(KV_ARGS, QUERY_ARGS, global float *out, float scale, uint n_head, uint n_kv_head, uint head_dim,
                      uint window)
{
    uint h = (uint)get_group_id(1), kv_head = h / (n_head / n_kv_head);
    struct query x;
    find_query(&x, (uint)get_group_id(0), (uint)get_num_groups(0), n_seqs, lens, window);
    const global uint *pages = table + (size_t)x.seq * n_pages;
    float query[D_MAX], sums[D_MAX], weights[PAGE], largest = -INFINITY, total = 0;
    const global float *from = query_head(q, &x, h, n_head, head_dim);
    for (uint d = 0; d < head_dim; d++) {
        query[d] = from[d] * scale;
        sums[d] = 0;
    }
    for (uint page = x.begin / PAGE; page <= (x.end - 1) / PAGE; page++) {
        uint first = difference(x.begin, page * PAGE), n = min(x.end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(pages, page_bytes, k_offset, page * PAGE, kv_head, head_dim);
        const global uchar *v = pool + rows_of(pages, page_bytes, v_offset, page * PAGE, kv_head, head_dim);
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
    global float *to = out + ((size_t)x.row * n_head + h) * head_dim;
    for (uint d = 0; d < head_dim; d++)
        to[d] = sums[d] / total;
}
/* N heads over the pages of a share: what is read of a key or a value is used N times. A head's sums are the same for
 * every N. */
#define SHARE(N)                                                                                                         \
    INLINE void scores##N(const float *query, const global uchar *rows, uint first, uint n, uint head_dim,               \
                          float *weights)                                                                                \
    {                                                                                                                    \
        for (uint j = first; j < n; j++) {                                                                               \
            const global uchar *row = rows + (size_t)j * head_dim * VALUE_BYTES;                                         \
            float16 sums[N];                                                                                             \
            uint d = 0;                                                                                                  \
            UNROLL for (uint i = 0; i < N; i++) sums[i] = 0;                                                             \
            for (; d + 16 <= head_dim; d += 16) {                                                                        \
                float16 k = values_at(row, d);                                                                           \
                UNROLL for (uint i = 0; i < N; i++) sums[i] = MAD(vload16(0, query + i * D_MAX + d), k, sums[i]);        \
            }                                                                                                            \
            UNROLL for (uint i = 0; i < N; i++)                                                                          \
            {                                                                                                            \
                float sum = sum16(sums[i]);                                                                              \
                for (uint e = d; e < head_dim; e++)                                                                      \
                    sum = MAD(query[i * D_MAX + e], value_at(row, e), sum);                                              \
                weights[i * PAGE + j] = sum * scale_of(rows, j, head_dim);                                               \
            }                                                                                                            \
        }                                                                                                                \
    }                                                                                                                    \
    INLINE void values##N(float *sums, const float *keep, const float *weights, const global uchar *rows, uint first,    \
                          uint n, uint head_dim)                                                                         \
    {                                                                                                                    \
        size_t row_bytes = head_dim * VALUE_BYTES;                                                                       \
        uint d = 0;                                                                                                      \
        for (; d + 16 <= head_dim; d += 16) {                                                                            \
            float16 sum[N];                                                                                              \
            UNROLL for (uint i = 0; i < N; i++) sum[i] = vload16(0, sums + i * D_MAX + d) * keep[i];                     \
            for (uint j = first; j < n; j++) {                                                                           \
                float16 v = values_at(rows + j * row_bytes, d);                                                          \
                UNROLL for (uint i = 0; i < N; i++) sum[i] = MAD((float16)weights[i * PAGE + j], v, sum[i]);             \
            }                                                                                                            \
            UNROLL for (uint i = 0; i < N; i++) vstore16(sum[i], 0, sums + i * D_MAX + d);                               \
        }                                                                                                                \
        for (; d < head_dim; d++)                                                                                        \
            for (uint i = 0; i < N; i++) {                                                                               \
                float sum = sums[i * D_MAX + d] * keep[i];                                                               \
                for (uint j = first; j < n; j++)                                                                         \
                    sum = MAD(weights[i * PAGE + j], value_at(rows + j * row_bytes, d), sum);                            \
                sums[i * D_MAX + d] = sum;                                                                               \
            }                                                                                                            \
    }
SHARE(1)
SHARE(2)
SHARE(4)

/* The scores of a page become weights; returns what earlier sums are multiplied by. */
INLINE float weigh_page(float *weights, float *largest, float *total, const global uchar *v, uint first, uint n,
                        uint head_dim)
{
    float now = *largest;
    float16 page_total = 0;
    for (uint j = first; j < n; j++)
        now = fmax(now, weights[j]);
    for (uint j = 0; j < PAGE; j++)
        weights[j] = j >= first && j < n ? weights[j] : -INFINITY;
    for (uint j = 0; j < PAGE; j += 16) {
        float16 e = exp(vload16(0, weights + j) - now);
        page_total += e;
        vstore16(e, 0, weights + j);
    }
    float keep = *largest == now ? 1.0f : exp(*largest - now);
    *total = *total * keep + sum16(page_total);
    *largest = now;
    for (uint j = first; j < n; j++)
        weights[j] *= scale_of(v, j, head_dim);
    return keep;
}

KERNEL attention_part(KV_ARGS, QUERY_ARGS, global float *parts, global float *out, float scale, uint n_head,
                           uint n_kv_head, uint head_dim, uint window, uint n_splits)
{
    float query[GQA_HEADS * D_MAX], sums[GQA_HEADS * D_MAX], weights[GQA_HEADS * PAGE];
    float largest[GQA_HEADS], total[GQA_HEADS], keep[GQA_HEADS];
    struct share s;
    my_share(&s, n_seqs, lens, n_head, n_kv_head, window);
    const global uint *pages = table + (size_t)s.x.seq * n_pages;
    for (uint i = 0; i < GQA_HEADS; i++) {
        largest[i] = -INFINITY;
        total[i] = keep[i] = 0;
        for (uint d = 0; d < head_dim; d++) {
            query[i * D_MAX + d] = i < s.n ? query_head(q, &s.x, s.head + i, n_head, head_dim)[d] * scale : 0;
            sums[i * D_MAX + d] = 0;
        }
        for (uint j = 0; j < PAGE; j++)
            weights[i * PAGE + j] = 0;
    }
    for (uint page = s.page; page < s.page_end; page++) {
        uint first = difference(s.x.begin, page * PAGE), n = min(s.x.end - page * PAGE, PAGE);
        const global uchar *k = pool + rows_of(pages, page_bytes, k_offset, page * PAGE, s.kv_head, head_dim);
        const global uchar *v = pool + rows_of(pages, page_bytes, v_offset, page * PAGE, s.kv_head, head_dim);
        if (s.n == 1)
            scores1(query, k, first, n, head_dim, weights);
        else if (s.n == 2)
            scores2(query, k, first, n, head_dim, weights);
        else
            scores4(query, k, first, n, head_dim, weights);
        for (uint i = 0; i < s.n; i++)
            keep[i] = weigh_page(weights + i * PAGE, largest + i, total + i, v, first, n, head_dim);
        if (s.n == 1)
            values1(sums, keep, weights, v, first, n, head_dim);
        else if (s.n == 2)
            values2(sums, keep, weights, v, first, n, head_dim);
        else
            values4(sums, keep, weights, v, first, n, head_dim);
    }
    for (uint i = 0; i < s.n; i++) {
        bool is_whole = n_splits == 1;
        global float *to = is_whole ? out_of(out, &s, i, n_head, head_dim)
                                    : part_of(parts, &s, i, n_head, n_splits, head_dim);
        for (uint d = 0; d < head_dim; d++)
            to[d] = is_whole ? sums[i * D_MAX + d] / total[i] : sums[i * D_MAX + d];
        if (is_whole)
            continue;
        to[head_dim] = largest[i];
        to[head_dim + 1] = total[i];
    }
}
#endif
