/* transcript_parts.h: what the files of the transcript share: transcript.c makes items and their rows,
 * transcript_place.c knows which of them are seen and which message is selected. Nobody else includes it. */
#ifndef FERRUM_TRANSCRIPT_PARTS_H
#define FERRUM_TRANSCRIPT_PARTS_H

#include "ui/flow.h"
#include "ui/transcript.h"

/* The parts of an item, from the top; a note has only the blank row and its text. */
enum section {
    SECTION_BLANK, /* not before the first item */
    SECTION_LABEL,
    SECTION_HEAD,   /* the line that stands for the reasoning */
    SECTION_REASON, /* what of the reasoning is shown */
    SECTION_GAP,    /* a blank row between the reasoning and the text */
    SECTION_TEXT,
    SECTION_MARK,
    SECTION_N,
};

struct geometry {
    size_t n[SECTION_N]; /* rows */
    size_t first_reason; /* rows of the reasoning that are folded away above those shown */
};

/* One message or note. */
struct item {
    int msg;           /* index in the chat, -1: a note */
    struct buf source; /* of a note; a message's text stays in the chat */
    struct flow text, reason;
    bool was_open;       /* streaming when last looked at */
    size_t n_words;      /* of the reasoning, */
    size_t n_counted;    /* in so many bytes of it, */
    bool inside_word;    /* the last of which stands in a word */
    char head[48];       /* "▸ Thought · 96 words" */
    int position, count; /* among its siblings, when the chat had n_msgs messages */
    int n_msgs;
};

/* A place that outlives changes of width, folding and growing text. */
struct place {
    int item;
    enum section section;
    size_t byte; /* of the clean text, in the text and in the reasoning */
};

struct note {
    int after; /* the message it stands behind, -1: before all */
    char *text;
};

struct transcript {
    const struct chat *chat;
    struct item *items;
    int n_items, cap_items;
    struct note *notes;
    int n_notes;
    char model[96];
    size_t columns, height;
    bool unfolded;
    bool follow;
    struct place top; /* when not following */
    size_t n_seen;    /* rows from seen_item's first to the end when the reader left it */
    int seen_item;
    int selected; /* message, -1: none */
};

/* ---- transcript.c ---- */
const struct chat_msg *item_msg(const struct transcript *t, const struct item *item);
/* The item's rows for the present width are made. */
struct geometry item_geometry(struct transcript *t, int i);
size_t item_height(struct transcript *t, int i);

/* ---- transcript_place.c: called when the items have been listed anew ---- */
/* How many rows below the top of the window the selected message begins; -1: it is not seen, or there is
 * none.
 */
long place_of_selected(struct transcript *t);
/* top_msg: the message the top of the window was in; row: what place_of_selected said before. */
void place_settle(struct transcript *t, int top_msg, long row);

#endif
