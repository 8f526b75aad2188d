/* fuzz_vocab.c: any bytes as a vocabulary, and any bytes as text: with every vocabulary that loads, the end
 * of the input is tokenised, turned back and laid out as a prompt. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/prompt.h"
#include "engine/vocab.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/gguf_write.h"

#define TEXT_BYTES ((size_t)256)

static void detokenize(const struct vocab *v, const struct token_list *list)
{
    struct detok d;
    char part[8];
    detok_init(&d, v, true);
    for (size_t i = 0; i < list->n; i++)
        for (size_t k = detok_push(&d, list->ids[i], part, sizeof part); k;
             k = detok_more(&d, part, sizeof part))
            if (k > sizeof part || !utf8_is_valid(part, k))
                abort();
    detok_flush(&d, part);
}

/* Ordinary text must never yield a control token. */
static void check_plain(const struct vocab *v, const struct token_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->ids[i] < 0 || list->ids[i] >= vocab_size(v) ||
            vocab_token_type(v, list->ids[i]) == TOKEN_CONTROL)
            abort();
}

static void use(const struct vocab *v, const char *text, size_t n)
{
    for (unsigned flags = 0; flags < 8; flags++) {
        struct token_list list = {0};
        if (!vocab_encode(v, text, n, flags, &list, NULL))
            abort();
        if (flags == VOCAB_PLAIN || flags == VOCAB_CONTINUES)
            check_plain(v, &list);
        detokenize(v, &list);
        token_list_fini(&list);
    }
    struct prompt_msg msgs[] = {{.role = CHAT_USER, .text = text, .n_bytes = n},
                                {.role = CHAT_ASSISTANT, .text = text, .n_bytes = n / 2}};
    size_t starts[2];
    struct token_list list = {0};
    if (!prompt_build(v, prompt_style_of(v), msgs, 2, &list, starts, NULL))
        abort();
    token_list_fini(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = {0};
    struct gguf *g = gguf_open_memory(data, n, "fuzz.gguf", false, &err);
    struct vocab *v = g ? vocab_new(g, &err) : NULL;
    size_t n_text = n < TEXT_BYTES ? n : TEXT_BYTES;
    if (v)
        use(v, (const char *)data + n - n_text, n_text);
    else if (err.code == ERR_NONE || err.text[0] == '\0')
        abort();
    vocab_free(v);
    gguf_close(g);
    return 0;
}

static void add_spm(struct gguf_writer *w, const char *model)
{
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "<0x41>",   "\u2581",
                                         "h",     "e",   "he",   "\u2581he", "wow"};
    static const int32_t types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 4};
    static const float scores[] = {0, 0, 0, 0, -1, -2, -3, -4, -5, 0};
    gguf_write_string(w, "tokenizer.ggml.model", model);
    gguf_write_strings(w, "tokenizer.ggml.tokens", tokens, 10);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, 10, sizeof types);
    gguf_write_array(w, "tokenizer.ggml.scores", GGUF_F32, scores, 10, sizeof scores);
    gguf_write_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_write_strings(w, "tokenizer.ggml.merges", (const char *[]){"h e", "\u2581 he", "\u2581 \u2581"}, 3);
}

static void add_bpe(struct gguf_writer *w, const char *pre)
{
    static const char *const tokens[] = {"h",  "e",          "\u0120",  "he", "\u0120he", "<|im_start|>",
                                         "\n", "<|im_end|>", "<think>", "t",  "\u010a"};
    static const int32_t types[] = {1, 1, 1, 1, 1, 3, 4, 3, 4, 1, 1};
    gguf_write_string(w, "tokenizer.ggml.model", "gpt2");
    gguf_write_string(w, "tokenizer.ggml.pre", pre);
    gguf_write_strings(w, "tokenizer.ggml.tokens", tokens, 11);
    gguf_write_array(w, "tokenizer.ggml.token_type", GGUF_I32, types, 11, sizeof types);
    gguf_write_strings(w, "tokenizer.ggml.merges", (const char *[]){"h e", "\u0120 he", "h", "x y"}, 4);
    gguf_write_u32(w, "tokenizer.ggml.eos_token_id", 7);
    gguf_write_bool(w, "tokenizer.ggml.add_bos_token", true);
}

void fuzz_seed(int i, struct buf *out)
{
    static const char *const names[] = {"gpt-2", "llama-bpe", "qwen2", "unknown"};
    struct gguf_writer w = {0};
    if (i > 5)
        return;
    if (i >= 4)
        add_spm(&w, i == 4 ? "llama" : "gemma4");
    else
        add_bpe(&w, names[i]);
    gguf_write_string(&w, "text", "<|im_start|>he he\n\n 12345 <think>wow</s> \u00e9\u2581\U0001F999 it's");
    gguf_write_finish(&w, out);
}
