/* kept_prof.h: the profile kept with an answer, and what makes it comparable with another's.
 *
 * Plain data. Ownership: kept_prof_free frees all of it; strings are never NULL. Any thread, one at a time.
 */
#ifndef FERRUM_KEPT_PROF_H
#define FERRUM_KEPT_PROF_H

#include <stdint.h>

#include "engine/base/prof.h"

#define KEPT_PROF_MAX_TEXT 200 /* longer strings are read up to here */

struct kept_prof {
    char *build;                   /* of ferrum-chat: version and commit */
    unsigned char fingerprint[32]; /* of the model file, as struct store_model has it */
    char *model;                   /* its name and types of weights, for people */
    char *backend;                 /* what it says of itself: kernels, device */
    char *kv_type;
    uint32_t n_threads;
    uint32_t pos;        /* tokens in the context before the answer */
    double tokens_per_s; /* of decode, with all that came between two tokens; 0: none was decoded */
    struct prof *prof;   /* of the one turn */
};

void kept_prof_free(struct kept_prof *kept);

#endif
