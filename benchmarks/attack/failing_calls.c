/* Lets the n-th call of a kind on paths below a folder fail once: loaded by LD_PRELOAD, armed by failing_calls.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { OPEN, WRITE, READ, FSYNC, CLOSE, MKDIR, RENAME, UNLINK, TRUNCATE, KINDS };

struct plan { int kind, number, error, armed; int seen[KINDS]; char folder[PATH_MAX]; };
static struct plan *plan;

__attribute__((constructor)) static void share(void) {
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* number: counted from 1; 0 fails none and only counts. */
void faults_arm(int kind, int number, int error, const char *folder) {
    memset(plan, 0, sizeof *plan);
    plan->kind = kind, plan->number = number, plan->error = error;
    strncpy(plan->folder, folder, PATH_MAX - 1);
    plan->armed = 1;
}
void faults_disarm(void) { plan->armed = 0; }
int faults_seen(int kind) { return plan->seen[kind]; }

static int fails(int kind, const char *path) {
    if (!plan || !plan->armed || !path || strncmp(path, plan->folder, strlen(plan->folder))) return 0;
    int seen = __sync_add_and_fetch(&plan->seen[kind], 1);
    if (plan->kind != kind || plan->number != seen) return 0;
    errno = plan->error;
    return 1;
}
static int fails_at(int kind, int fd) {
    if (!plan || !plan->armed || fd < 0) return 0;
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    if (size < 0) return 0;
    path[size] = 0;
    return fails(kind, path);
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE REAL(open); return fails(OPEN, path) ? -1 : real(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE REAL(open64); return fails(OPEN, path) ? -1 : real(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE REAL(openat); return fails(OPEN, path) ? -1 : real(at, path, flags, mode); }
ssize_t write(int fd, const void *from, size_t size) { REAL(write); return fails_at(WRITE, fd) ? -1 : real(fd, from, size); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { REAL(pwrite); return fails_at(WRITE, fd) ? -1 : real(fd, from, size, at); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { REAL(pwrite64); return fails_at(WRITE, fd) ? -1 : real(fd, from, size, at); }
ssize_t read(int fd, void *to, size_t size) { REAL(read); return fails_at(READ, fd) ? -1 : real(fd, to, size); }
ssize_t pread(int fd, void *to, size_t size, off_t at) { REAL(pread); return fails_at(READ, fd) ? -1 : real(fd, to, size, at); }
ssize_t pread64(int fd, void *to, size_t size, off64_t at) { REAL(pread64); return fails_at(READ, fd) ? -1 : real(fd, to, size, at); }
int fsync(int fd) { REAL(fsync); return fails_at(FSYNC, fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_at(FSYNC, fd) ? -1 : real(fd); }
int close(int fd) { REAL(close); int failed = fails_at(CLOSE, fd), error = errno; int done = real(fd); if (failed) errno = error; return failed ? -1 : done; }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return fails(MKDIR, path) ? -1 : real(path, mode); }
int rename(const char *from, const char *to) { REAL(rename); return fails(RENAME, to) ? -1 : real(from, to); }
int unlink(const char *path) { REAL(unlink); return fails(UNLINK, path) ? -1 : real(path); }
int rmdir(const char *path) { REAL(rmdir); return fails(UNLINK, path) ? -1 : real(path); }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); return (path[0] == '/' ? fails(UNLINK, path) : fails_at(UNLINK, at)) ? -1 : real(at, path, flags); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); return fails_at(TRUNCATE, fd) ? -1 : real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return fails_at(TRUNCATE, fd) ? -1 : real(fd, size); }
