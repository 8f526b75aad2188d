/* The page pool: every page in the table or free, never both; sizes of the saved form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/kv_pages.h"
#include "tests/engine/ref_backend.h"

#define N_PAGES 5

static void assert_all_pages_once(const struct kv_pages *p)
{
    bool seen[N_PAGES] = {false};
    assert_int_equal(p->n_table + p->n_free, N_PAGES);
    for (size_t i = 0; i < N_PAGES; i++) {
        uint32_t page = i < p->n_table ? p->table[i] : p->free_list[i - p->n_table];
        assert_in_range(page, 0, N_PAGES - 1);
        assert_false(seen[page]);
        seen[page] = true;
    }
}

static void kv_pages__reserve_and_cut__keep_every_page(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    struct kv_shape shape = {.type = DTYPE_F16, .n_layer = 3, .n_kv_head = 2, .head_dim = 8};
    static const size_t lengths[] = {1, 64, 65, 10, 300, 320, 0, 128, 127, 129, 319};
    ref_backend_open(&backend);
    assert_true(kv_pages_init(&p, &backend, &shape, 257, 0, NULL));
    assert_int_equal(p.n_pages, N_PAGES);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t need = (lengths[i] + 63) / 64;
        kv_pages_cut(&p, lengths[i]);
        assert_true(p.n_table <= need);
        assert_true(kv_pages_reserve(&p, lengths[i]));
        assert_int_equal(p.n_table, need);
        assert_all_pages_once(&p);
    }
    assert_false(kv_pages_reserve(&p, 321));
    assert_all_pages_once(&p);
    kv_pages_fini(&p);
    kv_pages_fini(&p);
}

static void kv_pages__layer__slabs_follow_each_other(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    struct kv_shape shape = {.type = DTYPE_F32, .n_layer = 3, .n_kv_head = 2, .head_dim = 8};
    size_t slab = 2 * KV_BLOCK_TOKENS * 8 * sizeof(float);
    ref_backend_open(&backend);
    assert_true(kv_pages_init(&p, &backend, &shape, 64, 0, NULL));
    assert_int_equal(kv_token_bytes(&shape), 3 * 2 * 2 * 8 * sizeof(float));
    assert_int_equal(p.page_bytes, 6 * slab);
    for (size_t i = 0; i < 3; i++) {
        struct kv_layer layer = kv_pages_layer(&p, i);
        assert_int_equal(layer.k_offset, 2 * i * slab);
        assert_int_equal(layer.v_offset, (2 * i + 1) * slab);
        assert_int_equal(layer.page_bytes, p.page_bytes);
    }
    kv_pages_fini(&p);
}

static void kv_pages__init__absurd_sizes(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    struct err err = {0};
    struct kv_shape shape = {.type = DTYPE_F32, .n_layer = SIZE_MAX / 2, .n_kv_head = 1024, .head_dim = 512};
    ref_backend_open(&backend);
    assert_int_equal(kv_token_bytes(&shape), 0);
    assert_false(kv_pages_init(&p, &backend, &shape, 64, 0, &err));
    assert_int_equal(err.code, ERR_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_pages__reserve_and_cut__keep_every_page),
        cmocka_unit_test(kv_pages__layer__slabs_follow_each_other),
        cmocka_unit_test(kv_pages__init__absurd_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
