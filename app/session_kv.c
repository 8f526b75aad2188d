/* session_kv.c: the KV cache in a session: what is kept for whom, chats that are warmed before their next
 * turn, receipts (invariants in session.h). */
#include <stdio.h>
#include <string.h>

#include "app/receipt.h"
#include "app/session_parts.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define RECEIPT_WAIT_NS UINT64_C(2000000000) /* for the last blocks of a turn, which it counts */
#define RECEIPT_TICK_MS 50

static void receipt_due(struct session *s, const struct turn_stats *stats, bool is_of_warming)
{
    if (s->n_receipts == SESSION_MAX_RECEIPTS)
        return;
    s->receipts[s->n_receipts++] = (struct session_receipt){
        .stats = *stats, .is_of_warming = is_of_warming, .until_ns = clock_now_ns() + RECEIPT_WAIT_NS};
}

/* ---- warming ---- */

static void submit_warm(struct session *s)
{
    s->warm_due = false;
    if (s->chat->head < 0)
        return;
    struct engine_request request = {.warm = true, .sampler = s->sampling.params};
    session_request_from_path(s, s->chat->head, &request);
    s->warming = engine_submit(s->engine, &request, &s->warm_request, NULL);
    s->warming_told = s->warm_told;
    if (!s->warming)
        engine_request_fini(&request);
}

void session_warm(struct session *s, bool is_told)
{
    if (!s->stays)
        return;
    s->warm_due = true;
    s->warm_told = is_told;
    if (s->warming) { /* another path is on screen now */
        engine_cancel(s->engine);
        s->warming_told = false;
    }
    if (!s->warming && !session_is_busy(s) && s->phase == SESSION_IDLE)
        submit_warm(s);
}

void session_stop_warming(struct session *s)
{
    s->warm_due = false;
    if (s->warming)
        engine_cancel(s->engine);
}

static void forget_due(struct session *s)
{
    if (s->forget_due)
        kv_cache_forget(&s->kv, s->forget_uid);
    s->forget_due = false;
}

/* What a template makes of an answer in the past may be other ids than those of the turn (reasoning is
 * dropped): they are computed while nobody waits. Where they are the same, nothing is. */
void session_turn_ended(struct session *s)
{
    receipt_due(s, &s->stats, false);
    forget_due(s);
    /* Who stopped a turn wants the processor back, not the rest of the prompt. */
    if (!opt_flag(s->options, OPT_RAW) && s->reason != FINISH_ERROR && s->reason != FINISH_CANCELLED)
        session_warm(s, false);
}

bool session_take_warm_event(struct session *s, struct engine_event *event)
{
    if (!s->warming || event->request != s->warm_request || event->type == ENGINE_READY ||
        event->type == ENGINE_LOADING || event->type == ENGINE_FAILED || event->type == ENGINE_MOVED)
        return false;
    if (event->type == ENGINE_PROMPT) {
        mem_free(event->ids);
        mem_free(event->n_ids_of);
    }
    if (event->type == ENGINE_PREFILL) {
        s->warm_done = event->done;
        s->warm_total = event->total;
    }
    if (event->type != ENGINE_DONE)
        return true;
    mem_free(event->ids);
    s->warming = false;
    s->warm_total = 0;
    forget_due(s);
    if (event->reason == FINISH_ERROR)
        log_line("not warmed: %s", event->error.text);
    else if (s->warming_told && (event->stats.reused_disk || event->stats.prefilled_tokens))
        receipt_due(s, &event->stats, true);
    if (s->warm_due)
        session_warm(s, s->warm_told);
    return true;
}

/* ---- receipts ---- */

int session_receipt_tick(const struct session *s)
{
    return s->n_receipts ? RECEIPT_TICK_MS : -1;
}

bool session_next_receipt(struct session *s, struct buf *line)
{
    const struct session_receipt *next = &s->receipts[0];
    if (!s->n_receipts || (clock_now_ns() < next->until_ns && !kv_cache_settle(&s->kv, 0)))
        return false;
    struct kv_written written = kv_cache_written(&s->kv);
    if (next->is_of_warming)
        receipt_append(line, &next->stats, written.turns + written.ahead, 0);
    else
        receipt_append(line, &next->stats, written.turns, written.ahead);
    kv_cache_told(&s->kv, written);
    memmove(s->receipts, s->receipts + 1, --s->n_receipts * sizeof *s->receipts);
    snprintf(s->last_receipt, sizeof s->last_receipt, "%s", buf_text(line));
    return line->len > 0;
}

void session_hurry_receipts(struct session *s)
{
    for (size_t i = 0; i < s->n_receipts; i++)
        s->receipts[i].until_ns = 0;
}

void session_receipt(const struct session *s, struct buf *line)
{
    struct kv_written written = kv_cache_written(&s->kv);
    receipt_append(line, &s->stats, written.turns, written.ahead);
}

/* ---- chats that are deleted ---- */

/* Pages of a warming chat may still be on their way to the disk: they are forgotten when it has ended. */
void session_forget(struct session *s, const unsigned char uid[CHAT_UID_BYTES])
{
    kv_cache_forget(&s->kv, uid);
    if (!s->warming)
        return;
    memcpy(s->forget_uid, uid, CHAT_UID_BYTES);
    s->forget_due = true;
}

void session_renewed(struct session *s, const unsigned char old_uid[CHAT_UID_BYTES], bool is_gone)
{
    bool is_working = s->engine && (s->warming || s->submitted);
    if (s->engine)
        engine_rename_owner(s->engine, old_uid, s->chat->uid);
    if (is_gone) {
        memcpy(s->forget_uid, old_uid, CHAT_UID_BYTES);
        s->forget_due = true;
    }
    if (!is_working && s->stays)
        session_warm(s, false); /* which offers the rows in memory again */
    if (!is_working && !s->warming)
        forget_due(s);
}

void session_forget_later(struct session *s, const unsigned char uid[CHAT_UID_BYTES])
{
    buf_append(&s->forgotten, (const char *)uid, CHAT_UID_BYTES);
}

void session_settle_forgotten(struct session *s)
{
    unsigned char uid[KV_OWNER_BYTES];
    if (!s->kv.io)
        return; /* --no-kv-store leaves them to others */
    for (size_t i = 0; i + sizeof uid <= s->forgotten.len; i += sizeof uid) {
        memcpy(uid, s->forgotten.data + i, sizeof uid);
        kv_cache_forget(&s->kv, uid);
    }
    buf_truncate(&s->forgotten, 0);
    while (s->db && kv_io_next_forgotten(s->kv.io, uid))
        chat_db_forgotten_done(s->db, uid);
}

/* ---- for people ---- */

bool session_next_kv_trouble(struct session *s, struct err *why)
{
    return kv_cache_trouble(&s->kv, why);
}

void session_kv_report(const struct session *s, struct buf *out)
{
    kv_cache_report(&s->kv, out);
    if (*s->last_receipt)
        buf_printf(out, "\nlast: %s", s->last_receipt);
}
