#include "kernels_cl/cl_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

#define PATH_BYTES 4096
#define LARGEST_BINARY ((uint64_t)256 << 20)

static const char magic[8] = {'F', 'E', 'R', 'R', 'U', 'M', 'C', 'L'};

struct header {
    char magic[8];
    uint64_t key, n_bytes, checksum;
};

uint64_t cl_cache_key(const char *const *parts, size_t n_parts)
{
    uint64_t key = 0;
    for (size_t i = 0; i < n_parts; i++)
        key = XXH3_64bits_withSeed(parts[i], strlen(parts[i]) + 1, key);
    return key;
}

static bool make_path(char out[PATH_BYTES], const char *directory, uint64_t key, const char *ending)
{
    int n = directory ? snprintf(out, PATH_BYTES, "%s/%016" PRIx64 "%s", directory, key, ending) : -1;
    return n > 0 && n < PATH_BYTES;
}

static bool read_all(int fd, void *to, size_t n)
{
    for (char *at = to; n;) {
        ssize_t got = read(fd, at, n);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return false;
        at += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t n)
{
    for (const char *at = from; n;) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno != EINTR)
            return false;
        at += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

static unsigned char *read_file(int fd, uint64_t key, size_t *n_bytes)
{
    struct header h;
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !read_all(fd, &h, sizeof h) ||
        memcmp(h.magic, magic, sizeof magic) != 0 || h.key != key || !h.n_bytes ||
        h.n_bytes > LARGEST_BINARY || (uint64_t)st.st_size != sizeof h + h.n_bytes)
        return NULL;
    unsigned char *bytes = mem_alloc(h.n_bytes, NULL);
    if (bytes && read_all(fd, bytes, h.n_bytes) && XXH3_64bits(bytes, h.n_bytes) == h.checksum) {
        *n_bytes = h.n_bytes;
        return bytes;
    }
    mem_free(bytes);
    return NULL;
}

unsigned char *cl_cache_load(const char *directory, uint64_t key, const char *ending, size_t *n_bytes)
{
    char path[PATH_BYTES];
    int fd = make_path(path, directory, key, ending)
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
                 : -1;
    if (fd < 0)
        return NULL;
    unsigned char *bytes = read_file(fd, key, n_bytes);
    if (!bytes)
        log_line("OpenCL: %s is damaged and is not used", path);
    close(fd);
    return bytes;
}

/* One level: the directory it lies in is that of the program's other caches. */
static bool make_directory(const char *directory)
{
    return !mkdir(directory, 0700) || errno == EEXIST;
}

/* Head and body under another name, then renamed: nobody sees half a file. */
static bool write_file(const char *path, const void *head, size_t n_head, const void *body, size_t n_body)
{
    char temporary[PATH_BYTES + 24];
    snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, head, n_head) && write_all(fd, body, n_body);
    ok = !close(fd) && ok;
    if (ok && !rename(temporary, path))
        return true;
    unlink(temporary);
    return false;
}

void cl_cache_store(const char *directory, uint64_t key, const char *ending, const unsigned char *bytes,
                    size_t n_bytes)
{
    char path[PATH_BYTES];
    struct header h = {.key = key, .n_bytes = n_bytes, .checksum = XXH3_64bits(bytes, n_bytes)};
    memcpy(h.magic, magic, sizeof magic);
    if (n_bytes > LARGEST_BINARY || !make_path(path, directory, key, ending) || !make_directory(directory))
        return;
    if (!write_file(path, &h, sizeof h, bytes, n_bytes))
        log_line("OpenCL: %s cannot be written: %s; the next start makes it again", path, strerror(errno));
}

void cl_cache_remove(const char *directory, uint64_t key)
{
    char path[PATH_BYTES];
    if (make_path(path, directory, key, ".clb"))
        unlink(path);
}

void cl_cache_keep_log(const char *directory, uint64_t key, const char *log, char *where, size_t n_where)
{
    char path[PATH_BYTES];
    *where = '\0';
    if (make_path(path, directory, key, ".log") && make_directory(directory) &&
        write_file(path, "", 0, log, strlen(log)))
        snprintf(where, n_where, "%s", path);
}

bool cl_cache_is_bad(const char *directory, uint64_t key, char *where, size_t n_where)
{
    char path[PATH_BYTES];
    bool is_bad = make_path(path, directory, key, ".bad") && !access(path, F_OK);
    snprintf(where, n_where, "%s", is_bad ? path : "");
    return is_bad;
}

void cl_cache_mark_bad(const char *directory, uint64_t key)
{
    static const char text[] = "The kernels of this program have answered a known question wrongly.\n";
    char path[PATH_BYTES];
    if (make_path(path, directory, key, ".bad") && make_directory(directory))
        write_file(path, "", 0, text, strlen(text));
}
