/* The tiles of AVX-VNNI against the dot kernels of AVX2, bit for bit, under the encoding this machine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>

#include "engine/base/mem.h"
#include "kernels_cpu/act_cols.h"
#include "kernels_cpu/tile.h"
#include "tests/kernels_cpu/gemm_cases.h"
#include "tests/kernels_cpu/tile_evex.h"

static void check_type(enum dtype type, size_t k)
{
    const struct tile_kernel *kernel = tile_evex(type);
    const struct dot_set *set = dot_set_get(CPU_AVX2);
    struct gemm_case *t = gemm_case_new(&type, 1, kernel->rows, k, TILE_MAX_COLS, false, 11 + type);
    const uint8_t *rows = t->weights[0].data;
    size_t row_bytes = t->weights[0].n_bytes / kernel->rows;
    struct err err;
    uint8_t *scratch = mem_need(act_cols_bytes(t->m, k)), *tile = mem_map(TILE_MAX_BYTES, &err);
    assert_non_null(tile);
    struct pool *pool = pool_new(1, &err);
    struct act_cols in = {.wants = {[ACT_Q8] = true}, .tiled = true};
    act_cols_lay_out(&in, set, t->a, t->m, k, scratch);
    act_cols_quantise(&in, pool);
    kernel->expand(rows, row_bytes, k, tile);
    for (size_t n = 1; n <= TILE_MAX_COLS; n++) {
        float got[TILE_MAX_COLS * TILE_MAX_ROWS], want;
        uint32_t index[TILE_MAX_COLS];
        struct tile_ahead nothing = {0};
        for (size_t c = 0; c < n; c++)
            index[c] = (uint32_t)(TILE_MAX_COLS - n + c);
        kernel->multiply(tile, &in.cols, index, n, &nothing, got);
        for (size_t i = 0; i < n * kernel->rows; i++) {
            struct dot_cols column = act_cols_view(&in, index[i / kernel->rows], 1);
            set->dot[type](rows + i % kernel->rows * row_bytes, &column, &want);
            if (memcmp(&got[i], &want, sizeof want) != 0)
                fail_msg("%s k %zu, %zu columns, value %zu: %.9g, expected %.9g", dtype_info(type)->name, k,
                         n, i, (double)got[i], (double)want);
        }
    }
    pool_free(pool);
    mem_unmap(tile, TILE_MAX_BYTES);
    mem_free(scratch);
    gemm_case_free(t);
}

static void tile_vnni__products__have_the_bits_of_dots(void **state)
{
    (void)state;
    static const size_t widths[] = {32, 96, 224, 256, 512, 1056, 2304};
    struct cpu_features f = cpu_features_get();
    if (!f.avx2 || !f.avx512vl || !f.avx512_vnni) {
        print_message("no AVX-512 VNNI here: not run\n");
        skip();
    }
    for (enum dtype type = 0; type < DTYPE_I8; type++) {
        for (size_t i = 0; tile_evex(type) && i < sizeof widths / sizeof *widths; i++)
            if (widths[i] % dtype_info(type)->block_weights == 0)
                check_type(type, widths[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tile_vnni__products__have_the_bits_of_dots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
