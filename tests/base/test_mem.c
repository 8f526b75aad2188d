/* test_mem.c: checked arithmetic, zeroed memory, the failing allocation, maps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"

static void mem_mul__refuses_overflow(void **state)
{
    (void)state;
    size_t out = 5;
    assert_false(mem_mul(SIZE_MAX / 2, 3, &out));
    assert_false(mem_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 5);
    assert_true(mem_mul(6, 7, &out) && out == 42);
    assert_true(mem_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
}

static void mem_array__is_zeroed_and_refuses_overflow(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(mem_array(SIZE_MAX / 2, 4, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    unsigned char *p = mem_array(100, 3, &err);
    assert_non_null(p);
    for (int i = 0; i < 300; i++)
        assert_int_equal(p[i], 0);
    mem_free(p);
    mem_free(NULL);
}

static void mem_resize__keeps_the_old_block_on_failure(void **state)
{
    (void)state;
    struct err err = {0};
    char *p = mem_alloc(4, &err);
    memcpy(p, "abc", 4);
    mem_fail_after(0);
    assert_null(mem_resize(p, 100, 1, &err));
    assert_true(mem_fail_happened());
    assert_int_equal(err.code, ERR_MEMORY);
    assert_string_equal(p, "abc");
    p = mem_resize(p, 100, 1, &err);
    assert_string_equal(p, "abc");
    mem_free(p);
}

static void mem_fail_after__fails_the_one_named(void **state)
{
    (void)state;
    mem_fail_after(1);
    void *first = mem_alloc(1, NULL), *second = mem_alloc(1, NULL), *third = mem_alloc(1, NULL);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    mem_fail_after(-1);
    assert_false(mem_fail_happened());
    mem_free(first);
    mem_free(third);
}

static void mem_map__is_aligned_zero_and_fallible(void **state)
{
    (void)state;
    struct err err = {0};
    size_t n = ((size_t)3 << 20) + 5;
    unsigned char *p = mem_map(n, &err);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % ((size_t)2 << 20), 0);
    assert_true(p[0] == 0 && p[n - 1] == 0);
    p[n - 1] = 1;
    mem_unmap(p, n);
    assert_null(mem_map(SIZE_MAX - 10, &err));
    assert_int_equal(err.code, ERR_MEMORY);
}

static void mem_strndup__copies_and_terminates(void **state)
{
    (void)state;
    char *s = mem_strndup("hello", 2);
    assert_string_equal(s, "he");
    mem_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem_mul__refuses_overflow),
        cmocka_unit_test(mem_array__is_zeroed_and_refuses_overflow),
        cmocka_unit_test(mem_resize__keeps_the_old_block_on_failure),
        cmocka_unit_test(mem_fail_after__fails_the_one_named),
        cmocka_unit_test(mem_map__is_aligned_zero_and_fallible),
        cmocka_unit_test(mem_strndup__copies_and_terminates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
