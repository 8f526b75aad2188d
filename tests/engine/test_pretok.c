#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/base/buf.h"
#include "engine/base/mem.h"
#include "engine/pretok.h"
#include "engine/pretok_table.h"
#include "random_text.h"

#define CUT "¦"

static struct pretok *must(const char *name)
{
    struct err err = {0};
    assert_true(pretok_is_known(name, strlen(name)));
    struct pretok *p = pretok_new(name, strlen(name), &err);
    if (!p)
        fail_msg("%s: %s", name, err.text);
    return p;
}

/* --- expected splits --- */

/* Made with HuggingFace's tokenizers (pre_tokenizers.Split, Digits, Punctuation) from the expressions as
 * published, not with the code under test. */
static const struct {
    const char *row, *pieces;
} splits[] = {
    {"gpt-2", "it¦'s¦ ¦ IT¦'¦S¦ 12345¦\n\n¦ x"},
    {"gpt-2", "a¦\u00A0¦ b¦!\?¦\t¦\t¦c¦\u00B2\u0663"},
    {"default", "$¦5¦.¦00¦ it¦'¦s¦ ¦123¦456¦7¦ a¦`¦b"},
    {"default", " ¦\u00BD¦123¦45¦ \t ¦ x"},
    {"llama-bpe", "IT¦'S¦ ¦ ¦123¦456¦7¦!\n\n¦ ¦ x¦\r\n"},
    {"llama-bpe", "\u00A1Hola¦ ¦ \u043C\u0438\u0440¦'Re¦ ¦\u0663\u0664\u0665¦\u096C"},
    {"llama-bpe", "x¦       ¦ e¦\u0301¦ !¦\u00E9t\u00E9"},
    {"dbrx", "We¦'LL¦ ¦123¦45¦\n \n¦ if¦(x¦){"},
    {"dbrx", "a¦\t¦\tb¦ ..\n\n¦c"},
    {"dbrx", "x¦ ¦ ¦12¦       ¦ e¦\u0301¦ !¦\u00E9t\u00E9"},
    {"minicpm5", "x¦123¦45¦y¦  \n¦ z¦'s"},
    {"minicpm5", "1¦ ¦234¦ ¦567¦8"},
    {"minicpm5", "x¦  ¦12¦       ¦ e¦\u0301¦ !¦\u00E9t\u00E9"},
    {"qwen2", "I¦'m¦ ¦1¦2¦3¦  \n\n¦(x¦)"},
    {"qwen2", "e¦\u0301te¦ \u0939¦\u093F\u0928¦\u094D\u0926¦\u0940¦ ¦4¦2"},
    {"qwen2", "I¦'m¦x¦!!\n¦ e¦\u0301"},
    {"qwen35", "\u0939\u093F\u0928\u094D\u0926\u0940¦ e\u0301te¦ I¦'m¦ ¦1¦2"},
    {"qwen35", "a¦\u200Db¦ ¦ !¦\u0301¦\n"},
    {"qwen35", "I¦'m¦x¦!!\n¦ !¦\u00E9t\u00E9"},
    {"ufakzeka", "Ankara¦'da¦ ¦1¦2¦ it¦'s"},
    {"ufakzeka", "x¦ ¦ '¦ll¦\n"},
    {"ufakzeka", "aB¦ !¦\u00E9t\u00E9¦!!\n"},
    {"laguna", "a¦ ¦\n\n¦ b¦!¦\n\n¦c¦'s"},
    {"laguna", "1¦  ¦\n¦ ¦2"},
    {"k2-horizon",
     "\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645¦ \u0928\u092E\u0938\u094D\u200D\u0924\u0947¦ ¦123¦4"},
    {"k2-horizon", "it¦'s¦ \u200Dx"},
    {"seed-coder", "x¦!!¦\n\n¦y¦ ¦1¦2"},
    {"seed-coder", "  \n¦ ¦ it¦'s"},
    {"bailingmoe", "I¦'M¦ ¦1¦2¦ \n\n¦ x"},
    {"bailingmoe", "a¦!\?\n\n\n¦b"},
    {"bailingmoe", "I¦'m¦x¦!!\n¦ e¦\u0301"},
    {"exaone-moe", "hello big world¦ ¦1¦2¦,¦ it¦'s¦ ¦ ok"},
    {"exaone-moe", "a¦/b¦!/\n¦c¦ \n\n¦ d"},
    {"jais-2", "a¦    ¦  ¦ b¦ ¦123¦4"},
    {"jais-2", "x¦ \n¦  ¦ y¦        ¦    ¦ "},
    {"gpt-4o", "HTMLParser¦ it's¦ DON'T¦ camel¦Case¦ ¦123¦456¦7"},
    {"gpt-4o", "//\n/¦ \u041F\u0440\u0438\u0432\u0435\u0442¦\u041C\u0438\u0440¦ \u00C9COLEs"},
    {"gpt-4o", "\u4E2D\u6587Ab¦ '¦x"},
    {"granite-embed-multi-97m", "\u0939\u093F\u0928\u094D\u0926\u0940¦ABC¦ ¦123¦4"},
    {"granite-embed-multi-97m", "i¦Phone's"},
    {"granite-embed-multi-97m", "\u4E2D\u6587Ab¦ //\n"},
    {"tiny_aya", "1¦234¦567¦ ¦123¦45¦x¦ ¦123¦4\u00BD"},
    {"tiny_aya", "a¦1¦234¦,¦ ¦12¦_¦345¦ Hello¦World"},
    {"tekken", "HTMLParser¦ it¦'s¦ ¦1¦2¦3¦ \u041F\u0440\u0438\u0432\u0435\u0442¦\u041C\u0438\u0440"},
    {"tekken", "//\n¦\u4E2D\u6587ABc¦ \n¦ x"},
    {"youtu", "\uD55C\uAD6D\uC5B4\uC640¦\u4E2D\u6587¦\u3001\u201C¦ok¦\u201D¦ ¦1¦2"},
    {"youtu", "\u3105\u3106¦A¦\uB294¦ Hello¦World"},
    {"kimi-k2", "\u4E2D\u6587¦ABC¦\u6F22\u5B57¦\u304B\u306A¦ ¦123¦4"},
    {"kimi-k2", "Hello¦World's¦ ¦\u3005¦x¦\n\n"},
    {"deepseek-llm", "Hello¦,¦ \u043C\u0438\u0440¦ ¦12345¦\r¦\n¦\u4E2D\u6587¦  ¦\uD55C¦ ¦5"},
    {"deepseek-llm", "x¦   ¦5¦   ¦\n¦ ¦ it¦'¦s"},
    {"deepseek-coder", "Hello¦,¦ \u043C\u0438\u0440¦ ¦1¦2¦3¦\n¦\u4E2D\u6587¦!!¦ x¦_¦y"},
    {"deepseek-coder", "$¦a¦ ¦ (¦b¦)"},
    {"deepseek-coder", "$+¦a¦\t,¦b"},
    {"deepseek-v3", "Hello¦,¦ (¦x¦)_¦y¦ ¦123¦45¦\u4E2D\u6587\u304B\u306A¦!\n\n¦ e\u0301"},
    {"deepseek-v3", ".foo¦  \n¦ it¦'s¦ $¦5"},
    {"deepseek-v3", "!¦\u00E9t\u00E9¦ ¦\u4E2D\u6587¦ab"},
    {"spark2_5", "!!¦\n¦\n¦x¦ ¦1¦2¦3¦4¦  \n¦\u4E2D\u6587"},
    {"spark2_5", "\u00BD¦1¦2¦ .¦foo"},
    {"afmoe", "1¦234¦567¦ ¦\u4E2D\u6587\u0E44¦\u0E17\u0E22¦\u1000\u102D\u102F¦ x¦ ¦12"},
    {"afmoe", "(foo¦)¦ ¦1¦234¦ ¦12¦345¦ ¦\uD55C\uAE00¦a"},
    {"falcon", "a¦`¦b¦ ¦$¦5¦ ¦123¦456¦7¦ it¦'¦s"},
    {"falcon", "x¦(!\?)¦ \n¦ \u00BD¦123"},
    {"starcoder", "it¦'s¦ ¦1¦2¦3¦4¦ x¦\n\n ¦ y"},
    {"starcoder", " ¦\u00B2¦\u0969¦ a¦!"},
    {"chameleon", "<¦sentinel¦:¦1¦2¦>¦a¦    ¦b¦\n¦\n¦IMGIMGABZ¦ ¦!¦\?"},
    {"chameleon", "x¦  ¦ ¦1¦2¦\t¦\t¦it¦'¦s"},
    {"bloom", "Hello¦,¦ world¦ (¦x¦)!!¦ 12"},
    {"bloom", "\u092E\u0948\u0902¦\u0964¦ \u4E2D\u6587¦\u3001¦a¦ ¦ b"},
    {"viking", "Hello¦,¦ world¦ ¦1¦2¦.¦5"},
    {"viking", "x¦ ¦ ¦4¦2¦ y¦|¦z"},
    {"superbpe", "it's ¦1¦234¦567¦ big ¦\u00BD¦123¦ ¦12\u00BD"},
    {"superbpe", "123¦456¦x ¦7"},
    {"gemma4", "a b¦\n\n\n¦c"},
    {"gemma4", "\n¦ x"},
    {"gemma4", "a, 1 b"},
};

static bool append_piece(void *context, const char *piece, size_t n, struct err *err)
{
    (void)err;
    struct buf *out = context;
    if (out->len > 0)
        buf_append(out, CUT, sizeof CUT - 1);
    buf_append(out, piece, n);
    return true;
}

static void without_cuts(const char *pieces, struct buf *out)
{
    const char *cut;
    while ((cut = strstr(pieces, CUT))) {
        buf_append(out, pieces, (size_t)(cut - pieces));
        pieces = cut + sizeof CUT - 1;
    }
    buf_append(out, pieces, strlen(pieces));
}

static void check_split(const char *row, const char *pieces)
{
    struct pretok *p = must(row);
    struct pretok_run run = {0};
    struct buf text = {0}, got = {0};
    without_cuts(pieces, &text);
    assert_true(pretok_split(p, &run, buf_text(&text), text.len, append_piece, &got, NULL));
    if (strcmp(buf_text(&got), pieces) != 0)
        fail_msg("%s: \"%s\", expected \"%s\"", row, buf_text(&got), pieces);
    buf_fini(&text);
    buf_fini(&got);
    pretok_run_fini(&run);
    pretok_free(p);
}

static void pretok__split__as_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        check_split(splits[i].row, splits[i].pieces);
}

static void pretok__table__every_row_has_a_case(void **state)
{
    (void)state;
    const struct pretok_row *row;
    for (size_t i = 0; (row = pretok_table_row(i)); i++) {
        size_t n = 0;
        for (size_t k = 0; k < sizeof splits / sizeof *splits; k++)
            n += strcmp(splits[k].row, row->name) == 0;
        /* Gemma 4's cases are Sarvam's, too. */
        if (n == 0 && strcmp(row->name, "sarvam-moe") != 0)
            fail_msg("no case for %s", row->name);
    }
}

static void pretok__table__names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "default",     "gpt-2",        "llama-bpe",   "llama3",    "llama-v3",      "falcon3",
        "dbrx",        "smaug-bpe",    "qwen2",       "qwen35",    "deepseek-llm",  "deepseek-coder",
        "deepseek-v3", "falcon",       "mpt",         "starcoder", "refact",        "deepseek-r1-qwen",
        "command-r",   "stablelm2",    "olmo",        "smollm",    "codeshell",     "bloom",
        "exaone",      "exaone4",      "chatglm-bpe", "glm4",      "gpt-4o",        "o200k",
        "tekken",      "minerva-7b",   "viking",      "jais",      "poro-chat",     "gemma4",
        "kimi-k2",     "lfm2",         "seed-coder",  "hunyuan",   "hunyuan-dense", "granite",
        "trillion",    "bailingmoe",   "llama4",      "pixtral",   "superbpe",      "megrez",
        "phi-2",       "gpt3-finnish", "jina-v2-es",  "a.x-4.0",   "mellum",        "grok-2",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!pretok_table_find(names[i], strlen(names[i])))
            fail_msg("%s is not known", names[i]);
    assert_null(pretok_table_find("martian", 7));
    assert_null(pretok_table_find("gpt-", 4));
    assert_null(pretok_table_find("", 0));
    assert_ptr_equal(pretok_table_find("smollm", 6), pretok_table_find("starcoder", 9));
}

static void pretok__flags__by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ignores_merges, adds_bos, spells_characters;
    } facts[] = {
        {"gpt-2", false, false, false},     {"qwen2", false, false, false}, {"llama3", true, true, false},
        {"smaug-bpe", false, false, false}, {"tekken", true, true, false},  {"youtu", true, false, false},
        {"chameleon", false, true, false},  {"gemma4", false, true, true},
    };
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        struct pretok *p = must(facts[i].name);
        assert_int_equal(pretok_ignores_merges(p), facts[i].ignores_merges);
        assert_int_equal(pretok_adds_bos(p), facts[i].adds_bos);
        assert_int_equal(pretok_spells_characters(p), facts[i].spells_characters);
        pretok_free(p);
    }
}

/* --- any text --- */

/* Pieces must follow each other without a gap, and none may be empty. */
struct walk {
    const char *next;
    size_t n_pieces;
};

static bool follow(void *context, const char *piece, size_t n, struct err *err)
{
    (void)err;
    struct walk *w = context;
    assert_true(n > 0);
    assert_ptr_equal(piece, w->next);
    w->next = piece + n;
    w->n_pieces++;
    return true;
}

static size_t check_covers(const struct pretok *p, struct pretok_run *run, const char *text, size_t n)
{
    struct walk w = {text, 0};
    assert_true(pretok_split(p, run, text, n, follow, &w, NULL));
    assert_ptr_equal(w.next, text + n);
    return w.n_pieces;
}

static void pretok__split__covers_any_bytes(void **state)
{
    (void)state;
    const struct pretok_row *row;
    for (size_t i = 0; (row = pretok_table_row(i)); i++) {
        struct pretok *p = must(row->name);
        struct pretok_run run = {0};
        uint64_t seed = 1;
        for (int round = 0; round < 150; round++) {
            char text[200];
            size_t n = random_text(&seed, text, sizeof text);
            if (round % 3 == 0 && n > 0)
                text[n / 2] = (char)0xFF;
            check_covers(p, &run, text, n);
        }
        assert_int_equal(check_covers(p, &run, "", 0), 0);
        pretok_run_fini(&run);
        pretok_free(p);
    }
}

/* What makes an expression look at the rest of a long text from every place of it takes minutes here. */
static void pretok__split__long_runs(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a",      "A",      "1",      " ",      "\n", "\r\n",   "!",           "'",
        "\t ",    "\u4E2D", "\u0301", "_",      "a ", "1 ",     " \n",         "IMG",
        "\u3042", "\xFF",   "a\xFF",  "\u00BD", "A1", "\u01C5", "<sentinel:1", "\U0001F469\u200D"};
    static const char *const ends[] = {"", "5", "x", "\n", "!"};
    enum { N = 40000 };
    char *text = mem_need(N + 32);
    const struct pretok_row *row;
    for (size_t i = 0; (row = pretok_table_row(i)); i++) {
        struct pretok *p = must(row->name);
        struct pretok_run run = {0};
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            size_t n = 0, n_end = strlen(ends[(i + k) % 5]);
            while (n < N) {
                memcpy(text + n, units[k], strlen(units[k]));
                n += strlen(units[k]);
            }
            memcpy(text + n, ends[(i + k) % 5], n_end);
            check_covers(p, &run, text, n + n_end);
        }
        pretok_run_fini(&run);
        pretok_free(p);
    }
    mem_free(text);
}

/* Groups of three are counted from the right of the whole number, however long it is. */
static void pretok__split__threes_of_a_long_number(void **state)
{
    (void)state;
    enum { N = 100001 };
    char *text = mem_need(N + 1);
    memset(text, '7', N);
    text[N] = ' ';
    static const char *const rows[] = {"tiny_aya", "afmoe", "superbpe"};
    for (size_t i = 0; i < 3; i++) {
        struct pretok *p = must(rows[i]);
        struct pretok_run run = {0};
        assert_int_equal(check_covers(p, &run, text, N), N / 3 + 1);
        assert_int_equal(check_covers(p, &run, text, N + 1), N / 3 + 2);
        pretok_run_fini(&run);
        pretok_free(p);
    }
    mem_free(text);
}

static bool stop_at_second(void *context, const char *piece, size_t n, struct err *err)
{
    (void)piece;
    (void)n;
    int *calls = context;
    return ++*calls < 2 || err_set(err, ERR_RUNTIME, "enough");
}

static void pretok__split__stops_when_told(void **state)
{
    (void)state;
    struct pretok *p = must("deepseek-llm");
    struct pretok_run run = {0};
    struct err err = {0};
    int calls = 0;
    assert_false(pretok_split(p, &run, "a b c d", 7, stop_at_second, &calls, &err));
    assert_int_equal(calls, 2);
    assert_int_equal(err.code, ERR_RUNTIME);
    pretok_run_fini(&run);
    pretok_free(p);
}

static void pretok__new__unknown_is_gpt2(void **state)
{
    (void)state;
    assert_false(pretok_is_known("martian", 7));
    struct pretok *p = pretok_new("martian", 7, NULL);
    assert_non_null(p);
    struct pretok_run run = {0};
    assert_int_equal(check_covers(p, &run, "1234567", 7), 1);
    pretok_run_fini(&run);
    pretok_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pretok__split__as_published),
        cmocka_unit_test(pretok__table__every_row_has_a_case),
        cmocka_unit_test(pretok__table__names),
        cmocka_unit_test(pretok__flags__by_name),
        cmocka_unit_test(pretok__split__covers_any_bytes),
        cmocka_unit_test(pretok__split__long_runs),
        cmocka_unit_test(pretok__split__threes_of_a_long_number),
        cmocka_unit_test(pretok__split__stops_when_told),
        cmocka_unit_test(pretok__new__unknown_is_gpt2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
