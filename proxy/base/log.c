#include "proxy/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"DEBUG", "LOG", "WARNING", "ERROR"};
static _Atomic int least_level = PV_LOG_INFO;

void
pv_log_level_set(enum pv_log_level least)
{
    atomic_store(&least_level, (int) least);
}

void
pv_log(enum pv_log_level level, const char *format, ...)
{
    char line[2048];
    struct timespec now;
    struct tm parts;
    va_list args;
    int len;
    size_t used;

    if ((int) level < atomic_load(&least_level))
        return;
    (void) clock_gettime(CLOCK_REALTIME, &now);
    (void) gmtime_r(&now.tv_sec, &parts);
    used = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S", &parts);
    len = snprintf(line + used, sizeof(line) - used, ".%03ld UTC [%ld] %s: ", now.tv_nsec / 1000000, (long) getpid(),
                   level_names[level]);
    used += len > 0 ? (size_t) len : 0;
    va_start(args, format);
    len = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);
    if (len > 0)
        used += (size_t) len < sizeof(line) - used - 1 ? (size_t) len : sizeof(line) - used - 2;
    /* A peer's text in a line must not forge another line. */
    for (size_t i = 0; i < used; i++)
        if ((unsigned char) line[i] < 0x20)
            line[i] = ' ';
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0)
        return; /* standard error is gone; there is nowhere to say so */
}
