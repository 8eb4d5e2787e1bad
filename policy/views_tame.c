#include "policy/views_int.h"

#include "parser/sqltext.h"
#include "proxy/base/arena.h"

/*
 * Functions that make any value one that fails nothing (views.h). One expression each and of standard bodies, so that
 * PostgreSQL writes them out in place. Types that stand in no row are refused by the name of the function: arrays and
 * json among them, a short one of which can be written out as a text without end.
 */

/* The dates that may be truncated, moved by an interval and turned into one another's types. */
#define WITHIN(type, name, low, high)                                                                                 \
    "CASE WHEN $1 BETWEEN " type " '4000-01-01" low " BC' AND " type " '200000-01-01" high "' THEN " name             \
    " WHEN $1 < " type " '4000-01-01" low " BC' THEN '-infinity' WHEN $1 > " type " '200000-01-01" high               \
    "' THEN 'infinity' ELSE " name " END"
#define DATE_WITHIN WITHIN("date", "$1", "", "")
#define TIMESTAMP_WITHIN WITHIN("timestamp", "$1", "", "")
#define TIMESTAMPTZ_WITHIN WITHIN("timestamptz", "$1", " 00:00+00", " 00:00+00")
#define DATE_AS_TIMESTAMP WITHIN("date", "$1::timestamp", "", "")

/* Intervals whose sum over millions of rows is one. */
#define INTERVAL_WITHIN                                                                                               \
    "CASE WHEN extract(year FROM $1) BETWEEN -100 AND 100 AND extract(day FROM $1) BETWEEN -36525 AND 36525 AND "     \
    "extract(hour FROM $1) BETWEEN -876600 AND 876600 THEN $1 END"

/* Numbers that any number's type holds, and so do their sum and the sum of their squares. */
#define NUMERIC_WITHIN                                                                                                \
    "CASE WHEN $1 BETWEEN -1e37 AND 1e37 THEN CASE WHEN scale($1) <= 37 THEN $1 ELSE round($1, 37) END "              \
    "WHEN $1 < -1e37 THEN '-Infinity' WHEN $1 > 1e37 AND $1 <> 'NaN' THEN 'Infinity' ELSE $1 END"
#define FLOAT_WITHIN(type, most)                                                                                      \
    "CASE WHEN $1 BETWEEN -" most "::" type " AND " most "::" type " THEN $1 WHEN $1 < -" most "::" type              \
    " THEN '-Infinity' WHEN $1 > " most "::" type " AND $1 <> 'NaN' THEN 'Infinity' ELSE $1 END"

#define TINY_IS_ZERO "CASE WHEN $1 BETWEEN -1e-28 AND 1e-28 THEN 0 ELSE "
#define FINITE(type, name, zone)                                                                                      \
    "CASE WHEN $1 BETWEEN " type " '4000-01-01" zone " BC' AND " type " '200000-01-01" zone "' THEN " name " END"

#define TIMESTAMP "timestamp without time zone"
#define TIMESTAMPTZ "timestamp with time zone"

static const struct tame {
    const char *name, *type, *result, *value; /* result NULL: the type */
} tames[] = {
    {PV_VIEWS_TAME, "text", NULL, "left($1, 100000)"},
    {PV_VIEWS_TAME, "bytea", NULL, "substring($1, 1, 100000)"},
    {PV_VIEWS_TAME, "numeric", NULL, NUMERIC_WITHIN},
    {PV_VIEWS_TAME, "double precision", NULL, FLOAT_WITHIN("float8", "1e140")},
    {PV_VIEWS_TAME, "real", NULL, FLOAT_WITHIN("float4", "1e28")},
    {PV_VIEWS_TAME, "date", NULL, DATE_WITHIN},
    {PV_VIEWS_TAME, TIMESTAMP, NULL, TIMESTAMP_WITHIN},
    {PV_VIEWS_TAME, TIMESTAMPTZ, NULL, TIMESTAMPTZ_WITHIN},
    {PV_VIEWS_TAME, "interval", NULL, INTERVAL_WITHIN},
    {PV_VIEWS_TAME, "smallint", NULL, "$1"},
    {PV_VIEWS_TAME, "integer", NULL, "$1"},
    {PV_VIEWS_TAME, "bigint", NULL, "$1"},
    {PV_VIEWS_TAME, "money", NULL, "CASE WHEN $1 BETWEEN (-1000000000)::money AND 1000000000::money THEN $1 END"},
    {PV_VIEWS_TAME, "boolean", NULL, "$1"},
    {PV_VIEWS_TAME, "time without time zone", NULL, "$1"},
    {PV_VIEWS_TAME, "time with time zone", NULL, "$1"},
    {PV_VIEWS_TAME, "uuid", NULL, "$1"},
    {PV_VIEWS_TAME, "inet", NULL, "$1"},
    {PV_VIEWS_TAME, "cidr", NULL, "$1"},
    {PV_VIEWS_TAME, "macaddr", NULL, "$1"},
    /* Left as it is, it would become a macaddr beside one, which has no place for the longer ones. */
    {PV_VIEWS_TAME, "macaddr8", "text", "$1::text"},
    {PV_VIEWS_TAME, "anyenum", NULL, NULL},
    {PV_VIEWS_TAME, "anyrange", NULL, NULL},
    {PV_VIEWS_TAME_NUMBER, "smallint", NULL, "$1"},
    {PV_VIEWS_TAME_NUMBER, "integer", NULL, "$1"},
    {PV_VIEWS_TAME_NUMBER, "bigint", NULL, "$1"},
    {PV_VIEWS_TAME_NUMBER, "numeric", NULL, NUMERIC_WITHIN},
    {PV_VIEWS_TAME_NUMBER, "double precision", NULL, TINY_IS_ZERO FLOAT_WITHIN("float8", "1e140") " END"},
    {PV_VIEWS_TAME_NUMBER, "real", NULL, TINY_IS_ZERO FLOAT_WITHIN("float4", "1e28") " END"},
    {PV_VIEWS_TAME_FINITE, "date", TIMESTAMP, FINITE("date", "$1::timestamp", "")},
    {PV_VIEWS_TAME_FINITE, TIMESTAMP, NULL, FINITE("timestamp", "$1", "")},
    {PV_VIEWS_TAME_FINITE, TIMESTAMPTZ, NULL, FINITE("timestamptz", "$1", " 00:00+00")},
    {PV_VIEWS_TAME_DATE, "date", NULL, DATE_WITHIN},
    {PV_VIEWS_TAME_DATE, TIMESTAMP, NULL, TIMESTAMP_WITHIN},
    {PV_VIEWS_TAME_DATE, TIMESTAMPTZ, NULL, TIMESTAMPTZ_WITHIN},
    {PV_VIEWS_TAME_MOMENT, "date", NULL, DATE_WITHIN},
    {PV_VIEWS_TAME_MOMENT, TIMESTAMP, NULL, TIMESTAMP_WITHIN},
    {PV_VIEWS_TAME_MOMENT, TIMESTAMPTZ, NULL, TIMESTAMPTZ_WITHIN},
    {PV_VIEWS_TAME_MOMENT, "interval", NULL, "$1"},
    {PV_VIEWS_TAME_CLOCK, "date", TIMESTAMP, DATE_AS_TIMESTAMP},
    {PV_VIEWS_TAME_CLOCK, TIMESTAMP, NULL, TIMESTAMP_WITHIN},
    {PV_VIEWS_TAME_CLOCK, TIMESTAMPTZ, NULL, TIMESTAMPTZ_WITHIN},
    {PV_VIEWS_TAME_HOUR, "date", TIMESTAMP, DATE_AS_TIMESTAMP},
    {PV_VIEWS_TAME_HOUR, TIMESTAMP, NULL, TIMESTAMP_WITHIN},
    {PV_VIEWS_TAME_HOUR, TIMESTAMPTZ, NULL, TIMESTAMPTZ_WITHIN},
    {PV_VIEWS_TAME_HOUR, "interval", NULL, "$1"},
    /* The least integer has no opposite. */
    {PV_VIEWS_TAME_ABS, "smallint", NULL, "greatest($1, -32767::smallint)"},
    {PV_VIEWS_TAME_ABS, "integer", NULL, "greatest($1, -2147483647)"},
    {PV_VIEWS_TAME_ABS, "bigint", NULL, "greatest($1, -9223372036854775807)"},
    {PV_VIEWS_TAME_ABS, "numeric", NULL, "$1"},
    {PV_VIEWS_TAME_ABS, "double precision", NULL, "$1"},
    {PV_VIEWS_TAME_ABS, "real", NULL, "$1"},
};

bool
pv_views_need_tame(const struct pv_room *room)
{
    for (size_t i = 0; i < room->dataset_count; i++)
        if (room->datasets[i].rule != NULL)
            return true;
    return false;
}

size_t
pv_views_tame_count(void)
{
    return PV_COUNT_OF(tames);
}

enum pv_status
pv_views_make_tame(struct pv_arena *arena, const char *schema, struct pv_made *list)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < PV_COUNT_OF(tames) && status == PV_OK; i++) {
        const struct tame *tame = &tames[i];
        struct pv_buf sql = {0};

        list[i] = (struct pv_made) {.kind = PV_MADE_FUNCTION, .schema = schema, .layer = 2, .is_readable = true,
                                    .name = tame->name, .arguments = tame->type};
        pv_buf_put_text(&sql, "CREATE FUNCTION ");
        pv_sql_quote_qualified(&sql, schema, tame->name);
        pv_buf_printf(&sql, "(%s) RETURNS %s LANGUAGE sql IMMUTABLE PARALLEL SAFE ", tame->type,
                      tame->result == NULL ? tame->type : tame->result);
        /* A function of any type has its body as text, which has nothing to look up. */
        if (tame->value == NULL)
            pv_buf_put_text(&sql, "AS 'SELECT $1'");
        else
            pv_buf_printf(&sql, "RETURN %s", tame->value);
        status = pv_made_finish(arena, &list[i], &sql);
    }
    return status;
}
