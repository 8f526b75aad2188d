#include "kernels_cpu/row_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/mem.h"

#define MAX_THREADS 5
#define MAX_ROWS 3000

static unsigned char visits[MAX_ROWS]; /* plain on purpose: a row belongs to one thread, TSan looks on */

static void visit(void *arg, const size_t *row, size_t n)
{
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(row[i] < *(const size_t *)arg);
        visits[row[i]]++;
    }
}

/* Nowhere that could be read. */
static const void *no_place(const void *arg, size_t row)
{
    assert_true(row < MAX_ROWS);
    return (const char *)arg + row;
}

static void check(struct pool *pool, struct row_share *shares, size_t n, size_t row_bytes)
{
    struct row_walk w = {
        .n = n,
        .row_bytes = row_bytes,
        .rows = visit,
        .arg = &n,
        .shares = shares,
        .pool = pool,
        .next = {.n = n % 3 ? MAX_ROWS - n : 0, .row_bytes = row_bytes, .at = no_place, .arg = visits}};
    memset(visits, 0, sizeof visits);
    row_walk_run(&w);
    for (size_t row = 0; row < MAX_ROWS; row++)
        assert_int_equal(visits[row], row < n);
}

static void row_walk__any_shape__gives_every_row_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 4, 7, 16, 41, 255, 1000, 2999};
    static const size_t bytes[] = {1, 144, 2047, 2048, 5000, 100000};
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct pool *pool = pool_new(n_threads, NULL);
        struct row_share *shares = mem_array((size_t)n_threads, sizeof *shares, NULL);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            for (size_t j = 0; j < sizeof bytes / sizeof bytes[0]; j++)
                check(pool, shares, counts[i], bytes[j]);
        mem_free(shares);
        pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(row_walk__any_shape__gives_every_row_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
