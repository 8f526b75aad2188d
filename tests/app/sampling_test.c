/* sampling_test.c: who decides a sampling setting, and what a chat keeps of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "app/sampling.h"
#include "engine/base/mem.h"
#include "tests/support/gguf_write.h"

/* What a file with these two settings says. */
static struct sampler_params from_file(float temp, float top_p)
{
    struct gguf_writer w = {0};
    struct buf bytes = {0};
    gguf_write_string(&w, "general.architecture", "llama");
    gguf_write_f32(&w, "general.sampling.temp", temp);
    gguf_write_f32(&w, "general.sampling.top_p", top_p);
    gguf_write_finish(&w, &bytes);
    struct err err = {0};
    struct gguf *g = gguf_open_memory(bytes.data, bytes.len, "test.gguf", false, &err);
    if (!g)
        fail_msg("%s", err.text);
    struct sampler_params params = sampling_of_model(g);
    gguf_close(g);
    buf_fini(&bytes);
    return params;
}

static void sampling__resolve__later_sources_win(void **state)
{
    (void)state;
    const struct sampler_params file = from_file(0.3f, 0.5f);
    struct options o = {0};
    struct sampler_params p;
    struct chat *chat = chat_new();

    assert_true(sampling_resolve(&p, &file, &o, chat, NULL));
    assert_float_equal(p.temp, 0.3, 1e-6); /* the file over the built-in 0.8 */
    assert_int_equal(p.top_k, 40);         /* the built-in one */

    assert_true(options_set(&o, OPT_TEMP, "0.4", OPT_FROM_CONFIG, NULL));
    assert_true(options_set(&o, OPT_TOP_K, "4", OPT_FROM_CONFIG, NULL));
    assert_true(sampling_resolve(&p, &file, &o, chat, NULL));
    assert_float_equal(p.temp, 0.4, 1e-6); /* config over file */

    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = mem_strdup("{\"temp\":0.6,\"top_k\":6,\"top_p\":7,\"min_p\":\"no\",\"seed\":5}");
    assert_true(sampling_resolve(&p, &file, &o, chat, NULL));
    assert_float_equal(p.temp, 0.6, 1e-6);  /* chat over config */
    assert_float_equal(p.top_p, 0.5, 1e-6); /* out of range in the chat: ignored */
    assert_float_equal(p.min_p, 0.05, 1e-6);
    assert_int_equal(p.seed, 0); /* never the chat's */

    assert_true(options_set(&o, OPT_TEMP, "0.9", OPT_FROM_LINE, NULL));
    assert_true(sampling_resolve(&p, &file, &o, chat, NULL));
    assert_float_equal(p.temp, 0.9, 1e-6); /* command line over all */
    assert_int_equal(p.top_k, 6);
    chat_free(chat);
}

static void sampling__to_json__comes_back_the_same(void **state)
{
    (void)state;
    struct sampler_params before = sampler_defaults(), after;
    before.temp = 0.7f;
    before.repeat_last_n = -1;
    before.frequency_penalty = -0.25f;
    struct chat *chat = chat_new();
    int msg = chat_add(chat, -1, CHAT_ASSISTANT, "x", 1);
    chat->msgs[msg].params = sampling_to_json(&before);
    const struct sampler_params base = sampler_defaults();
    const struct options o = {0};
    assert_true(sampling_resolve(&after, &base, &o, chat, NULL));
    assert_float_equal(after.temp, before.temp, 1e-6);
    assert_int_equal(after.repeat_last_n, -1);
    assert_float_equal(after.frequency_penalty, -0.25, 1e-6);
    chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampling__resolve__later_sources_win),
        cmocka_unit_test(sampling__to_json__comes_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
