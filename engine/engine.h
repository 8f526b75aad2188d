/* engine.h: the thread that owns the model. Requests go in, events come out; nobody else touches the model.
 *
 * Invariants
 *  1. At most one request is in work; engine_submit refuses another (the caller keeps its text). A warm one
 * gives way: submitting any other cancels it, and its ENGINE_DONE comes before the other's events.
 *  2. Every accepted request ends with exactly one ENGINE_DONE, after which no event of it follows.
 *  3. The engine never waits for the consumer of events while it computes: tokens that find the queue full
 * are kept back. An id also waits while its text may begin a stop or end the reasoning.
 *  4. Cancel is seen within one layer, in prefill too; ENGINE_DONE then says FINISH_CANCELLED and what was
 * generated stays valid.
 *  5. A prompt that does not fit is refused (ENGINE_DONE with FINISH_ERROR, ERR_PROMPT) before the timeline
 * changes.
 *  6. KV rows are offered to the shelf while tokens are made and when a request ends, before its ENGINE_DONE;
 * what the shelf has no room for then, while the engine is idle.
 * Thread rule: engine_submit, engine_cancel, engine_measure_read, engine_next_event and engine_close are for
 * one thread (app's). */
#ifndef FERRUM_ENGINE_H
#define FERRUM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/chat.h"
#include "engine/base/kv_block.h"
#include "engine/base/prof.h"
#include "engine/model.h"
#include "engine/prompt_template.h"
#include "engine/sampler.h"
#include "engine/speculation.h"

struct engine;
struct trace;

struct engine_options {
    const char *model_path;
    struct backend *backend; /* the caller's, outlives the engine */
    /* Computes the last n_device layers, or as many as it has memory for; NULL: none. When it fails,
     * `backend` takes its place. Outlives the engine. */
    struct backend *device;
    uint32_t n_device;
    uint32_t n_ctx; /* 0: default */
    enum dtype kv_type;
    /* Where KV blocks are kept between runs; NULL: nowhere. Outlives the engine. */
    const struct kv_shelf *shelf;
    enum speculation_mode speculation; /* what is drawn does not depend on it */
    /* Where operations are recorded one by one, to be read after engine_close; NULL: nowhere. */
    struct trace *trace;
};

/* A message the request owns: copies of text and stored ids (mem_alloc'ed). */
struct engine_msg {
    enum chat_role role;
    char *text;
    size_t n_bytes;
    char *think; /* an answer's reasoning, or NULL */
    size_t n_think;
    int32_t *tokens; /* of the very model; else, seen by an id out of its range, the text is used */
    size_t n_tokens;
};

struct engine_request {
    struct engine_msg *msgs; /* the path root .. newest user message */
    size_t n_msgs;
    bool raw;              /* PROMPT_RAW */
    enum think_mode think; /* what the template is told about reasoning */
    /* No answer is wanted: the path (which may end with an answer) is brought into the KV cache, in the form
     * the next prompt will begin with, so that the next turn starts at once. Gives way to any other request.
     * Its events are ENGINE_PREFILL and ENGINE_DONE: FINISH_STOP, FINISH_CANCELLED, FINISH_CONTEXT (too long,
     * nothing was done) or FINISH_ERROR. sampler, n_predict and stops are not looked at. */
    bool warm;
    unsigned char owner[KV_OWNER_BYTES]; /* the chat, for the shelf */
    struct sampler_params sampler;       /* seed 0: random */
    int32_t n_predict;                   /* tokens at most, -1: until stop or full context */
    char **stops;                        /* end the answer; neither their text nor their ids are part of it */
    size_t n_stops;
};
void engine_request_fini(struct engine_request *request);

enum finish_reason { FINISH_STOP, FINISH_LENGTH, FINISH_CONTEXT, FINISH_CANCELLED, FINISH_ERROR };
const char *finish_reason_name(enum finish_reason reason); /* "stop", "length", ... as in the JSON lines */

struct turn_stats {
    uint64_t seed;
    /* prompt_tokens = reused_tokens + prefilled_tokens, always: tokens before the answer whose KV is there.
     * A turn that ends while it reads the prompt counts what it came to; one refused before that, 0. */
    uint32_t prompt_tokens, reused_tokens, prefilled_tokens;
    uint32_t reused_memory, reused_disk;    /* their sum is reused_tokens */
    uint32_t foreign_tokens;                /* of reused_disk: computed by another backend or other kernels */
    char foreign_kernels[KV_KERNELS_BYTES]; /* which: "cpu scalar r4"; "" when nobody knows */
    uint32_t damaged_blocks;                /* found on the shelf, not usable, dropped */
    double fetch_ms;                        /* finding and reading blocks; not part of prefill_ms */
    double saved_ms;            /* what prefilling reused_disk would have cost, less fetch_ms; 0: not known */
    uint32_t completion_tokens; /* sampled ones, without the end token; as many as events with an id */
    uint32_t timed_tokens;      /* sampled behind the first one, the end token too: decode_ms is theirs */
    uint32_t guessed_tokens, right_guesses; /* tried ahead of the answer, and how many came true */
    double ttft_ms, prefill_ms, decode_ms;  /* ttft from submit */
};

/* 0 where there is none: the first token comes with the prompt and has no speed of its own. */
double turn_tokens_per_s(const struct turn_stats *stats);

enum engine_event_type {
    ENGINE_LOADING,  /* done, total: bytes */
    ENGINE_READY,    /* engine_model() may be used from now on; text: what computes, as ENGINE_MOVED has it */
    ENGINE_FAILED,   /* loading failed: error; the thread has nothing more to do */
    ENGINE_PROMPT,   /* ids: the exact ids of messages that had none; owned by the receiver (mem_free). total:
                        tokens of the prompt. error: a warning, the model's template failed just now */
    ENGINE_PREFILL,  /* done, total: tokens of the prompt that memory did not have, loaded or computed */
    ENGINE_TOKEN,    /* one sampled token: token, text */
    ENGINE_DONE,     /* reason, stats, error if FINISH_ERROR; ids where a stop cut the answer */
    ENGINE_MOVED,    /* the device has failed and something else goes on: error is a sentence for people, text
                        what computes now (model_describe_places). The request goes on, or ends in its own way */
    ENGINE_MEASURED, /* engine_read_gb_s has a number; of no request */
};

struct engine_event {
    enum engine_event_type type;
    uint64_t request; /* number given by engine_submit */
    uint64_t done, total;
    int32_t token; /* -1: text only, the rest of a token whose text fills more than one event, or stands on
                      both sides of the end of the reasoning */
    /* ENGINE_TOKEN with text: that belongs to the reasoning, not to the answer. The markers between them, and
     * the space around those, are in no event's text; their ids come without. */
    bool is_reasoning;
    bool end; /* the end-of-turn token itself (no text): belongs to the message's ids, is not counted. Sent
                 only when the prompt style closes turns with it (ChatML, a template), not for raw and plain
                 text */
    uint32_t n_text;
    char text[256]; /* valid UTF-8, whole characters, not NUL-terminated */
    /* ENGINE_PROMPT: ids of rendered messages one after the other; n_ids_of[i] for the i-th message of the
     * request (0 for those with stored ids, for those whose ids are counted to a later message, and for all
     * where a template writes history anew: then the prompt is not to be stored). One allocation each.
     * ENGINE_DONE: NULL, or n_ids ids (perhaps none) that replace those of the ENGINE_TOKEN events as the
     * answer's own: a stop was found, and some events carried ids of the stop, whose text was not shown.
     * The receiver's (mem_free). */
    int32_t *ids;
    size_t n_ids;
    size_t *n_ids_of;
    size_t n_msgs;
    enum finish_reason reason;
    struct turn_stats stats;
    struct err error;
};

struct engine *engine_open(const struct engine_options *options, struct err *err);
/* Cancels what runs, joins the thread, which offers the shelf the last rows, waits until the shelf reads none
 * any more (that takes as long as the shelf does), frees the model. NULL is fine. */
void engine_close(struct engine *e);

/* Takes over what request points to on success (true) and gives its number; on refusal (busy, not loaded) the
 * request stays the caller's. */
bool engine_submit(struct engine *e, struct engine_request *request, uint64_t *number, struct err *err);
void engine_cancel(struct engine *e);

/* The chat `from` is another one from now on (its first form is deleted): its rows in memory are offered to
 * the shelf as to's when what is in work ends, before its ENGINE_DONE. */
void engine_rename_owner(struct engine *e, const unsigned char from[KV_OWNER_BYTES],
                         const unsigned char to[KV_OWNER_BYTES]);

/* poll(2) this for POLLIN, then call engine_next_event until it returns false. */
int engine_event_fd(const struct engine *e);
bool engine_next_event(struct engine *e, struct engine_event *event);

/* NULL before ENGINE_READY. Immutable, so any thread may read it until engine_close. */
const struct model *engine_model(const struct engine *e);
uint32_t engine_n_ctx(const struct engine *e);
/* Asks for a measurement of plain reads of the weights (read_speed.h), a tenth of a second of an idle engine;
 * any request comes first, and it is then done after that. ENGINE_MEASURED tells when it is there. From app's
 * thread, not before ENGINE_READY. */
void engine_measure_read(struct engine *e);
/* What it gave; 0: not measured (yet), as while the weights are still being read from the disk. Any thread.
 */
double engine_read_gb_s(const struct engine *e);

/* The timers as they were after the newest token, copied to *out, which is made when it is NULL and then the
 * caller's (prof_free). Not before ENGINE_READY. */
bool engine_prof(const struct engine *e, struct prof **out, struct err *err);
/* The same of the turn in work, or else of the last one: complete after its ENGINE_DONE, until another
 * request is submitted. Warming is no turn. */
bool engine_turn_prof(const struct engine *e, struct prof **out, struct err *err);

#endif
