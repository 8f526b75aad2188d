/* session.h: one chat at work: the message tree, its copy in chat.db and the engine that answers; shared by
 * the full screen, the plain loop and the single turn.
 *
 * Invariants
 *  1. A user's message is in the tree and handed to chat_db before its request is submitted.
 *  2. At most one message waits for an answer (asked >= 0); another is refused and stays with its writer.
 *  3. A turn that the engine refuses leaves the head where it was; `refused` names the message whose text
 * goes back. A chat in which nothing else was said ends then, here and in chat.db, unless it has a name under
 * which its draft is looked for.
 *  4. While an answer grows it is handed to chat_db every second (every two when it grows slowly), and always
 *     when it ends.
 *  5. A text is handed to chat_db in its new place (message, draft) before it leaves its old one; a crash in
 * between repeats it and never loses it.
 *  6. A chat whose file went, or that another program deleted while it is open is stored again, whole, as a
 * new one. One of which chat_db let a write go for another reason is stored whole again at the next chance (a
 * turn begins or ends, the chat is left), each time it fails.
 *  7. With a finished answer its profile is kept, but never before, or instead of, its text; under --private
 *     nowhere.
 *  8. Warming (the path on screen is brought into the KV cache while nobody waits) never holds up a turn, and
 * its events are not the face's.
 * Thread rule: the main thread only. Ownership: session owns chat, engine, backend and db; options and paths
 * are the caller's. */
#ifndef FERRUM_SESSION_H
#define FERRUM_SESSION_H

#include "app/fingerprint.h"
#include "app/kv_cache.h"
#include "app/loader.h"
#include "app/options.h"
#include "app/paths.h"
#include "app/sampling.h"
#include "engine/engine.h"
#include "store/chat_db.h"

enum session_phase { SESSION_LOADING, SESSION_IDLE, SESSION_PREFILL, SESSION_GENERATING, SESSION_FAILED };

/* What a turn, or opening a path, computed and reused. */
struct session_receipt {
    struct turn_stats stats;
    bool is_of_warming; /* of a path that was opened: what was computed ahead is its own */
    uint64_t until_ns;  /* when it is shown at the latest: it counts blocks that are being written */
};
#define SESSION_MAX_RECEIPTS 4

struct session {
    const struct options *options;
    const struct paths *paths;
    int signal_fd;
    int signal; /* what ended session_open's waiting, or 0 */

    char *model_path; /* absolute */
    char model_name[128];
    bool is_guide; /* the model is the built-in guide (guide.h) */
    struct model_config config;
    unsigned char fingerprint[FINGERPRINT_BYTES];
    struct sampling of_model[2]; /* defaults and what the model says: without, with reasoning */
    struct sampling sampling;    /* of the turn */
    struct buf ignored;          /* lines about settings of the model file that are not used */
    enum think_mode think;       /* of the next turn */
    bool think_chosen;           /* someone said so: kept with the chat */
    enum dtype kv_type;

    struct chat_db *db; /* NULL: --private */
    struct chat *chat;
    bool db_open;                              /* jobs run */
    bool stored;                               /* chat_db knows the chat */
    bool unkept;                               /* it let go of something of the chat */
    bool saving;                               /* session_save runs: there is no next turn */
    unsigned char renewed_uid[CHAT_UID_BYTES]; /* the last one that a chat had before it was stored anew */
    bool newborn;                              /* the chat came to be with the message asked last */
    bool loose_known;  /* this chat has looked at the draft that belongs to no chat yet */
    bool title_open;   /* the title is that of a first message that may yet be refused */
    bool title_due;    /* the title is to be stored when the chat's number is known */
    bool draft_loose;  /* the draft that belongs to no chat yet is that of this chat */
    bool file_is_new;  /* chat.db was begun anew: that this chat is not there is no news */
    int n_saved;       /* messages that are on disk for certain: the first ones of the chat */
    bool turn_unsaved; /* jobs with messages may wait still */
    bool other_model; /* the chat was last used with another model: ids were dropped, the next turn says so */
    char *draft;      /* unsent text of the chat, as loaded or stored last, or NULL */
    size_t draft_cursor;

    struct loader_backends backends;
    char kernels[KV_KERNELS_BYTES]; /* what computes: the device or CPU, then as the engine says */
    struct kv_cache kv;
    struct engine *engine;
    struct trace *trace; /* --trace, or NULL */
    enum session_phase phase;
    uint64_t done, total; /* progress of loading (bytes) or prefill (tokens) */
    uint64_t opened_ns;
    double load_ms;
    struct err failure; /* why loading failed, or the last turn */

    int asked;       /* the user message that waits for its answer, -1 */
    int answer;      /* the assistant message being written, or the last one written; -1 */
    int refused;     /* after ENGINE_DONE or ENGINE_FAILED: message whose text goes back to its writer, -1 */
    int head_before; /* where the head goes back to when the turn is refused */
    bool regenerate;
    bool submitted;
    uint64_t request;
    uint64_t seed; /* of the turn */
    enum finish_reason reason;
    struct turn_stats stats; /* of the last finished turn */
    struct prof *prof;       /* of that turn, without the warming behind it; NULL: none yet */
    int prof_of;             /* the answer of that turn; -1: none that is in this chat */
    uint32_t ctx_used;       /* ids of the path that is shown */
    uint64_t saved_ns;
    size_t saved_tokens; /* of the message saved last */
    bool unsaved;

    bool stays;      /* the face outlives its turns: chats are warmed */
    bool in_a_hurry; /* a signal ends the program */
    bool warming;    /* the engine has warm_request */
    bool warm_due;   /* the path is to be warmed when the engine is free */
    uint64_t warm_request;
    uint64_t warm_done, warm_total; /* tokens; total 0: nothing to say yet */
    struct buf forgotten; /* uids, deleted by earlier programs: for a KV cache that is not open yet */
    bool forget_due;      /* forget_uid was deleted while it was being warmed */
    unsigned char forget_uid[CHAT_UID_BYTES];
    bool warm_told;    /* people get a receipt of that: the path was opened, not answered, just now */
    bool warming_told; /* the same of warm_request, as long as its path is the one on screen */
    struct session_receipt receipts[SESSION_MAX_RECEIPTS]; /* not shown yet, in the order of what they tell */
    size_t n_receipts;
    char last_receipt[256]; /* as it was shown */
};

/* Options that cannot go together, and what a chat cannot do without: ERR_USAGE. session_open asks it too. */
bool session_check_options(const struct options *o, struct err *err);
/* Chooses the chat (new, --session, --continue, --resume) and the model (named, the chat's, the guide),
 * checks the model file and prepares the settings. Waits for a database that another program holds until a
 * signal comes (s->signal, ERR_CANCELLED). Otherwise the error's code is the exit code. *s is valid for
 * session_close in every case. */
bool session_open(struct session *s, const struct options *o, const struct paths *paths, int signal_fd,
                  struct err *err);
/* Starts the engine thread, which loads the model. */
bool session_start(struct session *s, struct err *err);
/* What computes: the device, as long as it has layers. */
const struct backend *session_backend(const struct session *s);
/* Stops what is asked or answered and waits until the engine is done with it. */
void session_stop(struct session *s);
/* Stops, saves (waits some seconds for chat_db and says so on stderr; Ctrl-C ends that), ends the threads.
 * False: something is not on disk, and err names it. */
bool session_close(struct session *s, struct err *err);

/* ---- turns (session_turn.c) ---- */

/* A message to answer. Before the model is loaded it waits. Refused (false): one is being answered, or
 * loading failed. */
bool session_say(struct session *s, const char *text, size_t n, struct err *err);
/* Another answer beside msg, an assistant's (-1: beside the last one); the old one stays as a sibling. */
bool session_regenerate(struct session *s, int msg, struct err *err);
bool session_is_busy(const struct session *s);
/* Whether the next turns of this chat reason: "on", "off", "auto", or "" for what the command itself means.
 * False: another word, nothing was changed. *sentence (mem_free) says what comes of it, for people. */
bool session_set_think(struct session *s, const char *word, enum think_mode own, char **sentence);
/* The model is loaded, and its template has a switch for reasoning. */
bool session_can_switch_think(const struct session *s);
/* The model is loaded, and its template lets it reason in the next turn. */
bool session_reasons(const struct session *s);
/* Stops what runs, warming too; a message that waits for loading goes back (refused). */
void session_cancel(struct session *s);
/* Takes one engine event into the chat and gives it to the face. False: none is left. */
bool session_next_event(struct session *s, struct engine_event *event);
/* Saves a growing answer when its time has come; ms until it wants to be called again, -1: never. */
int session_tick(struct session *s);
/* Takes one database event in: ids of new chats, chats that are gone. True: the event is for the face (which
 * ends it); where event->error has a text, people should read it. */
bool session_next_db_event(struct session *s, struct chat_db_event *event);

/* ---- the tree (session_tree.c); only when idle ---- */

/* What the user made of message msg: a sibling of it, answered. */
bool session_edit(struct session *s, int msg, const char *text, size_t n, struct err *err);
/* The head becomes the newest leaf of msg. */
bool session_show_branch(struct session *s, int msg, struct err *err);
/* The sibling, step (1 or -1) further, of the last message on the path that has any; -1: no branches. */
int session_other_branch(const struct session *s, int step);
/* Goes on in a new chat that holds the path up to msg (-1: all of it). Where that ends with a question, its
 * text becomes the draft. */
bool session_fork(struct session *s, int msg, struct err *err);

/* ---- the KV cache (session_kv.c) ---- */

/* The next line about what a resume or a turn computed and reused: false when there is none (yet). Each turn
 * has one; opening a chat or a branch, if something was read or computed. Bytes are those written since the
 * line before. */
bool session_next_receipt(struct session *s, struct buf *line);
/* They wait for no block any more: something else comes next. */
void session_hurry_receipts(struct session *s);
/* The line of the last turn, at once, where it is the only one. */
void session_receipt(const struct session *s, struct buf *line);
/* A sentence about trouble of the cache that people have not been told. */
bool session_next_kv_trouble(struct session *s, struct err *why);
/* The chat is deleted: blocks that only it used go too. */
void session_forget(struct session *s, const unsigned char uid[CHAT_UID_BYTES]);
/* What /kv shows: lines, without the last newline. */
void session_kv_report(const struct session *s, struct buf *out);

/* ---- profiles (session_prof.c) ---- */

/* Asks for the profile kept with an answer, this chat's or an old one: CHAT_DB_PROF comes, id being the
 * message's, kept NULL if it has none (event->error: it cannot be read). False: there is none to ask for, and
 * err says why. */
bool session_ask_profile(struct session *s, int msg, struct err *err);

/* ---- chats ---- */

/* Leaves the current chat for a new one (NULL), or for a loaded one (taken out of the event, with its draft).
 * Only when idle. */
void session_switch(struct session *s, struct chat_db_event *loaded);
void session_put_draft(struct session *s, const char *text, size_t cursor);
/* The draft of no chat yet, looked at by this chat. */
void session_adopt_draft(struct session *s, const char *text, size_t cursor);
/* A message was accepted: what the editor held is in the tree now. */
void session_clear_draft(struct session *s);
/* The text of the refused message is with its writer. */
void session_let_go_refused(struct session *s);
/* What came to nothing goes back to its writer: the text (said, or NULL: that of the refused message), then
 * what has been typed since. It is stored as the draft; the caller shows it and frees it (mem_free). */
char *session_take_back(struct session *s, const char *said, const char *typed);
/* Two texts, each on lines of its own; either may be empty. mem_free. */
char *session_join(const char *first, const char *second);

/* For poll(2); the database's is -1 under --private. */
int session_engine_fd(const struct session *s);
int session_db_fd(const struct session *s);

/* The last answer is reasoning and nothing else. out: what people should know about it, "" when it was they
 * who stopped it. */
bool session_ended_in_thought(const struct session *s, char *out, size_t n);
/* What people get to know when the model is loaded, a sentence each: a context cut to the memory at hand or
 * longer than the trained one, settings that the file has wrong, a wish about reasoning that cannot be met,
 * what is unusual about the model. */
void session_each_note(const struct session *s, void (*say)(void *arg, const char *sentence), void *arg);

#endif
