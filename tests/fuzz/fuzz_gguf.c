/* fuzz_gguf.c: any bytes as a model file: refused with a sentence, or readable to the last byte. */
#include <stdlib.h>

#include "engine/gguf.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/gguf_write.h"

static unsigned touch_values(const struct gguf *g)
{
    unsigned sum = 0;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        struct gguf_string s;
        int32_t number;
        float real;
        for (uint64_t j = 0; j < kv->n_items; j++) {
            if (gguf_array_string(kv, j, &s))
                sum += s.n ? (unsigned char)s.data[s.n - 1] : 0;
            if (gguf_array_i32(kv, j, &number))
                sum += (unsigned)number;
            if (gguf_array_f32(kv, j, &real))
                sum += real > 0;
        }
    }
    return sum;
}

static unsigned touch_tensors(const struct gguf *g)
{
    unsigned sum = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        const unsigned char *bytes = t->data;
        sum += bytes[0] + bytes[t->n_bytes - 1];
        if (gguf_find_tensor(g, t->name) != t)
            abort();
    }
    return sum;
}

static void touch_keys(const struct gguf *g)
{
    struct err err;
    uint32_t number;
    float real;
    bool flag;
    struct gguf_string text;
    gguf_get_u32(g, "general.alignment", &number, &err);
    gguf_f32_or(g, "general.scale", 1, &real, &err);
    gguf_bool_or(g, "general.flag", false, &flag, &err);
    gguf_get_string(g, "general.architecture", &text, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (int want_tensors = 0; want_tensors <= 1; want_tensors++) {
        struct err err = {0};
        struct gguf *g = gguf_open_memory(data, n, "fuzz.gguf", want_tensors, &err);
        if (!g) {
            if (err.code == ERR_NONE || err.text[0] == '\0')
                abort();
            continue;
        }
        volatile unsigned sum = touch_values(g) + touch_tensors(g);
        (void)sum;
        touch_keys(g);
        gguf_close(g);
    }
    return 0;
}

static void add_keys(struct gguf_writer *w)
{
    gguf_write_string(w, "general.architecture", "llama");
    gguf_write_u32(w, "general.alignment", 32);
    gguf_write_f32(w, "general.scale", 0.5f);
    gguf_write_bool(w, "general.flag", true);
    gguf_write_strings(w, "tokens", (const char *[]){"<unk>", "<s>", "the", "\xe2\x96\x81"}, 4);
    gguf_write_array(w, "types", GGUF_I32, (int32_t[]){2, 3, 1, 1}, 4, 16);
    gguf_write_array(w, "scores", GGUF_F32, (float[]){0, 0, -1, -2}, 4, 16);
}

void fuzz_seed(int i, struct buf *out)
{
    static const float weights[64];
    struct gguf_writer w = {0};
    if (i > 2)
        return;
    if (i > 0)
        add_keys(&w);
    if (i > 1) {
        gguf_write_tensor(&w, "norm", 0, (uint64_t[]){16}, 1, weights, 64);
        gguf_write_tensor(&w, "blk.0.q", 8, (uint64_t[]){32, 2, 3}, 3, weights, 204);
        gguf_write_tensor(&w, "head", 1, (uint64_t[]){4, 4}, 2, weights, 32);
    }
    gguf_write_finish(&w, out);
}
