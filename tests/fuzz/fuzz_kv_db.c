/* fuzz_kv_db.c: any bytes written over a good kv.db: it opens, is put aside or refused with a sentence; what
 * it then gives is what was put, to the byte, or nothing. The input is a list of edits of four bytes: page,
 * offset, value. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/store/kv_blocks.h"

#define PAGE_BYTES 65536
#define N_IDS 400
#define MAX_EDITS 64

static char dir[64], path[96];
static struct buf good; /* the file */
static struct kv_space space;
static int32_t ids[N_IDS];

static void remove_files(void)
{
    static const char *const ends[] = {"", "-journal", ".lock", ".bad", ".bad-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void clean_up(void)
{
    remove_files();
    rmdir(dir);
    buf_fini(&good);
}

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "fuzz_kv_db: %s\n", what);
    abort();
}

static struct kv_db *open_db(void)
{
    struct err err = {0};
    const struct kv_db_options options = {.path = path, .limit_bytes = 1 << 30};
    struct kv_db *db = kv_db_open(&options, NULL, &err);
    need(db || (err.code == ERR_DATABASE && err.text[0]), "no sentence for a refusal");
    if (db && kv_db_set_space(db, &space, "tiny", "test", false, &err))
        return db;
    kv_db_close(db);
    return NULL;
}

static void put_chain(struct kv_db *db, size_t n)
{
    struct chain chain;
    struct err err = {0};
    uint64_t written;
    chain_make(&chain, &space, ids, n, 1);
    if (!kv_db_put(db, chain.list, chain.n, &written, &err))
        need(err.code == ERR_DATABASE && err.text[0], "no sentence for a failing put");
    chain_free(&chain);
}

/* The pristine file, made once; on a file system in memory where there is one, for the sake of fsync. */
static void prepare(void)
{
    char piece[4096];
    struct stat st;
    snprintf(dir, sizeof dir, "%s/ferrum-fuzz-XXXXXX",
             stat("/dev/shm", &st) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    need(mkdtemp(dir) != NULL, "no directory");
    snprintf(path, sizeof path, "%s/kv.db", dir);
    space = test_space(1);
    space.token_bytes = 32;
    test_ids(ids, N_IDS, 1);
    struct kv_db *db = open_db();
    need(db, "no file");
    put_chain(db, N_IDS);
    kv_db_close(db);
    FILE *f = fopen(path, "rb");
    need(f, "no file");
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_append(&good, piece, n);
    fclose(f);
    atexit(clean_up);
}

/* Half of the edits hit a page's header, a quarter its end, where cells begin. */
static size_t place_of(const uint8_t *edit)
{
    size_t page = edit[0] % (good.len / PAGE_BYTES), offset = edit[1] * 256u + edit[2];
    if (edit[1] < 128)
        offset = edit[2] % 112;
    else if (edit[1] < 192)
        offset = PAGE_BYTES - 1 - (256u * edit[2] + edit[1]) % 16384;
    return page * PAGE_BYTES + offset;
}

static void write_file(const uint8_t *data, size_t n)
{
    char *bytes = mem_need(good.len);
    memcpy(bytes, good.data, good.len);
    for (size_t i = 0; i + 4 <= n && i < 4 * MAX_EDITS; i += 4)
        bytes[place_of(data + i)] = (char)data[i + 3];
    size_t keep = n % 16 == 1 ? good.len * data[0] / 256 : good.len;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    need(fd >= 0 && write(fd, bytes, keep) == (ssize_t)keep, "the file cannot be written");
    close(fd);
    mem_free(bytes);
}

static void check_bytes(struct kv_db *db, const struct kv_found *found, const int32_t *tokens,
                        struct kv_hash *at)
{
    unsigned char bytes[KV_BLOCK_TOKENS * 32], expected[sizeof bytes];
    struct err err = {0};
    size_t n_bytes = (size_t)found->n_tokens * 32;
    need(found->n_tokens >= 1 && found->n_tokens <= KV_BLOCK_TOKENS && found->n_match >= 1 &&
             found->n_match <= found->n_tokens,
         "an impossible block");
    bool fetched = kv_db_fetch(db, found, tokens, bytes, n_bytes, &err);
    need(fetched || (err.code == ERR_DATABASE && err.text[0]), "no sentence for a miss");
    *at = kv_hash_next(at, tokens, found->n_tokens);
    if (!fetched || found->n_match < found->n_tokens)
        return;
    test_bytes(at, expected, n_bytes);
    need(memcmp(bytes, expected, n_bytes) == 0, "wrong bytes passed for verified");
}

static void resume(struct kv_db *db)
{
    struct kv_found found[TEST_MAX_BLOCKS];
    unsigned char owner[KV_OWNER_BYTES] = {2};
    struct err err = {0};
    struct kv_hash at = kv_space_hash(&space);
    size_t n = kv_db_find(db, &at, ids, N_IDS, owner, found, TEST_MAX_BLOCKS, &err);
    for (size_t i = 0; i < n; i++)
        check_bytes(db, &found[i], ids + i * KV_BLOCK_TOKENS, &at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct err err = {0};
    struct kv_db_verdict verdict;
    struct kv_db_stat stat;
    if (!dir[0])
        prepare();
    write_file(data, n);
    struct kv_db *db = open_db();
    if (db) {
        resume(db);
        kv_db_verify(db, NULL, NULL, &verdict, &err);
        if (kv_db_stat(db, &stat, &err))
            mem_free(stat.spaces);
        put_chain(db, N_IDS);
        resume(db);
    }
    kv_db_close(db);
    remove_files();
    return 0;
}

void fuzz_seed(int i, struct buf *out)
{
    /* Nothing; a flag of the header; a byte of each page's header; a byte near each page's end. */
    static const uint8_t one[] = {0, 0, 18, 1, 0, 0, 52, 0};
    if (i == 0)
        buf_append(out, one, 2);
    else if (i == 1)
        buf_append(out, one, sizeof one);
    for (int page = 0; (i == 2 || i == 3) && page < 24; page++) {
        const uint8_t edit[] = {(uint8_t)page, i == 2 ? 0 : 128, (uint8_t)(5 * page), 0};
        buf_append(out, edit, i == 2 && page % 7 ? 0 : sizeof edit);
    }
}
