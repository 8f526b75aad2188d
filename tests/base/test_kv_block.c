/* test_kv_block.c: names of KV blocks: equal for equal prefixes, different for anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/kv_block.h"

static struct kv_space a_space(void)
{
    return (struct kv_space){.fingerprint = {1, 2, 3}, .kv_type = "f16", .token_bytes = 1024};
}

static void kv_space_hash__any_field_differs__another_root(void **state)
{
    (void)state;
    struct kv_space base = a_space(), other[3] = {base, base, base};
    struct kv_hash root = kv_space_hash(&base);
    other[0].fingerprint[31] ^= 1;
    strcpy(other[1].kv_type, "f32");
    other[2].token_bytes++;
    struct kv_hash again = kv_space_hash(&base);
    assert_true(kv_hash_equal(&root, &again));
    for (size_t i = 0; i < 3; i++) {
        struct kv_hash hash = kv_space_hash(&other[i]);
        assert_false(kv_hash_equal(&root, &hash));
    }
}

static void kv_hash_next__tokens_parent_or_length_differ__another_name(void **state)
{
    (void)state;
    const int32_t ids[4] = {1, 2, 3, 4}, swapped[4] = {2, 1, 3, 4};
    struct kv_space space = a_space();
    struct kv_hash root = kv_space_hash(&space), a = kv_hash_next(&root, ids, 4);
    struct kv_hash again = kv_hash_next(&root, ids, 4);
    struct kv_hash others[] = {kv_hash_next(&root, swapped, 4), kv_hash_next(&root, ids, 3),
                               kv_hash_next(&a, ids, 4), root};
    assert_true(kv_hash_equal(&a, &again));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(kv_hash_equal(&a, &others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kv_space_hash__any_field_differs__another_root),
        cmocka_unit_test(kv_hash_next__tokens_parent_or_length_differ__another_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
