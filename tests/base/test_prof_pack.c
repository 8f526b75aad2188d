/* Packed profiles: what goes in comes out, nothing else is taken, and how many bytes it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/prof_pack.h"

static uint64_t state_of_chance = 1;

static uint64_t chance(uint64_t n) /* xorshift64*, Vigna, public domain */
{
    state_of_chance ^= state_of_chance >> 12;
    state_of_chance ^= state_of_chance << 25;
    state_of_chance ^= state_of_chance >> 27;
    return ((state_of_chance * 0x2545F4914F6CDD1Du) >> 33) % n;
}

/* Of all sizes, and often 0. */
static uint64_t any_number(void)
{
    uint64_t v = chance(1u << 31) << chance(18) >> chance(31);
    return chance(3) ? v : 0;
}

static void fill(struct prof *p)
{
    const struct prof_shape *s = &p->shape;
    p->timer_ns = chance(100);
    for (int phase = 0; phase < PROF_N_PHASES; phase++) {
        p->n_tokens[phase] = chance(3) ? chance(1000) : 0;
        p->wall_ns[phase] = any_number() / 1000 * 1000;
        for (uint32_t layer = 0; layer <= s->n_layers; layer++)
            for (int op = 0; op < PROF_N_OPS; op++)
                if (chance(2))
                    *prof_at(p, (enum prof_phase)phase, layer, (enum prof_op)op) =
                        (struct prof_entry){any_number() / 1000 * 1000, chance(1u << 31), any_number()};
        for (uint32_t layer = 0; layer < s->n_layers; layer++)
            for (uint32_t e = 0; e < s->n_experts; e++)
                prof_pairs(p, (enum prof_phase)phase, layer)[e] = chance(3) ? 0 : chance(1u << chance(20));
    }
    if (s->n_experts)
        p->n_followed = chance(1000);
    for (uint32_t layer = 0; layer < s->n_layers && s->n_experts; layer++) {
        p->repeats[layer] = chance(p->n_followed * s->n_used + 1);
        for (uint32_t k = 0; k < s->n_used && p->n_tokens[PROF_DECODE]; k++)
            prof_newest(p, layer)[k] = (uint16_t)chance(s->n_experts);
    }
    p->n_recent = p->n_tokens[PROF_DECODE];
    for (uint64_t i = 0; i < p->n_recent; i++)
        p->recent_us[i % PROF_RECENT] = (uint32_t)any_number();
}

static void assert_same(const struct prof *a, const struct prof *b)
{
    const struct prof_shape *s = &a->shape;
    assert_memory_equal(s, &b->shape, sizeof *s);
    assert_memory_equal(a->n_tokens, b->n_tokens, sizeof a->n_tokens);
    assert_memory_equal(a->wall_ns, b->wall_ns, sizeof a->wall_ns);
    assert_int_equal(a->timer_ns, b->timer_ns);
    assert_int_equal(a->n_followed, b->n_followed);
    size_t n_entries = (size_t)PROF_N_PHASES * (s->n_layers + 1) * PROF_N_OPS;
    assert_memory_equal(a->entry, b->entry, n_entries * sizeof *a->entry);
    size_t n_pairs = (size_t)PROF_N_PHASES * s->n_layers * s->n_experts;
    if (n_pairs)
        assert_memory_equal(a->pairs, b->pairs, n_pairs * sizeof *a->pairs);
    if (n_pairs)
        assert_memory_equal(a->repeats, b->repeats, s->n_layers * sizeof *a->repeats);
    if (s->n_layers && s->n_used)
        assert_memory_equal(a->newest, b->newest, (size_t)s->n_layers * s->n_used * sizeof *a->newest);
    uint64_t n = a->n_recent < PROF_RECENT ? a->n_recent : PROF_RECENT;
    assert_int_equal(b->n_recent, n);
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(a->recent_us[(a->n_recent - n + i) % PROF_RECENT], b->recent_us[i]);
}

static struct prof *back_of(const struct buf *bytes)
{
    struct err err = {0};
    struct prof *back = prof_unpack(bytes->data, bytes->len, &err);
    if (!back)
        fail_msg("%s", err.text);
    return back;
}

static struct prof_shape any_shape(int i)
{
    static const struct prof_shape edges[] = {{0, 0, 0},
                                              {1, 0, 0},
                                              {0, 8, 2},
                                              {1, 1, 1},
                                              {1, 1, 0},
                                              {PROF_MAX_LAYERS, 0, 0},
                                              {2, PROF_MAX_EXPERTS, 8},
                                              {2, 300, 300}};
    if (i < (int)(sizeof edges / sizeof *edges))
        return edges[i];
    struct prof_shape s = {.n_layers = (uint32_t)chance(40),
                           .n_experts = (uint32_t)chance(2) * (1 + (uint32_t)chance(70))};
    s.n_used = s.n_experts ? (uint32_t)chance(s.n_experts + 1) : 0;
    return s;
}

static void prof_pack__unpack__gives_back_what_was_packed(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        struct prof_shape shape = any_shape(i);
        struct prof *p = prof_new(&shape, NULL);
        struct buf bytes = {0};
        if (i % 7)
            fill(p);
        assert_true(prof_pack(p, &bytes, NULL));
        struct prof *back = back_of(&bytes);
        assert_same(p, back);
        struct buf again = {0};
        assert_true(prof_pack(back, &again, NULL));
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        prof_free(back);
        prof_free(p);
        buf_fini(&bytes);
        buf_fini(&again);
    }
}

/* The ring is that of the turn, not of the tokens before it; newest means nothing before a token. */
static void prof_pack__pack__leaves_out_what_is_not_of_the_turn(void **state)
{
    (void)state;
    struct prof *p = prof_new(&(struct prof_shape){1, 4, 2}, NULL);
    p->n_recent = PROF_RECENT + 10;
    for (int i = 0; i < PROF_RECENT; i++)
        p->recent_us[i] = 1000 + (uint32_t)i;
    prof_newest(p, 0)[0] = 3;
    struct buf bytes = {0};
    prof_pack(p, &bytes, NULL);
    struct prof *back = back_of(&bytes);
    assert_int_equal(back->n_recent, 0);
    assert_int_equal(prof_newest(back, 0)[0], 0);
    prof_free(back);

    buf_truncate(&bytes, 0);
    p->n_tokens[PROF_DECODE] = 12;
    prof_pack(p, &bytes, NULL);
    back = back_of(&bytes);
    assert_int_equal(back->n_recent, 12);
    assert_int_equal(back->recent_us[0], 1000 + PROF_RECENT - 2);
    assert_int_equal(back->recent_us[2], 1000);
    assert_int_equal(back->recent_us[11], 1009);
    assert_int_equal(prof_newest(back, 0)[0], 3);
    prof_free(back);
    prof_free(p);
    buf_fini(&bytes);
}

/* Numbers beyond the limits are kept as the limits, times to the microsecond. */
static void prof_pack__pack__rounds_and_limits(void **state)
{
    (void)state;
    struct prof *p = prof_new(&(struct prof_shape){1, 2, 1}, NULL);
    *prof_at(p, PROF_DECODE, 0, PROF_QKV) = (struct prof_entry){1499, UINT64_MAX, UINT64_MAX};
    *prof_at(p, PROF_DECODE, 1, PROF_SAMPLE) = (struct prof_entry){UINT64_MAX, 1, 0};
    *prof_at(p, PROF_PREFILL, 0, PROF_NORM) = (struct prof_entry){500, 1, 0};
    p->n_tokens[PROF_DECODE] = p->wall_ns[PROF_DECODE] = p->timer_ns = p->n_followed = p->repeats[0] =
        UINT64_MAX;
    prof_pairs(p, PROF_DECODE, 0)[1] = UINT64_MAX;
    struct buf bytes = {0};
    prof_pack(p, &bytes, NULL);
    struct prof *back = back_of(&bytes);
    assert_int_equal(prof_at(back, PROF_DECODE, 0, PROF_QKV)->ns, 1000);
    assert_int_equal(prof_at(back, PROF_DECODE, 0, PROF_QKV)->calls, PROF_PACK_MAX_COUNT);
    assert_int_equal(prof_at(back, PROF_DECODE, 0, PROF_QKV)->bytes, PROF_PACK_MAX);
    assert_int_equal(prof_at(back, PROF_DECODE, 1, PROF_SAMPLE)->ns, PROF_PACK_MAX / 1000 * 1000);
    assert_int_equal(prof_at(back, PROF_PREFILL, 0, PROF_NORM)->ns, 1000);
    assert_int_equal(prof_pairs(back, PROF_DECODE, 0)[1], PROF_PACK_MAX_COUNT);
    assert_int_equal(back->repeats[0], PROF_PACK_MAX_COUNT);
    prof_free(back);
    prof_free(p);
    buf_fini(&bytes);
}

static void prof_pack__pack__refuses_what_is_too_large(void **state)
{
    (void)state;
    struct prof *p = prof_new(&(struct prof_shape){PROF_MAX_LAYERS, PROF_MAX_EXPERTS, 8}, NULL);
    struct buf bytes = {0};
    struct err err = {0};
    buf_puts(&bytes, "x");
    assert_true(prof_pack(p, &bytes, &err)); /* all zero: it fits */
    buf_truncate(&bytes, 1);
    for (uint32_t layer = 0; layer < PROF_MAX_LAYERS; layer++)
        for (uint32_t e = 0; e < PROF_MAX_EXPERTS; e++)
            prof_pairs(p, PROF_DECODE, layer)[e] = 1;
    assert_false(prof_pack(p, &bytes, &err));
    assert_int_equal(err.code, ERR_RUNTIME);
    assert_int_equal(bytes.len, 1);
    buf_fini(&bytes);
    prof_free(p);
}

static void assert_refused(const void *bytes, size_t n, const char *words)
{
    struct err err = {0};
    assert_null(prof_unpack(bytes, n, &err));
    assert_int_equal(err.code, ERR_DATABASE);
    if (!strstr(err.text, words))
        fail_msg("expected \"%s\" in: %s", words, err.text);
}

static void prof_pack__unpack__refuses_every_part_and_every_more(void **state)
{
    (void)state;
    struct prof *p = prof_new(&(struct prof_shape){3, 5, 2}, NULL);
    fill(p);
    p->n_tokens[PROF_DECODE] = 3;
    struct buf bytes = {0};
    prof_pack(p, &bytes, NULL);
    for (size_t n = 0; n < bytes.len; n++) {
        char *part = mem_need(n);
        memcpy(part, bytes.data, n);
        assert_refused(part, n, "damaged");
        mem_free(part);
    }
    buf_putc(&bytes, 0);
    assert_refused(bytes.data, bytes.len, "damaged");
    bytes.data[0] = 2;
    assert_refused(bytes.data, bytes.len, "use the version that wrote it");
    prof_free(p);
    buf_fini(&bytes);
}

static void prof_pack__unpack__refuses_numbers_beyond_the_limits(void **state)
{
    (void)state;
#define REFUSED(...)                                                                                         \
    assert_refused((const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}),       \
                   "damaged")
    REFUSED(1, 0x81, 0x08, 0, 0, 0);                                        /* 1025 layers */
    REFUSED(1, 1, 0x81, 0x20, 0, 0);                                        /* 4097 experts */
    REFUSED(1, 1, 2, 3, 0);                                                 /* 3 used of 2 */
    REFUSED(1, 0x80, 0x08, 0x80, 0x20, 8, 0, 0, 0, 0);                      /* much memory for few bytes */
    REFUSED(1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02); /* more than 64 bits */
    REFUSED(1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0);
    REFUSED(1, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 0x04, 0, 0, 0, 0);          /* operation 16 */
    REFUSED(1, 1, 0, 0, 0, 0, 0, 1, 0, 2);                               /* zeros beyond the column */
    REFUSED(1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0);                            /* a count below zero */
    REFUSED(1, 1, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 0); /* expert 2 of 0 and 1 */
#undef REFUSED
}

/* The numbers are in files that people have: nobody may be renamed or moved. */
static void prof_pack__ops__keep_their_numbers(void **state)
{
    (void)state;
    static const char *const names[] = {"embed", "norm",         "qkv",     "rope",  "attention", "o_proj",
                                        "ffn",   "sync",         "router",  "copy",  "gate_up",   "silu",
                                        "down",  "weighted_sum", "lm_head", "sample"};
    for (int op = 0; op < (int)(sizeof names / sizeof *names); op++)
        assert_string_equal(prof_op_name((enum prof_op)op), names[op]);
}

/* ---- how many bytes ---- */

/* Times of an operation vary by some per cent over the layers, the ways of experts by much more. */
static void add_ops(struct prof *p, enum prof_phase phase, const enum prof_op *ops, size_t n_ops,
                    uint64_t calls, uint64_t us)
{
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
        for (size_t i = 0; i < n_ops; i++)
            *prof_at(p, phase, layer, ops[i]) =
                (struct prof_entry){(us + chance(us / 5)) * calls * 1000, calls,
                                    (1 + i) * calls * (1000000 + layer % 2 * 200000)};
    *prof_at(p, phase, p->shape.n_layers, PROF_EMBED) = (struct prof_entry){us * 1000, calls, calls * 4096};
    *prof_at(p, phase, p->shape.n_layers, PROF_LM_HEAD) =
        (struct prof_entry){us * 90000, calls, calls * 300000000};
    *prof_at(p, phase, p->shape.n_layers, PROF_SAMPLE) = (struct prof_entry){us * 9000, calls, 0};
}

static void route(struct prof *p, enum prof_phase phase, uint64_t n_tokens)
{
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
        for (uint64_t i = 0; i < n_tokens * p->shape.n_used; i++) {
            uint64_t a = chance(p->shape.n_experts), b = chance(p->shape.n_experts);
            prof_pairs(p, phase, layer)[(a < b ? a : b)]++; /* some are asked more often */
        }
}

static size_t bytes_of(struct prof_shape shape, const enum prof_op *ops, size_t n_ops)
{
    struct prof *p = prof_new(&shape, NULL);
    p->n_tokens[PROF_PREFILL] = 500;
    p->n_tokens[PROF_DECODE] = 300;
    p->wall_ns[PROF_PREFILL] = 4000000000;
    p->wall_ns[PROF_DECODE] = 20000000000;
    add_ops(p, PROF_PREFILL, ops, n_ops, 1, 5000);
    add_ops(p, PROF_DECODE, ops, n_ops, 300, 150);
    route(p, PROF_PREFILL, 500);
    route(p, PROF_DECODE, 300);
    p->n_followed = shape.n_experts ? 299 : 0;
    for (uint32_t layer = 0; layer < shape.n_layers && shape.n_experts; layer++) {
        p->repeats[layer] = 600 + chance(300);
        for (uint32_t k = 0; k < shape.n_used; k++)
            prof_newest(p, layer)[k] = (uint16_t)chance(shape.n_experts);
    }
    p->n_recent = 300;
    for (int i = 0; i < PROF_RECENT; i++)
        p->recent_us[i] = (uint32_t)(66000 + chance(3000));
    struct buf bytes = {0};
    assert_true(prof_pack(p, &bytes, NULL));
    size_t n = bytes.len;
    buf_fini(&bytes);
    prof_free(p);
    return n;
}

/* What the header says it takes. */
static void prof_pack__pack__is_small(void **state)
{
    (void)state;
    static const enum prof_op dense[] = {PROF_NORM,      PROF_QKV,    PROF_ROPE,
                                         PROF_ATTENTION, PROF_O_PROJ, PROF_FFN};
    static const enum prof_op moe[] = {PROF_NORM,   PROF_QKV,     PROF_ROPE, PROF_ATTENTION,   PROF_O_PROJ,
                                       PROF_ROUTER, PROF_GATE_UP, PROF_DOWN, PROF_WEIGHTED_SUM};
    size_t n_dense = bytes_of((struct prof_shape){28, 0, 0}, dense, 6);
    size_t n_moe = bytes_of((struct prof_shape){48, 128, 8}, moe, 9);
    print_message("packed: 28 dense layers %zu bytes, 48 layers of 128 experts %zu bytes\n", n_dense, n_moe);
    assert_in_range(n_dense, 100, 3000);
    assert_in_range(n_moe, 1000, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prof_pack__unpack__gives_back_what_was_packed),
        cmocka_unit_test(prof_pack__pack__leaves_out_what_is_not_of_the_turn),
        cmocka_unit_test(prof_pack__pack__rounds_and_limits),
        cmocka_unit_test(prof_pack__pack__refuses_what_is_too_large),
        cmocka_unit_test(prof_pack__unpack__refuses_every_part_and_every_more),
        cmocka_unit_test(prof_pack__unpack__refuses_numbers_beyond_the_limits),
        cmocka_unit_test(prof_pack__ops__keep_their_numbers),
        cmocka_unit_test(prof_pack__pack__is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
