/* route.cl: which experts a token goes to, and which tokens go to an expert. */

/* The order of choice: larger first, NaN last, of equals the lower id. */
INLINE bool before(float a, uint a_id, float b, uint b_id)
{
    if (a > b || (isnan(b) && !isnan(a)))
        return true;
    if (b > a || (isnan(a) && !isnan(b)))
        return false;
    return a_id < b_id;
}

#define NOBODY 0xFFFFFFFFu

/* Of the experts behind `last` in the order of choice the first one; the whole group gets it. */
INLINE uint next_expert(const global float *logits, uint n_experts, uint last, local uint *spare)
{
    uint best = NOBODY;
    for (uint e = LANE; e < n_experts; e += LANES)
        if ((last == NOBODY || before(logits[last], last, logits[e], e)) &&
            (best == NOBODY || before(logits[e], e, logits[best], best)))
            best = e;
#ifdef GPU_STYLE
    spare[LANE] = best;
    MEET();
    for (uint n = LANES / 2; n > 0; n /= 2) {
        if (LANE < n) {
            uint a = spare[LANE], b = spare[LANE + n];
            if (b != NOBODY && (a == NOBODY || before(logits[b], b, logits[a], a)))
                spare[LANE] = b;
        }
        MEET();
    }
    best = spare[0];
    MEET();
#endif
    return best;
}

/* Groups: (tokens). */
KERNEL route(const global float *all_logits, global int *all_ids, ulong ids_base, global float *all_weights,
                  uint n_experts, uint n_used, uint renormalise, float scale)
{
    local float spare[LANES];
    local uint spare_ids[LANES];
    size_t t = get_group_id(0);
    const global float *logits = all_logits + t * n_experts;
    global int *ids = all_ids + ids_base + t * n_used;
    global float *weights = all_weights + t * n_used;
    uint last = NOBODY;
    float largest = 0, used = 0, sum = 0;
    for (uint s = 0; s < n_used; s++) {
        last = next_expert(logits, n_experts, last, spare_ids);
        if (s == 0) {
            largest = logits[last];
            for (uint e = LANE; e < n_experts; e += LANES)
                sum += exp(logits[e] - largest);
            sum = lanes_sum(sum, spare);
        }
        float share = exp(logits[last] - largest) / sum;
        used += share;
        if (LANE == 0) {
            ids[s] = (int)last;
            weights[s] = share;
        }
    }
    if (LANE == 0)
        for (uint s = 0; s < n_used; s++)
            weights[s] = (renormalise ? weights[s] / used : weights[s]) * scale;
}

/* An id from memory, kept inside the stack. */
INLINE uint expert_of(const global int *ids, uint pair, uint n_experts)
{
    int id = ids[pair];
    return id < 0 ? 0 : min((uint)id, n_experts - 1);
}

/* Sorts pairs (token, slot) by expert, ascending inside, and cuts every expert's into tiles of up to tile_pairs:
 * tiles[0] = (their number, -, -, -), then (expert, first in `pairs`, count, -). starts [E + 1] is spare room. One group. */
KERNEL make_tiles(const global int *all_ids, ulong ids_base, uint n_pairs, uint n_experts, uint tile_pairs,
                       global uint *starts, global uint *pairs, global uint4 *tiles)
{
    const global int *ids = all_ids + ids_base;
#ifdef GPU_STYLE
    for (uint e = LANE; e < n_experts; e += LANES) {
        uint n = 0;
        for (uint p = 0; p < n_pairs; p++)
            n += expert_of(ids, p, n_experts) == e;
        starts[e + 1] = n;
    }
#else
    for (uint e = 0; e < n_experts; e++)
        starts[e + 1] = 0;
    for (uint p = 0; p < n_pairs; p++)
        starts[expert_of(ids, p, n_experts) + 1]++;
#endif
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (LANE == 0) {
        uint n_tiles = 0;
        starts[0] = 0;
        for (uint e = 0; e < n_experts; e++) {
            uint n = starts[e + 1], first = starts[e];
            for (uint i = 0; i < n; i += tile_pairs)
                tiles[++n_tiles] = (uint4)(e, first + i, min(n - i, tile_pairs), 0);
            starts[e + 1] = first + n;
        }
        tiles[0] = (uint4)(n_tiles, 0, 0, 0);
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
#ifdef GPU_STYLE
    for (uint e = LANE; e < n_experts; e += LANES)
        for (uint p = 0, at = starts[e]; p < n_pairs && at < starts[e + 1]; p++)
            if (expert_of(ids, p, n_experts) == e)
                pairs[at++] = p;
#else
    /* starts[e] runs to the end of its bucket: nobody needs it afterwards. */
    for (uint p = 0; p < n_pairs; p++)
        pairs[starts[expert_of(ids, p, n_experts)]++] = p;
#endif
}
