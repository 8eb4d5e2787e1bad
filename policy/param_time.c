#include "policy/param_int.h"

#include <string.h>
#include <strings.h>

#define US_PER_SECOND 1000000LL
#define US_PER_DAY (86400LL * US_PER_SECOND)
/* PostgreSQL keeps zone offsets below 16 hours. */
#define ZONE_HOURS_MAX 15

/* Days since 2000-01-01 in the proleptic Gregorian calendar; years start in March so that leap days come last. */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730425;
}

static void
date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t shifted = days + 730425;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;

    *day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    *month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

static int64_t
month_days(int64_t year, int64_t month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* Exactly `count` digits. */
static bool
take_number(const char **at, int count, int64_t *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool
take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool
take_date(const char **at, int64_t *days)
{
    int64_t year, month, day;

    if (!take_number(at, 4, &year) || !take_char(at, '-') || !take_number(at, 2, &month) || !take_char(at, '-') ||
        !take_number(at, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > month_days(year, month))
        return false;
    *days = days_of(year, month, day);
    return true;
}

/* Digits after the point, as microseconds; digits past the sixth must be zero. */
static bool
take_fraction(const char **at, int64_t *us)
{
    int64_t unit = US_PER_SECOND;

    *us = 0;
    if (!take_char(at, '.'))
        return true;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        unit /= 10;
        if (unit == 0 && **at != '0')
            return false;
        *us += unit * (**at - '0');
    }
    return true;
}

/* HH:MM[:SS[.f]]; 24:00:00 is the end of the day, as for PostgreSQL. */
static bool
take_clock(const char **at, int64_t *us)
{
    int64_t hour, minute, second = 0, fraction = 0;

    if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute))
        return false;
    if (take_char(at, ':') && (!take_number(at, 2, &second) || !take_fraction(at, &fraction)))
        return false;
    if (hour > 24 || minute > 59 || second > 59 || (hour == 24 && (minute != 0 || second != 0 || fraction != 0)))
        return false;
    *us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + fraction;
    return true;
}

/* Z, +HH, +HHMM, +HH:MM, +HH:MM:SS, with one space before it or none. */
static bool
take_zone(const char **at, bool *has_zone, int64_t *offset_us)
{
    int64_t hour, minute = 0, second = 0;
    bool is_west;

    *has_zone = false;
    *offset_us = 0;
    if (**at == '\0')
        return true;
    (void) take_char(at, ' ');
    *has_zone = true;
    if (take_char(at, 'Z') || take_char(at, 'z'))
        return true;
    is_west = **at == '-';
    if (!take_char(at, '-') && !take_char(at, '+'))
        return false;
    if (!take_number(at, 2, &hour))
        return false;
    if (take_char(at, ':')) {
        if (!take_number(at, 2, &minute) || (take_char(at, ':') && !take_number(at, 2, &second)))
            return false;
    } else if (**at != '\0' && !take_number(at, 2, &minute)) {
        return false;
    }
    if (hour > ZONE_HOURS_MAX || minute > 59 || second > 59)
        return false;
    *offset_us = ((hour * 60 + minute) * 60 + second) * US_PER_SECOND * (is_west ? -1 : 1);
    return true;
}

static bool
is_infinity(const char *text, int64_t *value)
{
    bool is_negative = *text == '-';

    if (strcasecmp(text + (*text == '-' || *text == '+' ? 1 : 0), "infinity") != 0)
        return false;
    *value = is_negative ? INT64_MIN : INT64_MAX;
    return true;
}

/* A date, then a clock, then a zone; drivers send all three for a plain date or timestamp, where PostgreSQL drops the zone. */
static enum pv_status
parse_moment(enum pv_param_kind kind, const char *at, int64_t *value)
{
    int64_t days, clock_us = 0, offset_us;
    bool has_zone;

    if (!take_date(&at, &days))
        return PV_INVALID;
    if ((*at == ' ' || *at == 'T' || *at == 't') && at[1] >= '0' && at[1] <= '9') {
        at++;
        if (!take_clock(&at, &clock_us))
            return PV_INVALID;
    }
    if (!take_zone(&at, &has_zone, &offset_us) || *at != '\0')
        return PV_INVALID;
    if (kind == PV_KIND_DATE) {
        if (clock_us != 0)
            return PV_INVALID;
        *value = days;
        return PV_OK;
    }
    if (kind == PV_KIND_TIMESTAMPTZ && !has_zone)
        return PV_INVALID;
    *value = days * US_PER_DAY + clock_us - (kind == PV_KIND_TIMESTAMPTZ ? offset_us : 0);
    return PV_OK;
}

static bool
is_in_range(enum pv_param_kind kind, int64_t value)
{
    int64_t first = days_of(1, 1, 1);
    int64_t end = days_of(10000, 1, 1);

    if (kind == PV_KIND_TIME)
        return value >= 0 && value <= US_PER_DAY;
    if (value == INT64_MIN || value == INT64_MAX)
        return true;
    if (kind == PV_KIND_DATE)
        return value >= first && value < end;
    return value >= first * US_PER_DAY && value < end * US_PER_DAY;
}

enum pv_status
pv_time_parse(enum pv_param_kind kind, const char *text, int64_t *value)
{
    const char *at = text + strspn(text, " \t\n\r\f\v");
    size_t len = strlen(at);
    char trimmed[64];
    int64_t parsed;
    enum pv_status status = PV_OK;

    while (len > 0 && strchr(" \t\n\r\f\v", at[len - 1]) != NULL)
        len--;
    if (len >= sizeof(trimmed))
        return PV_INVALID;
    memcpy(trimmed, at, len);
    trimmed[len] = '\0';
    at = trimmed;
    if (kind == PV_KIND_TIME)
        status = take_clock(&at, &parsed) && *at == '\0' ? PV_OK : PV_INVALID;
    else if (!is_infinity(at, &parsed))
        status = parse_moment(kind, at, &parsed);
    if (status != PV_OK)
        return status;
    if (!is_in_range(kind, parsed))
        return PV_INVALID;
    *value = parsed;
    return PV_OK;
}

/* HH:MM:SS with as many digits of the second as are needed. */
static char *
format_clock(struct pv_arena *arena, const char *before, int64_t us, const char *after)
{
    int64_t seconds = us / US_PER_SECOND;
    int64_t fraction = us % US_PER_SECOND;
    int digits = 6;

    if (fraction == 0)
        return pv_arena_printf(arena, "%s%02d:%02d:%02d%s", before, (int) (seconds / 3600),
                               (int) (seconds / 60 % 60), (int) (seconds % 60), after);
    for (; fraction % 10 == 0; digits--)
        fraction /= 10;
    return pv_arena_printf(arena, "%s%02d:%02d:%02d.%0*d%s", before, (int) (seconds / 3600),
                           (int) (seconds / 60 % 60), (int) (seconds % 60), digits, (int) fraction, after);
}

enum pv_status
pv_time_format(struct pv_arena *arena, enum pv_param_kind kind, int64_t value, const char **canonical)
{
    int64_t days, clock_us, year, month, day;
    char *date;
    char *text;

    if (!is_in_range(kind, value))
        return PV_INVALID;
    if (kind == PV_KIND_TIME) {
        text = format_clock(arena, "", value, "");
    } else if (value == INT64_MIN || value == INT64_MAX) {
        text = pv_arena_strdup(arena, value > 0 ? "infinity" : "-infinity");
    } else {
        days = kind == PV_KIND_DATE ? value : value / US_PER_DAY;
        clock_us = kind == PV_KIND_DATE ? 0 : value % US_PER_DAY;
        if (clock_us < 0) {
            clock_us += US_PER_DAY;
            days--;
        }
        date_of(days, &year, &month, &day);
        date = pv_arena_printf(arena, "%04d-%02d-%02d%s", (int) year, (int) month, (int) day,
                               kind == PV_KIND_DATE ? "" : " ");
        text = date == NULL || kind == PV_KIND_DATE
                   ? date
                   : format_clock(arena, date, clock_us, kind == PV_KIND_TIMESTAMPTZ ? "+00" : "");
    }
    if (text == NULL)
        return PV_NOMEM;
    *canonical = text;
    return PV_OK;
}
