/* presets.c: the table of families and how a file is matched to a row. */
#include "app/presets.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum reasoning { ANY, REASONS, ANSWERS };

#define UNSAID (-1) /* the maker says nothing: the built-in value stays */

struct preset {
    const char *name;
    const char *archs; /* general.architecture is one of these words */
    /* What the file is called, in words that are there in any order but for the first, which leads. "?word"
     * may be missing; "word*" may go on as a version does: ".2". Any other word makes it another model. */
    const char *words;
    enum reasoning reasoning;
    float temp;
    int32_t top_k;
    float top_p, min_p, repeat_penalty, presence_penalty;
};

/* The first row that fits counts, so the narrower ones come first. Sources, the makers' own unless another is
 * named: MC: model card; GC: generation_config.json; RM: README of the repository. "Unsloth's defaults" are
 * inference_defaults.json in unslothai/unsloth. */
static const struct preset presets[] = {
    /* name, archs, words, reasoning, temp, top-k, top-p, min-p, repeat, presence */

    /* RM of DeepSeek-R1 (0.6, within 0.5 to 0.7) for it and its distilled models; top-p: GC of R1, R1-Zero
     * and R1-Distill-Qwen-32B. V3.1: unsloth's guide, after DeepSeek; GC of V3.2-Exp says the same. */
    {"DeepSeek-R1", "deepseek2 qwen2 qwen3 llama", "deepseekr1 ?zero ?distill ?llama ?qwen3", ANY, 0.6f,
     UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"DeepSeek-V3.1", "deepseek2", "deepseekv3.1 ?terminus", ANY, 0.6f, UNSAID, 0.95f, UNSAID, UNSAID,
     UNSAID},

    /* MC of Qwen3.5-35B-A3B, its lines for general tasks; the largest one's card differs, as issue 145 of
     * QwenLM/Qwen3.8 quotes it. */
    {"Qwen3.5 397B", "qwen35moe", "qwen3.5 397b", REASONS, 0.6f, 20, 0.95f, 0.0f, UNSAID, 0.0f},
    {"Qwen3.5", "qwen35 qwen35moe", "qwen3.5", REASONS, 1.0f, 20, 0.95f, 0.0f, UNSAID, 1.5f},
    {"Qwen3.5", "qwen35 qwen35moe", "qwen3.5", ANSWERS, 0.7f, 20, 0.8f, 0.0f, UNSAID, 1.5f},
    /* A preset published on LM Studio's hub as the recommended one; unsloth's defaults, but for the penalty.
     */
    {"Qwen3-Coder", "qwen3moe", "qwen3coder", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID},
    /* RM and docs/source/deployment of QwenLM/Qwen3; the models of 2507 each keep one of the two modes. */
    {"Qwen3-2507 Thinking", "qwen3 qwen3moe", "qwen3 2507 thinking", ANY, 0.6f, 20, 0.95f, 0.0f, UNSAID,
     UNSAID},
    {"Qwen3-2507 Instruct", "qwen3 qwen3moe", "qwen3 2507 instruct", ANY, 0.7f, 20, 0.8f, 0.0f, UNSAID,
     UNSAID},
    {"Qwen3", "qwen3 qwen3moe", "qwen3", REASONS, 0.6f, 20, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Qwen3", "qwen3 qwen3moe", "qwen3", ANSWERS, 0.7f, 20, 0.8f, 0.0f, UNSAID, UNSAID},
    /* MC of QwQ-32B: top-k between 20 and 40; GC, as its derivatives keep it: 40. */
    {"QwQ", "qwen2", "qwq", ANY, 0.6f, 40, 0.95f, 0.0f, UNSAID, UNSAID},
    /* GC of Qwen2.5-32B-Instruct, as its quantised and tuned descendants keep it. */
    {"Qwen2.5", "qwen2", "qwen2.5 instruct", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID},

    /* GC of Meta-Llama-3-8B-Instruct and Llama-3.2-3B-Instruct; taken to hold for 3.1 and 3.3 between them.
     */
    {"Llama 3", "llama", "llama3* instruct", ANY, 0.6f, UNSAID, 0.9f, UNSAID, UNSAID, UNSAID},
    /* MC of SmolLM3-3B; the call in the MC of SmolLM2-1.7B-Instruct and SmolLM2-135M-Instruct. */
    {"SmolLM3", "smollm3", "smollm3", ANY, 0.6f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"SmolLM2", "llama", "smollm2 instruct", ANY, 0.2f, UNSAID, 0.9f, UNSAID, UNSAID, UNSAID},

    /* MC of Magistral-Small-2506, Mistral-Nemo-Instruct-2407 and Mistral-Small-3.2; unsloth's defaults for
     * its predecessors. Ministral: vllm-project/recipes. */
    {"Magistral", "llama mistral3", "magistral ?small", ANY, 0.7f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"Mistral Nemo", "llama", "mistralnemo instruct", ANY, 0.3f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},
    {"Mistral Small 3", "llama", "mistralsmall 2501 instruct", ANY, 0.15f, UNSAID, UNSAID, UNSAID, UNSAID,
     UNSAID},
    {"Mistral Small 3.1", "llama mistral3", "mistralsmall3* instruct", ANY, 0.15f, UNSAID, UNSAID, UNSAID,
     UNSAID, UNSAID},
    {"Ministral 3 Reasoning", "mistral3", "ministral3 reasoning", ANY, 0.7f, UNSAID, 0.95f, UNSAID, UNSAID,
     UNSAID},
    {"Ministral 3", "mistral3", "ministral3 instruct", ANY, 0.15f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},

    /* GC of Gemma 3: top-k and top-p, no temperature, which means 1; min-p: unsloth. Gemma 4: a digest of its
     * MC. Gemma 2 is not here: its GC says nothing. */
    {"Gemma 3", "gemma3", "gemma3 it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Gemma 3n", "gemma3n", "gemma3n it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},
    {"Gemma 4", "gemma4", "gemma4 it", ANY, 1.0f, 64, 0.95f, 0.0f, UNSAID, UNSAID},

    /* The call in the MC of Phi-4-mini-reasoning; unsloth's defaults for the larger two. */
    {"Phi-4-reasoning", "phi3", "phi4 reasoning ?mini ?plus", ANY, 0.8f, UNSAID, 0.95f, UNSAID, UNSAID,
     UNSAID},
    /* RM of openai/gpt-oss: plain sampling at 1 with top-p 1, so nothing else may cut. */
    {"gpt-oss", "gpt-oss", "gptoss", ANY, 1.0f, 0, 1.0f, 0.0f, UNSAID, UNSAID},
    /* The maker's guide to moving to GLM-4.6: its defaults. Unsloth's guide to GLM-4.7-Flash, after Z.ai. MC
     * of GLM-Z1-32B-0414. */
    {"GLM-4.6", "glm4moe", "glm4.6", ANY, 1.0f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"GLM-4.7", "glm4moe deepseek2", "glm4.7 ?flash", ANY, 1.0f, UNSAID, 0.95f, UNSAID, UNSAID, UNSAID},
    {"GLM-Z1", "glm4", "glmz1", ANY, 0.6f, 40, 0.95f, UNSAID, UNSAID, UNSAID},

    /* vllm-project/recipes, LiquidAI/LFM2.5.md, after each MC; Liquid4All/docs for LFM2. */
    {"LFM2.5 Thinking", "lfm2", "lfm2.5 thinking", ANY, 0.05f, 50, UNSAID, UNSAID, 1.05f, UNSAID},
    {"LFM2.5 8B-A1B", "lfm2moe", "lfm2.5 8b a1b", ANY, 0.2f, 80, UNSAID, UNSAID, 1.05f, UNSAID},
    {"LFM2.5", "lfm2", "lfm2.5", ANY, 0.1f, 50, UNSAID, UNSAID, 1.05f, UNSAID},
    {"LFM2", "lfm2 lfm2moe", "lfm2", ANY, 0.3f, UNSAID, UNSAID, 0.15f, 1.05f, UNSAID},

    /* GC in Tencent-Hunyuan/Hunyuan-A13B, RM of Hunyuan-7B. */
    {"Hunyuan", "hunyuan-dense hunyuan-moe", "hunyuan instruct", ANY, 0.7f, 20, 0.8f, UNSAID, 1.05f, UNSAID},
    /* RM of MiniMax-M2 and MiniMax-M2.5. */
    {"MiniMax-M2", "minimax-m2", "minimaxm2*", ANY, 1.0f, 40, 0.95f, UNSAID, UNSAID, UNSAID},
    /* unsloth's guide, after Moonshot AI; RM of MoonshotAI/Kimi-K2. */
    {"Kimi-K2 Thinking", "deepseek2", "kimik2 thinking", ANY, 1.0f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},
    {"Kimi-K2", "deepseek2", "kimik2 instruct", ANY, 0.6f, UNSAID, UNSAID, UNSAID, UNSAID, UNSAID},
};

/* ---- matching ---- */

enum { N_NAMES = 512 };

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

/* Appends a text of the file as a line of its own: in lower case, a blank for what publishers put between the
 * parts of a name. A line starts and ends with a blank. */
static void add_name(const struct gguf *g, const char *key, char *out, size_t n_out)
{
    struct gguf_string s;
    size_t at = strlen(out);
    if (at + 4 >= n_out || !gguf_get_string(g, key, &s, NULL))
        return;
    out[at++] = ' ';
    for (size_t i = 0; i < s.n && at + 3 < n_out; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (isalnum(c) || c == '.')
            out[at++] = (char)tolower(c);
        else if (out[at - 1] != ' ')
            out[at++] = ' ';
    }
    if (out[at - 1] != ' ')
        out[at++] = ' ';
    out[at++] = '\n';
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
    if (!gguf_get_string(g, "general.architecture", &arch, NULL))
        return false;
    while (next_word(&archs, word, sizeof word))
        if (arch.n == strlen(word) && !memcmp(arch.data, word, arch.n))
            return true;
    return false;
}

/* What a name may say besides the family: who made or packed it, how it is stored, that it is tuned for
 * chats. A word that is neither here nor in the row says that it is another model: a base model, a fine-tune,
 * a merge, a sibling for code or pictures, about which the row's source says nothing. */
static const char harmless[] =
    "meta google qwen openai microsoft mistralai moonshotai unsloth hf gguf instruct it "
    "chat bf16 f16 f32 fp16 fp8 int4 int8 bnb qat awq gptq mxfp4 unquantized ud k m s l xl xs "
    "random seed"; /* the shape of a family, filled for measurements */

/* A size, a date, a version or a quantisation: 0.6b, 8x7b, a3b, e4b, 2507, 3.1, 4bit, q4. */
static bool is_number(const char *part)
{
    static const char *const ends[] = {"", "b", "m", "k", "e", "bit"};
    const char *at = part + (*part && strchr("aeq", *part));
    size_t n = isdigit((unsigned char)*at) ? strspn(at, "0123456789.x") : 0;
    for (size_t i = 0; n && i < sizeof ends / sizeof *ends; i++)
        if (!strcmp(at + n, ends[i]))
            return true;
    return false;
}

static bool is_harmless(const char *part)
{
    char word[32];
    for (const char *at = harmless; next_word(&at, word, sizeof word);)
        if (!strcmp(word, part))
            return true;
    return false;
}

/* The end of a row's word that begins where a part of a name does, NULL if it is not there. Publishers join
 * and part freely (Llama-3.2, Llama3.2), so a blank within does not count. */
static char *end_of(const char *word, char *at)
{
    for (; *word && *word != '*'; word++) {
        if (*at == ' ')
            at++;
        if (*at++ != *word)
            return NULL;
    }
    if (*word == '*' && *at == '.')
        at += strcspn(at, " ");
    return *at == ' ' ? at : NULL;
}

/* The next part of the names, copied to part; NULL after the last. */
static char *next_part(char *at, char *part, size_t n_part)
{
    at += strspn(at, " \n");
    snprintf(part, n_part, "%.*s", (int)strcspn(at, " "), at);
    return *at ? at : NULL;
}

/* Blanks out the word wherever it is in the names, and tells whether it was. */
static bool strike(const char *word, char *names)
{
    char part[64];
    bool found = false;
    for (char *at = names; (at = next_part(at, part, sizeof part));) {
        char *end = end_of(word, at);
        if (end) {
            memset(at, ' ', (size_t)(end - at));
            found = true;
        } else {
            end = at + strcspn(at, " ");
        }
        at = end;
    }
    return found;
}

/* Whether one of the names begins with the word, but for harmless parts. */
static bool leads(const char *word, char *names)
{
    char part[64];
    for (char *at = names; (at = next_part(at, part, sizeof part));) {
        if (end_of(word, at))
            return true;
        at += strcspn(at, is_harmless(part) ? " " : "\n");
    }
    return false;
}

/* A row's words are all there, and nothing that makes it another model. */
static bool names_fit(const char *words, const char *names)
{
    char left[N_NAMES], word[64];
    bool first = true;
    snprintf(left, sizeof left, "%s", names);
    while (next_word(&words, word, sizeof word)) {
        if (first && !leads(word, left))
            return false;
        first = false;
        if (*word == '?')
            strike(word + 1, left);
        else if (!strike(word, left))
            return false;
    }
    for (char *at = left; (at = next_part(at, word, sizeof word)); at += strcspn(at, " "))
        if (!is_harmless(word) && !is_number(word))
            return false;
    return true;
}

const struct preset *preset_find(const struct gguf *g, bool reasons)
{
    char names[N_NAMES] = "";
    if (has_settings(g) || !gguf_find(g, "tokenizer.chat_template"))
        return NULL;
    add_name(g, "general.name", names, sizeof names);
    add_name(g, "general.basename", names, sizeof names);
    add_name(g, "general.finetune", names, sizeof names);
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        const struct preset *p = &presets[i];
        if ((p->reasoning == ANY || (p->reasoning == REASONS) == reasons) && arch_fits(p->archs, g) &&
            names_fit(p->words, names))
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
