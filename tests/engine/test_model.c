/* Loading models: what their configuration says, and a sentence for every way a file can be wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "engine/model.h"
#include "engine/timeline.h"
#include "tests/engine/model_edit.h"
#include "tests/engine/ref_backend.h"
#include "tests/support/tiny_model.h"

static struct backend backend;

static int set_up(void **state)
{
    (void)state;
    ref_backend_open(&backend);
    return 0;
}

static struct buf make_file(const char *arch)
{
    struct buf file = {0};
    struct tiny_options options = {.arch = arch, .type = DTYPE_F32, .seed = 1};
    assert_true(tiny_model_make(&options, &file));
    return file;
}

static struct model *load(struct buf *file)
{
    struct err err;
    struct model *m = edit_load(file, &backend, NULL, &err);
    if (!m)
        print_message("%s\n", err.text);
    assert_non_null(m);
    buf_fini(file);
    return m;
}

/* The end of every sentence: what to do. */
static bool has_remedy(const char *text)
{
    static const char *const remedies[] = {"get it again", "get a",    "get the", "use a",
                                           "use one",      "download", "rename",  "fetch"};
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
        if (strstr(text, remedies[i]))
            return true;
    return false;
}

/* Nothing of a file may reach a terminal as a command to it. */
static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7F)
            return false;
    return true;
}

/* The file must be refused with a printable sentence that holds both words and says what to do. */
static void assert_refused(struct buf *file, const char *word, const char *other)
{
    struct err err = {0};
    assert_null(edit_load(file, &backend, NULL, &err));
    if (err.code != ERR_MODEL || !strstr(err.text, word) || !strstr(err.text, other))
        fail_msg("expected \"%s\" and \"%s\" in: %s", word, other, err.text);
    if (!has_remedy(err.text) || !is_printable(err.text))
        fail_msg("no remedy, or not printable: %s", err.text);
    buf_fini(file);
}

static void model__load__reads_the_configuration(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        uint32_t head_dim;
        enum rope_mode mode;
    } archs[] = {{"llama", 16, ROPE_INTERLEAVED}, {"qwen2", 16, ROPE_NEOX}, {"qwen3", 32, ROPE_NEOX}};
    for (int i = 0; i < 3; i++) {
        struct buf file = make_file(archs[i].arch);
        struct model *m = load(&file);
        const struct model_config *c = model_config(m);
        assert_string_equal(c->arch, archs[i].arch);
        assert_string_equal(c->name, "tiny random");
        assert_string_equal(c->quant, "F32");
        assert_int_equal(c->n_layer, TINY_N_LAYERS);
        assert_int_equal(c->n_embd, TINY_N_EMBD);
        assert_int_equal(c->n_head, 4);
        assert_int_equal(c->n_kv_head, 2);
        assert_int_equal(c->head_dim, archs[i].head_dim);
        assert_int_equal(c->n_rot, archs[i].head_dim);
        assert_int_equal(c->n_ff, 128);
        assert_int_equal(c->n_vocab, TINY_N_VOCAB);
        assert_int_equal(c->n_ctx_train, 512);
        assert_int_equal(c->rope_mode, archs[i].mode);
        assert_int_equal(c->window, 0);
        assert_float_equal(c->rms_eps, 1e-5f, 0);
        assert_float_equal(c->rope_scale, 1.0f, 0);
        model_free(m);
    }
    model_free(NULL);
}

static void model__load__token_bytes_count_the_head_once(void **state)
{
    (void)state;
    uint64_t row = TINY_N_EMBD * sizeof(float), table = row * TINY_N_VOCAB;
    struct buf own = make_file("llama"), tied = make_file("qwen3");
    struct model *m = load(&own);
    assert_int_equal(model_config(m)->token_weight_bytes, model_config(m)->weight_bytes - table + row);
    model_free(m);
    m = load(&tied);
    assert_int_equal(model_config(m)->token_weight_bytes, model_config(m)->weight_bytes + row);
    model_free(m);
}

static void model__load__names_the_quantisation(void **state)
{
    (void)state;
    static const struct {
        uint32_t number;
        const char *name;
    } types[] = {{0, "F32"}, {15, "Q4_K_M"}, {1024 + 7, "Q8_0"}, {32, "BF16"}, {5, "F32"}, {4000, "F32"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct buf file = make_file("llama");
        struct gguf_writer keys = {0};
        gguf_write_u32(&keys, "general.file_type", types[i].number);
        edit_insert_keys(&file, &keys);
        struct model *m = load(&file);
        assert_string_equal(model_config(m)->quant, types[i].name);
        model_free(m);
    }
}

static void model__load__absurd_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        const char *word;
    } cases[] = {
        {"llama.block_count", 0, "block_count"},
        {"llama.block_count", 513, "512"},
        {"llama.block_count", 3, "blk.2."},
        {"llama.block_count", 1, "blk.1."},
        {"llama.context_length", 0, "context_length"},
        {"llama.embedding_length", 0, "embedding_length"},
        {"llama.embedding_length", UINT32_MAX, "embedding_length"},
        {"llama.embedding_length", 32, "64"},
        {"llama.feed_forward_length", 0, "feed_forward_length"},
        {"llama.feed_forward_length", 64, "ffn_gate"},
        {"llama.attention.head_count", 0, "head_count"},
        {"llama.attention.head_count", 5, "5 attention heads"},
        {"llama.attention.head_count_kv", 0, "head_count_kv"},
        {"llama.attention.head_count_kv", 3, "3 key/value heads"},
        {"llama.attention.head_count_kv", 4, "attn_k"},
        {"llama.attention.key_length", 15, "15"},
        {"llama.attention.key_length", 1024, "key_length"},
        {"llama.attention.value_length", 32, "value_length"},
        {"llama.rope.dimension_count", 17, "dimension_count"},
        {"llama.rope.dimension_count", 15, "even"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("llama");
        edit_u32(&file, cases[i].key, cases[i].value);
        assert_refused(&file, cases[i].word, "ferrum-model");
    }
}

static void model__load__absurd_reals(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        float value;
    } cases[] = {
        {"llama.attention.layer_norm_rms_epsilon", -1e-5f},
        {"llama.attention.layer_norm_rms_epsilon", NAN},
        {"llama.attention.layer_norm_rms_epsilon", 3.0f},
        {"llama.rope.freq_base", 0.0f},
        {"llama.rope.freq_base", -10.0f},
        {"llama.rope.freq_base", INFINITY},
        {"llama.rope.freq_base", NAN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("llama");
        edit_f32(&file, cases[i].key, cases[i].value);
        assert_refused(&file, cases[i].key, "expected");
    }
}

static void model__load__missing_keys(void **state)
{
    (void)state;
    static const char *const keys[][2] = {
        {"general.architecture", "general.architecturX"},
        {"llama.block_count", "llama.block_counX"},
        {"llama.context_length", "llama.context_lengtX"},
        {"llama.embedding_length", "llama.embedding_lengtX"},
        {"llama.feed_forward_length", "llama.feed_forward_lengtX"},
        {"llama.attention.head_count", "llama.attention.head_counX"},
        {"llama.attention.layer_norm_rms_epsilon", "llama.attention.layer_norm_rms_epsiloX"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct buf file = make_file("llama");
        edit_rename(&file, keys[i][0], keys[i][1]);
        assert_refused(&file, keys[i][0], "");
    }
}

static void model__load__missing_tensors(void **state)
{
    (void)state;
    static const char *const names[][3] = {
        {"llama", "token_embd.weight", "token_embd.weighX"},
        {"llama", "output_norm.weight", "output_norm.weighX"},
        {"llama", "blk.1.attn_norm.weight", "blk.1.attn_norm.weighX"},
        {"llama", "blk.0.attn_v.weight", "blk.0.attn_v.weighX"},
        {"llama", "blk.1.ffn_down.weight", "blk.1.ffn_down.weighX"},
        {"qwen2", "blk.0.attn_k.bias", "blk.0.attn_k.biaX"},
        {"qwen3", "blk.1.attn_q_norm.weight", "blk.1.attn_q_norm.weighX"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buf file = make_file(names[i][0]);
        edit_rename(&file, names[i][1], names[i][2]);
        assert_refused(&file, names[i][1], "missing");
    }
}

static void model__load__wrong_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        int dim;
        uint64_t value;
        const char *found;
    } cases[] = {
        {"output_norm.weight", 0, 63, "63, expected 64"},
        {"blk.0.attn_q.weight", 1, 63, "64 x 63, expected 64 x 64"},
        {"blk.1.ffn_down.weight", 0, 127, "127 x 64, expected 128 x 64"},
        {"token_embd.weight", 0, 32, "32 x 384, expected 64 x 384"},
        {"output.weight", 1, 100, "64 x 100, expected 64 x 384"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf file = make_file("llama");
        edit_dim(&file, cases[i].tensor, cases[i].dim, cases[i].value);
        assert_refused(&file, cases[i].tensor, cases[i].found);
    }
}

static void model__load__vocabulary_of_another_size(void **state)
{
    (void)state;
    struct buf file = make_file("qwen3");
    edit_dim(&file, "token_embd.weight", 1, 383);
    assert_refused(&file, "383", "384");
}

/* A tensor nobody reads would make the answers quietly wrong. */
static void model__load__a_tensor_too_many(void **state)
{
    (void)state;
    struct buf file = make_file("llama");
    edit_rename(&file, "output.weight", "outpuX.weight");
    assert_refused(&file, "outpuX.weight", "not part of");
}

static void model__load__unknown_architectures(void **state)
{
    (void)state;
    struct buf file = make_file("llama");
    edit_string(&file, "general.architecture", "gemma");
    assert_refused(&file, "gemma", "llama, qwen2, qwen3");
    file = make_file("llama");
    edit_string(&file, "general.architecture", "\xff\xfe..\n");
    assert_refused(&file, "general.architecture", "");
}

/* ESC, newline and a C1 character in what the file calls things. */
static void model__load__names_meant_for_a_terminal(void **state)
{
    (void)state;
    struct gguf_writer keys = {0};
    struct buf file = make_file("llama");
    edit_string(&file, "general.architecture", "\033[2J\n");
    assert_refused(&file, "architecture ?[2J?", "llama, qwen2");
    file = make_file("llama");
    edit_string(&file, "general.architecture",
                "\033\xc2\x9b"
                "2J");
    assert_refused(&file, "architecture ???2J", "llama, qwen2");
    file = make_file("llama");
    edit_rename(&file, "output.weight", "\033]0;hi\007\n.wxyz");
    assert_refused(&file, "?]0;hi??.wxyz", "not part of");
    file = make_file("llama");
    gguf_write_string(&keys, "llama.rope.scaling.type", "\033[31m\r\n");
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "?[31m??", "yarn");
}

static void model__load__rope_scaling(void **state)
{
    (void)state;
    struct gguf_writer keys = {0};
    struct buf file = make_file("llama");
    gguf_write_string(&keys, "llama.rope.scaling.type", "linear");
    gguf_write_f32(&keys, "llama.rope.scaling.factor", 4.0f);
    edit_insert_keys(&file, &keys);
    struct model *m = load(&file);
    assert_float_equal(model_config(m)->rope_scale, 4.0f, 0);
    model_free(m);
    file = make_file("llama");
    gguf_write_string(&keys, "llama.rope.scaling.type", "spiral");
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "spiral", "yarn");
    file = make_file("llama");
    gguf_write_f32(&keys, "llama.rope.scaling.factor", NAN);
    edit_insert_keys(&file, &keys);
    assert_refused(&file, "rope.scaling.factor", "nan");
}

/* The logits after a few tokens far enough apart for the rotation to matter. */
static void eval_some(struct buf *file, float *out)
{
    int32_t ids[40];
    for (int i = 0; i < 40; i++)
        ids[i] = 5 + i;
    struct model *m = load(file);
    struct timeline_options options = {.n_ctx = 64, .kv_type = DTYPE_F32};
    struct timeline *t = timeline_new(m, &options, NULL);
    assert_non_null(t);
    assert_true(timeline_eval(t, ids, 40, NULL, NULL, NULL));
    memcpy(out, timeline_logits(t), TINY_N_VOCAB * sizeof *out);
    timeline_free(t);
    model_free(m);
}

static uint64_t data_bytes_of(const char *arch)
{
    struct buf file = make_file(arch);
    struct model *m = load(&file);
    uint64_t n = model_config(m)->weight_bytes;
    model_free(m);
    return n;
}

/* Llama 3's tensor of factors: eight everywhere is linear scaling by eight. */
static void model__load__rope_factors(void **state)
{
    (void)state;
    float eights[8] = {8, 8, 8, 8, 8, 8, 8, 8}, wrong[8] = {8, 8, 0, 8, 8, 8, 8, 8};
    float plain[TINY_N_VOCAB], linear[TINY_N_VOCAB], factors[TINY_N_VOCAB];
    uint64_t n = data_bytes_of("llama");
    struct gguf_writer keys = {0};
    struct buf file = make_file("llama");
    eval_some(&file, plain);
    file = make_file("llama");
    gguf_write_f32(&keys, "llama.rope.scaling.factor", 8.0f);
    edit_insert_keys(&file, &keys);
    eval_some(&file, linear);
    file = make_file("llama");
    edit_add_vector(&file, "rope_freqs.weight", eights, 8, n);
    eval_some(&file, factors);
    assert_memory_equal(factors, linear, sizeof linear);
    assert_memory_not_equal(factors, plain, sizeof plain);
    file = make_file("llama");
    edit_add_vector(&file, "rope_freqs.weight", wrong, 8, n);
    assert_refused(&file, "rope_freqs.weight", "positive");
    file = make_file("llama");
    edit_add_vector(&file, "rope_freqs.weight", eights, 7, n);
    assert_refused(&file, "rope_freqs.weight", "7, expected 8");
}

static bool count_down(void *arg, uint64_t done, uint64_t total)
{
    int *left = arg;
    assert_true(done <= total);
    return --*left >= 0;
}

static void model__load__reports_and_can_be_cancelled(void **state)
{
    (void)state;
    struct buf file = make_file("qwen2");
    struct err err = {0};
    for (int allowed = 0;; allowed++) {
        int left = allowed;
        struct model *m = edit_load(&file, &backend, &(struct load_progress){count_down, &left}, &err);
        if (m) {
            assert_true(allowed >= TINY_N_LAYERS);
            model_free(m);
            break;
        }
        assert_int_equal(err.code, ERR_CANCELLED);
    }
    buf_fini(&file);
}

#define LOADED_ALL_THE_SAME 97

/* Each in a process of its own, since small allocations that fail end it, with the memory code. */
static int load_with_failure(const char *path, long at)
{
    pid_t child = fork();
    if (child == 0) {
        struct err err = {0};
        if (!freopen("/dev/null", "w", stderr))
            _exit(99);
        mem_fail_after(at);
        struct model *m = model_load(path, &backend, NULL, &err);
        bool happened = mem_fail_happened();
        mem_fail_after(-1);
        bool loaded = m != NULL, sound = loaded || (happened && err.code == ERR_MEMORY);
        model_free(m);
        _exit(!sound ? 98 : loaded ? happened ? LOADED_ALL_THE_SAME : 0 : ERR_MEMORY);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void model__load__every_allocation_may_fail(void **state)
{
    (void)state;
    char path[] = "/tmp/ferrum-model-XXXXXX";
    close(mkstemp(path));
    struct buf file = make_file("qwen2");
    assert_true(test_write_file(path, file.data, file.len));
    int rc = ERR_MEMORY, n_spared = 0;
    /* Steps grow: the vocabulary alone makes hundreds alike. */
    for (long at = 0; rc == ERR_MEMORY || rc == LOADED_ALL_THE_SAME; at += 1 + at / 24) {
        rc = load_with_failure(path, at);
        n_spared += rc == LOADED_ALL_THE_SAME;
    }
    assert_int_equal(rc, 0);
    /* Reading ahead is the one thing a model does without: its thread has one allocation. */
    assert_true(n_spared <= 1);
    unlink(path);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model__load__reads_the_configuration),
        cmocka_unit_test(model__load__token_bytes_count_the_head_once),
        cmocka_unit_test(model__load__names_the_quantisation),
        cmocka_unit_test(model__load__absurd_numbers),
        cmocka_unit_test(model__load__absurd_reals),
        cmocka_unit_test(model__load__missing_keys),
        cmocka_unit_test(model__load__missing_tensors),
        cmocka_unit_test(model__load__wrong_shapes),
        cmocka_unit_test(model__load__vocabulary_of_another_size),
        cmocka_unit_test(model__load__a_tensor_too_many),
        cmocka_unit_test(model__load__unknown_architectures),
        cmocka_unit_test(model__load__names_meant_for_a_terminal),
        cmocka_unit_test(model__load__rope_scaling),
        cmocka_unit_test(model__load__rope_factors),
        cmocka_unit_test(model__load__reports_and_can_be_cancelled),
        cmocka_unit_test(model__load__every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
