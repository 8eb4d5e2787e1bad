/*
 * PostgreSQL's spelling into SQLite's, for auditors. The query log is answered by SQLite itself, from the file that
 * holds it: always exact, no second copy that could lag behind or be forgotten by retention. So SQL is what SQLite
 * takes, plus what this file turns into it, token by token: $1, casts (x::text, CAST(x AS date)), ILIKE, ~, E'', $$ $$,
 * DATE '...', + and - INTERVAL '...', EXTRACT, CURRENT_USER and its like, pg_catalog., public. and information_schema.
 * before a name. What would mean something else in SQLite than in PostgreSQL is refused, never guessed.
 */
#ifndef PV_DIALECT_H
#define PV_DIALECT_H

#include "proxy/base/arena.h"
#include "proxy/base/base.h"

enum pv_dialect_kind {
    PV_DIALECT_EMPTY,
    PV_DIALECT_QUERY,
    PV_DIALECT_BEGIN,
    PV_DIALECT_COMMIT,
    PV_DIALECT_ROLLBACK,
    PV_DIALECT_ROLLBACK_TO,
    PV_DIALECT_SAVEPOINT,
    PV_DIALECT_RELEASE,
    PV_DIALECT_SET,
    PV_DIALECT_RESET,
    PV_DIALECT_SHOW,
    PV_DIALECT_DISCARD,
    PV_DIALECT_DEALLOCATE,
    PV_DIALECT_OTHER, /* nothing that an auditor may send */
};

struct pv_dialect {
    enum pv_dialect_kind kind;
    struct pv_slice text;   /* of the statement, as it came */
    const char *sql;        /* QUERY: for SQLite */
    const char *name;       /* SET, RESET, SHOW, DEALLOCATE: lower case; NULL: ALL or none */
    const char *value;      /* SET: as written, quotes taken off */
    size_t parameter_count; /* highest $n */
    bool has_catalog;       /* names pg_* or information_schema */
    const char *sqlstate;   /* not NULL: refused, with words */
    const char *message, *hint;
};

/* The statements of a text, empty ones left out, into the arena. PV_NOMEM, PV_LIMIT; a fault stands in its statement. */
enum pv_status pv_dialect_read(struct pv_arena *arena, struct pv_slice text, struct pv_dialect **statements,
                               size_t *count) PV_MUST_CHECK;

#endif
