#include "engine/base/prof_pack.h"

#include "engine/base/mem.h"

#define FORMAT 1
#define MAX_TIMER_NS 65535

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t us_of(uint64_t ns)
{
    return lesser(ns / 1000 + (ns % 1000 >= 500), PROF_PACK_MAX / 1000);
}

/* ---- columns: one operation's calls over the layers, one layer's experts ---- */

enum column_kind { PLAIN, DIFFERENCES };

static void put(struct buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_putc(out, (char)(v | 0x80));
    buf_putc(out, (char)v);
}

/* Small numbers for small differences of both signs: 0, -1, 1, -2, ... */
static uint64_t fold(uint64_t difference)
{
    return difference << 1 ^ (0 - (difference >> 63));
}

static uint64_t unfold(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

static void put_column(struct buf *out, const uint64_t *values, size_t n, enum column_kind kind)
{
    uint64_t before = 0;
    size_t n_zeros = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = kind == DIFFERENCES ? fold(values[i] - before) : values[i];
        before = values[i];
        if (!v) {
            n_zeros++;
            continue;
        }
        if (n_zeros) {
            put(out, 0);
            put(out, n_zeros - 1);
        }
        n_zeros = 0;
        put(out, v);
    }
    if (n_zeros) {
        put(out, 0);
        put(out, n_zeros - 1);
    }
}

struct reader {
    const uint8_t *at, *end;
    bool is_bad; /* sticks; what is read after it is 0 */
};

static uint64_t get(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    for (int shift = 0; !r->is_bad && r->at < r->end && shift < 64; shift += 7) {
        uint64_t bits = *r->at & 0x7F;
        if (bits << shift >> shift != bits)
            break;
        v |= bits << shift;
        if (!(*r->at++ & 0x80)) {
            r->is_bad = v > max;
            return r->is_bad ? 0 : v;
        }
    }
    r->is_bad = true;
    return 0;
}

/* values: as many zeros. */
static void get_column(struct reader *r, uint64_t *values, size_t n, uint64_t max, enum column_kind kind)
{
    uint64_t before = 0;
    for (size_t i = 0; i < n && !r->is_bad;) {
        uint64_t v = get(r, UINT64_MAX);
        size_t n_same = v ? 1 : 1 + (size_t)get(r, n - i - 1);
        before = kind == DIFFERENCES ? before + unfold(v) : v;
        r->is_bad |= before > max;
        for (size_t k = 0; k < n_same && before && !r->is_bad; k++)
            values[i + k] = before;
        i += n_same;
    }
}

/* ---- operations ---- */

enum field { CALLS, US, BYTES, N_FIELDS };

static uint64_t field_of(const struct prof_entry *e, enum field field)
{
    if (field == US)
        return us_of(e->ns);
    return field == CALLS ? lesser(e->calls, PROF_PACK_MAX_COUNT) : lesser(e->bytes, PROF_PACK_MAX);
}

static void set_field(struct prof_entry *e, enum field field, uint64_t v)
{
    if (field == US)
        e->ns = v * 1000;
    else
        *(field == CALLS ? &e->calls : &e->bytes) = v;
}

static uint64_t max_of(enum field field)
{
    return field == US ? PROF_PACK_MAX / 1000 : field == CALLS ? PROF_PACK_MAX_COUNT : PROF_PACK_MAX;
}

static void put_op(struct buf *out, const struct prof *p, enum prof_phase phase, enum prof_op op)
{
    uint64_t column[PROF_MAX_LAYERS + 1];
    for (int field = 0; field < N_FIELDS; field++) {
        for (uint32_t layer = 0; layer <= p->shape.n_layers; layer++)
            column[layer] = field_of(prof_at(p, phase, layer, op), (enum field)field);
        put_column(out, column, p->shape.n_layers + 1, DIFFERENCES);
    }
}

static void get_op(struct reader *r, struct prof *p, enum prof_phase phase, enum prof_op op)
{
    for (int field = 0; field < N_FIELDS; field++) {
        uint64_t column[PROF_MAX_LAYERS + 1] = {0};
        get_column(r, column, p->shape.n_layers + 1, max_of((enum field)field), DIFFERENCES);
        for (uint32_t layer = 0; layer <= p->shape.n_layers; layer++)
            set_field(prof_at(p, phase, layer, op), (enum field)field, column[layer]);
    }
}

static uint64_t mask_of(const struct prof *p, enum prof_phase phase)
{
    uint64_t mask = 0;
    for (int op = 0; op < PROF_N_OPS; op++) {
        struct prof_entry sum = prof_sum(p, phase, (enum prof_op)op);
        mask |= (uint64_t)(sum.ns || sum.calls || sum.bytes) << op;
    }
    return mask;
}

static void put_phase(struct buf *out, const struct prof *p, enum prof_phase phase)
{
    uint64_t mask = mask_of(p, phase);
    put(out, lesser(p->n_tokens[phase], PROF_PACK_MAX));
    put(out, us_of(p->wall_ns[phase]));
    put(out, mask);
    for (int op = 0; op < PROF_N_OPS; op++)
        if (mask >> op & 1)
            put_op(out, p, phase, (enum prof_op)op);
}

static void get_phase(struct reader *r, struct prof *p, enum prof_phase phase)
{
    p->n_tokens[phase] = get(r, PROF_PACK_MAX);
    p->wall_ns[phase] = get(r, PROF_PACK_MAX / 1000) * 1000;
    uint64_t mask = get(r, ((uint64_t)1 << PROF_N_OPS) - 1);
    for (int op = 0; op < PROF_N_OPS && !r->is_bad; op++)
        if (mask >> op & 1)
            get_op(r, p, phase, (enum prof_op)op);
}

/* ---- experts ---- */

static void put_counts(struct buf *out, const uint64_t *counts, size_t n)
{
    uint64_t column[PROF_MAX_EXPERTS];
    for (size_t i = 0; i < n; i++)
        column[i] = lesser(counts[i], PROF_PACK_MAX_COUNT);
    put_column(out, column, n, PLAIN);
}

static void put_experts(struct buf *out, const struct prof *p)
{
    uint64_t newest[PROF_MAX_EXPERTS];
    put(out, lesser(p->n_followed, PROF_PACK_MAX_COUNT));
    put_counts(out, p->repeats, p->shape.n_layers);
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
            put_counts(out, prof_pairs(p, (enum prof_phase)phase, layer), p->shape.n_experts);
    for (uint32_t layer = 0; layer < p->shape.n_layers && p->n_tokens[PROF_DECODE]; layer++) {
        for (uint32_t k = 0; k < p->shape.n_used; k++)
            newest[k] = prof_newest(p, layer)[k];
        put_column(out, newest, p->shape.n_used, PLAIN);
    }
}

static void get_experts(struct reader *r, struct prof *p)
{
    p->n_followed = get(r, PROF_PACK_MAX_COUNT);
    get_column(r, p->repeats, p->shape.n_layers, PROF_PACK_MAX_COUNT, PLAIN);
    for (uint32_t layer = 0; layer < p->shape.n_layers; layer++) /* an overlap is at most all */
        p->repeats[layer] = lesser(p->repeats[layer], p->n_followed * p->shape.n_used);
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        for (uint32_t layer = 0; layer < p->shape.n_layers; layer++)
            get_column(r, prof_pairs(p, (enum prof_phase)phase, layer), p->shape.n_experts,
                       PROF_PACK_MAX_COUNT, PLAIN);
    for (uint32_t layer = 0; layer < p->shape.n_layers && p->n_tokens[PROF_DECODE]; layer++) {
        uint64_t newest[PROF_MAX_EXPERTS] = {0};
        get_column(r, newest, p->shape.n_used, p->shape.n_experts - 1, PLAIN);
        for (uint32_t k = 0; k < p->shape.n_used; k++)
            prof_newest(p, layer)[k] = (uint16_t)newest[k];
    }
}

/* ---- the newest tokens' times ---- */

static void put_recent(struct buf *out, const struct prof *p)
{
    uint64_t column[PROF_RECENT], n = lesser(lesser(p->n_tokens[PROF_DECODE], p->n_recent), PROF_RECENT);
    for (uint64_t i = 0; i < n; i++)
        column[i] = p->recent_us[(p->n_recent - n + i) % PROF_RECENT];
    put(out, n);
    put_column(out, column, (size_t)n, DIFFERENCES);
}

static void get_recent(struct reader *r, struct prof *p)
{
    uint64_t column[PROF_RECENT] = {0};
    p->n_recent = get(r, PROF_RECENT);
    get_column(r, column, (size_t)p->n_recent, UINT32_MAX, DIFFERENCES);
    for (uint64_t i = 0; i < p->n_recent; i++)
        p->recent_us[i] = (uint32_t)column[i];
}

/* ---- the whole ---- */

bool prof_pack(const struct prof *p, struct buf *out, struct err *err)
{
    size_t start = out->len;
    buf_putc(out, FORMAT);
    put(out, p->shape.n_layers);
    put(out, p->shape.n_experts);
    put(out, p->shape.n_used);
    put(out, lesser(p->timer_ns, MAX_TIMER_NS));
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        put_phase(out, p, (enum prof_phase)phase);
    if (p->shape.n_experts)
        put_experts(out, p);
    put_recent(out, p);
    size_t n = out->len - start;
    if (n <= PROF_PACK_MAX_BYTES)
        return true;
    buf_truncate(out, start);
    return err_set(err, ERR_RUNTIME, "the profile of an answer takes %zu bytes, at most %zu are kept", n,
                   PROF_PACK_MAX_BYTES);
}

static struct prof *damaged(const struct reader *r, const uint8_t *bytes, struct err *err)
{
    err_set(
        err, ERR_DATABASE,
        "the profile kept with this answer is damaged at byte %zu of %zu; it cannot be shown, the answer is "
        "whole",
        (size_t)(r->at - bytes), (size_t)(r->end - bytes));
    return NULL;
}

struct prof *prof_unpack(const void *bytes, size_t n, struct err *err)
{
    struct reader r = {.at = bytes, .end = (const uint8_t *)bytes + n};
    if (n > PROF_PACK_MAX_BYTES || (n && *r.at != FORMAT)) {
        err_set(err, ERR_DATABASE,
                "the profile kept with this answer has form %d and %zu bytes, this program reads form %d up "
                "to %zu "
                "bytes; use the version that wrote it",
                *r.at, n, FORMAT, PROF_PACK_MAX_BYTES);
        return NULL;
    }
    get(&r, FORMAT);
    struct prof_shape shape = {.n_layers = (uint32_t)get(&r, PROF_MAX_LAYERS)};
    shape.n_experts = (uint32_t)get(&r, PROF_MAX_EXPERTS);
    shape.n_used = (uint32_t)get(&r, shape.n_experts);
    uint64_t timer_ns = get(&r, MAX_TIMER_NS);
    /* Each column is a byte at least: few bytes do not ask for much memory. */
    size_t least = shape.n_experts ? (size_t)shape.n_layers * PROF_N_PHASES : 0;
    if (r.is_bad || (size_t)(r.end - r.at) < least)
        return damaged(&r, bytes, err);
    struct prof *p = prof_new(&shape, err);
    if (!p)
        return NULL;
    p->timer_ns = timer_ns;
    for (int phase = 0; phase < PROF_N_PHASES; phase++)
        get_phase(&r, p, (enum prof_phase)phase);
    if (shape.n_experts)
        get_experts(&r, p);
    get_recent(&r, p);
    if (!r.is_bad && r.at == r.end)
        return p;
    prof_free(p);
    return damaged(&r, bytes, err);
}
