/* sampling_test.c: who decides a sampling setting, and what a chat keeps of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/sampling.h"
#include "engine/base/mem.h"
#include "tests/support/gguf_write.h"

/* A model file with a name, a template, and these settings; NAN: leaves one out. */
static struct sampling from_file(const char *arch, const char *name, float temp, float top_p, bool reasons,
                                 struct buf *ignored)
{
    struct gguf_writer w = {0};
    struct buf bytes = {0};
    gguf_write_string(&w, "general.architecture", arch);
    gguf_write_string(&w, "general.name", name);
    gguf_write_string(&w, "tokenizer.chat_template", "{{ messages }}");
    if (!isnan(temp))
        gguf_write_f32(&w, "general.sampling.temp", temp);
    if (!isnan(top_p))
        gguf_write_f32(&w, "general.sampling.top_p", top_p);
    gguf_write_finish(&w, &bytes);
    struct err err = {0};
    struct gguf *g = gguf_open_memory(bytes.data, bytes.len, "test.gguf", false, &err);
    if (!g)
        fail_msg("%s", err.text);
    struct sampling both[2];
    sampling_of_model(both, g, ignored);
    gguf_close(g);
    buf_fini(&bytes);
    return both[reasons];
}

static struct sampling_row row(const struct sampling *s, const char *name)
{
    for (int i = 0; i < SAMPLING_N; i++)
        if (!strcmp(sampling_row(s, i).name, name))
            return sampling_row(s, i);
    fail_msg("no setting %s", name);
    return (struct sampling_row){0};
}

static void assert_row(const struct sampling *s, const char *name, double value, enum sampling_source from)
{
    struct sampling_row r = row(s, name);
    if (fabs(r.value - value) > 1e-9 || r.from != from)
        fail_msg("%s is %g from %d, expected %g from %d", name, r.value, (int)r.from, value, (int)from);
}

static void sampling__resolve__later_sources_win(void **state)
{
    (void)state;
    struct buf ignored = {0};
    const struct sampling file = from_file("llama", "x", 0.3f, 0.5f, false, &ignored);
    struct options o = {0};
    struct sampling s;
    struct chat *chat = chat_new();

    assert_true(sampling_resolve(&s, &file, &o, chat, NULL));
    assert_row(&s, "temp", 0.3, SAMPLING_FILE); /* the file over the built-in 0.8 */
    assert_row(&s, "top-k", 40, SAMPLING_BUILT_IN);

    assert_true(options_set(&o, OPT_TEMP, "0.4", OPT_FROM_CONFIG, NULL));
    assert_true(options_set(&o, OPT_TOP_K, "4", OPT_FROM_CONFIG, NULL));
    assert_true(sampling_resolve(&s, &file, &o, chat, NULL));
    assert_row(&s, "temp", 0.4, SAMPLING_CONFIG);

    /* Written before chats listed what is theirs: all of it is. */
    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = mem_strdup("{\"temp\":0.6,\"top_k\":6,\"top_p\":7,\"min_p\":\"no\",\"seed\":5}");
    assert_true(sampling_resolve(&s, &file, &o, chat, NULL));
    assert_row(&s, "temp", 0.6, SAMPLING_CHAT);
    assert_row(&s, "top-p", 0.5, SAMPLING_FILE); /* out of range in the chat: ignored */
    assert_row(&s, "min-p", 0.05, SAMPLING_BUILT_IN);
    assert_int_equal(s.params.seed, 0); /* never the chat's */

    assert_true(options_set(&o, OPT_TEMP, "0.9", OPT_FROM_LINE, NULL));
    assert_true(sampling_resolve(&s, &file, &o, chat, NULL));
    assert_row(&s, "temp", 0.9, SAMPLING_LINE);
    assert_row(&s, "top-k", 6, SAMPLING_CHAT);
    assert_int_equal(ignored.len, 0);
    chat_free(chat);
}

static void sampling__of_model__a_preset_stands_in_for_a_file_without_settings(void **state)
{
    (void)state;
    struct buf ignored = {0};
    struct sampling s = from_file("qwen3", "Qwen3 0.6B", NAN, NAN, true, &ignored);
    assert_row(&s, "temp", 0.6, SAMPLING_PRESET);
    assert_row(&s, "top-p", 0.95, SAMPLING_PRESET); /* the same as built in, but said */
    assert_row(&s, "typical", 1, SAMPLING_BUILT_IN);
    assert_string_equal(s.preset, "Qwen3");
    s = from_file("qwen3", "Qwen3 0.6B", NAN, NAN, false, &ignored);
    assert_row(&s, "temp", 0.7, SAMPLING_PRESET);
    s = from_file("qwen3", "Qwen3 0.6B", NAN, 0.5f, true, &ignored);
    assert_row(&s, "temp", 0.8, SAMPLING_BUILT_IN); /* one setting of its own: the preset is not asked */
    assert_row(&s, "top-p", 0.5, SAMPLING_FILE);
    assert_null(s.preset);
}

static void sampling__of_model__says_what_it_ignores(void **state)
{
    (void)state;
    struct buf ignored = {0};
    struct sampling s = from_file("llama", "x", 500.0f, 0.5f, false, &ignored);
    assert_row(&s, "temp", 0.8, SAMPLING_BUILT_IN);
    assert_row(&s, "top-p", 0.5, SAMPLING_FILE);
    assert_string_equal(buf_text(&ignored),
                        "the model file's general.sampling.temp is 500, expected a number "
                        "from 0 to 100; it is ignored\n");
    buf_fini(&ignored);
}

/* What a chat was told stays; what the model says is asked for anew, since the next turn may reason or not.
 */
static void sampling__to_json__only_what_the_chat_was_told_comes_back(void **state)
{
    (void)state;
    struct buf ignored = {0};
    const struct sampling thinking = from_file("qwen3", "Qwen3", NAN, NAN, true, &ignored);
    const struct sampling plain = from_file("qwen3", "Qwen3", NAN, NAN, false, &ignored);
    struct options o = {0};
    const struct options nothing = {0};
    struct sampling s;
    struct chat *chat = chat_new();
    assert_true(options_set(&o, OPT_TOP_K, "7", OPT_FROM_LINE, NULL));
    assert_true(sampling_resolve(&s, &thinking, &o, chat, NULL));
    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = sampling_to_json(&s, NULL);
    assert_non_null(strstr(chat->msgs[msg].params, "\"temp\":0.6,"));
    assert_true(sampling_resolve(&s, &plain, &nothing, chat, NULL));
    assert_row(&s, "temp", 0.7, SAMPLING_PRESET);
    assert_row(&s, "top-k", 7, SAMPLING_CHAT);
    chat_free(chat);
}

static void sampling__think__is_kept_with_the_chat_and_the_line_wins(void **state)
{
    (void)state;
    struct options o = {0};
    struct sampling s = {.params = sampler_defaults()};
    struct chat *chat = chat_new();
    bool chosen = true;
    assert_int_equal(sampling_think(&o, chat, &chosen), THINK_AUTO);
    assert_false(chosen);
    assert_true(options_set(&o, OPT_THINK, "on", OPT_FROM_CONFIG, NULL));
    assert_int_equal(sampling_think(&o, chat, &chosen), THINK_ON);
    assert_true(chosen);

    const enum think_mode off = THINK_OFF;
    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = sampling_to_json(&s, &off);
    assert_int_equal(sampling_think(&o, chat, &chosen), THINK_OFF);
    assert_true(options_set(&o, OPT_THINK, "auto", OPT_FROM_LINE, NULL));
    assert_int_equal(sampling_think(&o, chat, &chosen), THINK_AUTO);
    assert_true(chosen);

    mem_free(chat->msgs[msg].params); /* the next version may know more words */
    chat->msgs[msg].params = mem_strdup("{\"think\":\"a bit\"}");
    const struct options nothing = {0};
    assert_int_equal(sampling_think(&nothing, chat, &chosen), THINK_AUTO);
    assert_false(chosen);
    chat_free(chat);
}

static void sampling__to_json__comes_back_the_same(void **state)
{
    (void)state;
    struct options o = {0};
    const struct options nothing = {0};
    const struct sampling base = {.params = sampler_defaults()};
    struct sampling s;
    struct chat *chat = chat_new();
    assert_true(options_set(&o, OPT_TEMP, "0.7", OPT_FROM_LINE, NULL));
    assert_true(options_set(&o, OPT_REPEAT_LAST_N, "-1", OPT_FROM_LINE, NULL));
    assert_true(options_set(&o, OPT_FREQUENCY_PENALTY, "-0.25", OPT_FROM_LINE, NULL));
    assert_true(sampling_resolve(&s, &base, &o, chat, NULL));
    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = sampling_to_json(&s, NULL);
    assert_true(sampling_resolve(&s, &base, &nothing, chat, NULL));
    assert_row(&s, "temp", 0.7, SAMPLING_CHAT);
    assert_row(&s, "repeat-last-n", -1, SAMPLING_CHAT);
    assert_row(&s, "frequency-penalty", -0.25, SAMPLING_CHAT);
    assert_row(&s, "top-k", 40, SAMPLING_BUILT_IN);
    chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampling__resolve__later_sources_win),
        cmocka_unit_test(sampling__of_model__a_preset_stands_in_for_a_file_without_settings),
        cmocka_unit_test(sampling__of_model__says_what_it_ignores),
        cmocka_unit_test(sampling__to_json__only_what_the_chat_was_told_comes_back),
        cmocka_unit_test(sampling__to_json__comes_back_the_same),
        cmocka_unit_test(sampling__think__is_kept_with_the_chat_and_the_line_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
