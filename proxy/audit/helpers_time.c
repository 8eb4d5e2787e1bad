/* Functions on times, under PostgreSQL's names, and the collation by which times compare. */
#include "proxy/audit/helpers_int.h"

#include "proxy/audit/record.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DAY_US (86400 * INT64_C(1000000))

/* ---- Reading and giving ---- */

static void
give_time(sqlite3_context *context, int64_t at_us)
{
    char text[PV_RECORD_TIME_SIZE];

    pv_record_time_format(at_us, text);
    pv_helper_give_text(context, text);
}

/* RFC 3339, or as PostgreSQL writes it: a blank for the T, no zone (UTC), a zone of hours alone. */
static bool
read_time(const char *text, int64_t *at_us)
{
    char copy[48];
    size_t len = strlen(text);
    char *zone;

    if (len + 7 > sizeof(copy))
        return false;
    memcpy(copy, text, len + 1);
    if (len > 10 && copy[10] == ' ')
        copy[10] = 'T';
    if (len <= 10)
        return pv_record_time_parse(copy, at_us) == PV_OK;
    if (len == 16) { /* no seconds */
        memcpy(copy + 16, ":00", 4);
        len = 19;
    }
    zone = strpbrk(copy + 11, "Zz+-");
    if (zone == NULL)
        memcpy(copy + len, "Z", 2);
    else if ((*zone == '+' || *zone == '-') && strlen(zone) == 3)
        memcpy(zone + 3, ":00", 4);
    return pv_record_time_parse(copy, at_us) == PV_OK;
}

static bool
time_of(sqlite3_context *context, sqlite3_value *value, int64_t *at_us)
{
    if (read_time(pv_helper_text(value), at_us))
        return true;
    pv_helper_give_fault(context, "timestamp with time zone", pv_helper_text(value));
    return false;
}

/* ---- Functions ---- */

void
pv_helper_now(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void) count;
    (void) values;
    give_time(context, pv_record_now_us());
}

void
pv_helper_timestamp(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t at_us;

    if (!pv_helper_has_null(context, count, values) && time_of(context, values[0], &at_us))
        give_time(context, at_us);
}

void
pv_helper_date(sqlite3_context *context, int count, sqlite3_value **values)
{
    char text[PV_RECORD_TIME_SIZE];
    int64_t at_us;

    if (pv_helper_has_null(context, count, values) || !time_of(context, values[0], &at_us))
        return;
    pv_record_time_format(at_us, text);
    text[10] = '\0';
    pv_helper_give_text(context, text);
}

static struct tm
parts_of(int64_t at_us)
{
    time_t seconds = (time_t) (at_us / 1000000);
    struct tm parts;

    memset(&parts, 0, sizeof(parts));
    (void) gmtime_r(&seconds, &parts);
    return parts;
}

static int64_t
whole_days(struct tm *parts)
{
    parts->tm_hour = parts->tm_min = parts->tm_sec = 0;
    return (int64_t) timegm(parts) * 1000000;
}

void
pv_helper_date_trunc(sqlite3_context *context, int count, sqlite3_value **values)
{
    const char *unit;
    struct tm parts;
    int64_t at_us;

    if (pv_helper_has_null(context, count, values) || !time_of(context, values[1], &at_us))
        return;
    unit = pv_helper_text(values[0]);
    parts = parts_of(at_us);
    if (strcasecmp(unit, "second") == 0)
        at_us -= at_us % 1000000;
    else if (strcasecmp(unit, "minute") == 0)
        at_us -= at_us % 60000000;
    else if (strcasecmp(unit, "hour") == 0)
        at_us -= at_us % (INT64_C(3600) * 1000000);
    else if (strcasecmp(unit, "day") == 0)
        at_us -= at_us % DAY_US;
    else if (strcasecmp(unit, "week") == 0)
        at_us = whole_days(&parts) - ((parts.tm_wday + 6) % 7) * DAY_US;
    else if (strcasecmp(unit, "month") == 0 || strcasecmp(unit, "quarter") == 0 || strcasecmp(unit, "year") == 0) {
        if (unit[0] == 'q' || unit[0] == 'Q')
            parts.tm_mon -= parts.tm_mon % 3;
        else if (unit[0] == 'y' || unit[0] == 'Y')
            parts.tm_mon = 0;
        parts.tm_mday = 1;
        at_us = whole_days(&parts);
    } else {
        pv_helper_give_fault(context, "a unit of date_trunc", unit);
        return;
    }
    give_time(context, at_us);
}

void
pv_helper_date_part(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct tm parts;
    int64_t at_us;
    const char *unit;

    if (pv_helper_has_null(context, count, values) || !time_of(context, values[1], &at_us))
        return;
    unit = pv_helper_text(values[0]);
    parts = parts_of(at_us);
    if (strcasecmp(unit, "epoch") == 0 || strcasecmp(unit, "second") == 0) {
        int64_t us = strcasecmp(unit, "epoch") == 0 ? at_us : at_us % 60000000;

        sqlite3_result_double(context, (double) us / 1000000.0);
        return;
    }
    {
        const struct {
            const char *unit;
            int value;
        } rows[] = {
            {"year", parts.tm_year + 1900}, {"quarter", parts.tm_mon / 3 + 1}, {"month", parts.tm_mon + 1},
            {"day", parts.tm_mday},         {"hour", parts.tm_hour},           {"minute", parts.tm_min},
            {"dow", parts.tm_wday},         {"isodow", (parts.tm_wday + 6) % 7 + 1}, {"doy", parts.tm_yday + 1},
        };

        for (size_t i = 0; i < PV_COUNT_OF(rows); i++)
            if (strcasecmp(unit, rows[i].unit) == 0) {
                sqlite3_result_int(context, rows[i].value);
                return;
            }
    }
    pv_helper_give_fault(context, "a unit of date_part", unit);
}

static int64_t
add_months(int64_t at_us, int64_t months)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm parts = parts_of(at_us);
    int64_t rest = at_us % DAY_US;
    int64_t total = (int64_t) parts.tm_year * 12 + parts.tm_mon + months;
    int year, most;

    /* Beyond the times that a log can hold: before all of them, or behind. */
    if (total < 70 * 12)
        return 0;
    if (total > 8099 * 12)
        return INT64_C(253402300799999999);
    year = (int) (total / 12) + 1900;
    parts.tm_year = year - 1900;
    parts.tm_mon = (int) (total % 12);
    most = days[parts.tm_mon];
    if (parts.tm_mon == 1 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0))
        most = 29;
    if (parts.tm_mday > most)
        parts.tm_mday = most;
    return whole_days(&parts) + rest;
}

/* `7 days`, `1 hour 30 minutes`, `-1 month`, `02:30`. */
static bool
shift(int64_t *at_us, int64_t sign, const char *text)
{
    static const struct {
        const char *unit;
        int64_t us;
        int64_t months;
    } units[] = {
        {"microsecond", 1, 0}, {"millisecond", 1000, 0}, {"second", 1000000, 0}, {"sec", 1000000, 0},
        {"minute", 60000000, 0}, {"min", 60000000, 0}, {"hour", INT64_C(3600000000), 0}, {"h", INT64_C(3600000000), 0},
        {"day", DAY_US, 0}, {"d", DAY_US, 0}, {"week", 7 * DAY_US, 0}, {"month", 0, 1}, {"mon", 0, 1}, {"year", 0, 12},
    };
    bool is_any = false;

    for (;;) {
        char unit[16];
        char *end;
        long number;
        size_t len = 0, k;

        while (*text == ' ')
            text++;
        if (*text == '\0')
            return is_any;
        number = strtol(text, &end, 10);
        if (end == text || number > 1000000 || number < -1000000)
            return false;
        text = end;
        while (*text == ' ')
            text++;
        while (isalpha((unsigned char) *text) != 0 && len + 1 < sizeof(unit))
            unit[len++] = (char) tolower((unsigned char) *text++);
        unit[len] = '\0';
        if (len > 3 && unit[len - 1] == 's')
            unit[len - 1] = '\0';
        for (k = 0; k < PV_COUNT_OF(units) && strcmp(units[k].unit, unit) != 0; k++)
            ;
        if (k == PV_COUNT_OF(units))
            return false;
        *at_us = units[k].months == 0 ? *at_us + sign * number * units[k].us
                                      : add_months(*at_us, sign * number * units[k].months);
        is_any = true;
    }
}

void
pv_helper_shift(sqlite3_context *context, int count, sqlite3_value **values)
{
    int64_t at_us;

    if (pv_helper_has_null(context, count, values) || !time_of(context, values[0], &at_us))
        return;
    if (shift(&at_us, sqlite3_value_int64(values[1]), pv_helper_text(values[2])))
        give_time(context, at_us < 0 ? 0 : at_us);
    else
        pv_helper_give_fault(context, "interval", pv_helper_text(values[2]));
}

/* A time compares with whatever spells a time; other texts by their bytes, after all times. */
int
pv_helper_compare_times(void *context, int len_a, const void *a, int len_b, const void *b)
{
    char text_a[41], text_b[41];
    int64_t at_a = 0, at_b = 0;
    bool is_a = false, is_b = false;
    int order;

    (void) context;
    if (len_a > 0 && len_a < 41) {
        memcpy(text_a, a, (size_t) len_a);
        text_a[len_a] = '\0';
        is_a = read_time(text_a, &at_a);
    }
    if (len_b > 0 && len_b < 41) {
        memcpy(text_b, b, (size_t) len_b);
        text_b[len_b] = '\0';
        is_b = read_time(text_b, &at_b);
    }
    if (is_a && is_b)
        return at_a < at_b ? -1 : at_a > at_b;
    if (is_a != is_b)
        return is_a ? -1 : 1;
    order = memcmp(a, b, (size_t) (len_a < len_b ? len_a : len_b));
    return order != 0 ? order : len_a - len_b;
}
