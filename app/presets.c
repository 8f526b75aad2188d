/* presets.c: the table of families and how a file is matched to a row. */
#include "app/presets.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum reasoning { ANY, REASONS, ANSWERS };

#define UNSAID (-1) /* the maker says nothing: the built-in value stays */

struct preset {
    const char *name;
    const char *archs; /* general.architecture is one of these words; "": any */
    const char
        *words; /* all of them occur in the file's names, which are compared without case and separators */
    enum reasoning reasoning;
    float temp;
    int32_t top_k;
    float top_p, min_p, repeat_penalty, presence_penalty;
};

/* The first row that fits counts, so the narrower ones come first. MC: model card, GC:
 * generation_config.json, both of the makers' repositories. */
static const struct preset presets[] = {
    /* name, archs, words, reasoning, temp, top-k, top-p, min-p, repeat, presence */

    /* MC of DeepSeek-R1, of its distilled models and of R1-0528-Qwen3-8B: 0.6 within 0.5 to 0.7, top-p 0.95.
     */
    {"DeepSeek-R1", "", "deepseekr1", ANY, 0.6f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"DeepSeek-V3.1", "deepseek2", "deepseekv3.1", ANY, 0.6f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID}, /* GC */

    /* MC "best practices". */
    {"Qwen3.5", "qwen35 qwen35moe", "", REASONS, 1.0f, 20, 0.95f, 0.0f, UNSAID, 1.5f},
    {"Qwen3.5", "qwen35 qwen35moe", "", ANSWERS, 0.7f, 20, 0.8f, 0.0f, UNSAID, 1.5f},
    {"Qwen3-Coder", "qwen3 qwen3moe qwen3next", "qwen3 coder", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID},
    {"Qwen3-2507 Thinking", "qwen3 qwen3moe qwen3next", "qwen3 2507 thinking", ANY, 0.6f, 20, 0.95f, 0.0f,
     UNSAID, UNSAID},
    {"Qwen3-2507 Instruct", "qwen3 qwen3moe qwen3next", "qwen3 2507 instruct", ANY, 0.7f, 20, 0.8f, 0.0f,
     UNSAID, UNSAID},
    {"Qwen3", "qwen3 qwen3moe qwen3next", "qwen3", REASONS, 0.6f, 20, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Qwen3", "qwen3 qwen3moe qwen3next", "qwen3", ANSWERS, 0.7f, 20, 0.8f, 0.0f, UNSAID, UNSAID},
    {"QwQ", "qwen2", "qwq", ANY, 0.6f, 40, 0.95f, 0.0f, UNSAID, UNSAID},                  /* MC, GC */
    {"Qwen2.5", "qwen2", "qwen2.5 instruct", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID}, /* GC */

    {"Llama 3", "llama", "llama3 instruct", ANY, 0.6f, UNSAID, 0.9f, UNSAID, UNSAID,
     UNSAID},                                                                     /* GC of 3 to 3.3 */
    {"SmolLM3", "smollm3", "", ANY, 0.6f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID}, /* MC */
    {"SmolLM2", "llama", "smollm2 instruct", ANY, 0.2f, UNSAID, 0.9f, UNSAID, UNSAID,
     UNSAID}, /* MC, examples */

    /* MC of each; Magistral and Devstral are built on Mistral Small and come before it. */
    {"Magistral", "llama mistral3", "magistral", ANY, 0.7f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"Devstral", "llama mistral3", "devstral", ANY, 0.15f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},
    {"Mistral Nemo", "llama", "mistralnemo", ANY, 0.3f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},
    {"Mistral Small 3", "llama mistral3", "mistralsmall 2501", ANY, 0.15f, UNSAID, UNSAID, UNSAID, UNSAID,
     UNSAID},
    {"Mistral Small 3.1", "llama mistral3", "mistralsmall3", ANY, 0.15f, UNSAID, UNSAID, UNSAID, UNSAID,
     UNSAID},

    /* GC: top-k 64, top-p 0.95, drawn at the temperature of training. */
    {"Gemma 2", "gemma2", "it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Gemma 3", "gemma3 gemma3n", "it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Gemma 4", "gemma4", "it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},

    {"Phi-4-reasoning", "phi3", "phi4 reasoning", ANY, 0.8f, 50, 0.95f, UNSAID, UNSAID, UNSAID}, /* MC */
    {"gpt-oss", "gpt-oss", "", ANY, 1.0f, 0, 1.0f, 0.0f, UNSAID, UNSAID},                        /* MC */
    {"GLM-4.6", "glm4moe", "glm4.6", ANY, 1.0f, 40, 0.95f, UNSAID, UNSAID, UNSAID},              /* MC */
    {"GLM-Z1", "glm4", "glmz1", ANY, 0.6f, 40, 0.95f, UNSAID, UNSAID, UNSAID},                   /* MC */
    {"LFM2.5", "lfm2 lfm2moe", "lfm2.5", ANY, 0.1f, 50, 0.1f, UNSAID, 1.05f, UNSAID}, /* docs.liquid.ai */
    {"LFM2", "lfm2 lfm2moe", "", ANY, 0.3f, UNSAID, UNSAID, 0.15f, 1.05f, UNSAID},    /* MC */
    {"Hunyuan", "hunyuan-dense hunyuan-moe", "", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID}, /* MC */
    {"MiniMax-M2", "minimax-m2", "", ANY, 1.0f, 40, 0.95f, UNSAID, UNSAID, UNSAID},           /* MC */
    {"Kimi-K2 Thinking", "deepseek2", "kimik2 thinking", ANY, 1.0f, UNSAID, UNSAID, UNSAID, UNSAID,
     UNSAID},                                                                                       /* MC */
    {"Kimi-K2", "deepseek2", "kimik2 instruct", ANY, 0.6f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID}, /* MC */
};

/* ---- matching ---- */

static const char sampling_prefix[] = "general.sampling.";

static bool has_settings(const struct gguf *g)
{
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_string *key = &gguf_kv_at(g, i)->key;
        if (key->n > strlen(sampling_prefix) && !memcmp(key->data, sampling_prefix, strlen(sampling_prefix)))
            return true;
    }
    return false;
}

/* Appends a text of the file in lower case, without what publishers put between the parts of a name. */
static void add_name(const struct gguf *g, const char *key, char *out, size_t n_out)
{
    struct gguf_string s;
    size_t at = strlen(out);
    if (at + 2 >= n_out || !gguf_get_string(g, key, &s, NULL))
        return;
    for (size_t i = 0; i < s.n && at + 2 < n_out; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (isalnum(c) || c == '.')
            out[at++] = (char)tolower(c);
    }
    out[at++] = '\n'; /* no word reaches from one text into the next */
    out[at] = '\0';
}

/* Takes the next of the words that blanks separate; false after the last. */
static bool next_word(const char **at, char *word, size_t n_word)
{
    size_t n = strcspn(*at, " ");
    if (!n)
        return false;
    snprintf(word, n_word, "%.*s", (int)n, *at);
    *at += n + ((*at)[n] == ' ');
    return true;
}

static bool arch_fits(const char *archs, const struct gguf *g)
{
    struct gguf_string arch;
    char word[32];
    if (!*archs)
        return true;
    if (!gguf_get_string(g, "general.architecture", &arch, NULL))
        return false;
    while (next_word(&archs, word, sizeof word))
        if (arch.n == strlen(word) && !memcmp(arch.data, word, arch.n))
            return true;
    return false;
}

static bool words_fit(const char *words, const char *names)
{
    char word[32];
    while (next_word(&words, word, sizeof word))
        if (!strstr(names, word))
            return false;
    return true;
}

const struct preset *preset_find(const struct gguf *g, bool reasons)
{
    char names[512] = "";
    if (has_settings(g) || !gguf_find(g, "tokenizer.chat_template"))
        return NULL;
    add_name(g, "general.name", names, sizeof names);
    add_name(g, "general.basename", names, sizeof names);
    add_name(g, "general.finetune", names, sizeof names);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const struct preset *p = &presets[i];
        if ((p->reasoning == ANY || (p->reasoning == REASONS) == reasons) && arch_fits(p->archs, g) &&
            words_fit(p->words, names))
            return p;
    }
    return NULL;
}

const char *preset_name(const struct preset *p)
{
    return p->name;
}

static void take(float value, float *field)
{
    if (value != UNSAID)
        *field = value;
}

void preset_apply(const struct preset *p, struct sampler_params *params)
{
    take(p->temp, &params->temp);
    take(p->top_p, &params->top_p);
    take(p->min_p, &params->min_p);
    take(p->repeat_penalty, &params->repeat_penalty);
    take(p->presence_penalty, &params->presence_penalty);
    if (p->top_k != UNSAID)
        params->top_k = p->top_k;
}
