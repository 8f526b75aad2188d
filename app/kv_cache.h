/* kv_cache.h: the KV cache on disk as a session uses it: opened for one model and one backend, and what
 * people are told about it.
 *
 * Trouble of the cache never stops a chat: kv_cache_trouble says it once, the chat goes on without.
 * Ownership: struct kv_cache owns the kv-io thread; a zeroed one keeps nothing, and every function takes it.
 * Main thread only. */
#ifndef FERRUM_KV_CACHE_H
#define FERRUM_KV_CACHE_H

#include "app/options.h"
#include "engine/base/buf.h"
#include "engine/model.h"
#include "store/kv_io.h"

/* Bytes of new blocks. */
struct kv_written {
    uint64_t turns, ahead; /* of what was asked for / computed for a turn to come */
};

struct kv_cache {
    struct kv_io *io;        /* NULL: no blocks are kept */
    struct kv_space space;   /* token_bytes 0: not known */
    struct kv_written shown; /* as receipts have shown it */
    uint64_t waited_ns;      /* by the end of the program, for what is to be written */
    struct err trouble;      /* of opening */
    char told[sizeof(struct err)];
};

/* What gives blocks their meaning, from the model file (its weights are sampled). */
void kv_cache_identify(struct kv_cache *c, const struct gguf *g, const struct model_config *config,
                       enum dtype kv_type);
/* Starts the thread; path NULL: nothing is kept. */
void kv_cache_open(struct kv_cache *c, const char *path, const struct options *o,
                   const struct backend *backend, const struct model_config *config, const char *model_name);
/* For engine_open, or NULL. Lives until kv_cache_close. */
const struct kv_shelf *kv_cache_shelf(const struct kv_cache *c);
/* Before the engine is closed, which waits for what it has offered: in a hurry (a signal) writing ends within
 * 300 ms, else it gets 3 seconds, those of kv_cache_settle among them, with a line on stderr when it is felt;
 * a signal ends that. */
void kv_cache_finish(struct kv_cache *c, int signal_fd, bool in_a_hurry);
/* When the engine is gone. Says on stderr what is not saved. */
void kv_cache_close(struct kv_cache *c);

/* A sentence that people have not been told yet. */
bool kv_cache_trouble(struct kv_cache *c, struct err *why);
void kv_cache_forget(struct kv_cache *c, const unsigned char owner[KV_OWNER_BYTES]);
/* Waits until what is offered is on disk, limit_ms at most (0: looks only); false: not yet. */
bool kv_cache_settle(struct kv_cache *c, int limit_ms);

/* What was written since kv_cache_told, which takes it as shown: receipts add up to what /kv says. */
struct kv_written kv_cache_written(const struct kv_cache *c);
void kv_cache_told(struct kv_cache *c, struct kv_written shown);
/* What /kv shows: lines, without the last newline. */
void kv_cache_report(const struct kv_cache *c, struct buf *out);

#endif
