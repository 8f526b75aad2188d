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

static void receipt_due(struct session *s, const struct turn_stats *stats)
{
    s->receipt = *stats;
    s->receipt_until_ns = clock_now_ns() + RECEIPT_WAIT_NS;
    s->receipt_due = true;
}

/* ---- warming ---- */

void session_warm(struct session *s)
{
    if (!s->stays)
        return;
    s->warm_due = true;
    if (s->warming)
        engine_cancel(s->engine); /* another path is on screen now */
    if (s->warming || session_is_busy(s) || s->phase != SESSION_IDLE)
        return;
    s->warm_due = false;
    if (s->chat->head < 0)
        return;
    struct engine_request request = {.warm = true, .sampler = s->sampling.params};
    session_request_from_path(s, s->chat->head, &request);
    s->warming = engine_submit(s->engine, &request, &s->warm_request, NULL);
    if (!s->warming)
        engine_request_fini(&request);
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
    receipt_due(s, &s->stats);
    if (!opt_flag(s->options, OPT_RAW) && s->reason != FINISH_ERROR)
        session_warm(s);
}

bool session_take_warm_event(struct session *s, struct engine_event *event)
{
    if (!s->warming || event->request != s->warm_request || event->type == ENGINE_READY ||
        event->type == ENGINE_LOADING || event->type == ENGINE_FAILED)
        return false;
    if (event->type == ENGINE_PROMPT) {
        mem_free(event->ids);
        mem_free(event->n_ids_of);
    }
    if (event->type != ENGINE_DONE)
        return true;
    mem_free(event->ids);
    s->warming = false;
    forget_due(s);
    if (event->reason == FINISH_ERROR)
        log_line("not warmed: %s", event->error.text);
    else if (event->stats.reused_disk)
        receipt_due(s, &event->stats);
    if (s->warm_due)
        session_warm(s);
    return true;
}

/* ---- receipts ---- */

int session_receipt_tick(const struct session *s)
{
    return s->receipt_due ? RECEIPT_TICK_MS : -1;
}

bool session_next_receipt(struct session *s, struct buf *line)
{
    if (!s->receipt_due || (clock_now_ns() < s->receipt_until_ns && !kv_cache_settle(&s->kv, 0)))
        return false;
    s->receipt_due = false;
    session_receipt(s, line);
    snprintf(s->last_receipt, sizeof s->last_receipt, "%s", buf_text(line));
    return line->len > 0;
}

void session_receipt(const struct session *s, struct buf *line)
{
    receipt_append(line, &s->receipt, kv_cache_written(&s->kv));
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
