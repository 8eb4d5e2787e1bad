/*
 * Preloaded into a process under test: the time of day is ahead of the machine's by the seconds that the file CLOCK_SHIFT
 * names holds (a 64-bit number in it, read through a mapping, so that a test sets the clock by writing the file). Clocks
 * that nobody can set are left alone, as they are when an administrator sets the clock.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *shift;

__attribute__((constructor)) static void
map_shift(void)
{
    const char *path = getenv("CLOCK_SHIFT");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);

    if (at != MAP_FAILED)
        shift = at;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = (int) syscall(SYS_clock_gettime, clock, now);

    if (rc == 0 && shift != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *shift;
    return rc;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec found;

    (void) zone;
    (void) clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t
time(time_t *to)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_REALTIME, &now);
    if (to != NULL)
        *to = now.tv_sec;
    return now.tv_sec;
}
