/* The timeline and its shelf: what was saved comes back bit for bit, trouble costs only computing, and
 * nothing that is lent changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/timeline.h"
#include "kernels_cpu/backend_cpu.h"
#include "tests/engine/model_edit.h"
#include "tests/support/forced_cpu.h"
#include "tests/support/mem_shelf.h"
#include "tests/support/tiny_model.h"

#define N_CTX 256
#define N_TOKENS 150 /* two whole pages and a tail */

static struct backend cpu;
static struct model *model;
static int32_t ids[N_CTX], other[N_CTX]; /* other: the same up to FORK */
static struct mem_shelf shelf;
#define FORK 100

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < N_CTX; i++) {
        ids[i] = 3 + i * 37 % (TINY_N_VOCAB - 3);
        other[i] = i < FORK ? ids[i] : 3 + i * 41 % (TINY_N_VOCAB - 3);
    }
    struct buf file = {0};
    struct tiny_options options = {.arch = "qwen3", .type = DTYPE_F32, .seed = 3};
    if (!backend_cpu_open(&cpu, 2, forced_cpu(), NULL) || !tiny_model_make(&options, &file))
        return -1;
    model = edit_load(&file, &cpu, NULL, NULL);
    buf_fini(&file);
    return model ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(model);
    backend_close(&cpu);
    return 0;
}

static int open_shelf(void **state)
{
    (void)state;
    mem_shelf_init(&shelf);
    return 0;
}

static int close_shelf(void **state)
{
    (void)state;
    return mem_shelf_fini(&shelf) ? 0 : -1;
}

static struct timeline *open_as(enum dtype kv_type, uint32_t n_ctx, bool with_shelf)
{
    struct timeline_options options = {
        .n_ctx = n_ctx, .kv_type = kv_type, .n_batch = 8, .shelf = with_shelf ? &shelf.shelf : NULL};
    struct timeline *t = timeline_new(model, &options, NULL);
    assert_non_null(t);
    return t;
}

static struct timeline *open_timeline(void)
{
    return open_as(DTYPE_F16, N_CTX, true);
}

static void eval(struct timeline *t, const int32_t *tokens, size_t n)
{
    assert_true(timeline_eval(t, tokens, n, NULL, NULL, NULL));
}

/* A chat of n tokens that ends in good order. */
static void save_chat(enum dtype kv_type, const int32_t *tokens, size_t n)
{
    struct timeline *t = open_as(kv_type, N_CTX, true);
    eval(t, tokens, n);
    assert_int_equal(timeline_save(t), 0);
    timeline_free(t);
}

/* Keeps, loads, computes the rest, as a turn does. Returns the rows that were there before computing. */
static size_t turn(struct timeline *t, const int32_t *tokens, size_t n, struct load_stats *stats)
{
    struct load_stats mine;
    stats = stats ? stats : &mine;
    size_t kept = timeline_keep(t, tokens, n);
    size_t n_there = timeline_load(t, tokens, n, NULL, stats);
    assert_int_equal(n_there, kept + stats->n_tokens);
    assert_int_equal(timeline_length(t), n_there);
    eval(t, tokens + n_there, n - n_there);
    return n_there;
}

static void assert_as_uninterrupted(struct timeline *t, enum dtype kv_type, const int32_t *tokens, size_t n)
{
    struct timeline *fresh = open_as(kv_type, N_CTX, false);
    eval(fresh, tokens, n);
    assert_memory_equal(timeline_logits(t), timeline_logits(fresh), TINY_N_VOCAB * sizeof(float));
    timeline_free(fresh);
}

/* --- loading --- */

static void kv_shelf__load__gives_the_same_bits(void **state)
{
    (void)state;
    static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
    static const size_t lengths[] = {N_TOKENS, 65, 2, 63, 64, 128, 129, N_CTX};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t k = 0; cpu.ops->supports_kv(cpu.ctx, types[i]) && k < (i == 0 ? 8 : 2); k++) {
            size_t n = lengths[k];
            assert_true(mem_shelf_fini(&shelf));
            mem_shelf_init(&shelf);
            save_chat(types[i], ids, n);
            assert_int_equal(shelf.n_blocks, (n + 63) / 64);
            struct timeline *t = open_as(types[i], N_CTX, true);
            assert_int_equal(turn(t, ids, n, NULL), n - 1);
            assert_as_uninterrupted(t, types[i], ids, n);
            timeline_free(t);
        }
}

static void kv_shelf__load__damaged_block_ends_the_prefix_there(void **state)
{
    (void)state;
    save_chat(DTYPE_F16, ids, N_TOKENS);
    for (size_t bad = 0; bad < 3; bad++) {
        struct load_stats stats;
        struct timeline *t = open_timeline();
        shelf.blocks[bad].is_damaged = true;
        assert_int_equal(turn(t, ids, N_TOKENS, &stats), 64 * bad);
        assert_int_equal(stats.damaged_blocks, 1);
        assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
        timeline_free(t);
        shelf.blocks[bad].is_damaged = false;
    }
}

static void kv_shelf__load__failure_keeps_what_memory_has(void **state)
{
    (void)state;
    struct load_stats stats;
    save_chat(DTYPE_F16, ids, N_TOKENS);
    for (size_t bad = 1; bad < 3; bad++) {
        struct timeline *t = open_timeline();
        shelf.room = 0;
        eval(t, ids, FORK);
        shelf.blocks[bad].is_damaged = true;
        assert_int_equal(turn(t, ids, N_TOKENS, &stats), bad == 1 ? FORK : 128);
        assert_int_equal(stats.damaged_blocks, 1);
        assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
        timeline_free(t);
        shelf.blocks[bad].is_damaged = false;
    }
}

static void kv_shelf__load__takes_the_first_rows_of_a_block(void **state)
{
    (void)state;
    save_chat(DTYPE_F16, ids, N_TOKENS);
    struct timeline *t = open_timeline();
    struct load_stats stats;
    assert_int_equal(turn(t, other, N_TOKENS, &stats), FORK);
    assert_int_equal(stats.n_tokens, FORK);
    assert_int_equal(stats.foreign_tokens, 0);
    assert_as_uninterrupted(t, DTYPE_F16, other, N_TOKENS);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_blocks, 5); /* the page with the fork has a name of its own, and so the tail */
    assert_int_equal(shelf.n_again, 0);
    timeline_free(t);
    t = open_timeline();
    assert_int_equal(turn(t, other, N_TOKENS, NULL), N_TOKENS - 1);
    assert_as_uninterrupted(t, DTYPE_F16, other, N_TOKENS);
    timeline_free(t);
}

static void kv_shelf__load__continues_a_part_of_a_page(void **state)
{
    (void)state;
    struct load_stats stats;
    save_chat(DTYPE_F16, ids, N_TOKENS);
    for (size_t n_had = 1; n_had < N_TOKENS - 1; n_had += 31) {
        struct timeline *t = open_timeline();
        eval(t, ids, n_had);
        assert_int_equal(turn(t, ids, N_TOKENS, &stats), N_TOKENS - 1);
        assert_int_equal(stats.n_tokens, N_TOKENS - 1 - n_had);
        assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
        timeline_free(t);
    }
}

static void kv_shelf__load__memory_has_more(void **state)
{
    (void)state;
    struct load_stats stats;
    save_chat(DTYPE_F16, ids, 80);
    struct timeline *t = open_timeline();
    eval(t, ids, FORK);
    assert_int_equal(turn(t, ids, N_TOKENS, &stats), FORK);
    assert_int_equal(stats.n_tokens, 0);
    assert_int_equal(shelf.n_fetches, 0);
    timeline_free(t);
}

static void kv_shelf__load__leaves_one_to_compute(void **state)
{
    (void)state;
    struct load_stats stats;
    save_chat(DTYPE_F16, ids, 128);
    struct timeline *t = open_timeline();
    assert_int_equal(timeline_load(t, ids, 1, NULL, &stats), 0);
    assert_int_equal(timeline_load(t, ids, 0, NULL, &stats), 0);
    assert_int_equal(timeline_load(t, ids, 64, NULL, &stats), 63);
    assert_int_equal(timeline_load(t, ids, 65, NULL, &stats), 64);
    assert_null(timeline_logits(t));
    timeline_free(t);
}

static void kv_shelf__load__costs_decide(void **state)
{
    (void)state;
    struct load_stats stats;
    double token_bytes = (double)timeline_kv_bytes(model, DTYPE_F16);
    save_chat(DTYPE_F16, ids, 192);
    shelf.prefill_ns = 1000;
    static const struct {
        double factor; /* cost of reading a token over that of computing it */
        size_t n, expected;
    } cases[] = {{1.1, 193, 64}, {0.9, 193, 192}, {0.5, 128 + 16, 128}, {0.2, 128 + 16, 128 + 15}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct timeline *t = open_timeline();
        shelf.fetch_ns = cases[i].factor * shelf.prefill_ns / token_bytes;
        assert_int_equal(timeline_load(t, ids, cases[i].n, NULL, &stats), cases[i].expected);
        timeline_free(t);
    }
    struct timeline *t = open_timeline();
    eval(t, ids, 40); /* 24 rows for the price of 64: not even the first block */
    assert_int_equal(timeline_load(t, ids, 193, NULL, &stats), 192);
    shelf.fetch_ns = shelf.prefill_ns / token_bytes / 2;
    assert_int_equal(timeline_keep(t, ids, 41), 40);
    assert_int_equal(timeline_load(t, ids, 193, NULL, &stats), 40);
    timeline_free(t);
}

/* A shelf reads files: what it says it has found is looked at. */
static struct kv_found lie;

static size_t find_lie(void *ctx, const struct kv_hash *parent, const int32_t *tokens, size_t n,
                       const unsigned char owner[KV_OWNER_BYTES], struct kv_found *out, size_t max,
                       const atomic_bool *cancel)
{
    (void)ctx, (void)parent, (void)tokens, (void)n, (void)owner, (void)max, (void)cancel;
    out[0] = lie;
    return 1;
}

static void kv_shelf__load__impossible_blocks(void **state)
{
    (void)state;
    static const uint32_t lies[][2] = {{65, 65}, {64, 0}, {10, 11}, {64, 41}, {UINT32_MAX, 1}, {0, 0}};
    struct load_stats stats;
    save_chat(DTYPE_F16, ids, 64);
    shelf.shelf.find = find_lie;
    struct timeline *t = open_timeline();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        lie = (struct kv_found){.n_tokens = lies[i][0], .n_match = lies[i][1]};
        assert_int_equal(timeline_load(t, ids, 41, NULL, &stats), 0);
    }
    assert_int_equal(shelf.n_fetches, 0);
    lie = (struct kv_found){.n_tokens = 64, .n_match = 40};
    assert_int_equal(timeline_load(t, ids, 41, NULL, &stats), 40);
    timeline_free(t);
}

static void kv_shelf__load__cancelled_between_blocks(void **state)
{
    (void)state;
    struct load_stats stats;
    atomic_bool cancel = false;
    struct eval_control control = {.cancel = &cancel};
    save_chat(DTYPE_F16, ids, N_TOKENS);
    shelf.cancel = &cancel;
    shelf.cancel_at = 1;
    struct timeline *t = open_timeline();
    assert_int_equal(timeline_load(t, ids, N_TOKENS, &control, &stats), 64);
    assert_int_equal(stats.damaged_blocks, 0);
    assert_int_equal(timeline_load(t, ids, N_TOKENS, &control, &stats), 64);
    shelf.cancel = NULL;
    assert_int_equal(turn(t, ids, N_TOKENS, NULL), N_TOKENS - 1);
    assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
    timeline_free(t);
}

static void count_progress(void *arg, size_t done, size_t total)
{
    size_t *seen = arg;
    assert_int_equal(total, N_TOKENS - 1);
    assert_true(done > seen[1]);
    seen[0]++;
    seen[1] = done;
}

static void kv_shelf__load__tells_progress_and_foreign_rows(void **state)
{
    (void)state;
    struct load_stats stats;
    size_t seen[2] = {0};
    struct eval_control control = {.progress = count_progress, .arg = seen};
    save_chat(DTYPE_F16, ids, N_TOKENS);
    shelf.foreign = true;
    struct timeline *t = open_timeline();
    assert_int_equal(timeline_load(t, ids, N_TOKENS, &control, &stats), N_TOKENS - 1);
    assert_int_equal(seen[0], 3);
    assert_int_equal(seen[1], N_TOKENS - 1);
    assert_int_equal(stats.foreign_tokens, N_TOKENS - 1);
    timeline_free(t);
}

/* How many blocks hold rows of other kernels, or stand behind such rows, in a bit each; and how many are
 * kept. */
static size_t mixed_blocks(void)
{
    size_t bits = 0;
    for (size_t i = 0; i < shelf.n_blocks; i++)
        bits |= (size_t)shelf.blocks[i].b.is_mixed << i;
    return bits;
}

static void kv_shelf__save__rows_of_other_kernels_make_a_block_mixed(void **state)
{
    (void)state;
    int32_t others[N_TOKENS];
    for (size_t i = 0; i < N_TOKENS; i++)
        others[i] = i < 70 ? ids[i] : ids[N_TOKENS - 1 - (i - 70)];
    others[70] = ids[70] + 1;
    save_chat(DTYPE_F16, ids, 40);
    assert_int_equal(shelf.n_blocks, 1);
    shelf.foreign = true;
    struct timeline *t = open_timeline();
    struct load_stats stats;
    turn(t, ids, N_TOKENS, &stats);
    assert_int_equal(stats.foreign_tokens, 40);
    assert_int_equal(timeline_save(t), 0);
    size_t n = shelf.n_blocks; /* the tail of 40, and what is of three pages */
    assert_int_equal(n, 4);
    assert_int_equal(mixed_blocks(), 0xE);

    /* What is cut off is forgotten; what is in front of it is not. */
    shelf.foreign = false;
    turn(t, others, N_TOKENS, NULL);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(mixed_blocks(), ((size_t)1 << shelf.n_blocks) - 2);
    n = shelf.n_blocks;
    others[0] = ids[0] + 1;
    turn(t, others, N_TOKENS, NULL);
    assert_int_equal(timeline_save(t), 0);
    assert_true(shelf.n_blocks > n);
    assert_int_equal(mixed_blocks(), ((size_t)1 << n) - 2);
    timeline_free(t);
}

static void kv_shelf__load__few_rows_of_another_foreign_text_stay(void **state)
{
    (void)state;
    int32_t others[N_TOKENS];
    memcpy(others, ids, sizeof others);
    others[20] = ids[20] + 1;
    save_chat(DTYPE_F16, ids, 40);
    struct load_stats stats;
    shelf.foreign = true;
    struct timeline *t = open_timeline();
    assert_int_equal(turn(t, others, 60, &stats), 0);
    assert_int_equal(stats.damaged_blocks, 0);
    timeline_free(t);
    t = open_timeline(); /* its own text is another matter, short as it is */
    assert_int_equal(turn(t, ids, 41, &stats), 40);
    timeline_free(t);
    shelf.foreign = false;
    t = open_timeline();
    assert_int_equal(turn(t, others, 60, &stats), 20);
    timeline_free(t);
}

/* --- saving --- */

static void kv_shelf__save__refused_pages_are_offered_again(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    shelf.room = 0;
    eval(t, ids, 140);
    assert_int_equal(shelf.n_blocks, 0);
    assert_true(shelf.n_refused > 0);
    assert_int_equal(timeline_save(t), 3);
    shelf.room = 1;
    eval(t, ids + 140, 1);
    assert_int_equal(shelf.n_blocks, 2);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_blocks, 3);
    size_t n_offers = shelf.n_offers;
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_offers, n_offers);
    timeline_free(t);
}

static void kv_shelf__save__branches_share_blocks(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    turn(t, ids, N_TOKENS, NULL);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_blocks, 3);
    assert_int_equal(turn(t, other, N_TOKENS, NULL), FORK);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_blocks, 5);
    assert_int_equal(turn(t, ids, N_TOKENS, NULL), N_TOKENS - 1);
    assert_int_equal(timeline_save(t), 0);
    assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
    assert_int_equal(turn(t, other, N_TOKENS, NULL), N_TOKENS - 1);
    assert_as_uninterrupted(t, DTYPE_F16, other, N_TOKENS);
    assert_int_equal(timeline_save(t), 0);
    /* The last token was computed, so the tail was offered once more: the shelf had it. */
    assert_int_equal(shelf.n_blocks, 5);
    assert_true(shelf.n_again <= 2);
    timeline_free(t);
}

static void kv_shelf__save__another_chat_offers_anew(void **state)
{
    (void)state;
    static const unsigned char one[KV_OWNER_BYTES] = {1}, two[KV_OWNER_BYTES] = {2};
    struct timeline *t = open_timeline();
    timeline_set_owner(t, one);
    eval(t, ids, N_TOKENS);
    assert_int_equal(timeline_save(t), 0);
    timeline_set_owner(t, one);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_again, 0);
    timeline_set_owner(t, two);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_again, 3);
    assert_memory_equal(shelf.blocks[2].b.owner, one, sizeof one);
    timeline_free(t);
}

static void kv_shelf__save__what_was_lost_is_offered_anew(void **state)
{
    (void)state;
    atomic_uint n_lost = 0;
    shelf.shelf.n_lost = &n_lost;
    struct timeline *t = open_timeline();
    eval(t, ids, N_TOKENS);
    assert_int_equal(timeline_save(t), 0);
    size_t n_offers = shelf.n_offers;
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_offers, n_offers);
    atomic_fetch_add(&n_lost, 1);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_offers, n_offers + 3);
    timeline_free(t);
}

static void kv_shelf__save__rows_computed_ahead_are_told_apart(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    eval(t, ids, FORK);
    assert_int_equal(timeline_save(t), 0);
    timeline_set_ahead(t, true);
    eval(t, ids + FORK, N_TOKENS - FORK);
    assert_int_equal(timeline_save(t), 0);
    timeline_set_ahead(t, false);
    eval(t, ids + N_TOKENS, 64);
    assert_int_equal(timeline_save(t), 0);
    static const struct {
        size_t n_tokens;
        bool is_ahead;
    } expected[] = {{64, false}, {FORK - 64, false}, {64, true}, {N_TOKENS - 128, true}, {64, false}};
    assert_int_equal(shelf.n_blocks, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(shelf.blocks[i].b.n_tokens, expected[i].n_tokens);
        assert_int_equal(shelf.blocks[i].b.is_ahead, expected[i].is_ahead);
    }
    timeline_free(t);
}

static void kv_shelf__save__blocks_follow_each_other(void **state)
{
    (void)state;
    save_chat(DTYPE_F32, ids, N_TOKENS);
    struct kv_hash parent = shelf.shelf.root;
    for (size_t i = 0; i < 3; i++) {
        const struct kv_block *b = &shelf.blocks[i].b;
        struct kv_hash expected = kv_hash_next(&parent, b->tokens, b->n_tokens);
        assert_int_equal(b->depth, i);
        assert_int_equal(b->n_tokens, i < 2 ? 64 : N_TOKENS % 64);
        assert_int_equal(b->n_bytes, b->n_tokens * timeline_kv_bytes(model, DTYPE_F32));
        assert_memory_equal(b->tokens, ids + 64 * i, b->n_tokens * sizeof *ids);
        assert_true(kv_hash_equal(&b->parent, &parent) && kv_hash_equal(&b->hash, &expected));
        parent = b->hash;
    }
}

static void kv_shelf__save__decoding_allocates_nothing(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    eval(t, ids, 60);
    mem_fail_after(0);
    for (int i = 60; i < 130; i++)
        eval(t, ids + i, 1);
    assert_int_equal(timeline_save(t), 0);
    assert_false(mem_fail_happened());
    mem_fail_after(-1);
    assert_int_equal(shelf.n_blocks, 3);
    timeline_free(t);
}

/* --- lending --- */

/* The shelf (close_shelf) tells when bytes change that it still reads. */
static void kv_shelf__lent__cut_in_the_middle_of_a_page(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    shelf.holds = true;
    eval(t, ids, N_TOKENS);
    timeline_save(t);
    assert_int_equal(turn(t, other, 80, NULL), 79);
    assert_as_uninterrupted(t, DTYPE_F16, other, 80);
    eval(t, other + 80, N_TOKENS - 80);
    assert_as_uninterrupted(t, DTYPE_F16, other, N_TOKENS);
    mem_shelf_store(&shelf);
    assert_int_equal(timeline_save(t), 0);
    mem_shelf_store(&shelf);
    assert_int_equal(turn(t, ids, N_TOKENS, NULL), N_TOKENS - 1);
    assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
    timeline_free(t);
}

static void kv_shelf__lent__pages_never_run_out(void **state)
{
    (void)state;
    int32_t mine[N_CTX];
    struct timeline *t = open_timeline();
    shelf.holds = true;
    for (int round = 0; round < 6; round++) {
        memcpy(mine, ids, sizeof mine);
        mine[0] = 10 + round;
        assert_int_equal(timeline_keep(t, mine, N_CTX), 0);
        eval(t, mine, N_CTX);
        assert_int_equal(timeline_length(t), N_CTX);
    }
    assert_true(shelf.n_ring >= 16 && shelf.n_ring < MEM_SHELF_RING);
    assert_as_uninterrupted(t, DTYPE_F16, mine, N_CTX);
    assert_true(timeline_save(t) > 0);
    mem_shelf_store(&shelf);
    assert_int_equal(timeline_save(t), 0);
    mem_shelf_store(&shelf);
    timeline_free(t);
}

static void kv_shelf__lent__one_tail_at_a_time(void **state)
{
    (void)state;
    struct timeline *t = open_timeline();
    shelf.holds = true;
    eval(t, ids, 10);
    assert_int_equal(timeline_save(t), 0);
    eval(t, ids + 10, 10);
    assert_true(timeline_save(t) > 0);
    mem_shelf_store(&shelf);
    assert_int_equal(timeline_save(t), 0);
    mem_shelf_store(&shelf);
    assert_int_equal(shelf.n_blocks, 2);
    assert_int_equal(shelf.blocks[1].b.n_tokens, 20);
    timeline_free(t);
}

static void kv_shelf__lent__to_another_thread(void **state)
{
    (void)state;
    mem_shelf_start(&shelf);
    struct timeline *t = open_timeline();
    uint32_t random = 7;
    for (int round = 0; round < 40; round++) {
        random = random * 1664525 + 1013904223;
        size_t n = 2 + (random >> 8) % (N_CTX - 1);
        turn(t, round % 2 ? ids : other, n, NULL);
        timeline_save(t);
    }
    turn(t, ids, N_CTX, NULL);
    assert_as_uninterrupted(t, DTYPE_F16, ids, N_CTX);
    timeline_free(t);
    assert_true(mem_shelf_n_blocks(&shelf) >= 5);
}

/* --- edges --- */

static void kv_shelf__context__ends_inside_a_page(void **state)
{
    (void)state;
    struct timeline *t = open_as(DTYPE_F16, 200, true);
    eval(t, ids, 200);
    assert_int_equal(timeline_save(t), 0);
    assert_int_equal(shelf.n_blocks, 4);
    timeline_free(t);
    t = open_as(DTYPE_F16, 200, true);
    assert_int_equal(turn(t, ids, 200, NULL), 199);
    assert_false(timeline_eval(t, ids, 1, NULL, NULL, NULL));
    assert_as_uninterrupted(t, DTYPE_F16, ids, 200);
    timeline_free(t);
    save_chat(DTYPE_F16, ids, N_CTX); /* longer than the context that reads it */
    t = open_as(DTYPE_F16, 200, true);
    assert_int_equal(turn(t, ids, 200, NULL), 199);
    timeline_free(t);
}

/* As a device that does not show its memory: pages go through a copy. */
static void kv_shelf__device__without_host_memory(void **state)
{
    (void)state;
    struct backend_ops ops = *cpu.ops;
    const struct backend_ops *own = cpu.ops;
    ops.buf_host = NULL;
    cpu.ops = &ops;
    save_chat(DTYPE_F16, ids, N_TOKENS);
    assert_int_equal(shelf.n_blocks, 3);
    struct timeline *t = open_timeline();
    assert_int_equal(turn(t, ids, N_TOKENS, NULL), N_TOKENS - 1);
    assert_as_uninterrupted(t, DTYPE_F16, ids, N_TOKENS);
    shelf.holds = true;
    assert_int_equal(turn(t, other, N_TOKENS, NULL), FORK);
    assert_true(timeline_save(t) > 0);
    mem_shelf_store(&shelf);
    assert_int_equal(timeline_save(t), 0);
    mem_shelf_store(&shelf);
    timeline_free(t);
    cpu.ops = own;
}

static void kv_shelf__new__every_allocation_may_fail(void **state)
{
    (void)state;
    struct timeline_options options = {.n_ctx = 128, .kv_type = DTYPE_F16, .shelf = &shelf.shelf};
    bool done = false;
    for (long i = 0; !done; i++) {
        struct err err = {0};
        mem_fail_after(i);
        struct timeline *t = timeline_new(model, &options, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(done == (t != NULL));
        timeline_free(t);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_shelf, close_shelf)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kv_shelf__load__gives_the_same_bits),
        TEST(kv_shelf__load__damaged_block_ends_the_prefix_there),
        TEST(kv_shelf__load__failure_keeps_what_memory_has),
        TEST(kv_shelf__load__takes_the_first_rows_of_a_block),
        TEST(kv_shelf__load__continues_a_part_of_a_page),
        TEST(kv_shelf__load__memory_has_more),
        TEST(kv_shelf__load__leaves_one_to_compute),
        TEST(kv_shelf__load__costs_decide),
        TEST(kv_shelf__load__impossible_blocks),
        TEST(kv_shelf__load__cancelled_between_blocks),
        TEST(kv_shelf__load__tells_progress_and_foreign_rows),
        TEST(kv_shelf__load__few_rows_of_another_foreign_text_stay),
        TEST(kv_shelf__save__rows_of_other_kernels_make_a_block_mixed),
        TEST(kv_shelf__save__refused_pages_are_offered_again),
        TEST(kv_shelf__save__branches_share_blocks),
        TEST(kv_shelf__save__another_chat_offers_anew),
        TEST(kv_shelf__save__what_was_lost_is_offered_anew),
        TEST(kv_shelf__save__rows_computed_ahead_are_told_apart),
        TEST(kv_shelf__save__blocks_follow_each_other),
        TEST(kv_shelf__save__decoding_allocates_nothing),
        TEST(kv_shelf__lent__cut_in_the_middle_of_a_page),
        TEST(kv_shelf__lent__pages_never_run_out),
        TEST(kv_shelf__lent__one_tail_at_a_time),
        TEST(kv_shelf__lent__to_another_thread),
        TEST(kv_shelf__context__ends_inside_a_page),
        TEST(kv_shelf__device__without_host_memory),
        TEST(kv_shelf__new__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
