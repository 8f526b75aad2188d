/* cl_tuning.h: how many rows of a weight one group of a product takes, for each type: found out on this
 * device, in idle time, with the weights of the model that is open, and kept in the cache directory
 * (KEY.tune, cl_cache.h) for the next start. It changes no number: the sum of a row is the same in any group.
 *
 * Invariants
 *  1. Until all is measured nothing changes; a start takes what its file says, or the number that suits most.
 *  2. A step (cl_tuning_step) takes some products of one weight: a token that is asked for waits for no more.
 *  3. Whatever is wrong with a file, it is as if it were not there, and is written anew.
 * Thread rule: that of the backend. Ownership: part of struct cl_backend, which frees what it has borrowed.
 */
#ifndef FERRUM_CL_TUNING_H
#define FERRUM_CL_TUNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/tensor.h"

#define CL_TUNING_TYPES DTYPE_I8
#define CL_TUNING_CHOICES 4
#define CL_TUNING_ROUNDS 5

struct cl_backend;
struct cl_rows;

struct cl_tuning {
    uint16_t rows[CL_TUNING_TYPES]; /* rows of a group; 0: not known, the number that suits most */
    bool was_tried[CL_TUNING_TYPES];
    /* in work */
    bool is_open; /* a type is being measured */
    enum dtype type;
    unsigned n_done; /* measurements */
    uint64_t ns[CL_TUNING_CHOICES][CL_TUNING_ROUNDS];
    const struct cl_rows *largest[CL_TUNING_TYPES]; /* bound weights; NULL: none */
    size_t largest_k[CL_TUNING_TYPES];
    uint64_t key;
};

/* The rows that a group takes in a product with a weight of that type. */
size_t cl_tuning_rows(const struct cl_backend *b, enum dtype type);

/* Takes what the file says. */
void cl_tuning_load(struct cl_backend *b);
/* A weight was bound, or is freed. */
void cl_tuning_meet(struct cl_backend *b, const struct cl_rows *rows, size_t k);
void cl_tuning_forget(struct cl_backend *b, const struct cl_rows *rows);
/* Measures a little more; false: there is nothing left to find out. */
bool cl_tuning_step(void *backend);

#endif
