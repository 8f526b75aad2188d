/* kv_file.c: kv.db as a file among others: where it may lie, its lock file, the way to kv.db.bad.
 *
 * Renaming a database that somebody has open would corrupt it, so every open connection holds kv.db.lock
 * shared (flock; one per connection, also within a process), and renaming takes it alone. kv.db itself is
 * never opened by hand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "store/kv_internal.h"

#define LOCK_NAP_MS 20

static const long network_types[] = {
    0x6969,     /* NFS */
    0x517B,     /* SMB */
    0xFF534D42, /* CIFS */
    0xFE534D42, /* SMB2 */
    0x564C,     /* NCP */
    0x73757245, /* Coda */
    0x5346414F, /* AFS */
    0x6B414653, /* AFS in the kernel */
    0x01021997, /* 9p */
    0x0BD00BD0, /* Lustre */
    0x47504653, /* GPFS */
    0x00C36400, /* Ceph */
    0x19830326, /* BeeGFS */
    0x7461636F, /* OCFS2 */
    0x01161970, /* GFS2 */
};

/* FUSE has local ones (ntfs-3g, encrypted folders) and remote ones; only their name tells. */
static const char *const network_fuse[] = {
    "fuse.sshfs",   "fuse.glusterfs", "fuse.ceph",       "fuse.rclone",    "fuse.s3fs",
    "fuse.davfs",   "fuse.curlftpfs", "fuse.gvfsd-fuse", "fuse.smbnetfs",  "fuse.goofys",
    "fuse.moosefs", "fuse.mfs",       "fuse.juicefs",    "fuse.seaweedfs", "fuse.gcsfuse"};

bool kv_is_network(long f_type, const char *mount_type)
{
    /* f_type is a word whose upper half some architectures fill with the sign. */
    for (size_t i = 0; i < sizeof network_types / sizeof *network_types; i++)
        if ((uint32_t)f_type == (uint32_t)network_types[i])
            return true;
    for (size_t i = 0; i < sizeof network_fuse / sizeof *network_fuse; i++)
        if (strcmp(mount_type, network_fuse[i]) == 0)
            return true;
    return false;
}

/* The type of the mount of a device, from lines "36 35 98:0 / /mnt rw - ext3 /dev/root rw" (proc(5)). */
static void mount_type_of(dev_t dev, char *type, size_t n)
{
    char line[4096];
    unsigned major_id, minor_id;
    type[0] = '\0';
    FILE *f = fopen("/proc/self/mountinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *behind = strstr(line, " - ");
        if (!behind || sscanf(line, "%*d %*d %u:%u", &major_id, &minor_id) != 2 ||
            makedev(major_id, minor_id) != dev)
            continue;
        size_t len = strcspn(behind + 3, " ");
        snprintf(type, n, "%.*s", (int)len, behind + 3);
        break;
    }
    if (f)
        fclose(f);
}

static void directory_of(const char *path, struct buf *out)
{
    const char *slash = strrchr(path, '/');
    if (slash)
        buf_append(out, path, (size_t)(slash - path) + 1);
    else
        buf_puts(out, ".");
}

bool kv_check_place(const char *path, struct err *err)
{
    struct buf dir = {0};
    struct statfs fs;
    struct stat st;
    char type[64] = "";
    directory_of(path, &dir);
    bool ok = statfs(buf_text(&dir), &fs) == 0 && stat(buf_text(&dir), &st) == 0;
    if (!ok)
        err_set(err, ERR_DATABASE, "%s: its file system does not answer: %s", path, strerror(errno));
    if (ok)
        mount_type_of(st.st_dev, type, sizeof type);
    if (ok && kv_is_network(fs.f_type, type))
        ok = err_set(err, ERR_DATABASE,
                     "%s: lies on a network file system%s%s, where locks cannot be relied on; nothing is "
                     "kept there; set XDG_CACHE_HOME (or --data-dir) to a local disk",
                     path, type[0] ? ", " : "", type);
    buf_fini(&dir);
    return ok;
}

bool kv_disk_space(const char *path, uint64_t *free_bytes, uint64_t *all_bytes, struct err *err)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return errno == ENOENT
                   ? err_set(err, ERR_DATABASE, "%s: was deleted or moved away while it was in use", path)
                   : err_set(err, ERR_DATABASE, "%s: its file system does not answer: %s", path,
                             strerror(errno));
    *free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    *all_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    return true;
}

int kv_lock_shared(const char *path, struct err *err)
{
    struct buf name = {0};
    buf_printf(&name, "%s.lock", path);
    int fd = open(buf_text(&name), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), error = errno;
    if (fd < 0)
        err_set(err, ERR_DATABASE,
                "%s: cannot be %s: %s; no blocks are kept or read; check the permissions of the directory, "
                "or set XDG_CACHE_HOME (or --data-dir)",
                buf_text(&name), access(buf_text(&name), F_OK) ? "created" : "opened for writing",
                strerror(error));
    for (int waited = 0; fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0; waited += LOCK_NAP_MS) {
        if (errno != EINTR && (errno != EWOULDBLOCK || waited >= KV_BUSY_MS)) {
            err_set(err, ERR_DATABASE, "%s: cannot be locked: %s; another program is replacing %s",
                    buf_text(&name), strerror(errno), path);
            close(fd);
            fd = -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_NAP_MS * 1000000L}, NULL);
    }
    buf_fini(&name);
    return fd;
}

bool kv_lock_alone(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    kv_lock_share_again(fd); /* a failing change may have dropped the lock */
    return false;
}

void kv_lock_share_again(int fd)
{
    while (flock(fd, LOCK_SH) != 0 && errno == EINTR) {
    }
}

/* A journal left beside a new file would be played into it. */
static const char *const ends[] = {"-journal", "-wal", "-shm", ""};
#define N_ENDS (sizeof ends / sizeof *ends)

bool kv_put_aside(const char *path, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < N_ENDS; i++) {
        struct buf from = {0}, to = {0};
        buf_printf(&from, "%s%s", path, ends[i]);
        buf_printf(&to, "%s.bad%s", path, ends[i]);
        unlink(buf_text(&to));
        if (rename(buf_text(&from), buf_text(&to)) != 0 && errno != ENOENT)
            ok = err_set(err, ERR_DATABASE, "%s: cannot be renamed to %s: %s; move it away", buf_text(&from),
                         buf_text(&to), strerror(errno));
        buf_fini(&from);
        buf_fini(&to);
    }
    return ok;
}

/* Where path is a link, what it leads to is emptied, and stays. The journals go by their right names. */
bool kv_empty_file(const char *path, struct err *err)
{
    bool ok = true;
    char *real = realpath(path, NULL);
    for (size_t i = 0; ok && i < N_ENDS; i++) {
        struct buf name = {0};
        buf_printf(&name, "%s%s", real ? real : path, ends[i]);
        if (truncate(buf_text(&name), 0) != 0 && errno != ENOENT)
            ok = err_set(err, ERR_DATABASE, "%s: cannot be emptied: %s; remove it", buf_text(&name),
                         strerror(errno));
        buf_fini(&name);
    }
    free(real);
    return ok;
}

bool kv_db_drop_aside(const char *path, uint64_t *n_bytes, struct err *err)
{
    bool ok = true;
    struct stat st;
    *n_bytes = 0;
    for (size_t i = 0; ok && i < N_ENDS; i++) {
        struct buf name = {0};
        buf_printf(&name, "%s.bad%s", path, ends[i]);
        uint64_t size = lstat(buf_text(&name), &st) == 0 ? (uint64_t)st.st_size : 0;
        if (unlink(buf_text(&name)) == 0)
            *n_bytes += size;
        else if (errno != ENOENT && errno != ENOTDIR)
            ok = err_set(err, ERR_DATABASE, "%s: cannot be removed: %s; remove it, it may hold deleted chats",
                         buf_text(&name), strerror(errno));
        buf_fini(&name);
    }
    return ok;
}
