/* fuzz_prof.c: any bytes as a packed profile: a sentence, or a profile whose numbers add up to less than
 * 2^63, whose experts there are, and that packs to what gives it again. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/prof_pack.h"
#include "tests/fuzz/fuzz.h"

static void check_numbers(const struct prof *p)
{
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (int op = 0; op < PROF_N_OPS; op++) {
            struct prof_entry sum = prof_sum(p, (enum prof_phase)phase, (enum prof_op)op);
            if (sum.ns > INT64_MAX || sum.calls > INT64_MAX || sum.bytes > INT64_MAX)
                abort();
        }
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) {
        if (p->repeats[layer] > p->n_followed * p->shape.n_used)
            abort();
        for (uint32_t k = 0; k < p->shape.n_used; k++)
            if (prof_newest(p, layer)[k] >= p->shape.n_experts)
                abort();
    }
    if (p->n_recent > PROF_RECENT)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = {0};
    struct prof *p = prof_unpack(data, n, &err);
    if (!p) {
        if (!err.text[0])
            abort();
        return 0;
    }
    check_numbers(p);
    struct buf packed = {0}, again = {0};
    if (!prof_pack(p, &packed, &err))
        abort();
    struct prof *back = prof_unpack(packed.data, packed.len, &err);
    if (!back || !prof_pack(back, &again, &err) || again.len != packed.len ||
        memcmp(again.data, packed.data, again.len) != 0)
        abort();
    prof_free(back);
    prof_free(p);
    buf_fini(&packed);
    buf_fini(&again);
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    static const struct prof_shape shapes[] = {{0, 0, 0}, {4, 0, 0}, {3, 8, 2}, {2, 200, 8}};
    if (i < 0 || i >= (int)(sizeof shapes / sizeof *shapes))
        return;
    struct prof *p = prof_new(&shapes[i], NULL);
    for (int phase = 0; phase < PROF_N_PHASES; phase++) {
        p->n_tokens[phase] = 300;
        p->wall_ns[phase] = 77000000;
        for (uint32_t layer = 0; layer <= shapes[i].n_layers; layer++)
            for (int op = 0; op < PROF_N_OPS; op += 1 + phase)
                prof_add(p, (enum prof_phase)phase, layer, (enum prof_op)op, 1000u * (layer + 1), 4096);
        for (uint32_t k = 0; k < shapes[i].n_layers * shapes[i].n_experts; k += 3)
            prof_pairs(p, (enum prof_phase)phase, 0)[k] = k;
    }
    for (uint32_t k = 0; k < shapes[i].n_layers * shapes[i].n_used; k++)
        p->newest[k] = (uint16_t)(k % shapes[i].n_experts);
    p->n_followed = shapes[i].n_experts ? 299 : 0;
    p->n_recent = 300;
    for (int k = 0; k < PROF_RECENT; k++)
        p->recent_us[k] = 1000 + (uint32_t)k % 7;
    prof_pack(p, out, NULL);
    prof_free(p);
}
