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

#define MAX_ENTRY_BYTES ((size_t)1 << 20) /* a refused long paste must be there to be called up again */
/* A file of more than either is trimmed when it is opened, to the newest of at most so many and so long. */
#define MAX_ENTRIES 2000
#define KEPT_ENTRIES 1000
#define MAX_FILE_BYTES ((off_t)4 << 20)
#define KEPT_BYTES ((size_t)3 << 20)

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

/* No trim has put another file into its place. */
static bool stands_at(int fd, const char *path)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}

/* The shared lock keeps other programs from trimming meanwhile. When it cannot be had at once it is done
 * without, as a write at the end needs none: nobody waits for a key behind another program. */
static int open_to_append(const char *path)
{
    for (int tries = 0; tries < 10; tries++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        (void)flock(fd, LOCK_SH | LOCK_NB);
        if (stands_at(fd, path))
            return fd;
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

/* Reads the last MAX_FILE_BYTES; *size: of the file, up to where it was read. */
static bool read_file(int fd, struct buf *out, off_t *size)
{
    off_t end = lseek(fd, 0, SEEK_END);
    off_t at = end > MAX_FILE_BYTES ? end - MAX_FILE_BYTES : 0;
    char block[65536];
    ssize_t n;
    while ((n = pread(fd, block, sizeof block, at)) > 0) {
        buf_append(out, block, (size_t)n);
        at += n;
    }
    *size = at;
    return n == 0 && end >= 0;
}

/* Adds the entry of one line; a line that is none (torn, or edited by hand) is passed over. */
static bool load_line(struct editor *e, const char *line, size_t n)
{
    json_t *value = json_loadb(line, n, JSON_DECODE_ANY, NULL);
    bool usable = json_is_string(value) && json_string_length(value) <= MAX_ENTRY_BYTES;
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

/* Where the newest lines begin that a trim keeps; text ends with a line end. */
static size_t kept_from(const struct buf *text)
{
    size_t at = text->len;
    for (int n = 0; n < KEPT_ENTRIES && at > 0; n++) {
        const char *end = memrchr(text->data, '\n', at - 1);
        size_t start = end ? (size_t)(end - text->data) + 1 : 0;
        if (text->len - start > KEPT_BYTES)
            break;
        at = start;
    }
    return at;
}

/* Writes the newest of the lines that were read beside the file and puts them in its place. Without the lock,
 * or when something was added since, the file stays long until the next time. */
static void trim(struct editor *e, int fd, off_t size, const struct buf *text)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !stands_at(fd, e->history_path) ||
        lseek(fd, 0, SEEK_END) != size)
        return;
    size_t at = kept_from(text);
    struct buf path = {0};
    buf_printf(&path, "%s.new", e->history_path);
    int new_fd = open(buf_text(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = new_fd >= 0 && write_fully(new_fd, text->data + at, text->len - at) && fsync(new_fd) == 0;
    if (new_fd >= 0)
        close(new_fd);
    if (!written || rename(buf_text(&path), e->history_path) != 0)
        unlink(buf_text(&path));
    buf_fini(&path);
}

/* Returns the number of lines. */
static size_t load(struct editor *e, const struct buf *text, bool from_start)
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
    return n_lines;
}

void editor_history_open(struct editor *e)
{
    using_history();
    clear_history();
    if (!e->history_path)
        return;
    int fd = open(e->history_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        warn(e, "opened");
        return;
    }
    struct buf text = {0};
    off_t size = 0;
    if (read_file(fd, &text, &size)) {
        size_t n_lines = load(e, &text, (off_t)text.len == size);
        if ((n_lines > MAX_ENTRIES || size > MAX_FILE_BYTES) && !e->history_torn)
            trim(e, fd, size, &text);
    } else {
        warn(e, "read");
    }
    buf_fini(&text);
    close(fd);
}

/* One write per entry: appends of several programs do not mix. */
static void append(struct editor *e, const char *text, size_t n)
{
    json_t *value = json_stringn(text, n);
    char *line = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    int fd = line ? open_to_append(e->history_path) : -1;
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
    if (n == 0 || n > MAX_ENTRY_BYTES || !utf8_is_valid(text, n))
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
