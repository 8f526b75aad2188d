#include "kernels_cpu/each_row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define MAX_THREADS 5
#define MAX_ROWS 3000

static unsigned char visits[MAX_ROWS]; /* plain on purpose: a row belongs to one thread, TSan looks on */

static void visit(void *arg, size_t row)
{
    assert_true(row < *(const size_t *)arg);
    visits[row]++;
}

static void each_row__any_shape__gives_every_row_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 40, 511, 2999};
    static const size_t floats[] = {0, 1, 128, 3072, 16383, 16384, 100000};
    for (int n_threads = 1; n_threads <= MAX_THREADS; n_threads++) {
        struct pool *pool = pool_new(n_threads, NULL);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            for (size_t j = 0; j < sizeof floats / sizeof floats[0]; j++) {
                memset(visits, 0, sizeof visits);
                each_row_run(pool, counts[i], floats[j], visit, (void *)&counts[i]);
                for (size_t row = 0; row < MAX_ROWS; row++)
                    assert_int_equal(visits[row], row < counts[i]);
            }
        pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row__any_shape__gives_every_row_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
