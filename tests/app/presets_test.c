/* presets_test.c: which row of the table a model file gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/presets.h"
#include "tests/support/gguf_write.h"

struct names {
    const char *arch, *name, *basename, *finetune;
    bool has_template;
    const char *own; /* a key that the file has besides, or NULL */
};

/* The name of the preset, "" for none; its settings go over the defaults into *params. */
static const char *find(const struct names *n, bool reasons, struct sampler_params *params)
{
    struct gguf_writer w = {0};
    struct buf bytes = {0};
    gguf_write_string(&w, "general.architecture", n->arch);
    if (n->name)
        gguf_write_string(&w, "general.name", n->name);
    if (n->basename)
        gguf_write_string(&w, "general.basename", n->basename);
    if (n->finetune)
        gguf_write_string(&w, "general.finetune", n->finetune);
    if (n->has_template)
        gguf_write_string(&w, "tokenizer.chat_template", "{{ messages }}");
    if (n->own)
        gguf_write_f32(&w, n->own, 0.5f);
    gguf_write_finish(&w, &bytes);
    struct gguf *g = gguf_open_memory(bytes.data, bytes.len, "test.gguf", false, NULL);
    assert_non_null(g);
    const struct preset *p = preset_find(g, reasons);
    *params = sampler_defaults();
    if (p)
        preset_apply(p, params);
    gguf_close(g);
    buf_fini(&bytes);
    return p ? preset_name(p) : "";
}

static const struct {
    const char *arch, *name;
    bool reasons;
    const char *preset;
    float temp;
    int32_t top_k;
    float top_p, min_p, repeat, presence;
} families[] = {
    {"qwen3", "Qwen3 0.6B", true, "Qwen3", 0.6f, 20, 0.95f, 0, 1, 0},
    {"qwen3", "Qwen3 0.6B Instruct", false, "Qwen3", 0.7f, 20, 0.8f, 0, 1, 0},
    {"qwen3moe", "Qwen3-30B-A3B-Instruct-2507", false, "Qwen3-2507 Instruct", 0.7f, 20, 0.8f, 0, 1, 0},
    {"qwen3", "Qwen3 4B Thinking 2507", true, "Qwen3-2507 Thinking", 0.6f, 20, 0.95f, 0, 1, 0},
    {"qwen3moe", "Qwen3-Coder-30B-A3B-Instruct", false, "Qwen3-Coder", 0.7f, 20, 0.8f, 0.05f, 1.05f, 0},
    {"qwen35", "Qwen3.5 4B", true, "Qwen3.5", 1, 20, 0.95f, 0, 1, 1.5f},
    {"qwen2", "Qwen2.5 7B Instruct", false, "Qwen2.5", 0.7f, 20, 0.8f, 0.05f, 1.05f, 0},
    {"qwen2", "QwQ 32B", true, "QwQ", 0.6f, 40, 0.95f, 0, 1, 0},
    {"qwen2", "DeepSeek R1 Distill Qwen 7B", true, "DeepSeek-R1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"qwen3", "Deepseek-R1-0528-Qwen3-8B", true, "DeepSeek-R1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Llama 3.2 1B Instruct", false, "Llama 3", 0.6f, 40, 0.9f, 0.05f, 1, 0},
    {"llama", "Magistral Small 2506", true, "Magistral", 0.7f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Mistral Small 3.2 24B Instruct 2506", false, "Mistral Small 3.1", 0.15f, 40, 0.95f, 0.05f, 1,
     0},
    {"llama", "Mistral-Small-24B-Instruct-2501", false, "Mistral Small 3", 0.15f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Mistral Nemo Instruct 2407", false, "Mistral Nemo", 0.3f, 40, 0.95f, 0.05f, 1, 0},
    {"gemma3", "Gemma 3 4b It", false, "Gemma 3", 1, 64, 0.95f, 0, 1, 0},
    {"smollm3", "SmolLM3 3B", true, "SmolLM3", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"gpt-oss", "gpt-oss-20b", true, "gpt-oss", 1, 0, 1, 0, 1, 0},
    {"lfm2", "LFM2 1.2B", false, "LFM2", 0.3f, 40, 0.95f, 0.15f, 1.05f, 0},
    {"lfm2", "LFM2.5 1.2B Instruct", false, "LFM2.5", 0.1f, 50, 0.1f, 0.05f, 1.05f, 0},
    {"deepseek2", "Kimi K2 Instruct", false, "Kimi-K2", 0.6f, 40, 0.95f, 0.05f, 1, 0},
};

static void presets__find__known_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct names names = {.arch = families[i].arch, .name = families[i].name, .has_template = true};
        struct sampler_params p;
        assert_string_equal(find(&names, families[i].reasons, &p), families[i].preset);
        assert_float_equal(p.temp, families[i].temp, 0);
        assert_int_equal(p.top_k, families[i].top_k);
        assert_float_equal(p.top_p, families[i].top_p, 0);
        assert_float_equal(p.min_p, families[i].min_p, 0);
        assert_float_equal(p.repeat_penalty, families[i].repeat, 0);
        assert_float_equal(p.presence_penalty, families[i].presence, 0);
    }
}

/* Some files say in three keys what others say in one. */
static void presets__find__a_name_may_be_in_parts(void **state)
{
    (void)state;
    const struct names parts = {"qwen2", NULL, "Qwen2.5", "Instruct", true, NULL};
    const struct names split = {"qwen2", "Qwen2", ".5", "Instruct", true, NULL};
    struct sampler_params p;
    assert_string_equal(find(&parts, false, &p), "Qwen2.5");
    assert_string_equal(find(&split, false, &p), "");
}

static void presets__find__nothing_for_others(void **state)
{
    (void)state;
    static const struct names cases[] = {
        {"llama", "stories260K", NULL, NULL, true, NULL},
        {"llama", NULL, NULL, NULL, true, NULL},
        {"llama", "Llama 2 7B Chat", NULL, NULL, true, NULL},
        {"llama", "Hermes 3 Llama 3.1 8B", NULL, NULL, true, NULL},
        {"qwen3", "Nemotron Nano", NULL, NULL, true, NULL},
        {"llama", "Qwen3", NULL, NULL, true, NULL},
        {"qwen2", "Qwen2.5 7B", NULL, NULL, true, NULL},  /* not tuned for chats */
        {"qwen3", "Qwen3 0.6B", NULL, NULL, false, NULL}, /* no template */
        {"qwen3", "Qwen3 0.6B", NULL, NULL, true, "general.sampling.temp"},
        {"gemma3", "Gemma 3 4b Pt", NULL, NULL, true, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sampler_params p;
        assert_string_equal(find(&cases[i], true, &p), "");
        assert_string_equal(find(&cases[i], false, &p), "");
    }
}

/* A file may say anything: long names, bytes that are no text. */
static void presets__find__survives_strange_names(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'q', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct sampler_params p;
    const struct names cases[] = {{"qwen3", name, name, name, true, NULL},
                                  {"qwen3",
                                   "\xFF\xC0Qwen\xE2\x80\x93"
                                   "3",
                                   NULL, NULL, true, NULL}};
    assert_string_equal(find(&cases[0], true, &p), "");
    assert_string_equal(find(&cases[1], true, &p), "Qwen3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets__find__known_families),
        cmocka_unit_test(presets__find__a_name_may_be_in_parts),
        cmocka_unit_test(presets__find__nothing_for_others),
        cmocka_unit_test(presets__find__survives_strange_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
