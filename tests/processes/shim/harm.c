/* Preloaded into a node by tests/processes/shim.rs: its syncs take longer or wait, and its wall clock is another one. The
 * file that QUORATE_TEST_HARM names is mapped, and read at each call: the test changes it while the node runs.
 *
 * Every sync of the store is a call of libc's fsync or fdatasync (crates/store/src/tests/kth/kth_call.c would see others), and
 * so is every look at the wall clock; the test counts the calls, so that it fails if one day they are made otherwise.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct control {
    uint64_t sync_ms;  /* how long each sync takes at least */
    uint64_t stalled;  /* while it is not 0, no sync ends */
    int64_t ahead_s;   /* added to the wall clock */
    uint64_t deaf;     /* while it is not 0, a sync does nothing and says that it has */
    uint64_t syncs;    /* written here: syncs that have ended */
    uint64_t waiting;  /* written here: syncs that wait because of stalled */
    uint64_t looks;    /* written here: looks at the wall clock */
};

static volatile struct control *control;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("QUORATE_TEST_HARM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) _exit(91);
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) _exit(91);
    control = mapped;
}

static void pause_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

/* Before the real one: what was not synced yet is not on the disk yet. */
static void late(void) {
    if (control->sync_ms) pause_ms(control->sync_ms);
    if (!control->stalled) return;
    __atomic_add_fetch(&control->waiting, 1, __ATOMIC_SEQ_CST);
    while (control->stalled) pause_ms(5);
    __atomic_sub_fetch(&control->waiting, 1, __ATOMIC_SEQ_CST);
}

int fsync(int file) {
    late();
    int result = control->deaf ? 0 : real_fsync(file);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    return result;
}

int fdatasync(int file) {
    late();
    int result = control->deaf ? 0 : real_fdatasync(file);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime) real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && control) {
        now->tv_sec += control->ahead_s;
        __atomic_add_fetch(&control->looks, 1, __ATOMIC_SEQ_CST);
    }
    return result;
}
