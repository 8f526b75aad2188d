/* vocab_classify.c owns what each token is to a text: a piece of it, a marker that no typed text becomes, the
 * end of a turn. */
#include "engine/vocab_parts.h"

#include <string.h>

#include "engine/reasoning.h"

/* Names of tokens that end a turn or a text, whatever the file's ids say. Sources: the chat templates,
 * generation_config.json and tokenizer_config.json files of the models. */
static const struct {
    const char *name;
    bool always; /* even where a file calls it ordinary text: nobody writes this */
} end_names[] = {
    {"</s>", false}, /* also HTML; see ends_by_name */
    {"<|im_end|>", true},
    {"<|endoftext|>", true},
    {"<|end_of_text|>", true},
    {"<|eot_id|>", true}, /* Llama 3 */
    {"<|eom_id|>", true},
    {"<|eot|>", true}, /* Llama 4 */
    {"<|eom|>", true},
    {"<|end|>", true},    /* Phi 3; see drop_ends_of_messages */
    {"<|return|>", true}, /* Harmony */
    {"<|call|>", true},
    {"<|calls|>", true}, /* Solar */
    {"<|flush|>", true},
    {"<end_of_turn>", true}, /* Gemma */
    {"<turn|>", true},
    {"<|tool_response>", true},
    {"<|end_of_turn|>", true},
    {"<|endofturn|>", true},
    {"[|endofturn|]", true},         /* EXAONE */
    {"<|END_OF_TURN_TOKEN|>", true}, /* Command R */
    {"<|assistant_end|>", true},     /* Apertus */
    {"<|endofresponse|>", true},     /* dots */
    {"<|role_end|>", true},          /* Ling */
    {"<|eos|>", true},
    {"<eos>", true},
    {"<seed:eos>", true},
    {"<EOT>", true},
    {"<|EOT|>", true},
    {"< EOT >", true},
    {"_<EOT>", true},
    {"[EOS]", true}, /* Kimi K2 */
    {"[EOT]", true},
    {"[e~[", true}, /* MiniMax M2 */
    {"<end_of_utterance>", true},
    {"<\uFF5Cend\u2581of\u2581sentence\uFF5C>", true}, /* DeepSeek */
    {"<|end_of_sentence|>", true},                     /* ERNIE */
    {"<|fim_pad|>", false}, /* a model that completes files is past the end of one */
    {"<|repo_name|>", false},
    {"<|file_sep|>", false},
};
#define N_END_NAMES (sizeof end_names / sizeof *end_names)

bool vocab_starts_with(const char *s, size_t n, const char *prefix)
{
    size_t k = strlen(prefix);
    return n >= k && memcmp(s, prefix, k) == 0;
}

static bool ends_with(const char *s, size_t n, const char *suffix)
{
    size_t k = strlen(suffix);
    return n >= k && memcmp(s + n - k, suffix, k) == 0;
}

static bool is_spelled(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(name, s, n) == 0;
}

/* The place in end_names, N_END_NAMES if it is none of them. */
static size_t end_name_of(const char *s, size_t n)
{
    size_t i = n > 0 && (s[0] == '<' || s[0] == '[' || s[0] == '_') ? 0 : N_END_NAMES;
    while (i < N_END_NAMES && !is_spelled(s, n, end_names[i].name))
        i++;
    return i;
}

/* Spelled like a marker of a template: <|...|>, Gemma's <|...> and <...|>, DeepSeek's full-width bars. */
static bool looks_like_marker(const char *s, size_t n)
{
    if (n < 5)
        return false;
    return (vocab_starts_with(s, n, "<|") && s[n - 1] == '>') || (s[0] == '<' && ends_with(s, n, "|>")) ||
           (vocab_starts_with(s, n, "<\uFF5C") && ends_with(s, n, "\uFF5C>"));
}

/* User-defined tokens: those spelled as characters are pieces of text, found wherever they are spelled out.
 * Those of byte-level files are the tokens added after training: runs of spaces, which are text, and tags
 * (<tool_call>, [INST], </think>), which give a conversation its structure and so are no more to be typed
 * than control tokens. */
static bool is_tag(const struct vocab *v, const char *s, size_t n)
{
    if (looks_like_marker(s, n) || reasoning_is_mark(s, n))
        return true;
    return v->family == FAMILY_BPE && !v->spells_characters && n >= 3 &&
           ((s[0] == '<' && s[n - 1] == '>') || (s[0] == '[' && s[n - 1] == ']'));
}

/* </s> is a tag of HTML as well: of a file with another end it is that, unless it is called a control token.
 */
static bool ends_by_name(const struct vocab *v, const struct vocab_token *t, int32_t id, size_t name)
{
    if (name == 0 && t->type != TOKEN_CONTROL)
        return t->type == TOKEN_USER_DEFINED && (v->eos < 0 || v->eos == id);
    return t->type == TOKEN_CONTROL || t->type == TOKEN_USER_DEFINED;
}

static void set_flags(struct vocab *v, int32_t id, size_t name)
{
    struct vocab_token *t = &v->tokens[id];
    const char *s = v->arena + t->spelling;
    size_t n = t->n_spelling;
    bool is_text = t->type == TOKEN_NORMAL || t->type == TOKEN_USER_DEFINED;
    if (is_text && name < N_END_NAMES && end_names[name].always)
        t->type = TOKEN_CONTROL;
    if (name < N_END_NAMES && ends_by_name(v, t, id, name))
        t->flags |= TOKEN_FLAG_END;
    if (t->type == TOKEN_NORMAL || (t->type == TOKEN_USER_DEFINED && !is_tag(v, s, n)))
        t->flags |= TOKEN_FLAG_TEXT;
    else if (t->type == TOKEN_CONTROL || t->type == TOKEN_USER_DEFINED)
        t->flags |= TOKEN_FLAG_SPECIAL;
    if (t->flags & TOKEN_FLAG_TEXT && n > v->max_spelling)
        v->max_spelling = t->n_spelling;
}

static int32_t seen(const int32_t ids[N_END_NAMES], const char *name)
{
    return ids[end_name_of(name, strlen(name))];
}

static void is_no_end(struct vocab *v, int32_t id)
{
    if (id >= 0)
        v->tokens[id].flags &= (uint8_t)~TOKEN_FLAG_END;
}

/* What ends a turn elsewhere ends only a message where turns have ends of their own: in Harmony a turn goes
 * on behind <|end|>, from the reasoning to the answer. Gemma 4's </s> is HTML, whatever its type. */
static void drop_ends_of_messages(struct vocab *v, const int32_t ids[N_END_NAMES])
{
    bool harmony = seen(ids, "<|return|>") >= 0 && seen(ids, "<|call|>") >= 0;
    bool solar = seen(ids, "<|calls|>") >= 0 && seen(ids, "<|flush|>") >= 0;
    if (harmony || solar)
        is_no_end(v, seen(ids, "<|end|>"));
    if (seen(ids, "<|tool_response>") >= 0 && seen(ids, "</s>") != v->eos)
        is_no_end(v, seen(ids, "</s>"));
}

void vocab_classify(struct vocab *v)
{
    int32_t ids[N_END_NAMES];
    memset(ids, 0xFF, sizeof ids);
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t name = end_name_of(v->arena + v->tokens[i].spelling, v->tokens[i].n_spelling);
        if (name < N_END_NAMES)
            ids[name] = (int32_t)i;
        set_flags(v, (int32_t)i, name);
    }
    drop_ends_of_messages(v, ids);
}
