/* cmd_tokenize.c: `tokenize MODEL [--bos] [--special]`: standard input to ids separated by one space. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/loader.h"
#include "engine/base/buf.h"

static bool read_all(struct buf *out, struct err *err)
{
    char block[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, block, sizeof block)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_RUNTIME, "standard input cannot be read: %s", strerror(errno));
        buf_append(out, block, (size_t)n);
    }
    return true;
}

bool cmd_tokenize(const struct options *o, struct err *err)
{
    const char *path;
    struct gguf *g = NULL;
    struct vocab *vocab = NULL;
    struct buf text = {0};
    struct token_list ids = {0};
    unsigned flags =
        (opt_flag(o, OPT_BOS) ? VOCAB_ADD_BOS : 0) | (opt_flag(o, OPT_SPECIAL) ? VOCAB_PARSE_SPECIAL : 0);
    bool ok = loader_model_word(o, &path, err) && (g = gguf_open(path, false, err)) &&
              (vocab = vocab_new(g, err)) && read_all(&text, err);
    if (ok && vocab_warning(vocab))
        fprintf(stderr, "ferrum-chat: %s\n", vocab_warning(vocab));
    ok = ok && vocab_encode(vocab, buf_text(&text), text.len, flags, &ids, err);
    for (size_t i = 0; ok && i < ids.n; i++)
        printf(i ? " %d" : "%d", (int)ids.ids[i]);
    if (ok)
        putchar('\n');
    token_list_fini(&ids);
    buf_fini(&text);
    vocab_free(vocab);
    gguf_close(g);
    return ok;
}
