#include "app/json_lines.h"

#include <jansson.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

static void append_line(struct buf *out, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    buf_puts(out, text);
    buf_putc(out, '\n');
    mem_free(text);
    json_decref(object);
}

/* Sentences and file names may hold any bytes; JSON may not. */
static json_t *text_json(const char *text, size_t n)
{
    json_t *json = json_stringn(text ? text : "", n);
    if (json)
        return json;
    struct buf clean = {0};
    utf8_append_clean(&clean, text, n);
    json = json_stringn(buf_text(&clean), clean.len);
    buf_fini(&clean);
    return json;
}

void json_line_ready(struct buf *out, const struct session *s)
{
    const struct backend *backend = session_backend(s);
    append_line(out,
                json_pack("{s:s, s:o, s:s, s:s, s:s, s:i, s:I, s:I, s:f}", "type", "ready", "model",
                          text_json(s->model_name, strlen(s->model_name)), "arch", s->config.arch, "quant",
                          s->config.quant, "backend", backend->ops->name, "threads",
                          backend->ops->n_threads(backend->ctx), "ctx", (json_int_t)engine_n_ctx(s->engine),
                          "seed", (json_int_t)s->seed, "load_ms", s->load_ms));
}

void json_line_user(struct buf *out, const char *text, size_t n)
{
    append_line(out, json_pack("{s:s, s:o}", "type", "user", "text", text_json(text, n)));
}

void json_line_token(struct buf *out, const struct engine_event *event)
{
    json_t *text = text_json(event->text, event->n_text);
    if (event->is_reasoning)
        append_line(out, json_pack("{s:s, s:i, s:s, s:o}", "type", "token", "id", (int)event->token, "text",
                                   "", "reasoning", text));
    else
        append_line(out,
                    json_pack("{s:s, s:i, s:o}", "type", "token", "id", (int)event->token, "text", text));
}

void json_line_assistant(struct buf *out, const struct session *s)
{
    const struct chat_msg *msg = &s->chat->msgs[s->answer];
    const struct turn_stats *t = &s->stats;
    json_t *line = json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "type", "assistant", "text",
        text_json(msg->text.data, msg->text.len), "reasoning", text_json(msg->think.data, msg->think.len),
        "finish_reason", finish_reason_name(s->reason), "prompt_tokens", (json_int_t)t->prompt_tokens,
        "reused_tokens", (json_int_t)t->reused_tokens, "prefilled_tokens", (json_int_t)t->prefilled_tokens,
        "completion_tokens", (json_int_t)t->completion_tokens, "ttft_ms", t->ttft_ms, "prefill_ms",
        t->prefill_ms, "decode_ms", t->decode_ms, "guessed_tokens", (json_int_t)t->guessed_tokens,
        "right_guesses", (json_int_t)t->right_guesses);
    if (s->kv.io) {
        json_object_set_new(line, "reused_memory", json_integer((json_int_t)t->reused_memory));
        json_object_set_new(line, "reused_disk", json_integer((json_int_t)t->reused_disk));
        json_object_set_new(line, "kv_written_bytes",
                            json_integer((json_int_t)kv_cache_written(&s->kv).turns));
        json_object_set_new(line, "damaged_blocks", json_integer((json_int_t)t->damaged_blocks));
        json_object_set_new(line, "saved_ms", json_real(t->saved_ms));
    }
    append_line(out, line);
}

void json_line_error(struct buf *out, const struct err *err)
{
    append_line(out, json_pack("{s:s, s:i, s:o}", "type", "error", "code", (int)err->code, "message",
                               text_json(err->text, strlen(err->text))));
}

void json_line_exit(struct buf *out, int code)
{
    append_line(out, json_pack("{s:s, s:i}", "type", "exit", "code", code));
}
