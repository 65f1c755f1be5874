/* Preloaded into a run: the n-th operation on files below a folder goes wrong. Operations are write, writev, fsync, rename,
 * mkdir and unlink; FAULT_WHERE is a part of their paths, FAULT_AT is n, and FAULT_KIND is one of
 *   kill    the process ends at once
 *   enospc  this write and all that follow find the disk full
 *   eio     this operation fails
 *   short   this write takes half of what it is given, and says so
 *   lies    this write takes half of what it is given, and says that it took all
 *   waits   this write waits until there is a file FAULT_UNTIL */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *where, *kind;
static long at;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
  where = getenv("FAULT_WHERE");
  kind = getenv("FAULT_KIND");
  at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
}

static int is(const char *name) { return kind && !strcmp(kind, name); }

/* How far an operation is behind the one that goes wrong: 0 is that one, below 0 comes before it. */
static long behind(void) { return atomic_fetch_add(&count, 1) + 1 - at; }

static int matches(const char *path) { return where && at > 0 && path && strstr(path, where); }

static int is_below(int fd) {
  char link[64], path[4096];
  ssize_t len;
  if (!where || at <= 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  len = readlink(link, path, sizeof path - 1);
  if (len <= 0) return 0;
  path[len] = 0;
  return matches(path);
}

static int fails(int error) {
  errno = error;
  return -1;
}

/* Whether an operation that writes nothing goes wrong; the other kinds count writes alone. */
static int breaks(int is_ours) {
  if (!is_ours || !(is("kill") || is("eio")) || behind() != 0) return 0;
  if (is("kill")) raise(SIGKILL);
  return 1;
}

ssize_t write(int fd, const void *bytes, size_t len) {
  static ssize_t (*next)(int, const void *, size_t);
  if (!next) next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  if (!is_below(fd)) return next(fd, bytes, len);
  const long distance = behind();
  if (is("enospc") && distance >= 0) return fails(ENOSPC);
  if (distance != 0) return next(fd, bytes, len);
  if (is("kill")) {
    /* Half of it is there. */
    if (next(fd, bytes, len / 2) < 0) _exit(1);
    raise(SIGKILL);
  }
  if (is("waits")) {
    const char *until = getenv("FAULT_UNTIL");
    while (until && access(until, F_OK)) usleep(10000);
  }
  if (is("eio")) return fails(EIO);
  if (is("short") && len > 1) return next(fd, bytes, len / 2);
  if (is("lies")) return next(fd, bytes, len / 2) < 0 ? -1 : (ssize_t)len;
  return next(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int num) {
  static ssize_t (*next)(int, const struct iovec *, int);
  if (!next) next = (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
  /* As one write after the other, of which the first may be all. */
  return is_below(fd) && num > 0 ? write(fd, parts[0].iov_base, parts[0].iov_len) : next(fd, parts, num);
}

int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return breaks(is_below(fd)) ? fails(EIO) : next(fd);
}

int rename(const char *from, const char *to) {
  static int (*next)(const char *, const char *);
  if (!next) next = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  return breaks(matches(to)) ? fails(EIO) : next(from, to);
}

int mkdir(const char *path, mode_t mode) {
  static int (*next)(const char *, mode_t);
  if (!next) next = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir");
  return breaks(matches(path)) ? fails(EIO) : next(path, mode);
}

int unlinkat(int dir, const char *name, int flags) {
  static int (*next)(int, const char *, int);
  if (!next) next = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
  return breaks(is_below(dir)) ? fails(EIO) : next(dir, name, flags);
}
