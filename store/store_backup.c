/* store_backup.c: the copy of chat.db that is made before its schema changes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "store/store_internal.h"

/* PATH.old, and with a number PATH.old.NUMBER. */
static char *copy_name(const char *path, long number)
{
    size_t n = strlen(path) + 32;
    char *out = mem_need(n);
    snprintf(out, n, number ? "%s.old.%ld" : "%s.old", path, number);
    return out;
}

/* SQLite's own page-by-page copy: it sees what this connection sees. */
static int copy_to(struct store *s, const char *path)
{
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *backup = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", s->db, "main") : NULL;
    if (backup) {
        sqlite3_backup_step(backup, -1);
        rc = sqlite3_backup_finish(backup);
    } else if (rc == SQLITE_OK) {
        rc = sqlite3_errcode(to);
    }
    sqlite3_close(to);
    return rc;
}

/* A half-made copy must not pass as one: it gets its name when it is whole. */
bool store_backup(struct store *s, struct err *err)
{
    char *path = copy_name(s->path, 0), *part = copy_name(s->path, (long)getpid());
    unlink(part);
    int fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    int rc = fd < 0 ? SQLITE_CANTOPEN : copy_to(s, part);
    bool ok = rc == SQLITE_OK && rename(part, path) == 0;
    if (!ok) {
        unlink(part);
        s->may_retry = true;
        err_set(
            err, ERR_DATABASE,
            "%s: comes from an older version, and the copy to be made before it is brought up to date (%s) "
            "failed: %s; free some space on that disk or use --data-dir; nothing was changed",
            s->path, path, rc == SQLITE_OK || fd < 0 ? strerror(errno) : sqlite3_errstr(rc));
    }
    mem_free(path);
    mem_free(part);
    return ok;
}

void store_drop_backup(const struct store *s)
{
    char *path = copy_name(s->path, 0);
    unlink(path);
    mem_free(path);
}
