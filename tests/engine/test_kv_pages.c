/* The page pool: every page in the table or free or parked; what is lent does not change; the
 * bytes of blocks. */
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
    assert_true(kv_pages_init(&p, &(struct kv_place){&backend, shape.n_layer}, 1, &shape, 257, 0, NULL));
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
    assert_true(kv_pages_init(&p, &(struct kv_place){&backend, shape.n_layer}, 1, &shape, 64, 0, NULL));
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
    assert_false(kv_pages_init(&p, &(struct kv_place){&backend, shape.n_layer}, 1, &shape, 64, 0, &err));
    assert_int_equal(err.code, ERR_MEMORY);
}

/* --- lending --- */

#define N_LENT 2

static void open_lending(struct kv_pages *p, struct backend *backend, enum dtype type, size_t n_tokens)
{
    struct kv_shape shape = {.type = type, .n_layer = 2, .n_kv_head = 3, .head_dim = 6};
    ref_backend_open(backend);
    assert_true(
        kv_pages_init(p, &(struct kv_place){backend, shape.n_layer}, 1, &shape, n_tokens, N_LENT, NULL));
}

static void fill(struct kv_pages *p, size_t i, int value)
{
    memset(kv_pages_host(p, p->table[i]), value, p->page_bytes);
}

static bool is_filled(const void *bytes, int value, size_t n)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < n; i++)
        if (b[i] != value)
            return false;
    return true;
}

static void kv_pages__cut__parks_a_lent_page(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    const void *bytes;
    open_lending(&p, &backend, DTYPE_F16, 128);
    assert_true(kv_pages_reserve(&p, 128));
    uint32_t page = p.table[1];
    fill(&p, 1, 7);
    atomic_uint *pin = kv_pages_lend(&p, 1, &bytes);
    assert_non_null(pin);
    atomic_fetch_add(pin, 1);
    kv_pages_cut(&p, 64);
    assert_int_equal(p.n_parked, 1);
    for (int i = 0; i < 5; i++) {
        assert_true(kv_pages_reserve(&p, 128));
        assert_int_not_equal(p.table[1], page);
        fill(&p, 1, 9);
        kv_pages_cut(&p, 64);
    }
    assert_true(is_filled(bytes, 7, p.page_bytes));
    atomic_fetch_sub(pin, 1);
    assert_true(kv_pages_reserve(&p, 128));
    assert_int_equal(p.n_parked, 0);
    assert_int_equal(p.n_table + p.n_free, p.n_pages);
    kv_pages_fini(&p);
}

static void kv_pages__cut__copies_what_is_lent(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    const void *bytes;
    open_lending(&p, &backend, DTYPE_F16, 128);
    assert_true(kv_pages_reserve(&p, 128));
    fill(&p, 1, 7);
    kv_pages_cut(&p, 128); /* nothing to copy */
    uint32_t page = p.table[1];
    atomic_uint *pin = kv_pages_lend(&p, 1, &bytes);
    atomic_fetch_add(pin, 1);
    kv_pages_cut(&p, 100);
    assert_int_not_equal(p.table[1], page);
    assert_true(is_filled(kv_pages_host(&p, p.table[1]), 7, p.page_bytes));
    fill(&p, 1, 9);
    assert_true(is_filled(bytes, 7, p.page_bytes));
    atomic_fetch_sub(pin, 1);
    page = p.table[1];
    kv_pages_cut(&p, 90);
    assert_int_equal(p.table[1], page);
    kv_pages_fini(&p);
}

static void kv_pages__lend__only_so_many(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    const void *bytes;
    atomic_uint *pins[N_LENT];
    open_lending(&p, &backend, DTYPE_F16, 256);
    assert_true(kv_pages_reserve(&p, 256));
    for (size_t i = 0; i < N_LENT; i++) {
        pins[i] = kv_pages_lend(&p, i, &bytes);
        atomic_fetch_add(pins[i], 1);
    }
    assert_null(kv_pages_lend(&p, 2, &bytes));
    assert_ptr_equal(kv_pages_lend(&p, 0, &bytes), pins[0]); /* a page that is lent already */
    /* The worst: all that may be lent are parked, the table is full, and one is filled from outside. */
    kv_pages_cut(&p, 0);
    assert_true(kv_pages_reserve(&p, 256));
    uint32_t next = kv_pages_next(&p);
    kv_pages_link(&p, 3);
    assert_int_equal(p.table[3], next);
    assert_int_equal(p.n_parked, N_LENT);
    assert_false(kv_pages_reserve(&p, 257));
    for (size_t i = 0; i < N_LENT; i++)
        atomic_fetch_sub(pins[i], 1);
    assert_non_null(kv_pages_lend(&p, 2, &bytes));
    kv_pages_fini(&p);
}

/* --- rows and blocks --- */

/* Every byte of a page, as a number that tells its place. */
static void number_page(struct kv_pages *p, size_t i)
{
    unsigned char *bytes = kv_pages_host(p, p->table[i]);
    for (size_t k = 0; k < p->page_bytes; k++)
        bytes[k] = (unsigned char)(k * 31 + k / 251);
}

static void kv_pages__pack__as_the_layout_says(void **state)
{
    (void)state;
    struct backend backend;
    struct kv_pages p;
    unsigned char block[KV_BLOCK_TOKENS * 10 * 12];
    open_lending(&p, &backend, DTYPE_I8, 128);
    assert_int_equal(kv_token_bytes(&p.shape), 10 * 12); /* 6 values and a scale, in 12 heads of K or V */
    assert_true(kv_pages_reserve(&p, 128));
    number_page(&p, 1);
    const unsigned char *page = kv_pages_host(&p, p.table[1]);
    assert_true(kv_pages_pack(&p, 1, 5, block, NULL));
    for (size_t head = 0; head < 12; head++) {
        assert_memory_equal(block + head * 50, page + head * 640, 30);
        assert_memory_equal(block + head * 50 + 30, page + head * 640 + 384, 20);
    }
    assert_true(kv_pages_pack(&p, 1, KV_BLOCK_TOKENS, block, NULL));
    assert_memory_equal(block, page, p.page_bytes);
    kv_pages_fini(&p);
}

static void kv_pages__unpack__the_rows_asked_for(void **state)
{
    (void)state;
    struct backend backend;
    static const enum dtype types[] = {DTYPE_I8, DTYPE_F16, DTYPE_F32};
    for (size_t i = 0; i < 3; i++) {
        struct kv_pages p;
        unsigned char block[KV_BLOCK_TOKENS * 24 * 12], again[sizeof block];
        open_lending(&p, &backend, types[i], 128);
        assert_true(kv_pages_reserve(&p, 128));
        number_page(&p, 0);
        size_t n_bytes = 20 * kv_token_bytes(&p.shape);
        assert_true(kv_pages_pack(&p, 0, 20, block, NULL));
        assert_true(kv_pages_unpack(&p, 1, block, 20, 0, 7, NULL));
        assert_true(kv_pages_pack(&p, 1, 20, again, NULL));
        assert_memory_not_equal(again, block, n_bytes);
        assert_true(kv_pages_unpack(&p, 1, block, 20, 7, 20, NULL));
        assert_true(kv_pages_pack(&p, 1, 20, again, NULL));
        assert_memory_equal(again, block, n_bytes);
        kv_pages_cut(&p, 20);
        kv_pages_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_pages__reserve_and_cut__keep_every_page),
        cmocka_unit_test(kv_pages__layer__slabs_follow_each_other),
        cmocka_unit_test(kv_pages__init__absurd_sizes),
        cmocka_unit_test(kv_pages__cut__parks_a_lent_page),
        cmocka_unit_test(kv_pages__cut__copies_what_is_lent),
        cmocka_unit_test(kv_pages__lend__only_so_many),
        cmocka_unit_test(kv_pages__pack__as_the_layout_says),
        cmocka_unit_test(kv_pages__unpack__the_rows_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
