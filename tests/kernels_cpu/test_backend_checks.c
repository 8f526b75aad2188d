/* The checked calls of engine/backend.h on the CPU backend: every wrong argument is a sentence, nothing is
 * computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "cpu_fixture.h"
#include "engine/base/mem.h"
#include "kernels_cpu/backend_cpu.h"
#include "kernels_cpu/cpu_features.h"

static struct backend backend;
static struct bbuf *small, *large, *cache; /* 64 and 65536 floats, and 4 pages of the layer below */
static const uint32_t good_table[] = {3, 2, 1, 0};

static struct kv_layer good_layer(void)
{
    return (struct kv_layer){cache, DTYPE_F16, 4 * 64 * 8 * 2, 0, 2 * 64 * 8 * 2, good_table, 4};
}

static struct op_attention good_attention(void)
{
    static const uint32_t lens[] = {101};
    return (struct op_attention){.q = large,
                                 .out = small,
                                 .scale = 1,
                                 .n_seqs = 1,
                                 .n_tokens = 1,
                                 .n_head = 4,
                                 .n_kv_head = 2,
                                 .head_dim = 8,
                                 .lens = lens,
                                 .kv = good_layer()};
}

static struct op_qkv_rope_cache good_qkv(void)
{
    return (struct op_qkv_rope_cache){.qkv = large,
                                      .q = small,
                                      .cos = large,
                                      .sin = large,
                                      .mode = ROPE_NEOX,
                                      .n_tokens = 1,
                                      .n_head = 4,
                                      .n_kv_head = 2,
                                      .head_dim = 8,
                                      .n_rot = 8,
                                      .pos = 100,
                                      .kv = good_layer()};
}

static int set_up(void **state)
{
    (void)state;
    backend = fixture_open(2, NULL);
    small = fixture_buf(&backend, NULL, 64 - GUARD_FLOATS);
    large = fixture_buf(&backend, NULL, 65536 - GUARD_FLOATS);
    cache = backend_buf_new(&backend, 4 * good_layer().page_bytes, NULL);
    return cache ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    backend_buf_free(&backend, small);
    backend_buf_free(&backend, large);
    backend_buf_free(&backend, cache);
    backend_close(&backend);
    return 0;
}

/* The call failed, with these words in its sentence. */
static void expect(bool ok, const struct err *err, const char *words)
{
    assert_false(ok);
    assert_int_not_equal(err->code, ERR_NONE);
    if (!strstr(err->text, words))
        fail_msg("found \"%s\", expected it to say \"%s\"", err->text, words);
}

static void expect_attention(struct op_attention op, const char *words)
{
    struct err err = {0};
    expect(backend_attention(&backend, &op, &err), &err, "attention: ");
    expect(false, &err, words);
}

static void backend_attention__refuses_wrong_shapes(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_attention op = good_attention();
    assert_true(backend_attention(&backend, &op, &err));
    op.n_kv_head = 3;
    expect_attention(op, "found 4 heads over 3 KV heads");
    op.n_kv_head = 0;
    expect_attention(op, "over 0 KV heads");
    op = good_attention();
    op.head_dim = 7;
    expect_attention(op, "a head of 7");
    op.head_dim = 514;
    expect_attention(op, "a head of 514");
    op = good_attention();
    op.n_tokens = 3;
    expect_attention(op, "the output holds 256 bytes, expected 3 rows of 32, 384 bytes");
    op = good_attention();
    op.q = NULL;
    expect_attention(op, "q is missing");
    op.q = small;
    expect_attention(op, "same buffer");
    op = good_attention();
    op.n_head = SIZE_MAX / 2;
    op.n_kv_head = 1;
    expect_attention(op, "larger than memory");
}

/* Two sequences: what is wrong with the second is found, what lies behind its positions is not looked at. */
static void backend_attention__refuses_wrong_sequences(void **state)
{
    (void)state;
    static const uint32_t good[] = {101, 1}, none[] = {101, 0}, short_by_one[] = {2, 1},
                          long_one[] = {1, 257};
    static const uint32_t bad_table[] = {3, 2, 1, 0, 2, 4, UINT32_MAX, UINT32_MAX};
    struct err err = {0};
    struct op_attention op = good_attention();
    op.n_seqs = 2;
    op.lens = good;
    op.kv.table = bad_table;
    assert_true(backend_attention(&backend, &op, &err));
    op.lens = none;
    expect_attention(op, "sequence 1 has 0 positions, expected the call's 1 at least");
    op.lens = long_one;
    expect_attention(op, "position 256 of sequence 1 needs page 4, the table has 4");
    static const uint32_t into_bad[] = {1, 65};
    op.lens = into_bad;
    expect_attention(op, "entry 1 of the page table of sequence 1 is 4, the pool has 4 pages");
    op.lens = NULL;
    expect_attention(op, "the lengths of the sequences are missing");
    op = good_attention();
    op.n_seqs = 0;
    expect_attention(op, "the number of sequences is 0");
    op.n_seqs = 3;
    expect_attention(op, "the output holds 256 bytes, expected 3 rows of 32, 384 bytes");
    op.n_seqs = SIZE_MAX / 2;
    op.n_tokens = 3;
    expect_attention(op, "larger than memory");
    op = good_attention();
    op.n_tokens = 2;
    op.lens = short_by_one;
    assert_true(backend_attention(&backend, &op, &err));
    op.lens = short_by_one + 1;
    expect_attention(op, "sequence 0 has 1 positions, expected the call's 2 at least");
}

static void backend_attention__refuses_a_wrong_cache(void **state)
{
    (void)state;
    static const uint32_t bad_table[] = {3, 4, 1, 0}, lens[] = {257, UINT32_MAX, 201};
    struct op_attention op = good_attention();
    op.lens = lens;
    expect_attention(op, "position 256 of sequence 0 needs page 4, the table has 4");
    op.lens = lens + 1;
    expect_attention(op, "position 4294967294 of sequence 0 needs page 67108863, the table has 4");
    op = good_attention();
    op.kv.table = bad_table;
    expect_attention(op, "entry 1 of the page table of sequence 0 is 4, the pool has 4 pages");
    op.lens = lens + 2;
    op.window = 10; /* page 1 is not read */
    struct err err = {0};
    assert_true(backend_attention(&backend, &op, &err));
    op = good_attention();
    op.kv.type = DTYPE_Q8_0;
    expect_attention(op, "no KV cache in q8_0");
    op = good_attention();
    op.kv.v_offset += 2;
    expect_attention(op, "V of 2048 bytes at offset 2050 does not fit a page of 4096");
    op = good_attention();
    op.kv.k_offset = 1;
    expect_attention(op, "K of 2048 bytes at offset 1");
    op = good_attention();
    op.kv.type = DTYPE_I8;
    op.kv.v_offset = 4096 - 2 * 64 * 12;
    assert_true(backend_attention(&backend, &op, &err));
    op.kv.v_offset += 4;
    expect_attention(op, "V of 1536 bytes at offset 2564 does not fit a page of 4096");
    op.kv.v_offset = 2050;
    expect_attention(op, "V of 1536 bytes at offset 2050");
    op = good_attention();
    op.kv.pool = NULL;
    expect_attention(op, "the KV pool is missing");
}

static void expect_qkv(struct op_qkv_rope_cache op, const char *words)
{
    struct err err = {0};
    expect(backend_qkv_rope_cache(&backend, &op, &err), &err, "qkv_rope_cache: ");
    expect(false, &err, words);
}

static void backend_qkv_rope_cache__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_qkv_rope_cache op = good_qkv();
    assert_true(backend_qkv_rope_cache(&backend, &op, &err));
    op.mode = (enum rope_mode)0;
    expect_qkv(op, "found rope mode 0, expected 2 or 3");
    op = good_qkv();
    op.n_rot = 10;
    expect_qkv(op, "found 10 rotated dimensions, expected an even number up to 8");
    op.n_rot = 3;
    expect_qkv(op, "found 3 rotated");
    op = good_qkv();
    op.q_norm = small;
    expect_qkv(op, "one norm weight");
    op = good_qkv();
    op.cos = small;
    expect_qkv(op, "the table of cosines holds 256 bytes, expected 101 rows of 4");
    op = good_qkv();
    op.pos = 255;
    op.n_tokens = 2;
    expect_qkv(op, "position 256 of sequence 0 needs page 4");
    op.pos = SIZE_MAX;
    expect_qkv(op, "past any memory");
    op = good_qkv();
    op.n_tokens = 2;
    op.qkv = small;
    op.q = large;
    expect_qkv(op, "the input holds 256 bytes, expected 2 rows of 64");
}

static void backend_rms_norm__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_rms_norm op = {.x = small, .w = large, .out = small, .n_tokens = 2, .n = 32, .eps = 1e-5f};
    assert_true(backend_rms_norm(&backend, &op, &err));
    op.n_tokens = 3;
    expect(backend_rms_norm(&backend, &op, &err), &err,
           "rms_norm: the input holds 256 bytes, expected 3 rows of 32");
    op.n_tokens = 1;
    op.x_row = 1;
    expect(backend_rms_norm(&backend, &op, &err), &err, "rms_norm: in place from row 1");
    op.x = large;
    op.x_row = SIZE_MAX;
    expect(backend_rms_norm(&backend, &op, &err), &err, "past any memory");
    op.x_row = 0;
    op.n = 0;
    expect(backend_rms_norm(&backend, &op, &err), &err, "the width is 0");
}

static void backend_silu_mul__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    struct op_silu_mul op = {large, small, 1, 64};
    assert_true(backend_silu_mul(&backend, &op, &err));
    op.n_ff = 65;
    expect(backend_silu_mul(&backend, &op, &err), &err,
           "silu_mul: the output holds 256 bytes, expected 1 rows of 65");
    op = (struct op_silu_mul){small, small, 1, 32};
    expect(backend_silu_mul(&backend, &op, &err), &err, "same buffer");
}

static struct tensor f32_tensor(const char *name, const float *data, size_t k, size_t n)
{
    struct tensor t = {
        .type = DTYPE_F32, .n_dims = 2, .dims = {k, n, 1, 1}, .data = data, .n_bytes = k * n * 4};
    strcpy(t.name, name);
    return t;
}

static void expect_gate_up(struct op_gate_up op, const char *words)
{
    struct err err = {0};
    expect(backend_gate_up(&backend, &op, &err), &err, words);
}

static void backend_gate_up__refuses_wrong_arguments(void **state)
{
    (void)state;
    struct err err = {0};
    float *rows = mem_need(64 * 32 * sizeof *rows);
    struct tensor even = f32_tensor("even", rows, 32, 64), odd = f32_tensor("odd", rows, 32, 63);
    struct bweight *w = backend_weight_bind(&backend, &(struct weight_part){&even, NULL}, 1, &err);
    struct bweight *uneven = backend_weight_bind(&backend, &(struct weight_part){&odd, NULL}, 1, &err);
    struct bbuf *product = fixture_buf(&backend, NULL, 2 * 64 - GUARD_FLOATS);
    const struct op_gate_up good = {.w = w, .x = large, .product = product, .out = small, .n_tokens = 2};
    struct op_gate_up op = good;
    assert_true(backend_gate_up(&backend, &op, &err));
    op.w = NULL;
    expect_gate_up(op, "gate_up: the weight is missing");
    op.w = uneven;
    expect_gate_up(op, "found 63 rows of gate and up, expected an even number");
    op = good;
    op.n_tokens = 3;
    expect_gate_up(op, "the product holds 512 bytes, expected 3 rows of 64");
    op.product = large;
    op.x = product;
    expect_gate_up(op, "the output holds 256 bytes, expected 3 rows of 32");
    op.n_tokens = 5;
    expect_gate_up(op, "the input holds 512 bytes, expected 5 rows of 32");
    op = good;
    op.product = large;
    expect_gate_up(op, "the input and the output are the same buffer");
    op = good;
    op.out = product;
    expect_gate_up(op, "the product and the output are the same buffer");
    op.x = product;
    op.product = large;
    expect_gate_up(op, "the input and the output are the same buffer");
    backend_buf_free(&backend, product);
    backend_weight_free(&backend, w);
    backend_weight_free(&backend, uneven);
    mem_free(rows);
}

static void backend_ops__no_tokens__is_a_no_op(void **state)
{
    (void)state;
    struct err err = {0};
    assert_true(backend_attention(&backend, &(struct op_attention){0}, &err));
    assert_true(backend_qkv_rope_cache(&backend, &(struct op_qkv_rope_cache){0}, &err));
    assert_true(backend_rms_norm(&backend, &(struct op_rms_norm){0}, &err));
    assert_true(backend_silu_mul(&backend, &(struct op_silu_mul){0}, &err));
    assert_true(backend_gemm(&backend, &(struct op_gemm){0}, &err));
    assert_true(backend_gate_up(&backend, &(struct op_gate_up){0}, &err));
    assert_true(backend_embed(&backend, &(struct op_embed){0}, &err));
}

static void expect_bind(struct tensor weight, const struct tensor *bias, const char *words)
{
    static float zeros[32];
    struct tensor first = f32_tensor("first", zeros, 8, 4);
    struct weight_part parts[] = {{&first, NULL}, {&weight, bias}};
    struct err err = {0};
    assert_null(backend_weight_bind(&backend, parts, 2, &err));
    assert_int_equal(err.code, ERR_MODEL);
    expect(false, &err, words);
}

static void backend_weight_bind__refuses_wrong_tensors(void **state)
{
    (void)state;
    static float zeros[64];
    struct tensor good = f32_tensor("blk.0.k", zeros, 8, 4), bad = good,
                  bias = f32_tensor("blk.0.b", zeros, 4, 1);
    bad.dims[0] = 16;
    expect_bind(bad, NULL, "tensor blk.0.k: found 2 dimensions with rows of 16, expected 2 with rows of 8");
    bad = good;
    bad.n_bytes--;
    expect_bind(bad, NULL, "tensor blk.0.k: found 127 bytes, which are not 4 rows of 8 in f32");
    bad = good;
    bad.n_dims = 3;
    expect_bind(bad, NULL, "found 3 dimensions");
    bad = good;
    bad.type = DTYPE_Q8_0;
    expect_bind(bad, NULL, "rows of 8 in q8_0");
    bias.dims[0] = 5;
    expect_bind(good, &bias, "tensor blk.0.b: found 5 elements of f32, expected 4 of f32");
    struct err err = {0};
    assert_null(backend_weight_bind(&backend, NULL, 0, &err));
    expect(false, &err, "found 0 parts, expected 1 to 4");
}

static void backend_gemm__checks_and_computes(void **state)
{
    (void)state;
    static const float identity[] = {1, 0, 0, 1, 1, 1}; /* three rows of two */
    struct tensor t = f32_tensor("w", identity, 2, 3);
    struct weight_part part = {&t, NULL};
    struct err err = {0};
    struct bweight *w = backend_weight_bind(&backend, &part, 1, &err);
    assert_non_null(w);
    static const float a[] = {9, 9, 3, 4};
    struct bbuf *in = fixture_buf(&backend, a, 4), *out = fixture_buf(&backend, NULL, 3);
    struct op_gemm op = {.w = w, .a = in, .a_row = 1, .out = out, .n_tokens = 1};
    assert_true(backend_gemm(&backend, &op, &err));
    float *found = fixture_read(&backend, out, 3);
    assert_true(found[0] == 3 && found[1] == 4 && found[2] == 7);
    mem_free(found);
    op.a_row = 9;
    op.n_tokens = 2;
    expect(backend_gemm(&backend, &op, &err), &err,
           "gemm: the input holds 80 bytes, expected 11 rows of 2, 88 bytes");
    op.a_row = 0;
    op.out = in;
    expect(backend_gemm(&backend, &op, &err), &err, "same buffer");
    static const int32_t ids[] = {2, 3, -1};
    struct op_embed embed = {w, ids, out, 1};
    assert_true(backend_embed(&backend, &embed, &err));
    embed.n_tokens = 2;
    expect(backend_embed(&backend, &embed, &err), &err, "embed: token 1 has id 3, expected 0 to 2");
    embed.ids = ids + 2;
    embed.n_tokens = 1;
    expect(backend_embed(&backend, &embed, &err), &err, "token 0 has id -1");
    backend_weight_free(&backend, w);
    backend_buf_free(&backend, in);
    backend_buf_free(&backend, out);
}

static void backend_buf__zeroed_and_bounded(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, (size_t)3 << 20};
    struct err err = {0};
    for (size_t i = 0; i < 4; i++) {
        struct bbuf *buf = backend_buf_new(&backend, sizes[i], &err);
        assert_non_null(buf);
        char last = 1, zero = 0;
        if (sizes[i] > 0) {
            assert_true(backend_buf_read(&backend, buf, sizes[i] - 1, &last, 1, &err));
            assert_int_equal(last, 0);
            assert_true(backend_buf_write(&backend, buf, sizes[i] - 1, &zero, 1, &err));
        }
        expect(backend_buf_write(&backend, buf, sizes[i], &zero, 1, &err), &err, "buf_write: ");
        expect(backend_buf_read(&backend, buf, SIZE_MAX, &zero, 2, &err), &err, "buf_read: ");
        backend_buf_free(&backend, buf);
    }
    assert_null(backend_buf_new(&backend, SIZE_MAX - 8, &err));
    assert_int_equal(err.code, ERR_MEMORY);
}

static void arith_peak__is_there_for_every_instruction_set(void **state)
{
    (void)state;
    struct cpu_features features = cpu_features_get();
    for (int isa = CPU_SCALAR; isa < CPU_ISA_N; isa++) {
        if (!cpu_isa_available((enum cpu_isa)isa, &features))
            continue;
        struct backend b = fixture_open(2, cpu_isa_name((enum cpu_isa)isa));
        for (int i = 0; i < ARITH_N; i++)
            assert_true(b.ops->arith_peak(b.ctx, (enum arith)i) > 0);
        assert_int_equal(b.ops->weight_arith(b.ctx, DTYPE_Q4_K), ARITH_INT8);
        assert_int_equal(b.ops->weight_arith(b.ctx, DTYPE_F16), ARITH_F32);
        assert_int_equal(b.ops->weight_arith(b.ctx, DTYPE_BF16),
                         isa == CPU_AVX512BF16 ? ARITH_BF16 : ARITH_F32);
        backend_close(&b);
    }
}

/* KV rows are told apart by this name: threads do not count, the revision does, also behind a name that is
 * too long. */
static void kernels_name__has_no_threads_and_a_revision(void **state)
{
    (void)state;
    char name[32], revision[12];
    snprintf(revision, sizeof revision, " r%d", BACKEND_KERNELS_REVISION);
    backend_kernels_name("opencl xyz gpu 2/3 cpu x16 y", name, sizeof name);
    assert_memory_equal(name, "opencl xyz gpu 2/3 cpu y", 24);
    assert_string_equal(name + 24, revision);
    backend_kernels_name("a device whose name goes on and on", name, sizeof name);
    assert_int_equal(strlen(name), sizeof name - 1);
    assert_string_equal(name + sizeof name - 1 - strlen(revision), revision);
}

static void backend_cpu_open__reports_what_it_has_and_has_not(void **state)
{
    (void)state;
    struct backend b = {0};
    struct err err = {0};
    assert_true(backend_cpu_open(&b, 3, "scalar", &err));
    assert_string_equal(b.ops->describe(b.ctx), "cpu x3 scalar");
    assert_int_equal(b.ops->n_threads(b.ctx), 3);
    static char bytes[4097] = {1};
    assert_true(b.ops->read_bandwidth(b.ctx, bytes, sizeof bytes) > 0);
    b.ops->park(b.ctx);
    assert_true(b.ops->sync(b.ctx));
    backend_close(&b);
    expect(backend_cpu_open(&b, 1, "mmx", &err), &err, "no kernels called \"mmx\"");
    assert_int_equal(err.code, ERR_USAGE);
    expect(backend_cpu_open(&b, -1, NULL, &err), &err, "-1 threads asked for");
    assert_true(backend_cpu_cores() >= 1);
}

static void backend_cpu_open__survives_failed_allocations(void **state)
{
    (void)state;
    for (long n = 0; n < 100; n++) {
        struct backend b = {0};
        struct err err = {0};
        mem_fail_after(n);
        bool ok = backend_cpu_open(&b, 2, NULL, &err);
        bool failed = mem_fail_happened();
        mem_fail_after(-1);
        assert_int_equal(ok, !failed);
        if (ok) {
            backend_close(&b);
            return;
        }
        assert_int_equal(err.code, ERR_MEMORY);
    }
    fail_msg("opening takes more than 100 allocations");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backend_attention__refuses_wrong_shapes),
        cmocka_unit_test(backend_attention__refuses_wrong_sequences),
        cmocka_unit_test(backend_attention__refuses_a_wrong_cache),
        cmocka_unit_test(backend_qkv_rope_cache__refuses_wrong_arguments),
        cmocka_unit_test(backend_rms_norm__refuses_wrong_arguments),
        cmocka_unit_test(backend_silu_mul__refuses_wrong_arguments),
        cmocka_unit_test(backend_gate_up__refuses_wrong_arguments),
        cmocka_unit_test(backend_ops__no_tokens__is_a_no_op),
        cmocka_unit_test(backend_weight_bind__refuses_wrong_tensors),
        cmocka_unit_test(backend_gemm__checks_and_computes),
        cmocka_unit_test(backend_buf__zeroed_and_bounded),
        cmocka_unit_test(arith_peak__is_there_for_every_instruction_set),
        cmocka_unit_test(kernels_name__has_no_threads_and_a_revision),
        cmocka_unit_test(backend_cpu_open__reports_what_it_has_and_has_not),
        cmocka_unit_test(backend_cpu_open__survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
