/*
 * Provisioning: what a room should be in the upstream database, what it is, and the
 * statements that lead from one to the other. Only proxy/app includes this; libpq's
 * one user.
 */
#ifndef PV_PROVISION_H
#define PV_PROVISION_H

#include "policy/policy.h"
#include "policy/views.h"
#include "proxy/audit/store.h"
#include "proxy/base/arena.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

#include <libpq-fe.h>

/* One statement to run; `shown` is for people, with secrets left out. */
struct pv_step {
    const char *sql;
    const char *shown;
};

/* One room's provisioning. Everything in the arena; `words` says what went wrong. */
struct pv_provision {
    struct pv_arena *arena;
    PGconn *conn;
    const struct pv_room *room;
    struct pv_store *store; /* NULL: --plan without a state file */
    bool is_plan;
    const char *words;

    char owner[PV_VIEWS_NAME_SIZE], login[PV_VIEWS_NAME_SIZE];
    const char *database; /* its real name */
    const char *hmac_schema;
    bool is_superuser;
    bool is_owner_member; /* the provisioning user may act as the owner role already */

    struct pv_step *steps;
    size_t step_count, step_size;
    bool is_lent;   /* the steps so far grant the owner role to the provisioning user */
    bool is_acting; /* and leave the session acting as it */
};

/* ---- provision_db.c ---- */

/*
 * Connects as the upstream's provisioning user, to the first of its hosts that answers; is_writing: that takes writes,
 * whatever the upstream's target_session_attrs say. NULL with words (in the arena) when it cannot.
 */
PGconn *pv_provision_connect(struct pv_arena *arena, const struct pv_upstream *upstream, bool is_writing,
                             const char **words);
/*
 * Says where the database lets everybody do what a clean room should not: PUBLIC may create temporary
 * tables, create in a schema, or read a source of the room; a provisioning user that is superuser. PV_IO: it could not be asked.
 */
enum pv_status pv_provision_warnings(PGconn *conn, const struct pv_room *room,
                                     void (*warn)(void *context, const char *words), void *context) PV_MUST_CHECK;
/* A query that gives rows, with text parameters. NULL with words. PQclear it. */
PGresult *pv_provision_query(struct pv_provision *p, const char *sql, size_t count, const char *const *values);
enum pv_status pv_provision_fail(struct pv_provision *p, enum pv_status status, const char *format, ...)
    PV_PRINTF(3, 4) PV_MUST_CHECK;
char *pv_provision_text(struct pv_provision *p, const PGresult *rows, int row, int column); /* copy; NULL: no memory or NULL */

/* ---- provision_source.c ---- */

/* Looks a data set's source up and grants the owner role what the view reads. */
enum pv_status pv_provision_source(struct pv_provision *p, const struct pv_dataset *dataset,
                                   struct pv_source *source) PV_MUST_CHECK;
/* Casts to the enums that the room's data sets show, one function a name (views.h: pv_views_type). */
enum pv_status pv_provision_types(struct pv_provision *p, struct pv_made **made, size_t *count) PV_MUST_CHECK;
/* Takes back what the owner role holds on relations and columns that the room no longer reads; with all, everything. */
enum pv_status pv_provision_revoke(struct pv_provision *p, bool is_all) PV_MUST_CHECK;

/* ---- provision_step.c ---- */

/* Takes and empties both buffers; shown may be NULL. as_owner: run as the owner role. */
enum pv_status pv_provision_step(struct pv_provision *p, bool as_owner, struct pv_buf *sql,
                                 struct pv_buf *shown) PV_MUST_CHECK;
/* The provisioning user needs to be a member of the owner role from here on; pv_provision_end takes that back. */
enum pv_status pv_provision_member(struct pv_provision *p) PV_MUST_CHECK;
enum pv_status pv_provision_end(struct pv_provision *p) PV_MUST_CHECK;

/* ---- provision_plan.c ---- */

enum pv_status pv_provision_objects(struct pv_provision *p, const struct pv_made *made, size_t count) PV_MUST_CHECK;
enum pv_status pv_provision_drop_objects(struct pv_provision *p) PV_MUST_CHECK;

/* ---- provision_role.c ---- */

enum pv_status pv_provision_roles(struct pv_provision *p) PV_MUST_CHECK;
enum pv_status pv_provision_secrets(struct pv_provision *p) PV_MUST_CHECK;
enum pv_status pv_provision_drop_roles(struct pv_provision *p) PV_MUST_CHECK;

#endif
