/* What chat templates make of reasoning: how it is switched, what becomes of old reasoning, which stored ids
 * are kept then; and where system messages go that a template does not take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/prompt_template.h"
#include "tests/support/shared_path.h"
#include "vocab_fixture.h"

#define OPENS "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define LOOP "{% for m in messages %}<|im_start|>{{ m.role }}\n"
#define CLOSES "{{ m.content }}<|im_end|>\n{% endfor %}"
/* As Qwen3 does it: reasoning stays behind the newest question only. */
#define DROPS_OLD                                                                                            \
    "{% set ns = namespace(q=0) %}{% for m in messages %}{% if m.role == 'user' %}"                          \
    "{% set ns.q = loop.index0 %}{% endif %}{% endfor %}" LOOP                                               \
    "{% if m.reasoning_content and loop.index0 > ns.q %}<think>\n{{ m.reasoning_content }}\n</think>\n\n"    \
    "{% endif %}" CLOSES OPENS
#define KEEPS_ALL                                                                                            \
    LOOP "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}" CLOSES    \
        OPENS

static struct vocab *vocab;

static int set_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_bpe(&f);
    f.add_bos = 0;
    vocab = fixture_vocab(&f, NULL);
    return vocab ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    vocab_free(vocab);
    return 0;
}

static struct chat_template *template_of(const char *text)
{
    struct err err = {0};
    struct chat_template *t = fixture_template(text, vocab, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static struct prompt_msg msg(enum chat_role role, const char *text, const char *think)
{
    return (struct prompt_msg){.role = role,
                               .text = text,
                               .n_bytes = strlen(text),
                               .think = think,
                               .n_think = think ? strlen(think) : 0};
}

static void build(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                  enum think_mode think, struct token_list *ids, struct template_result *result)
{
    size_t starts[16];
    struct err err = {0};
    ids->n = 0;
    if (!chat_template_build(t, msgs, n, think, ids, starts, result, &err))
        fail_msg("%s", err.text);
}

static void spell(const struct token_list *ids, struct buf *out)
{
    out->len = 0;
    for (size_t i = 0; i < ids->n; i++) {
        struct gguf_string s = vocab_token_bytes(vocab, ids->ids[i], true);
        buf_append(out, s.data, s.n);
    }
}

static void assert_prompt(const struct chat_template *t, const struct prompt_msg *msgs, size_t n,
                          enum think_mode think, const char *want)
{
    struct token_list ids = {0};
    struct buf text = {0};
    struct template_result result;
    build(t, msgs, n, think, &ids, &result);
    spell(&ids, &text);
    assert_string_equal(buf_text(&text), want);
    buf_fini(&text);
    token_list_fini(&ids);
}

/* ---- the switch ---- */

static void template__think__sets_the_switch_it_has(void **state)
{
    (void)state;
    static const struct {
        const char *text, *prompts[3]; /* by enum think_mode */
    } cases[] = {
        {"{{ enable_thinking if enable_thinking is defined else 'auto' }}", {"auto", "True", "False"}},
        {"{{ thinking if thinking is defined else 'auto' }}", {"auto", "True", "False"}},
        {"{{ thinking_budget if thinking_budget is defined else 'auto' }}", {"auto", "auto", "0"}},
        {"{{ reasoning_effort if reasoning_effort is defined else 'auto' }}", {"auto", "auto", "auto"}},
        {"{% set thinking = 'own' %}{{ thinking }}", {"own", "own", "own"}},
    };
    struct prompt_msg user = msg(CHAT_USER, "he", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_template *t = template_of(cases[i].text);
        assert_int_equal(chat_template_can_switch(t), i < 3);
        for (int mode = THINK_AUTO; mode <= THINK_OFF; mode++)
            assert_prompt(t, &user, 1, (enum think_mode)mode, cases[i].prompts[mode]);
        chat_template_free(t);
    }
}

struct published {
    const char *file;
    bool can_switch, reasons[3], is_open[3]; /* by enum think_mode */
};

static bool open_published(const char *file, struct chat_template **out)
{
    char name[256], block[4096];
    struct buf text = {0};
    snprintf(name, sizeof name, "templates/%s.jinja", file);
    const char *path = shared_path(name);
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f)
        return false;
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_append(&text, block, n);
    fclose(f);
    *out = template_of(buf_text(&text));
    buf_fini(&text);
    return true;
}

static void check_published(const struct published *p)
{
    struct chat_template *t;
    struct prompt_msg user = msg(CHAT_USER, "hello", NULL);
    if (!open_published(p->file, &t))
        skip();
    if (chat_template_can_switch(t) != p->can_switch)
        fail_msg("%s: can%s be switched", p->file, p->can_switch ? "not" : "");
    for (int mode = THINK_AUTO; mode <= THINK_OFF; mode++) {
        struct token_list ids = {0};
        struct template_result result;
        build(t, &user, 1, (enum think_mode)mode, &ids, &result);
        if (chat_template_reasons(t, (enum think_mode)mode) != p->reasons[mode])
            fail_msg("%s: reasons%s in mode %d", p->file, p->reasons[mode] ? " not" : "", mode);
        if (result.is_open != p->is_open[mode])
            fail_msg("%s: is%s open in mode %d", p->file, p->is_open[mode] ? " not" : "", mode);
        token_list_fini(&ids);
    }
    chat_template_free(t);
}

#define NEVER                                                                                                \
    {                                                                                                        \
        false, false, false                                                                                  \
    }
#define ALWAYS                                                                                               \
    {                                                                                                        \
        true, true, true                                                                                     \
    }
#define WHEN_ON                                                                                              \
    {                                                                                                        \
        false, true, false                                                                                   \
    }
#define UNLESS_OFF                                                                                           \
    {                                                                                                        \
        true, true, false                                                                                    \
    }

static void template__published__when_they_reason(void **state)
{
    (void)state;
    static const struct published all[] = {
        {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", true, WHEN_ON, NEVER},
        {"GLM-4.6", true, UNLESS_OFF, NEVER},
        {"HuggingFaceTB-SmolLM3-3B", true, UNLESS_OFF, NEVER},
        {"LFM2-8B-A1B", false, NEVER, NEVER},
        {"LFM2.5-8B-A1B", false, ALWAYS, NEVER},
        {"MiniMax-M2", false, ALWAYS, ALWAYS},
        {"Mistral-Small-3.2-24B-Instruct-2506", false, NEVER, NEVER},
        {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", false, NEVER, NEVER},
        {"Qwen-QwQ-32B", true, WHEN_ON, WHEN_ON},
        {"Qwen-Qwen2.5-7B-Instruct", false, NEVER, NEVER},
        {"Qwen-Qwen3-0.6B", true, UNLESS_OFF, NEVER},
        {"Qwen3-Coder", false, NEVER, NEVER},
        {"Qwen3.5-4B", true, UNLESS_OFF, UNLESS_OFF},
        {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", true, WHEN_ON, WHEN_ON},
        {"deepseek-ai-DeepSeek-V3.1", true, WHEN_ON, WHEN_ON},
        {"google-gemma-2-2b-it", false, NEVER, NEVER},
        {"google-gemma-4-31B-it", true, WHEN_ON, NEVER},
        {"ibm-granite-granite-3.3-2B-Instruct", true, WHEN_ON, NEVER},
        {"llama-cpp-deepseek-r1", false, ALWAYS, ALWAYS},
        {"meta-llama-Llama-3.1-8B-Instruct", false, NEVER, NEVER},
        {"meta-llama-Llama-3.2-3B-Instruct", false, NEVER, NEVER},
        {"microsoft-Phi-3.5-mini-instruct", false, NEVER, NEVER},
        {"mistralai-Mistral-Nemo-Instruct-2407", false, NEVER, NEVER},
        {"moonshotai-Kimi-K2", false, NEVER, NEVER},
        {"openai-gpt-oss-120b", false, ALWAYS, NEVER},
        {"unsloth-Apriel-1.5", false, ALWAYS, NEVER},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check_published(&all[i]);
}

/* ---- old reasoning ---- */

static void template__history__in_the_form_it_takes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *prompt;
    } cases[] = {
        {"<think>{% for m in messages %}{{ m.reasoning_content }}|{{ m.content }};{% endfor %}",
         "<think>|he;why|yes;|lo;"},
        {"<think>{% for m in messages %}{{ m['reasoning'] }}|{{ m.content }};{% endfor %}",
         "<think>|he;why|yes;|lo;"},
        {"<think>{% for m in messages %}{{ m.get('thinking', '') }}|{{ m.content }};{% endfor %}",
         "<think>|he;why|yes;|lo;"},
        /* cut off, except from the newest message */
        {"{% for m in messages %}{{ m.content if loop.last else m.content.split('</think>')[-1].strip() }};"
         "{% endfor %}",
         "he;yes;lo;"},
        /* a template that would show it raw, and one that knows no markers */
        {"<think>{% for m in messages %}{{ m.content }};{% endfor %}", "<think>he;yes;lo;"},
        {"{% for m in messages %}{{ m.reasoning_content }}{{ m.content }};{% endfor %}", "he;yes;lo;"},
    };
    struct prompt_msg msgs[] = {msg(CHAT_USER, "he", NULL), msg(CHAT_ASSISTANT, "yes", "why"),
                                msg(CHAT_USER, "lo", NULL)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chat_template *t = template_of(cases[i].text);
        assert_prompt(t, msgs, 3, THINK_AUTO, cases[i].prompt);
        chat_template_free(t);
    }
}

/* Of the newest answer as well, whose reasoning is left out only when another question follows. */
static void template__history__newest_answer_keeps_it(void **state)
{
    (void)state;
    struct chat_template *t = template_of(DROPS_OLD);
    struct prompt_msg msgs[] = {msg(CHAT_USER, "he", NULL), msg(CHAT_ASSISTANT, "yes", "why"),
                                msg(CHAT_USER, "lo", NULL)};
    assert_prompt(t, msgs, 2, THINK_AUTO,
                  "<|im_start|>user\nhe<|im_end|>\n<|im_start|>assistant\n<think>\nwhy\n</think>\n\nyes"
                  "<|im_end|>\n<|im_start|>assistant\n");
    assert_prompt(t, msgs, 3, THINK_AUTO,
                  "<|im_start|>user\nhe<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"
                  "<|im_start|>user\nlo<|im_end|>\n<|im_start|>assistant\n");
    chat_template_free(t);
}

/* Typed markers in reasoning stay text. */
static void template__history__reasoning_is_input(void **state)
{
    (void)state;
    struct chat_template *t = template_of(KEEPS_ALL);
    struct prompt_msg msgs[] = {msg(CHAT_USER, "he", NULL), msg(CHAT_ASSISTANT, "yes", "<|im_end|><think>"),
                                msg(CHAT_USER, "lo", NULL)};
    struct token_list ids = {0};
    struct template_result result;
    build(t, msgs, 3, THINK_AUTO, &ids, &result);
    size_t n_ends = 0, n_thinks = 0;
    for (size_t i = 0; i < ids.n; i++) {
        n_ends += ids.ids[i] == BPE_IM_END;
        n_thinks += ids.ids[i] == BPE_THINK;
    }
    assert_int_equal(n_ends, 3);
    assert_int_equal(n_thinks, 1);
    token_list_fini(&ids);
    chat_template_free(t);
}

/* ---- stored ids ---- */

struct talk {
    struct chat_template *t;
    struct prompt_msg msgs[8];
    struct token_list ids[8];
    size_t n;
};

static void say(struct talk *k, const char *text)
{
    struct template_result result;
    k->msgs[k->n++] = msg(CHAT_USER, text, NULL);
    struct token_list prompt = {0};
    size_t starts[8];
    assert_true(chat_template_build(k->t, k->msgs, k->n, THINK_AUTO, &prompt, starts, &result, NULL));
    assert_false(result.is_rewritten);
    for (size_t i = starts[k->n - 1]; i < prompt.n; i++)
        token_list_add(&k->ids[k->n - 1], prompt.ids[i]);
    k->msgs[k->n - 1].tokens = k->ids[k->n - 1].ids;
    k->msgs[k->n - 1].n_tokens = k->ids[k->n - 1].n;
    token_list_fini(&prompt);
}

/* raw: what the model wrote, <think> as its token; by_byte: not as the tokenizer would cut it. */
static void answer(struct talk *k, const char *text, const char *think, const char *raw, bool by_byte)
{
    struct token_list *ids = &k->ids[k->n];
    size_t n = strlen(raw);
    for (size_t i = 0; by_byte && i < n; i++)
        token_list_add(ids, (unsigned char)raw[i]);
    assert_true(by_byte || vocab_encode(vocab, raw, n, VOCAB_PARSE_SPECIAL | VOCAB_CONTINUES, ids, NULL));
    token_list_add(ids, BPE_IM_END);
    k->msgs[k->n] = msg(CHAT_ASSISTANT, text, think);
    k->msgs[k->n].tokens = ids->ids;
    k->msgs[k->n++].n_tokens = ids->n;
}

static void end_talk(struct talk *k)
{
    for (size_t i = 0; i < k->n; i++)
        token_list_fini(&k->ids[i]);
    chat_template_free(k->t);
}

static void assert_next(struct talk *k, bool is_rewritten, size_t n_kept, bool is_like_whole)
{
    struct token_list ids = {0}, whole = {0};
    struct template_result result;
    struct prompt_msg bare[8];
    k->msgs[k->n] = msg(CHAT_USER, "hello world", NULL);
    build(k->t, k->msgs, k->n + 1, THINK_AUTO, &ids, &result);
    assert_int_equal(result.is_rewritten, is_rewritten);
    for (size_t i = 0, at = 0; i < n_kept; at += k->ids[i++].n)
        assert_memory_equal(ids.ids + at, k->ids[i].ids, k->ids[i].n * sizeof *ids.ids);
    for (size_t i = 0; i <= k->n; i++) {
        bare[i] = k->msgs[i];
        bare[i].tokens = NULL;
        bare[i].n_tokens = 0;
    }
    build(k->t, bare, k->n + 1, THINK_AUTO, &whole, &result);
    assert_false(result.is_rewritten);
    bool is_same = ids.n == whole.n && memcmp(ids.ids, whole.ids, ids.n * sizeof *ids.ids) == 0;
    assert_int_equal(is_same, is_like_whole);
    struct buf a = {0}, b = {0};
    spell(&ids, &a);
    spell(&whole, &b);
    assert_string_equal(buf_text(&a), buf_text(&b));
    buf_fini(&a);
    buf_fini(&b);
    token_list_fini(&ids);
    token_list_fini(&whole);
}

static void template__stored__reasoning_that_is_spelled_keeps_its_ids(void **state)
{
    (void)state;
    struct talk k = {.t = template_of(KEEPS_ALL)};
    say(&k, "hello");
    answer(&k, "hello", "he", "<think>\nhe\n</think>\n\nhello", false);
    say(&k, "hello");
    answer(&k, "hello", NULL, "hello", true);
    assert_next(&k, false, 4, false);
    end_talk(&k);
    /* other space around the marker than the template writes */
    k = (struct talk){.t = template_of(KEEPS_ALL)};
    say(&k, "hello");
    answer(&k, "hello", "he", "<think>he</think>hello", false);
    assert_next(&k, true, 0, true);
    end_talk(&k);
}

/* A block without reasoning shows nothing, but its ids are not what the template writes. */
static void template__stored__empty_block_is_seen(void **state)
{
    (void)state;
    struct talk k = {.t = template_of(DROPS_OLD)};
    say(&k, "hello");
    answer(&k, "hello", NULL, "<think>\n\n</think>\n\nhello", false);
    assert_next(&k, true, 0, true);
    end_talk(&k);
}

static void template__stored__kept_before_dropped_reasoning(void **state)
{
    (void)state;
    for (int by_byte = 0; by_byte < 2; by_byte++) {
        struct talk k = {.t = template_of(DROPS_OLD)};
        say(&k, "hello world");
        answer(&k, "hello world", NULL, "hello world", by_byte);
        say(&k, "hello");
        /* its newline and that of the role make one token */
        answer(&k, "\nhello", "he", "<think>\nhe\n</think>\n\n\nhello", false);
        /* all but what stands behind the last special token before the answer: the role and its newline */
        assert_next(&k, true, 2, !by_byte);
        end_talk(&k);
    }
}

/* ---- system messages ---- */

static void template__system__moves_to_the_first_question(void **state)
{
    (void)state;
    static const char raises[] = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
                                 "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}";
    struct prompt_msg msgs[] = {msg(CHAT_SYSTEM, "Be <|im_end|>.", NULL), msg(CHAT_USER, "he", NULL),
                                msg(CHAT_ASSISTANT, "yes", NULL), msg(CHAT_USER, "lo", NULL)};
    struct chat_template *t = template_of(raises);
    assert_prompt(t, msgs, 4, THINK_AUTO, "user: Be <|im_end|>.\n\nhe;assistant: yes;user: lo;");
    assert_prompt(t, msgs + 1, 3, THINK_AUTO, "user: he;assistant: yes;user: lo;");
    struct token_list ids = {0};
    struct template_result result;
    build(t, msgs, 4, THINK_AUTO, &ids, &result);
    for (size_t i = 0; i < ids.n; i++)
        assert_int_not_equal(ids.ids[i], BPE_IM_END);
    token_list_fini(&ids);
    chat_template_free(t);
}

static void template__system__gemma_2(void **state)
{
    (void)state;
    struct chat_template *t;
    struct prompt_msg msgs[] = {msg(CHAT_SYSTEM, "Be brief.", NULL), msg(CHAT_USER, "he", NULL)};
    if (!open_published("google-gemma-2-2b-it", &t))
        skip();
    assert_prompt(t, msgs, 2, THINK_AUTO,
                  "<|endoftext|><start_of_turn>user\nBe brief.\n\nhe<end_of_turn>\n<start_of_turn>model\n");
    chat_template_free(t);
}

static void template__no_memory__to_learn(void **state)
{
    (void)state;
    struct gguf *g = fixture_template_file("{{ messages[0].content.split('</think>')[-1] }}");
    bool done = false;
    for (long n = 0; !done; n++) {
        struct err err = {0};
        mem_fail_after(n);
        struct chat_template *t = chat_template_new(g, vocab, &err);
        done = !mem_fail_happened();
        mem_fail_after(-1);
        assert_true(t ? done : err.code == ERR_MEMORY);
        chat_template_free(t);
    }
    gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(template__think__sets_the_switch_it_has),
        cmocka_unit_test(template__published__when_they_reason),
        cmocka_unit_test(template__history__in_the_form_it_takes),
        cmocka_unit_test(template__history__newest_answer_keeps_it),
        cmocka_unit_test(template__history__reasoning_is_input),
        cmocka_unit_test(template__stored__reasoning_that_is_spelled_keeps_its_ids),
        cmocka_unit_test(template__stored__empty_block_is_seen),
        cmocka_unit_test(template__stored__kept_before_dropped_reasoning),
        cmocka_unit_test(template__system__moves_to_the_first_question),
        cmocka_unit_test(template__system__gemma_2),
        cmocka_unit_test(template__no_memory__to_learn),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
