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
    {"qwen3moe", "Qwen_Qwen3-30B-A3B-GGUF", false, "Qwen3", 0.7f, 20, 0.8f, 0, 1, 0},
    {"qwen3moe", "Qwen3-30B-A3B-Instruct-2507", false, "Qwen3-2507 Instruct", 0.7f, 20, 0.8f, 0, 1, 0},
    {"qwen3", "Qwen3 4B Thinking 2507", true, "Qwen3-2507 Thinking", 0.6f, 20, 0.95f, 0, 1, 0},
    {"qwen3moe", "Qwen3-Coder-30B-A3B-Instruct", false, "Qwen3-Coder", 0.7f, 20, 0.8f, 0.05f, 1.05f, 0},
    {"qwen35", "Qwen3.5 4B", true, "Qwen3.5", 1, 20, 0.95f, 0, 1, 1.5f},
    {"qwen35moe", "Qwen3.5 397B A17B", true, "Qwen3.5 397B", 0.6f, 20, 0.95f, 0, 1, 0},
    {"qwen35moe", "Qwen3.5 35B A3B", false, "Qwen3.5", 0.7f, 20, 0.8f, 0, 1, 1.5f},
    {"qwen3", "qwen3-0.6b random seed 7", true, "Qwen3", 0.6f, 20, 0.95f, 0, 1, 0},
    {"qwen2", "Qwen2.5 7B Instruct", false, "Qwen2.5", 0.7f, 20, 0.8f, 0.05f, 1.05f, 0},
    {"qwen2", "QwQ 32B", true, "QwQ", 0.6f, 40, 0.95f, 0, 1, 0},
    {"qwen2", "DeepSeek R1 Distill Qwen 7B", true, "DeepSeek-R1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "DeepSeek-R1-Distill-Llama-8B", true, "DeepSeek-R1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"qwen3", "Deepseek-R1-0528-Qwen3-8B", true, "DeepSeek-R1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"deepseek2", "DeepSeek V3.1 Terminus", true, "DeepSeek-V3.1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Meta-Llama-3-8B-Instruct", false, "Llama 3", 0.6f, 40, 0.9f, 0.05f, 1, 0},
    {"llama", "Llama3.2 1B Instruct", false, "Llama 3", 0.6f, 40, 0.9f, 0.05f, 1, 0},
    {"llama", "SmolLM2 1.7B Instruct", false, "SmolLM2", 0.2f, 40, 0.9f, 0.05f, 1, 0},
    {"smollm3", "SmolLM3 3B", true, "SmolLM3", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Magistral Small 2506", true, "Magistral", 0.7f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Mistral Small 3.2 24B Instruct 2506", false, "Mistral Small 3.1", 0.15f, 40, 0.95f, 0.05f, 1,
     0},
    {"llama", "Mistral-Small-24B-Instruct-2501", false, "Mistral Small 3", 0.15f, 40, 0.95f, 0.05f, 1, 0},
    {"llama", "Mistral Nemo Instruct 2407", false, "Mistral Nemo", 0.3f, 40, 0.95f, 0.05f, 1, 0},
    {"mistral3", "Ministral 3 8B Instruct 2512", false, "Ministral 3", 0.15f, 40, 0.95f, 0.05f, 1, 0},
    {"mistral3", "Ministral 3 8B Reasoning 2512", true, "Ministral 3 Reasoning", 0.7f, 40, 0.95f, 0.05f, 1,
     0},
    {"gemma3", "Gemma 3 4b It", false, "Gemma 3", 1, 64, 0.95f, 0, 1, 0},
    {"gemma3", "gemma-3-4b-it-qat-q4_0", false, "Gemma 3", 1, 64, 0.95f, 0, 1, 0},
    {"gemma3n", "Gemma 3n E4B It", false, "Gemma 3n", 1, 64, 0.95f, 0, 1, 0},
    {"gemma4", "Gemma 4 26B A4B It", true, "Gemma 4", 1, 64, 0.95f, 0, 1, 0},
    {"phi3", "Phi 4 Reasoning Plus", true, "Phi-4-reasoning", 0.8f, 40, 0.95f, 0.05f, 1, 0},
    {"gpt-oss", "gpt-oss-20b", true, "gpt-oss", 1, 0, 1, 0, 1, 0},
    {"glm4moe", "GLM 4.6", true, "GLM-4.6", 1, 40, 0.95f, 0.05f, 1, 0},
    {"deepseek2", "GLM 4.7 Flash", true, "GLM-4.7", 1, 40, 0.95f, 0.05f, 1, 0},
    {"glm4", "GLM-Z1-9B-0414", true, "GLM-Z1", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"lfm2", "LFM2 1.2B", false, "LFM2", 0.3f, 40, 0.95f, 0.15f, 1.05f, 0},
    {"lfm2moe", "LFM2 8B A1B", false, "LFM2", 0.3f, 40, 0.95f, 0.15f, 1.05f, 0},
    {"lfm2", "LFM2.5 1.2B Instruct", false, "LFM2.5", 0.1f, 50, 0.95f, 0.05f, 1.05f, 0},
    {"lfm2", "LFM2.5 1.2B Thinking", true, "LFM2.5 Thinking", 0.05f, 50, 0.95f, 0.05f, 1.05f, 0},
    {"lfm2moe", "LFM2.5 8B A1B", true, "LFM2.5 8B-A1B", 0.2f, 80, 0.95f, 0.05f, 1.05f, 0},
    {"hunyuan-moe", "Hunyuan A13B Instruct", true, "Hunyuan", 0.7f, 20, 0.8f, 0.05f, 1.05f, 0},
    {"minimax-m2", "MiniMax M2.5", true, "MiniMax-M2", 1, 40, 0.95f, 0.05f, 1, 0},
    {"deepseek2", "Kimi K2 Instruct 0905", false, "Kimi-K2", 0.6f, 40, 0.95f, 0.05f, 1, 0},
    {"deepseek2", "Kimi K2 Thinking", true, "Kimi-K2 Thinking", 1, 40, 0.95f, 0.05f, 1, 0},
};

static void presets__find__known_families(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct names names = {.arch = families[i].arch, .name = families[i].name, .has_template = true};
        struct sampler_params p;
        const char *found = find(&names, families[i].reasons, &p);
        if (strcmp(found, families[i].preset))
            fail_msg("%s got the preset \"%s\"", families[i].name, found);
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
    const struct names all = {"qwen3", "Qwen3-4B-Instruct-2507", "Qwen3-4B-Instruct-2507", "Instruct", true,
                              NULL};
    const struct names tuned = {"qwen3", "Qwen3 8B", "Qwen3", "abliterated", true, NULL};
    struct sampler_params p;
    assert_string_equal(find(&parts, false, &p), "Qwen2.5");
    assert_string_equal(find(&all, true, &p), "Qwen3-2507 Instruct");
    assert_string_equal(find(&tuned, true, &p), "");
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

/* What its makers say of a family does not hold for what others made of it, nor for its siblings. */
static void presets__find__nothing_for_relatives(void **state)
{
    (void)state;
    static const char *const relatives[][2] = {
        /* base models, some of which have a template */
        {"qwen3", "Qwen3 0.6B Base"},
        {"gemma3", "Gemma 3 4b Pt Bnb 4bit"},
        {"llama", "Meta Llama 3.1 8B"},
        {"llama", "Mistral Nemo Base 2407"},
        /* fine-tunes and merges: another name before or behind */
        {"llama", "Hermes 3 Llama 3.2 3B Instruct"},
        {"llama", "Llama 3.1 Nemotron 70B Instruct HF"},
        {"llama", "Llama-3-8B-Instruct-Gradient-1048k"},
        {"llama", "Llama 30B Instruct"}, /* the first Llama, not the third */
        {"qwen3", "Huihui Qwen3 8B Abliterated"},
        {"qwen3", "Qwen3-8B-abliterated"},
        {"gemma3", "gemma-3-4b-it-abliterated"},
        {"gemma3", "gemma-3-4b-pt-abliterated"}, /* "it" is within a word */
        {"gemma3", "Medgemma 4b It"},
        {"gemma3", "translategemma-4b-it"},
        {"llama", "Lumimaid v0.2 Mistral Nemo Instruct"},
        {"qwen2", "Qwen2.5 14B Instruct Unsloth Psychology"},
        /* distilled from one family into another */
        {"qwen3moe", "Qwen3 30B A3B Thinking 2507 Deepseek v3.1 Distill"},
        {"llama", "Mistral Nemo 12B R1 v0.2"},
        {"qwen2", "Qwen2.5 7B Instruct R1 Distill"},
        {"qwen2", "FuseO1 DeepSeek R1 QwQ 32B Preview"},
        {"qwen2", "OpenReasoning DeepSeek R1 Distill Qwen 7B"},
        {"qwen3", "Qwen3 8B DeepSeek R1 Distill"},
        {"llama", "Llama 3.1 8B DeepSeek R1 Distill"},
        /* siblings with settings of their own, or none */
        {"qwen2", "Qwen2.5 Coder 7B Instruct"},
        {"qwen2", "Qwen2.5 Math 7B Instruct"},
        {"qwen2", "QwQ 32B Preview"},
        {"qwen3next", "Qwen3 Coder Next"},
        {"qwen3next", "Qwen3 Next 80B A3B Instruct"},
        {"qwen3", "Qwen3 Embedding 0.6B"},
        {"qwen35", "Qwen3.6 27B"},
        {"gemma2", "Gemma 2 2b It"},
        {"gpt-oss", "gpt-oss-safeguard-20b"},
        {"phi3", "Phi 4"},
        {"hunyuan-dense", "Hunyuan MT 7B"},
        {"lfm2", "LFM2 1.2B Extract"},
        {"lfm2", "LFM2 VL 1.6B"},
        {"lfm2", "LFM2.5 1.2B JP"},
        {"llama", "SmolLM2 1.7B"},
        {"llama", "Mistral Small Instruct 2409"},
        {"mistral3", "Mistral Small 4 119B 2603"},
        {"deepseek2", "DeepSeek V3.2"},
        {"deepseek2", "Kimi K2.5"},
        {"glm4moe", "GLM 4.5 Air"},
    };
    for (size_t i = 0; i < sizeof relatives / sizeof *relatives; i++)
        for (int reasons = 0; reasons < 2; reasons++) {
            const struct names names = {
                .arch = relatives[i][0], .name = relatives[i][1], .has_template = true};
            struct sampler_params p;
            const char *found = find(&names, reasons, &p);
            if (*found)
                fail_msg("%s got the preset of %s", relatives[i][1], found);
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
        cmocka_unit_test(presets__find__nothing_for_relatives),
        cmocka_unit_test(presets__find__survives_strange_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
