/* editor_paste.c: pastes: short ones are text, long ones stand in the line as one character, drawn as a chip.
 */
#include "ui/editor_state.h"

#include <stdio.h>
#include <string.h>

#include <readline/readline.h>

#include "engine/base/mem.h"

#define CHIP_LINES 20
#define CHIP_TEXT_BYTES 4096
#define MAX_CHIPS_BYTES ((size_t)64 << 20)

/* UTF-8 of INPUT_FIRST_RESERVED + i: F4 8F BC (80 + i). */
static const char chip_prefix[] = "\xF4\x8F\xBC";
#define CHIP_LAST_BYTE 0x80

bool editor_is_chip(const char *s, size_t n)
{
    return n >= EDITOR_CHIP_BYTES && memcmp(s, chip_prefix, 3) == 0 &&
           (unsigned char)s[3] >= CHIP_LAST_BYTE && (unsigned char)s[3] < CHIP_LAST_BYTE + INPUT_N_RESERVED;
}

const struct editor_chip *editor_chip_at(const struct editor *e, const char *s, size_t n)
{
    if (!editor_is_chip(s, n))
        return NULL;
    const struct editor_chip *chip = &e->chips[(unsigned char)s[3] - CHIP_LAST_BYTE];
    return chip->text ? chip : NULL;
}

static void placeholder(int index, char out[EDITOR_CHIP_BYTES + 1])
{
    memcpy(out, chip_prefix, 3);
    out[3] = (char)(CHIP_LAST_BYTE + index);
    out[4] = '\0';
}

static void free_chip(struct editor_chip *chip)
{
    mem_free(chip->text);
    *chip = (struct editor_chip){0};
}

/* The oldest chip that does not stand in the line now (undo or the kill ring may still name it), or -1. */
static int oldest_idle(const struct editor *e)
{
    int best = -1;
    for (int i = 0; i < EDITOR_MAX_CHIPS; i++) {
        char name[EDITOR_CHIP_BYTES + 1];
        placeholder(i, name);
        if (!e->chips[i].text || strstr(rl_line_buffer, name))
            continue;
        if (best < 0 || e->chips[i].serial < e->chips[best].serial)
            best = i;
    }
    return best;
}

static int free_slot(struct editor *e, size_t n_more)
{
    size_t total = n_more;
    int slot = -1;
    for (int i = 0; i < EDITOR_MAX_CHIPS; i++)
        total += e->chips[i].n;
    for (int idle; total > MAX_CHIPS_BYTES && (idle = oldest_idle(e)) >= 0;) {
        total -= e->chips[idle].n;
        free_chip(&e->chips[idle]);
    }
    for (int i = 0; i < EDITOR_MAX_CHIPS && slot < 0; i++)
        slot = e->chips[i].text ? -1 : i;
    if (slot < 0 && (slot = oldest_idle(e)) >= 0)
        free_chip(&e->chips[slot]);
    return total > MAX_CHIPS_BYTES ? -1 : slot;
}

static size_t count_lines(const char *text, size_t n)
{
    size_t n_lines = n > 0 && text[n - 1] != '\n';
    for (size_t i = 0; i < n; i++)
        n_lines += text[i] == '\n';
    return n_lines;
}

/* Keeps the text and gives the name that stands for it; false: there are too many. */
static bool make_chip(struct editor *e, const char *text, size_t n, char name[EDITOR_CHIP_BYTES + 1])
{
    int slot = free_slot(e, n);
    if (slot < 0)
        return false;
    e->chips[slot] = (struct editor_chip){mem_strndup(text, n), n, count_lines(text, n), e->next_serial++};
    placeholder(slot, name);
    return true;
}

void editor_paste_insert(struct editor *e, const char *text, size_t n)
{
    char name[EDITOR_CHIP_BYTES + 1];
    rl_begin_undo_group();
    if (n <= CHIP_TEXT_BYTES && count_lines(text, n) <= CHIP_LINES) {
        rl_insert_text(text);
    } else if (make_chip(e, text, n, name)) {
        rl_insert_text(name);
    } else {
        static const char full[] = "The message already holds 64 MB of pastes; this one was not added.";
        editor_push_text(e, EDITOR_NOTICE, full, sizeof full - 1);
    }
    rl_end_undo_group();
}

void editor_fold_entry(struct editor *e)
{
    /* An entry comes without an undo list. A line that grew by typing keeps its own, which tells places. */
    if (rl_end <= EDITOR_MAX_LINE_BYTES || rl_undo_list || editor_keys_pending(e))
        return;
    struct buf text = {0};
    char name[EDITOR_CHIP_BYTES + 1];
    bool at_end = rl_point > 0; /* vi command mode stands at the beginning */
    editor_expand(e, &text, rl_line_buffer, (size_t)rl_end, 0);
    if (make_chip(e, text.data, text.len, name)) {
        rl_replace_line(name, 0); /* no undoable change: the history keeps the entry as it is */
        rl_point = at_end ? rl_end : 0;
    }
    buf_fini(&text);
}

void editor_paste(struct editor *e, const struct input_token *token)
{
    if (token->cut) {
        static const char cut[] = "The paste was longer than 16 MB; only its beginning was taken.";
        editor_push_text(e, EDITOR_NOTICE, cut, sizeof cut - 1);
    }
    struct buf text = {0};
    editor_compose(&text, token->paste, token->n_paste);
    if (e->search.active) {
        editor_search_paste(e, buf_text(&text), text.len);
    } else if (RL_ISSTATE(RL_STATE_NSEARCH)) {
        buf_truncate(&text, strcspn(buf_text(&text), "\n"));
        if (text.len <= CHIP_TEXT_BYTES)
            rl_insert_text(buf_text(&text));
    } else if (text.len > 0) {
        editor_paste_insert(e, text.data, text.len);
    }
    buf_fini(&text);
}

size_t editor_expand(const struct editor *e, struct buf *out, const char *line, size_t n, size_t point)
{
    size_t before = out->len, moved = 0, i = 0;
    while (i < n) {
        if (i == point)
            moved = out->len - before;
        const struct editor_chip *chip = editor_chip_at(e, line + i, n - i);
        if (chip)
            buf_append(out, chip->text, chip->n);
        else if (!editor_is_chip(line + i, n - i))
            buf_putc(out, line[i]);
        i += editor_is_chip(line + i, n - i) ? EDITOR_CHIP_BYTES : 1;
    }
    return point >= n ? out->len - before : moved;
}

void editor_chip_label(const struct editor_chip *chip, struct buf *out)
{
    if (!chip)
        buf_puts(out, "[paste: gone]");
    else if (chip->n_lines > CHIP_LINES)
        buf_printf(out, "[paste: %zu lines]", chip->n_lines);
    else
        buf_printf(out, "[paste: %zu kB]", (chip->n + 999) / 1000);
}

void editor_paste_close(struct editor *e)
{
    for (int i = 0; i < EDITOR_MAX_CHIPS; i++)
        free_chip(&e->chips[i]);
}
