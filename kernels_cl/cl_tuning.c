#include "kernels_cl/cl_tuning.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "kernels_cl/cl_backend.h"
#include "kernels_cl/cl_cache.h"

/* A group of the GPU style has rows for all its lanes; one of the CPU style is a call of its own. */
static const uint16_t choices[CL_TUNING_CHOICES] = {PRODUCT_ROWS, 2 * PRODUCT_ROWS, 4 * PRODUCT_ROWS,
                                                    16 * PRODUCT_ROWS};
/* Another number than the usual one has to be better by so much: times are noisy. */
#define GAIN 0.97

static int usual_choice(const struct cl_backend *b)
{
    return b->device.style == CL_STYLE_GPU ? 0 : 1;
}

size_t cl_tuning_rows(const struct cl_backend *b, enum dtype type)
{
    return b->tuning.rows[type] ? b->tuning.rows[type] : choices[usual_choice(b)];
}

/* ---- the file ---- */

static uint64_t key_of(const struct cl_backend *b)
{
    const struct cl_device *d = &b->device;
    const char *parts[] = {"tuning",
                           d->platform_name,
                           d->vendor,
                           d->name,
                           d->driver,
                           d->version,
                           b->device.style == CL_STYLE_GPU ? "gpu" : "cpu"};
    uint64_t key = cl_cache_key(parts, sizeof parts / sizeof *parts);
    return key ^ cl_programs_source_key(CL_GROUP_WEIGHT);
}

static bool is_choice(uint16_t rows)
{
    for (int i = 0; i < CL_TUNING_CHOICES; i++)
        if (rows == choices[i])
            return true;
    return false;
}

void cl_tuning_load(struct cl_backend *b)
{
    struct cl_tuning *t = &b->tuning;
    size_t n = 0;
    t->key = key_of(b);
    unsigned char *bytes = cl_cache_load(b->programs.cache_dir, t->key, CL_CACHE_TUNING, &n);
    for (size_t i = 0; bytes && n == sizeof t->rows && i < CL_TUNING_TYPES; i++) {
        uint16_t rows = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        t->was_tried[i] = is_choice(rows);
        t->rows[i] = is_choice(rows) ? rows : 0;
    }
    mem_free(bytes);
}

static void store(struct cl_backend *b)
{
    unsigned char bytes[sizeof b->tuning.rows];
    for (size_t i = 0; i < CL_TUNING_TYPES; i++) {
        bytes[2 * i] = (unsigned char)b->tuning.rows[i];
        bytes[2 * i + 1] = (unsigned char)(b->tuning.rows[i] >> 8);
    }
    cl_cache_store(b->programs.cache_dir, b->tuning.key, CL_CACHE_TUNING, bytes, sizeof bytes);
}

/* ---- measuring ---- */

void cl_tuning_meet(struct cl_backend *b, const struct cl_rows *rows, size_t k)
{
    struct cl_tuning *t = &b->tuning;
    const struct cl_rows *other = t->largest[rows->type];
    if (other && other->n * t->largest_k[rows->type] >= rows->n * k)
        return;
    t->largest[rows->type] = rows;
    t->largest_k[rows->type] = k;
}

void cl_tuning_forget(struct cl_backend *b, const struct cl_rows *rows)
{
    struct cl_tuning *t = &b->tuning;
    if (t->largest[rows->type] != rows)
        return;
    t->largest[rows->type] = NULL;
    t->is_open = t->is_open && t->type != rows->type;
}

/* One product of one token with the choice; it is multiplied with zeros. */
static bool measure(struct cl_backend *b, const struct cl_rows *rows, size_t k, uint16_t choice, uint64_t *ns)
{
    struct cl_rows alone = *rows;
    struct bweight w = {.n = rows->n, .k = k, .n_parts = 1, .parts = &alone};
    uint16_t before = b->tuning.rows[rows->type];
    struct bbuf *x = cl_buf_new(b, (k + rows->n) * sizeof(float), NULL);
    if (!x)
        return false;
    struct op_gemm op = {.w = &w, .a = x, .out = x, .n_tokens = 1};
    alone.first = k; /* the sums lie behind the input */
    alone.bias = NULL;
    b->tuning.rows[rows->type] = choice;
    uint64_t begin = clock_now_ns();
    bool ok = cl_gemm(b, &op) && cl_wait(b);
    *ns = clock_now_ns() - begin;
    b->tuning.rows[rows->type] = before;
    cl_buf_free(b, x);
    return ok;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void choose(struct cl_backend *b)
{
    struct cl_tuning *t = &b->tuning;
    int usual = usual_choice(b), best = usual;
    double median[CL_TUNING_CHOICES];
    for (int i = 0; i < CL_TUNING_CHOICES; i++) {
        qsort(t->ns[i], CL_TUNING_ROUNDS, sizeof t->ns[i][0], by_value);
        median[i] = (double)t->ns[i][CL_TUNING_ROUNDS / 2];
    }
    for (int i = 0; i < CL_TUNING_CHOICES; i++)
        best = median[i] < GAIN * median[usual] && median[i] < median[best] ? i : best;
    t->rows[t->type] = choices[best];
    t->was_tried[t->type] = true;
    t->is_open = false;
    log_line("OpenCL: products with %s take %u rows in a group (%.2f of the time of %u)",
             dtype_info(t->type)->name, choices[best], median[best] / median[usual], choices[usual]);
    store(b);
}

static bool open_next(struct cl_tuning *t)
{
    for (int type = 0; type < CL_TUNING_TYPES && !t->is_open; type++)
        if (t->largest[type] && !t->was_tried[type]) {
            t->type = (enum dtype)type;
            t->n_done = 0;
            t->is_open = true;
        }
    return t->is_open;
}

bool cl_tuning_step(void *backend)
{
    struct cl_backend *b = backend;
    struct cl_tuning *t = &b->tuning;
    if (b->is_lost || b->times.on || !b->programs.cache_dir || !open_next(t))
        return false;
    unsigned choice = t->n_done % CL_TUNING_CHOICES, round = t->n_done / CL_TUNING_CHOICES;
    if (!measure(b, t->largest[t->type], t->largest_k[t->type], choices[choice], &t->ns[choice][round]))
        return false;
    if (++t->n_done == CL_TUNING_CHOICES * CL_TUNING_ROUNDS)
        choose(b);
    return true;
}
