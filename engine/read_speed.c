#include "engine/read_speed.h"

/* A start of the threads costs some microseconds, a piece milliseconds. */
#define PIECE_BYTES ((size_t)16 << 20)
/* Tensors that are no further apart make one run of bytes, so that small ones cost no start of the threads.
 */
#define SMALL_GAP ((size_t)64 << 10)

struct pass {
    struct backend *backend;
    double max_bytes;
    bool (*go_on)(void *arg);
    void *arg;
    double n_read;
    struct read_speed *sum;
};

/* False: enough. */
static bool read_run(struct pass *p, const char *data, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        size_t n = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES;
        if (p->n_read >= p->max_bytes || (p->go_on && !p->go_on(p->arg)))
            return false;
        double gb_s = p->backend->ops->read_bandwidth(p->backend->ctx, data + at, n);
        p->n_read += (double)n;
        if (gb_s > 0) {
            p->sum->bytes += (double)n;
            p->sum->seconds += (double)n / (gb_s * 1e9);
        }
    }
    return true;
}

void read_speed_pass(const struct model *m, double max_bytes, bool (*go_on)(void *arg), void *arg,
                     struct read_speed *sum)
{
    const struct gguf *g = model_gguf(m);
    struct pass p = {model_host(m), max_bytes, go_on, arg, 0, sum};
    const char *begin = NULL, *end = NULL;
    if (!p.backend->ops->read_bandwidth)
        return;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = gguf_tensor_at(g, i);
        const char *data = t->data;
        if (!end || data < end || (size_t)(data - end) >= SMALL_GAP) {
            if (end && !read_run(&p, begin, (size_t)(end - begin)))
                return;
            begin = data;
        }
        end = data + t->n_bytes;
    }
    if (end)
        read_run(&p, begin, (size_t)(end - begin));
}
