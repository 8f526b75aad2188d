/* fingerprint_test.c: what makes two model files the same weights, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/fingerprint.h"
#include "tests/support/tiny_model.h"

#define ARCH "qwen3"

struct file {
    struct buf bytes;
    struct gguf *g;
};

static void open_file(struct file *f)
{
    struct err err = {0};
    const struct tiny_options options = {.arch = ARCH, .type = DTYPE_F32, .chatml = true, .seed = 1};
    *f = (struct file){0};
    assert_true(tiny_model_make(&options, &f->bytes));
    f->g = gguf_open_memory(f->bytes.data, f->bytes.len, "tiny", true, &err);
    assert_non_null(f->g);
}

static void close_file(struct file *f)
{
    gguf_close(f->g);
    buf_fini(&f->bytes);
}

/* Whether the weights' fingerprint is another one with a bit at this place of the file changed. */
static bool bit_counts(struct file *f, const void *at)
{
    unsigned char before[FINGERPRINT_BYTES], after[FINGERPRINT_BYTES];
    char *byte = f->bytes.data + ((const char *)at - f->bytes.data);
    assert_true(fingerprint_of_weights(f->g, ARCH, before));
    *byte ^= 1;
    assert_true(fingerprint_of_weights(f->g, ARCH, after));
    *byte ^= 1;
    return memcmp(before, after, sizeof before) != 0;
}

static void fingerprint__of_weights__sees_every_tensor(void **state)
{
    (void)state;
    struct file f;
    open_file(&f);
    assert_true(gguf_n_tensors(f.g) > 20);
    for (size_t i = 0; i < gguf_n_tensors(f.g); i++) {
        const struct tensor *t = gguf_tensor_at(f.g, i);
        assert_true(bit_counts(&f, t->data));
        assert_true(bit_counts(&f, (const char *)t->data + t->n_bytes / 2));
        assert_true(bit_counts(&f, (const char *)t->data + t->n_bytes - 1));
    }
    close_file(&f);
}

static void fingerprint__of_weights__sees_the_numbers_of_the_architecture(void **state)
{
    (void)state;
    struct file f;
    open_file(&f);
    size_t n = 0;
    for (size_t i = 0; i < gguf_n_kv(f.g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(f.g, i);
        if (kv->type == GGUF_ARRAY || kv->type == GGUF_STRING)
            continue;
        bool is_config = kv->key.n > strlen(ARCH) && !memcmp(kv->key.data, ARCH ".", strlen(ARCH) + 1);
        assert_int_equal(bit_counts(&f, kv->data), is_config);
        n += is_config;
    }
    assert_true(n > 5);
    close_file(&f);
}

static void fingerprint__of_weights__ignores_the_template(void **state)
{
    (void)state;
    struct file f;
    open_file(&f);
    struct gguf_string template;
    assert_true(gguf_get_string(f.g, "tokenizer.chat_template", &template, NULL));
    assert_false(bit_counts(&f, template.data + template.n / 2));
    close_file(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fingerprint__of_weights__sees_every_tensor),
        cmocka_unit_test(fingerprint__of_weights__sees_the_numbers_of_the_architecture),
        cmocka_unit_test(fingerprint__of_weights__ignores_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
