/* cpu_buf.h: what a struct bbuf is on the CPU: plain zeroed memory. Private to kernels_cpu. */
#ifndef FERRUM_CPU_BUF_H
#define FERRUM_CPU_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/backend.h"

struct bbuf {
    void *data;
    size_t n_bytes;
    bool mapped; /* from mem_map: large, takes memory when touched */
};

static inline float *cpu_buf_f32(struct bbuf *buf)
{
    return buf->data;
}

static inline const float *cpu_buf_const_f32(const struct bbuf *buf)
{
    return buf->data;
}

#endif
