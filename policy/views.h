/*
 * A room inside the upstream database: the names of its roles, schemas, views and
 * helper functions, the SQL that makes them, and the identity that the row filters
 * read. Pure text; proxy/app/command_provision.c asks the database and runs it.
 *
 * `$` cannot stand in a room's name, so no two rooms share a name here; what would be
 * longer than 63 bytes is cut and ends in `~` and 16 hex digits of its SHA-256.
 */
#ifndef PV_VIEWS_H
#define PV_VIEWS_H

#include "policy/mask.h"
#include "policy/policy.h"
#include "proxy/base/bytes.h"

struct pv_arena;

#define PV_VIEWS_NAME_SIZE 64u /* with the NUL */

/* ---- names, unquoted ---- */

void pv_views_login_role(const char *room, char name[PV_VIEWS_NAME_SIZE]); /* carries the room's queries */
void pv_views_owner_role(const char *room, char name[PV_VIEWS_NAME_SIZE]);
void pv_views_schema(const char *room, const char *published, char name[PV_VIEWS_NAME_SIZE]);
void pv_views_private_schema(const char *room, char name[PV_VIEWS_NAME_SIZE]);
void pv_views_catalog_schema(const char *room, char name[PV_VIEWS_NAME_SIZE]); /* catalog views and helper functions */

/* Physical schema and name of a data set's view; `name` borrows from the data set. */
void pv_views_relation(const char *room, const struct pv_dataset *dataset, char schema[PV_VIEWS_NAME_SIZE],
                       const char **name);

/*
 * Helper functions in the catalog schema, by these names:
 *   pgveil_suppressed() boolean: false, after an INFO of SQLSTATE PV001 (PV_VIEWS_SUPPRESSED_SQLSTATE), which the
 *     session takes out of the stream;
 *   pgveil_row_guard(bigint) boolean: always fails with 54000, `more rows than the question allows`.
 * Both volatile, harmless by themselves, executable by the login role alone.
 */
#define PV_VIEWS_SUPPRESSED_FUNCTION "pgveil_suppressed"
#define PV_VIEWS_ROW_GUARD_FUNCTION "pgveil_row_guard"
#define PV_VIEWS_SUPPRESSED_SQLSTATE "PV001"
/* Likewise of an INFO that asks for a signal to another session (policy/catalog_functions.c, proxy/session/peers.c). */
#define PV_VIEWS_SIGNAL_SQLSTATE "PV002"

/*
 * In rooms with analysis rules: a value as one that makes no function, cast, sum or comparison fail, which would tell of
 * the row. Overloaded by type; a type that none of them takes is refused before any row is read.
 *   TAME         most types: a text is cut to 100,000 characters; numbers beyond 1e37 (numeric), 1e140 (float8), 1e28
 *                (float4) become infinite; dates beyond 4000 BC to 200,000 AD too; intervals beyond 100 years and money
 *                beyond 1,000,000,000 NULL;
 *   TAME_DATE    dates and timestamps, _MOMENT those and intervals;
 *   TAME_NUMBER  numbers; a float of less than 1e-28 becomes 0;
 *   TAME_FINITE  dates and timestamps as timestamps, what is out of bounds NULL;
 *   TAME_CLOCK   as _DATE, _HOUR as _MOMENT; a date becomes a timestamp;
 *   TAME_ABS     numbers that have an opposite: the least integer becomes the one after it.
 */
#define PV_VIEWS_TAME "pgveil_tame"
#define PV_VIEWS_TAME_DATE "pgveil_tame_date"
#define PV_VIEWS_TAME_MOMENT "pgveil_tame_moment"
#define PV_VIEWS_TAME_CLOCK "pgveil_tame_clock"
#define PV_VIEWS_TAME_HOUR "pgveil_tame_hour"
#define PV_VIEWS_TAME_NUMBER "pgveil_tame_number"
#define PV_VIEWS_TAME_FINITE "pgveil_tame_finite"
#define PV_VIEWS_TAME_ABS "pgveil_tame_abs"

/*
 * Likewise in such rooms, always true, written out as nothing; a type that none takes is refused before any row is read:
 *   COMPARES(x)   x's type is one whose comparisons fail for no value;
 *   JOINS(x, y)   neither becomes the other's type by a cast that could fail.
 */
bool pv_views_need_tame(const struct pv_room *room); /* has it analysis rules, and so these functions? */
#define PV_VIEWS_COMPARES "pgveil_compares"
#define PV_VIEWS_JOINS "pgveil_joins"

/*
 * A cast to an enum or a domain of the room's data sets, or to an array of one: PREFIX + its name [+ `[]`] (text), in the
 * catalog schema. No other function's name there begins so.
 * Casts to a type that the room does not have call a function that is not there (policy/own_type.c).
 */
#define PV_VIEWS_TYPE_FUNCTION "pgveil_cast_"
#define PV_VIEWS_TYPED_FUNCTION "pgveil_cast2_" /* of the type itself: what a parameter without a type takes its type from */
#define PV_VIEWS_LAYER_TYPES 2000u

/*
 * Appends the search_path of the room's server sessions, quoted, as SET and a startup packet take it:
 * pg_catalog, then the schemas of views (`public` first), then that of questions.
 */
void pv_views_search_path(const struct pv_room *room, struct pv_buf *buf);

/* ---- identity ---- */

/*
 * Where secrets of a room live in the store: scope is the room's name, names are these.
 * A secret shared by name lives under the scope PV_SECRET_SHARED_SCOPE and its own name.
 */
#define PV_SECRET_HASH "hash"            /* 32 bytes */
#define PV_SECRET_IDENTITY "identity"    /* 32 bytes */
#define PV_SECRET_PASSWORD "login"       /* 32 bytes as 64 hex digits: the login role's password */
#define PV_SECRET_SHARED_SCOPE "$shared" /* no room has such a name */
#define PV_SECRET_BYTES 32u

/*
 * Appends the statement that tells a server session on whose behalf it runs: two set_config calls, the
 * claims as JSON and their MAC under the room's identity key, bound to the server process. RESET ALL and DISCARD
 * ALL undo it: send it again after those, and before a pooled session serves another user. `user` is also what the
 * catalog's role views show. PV_NOMEM, PV_INVALID (a key of another length, a text that is not UTF-8).
 */
enum pv_status pv_identity_sql(const struct pv_room *room, const char *user, const struct pv_attribute *attributes,
                               size_t attribute_count, uint32_t server_pid, struct pv_slice key,
                               struct pv_buf *out) PV_MUST_CHECK;

/* ---- what provisioning makes ---- */

/* A source's column as found in the database. */
struct pv_source_column {
    const char *name;
    struct pv_column_type type;
};

/* The type that the database infers for an attribute of a row filter; of the element where it is a list. */
struct pv_attribute_type {
    const char *name; /* as format_type prints it, without a modifier */
    bool is_array;
    bool is_enum;
};

struct pv_source {
    const struct pv_source_column *columns;
    size_t column_count;
    const struct pv_attribute_type *attribute_types; /* by $n - 1 */
    size_t attribute_count;
};

enum pv_made_kind {
    PV_MADE_SCHEMA,
    PV_MADE_TABLE,
    PV_MADE_VIEW,
    PV_MADE_FUNCTION
};

/* One object of a room: made by `create`, as the owner role; told apart from its former self by `mark`. */
struct pv_made {
    enum pv_made_kind kind;
    const char *schema; /* physical */
    const char *name;   /* NULL for a schema; functions without arguments */
    const char *arguments; /* of a function: types, "" for none; else NULL */
    const char *create;
    const char *mark;   /* SHA-256 of what it is made of, as hex */
    unsigned layer;     /* an object rests on objects of lower layers only */
    bool is_readable;   /* the login role may SELECT or EXECUTE it (a schema: USAGE) */
};

/*
 * The row filter's SQL with attributes as $1, $2, …, for PREPARE to infer their types, and the source columns
 * that it reads. NULL texts when the data set has none. PV_SYNTAX, PV_INVALID with words in the arena.
 */
struct pv_row_filter {
    const char *sql;
    struct pv_names attributes;
    struct pv_names columns;
};
enum pv_status pv_views_row_filter(struct pv_arena *arena, const struct pv_dataset *dataset,
                                   struct pv_row_filter *filter, const char **words) PV_MUST_CHECK;

/* The view of one data set. PV_INVALID with words that name room, data set, column, type and what fits. */
enum pv_status pv_views_dataset(struct pv_arena *arena, const struct pv_room *room, const struct pv_dataset *dataset,
                                const struct pv_source *source, const struct pv_mask_context *context,
                                struct pv_made *made, const char **words) PV_MUST_CHECK;

/*
 * How a fixed question shows in the catalogs, in the schema of questions: a view when it has no required parameter,
 * else a function that returns a table. Shapes: columns and types as the question's own SQL gives them, never a
 * row. One or two objects a question (layers 50 to 99, resting on the data sets' views); an open one has none. PV_NOMEM.
 */
enum pv_status pv_views_questions(struct pv_arena *arena, const struct pv_room *room, struct pv_made **made,
                                  size_t *count) PV_MUST_CHECK;

/* Both functions of an enum, or of an array of it; `physical` as the database writes the type. PV_NOMEM. */
#define PV_VIEWS_TYPE_COUNT 2u
enum pv_status pv_views_type(struct pv_arena *arena, const struct pv_room *room, const char *type, bool is_array,
                             const char *physical, unsigned number,
                             struct pv_made made[PV_VIEWS_TYPE_COUNT]) PV_MUST_CHECK;

/* The private schema's and the helper functions' objects, in the order of making. PV_NOMEM. */
enum pv_status pv_views_private(struct pv_arena *arena, const struct pv_room *room,
                                const struct pv_mask_context *context, struct pv_made **made,
                                size_t *count) PV_MUST_CHECK;

/*
 * The private table secret(name, key, ipad, opad) holds each key under a label: these two, and `shared:NAME`.
 * Appends INSERT ... ON CONFLICT DO UPDATE for one key of PV_SECRET_BYTES; with is_hidden, *** stands in place of the
 * bytes, for showing.
 */
#define PV_KEY_LABEL_HASH "hash"
#define PV_KEY_LABEL_IDENTITY "identity"
#define PV_KEY_LABEL_SHARED "shared:"
void pv_views_secret_sql(struct pv_buf *buf, const char *room, const char *label, struct pv_slice key, bool is_hidden);

#endif
