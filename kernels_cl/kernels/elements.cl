/* elements.cl: norms and what works on one element at a time, one group per token, or per CHUNK elements of a token; the largest
 * elements of a row. */

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

/* ---- the largest numbers of a row ---- */

/* What is looked at: the numbers of a row, or what chunks of it gave. A number comes with its place in the row, nobody with -1. */
struct look {
    const global float *row;
    const global int2 *pairs; /* (bits, place); 0: the row itself */
};

INLINE float value_of(const struct look *look, uint i)
{
    return look->pairs ? as_float(look->pairs[i].x) : look->row[i];
}

/* -1 too of what is not finite. */
INLINE int place_of(const struct look *look, uint i)
{
    int place = look->pairs ? look->pairs[i].y : (int)i;
    return isfinite(value_of(look, i)) ? place : -1;
}

#ifdef GPU_STYLE
/* Larger first, of equals the lower place. */
INLINE bool goes_before(float a, int a_place, float b, int b_place)
{
    return a_place >= 0 && (b_place < 0 || a > b || (a == b && a_place < b_place));
}

/* Of numbers i, i + LANES, ... < end those behind (last, last_place) in order: the first one, to *value and *place. */
INLINE void lanes_best(const struct look *look, uint i, uint end, float last, int last_place, float *value, int *place)
{
    *place = -1;
    for (; i < end; i += LANES) {
        float v = value_of(look, i);
        int p = place_of(look, i);
        bool is_left = last_place < 0 || goes_before(last, last_place, v, p);
        if (is_left && last_place != p && goes_before(v, p, *value, *place)) {
            *value = v;
            *place = p;
        }
    }
}

/* Of all lanes' the first one, to every lane. */
INLINE void groups_best(float *value, int *place, local float *values, local int *places)
{
    values[LANE] = *value;
    places[LANE] = *place;
    MEET();
    for (uint n = LANES / 2; n > 0; n /= 2) {
        if (LANE < n && goes_before(values[LANE + n], places[LANE + n], values[LANE], places[LANE])) {
            values[LANE] = values[LANE + n];
            places[LANE] = places[LANE + n];
        }
        MEET();
    }
    *value = values[0];
    *place = places[0];
    MEET();
}
#else
/* Puts a number behind those that are not smaller; of more than k the last one falls out. Returns how many there are. */
INLINE uint insert(float *values, int *places, uint n, uint k, float value, int place)
{
    if (place < 0 || (n == k && !(value > values[k - 1])))
        return n;
    uint at = n < k ? n : k - 1;
    for (; at > 0 && value > values[at - 1]; at--) {
        values[at] = values[at - 1];
        places[at] = places[at - 1];
    }
    values[at] = value;
    places[at] = place;
    return n < k ? n + 1 : n;
}
#endif

/* to [chunks, k]: the k largest finite numbers of every chunk of x[x_base .. + n), or of pairs[0 .. n), largest first: their bits and
 * their places, -1 where there are no more. Groups: (chunks). */
KERNEL largest(const global float *x, ulong x_base, const global int2 *pairs, uint has_pairs, uint n, uint chunk, uint k,
               global int2 *to)
{
    const struct look look = {x + x_base, has_pairs ? pairs : 0};
    uint first = (uint)get_group_id(0) * chunk, end = min(n, first + chunk);
    to += get_group_id(0) * k;
#ifdef GPU_STYLE
    local float spare[LANES];
    local int spare_places[LANES];
    float mine = 0;
    int my_place;
    lanes_best(&look, first + LANE, end, 0, -1, &mine, &my_place);
    for (uint s = 0; s < k; s++) {
        float best = mine;
        int place = my_place;
        groups_best(&best, &place, spare, spare_places);
        if (LANE == 0)
            to[s] = (int2)(as_int(best), place);
        if (place >= 0 && place == my_place)
            lanes_best(&look, first + LANE, end, best, place, &mine, &my_place);
    }
#else
    float values[LARGEST_MAX];
    int places[LARGEST_MAX];
    uint n_found = 0, i = first;
    for (; i + 16 <= end && !has_pairs; i += 16) {
        if (n_found == k && !any(vload16(0, look.row + i) > (float16)values[k - 1]))
            continue;
        for (uint j = i; j < i + 16; j++)
            n_found = insert(values, places, n_found, k, value_of(&look, j), place_of(&look, j));
    }
    for (; i < end; i++)
        n_found = insert(values, places, n_found, k, value_of(&look, i), place_of(&look, i));
    for (uint s = 0; s < k; s++)
        to[s] = s < n_found ? (int2)(as_int(values[s]), places[s]) : (int2)(0, -1);
#endif
}
