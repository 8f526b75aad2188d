#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cpu_fixture.h"
#include "engine/base/mem.h"
#include "engine/half.h"
#include "kernels_cpu/cpu_features.h"

#define LAYERS 2 /* per page, so that offsets are not 0 */

struct shape {
    size_t head_dim, n_head, n_kv_head, n_tokens, pos, window;
    enum dtype type;
};

/* Inputs of one shape in one backend. K and V are kept as stored, widened, [KV][position][D]. */
struct world {
    struct shape s;
    struct backend b;
    struct bbuf *pool, *q, *out;
    uint32_t *table;
    float *q_values, *k, *v;
    uint32_t *len; /* the op's */
    struct op_attention op;
};

static const enum dtype types[] = {DTYPE_F16, DTYPE_F32, DTYPE_I8};
#define N_TYPES (sizeof types / sizeof *types)

static size_t n_positions(const struct shape *s)
{
    return s->pos + s->n_tokens;
}

static void write(struct world *w, size_t offset, const void *from, size_t n_bytes)
{
    assert_true(backend_buf_write(&w->b, w->pool, offset, from, n_bytes, NULL));
}

/* Rounds a row to int8 as the cache does, and puts its integers and its scale in place. */
static void put_row_i8(struct world *w, size_t rows, size_t i, float *x, bool seen)
{
    size_t dim = w->s.head_dim;
    float largest = 0, scale;
    int8_t q[512];
    for (size_t d = 0; d < dim; d++)
        largest = fmaxf(largest, fabsf(x[d]));
    scale = largest / 127;
    for (size_t d = 0; d < dim; d++) {
        q[d] = seen ? (int8_t)lrintf(x[d] / scale) : (int8_t)-128;
        x[d] = (float)q[d] * scale;
    }
    scale = seen ? scale : NAN;
    write(w, rows + i * dim, q, dim);
    write(w, rows + KV_BLOCK_TOKENS * dim + i * sizeof scale, &scale, sizeof scale);
}

/* Puts x into row i of a head's rows and leaves in x what is stored there. A row nobody may see is NaN. */
static void put_row(struct world *w, size_t rows, size_t i, float *x, bool seen)
{
    size_t dim = w->s.head_dim;
    uint16_t half[512];
    if (w->s.type == DTYPE_I8) {
        put_row_i8(w, rows, i, x, seen);
        return;
    }
    for (size_t d = 0; d < dim; d++) {
        x[d] = seen ? x[d] : NAN;
        half[d] = f16_from_f32(x[d]);
        x[d] = w->s.type == DTYPE_F16 ? f16_to_f32(half[d]) : x[d];
    }
    if (w->s.type == DTYPE_F16)
        write(w, rows + i * dim * sizeof *half, half, dim * sizeof *half);
    else
        write(w, rows + i * dim * sizeof *x, x, dim * sizeof *x);
}

static size_t slab_bytes(const struct shape *s)
{
    return s->n_kv_head * KV_BLOCK_TOKENS * kv_row_bytes(s->type, s->head_dim);
}

/* Positions nobody may see hold NaN: reading one would show. */
static void fill_cache(struct world *w)
{
    const struct shape *s = &w->s;
    size_t slab = slab_bytes(s), n = n_positions(s);
    size_t padded = (n + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS * KV_BLOCK_TOKENS;
    size_t begin = s->window && s->pos + 1 > s->window ? s->pos + 1 - s->window : 0;
    float unseen[512] = {0};
    w->k = mem_need(s->n_kv_head * n * s->head_dim * sizeof *w->k);
    w->v = mem_need(s->n_kv_head * n * s->head_dim * sizeof *w->v);
    fixture_normal(w->k, s->n_kv_head * n * s->head_dim, 2);
    fixture_normal(w->v, s->n_kv_head * n * s->head_dim, 3);
    for (size_t head = 0; head < s->n_kv_head; head++) {
        for (size_t p = 0; p < padded; p++) {
            size_t rows =
                w->table[p / KV_BLOCK_TOKENS] * LAYERS * 2 * slab + 2 * slab + head * (slab / s->n_kv_head);
            size_t i = (head * n + p) * s->head_dim;
            bool seen = p >= begin && p < n;
            put_row(w, rows, p % KV_BLOCK_TOKENS, p < n ? w->k + i : unseen, seen);
            put_row(w, rows + slab, p % KV_BLOCK_TOKENS, p < n ? w->v + i : unseen, seen);
        }
    }
}

static struct world make_world(struct shape s, int n_threads, const char *isa)
{
    struct world w = {.s = s, .b = fixture_open(n_threads, isa)};
    struct err err = {0};
    size_t n_pages = (n_positions(&s) + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
    size_t slab = slab_bytes(&s), page = LAYERS * 2 * slab, n_q = s.n_head * s.n_tokens * s.head_dim;
    w.table = mem_need(n_pages * sizeof *w.table);
    for (size_t i = 0; i < n_pages;
         i++) /* backwards: a page is never at its own number, unless in the middle */
        w.table[i] = (uint32_t)(n_pages - 1 - i);
    w.pool = backend_buf_new(&w.b, n_pages * page, &err);
    assert_non_null(w.pool);
    fill_cache(&w);
    w.q_values = mem_need(n_q * sizeof *w.q_values);
    fixture_normal(w.q_values, n_q, 1);
    w.q = fixture_buf(&w.b, w.q_values, n_q);
    w.out = fixture_buf(&w.b, NULL, n_q);
    w.len = mem_need(sizeof *w.len);
    *w.len = (uint32_t)n_positions(&s);
    w.op = (struct op_attention){
        .q = w.q,
        .out = w.out,
        .scale = 1.0f / sqrtf((float)s.head_dim),
        .n_seqs = 1,
        .n_tokens = s.n_tokens,
        .n_head = s.n_head,
        .n_kv_head = s.n_kv_head,
        .head_dim = s.head_dim,
        .lens = w.len,
        .window = s.window,
        .kv = {w.pool, s.type, page, 2 * slab, 3 * slab, w.table, n_pages},
    };
    return w;
}

static void free_world(struct world *w)
{
    backend_buf_free(&w->b, w->pool);
    backend_buf_free(&w->b, w->q);
    backend_buf_free(&w->b, w->out);
    backend_close(&w->b);
    mem_free(w->table);
    mem_free(w->len);
    mem_free(w->q_values);
    mem_free(w->k);
    mem_free(w->v);
}

static float *run(struct world *w)
{
    struct err err = {0};
    if (!backend_attention(&w->b, &w->op, &err))
        fail_msg("%s", err.text);
    return fixture_read(&w->b, w->out, w->s.n_tokens * w->s.n_head * w->s.head_dim);
}

/* One query of a head, which sees positions begin .. end, by the textbook: all scores, their maximum, their
 * exponentials, the weighted sum. */
static void reference_row(const struct world *w, const float *q, size_t head, size_t begin, size_t end,
                          double *out)
{
    const struct shape *s = &w->s;
    size_t dim = s->head_dim, n = n_positions(s), kv = head / (s->n_head / s->n_kv_head);
    double *score = mem_need(n * sizeof *score), max = -INFINITY, sum = 0;
    for (size_t j = begin; j < end; j++) {
        for (size_t d = 0; d < dim; d++)
            score[j] += (double)q[d] * (double)w->k[(kv * n + j) * dim + d];
        score[j] *= (double)w->op.scale;
        max = fmax(max, score[j]);
    }
    memset(out, 0, dim * sizeof *out);
    for (size_t j = begin; j < end; j++) {
        double p = exp(score[j] - max);
        sum += p;
        for (size_t d = 0; d < dim; d++)
            out[d] += p * (double)w->v[(kv * n + j) * dim + d];
    }
    for (size_t d = 0; d < dim; d++)
        out[d] /= sum;
    mem_free(score);
}

/* Where positions begin that are seen up to end. */
static size_t seen_from(const struct shape *s, size_t end)
{
    return s->window && end > s->window ? end - s->window : 0;
}

static double nmse_limit(const struct shape *s)
{
    return s->type == DTYPE_I8 ? 1e-8 : 1e-11;
}

static void check_against_reference(struct shape s, int n_threads, const char *isa)
{
    struct world w = make_world(s, n_threads, isa);
    size_t n = s.n_tokens * s.n_head * s.head_dim;
    float *found = run(&w);
    double *expected = mem_need(n * sizeof *expected);
    for (size_t t = 0; t < s.n_tokens; t++)
        for (size_t h = 0; h < s.n_head; h++)
            reference_row(&w, w.q_values + (h * s.n_tokens + t) * s.head_dim, h, seen_from(&s, s.pos + t + 1),
                          s.pos + t + 1, expected + (t * s.n_head + h) * s.head_dim);
    double nmse = fixture_nmse(found, expected, n);
    if (!(nmse < nmse_limit(&s)))
        fail_msg("%s D %zu H %zu KV %zu T %zu pos %zu window %zu type %d: nmse %g", isa, s.head_dim, s.n_head,
                 s.n_kv_head, s.n_tokens, s.pos, s.window, (int)s.type, nmse);
    mem_free(expected);
    mem_free(found);
    free_world(&w);
}

static void check_grid(const char *isa)
{
    static const size_t dims[] = {32, 64, 80, 96, 128, 256}, groups[] = {1, 2, 4, 8},
                        tokens[] = {1, 2, 7, 64, 65};
    static const size_t starts[] = {0, 60, 130};
    size_t i = 0;
    for (size_t d = 0; d < 6; d++)
        for (size_t g = 0; g < 4; g++)
            for (size_t t = 0; t < 5; t++, i++)
                if (tokens[t] < 64 || i % 3 == 0)
                    check_against_reference((struct shape){.head_dim = dims[d],
                                                           .n_kv_head = 1 + i % 2,
                                                           .n_head = groups[g] * (1 + i % 2),
                                                           .n_tokens = tokens[t],
                                                           .pos = starts[i % 3],
                                                           .type = types[i / 2 % N_TYPES]},
                                            1 + (int)(i % 2), isa);
}

static void check_grid_of(enum cpu_isa isa)
{
    if (!fixture_has(isa))
        skip();
    check_grid(cpu_isa_name(isa));
}

static void attention__matches_reference__scalar(void **state)
{
    (void)state;
    check_grid_of(CPU_SCALAR);
}

static void attention__matches_reference__avx2(void **state)
{
    (void)state;
    check_grid_of(CPU_AVX2);
}

static void attention__matches_reference__avx512(void **state)
{
    (void)state;
    check_grid_of(CPU_AVX512);
}

static void attention__matches_reference__neon(void **state)
{
    (void)state;
    check_grid_of(CPU_NEON);
}

static void attention__matches_reference__odd_head_dims(void **state)
{
    (void)state;
    static const size_t dims[] = {2, 6, 8, 20, 40, 512};
    for (size_t i = 0; i < 6 * N_TYPES; i++)
        check_against_reference((struct shape){.head_dim = dims[i / N_TYPES],
                                               .n_kv_head = 2,
                                               .n_head = 6,
                                               .n_tokens = 3,
                                               .pos = 62,
                                               .type = types[i % N_TYPES]},
                                2, NULL);
}

static void attention__window__sees_only_the_last_positions(void **state)
{
    (void)state;
    static const size_t windows[] = {1, 2, 5, 63, 64, 65, 128, 600, 5000};
    for (size_t i = 0; i < 9; i++) {
        struct shape s = {.head_dim = 16, .n_kv_head = 1, .n_head = 1 + i % 3, .n_tokens = 70, .pos = 600};
        s.window = windows[i];
        s.type = types[(i + i / 3) % N_TYPES];
        check_against_reference(s, 2, NULL);
        s.n_tokens = 1;
        check_against_reference(s, 2, "scalar");
    }
}

static void attention__long_context__matches_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        struct shape s = {
            .head_dim = 64, .n_kv_head = 1, .n_head = 4, .n_tokens = 1, .pos = 1700, .type = types[i]};
        check_against_reference(s, 2, NULL);
        check_against_reference(s, 1, "scalar");
        s.n_tokens = 9;
        s.pos = 1020;
        check_against_reference(s, 3, NULL);
    }
}

static void check_threads(struct shape s, const char *isa)
{
    float *first = NULL;
    size_t n = s.n_tokens * s.n_head * s.head_dim;
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        struct world w = make_world(s, n_threads, isa);
        float *found = run(&w);
        if (first && memcmp(first, found, n * sizeof *found) != 0)
            fail_msg("%d threads, T %zu, KV %zu: not the bits of one thread", n_threads, s.n_tokens,
                     s.n_kv_head);
        free_world(&w);
        if (first)
            mem_free(found);
        else
            first = found;
    }
    mem_free(first);
}

static void attention__any_number_of_threads__same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TYPES; i++) {
        struct shape s = {
            .head_dim = 64, .n_head = 6, .n_kv_head = 3, .n_tokens = 1, .pos = 1600, .type = types[i]};
        check_threads(s, NULL);
        check_threads(s, "scalar");
        s.n_kv_head = 1;
        check_threads(s, NULL);
        s.n_tokens = 11;
        s.window = 1100;
        check_threads(s, NULL);
    }
}

/* n tokens from t on, with the cache as the longer call left it, give the rows of the longer call. */
static void check_part(struct world *w, size_t t, size_t n, const float *all, const char *isa)
{
    const struct shape *s = &w->s;
    size_t row = s->n_head * s->head_dim;
    float *q = mem_need(n * row * sizeof *q);
    for (size_t h = 0; h < s->n_head; h++)
        memcpy(q + h * n * s->head_dim, w->q_values + (h * s->n_tokens + t) * s->head_dim,
               n * s->head_dim * sizeof *q);
    struct bbuf *q_buf = fixture_buf(&w->b, q, n * row), *out = fixture_buf(&w->b, NULL, n * row);
    struct op_attention op = w->op;
    uint32_t len = (uint32_t)(s->pos + t + n);
    op.q = q_buf;
    op.out = out;
    op.n_tokens = n;
    op.lens = &len;
    struct err err = {0};
    assert_true(backend_attention(&w->b, &op, &err));
    float *part = fixture_read(&w->b, out, n * row);
    if (memcmp(part, all + t * row, n * row * sizeof *part) != 0)
        fail_msg("%s: %zu tokens from %zu on of %zu give other bits", isa, n, t, s->n_tokens);
    mem_free(part);
    mem_free(q);
    backend_buf_free(&w->b, q_buf);
    backend_buf_free(&w->b, out);
}

/* Parts of 1 to 15 tokens: from a single row to more than those for which pages are brought into another
 * form. */
static void check_token_counts(struct shape s, const char *isa)
{
    struct world w = make_world(s, 2, isa);
    float *all = run(&w);
    for (size_t n = 1, t = 0; t + n <= s.n_tokens; n++) {
        check_part(&w, t, n, all, isa);
        check_part(&w, t, 1, all, isa);
        t += n < 11 ? n : 0;
    }
    check_part(&w, s.n_tokens - 1, 1, all, isa);
    mem_free(all);
    free_world(&w);
}

static void attention__one_token_or_many__same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < fixture_n_isas() * N_TYPES; i++) {
        enum cpu_isa isa = fixture_isa(i / N_TYPES);
        struct shape s = {.head_dim = 96,
                          .n_head = 3,
                          .n_kv_head = 3,
                          .n_tokens = 70,
                          .pos = 300,
                          .type = types[i % N_TYPES]};
        check_token_counts(s, cpu_isa_name(isa));
        if (isa == CPU_SCALAR)
            continue;
        s.n_kv_head = 1;
        s.head_dim = 80;
        check_token_counts(s, cpu_isa_name(isa));
        s.window = 33;
        check_token_counts(s, cpu_isa_name(isa));
    }
}

/* So many heads and positions that the partial results take more than one wave. */
static void attention__more_chunks_than_scratch__same_bits(void **state)
{
    (void)state;
    enum { HEADS = 64, DIM = 512, POS = 16800, N_PAGES = POS / KV_BLOCK_TOKENS + 1 };
    struct shape s = {.head_dim = DIM, .n_head = HEADS, .n_kv_head = 1, .n_tokens = 1, .type = DTYPE_F16};
    s.pos = 3 * KV_BLOCK_TOKENS - 1; /* three full pages, which the long table repeats */
    uint32_t table[N_PAGES];
    for (size_t i = 0; i < N_PAGES; i++)
        table[i] = (uint32_t)(i % 3);
    float *found[2];
    for (int i = 0; i < 2; i++) {
        struct world w = make_world(s, 1 + 2 * i, NULL);
        *w.len = POS + 1;
        w.op.kv.table = table;
        w.op.kv.n_pages = N_PAGES;
        found[i] = run(&w);
        assert_true(isfinite(found[i][0]));
        free_world(&w);
    }
    assert_memory_equal(found[0], found[1], HEADS * DIM * sizeof(float));
    mem_free(found[0]);
    mem_free(found[1]);
}

/* Sequences over one long run of positions, each from a page of it on: they have pages in common, as chats
 * that began as one. With T tokens, T - 1 positions more. */
static const struct {
    size_t page;
    uint32_t len;
} seqs[] = {{3, 1}, {0, 63}, {5, 64}, {1, 65}, {0, 1100}, {2, 2}, {4, 513}};
#define N_SEQS (sizeof seqs / sizeof *seqs)

/* The op of all of them; q [S, H, T, D] and the rest are the caller's to free. */
struct many {
    float *q;
    uint32_t *table, lens[N_SEQS];
    struct op_attention op;
};

static struct many make_many(struct world *w, size_t n_tokens)
{
    const struct shape *s = &w->s;
    size_t n = N_SEQS * n_tokens * s->n_head * s->head_dim, n_pages = w->op.kv.n_pages;
    struct many m = {mem_need(n * sizeof *m.q), mem_need(N_SEQS * n_pages * sizeof *m.table), {0}, w->op};
    fixture_normal(m.q, n, 7);
    memset(m.table, 0xff, N_SEQS * n_pages * sizeof *m.table); /* behind a sequence's pages is no page */
    for (size_t i = 0; i < N_SEQS; i++) {
        m.lens[i] = (uint32_t)(seqs[i].len + n_tokens - 1);
        assert_true(seqs[i].page * KV_BLOCK_TOKENS + m.lens[i] <= n_positions(s));
        for (size_t j = 0; j * KV_BLOCK_TOKENS < m.lens[i]; j++)
            m.table[i * n_pages + j] = w->table[seqs[i].page + j];
    }
    m.op.n_seqs = N_SEQS;
    m.op.n_tokens = n_tokens;
    m.op.kv.table = m.table;
    m.op.window = s->window;
    return m;
}

/* Sequences first .. first + n in one call. */
static float *run_some(struct world *w, const struct many *m, size_t first, size_t n)
{
    size_t row = m->op.n_tokens * w->s.n_head * w->s.head_dim;
    struct op_attention op = m->op;
    struct err err = {0};
    struct bbuf *q = fixture_buf(&w->b, m->q + first * row, n * row);
    op.q = q;
    op.out = fixture_buf(&w->b, NULL, n * row);
    op.n_seqs = n;
    op.lens = m->lens + first;
    op.kv.table = m->table + first * op.kv.n_pages;
    if (!backend_attention(&w->b, &op, &err))
        fail_msg("%s", err.text);
    float *found = fixture_read(&w->b, op.out, n * row);
    backend_buf_free(&w->b, q);
    backend_buf_free(&w->b, op.out);
    return found;
}

static void expect_many(struct world *w, const struct many *m, const float *found)
{
    struct shape *s = &w->s;
    size_t T = m->op.n_tokens, dim = s->head_dim, n = N_SEQS * T * s->n_head * dim;
    double *expected = mem_need(n * sizeof *expected), *at = expected;
    for (size_t i = 0; i < N_SEQS; i++)
        for (size_t t = 0; t < T; t++)
            for (size_t h = 0; h < s->n_head; h++, at += dim) {
                size_t end = m->lens[i] - T + t + 1, first = seqs[i].page * KV_BLOCK_TOKENS;
                reference_row(w, m->q + ((i * s->n_head + h) * T + t) * dim, h, first + seen_from(s, end),
                              first + end, at);
            }
    double nmse = fixture_nmse(found, expected, n);
    if (!(nmse < nmse_limit(s)))
        fail_msg("several sequences, T %zu D %zu KV %zu window %zu type %d: nmse %g", T, dim, s->n_kv_head,
                 s->window, (int)s->type, nmse);
    mem_free(expected);
}

/* In one call, and each in a call of its own. */
static void check_sequences(struct shape s, size_t n_tokens, size_t window, int n_threads, const char *isa)
{
    struct world w = make_world(s, n_threads, isa);
    w.s.window = window; /* what is seen differs from sequence to sequence: the cache has no unseen rows */
    struct many m = make_many(&w, n_tokens);
    size_t row = n_tokens * s.n_head * s.head_dim;
    float *all = run_some(&w, &m, 0, N_SEQS);
    expect_many(&w, &m, all);
    for (size_t i = 0; i < N_SEQS; i++) {
        float *one = run_some(&w, &m, i, 1);
        if (memcmp(one, all + i * row, row * sizeof *one) != 0)
            fail_msg("%s, %d threads: sequence %zu of %u has other bits alone", isa, n_threads, i, m.lens[i]);
        mem_free(one);
    }
    mem_free(all);
    mem_free(m.q);
    mem_free(m.table);
    free_world(&w);
}

static void attention__several_sequences__same_bits_as_one_by_one(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 1, 3}, windows[] = {0, 70, 600};
    for (size_t i = 0; i < fixture_n_isas() * N_TYPES * 3; i++) {
        struct shape s = {.head_dim = i % 2 ? 40 : 64,
                          .n_head = 6,
                          .n_kv_head = 1 + i % 3,
                          .n_tokens = 1,
                          .pos = 1149,
                          .type = types[i / 3 % N_TYPES]};
        check_sequences(s, tokens[i % 3], windows[i / 2 % 3], 1 + (int)(i % 4),
                        cpu_isa_name(fixture_isa(i / N_TYPES / 3)));
    }
}

static void attention__no_tokens__touches_nothing(void **state)
{
    (void)state;
    struct world w = make_world(
        (struct shape){
            .head_dim = 32, .n_head = 2, .n_kv_head = 1, .n_tokens = 2, .pos = 3, .type = DTYPE_F32},
        2, NULL);
    w.op.n_tokens = 0;
    float *found = run(&w);
    float *untouched = fixture_read(&w.b, w.out, 0); /* all of it is guard */
    mem_free(untouched);
    mem_free(found);
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention__matches_reference__scalar),
        cmocka_unit_test(attention__matches_reference__avx2),
        cmocka_unit_test(attention__matches_reference__avx512),
        cmocka_unit_test(attention__matches_reference__neon),
        cmocka_unit_test(attention__matches_reference__odd_head_dims),
        cmocka_unit_test(attention__window__sees_only_the_last_positions),
        cmocka_unit_test(attention__long_context__matches_reference),
        cmocka_unit_test(attention__any_number_of_threads__same_bits),
        cmocka_unit_test(attention__one_token_or_many__same_bits),
        cmocka_unit_test(attention__more_chunks_than_scratch__same_bits),
        cmocka_unit_test(attention__several_sequences__same_bits_as_one_by_one),
        cmocka_unit_test(attention__no_tokens__touches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
