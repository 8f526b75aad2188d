/* editor_history.c: the input history on disk: JSON lines, one string per entry.
 * Readline's own file format loses blank lines and splits entries, so it is not used. */
#include "ui/editor_state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <readline/history.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"

#define KEPT_ENTRIES 1000 /* a file with twice as many is trimmed to this */
#define MAX_FILE_BYTES ((off_t)8 << 20)

static void warn(struct editor *e, const char *what)
{
    if (e->warning)
        return;
    struct buf text = {0};
    buf_printf(&text,
               "The input history %s could not be %s (%s); it is kept only until the end of this session.",
               e->history_path, what, strerror(errno));
    e->warning = buf_take(&text);
}

/* Opens and locks the file that stands at path now: a trim may have replaced it between the two. */
static int open_locked(const char *path, int flags, int lock)
{
    for (int tries = 0; tries < 10; tries++) {
        int fd = open(path, flags | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        struct stat mine, there;
        if (flock(fd, lock) == 0 && fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
            mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
            return fd;
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

static bool read_file(int fd, struct buf *out, bool *from_start)
{
    off_t size = lseek(fd, 0, SEEK_END);
    off_t at = size > MAX_FILE_BYTES ? size - MAX_FILE_BYTES : 0;
    *from_start = at == 0;
    char block[65536];
    ssize_t n;
    while ((n = pread(fd, block, sizeof block, at)) > 0) {
        buf_append(out, block, (size_t)n);
        at += n;
    }
    return n == 0 && size >= 0;
}

/* Adds the entry of one line; a line that is none (torn, or edited by hand) is passed over. */
static bool load_line(struct editor *e, const char *line, size_t n)
{
    json_t *value = json_loadb(line, n, JSON_DECODE_ANY, NULL);
    bool usable = json_is_string(value) && json_string_length(value) <= EDITOR_MAX_LINE_BYTES;
    if (usable) {
        buf_truncate(&e->scratch, 0);
        input_clean(&e->scratch, json_string_value(value), json_string_length(value));
        usable = e->scratch.len > 0;
    }
    if (usable)
        add_history(buf_text(&e->scratch));
    json_decref(value);
    return usable;
}

static bool write_fully(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* Writes the last KEPT_ENTRIES lines of text beside the file and puts them in its place; the caller holds the
 * lock. */
static void trim(struct editor *e, const struct buf *text, size_t n_lines)
{
    size_t at = 0;
    for (size_t skip = n_lines - KEPT_ENTRIES; skip > 0 && at < text->len; at++)
        skip -= text->data[at] == '\n';
    struct buf path = {0};
    buf_printf(&path, "%s.new", e->history_path);
    int fd = open(buf_text(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write_fully(fd, text->data + at, text->len - at) && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!written || rename(buf_text(&path), e->history_path) != 0)
        unlink(buf_text(&path));
    buf_fini(&path);
}

static void load(struct editor *e, const struct buf *text, bool from_start)
{
    size_t n_lines = 0, start = 0;
    bool whole = from_start;
    for (size_t i = 0; i < text->len; i++) {
        if (text->data[i] != '\n')
            continue;
        if (whole)
            load_line(e, text->data + start, i - start);
        whole = true;
        start = i + 1;
        n_lines++;
    }
    e->history_torn = start < text->len;
    if (n_lines > 2 * KEPT_ENTRIES && !e->history_torn)
        trim(e, text, n_lines);
}

void editor_history_open(struct editor *e)
{
    using_history();
    clear_history();
    if (!e->history_path)
        return;
    int fd = open_locked(e->history_path, O_RDWR | O_CREAT | O_APPEND, LOCK_EX);
    if (fd < 0) {
        warn(e, "opened");
        return;
    }
    struct buf text = {0};
    bool from_start;
    if (read_file(fd, &text, &from_start))
        load(e, &text, from_start);
    else
        warn(e, "read");
    buf_fini(&text);
    close(fd);
}

/* One write per entry: appends of several programs do not mix. */
static void append(struct editor *e, const char *text, size_t n)
{
    json_t *value = json_stringn(text, n);
    char *line = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    int fd = line ? open_locked(e->history_path, O_WRONLY | O_CREAT | O_APPEND, LOCK_SH) : -1;
    if (fd >= 0) {
        buf_truncate(&e->scratch, 0);
        buf_printf(&e->scratch, "%s%s\n", e->history_torn ? "\n" : "", line);
        if (write_fully(fd, e->scratch.data, e->scratch.len))
            e->history_torn = false;
        else
            warn(e, "written");
        close(fd);
    } else {
        warn(e, "written");
    }
    free(line);
    json_decref(value);
}

void editor_add_history(struct editor *e, const char *text, size_t n)
{
    if (n == 0 || n > EDITOR_MAX_LINE_BYTES || !utf8_is_valid(text, n))
        return;
    HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    if (last && strlen(last->line) == n && memcmp(last->line, text, n) == 0) {
        using_history();
        return;
    }
    char *copy = mem_strndup(text, n);
    add_history(copy);
    mem_free(copy);
    using_history();
    if (e->history_path)
        append(e, text, n);
}
