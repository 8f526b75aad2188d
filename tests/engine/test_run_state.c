/* The rope tables grow as positions are reached, and hold what one long table would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/run_state.h"
#include "tests/engine/ref_backend.h"

#define N_CTX 2500
#define N_PAIRS 8

static float cos_all[N_CTX * N_PAIRS], sin_all[N_CTX * N_PAIRS];

static void assert_turned(struct backend *b, struct run_state *r, size_t n)
{
    static float got[N_CTX * N_PAIRS];
    struct err err = {0};
    assert_true(run_state_turn(r, n, &err));
    assert_true(backend_buf_read(b, r->cos, 0, got, n * N_PAIRS * sizeof *got, &err));
    assert_memory_equal(got, cos_all, n * N_PAIRS * sizeof *got);
    assert_true(backend_buf_read(b, r->sin, 0, got, n * N_PAIRS * sizeof *got, &err));
    assert_memory_equal(got, sin_all, n * N_PAIRS * sizeof *got);
}

static void run_state_turn__fills_what_is_reached(void **state)
{
    (void)state;
    static const size_t reached[] = {0, 1, 1024, 1025, 1025, 7, 2049, N_CTX};
    struct backend b;
    struct run_state r;
    struct err err = {0};
    struct rope_params rope = {.n_rot = 2 * N_PAIRS, .base = 10000, .scale = 1};
    struct model_config c = {
        .n_layer = 1, .n_embd = 32, .n_head = 2, .n_kv_head = 1, .head_dim = 16, .n_ff = 32, .n_vocab = 40};
    rope_fill(&rope, 0, N_CTX, cos_all, sin_all);
    ref_backend_open(&b);
    assert_true(run_state_init(&r, &b, &c, &rope, 4, N_CTX, &err));
    for (size_t i = 0; i < sizeof reached / sizeof *reached; i++)
        assert_turned(&b, &r, reached[i]);
    run_state_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_state_turn__fills_what_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
