/* name_index.c: open addressing, FNV-1a, load at most one half. */
#include "engine/name_index.h"

#include <stdint.h>
#include <string.h>

#include "engine/base/mem.h"

bool name_index_init(struct name_index *index, size_t n_names, struct err *err)
{
    size_t n_slots = 4;
    while (n_slots / 2 < n_names && n_slots <= SIZE_MAX / 4)
        n_slots *= 2;
    *index = (struct name_index){.mask = n_slots - 1};
    index->slots = mem_array(n_slots, sizeof *index->slots, err);
    return index->slots != NULL;
}

void name_index_fini(struct name_index *index)
{
    mem_free(index->slots);
    *index = (struct name_index){0};
}

/* The slot that holds the name, or the free one where it belongs. */
static struct name_slot *slot_of(const struct name_index *index, const char *name, size_t n)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3u;
    for (size_t i = hash & index->mask;; i = (i + 1) & index->mask) {
        struct name_slot *slot = &index->slots[i];
        if (!slot->name || (slot->n == n && memcmp(slot->name, name, n) == 0))
            return slot;
    }
}

bool name_index_add(struct name_index *index, const char *name, size_t n, size_t value)
{
    struct name_slot *slot = slot_of(index, name, n);
    if (slot->name)
        return false;
    *slot = (struct name_slot){.name = name, .n = n, .value = value};
    return true;
}

bool name_index_find(const struct name_index *index, const char *name, size_t n, size_t *value)
{
    if (!index->slots)
        return false;
    const struct name_slot *slot = slot_of(index, name, n);
    if (!slot->name)
        return false;
    *value = slot->value;
    return true;
}
