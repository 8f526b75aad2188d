#include "app/chat_rows.h"

#include <inttypes.h>
#include <time.h>

#include "engine/base/buf.h"

static void append_age(struct buf *out, int64_t seconds)
{
    if (seconds < 60)
        buf_puts(out, "just now");
    else if (seconds < 3600)
        buf_printf(out, "%" PRId64 " min ago", seconds / 60);
    else if (seconds < 86400)
        buf_printf(out, "%" PRId64 " h ago", seconds / 3600);
    else
        buf_printf(out, "%" PRId64 " d ago", seconds / 86400);
}

char *chat_row_detail(const struct chat_info *info, int64_t now_ms)
{
    struct buf out = {0};
    buf_printf(&out, "%d message%s · ", (int)info->n_msgs, info->n_msgs == 1 ? "" : "s");
    if (info->model_name && *info->model_name)
        buf_printf(&out, "%s · ", info->model_name);
    append_age(&out, (now_ms - info->updated_ms) / 1000);
    return buf_take(&out);
}

void chat_row_time(int64_t ms, char out[17])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    localtime_r(&seconds, &tm);
    if (!strftime(out, 17, "%Y-%m-%d %H:%M", &tm))
        out[0] = '\0';
}
