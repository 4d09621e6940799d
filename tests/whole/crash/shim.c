/* A disk that fills up, fails or takes the process with it, for files below the folder SHIM_DIR.
 *
 * SHIM_MODE: `count`: only counts. `full`: after SHIM_AFTER bytes nothing more can be written; the write that crosses
 * the line is cut short, as a real one is. `write`, `sync`, `rename`: from the SHIM_AFTER-th such call on, it fails with
 * EIO. `kill`: the SHIM_AFTER-th call of any kind is done by half and the process ends by SIGKILL.
 * What was counted is written to SHIM_REPORT at the end: bytes, calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, SYNC, RENAME };

static atomic_long n_bytes, n_calls, n_of_kind[3];

#define REAL(result, name, ...)                                                                  \
    static result (*real)(__VA_ARGS__);                                                          \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static const char *setting(const char *name) {
    const char *text = getenv(name);
    return text ? text : "";
}

static int is_mode(const char *mode) { return strcmp(setting("SHIM_MODE"), mode) == 0; }

static int watched_path(const char *path) {
    const char *folder = setting("SHIM_DIR");
    size_t length = strlen(folder);
    return length > 0 && strncmp(path, folder, length) == 0;
}

static int watched(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return watched_path(path);
}

/* Whether this call is the one that ends the process. */
static int is_last(void) {
    long call = atomic_fetch_add(&n_calls, 1);
    return is_mode("kill") && call == atol(setting("SHIM_AFTER"));
}

static int fails(enum kind kind) {
    static const char *modes[] = {"write", "sync", "rename"};
    long call = atomic_fetch_add(&n_of_kind[kind], 1);
    if (!is_mode(modes[kind]) || call < atol(setting("SHIM_AFTER"))) return 0;
    errno = EIO;
    return 1;
}

/* How many of `count` bytes may be written; -1 with errno: none. */
static ssize_t allowed(size_t count) {
    if (fails(WRITE)) return -1;
    if (!is_mode("full")) {
        atomic_fetch_add(&n_bytes, (long)count);
        return (ssize_t)count;
    }
    long room = atol(setting("SHIM_AFTER")) - atomic_load(&n_bytes);
    if (room <= 0 && count > 0) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t taken = (long)count < room ? (ssize_t)count : (ssize_t)room;
    atomic_fetch_add(&n_bytes, taken);
    return taken;
}

static void end(void) { kill(getpid(), SIGKILL); }

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    if (!watched(fd)) return real(fd, bytes, count);
    if (is_last()) {
        real(fd, bytes, count / 2);
        end();
    }
    ssize_t taken = allowed(count);
    return taken < 0 ? -1 : real(fd, bytes, (size_t)taken);
}

static ssize_t write_at(ssize_t (*real)(int, const void *, size_t, off64_t), int fd,
                        const void *bytes, size_t count, off64_t offset) {
    if (!watched(fd)) return real(fd, bytes, count, offset);
    if (is_last()) {
        real(fd, bytes, count / 2, offset);
        end();
    }
    ssize_t taken = allowed(count);
    return taken < 0 ? -1 : real(fd, bytes, (size_t)taken, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return write_at(real, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return write_at(real, fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int n_parts) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    if (!watched(fd)) return real(fd, parts, n_parts);
    if (n_parts == 0) return 0;
    return write(fd, parts[0].iov_base, parts[0].iov_len);
}

static int synced(int (*real)(int), int fd) {
    if (!watched(fd)) return real(fd);
    if (is_last()) end();
    return fails(SYNC) ? -1 : real(fd);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return synced(real, fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return synced(real, fd);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (!watched_path(to)) return real(from, to);
    if (is_last()) end();
    return fails(RENAME) ? -1 : real(from, to);
}

static int cut(int (*real)(int, off64_t), int fd, off64_t length) {
    if (watched(fd) && is_last()) end();
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    REAL(int, "ftruncate64", int, off64_t);
    return cut(real, fd, length);
}

int ftruncate(int fd, off_t length) {
    REAL(int, "ftruncate64", int, off64_t);
    return cut(real, fd, length);
}

__attribute__((destructor)) static void report(void) {
    const char *path = setting("SHIM_REPORT");
    FILE *file = *path && atomic_load(&n_calls) > 0 ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld %ld\n", atomic_load(&n_bytes), atomic_load(&n_calls));
    fclose(file);
}
