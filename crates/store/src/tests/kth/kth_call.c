/* Makes the k-th system call of one name below one directory fail, once, and nothing else.
 *
 * Preloaded into the process under test. A seccomp filter traps the calls of the table below, whoever makes them (libc,
 * or a library that calls the kernel itself, which an interposed libc function would miss); the handler of SIGSYS carries
 * them out in their place, counts those that concern the directory, and at the k-th does what it was told. Tests only;
 * Linux on x86-64 only. docs/decisions/0014-kth-call-shim.md says why this and not libfiu.
 *
 *   KTH_DIRECTORY  the directory, absolute, without links
 *   KTH_REPORT     a file: "hit CALL PATH" when the call was made to fail; "slow PATH" when one is made to wait;
 *                  "calls CALL N" of every call at the end
 *   KTH_CALL       name of the call; without it all are counted and none fails
 *   KTH_NUMBER     k, from 1
 *   KTH_KIND       eio, enospc: not carried out; short: half of the bytes, no error; torn: the same, and
 *                  then the next write to that descriptor is not carried out, EIO; late: carried out, and EIO told
 *   KTH_SAYS       a file: a write to it acknowledges what was done until then. Where no call is chosen the report says
 *                  "unsynced PATH" of every anchor, journal or directory that was written and not synced by then, and of
 *                  every other file when a journal is deleted: what is in the journal alone would be lost
 *   KTH_DEAF       a sync that is made counts as none: the audit must see it
 *   KTH_SLOW       milliseconds that each later call of the chosen name on a list of tables (`vN`) waits before it is
 *                  carried out: a thread that writes it again is still at it when the process ends
 *   KTH_SECONDS    after so many the process ends by SIGALRM: it hung
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the k-th call shim knows the registers of Linux on x86-64 only"
#endif

/* The one place in the process from which a trapped call goes through. */
extern long kth_raw(long number, long a, long b, long c, long d, long e, long f);
extern char kth_raw_after[];
__asm__(".text\n"
        ".globl kth_raw\n.type kth_raw, @function\nkth_raw:\n"
        "  mov %rdi, %rax\n  mov %rsi, %rdi\n  mov %rdx, %rsi\n  mov %rcx, %rdx\n"
        "  mov %r8, %r10\n  mov %r9, %r8\n  mov 8(%rsp), %r9\n"
        "  syscall\n"
        ".globl kth_raw_after\nkth_raw_after:\n  ret\n");

/* FD: the first argument is a descriptor. PATH: a path. AT: a descriptor and a path. */
enum what { FD, PATH, AT, MAP };
static struct call {
    const char *name;
    int number;
    enum what what;
    int is_sized; /* the third argument is a count of bytes that may be cut short */
    long count;
} calls[] = {
    {"openat", SYS_openat, AT, 0, 0},        {"open", SYS_open, PATH, 0, 0},
    {"read", SYS_read, FD, 1, 0},            {"pread64", SYS_pread64, FD, 1, 0},
    {"readv", SYS_readv, FD, 0, 0},          {"write", SYS_write, FD, 1, 0},
    {"pwrite64", SYS_pwrite64, FD, 1, 0},    {"writev", SYS_writev, FD, 0, 0},
    {"fsync", SYS_fsync, FD, 0, 0},          {"fdatasync", SYS_fdatasync, FD, 0, 0},
    {"sync_file_range", SYS_sync_file_range, FD, 0, 0},
    {"ftruncate", SYS_ftruncate, FD, 0, 0},  {"fallocate", SYS_fallocate, FD, 0, 0},
    {"lseek", SYS_lseek, FD, 0, 0},          {"close", SYS_close, FD, 0, 0},
    {"flock", SYS_flock, FD, 0, 0},          {"fcntl", SYS_fcntl, FD, 0, 0},
    {"fstat", SYS_fstat, FD, 0, 0},          {"stat", SYS_stat, PATH, 0, 0},
    {"lstat", SYS_lstat, PATH, 0, 0},        {"newfstatat", SYS_newfstatat, AT, 0, 0},
    {"statx", SYS_statx, AT, 0, 0},          {"statfs", SYS_statfs, PATH, 0, 0},
    {"fstatfs", SYS_fstatfs, FD, 0, 0},      {"access", SYS_access, PATH, 0, 0},
    {"faccessat", SYS_faccessat, AT, 0, 0},  {"getdents64", SYS_getdents64, FD, 0, 0},
    {"rename", SYS_rename, PATH, 0, 0},      {"renameat", SYS_renameat, AT, 0, 0},
    {"renameat2", SYS_renameat2, AT, 0, 0},  {"unlink", SYS_unlink, PATH, 0, 0},
    {"unlinkat", SYS_unlinkat, AT, 0, 0},    {"mkdir", SYS_mkdir, PATH, 0, 0},
    {"mkdirat", SYS_mkdirat, AT, 0, 0},      {"rmdir", SYS_rmdir, PATH, 0, 0},
    {"copy_file_range", SYS_copy_file_range, FD, 0, 0},
    {"mmap", SYS_mmap, MAP, 0, 0},
};
#define CALLS ((int)(sizeof calls / sizeof calls[0]))

static const char *directory;
static size_t directory_length;
static const char *chosen;
static long chosen_number;
static enum { EIO_KIND, ENOSPC_KIND, SHORT_KIND, TORN_KIND, LATE_KIND } kind;
static int report = -1;
static long slow_milliseconds;
static int was_hit;
/* After a torn write: the descriptor whose next write fails. */
static int torn = -1;

static int is_below(const char *path) {
    return strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == '\0');
}

/* The path of a descriptor into `path`. No libc function that is not async-signal-safe from here on. */
static int path_of(long fd, char *path, size_t size) {
    char link[40] = "/proc/self/fd/", digits[20];
    int length = 14, count = 0;
    if (fd < 0) return 0;
    do digits[count++] = (char)('0' + fd % 10); while ((fd /= 10) > 0);
    while (count > 0) link[length++] = digits[--count];
    link[length] = '\0';
    long got = kth_raw(SYS_readlink, (long)link, (long)path, (long)size - 1, 0, 0, 0);
    if (got < 0) return 0;
    path[got] = '\0';
    return 1;
}

static int concerns(const struct call *call, const long *a, char *path, size_t size) {
    const char *given = NULL;
    long fd = a[0];
    switch (call->what) {
    case FD: break;
    case MAP: fd = (int)a[4]; break;
    case PATH: given = (const char *)a[0]; break;
    case AT: fd = (int)a[0]; given = (const char *)a[1]; break;
    }
    if (given != NULL && given[0] == '/') {
        strncpy(path, given, size - 1);
        path[size - 1] = '\0';
    } else if (given != NULL && call->what == PATH) {
        return 0;
    } else if (!path_of((int)fd, path, size)) {
        return 0;
    }
    /* No close of a directory fails on Linux, and Rust's library panics if it does. */
    struct stat found;
    if (call->number == SYS_close && kth_raw(SYS_fstat, fd, (long)&found, 0, 0, 0, 0) == 0 && S_ISDIR(found.st_mode)) {
        return 0;
    }
    return is_below(path);
}

static long carry_out(const struct call *call, const long *a, int fails) {
    long size = a[2];
    if (!fails) return kth_raw(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    switch (kind) {
    case EIO_KIND:
    case ENOSPC_KIND:
        /* The kernel closes a descriptor whatever it answers. */
        if (call->number == SYS_close) kth_raw(call->number, a[0], 0, 0, 0, 0, 0);
        return kind == EIO_KIND ? -EIO : -ENOSPC;
    case SHORT_KIND:
    case TORN_KIND:
        if (call->is_sized && size > 1) size /= 2;
        if (kind == TORN_KIND) torn = (int)a[0];
        return kth_raw(call->number, a[0], a[1], size, a[3], a[4], a[5]);
    case LATE_KIND: kth_raw(call->number, a[0], a[1], a[2], a[3], a[4], a[5]); return -EIO;
    }
    return -EIO;
}

/* What was written and is not synced yet, by path: the audit of a run in which no call is chosen. */
#define FILES 512
static struct file {
    char path[256];
    int is_directory;
    int was_written;
    int is_dirty;   /* written after its last sync */
    int is_unnamed; /* made or renamed after the last sync of the directory that names it */
} files[FILES];
static int file_count;
static char files_lock;
static const char *says;
static int is_deaf;

static void say(const char *text);

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

static struct file *file_of(const char *path) {
    static struct file spare;
    for (int at = 0; at < file_count; at++) {
        if (strcmp(files[at].path, path) == 0) return &files[at];
    }
    if (file_count == FILES || strlen(path) >= sizeof files[0].path) {
        say("unsynced: the audit has no room for "), say(path), say("\n");
        return &spare;
    }
    strcpy(files[file_count].path, path);
    return &files[file_count++];
}

/* The names in a directory are on the disk. */
static void name_all(const char *path) {
    size_t length = strlen(path);
    for (int at = 0; at < file_count; at++) {
        const char *name = files[at].path;
        if (strncmp(name, path, length) == 0 && name[length] == '/' && strchr(name + length + 1, '/') == NULL) {
            files[at].is_unnamed = 0;
        }
    }
}

/* Says what a power cut would lose: of the anchor, the journals and the directories on the way to them and to tables, or of
 * all other files, which a thread of the engine writes from what the journals have. */
static void tell(int is_log, const char *when) {
    for (int at = 0; at < file_count; at++) {
        const struct file *file = &files[at];
        /* keyspaces/N counts, since without it the journals' rows of it are left out; what is in it does not. */
        const char *keyspace = strstr(file->path, "/keyspaces/");
        int is_above = keyspace == NULL || strchr(keyspace + strlen("/keyspaces/"), '/') == NULL;
        int of_log = ends_with(file->path, ".jnl") || ends_with(file->path, "/anchor") ||
                     (file->is_directory && is_above);
        int is_lost = file->is_dirty || (file->is_unnamed && (file->is_directory || file->was_written));
        if (is_lost && of_log == is_log) {
            say("unsynced "), say(file->path), say(when), say("\n");
        }
    }
}

static int creates(const struct call *call, const long *a, const char *path) {
    struct stat found;
    int is_open = (call->number == SYS_openat && (a[2] & O_CREAT) != 0) || (call->number == SYS_open && (a[1] & O_CREAT) != 0);
    int is_made = is_open || call->number == SYS_mkdir || call->number == SYS_mkdirat;
    return is_made && kth_raw(SYS_stat, (long)path, (long)&found, 0, 0, 0, 0) < 0;
}

static void audit(const struct call *call, const long *a, const char *path, int is_new, long result) {
    if (result < 0) return;
    while (__atomic_test_and_set(&files_lock, __ATOMIC_ACQUIRE)) {}
    if (is_new) {
        struct file *made = file_of(path);
        made->is_unnamed = 1;
        made->is_directory = call->number == SYS_mkdir || call->number == SYS_mkdirat;
    }
    switch (call->number) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
        if (result > 0) file_of(path)->is_dirty = file_of(path)->was_written = 1;
        break;
    case SYS_fsync:
    case SYS_fdatasync:
        if (is_deaf) break;
        file_of(path)->is_dirty = 0;
        name_all(path);
        break;
    case SYS_rename:
    case SYS_renameat: {
        /* Whatever was at the new name is gone; what is there was written under the old one. */
        struct file *from = file_of(path), *to = file_of((const char *)a[call->number == SYS_rename ? 1 : 3]);
        to->is_dirty = from->is_dirty;
        to->was_written = from->was_written;
        to->is_directory = from->is_directory;
        to->is_unnamed = 1;
        from->is_dirty = from->was_written = from->is_unnamed = 0;
        break;
    }
    case SYS_unlink:
    case SYS_unlinkat: {
        struct file *gone = file_of(path);
        gone->is_dirty = gone->was_written = gone->is_unnamed = 0;
        if (ends_with(path, ".jnl")) tell(0, " when a journal is deleted");
        break;
    }
    default: break;
    }
    __atomic_clear(&files_lock, __ATOMIC_RELEASE);
}

static void audit_acknowledgement(const struct call *call, const long *a) {
    char path[1024];
    if (says == NULL || call->number != SYS_write || !path_of(a[0], path, sizeof path) || strcmp(path, says) != 0) return;
    while (__atomic_test_and_set(&files_lock, __ATOMIC_ACQUIRE)) {}
    tell(1, " when something is acknowledged");
    __atomic_clear(&files_lock, __ATOMIC_RELEASE);
}

static void say(const char *text) { kth_raw(SYS_write, report, (long)text, (long)strlen(text), 0, 0, 0); }

/* `v` and a number. */
static int is_list(const char *path) {
    const char *name = strrchr(path, '/');
    return name != NULL && name[1] == 'v' && name[2] >= '0' && name[2] <= '9';
}

static void on_trap(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    const long a[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    char path[1024];
    for (int at = 0; at < CALLS; at++) {
        struct call *call = &calls[at];
        if (call->number != info->si_syscall) continue;
        int fails = 0;
        if (chosen == NULL) {
            int is_ours = concerns(call, a, path, sizeof path);
            if (is_ours) __atomic_add_fetch(&call->count, 1, __ATOMIC_SEQ_CST);
            int is_new = is_ours && creates(call, a, path);
            if (!is_ours) audit_acknowledgement(call, a);
            r[REG_RAX] = carry_out(call, a, 0);
            if (is_ours) audit(call, a, path, is_new, r[REG_RAX]);
            return;
        }
        path[0] = '\0';
        if (concerns(call, a, path, sizeof path)) {
            long count = __atomic_add_fetch(&call->count, 1, __ATOMIC_SEQ_CST);
            fails = strcmp(chosen, call->name) == 0 && count == chosen_number;
        }
        if (was_hit && slow_milliseconds > 0 && is_list(path)) {
            say("slow "), say(path), say("\n");
            struct timespec wait = {slow_milliseconds / 1000, slow_milliseconds % 1000 * 1000000};
            kth_raw(SYS_nanosleep, (long)&wait, 0, 0, 0, 0, 0);
        }
        if (fails) {
            was_hit = 1;
            say("hit "), say(call->name), say(" "), say(path), say("\n");
        }
        int is_write = call->number == SYS_write || call->number == SYS_pwrite64;
        if (!fails && is_write && torn == (int)a[0]) {
            torn = -1;
            r[REG_RAX] = -EIO;
            return;
        }
        r[REG_RAX] = carry_out(call, a, fails);
        return;
    }
}

static void filter(void) {
    struct sock_filter code[3 * CALLS + 16];
    int length = 0;
    uint64_t after = (uint64_t)(uintptr_t)kth_raw_after;
    const int number = offsetof(struct seccomp_data, nr);
    const int pointer = offsetof(struct seccomp_data, instruction_pointer);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer);
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)after, 0, 3);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer + 4);
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(after >> 32), 0, 1);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number);
    for (int at = 0; at < CALLS; at++) {
        if (chosen != NULL && strcmp(chosen, calls[at].name) != 0) continue;
        code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[at].number, 0, 1);
        code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    }
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = (unsigned short)length, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("kth_call: no seccomp filter");
        _exit(90);
    }
}

__attribute__((constructor)) static void begin(void) {
    directory = getenv("KTH_DIRECTORY");
    if (directory == NULL) return;
    directory_length = strlen(directory);
    chosen = getenv("KTH_CALL");
    const char *text = getenv("KTH_NUMBER");
    chosen_number = text == NULL ? 0 : atol(text);
    if ((text = getenv("KTH_SLOW")) != NULL) slow_milliseconds = atol(text);
    if ((text = getenv("KTH_KIND")) != NULL) {
        kind = strcmp(text, "eio") == 0      ? EIO_KIND
               : strcmp(text, "enospc") == 0 ? ENOSPC_KIND
               : strcmp(text, "short") == 0  ? SHORT_KIND
               : strcmp(text, "torn") == 0   ? TORN_KIND
                                             : LATE_KIND;
    }
    says = getenv("KTH_SAYS");
    is_deaf = getenv("KTH_DEAF") != NULL;
    if ((text = getenv("KTH_REPORT")) != NULL) {
        report = open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (report < 0) {
        perror("kth_call: KTH_REPORT");
        _exit(90);
    }
    if ((text = getenv("KTH_SECONDS")) != NULL) alarm((unsigned)atoi(text));
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGSYS, &action, NULL);
    filter();
}

__attribute__((destructor)) static void end(void) {
    char line[80];
    if (report < 0) return;
    for (int at = 0; at < CALLS; at++) {
        if (calls[at].count == 0) continue;
        snprintf(line, sizeof line, "calls %s %ld\n", calls[at].name, calls[at].count);
        say(line);
    }
}
