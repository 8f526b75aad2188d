/* receipt.h: what a turn computed, and what the KV cache saved it, in one line for people; and numbers the
 * way people read them. Pure: appends to out. */
#ifndef FERRUM_RECEIPT_H
#define FERRUM_RECEIPT_H

#include "engine/base/buf.h"
#include "engine/engine.h"

/* "resumed 16,320 of 16,384 tokens from disk in 0.6 s (saves about 4 min) · prefilled 64 · wrote 7.0 MiB".
 * Parts that are zero are left out; bytes of new KV blocks: written are the turn's, prepared those computed
 * ahead ("prepared 0.5 MiB"). */
void receipt_append(struct buf *out, const struct turn_stats *t, uint64_t written, uint64_t prepared);

void receipt_count(struct buf *out, uint64_t n);     /* "16,320" */
void receipt_bytes(struct buf *out, uint64_t bytes); /* "7.0 MiB" */

#endif
