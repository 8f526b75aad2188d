/* Owns the panel's numbers: sums of a profile per token, and how they are written. */
#include <math.h>
#include <stdio.h>

#include "ui/panel.h"
#include "ui/sanitize.h"

struct prof_entry panel_entry(const struct prof *p, enum prof_phase phase, int layer, enum prof_op op)
{
    return layer == PANEL_ALL_LAYERS ? prof_sum(p, phase, op) : *prof_at(p, phase, (uint32_t)layer, op);
}

double panel_layer_ms(const struct prof *p, enum prof_phase phase, int layer)
{
    uint64_t ns = 0;
    for (int op = 0; op < PROF_N_OPS; op++)
        ns += panel_entry(p, phase, layer, (enum prof_op)op).ns;
    return p->n_tokens[phase] ? (double)ns / 1e6 / (double)p->n_tokens[phase] : NAN;
}

double panel_wall_ms(const struct prof *p, enum prof_phase phase)
{
    if (!p->n_tokens[phase] || !p->wall_ns[phase])
        return NAN;
    return (double)p->wall_ns[phase] / 1e6 / (double)p->n_tokens[phase];
}

int panel_decimals(double largest)
{
    if (!(largest < 1000)) /* NAN too */
        return 0;
    return largest >= 100 ? 1 : largest >= 10 ? 2 : largest >= 1 ? 3 : largest >= 0.01 ? 4 : 5;
}

static void put_right(struct buf *out, int width, const char *text, size_t n_columns)
{
    buf_printf(out, "%*s%s", width > (int)n_columns ? width - (int)n_columns : 0, "", text);
}

void panel_put_number(struct buf *out, int width, int decimals, double value)
{
    char text[64];
    if (!isfinite(value)) {
        put_right(out, width, PANEL_UNKNOWN, 1);
        return;
    }
    int n = snprintf(text, sizeof text, "%.*f", decimals, value);
    if (width > 0 && n > width)
        n = snprintf(text, sizeof text, "%.0e", value);
    put_right(out, width, text, (size_t)n);
}

void panel_put_share(struct buf *out, int width, int decimals, double share)
{
    char text[64];
    if (!isfinite(share)) {
        put_right(out, width, PANEL_UNKNOWN, 1);
        return;
    }
    int n = snprintf(text, sizeof text, "%.*f%%", decimals, share * 100);
    if (width > 0 && n > width)
        n = snprintf(text, sizeof text, ">999%%");
    put_right(out, width, text, (size_t)n);
}

double panel_per_s(const struct prof *p, enum prof_phase phase)
{
    return 1000 / panel_wall_ms(p, phase);
}
