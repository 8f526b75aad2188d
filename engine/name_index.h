/* name_index.h: a hash from names to numbers, filled once and then only read.
 * Names are borrowed: they must outlive the index. Filling: one thread; finding: any thread. */
#ifndef FERRUM_NAME_INDEX_H
#define FERRUM_NAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

struct name_slot {
    const char *name; /* NULL: free */
    size_t n;
    size_t value;
};

struct name_index {
    struct name_slot *slots;
    size_t mask; /* slots - 1, slots a power of two and at least twice the names */
};

bool name_index_init(struct name_index *index, size_t n_names, struct err *err);
void name_index_fini(struct name_index *index);

/* At most n_names of init may be added. Returns false, changing nothing, when the name is there already. */
bool name_index_add(struct name_index *index, const char *name, size_t n, size_t value);
bool name_index_find(const struct name_index *index, const char *name, size_t n, size_t *value);

#endif
