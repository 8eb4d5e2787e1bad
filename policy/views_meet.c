#include "policy/views_int.h"

#include "parser/sqltext.h"
#include "proxy/base/arena.h"

#include <string.h>

/*
 * Functions that give true for types whose values may meet (views.h). PostgreSQL writes them out in place, so nothing is
 * left of them where they fit, and where none fits the statement is refused before a row is read.
 */

/* Types that compare by operators of pg_catalog which no value makes fail; others that become these in silence with them. */
static const char *const comparables[] = {"text",
                                          "bytea",
                                          "smallint",
                                          "integer",
                                          "bigint",
                                          "numeric",
                                          "real",
                                          "double precision",
                                          "money",
                                          "boolean",
                                          "date",
                                          "timestamp without time zone",
                                          "timestamp with time zone",
                                          "time without time zone",
                                          "time with time zone",
                                          "interval",
                                          "uuid",
                                          "inet",
                                          "macaddr",
                                          "macaddr8",
                                          "bit varying",
                                          "jsonb",
                                          "oid",
                                          "pg_lsn",
                                          "tsvector",
                                          "tsquery",
                                          "anyenum"};

/* What is compared by its elements is as good as they are. */
static const struct {
    const char *type, *element;
} wholes[] = {{"anyarray", "$1[1]"}, {"anyrange", "lower($1)"}, {"anymultirange", "lower($1)"}};

/*
 * Types that join with one another, each with each of its row. Two of one type always do, and float with float needs no
 * row: there, a numeric would pass as one, and fail where it is too large.
 */
#define ROW_MAX 6
static const char *const joinables[][2][ROW_MAX] = {
    {{"smallint", "integer", "bigint", "numeric"}, {"smallint", "integer", "bigint"}},
    {{"smallint", "integer", "bigint"}, {"numeric", "real", "double precision"}},
    {{"real", "double precision"}, {"smallint", "integer", "bigint"}},
    {{"numeric"}, {"numeric"}},
    {{"date", "timestamp without time zone", "timestamp with time zone"},
     {"date", "timestamp without time zone", "timestamp with time zone"}},
    {{"text"}, {"text"}},
    {{"uuid"}, {"uuid"}},
    {{"bytea"}, {"bytea"}},
    {{"boolean"}, {"boolean"}},
    {{"inet"}, {"inet"}},
    {{"bit varying"}, {"bit varying"}},
    {{"anyelement"}, {"anyelement"}},
};

static size_t
row_length(const char *const row[ROW_MAX])
{
    size_t count = 0;

    while (count < ROW_MAX && row[count] != NULL)
        count++;
    return count;
}

size_t
pv_views_meet_count(void)
{
    size_t count = PV_COUNT_OF(comparables) + PV_COUNT_OF(wholes);

    for (size_t i = 0; i < PV_COUNT_OF(joinables); i++)
        count += row_length(joinables[i][0]) * row_length(joinables[i][1]);
    return count;
}

/* A function of these argument types; its body asks for the element's type, or says true. */
static enum pv_status
make_one(struct pv_arena *arena, struct pv_made *made, const char *schema, const char *name, const char *arguments,
         const char *element)
{
    struct pv_buf sql = {0}, body = {0};

    *made = (struct pv_made) {.kind = PV_MADE_FUNCTION, .schema = schema, .layer = 2, .is_readable = true, .name = name,
                              .arguments = arguments};
    pv_buf_put_text(&sql, "CREATE FUNCTION ");
    pv_sql_quote_qualified(&sql, schema, name);
    pv_buf_printf(&sql, "(%s) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE ", arguments);
    if (strncmp(arguments, "any", 3) != 0) {
        pv_buf_put_text(&sql, "RETURN true");
        return pv_made_finish(arena, made, &sql);
    }
    /* A function of any type has its body as text. */
    pv_buf_put_text(&body, "SELECT ");
    if (element != NULL) {
        pv_sql_quote_qualified(&body, schema, name);
        pv_buf_printf(&body, "(%s)", element);
    } else {
        pv_buf_put_text(&body, "true");
    }
    pv_buf_put_text(&sql, "AS ");
    if (pv_buf_text(&body) == NULL)
        sql.failed = true;
    else
        pv_sql_quote_literal(&sql, pv_buf_text(&body));
    pv_buf_clear(&body);
    return pv_made_finish(arena, made, &sql);
}

static enum pv_status
make_joins(struct pv_arena *arena, const char *schema, struct pv_made *list)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < PV_COUNT_OF(joinables); i++)
        for (size_t l = 0; l < row_length(joinables[i][0]); l++)
            for (size_t r = 0; r < row_length(joinables[i][1]) && status == PV_OK; r++) {
                const char *arguments = pv_arena_printf(arena, "%s, %s", joinables[i][0][l], joinables[i][1][r]);

                status = arguments == NULL ? PV_NOMEM : make_one(arena, list++, schema, PV_VIEWS_JOINS, arguments, NULL);
            }
    return status;
}

enum pv_status
pv_views_make_meet(struct pv_arena *arena, const char *schema, struct pv_made *list)
{
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < PV_COUNT_OF(comparables) && status == PV_OK; i++)
        status = make_one(arena, list++, schema, PV_VIEWS_COMPARES, comparables[i], NULL);
    for (size_t i = 0; i < PV_COUNT_OF(wholes) && status == PV_OK; i++)
        status = make_one(arena, list++, schema, PV_VIEWS_COMPARES, wholes[i].type, wholes[i].element);
    return status == PV_OK ? make_joins(arena, schema, list) : status;
}
