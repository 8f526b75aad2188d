/* Wrapping and the transcript: rows are whole, nothing is lost, streaming equals wrapping at once, and the
 * reader's place holds. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "ui/sanitize.h"
#include "ui/transcript.h"
#include "ui/wrap.h"

/* The rows of text, joined by '|'. */
static void assert_wrapped(const char *text, size_t columns, const char *want)
{
    struct wrap wrap = {0};
    struct buf got = {0};
    wrap_append(&wrap, text, 0, strlen(text), columns);
    for (size_t i = 0; i < wrap.n_rows; i++) {
        if (i > 0)
            buf_putc(&got, '|');
        buf_printf(&got, "%*s", (int)wrap.rows[i].indent, "");
        buf_append(&got, text + wrap.rows[i].start, wrap.rows[i].n_bytes);
        assert_int_equal(wrap.rows[i].indent + text_width(text + wrap.rows[i].start, wrap.rows[i].n_bytes),
                         wrap.rows[i].n_columns);
        assert_true(wrap.rows[i].n_columns <= columns);
    }
    assert_string_equal(buf_text(&got), want);
    buf_fini(&got);
    wrap_fini(&wrap);
}

static void wrap__append__breaks_at_spaces(void **state)
{
    (void)state;
    assert_wrapped("the quick brown fox", 10, "the quick|brown fox");
    assert_wrapped("one two", 7, "one two");
    assert_wrapped("one   two", 5, "one|two");
    assert_wrapped("one two ", 7, "one two");
    assert_wrapped("  in dented", 8, "  in|dented");
    assert_wrapped("", 8, "");
}

static void wrap__append__keeps_line_ends(void **state)
{
    (void)state;
    assert_wrapped("a\n\nb\n", 8, "a||b");
    assert_wrapped("\na", 8, "|a");
}

static void wrap__append__indented_lines_hang(void **state)
{
    (void)state;
    assert_wrapped("    if (a) return long_name;\nnext", 20, "    if (a) return|    long_name;|next");
    assert_wrapped("  abcdefghijklmnopqrstuvwxyz", 16, "  abcdefghijklmn|  opqrstuvwxyz");
    assert_wrapped("         nine deep here", 16, "         nine|deep here"); /* too little would be left */
    assert_wrapped("  two in fifteen columns", 15, "  two in|fifteen columns");
}

static void wrap__append__cuts_long_words_between_cells(void **state)
{
    (void)state;
    assert_wrapped("abcdefghij", 4, "abcd|efgh|ij");
    assert_wrapped("x abcdefgh y", 4, "x|abcd|efgh|y");
    assert_wrapped("a\u0301\u0321\u0301\u0321bcd", 2, "a\u0301\u0321\u0301\u0321b|cd");
    assert_wrapped("😀😀😀", 5, "😀😀|😀");
}

static void wrap__append__ideographs(void **state)
{
    (void)state;
    assert_wrapped("漢字漢字漢字", 8, "漢字漢字|漢字");
    assert_wrapped("漢字漢字。漢", 8, "漢字漢|字。漢");
    assert_wrapped("漢「字漢」", 5, "漢|「字|漢」");
}

static void wrap__append__hyphens_inside_words(void **state)
{
    (void)state;
    assert_wrapped("well-known", 7, "well-|known");
    assert_wrapped("a --help", 5, "a|--hel|p");
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void random_text(struct buf *out, size_t n)
{
    static const char *const pieces[] = {"word", " ", "  ", "\n",     "漢",         "字。",
                                         "「",   "😀", "é",  "-",      "longerword", "x\u0321",
                                         "\n\n", "a", "\t", "\033[1m"};
    while (out->len < n)
        buf_puts(out, pieces[random_next() % (sizeof pieces / sizeof *pieces)]);
}

/* Rows are in order, inside the measure, and only blanks and line ends are in none of them. */
static void wrap__append__loses_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 500; round++) {
        struct buf raw = {0}, clean = {0};
        struct wrap wrap = {0};
        size_t at = 0, columns = 2 + random_next() % 40;
        random_text(&raw, random_next() % 400);
        sanitize_append(&clean, buf_text(&raw), raw.len);
        wrap_append(&wrap, buf_text(&clean), 0, clean.len, columns);
        for (size_t i = 0; i <= wrap.n_rows; i++) {
            size_t next = i < wrap.n_rows ? wrap.rows[i].start : clean.len;
            assert_true(next >= at);
            for (; at < next; at++)
                assert_true(clean.data[at] == ' ' || clean.data[at] == '\n');
            if (i < wrap.n_rows) {
                assert_true(wrap.rows[i].n_columns <= columns);
                at += wrap.rows[i].n_bytes;
            }
        }
        wrap_fini(&wrap);
        buf_fini(&raw);
        buf_fini(&clean);
    }
}

/* ---- the transcript ---- */

static void dump(struct transcript *t, size_t n_rows, struct buf *out)
{
    struct transcript_pos pos = transcript_top(t);
    struct transcript_row row;
    for (size_t i = 0; i < n_rows && transcript_row_at(t, pos, &row); i++) {
        buf_append(out, row.text, row.n_text);
        buf_putc(out, '\n');
        transcript_next(t, &pos);
    }
}

static void assert_shows(struct transcript *t, size_t n_rows, const char *want)
{
    struct buf got = {0};
    dump(t, n_rows, &got);
    assert_string_equal(buf_text(&got), want);
    buf_fini(&got);
}

static struct chat *two_messages(void)
{
    struct chat *chat = chat_new();
    int user = chat_add(chat, -1, CHAT_USER, "Hello there", 11);
    chat_add(chat, user, CHAT_ASSISTANT, "One.\nTwo.\nThree.\n", 17);
    return chat;
}

static void transcript__rows__labels_and_marks(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    transcript_set_model(t, "qwen3-0.6b q4_k_m");
    transcript_set_chat(t, chat);
    assert_false(transcript_is_empty(t));
    assert_shows(t, 20, "You\nHello there\n\nqwen3-0.6b\nOne.\nTwo.\nThree.\n");
    chat->msgs[1].status = CHAT_INTERRUPTED;
    buf_puts(&chat->msgs[1].think, "hm well then");
    transcript_changed(t, 1);
    assert_shows(t, 20,
                 "You\nHello there\n\nqwen3-0.6b\n▸ Thought · 3 words\nOne.\nTwo.\nThree.\n· stopped\n");
    transcript_free(t);
    chat_free(chat);
}

/* The new one may have the address of the old: the allocator likes to give it again. */
static void transcript__set_chat__notes_go_with_the_old_one(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    transcript_set_chat(t, chat);
    transcript_add_note(t, "a receipt");
    chat_renew(chat);
    transcript_set_chat(t, chat);
    assert_shows(t, 20, "You\nHello there\n\nAssistant\nOne.\nTwo.\nThree.\n");
    transcript_free(t);
    chat_free(chat);
}

/* A tab goes to the next eighth column of its own line, also when the line comes in pieces. */
static void transcript__rows__tabs_and_indents_stay(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    struct transcript *t = transcript_new();
    int user = chat_add(chat, -1, CHAT_USER, "code?", 5);
    int answer = chat_add(chat, user, CHAT_ASSISTANT, "", 0);
    static const char *const pieces[] = {"if:\n", "\tx", " = 1\n  a\tb", "\n    in", "dented"};
    transcript_set_chat(t, chat);
    transcript_resize(t, 40, 20);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct buf shown = {0};
        chat->msgs[answer].status = CHAT_STREAMING;
        buf_puts(&chat->msgs[answer].text, pieces[i]);
        transcript_changed(t, answer);
        dump(t, 20, &shown); /* looked at after every piece, so that rows are cached */
        buf_fini(&shown);
    }
    struct buf shown = {0};
    dump(t, 20, &shown);
    assert_non_null(strstr(buf_text(&shown), "if:\n"));
    assert_non_null(strstr(buf_text(&shown), "        x = 1\n"));
    assert_non_null(strstr(buf_text(&shown), "  a     b\n"));
    assert_non_null(strstr(buf_text(&shown), "    indented"));
    buf_fini(&shown);
    transcript_free(t);
    chat_free(chat);
}

static void transcript__rows__notes_stand_behind_their_message(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    transcript_set_chat(t, chat);
    transcript_add_note(t, "a receipt");
    int user = chat_add(chat, 1, CHAT_USER, "More", 4);
    transcript_changed(t, -1);
    assert_int_equal(user, 2);
    assert_shows(t, 20, "You\nHello there\n\nAssistant\nOne.\nTwo.\nThree.\n\na receipt\n\nYou\nMore\n");
    transcript_free(t);
    chat_free(chat);
}

static void transcript__changed__a_sibling_takes_the_place(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    transcript_set_chat(t, chat);
    chat_add(chat, 0, CHAT_ASSISTANT, "Other.", 6);
    transcript_changed(t, -1);
    assert_shows(t, 20, "You\nHello there\n\nAssistant\nOther.\n");
    transcript_free(t);
    chat_free(chat);
}

/* What a growing message shows is what the same text shows at once. */
static void transcript__changed__streaming_equals_whole(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct buf text = {0};
        random_text(&text, 200 + random_next() % 400);
        struct chat *chat = chat_new();
        chat_add(chat, -1, CHAT_ASSISTANT, "", 0);
        chat->msgs[0].status = CHAT_STREAMING;
        size_t n_reason = random_next() % 2 ? random_next() % text.len : 0;
        struct transcript *grown = transcript_new(), *whole = transcript_new();
        transcript_resize(grown, 20, 10);
        transcript_set_chat(grown, chat);
        for (size_t i = 0; i < text.len;) {
            size_t k = 1 + random_next() % 9;
            k = k > text.len - i ? text.len - i : k;
            buf_append(i < n_reason ? &chat->msgs[0].think : &chat->msgs[0].text, text.data + i, k);
            i += k;
            if (random_next() % 16 == 0) {
                transcript_unfold(grown, !transcript_is_unfolded(grown));
                transcript_unfold(whole, transcript_is_unfolded(grown));
            }
            transcript_changed(grown, 0);
            struct buf a = {0}, b = {0};
            transcript_resize(whole, 20, 10);
            transcript_set_chat(whole, chat);
            dump(grown, 10, &a);
            dump(whole, 10, &b);
            assert_string_equal(buf_text(&a), buf_text(&b));
            buf_fini(&a);
            buf_fini(&b);
        }
        transcript_free(grown);
        transcript_free(whole);
        chat_free(chat);
        buf_fini(&text);
    }
}

/* ---- reasoning ---- */

static void transcript__reason__stands_below_its_line_while_it_grows(void **state)
{
    (void)state;
    struct chat *chat = chat_new();
    struct transcript *t = transcript_new();
    struct transcript_row row;
    chat_add(chat, -1, CHAT_ASSISTANT, "", 0);
    chat->msgs[0].status = CHAT_STREAMING;
    buf_puts(&chat->msgs[0].think, "\n \n");
    transcript_set_chat(t, chat);
    assert_shows(t, 9, "Assistant\n\n"); /* blanks are no reasoning */
    buf_puts(&chat->msgs[0].think, "one");
    transcript_changed(t, 0);
    assert_shows(t, 9, "Assistant\n▾ Thinking · 1 word\none\n");
    buf_puts(&chat->msgs[0].think, "\ntwo\nthree\nfour\n");
    transcript_changed(t, 0);
    assert_shows(t, 9, "Assistant\n▾ Thinking · 4 words\ntwo\nthree\nfour\n");
    assert_true(transcript_row_at(t, (struct transcript_pos){.row = 4}, &row));
    assert_true(row.kind == ROW_REASON && row.is_last_text);
    buf_puts(&chat->msgs[0].text, "Answer.");
    transcript_changed(t, 0);
    assert_shows(t, 9, "Assistant\n▸ Thought · 4 words\nAnswer.\n");
    transcript_unfold(t, true);
    assert_shows(t, 9, "Assistant\n▾ Thought · 4 words\none\ntwo\nthree\nfour\n\nAnswer.\n");
    chat->msgs[0].status = CHAT_INTERRUPTED;
    buf_truncate(&chat->msgs[0].text, 0);
    transcript_changed(t, 0);
    transcript_unfold(t, false);
    assert_shows(t, 9, "Assistant\n▸ Thought · 4 words\n· stopped\n");
    transcript_free(t);
    chat_free(chat);
}

/* Some turns, most answers with reasoning. */
static struct chat *random_chat(int n_turns)
{
    struct chat *chat = chat_new();
    for (int i = 0; i < n_turns; i++) {
        struct buf text = {0};
        random_text(&text, 1 + random_next() % 200);
        chat_add(chat, chat->head, CHAT_USER, text.data, text.len);
        random_text(&text, text.len + random_next() % 800);
        chat_add(chat, chat->head, CHAT_ASSISTANT, text.data, text.len);
        buf_truncate(&text, 0);
        random_text(&text, random_next() % 3 ? random_next() % 900 : 0);
        buf_append(&chat->msgs[chat->head].think, buf_text(&text), text.len);
        buf_fini(&text);
    }
    return chat;
}

/* Whatever is folded, unfolded and resized in between, the same state shows the same window; a line of an
 * answer at its top stays there but for the end of the chat. */
static void transcript__unfold__never_loses_the_place(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct chat *chat = random_chat(4);
        struct transcript *t = transcript_new();
        bool unfolded = random_next() % 2;
        transcript_resize(t, 30, 8);
        transcript_set_chat(t, chat);
        transcript_unfold(t, unfolded);
        transcript_scroll(t, -(long)(random_next() % 120));
        struct buf before = {0}, after = {0};
        dump(t, 8, &before);
        for (int i = 0; i < 12; i++) {
            struct transcript_row top, now;
            transcript_row_at(t, transcript_top(t), &top);
            char *text = mem_strndup(top.text, top.n_text);
            if (random_next() % 2) {
                transcript_resize(t, 2 + random_next() % 60, 1 + random_next() % 20);
            } else {
                bool has_more = transcript_has_more(t);
                transcript_unfold(t, !transcript_is_unfolded(t));
                transcript_row_at(t, transcript_top(t), &now);
                if (top.kind == ROW_TEXT && has_more && transcript_has_more(t))
                    assert_memory_equal(now.text, text, top.n_text);
            }
            mem_free(text);
        }
        transcript_resize(t, 30, 8);
        transcript_unfold(t, unfolded);
        dump(t, 8, &after);
        assert_string_equal(buf_text(&after), buf_text(&before));
        buf_fini(&before);
        buf_fini(&after);
        transcript_free(t);
        chat_free(chat);
    }
}

/* ---- selection and branches ---- */

static void transcript__select_next__walks_the_path(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    int number, n;
    chat_add(chat, 1, CHAT_USER, "More", 4);
    transcript_set_chat(t, chat);
    transcript_add_note(t, "a receipt");
    assert_int_equal(transcript_selected(t), -1);
    transcript_select_next(t, -1);
    assert_int_equal(transcript_selected(t), 2); /* a note is no message */
    transcript_select_next(t, 1);
    assert_int_equal(transcript_selected(t), 2);
    for (int i = 0; i < 5; i++)
        transcript_select_next(t, -1);
    assert_int_equal(transcript_selected(t), 0);
    transcript_number(t, 1, &number, &n);
    assert_int_equal(number, 2);
    assert_int_equal(n, 3);
    transcript_number(t, 7, &number, &n);
    assert_int_equal(number, 0);
    transcript_select(t, -1);
    transcript_select_next(t, 1); /* the first in the window */
    assert_int_equal(transcript_selected(t), 0);
    transcript_set_chat(t, NULL);
    assert_int_equal(transcript_selected(t), -1);
    transcript_select_next(t, -1);
    assert_int_equal(transcript_selected(t), -1);
    transcript_free(t);
    chat_free(chat);
}

/* The row of the window the selected message begins in, -1: not seen. */
static int row_of_selected(struct transcript *t, size_t height)
{
    struct transcript_pos pos = transcript_top(t);
    struct transcript_row row;
    for (size_t i = 0; i < height && transcript_row_at(t, pos, &row); i++) {
        if (row.is_selected && row.kind == ROW_LABEL)
            return (int)i;
        transcript_next(t, &pos);
    }
    return -1;
}

static void add_branches(struct chat *chat, int n)
{
    for (int i = 0; i < n; i++) {
        struct buf text = {0};
        int beside = (int)(random_next() % (uint64_t)chat->n_msgs);
        random_text(&text, random_next() % 600);
        chat_add(chat, chat->msgs[beside].parent, chat->msgs[beside].role, buf_text(&text), text.len);
        for (int k = (int)(random_next() % 3); k > 0; k--)
            chat_add(chat, chat->head, chat->msgs[chat->head].role == CHAT_USER ? CHAT_ASSISTANT : CHAT_USER,
                     "below", 5);
        buf_fini(&text);
    }
}

static int first_sibling(const struct chat *chat, int msg)
{
    int i = 0;
    while (chat->msgs[i].parent != chat->msgs[msg].parent || chat->msgs[i].role != chat->msgs[msg].role)
        i++;
    return i;
}

/* Selected messages are seen; the sibling that takes the place of one is selected and begins in the same row,
 * but where the chat is too short for that. */
static void transcript__select__keeps_its_row_through_branches(void **state)
{
    (void)state;
    int n_kept = 0;
    for (int round = 0; round < 60; round++) {
        struct chat *chat = random_chat(4);
        struct transcript *t = transcript_new();
        add_branches(chat, 8);
        transcript_resize(t, 30, 12);
        transcript_set_chat(t, chat);
        for (int i = 0; i < 30; i++) {
            transcript_select_next(t, random_next() % 2 ? 1 : -1);
            int selected = transcript_selected(t), row = row_of_selected(t, 12);
            assert_true(selected >= 0 && row >= 0);
            if (random_next() % 4 == 0)
                transcript_unfold(t, !transcript_is_unfolded(t));
            row = row_of_selected(t, 12);
            assert_true(row >= 0);
            int other = first_sibling(chat, selected);
            chat->head = chat_newest_leaf(chat, other);
            transcript_changed(t, -1);
            assert_int_equal(transcript_selected(t), other);
            if (other == selected)
                continue;
            bool clamped = !transcript_has_more(t);
            assert_true(clamped ? row_of_selected(t, 12) >= 0 : row_of_selected(t, 12) == row);
            n_kept += !clamped;
        }
        transcript_free(t);
        chat_free(chat);
    }
    assert_true(n_kept > 50);
}

static void transcript__row_at__tells_siblings(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    struct transcript_row row;
    transcript_set_chat(t, chat);
    assert_true(transcript_row_at(t, (struct transcript_pos){.item = 1, .row = 1}, &row));
    assert_int_equal(row.kind, ROW_LABEL);
    assert_int_equal(row.count, 1);
    chat_add(chat, 0, CHAT_ASSISTANT, "Other.", 6);
    transcript_changed(t, -1);
    assert_true(transcript_row_at(t, (struct transcript_pos){.item = 1, .row = 1}, &row));
    assert_int_equal(row.position, 2);
    assert_int_equal(row.count, 2);
    transcript_free(t);
    chat_free(chat);
}

/* Anything in any order: for the sanitizers, and the window never holds rows of nothing. */
static void transcript__view__survives_anything(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        struct chat *chat = random_chat(3);
        struct transcript *t = transcript_new();
        transcript_set_chat(t, chat);
        for (int i = 0; i < 60; i++) {
            struct chat_msg *last = &chat->msgs[chat->head];
            struct buf shown = {0};
            switch (random_next() % 8) {
            case 0:
                add_branches(chat, 1);
                transcript_changed(t, -1);
                break;
            case 1:
                last->status = random_next() % 2 ? CHAT_STREAMING : CHAT_INTERRUPTED;
                transcript_changed(t, chat->head);
                break;
            case 2:
                random_text(random_next() % 2 ? &last->think : &last->text, 200 + random_next() % 200);
                transcript_changed(t, chat->head);
                break;
            case 3:
                transcript_add_note(t, random_next() % 2 ? "note" : "");
                break;
            case 4:
                transcript_scroll(t, (long)(random_next() % 41) - 20);
                break;
            case 5:
                transcript_resize(t, random_next() % 50, random_next() % 20);
                break;
            case 6:
                transcript_unfold(t, random_next() % 2);
                break;
            default:
                transcript_select_next(t, random_next() % 2 ? 1 : -1);
            }
            dump(t, 20, &shown);
            assert_true(shown.len > 0);
            assert_true(transcript_n_new(t) < 10000);
            buf_fini(&shown);
        }
        transcript_free(t);
        chat_free(chat);
    }
}

static struct chat *numbered_lines(int n)
{
    struct chat *chat = chat_new();
    struct buf text = {0};
    for (int i = 0; i < n; i++)
        buf_printf(&text, "line %d of many words\n", i);
    chat_add(chat, -1, CHAT_ASSISTANT, text.data, text.len);
    buf_fini(&text);
    return chat;
}

static void transcript__scroll__follows_only_at_the_end(void **state)
{
    (void)state;
    struct chat *chat = numbered_lines(100);
    struct transcript *t = transcript_new();
    transcript_resize(t, 40, 3);
    transcript_set_chat(t, chat);
    assert_shows(t, 3, "line 97 of many words\nline 98 of many words\nline 99 of many words\n");
    transcript_scroll(t, -2);
    assert_shows(t, 1, "line 95 of many words\n");
    chat->msgs[0].status = CHAT_STREAMING;
    buf_puts(&chat->msgs[0].text, "new\nnewer\n");
    transcript_changed(t, 0);
    assert_shows(t, 1, "line 95 of many words\n");
    assert_int_equal(transcript_n_new(t), 2);
    transcript_scroll(t, 1000);
    assert_int_equal(transcript_n_new(t), 0);
    assert_shows(t, 3, "line 99 of many words\nnew\nnewer\n");
    transcript_scroll(t, -1000);
    assert_shows(t, 2, "Assistant\nline 0 of many words\n");
    transcript_free(t);
    chat_free(chat);
}

static void transcript__scroll__a_short_chat_does_not_move(void **state)
{
    (void)state;
    struct chat *chat = two_messages();
    struct transcript *t = transcript_new();
    transcript_set_chat(t, chat);
    transcript_scroll(t, -5);
    transcript_resize(t, 40, 1); /* it still follows the end */
    assert_shows(t, 1, "Three.\n");
    transcript_free(t);
    chat_free(chat);
}

static void transcript__resize__the_top_line_stays(void **state)
{
    (void)state;
    struct chat *chat = numbered_lines(500);
    struct transcript *t = transcript_new();
    transcript_resize(t, 40, 10);
    transcript_set_chat(t, chat);
    transcript_scroll(t, -200);
    struct transcript_row row;
    transcript_row_at(t, transcript_top(t), &row);
    char *before = mem_strndup(row.text, 8);
    for (size_t columns = 5; columns < 60; columns += 7) {
        transcript_resize(t, columns, 10);
        transcript_row_at(t, transcript_top(t), &row);
        assert_memory_equal(row.text, before, 4);
    }
    transcript_resize(t, 40, 10);
    transcript_row_at(t, transcript_top(t), &row);
    assert_memory_equal(row.text, before, 8);
    mem_free(before);
    transcript_free(t);
    chat_free(chat);
}

static void transcript__view__hundred_thousand_lines(void **state)
{
    (void)state;
    struct chat *chat = numbered_lines(100000);
    struct transcript *t = transcript_new();
    transcript_resize(t, 40, 2);
    transcript_set_chat(t, chat);
    assert_shows(t, 2, "line 99998 of many words\nline 99999 of many words\n");
    transcript_scroll(t, -50000);
    assert_shows(t, 1, "line 49998 of many words\n");
    transcript_resize(t, 12, 2);
    assert_shows(t, 2, "line 49998\nof many\n");
    transcript_free(t);
    chat_free(chat);
}

static void transcript__view__no_chat(void **state)
{
    (void)state;
    struct transcript *t = transcript_new();
    transcript_set_chat(t, NULL);
    assert_true(transcript_is_empty(t));
    assert_shows(t, 5, "");
    transcript_scroll(t, -3);
    transcript_scroll(t, 3);
    assert_int_equal(transcript_n_new(t), 0);
    transcript_add_note(t, "note");
    assert_shows(t, 5, "note\n");
    transcript_free(t);
}

int main(void)
{
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrap__append__breaks_at_spaces),
        cmocka_unit_test(wrap__append__keeps_line_ends),
        cmocka_unit_test(wrap__append__indented_lines_hang),
        cmocka_unit_test(transcript__rows__tabs_and_indents_stay),
        cmocka_unit_test(wrap__append__cuts_long_words_between_cells),
        cmocka_unit_test(wrap__append__ideographs),
        cmocka_unit_test(wrap__append__hyphens_inside_words),
        cmocka_unit_test(wrap__append__loses_nothing),
        cmocka_unit_test(transcript__rows__labels_and_marks),
        cmocka_unit_test(transcript__rows__notes_stand_behind_their_message),
        cmocka_unit_test(transcript__set_chat__notes_go_with_the_old_one),
        cmocka_unit_test(transcript__changed__a_sibling_takes_the_place),
        cmocka_unit_test(transcript__changed__streaming_equals_whole),
        cmocka_unit_test(transcript__reason__stands_below_its_line_while_it_grows),
        cmocka_unit_test(transcript__unfold__never_loses_the_place),
        cmocka_unit_test(transcript__select_next__walks_the_path),
        cmocka_unit_test(transcript__select__keeps_its_row_through_branches),
        cmocka_unit_test(transcript__row_at__tells_siblings),
        cmocka_unit_test(transcript__view__survives_anything),
        cmocka_unit_test(transcript__scroll__follows_only_at_the_end),
        cmocka_unit_test(transcript__scroll__a_short_chat_does_not_move),
        cmocka_unit_test(transcript__resize__the_top_line_stays),
        cmocka_unit_test(transcript__view__hundred_thousand_lines),
        cmocka_unit_test(transcript__view__no_chat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
