/*
 * Inside of an auditor's session, which auditor.c describes.
 */
#ifndef PV_AUDITOR_INT_H
#define PV_AUDITOR_INT_H

#include "proxy/audit/desk.h"
#include "proxy/audit/dialect.h"
#include "proxy/session/session_int.h"

/* A prepared statement or a portal. */
struct pv_auditor_item {
    struct pv_auditor_item *next;
    char *name;
    struct pv_arena *arena;
    struct pv_dialect *statement; /* NULL: empty */
    const uint32_t *oids;         /* prepared: as declared */
    size_t oid_count;
    struct pv_ask_parameter *parameters;
    size_t parameter_count;
    const uint16_t *formats;
    size_t format_count;
    struct pv_ask *answer; /* portal: its rows; prepared: its description */
    const struct pv_ask_column *promised; /* portal: what its statement's description told */
    size_t promised_count;
    size_t offset;
    uint64_t rows_left;
    bool is_done;
};

struct pv_auditor {
    const char **rooms;
    size_t room_count;
    struct pv_arena *rooms_arena;
    struct pv_auditor_item *statements, *portals;
    size_t name_count;
    struct pv_ask *ask; /* sent */
    bool is_answered;
    bool has_more;
    uint8_t status;
    /* The Query at hand. */
    struct pv_arena *query_arena;
    struct pv_dialect *query;
    size_t query_count, query_at;
    struct pv_auditor_item *query_item;
    /* The record at hand. */
    bool is_open, has_described_row;
    bool has_failed; /* an error was said since the Query or segment began */
    uint64_t run_id, rows, bytes;
    int64_t started_us;
};

/* ---- auditor.c: items ---- */
struct pv_auditor_item *pv_auditor_item_new(struct pv_slice name);
void pv_auditor_item_free(struct pv_auditor_item *item); /* NULL is fine */
/* Copies the text and reads it; PV_INVALID: more than one statement. */
enum pv_status pv_auditor_item_read(struct pv_auditor_item *item, struct pv_slice text);
struct pv_auditor_item *pv_auditor_item_find(struct pv_auditor_item *list, struct pv_slice name);
void pv_auditor_item_keep(struct pv_auditor *a, struct pv_auditor_item **list, struct pv_auditor_item *item);
void pv_auditor_item_drop(struct pv_auditor *a, struct pv_auditor_item **list, struct pv_slice name);
void pv_auditor_items_drop(struct pv_auditor *a, struct pv_auditor_item **list);

/* ---- auditor_run.c ---- */
/* True when the item's answer is there; false: stalled, or refused already. */
bool pv_auditor_answered(struct pv_session *s, struct pv_auditor_item *item, bool is_describing, bool is_extended,
                         enum pv_step *step);
/* Runs an item to its end or to the end of rows_left; what is sent first is the caller's. */
enum pv_step pv_auditor_run(struct pv_session *s, struct pv_auditor_item *item, bool is_extended);
/* True: the transaction has failed, and the statement was refused for that. */
bool pv_auditor_is_aborted(struct pv_session *s, const struct pv_dialect *statement, bool is_extended);
const char *pv_auditor_setting(struct pv_session *s, const char *name); /* NULL: unknown */

/* ---- auditor_trail.c: what the client and the log are told ---- */
/* Counts what was appended to the client's bytes since they were `before` long. */
void pv_auditor_wrote(struct pv_session *s, size_t before, enum pv_status status);
void pv_auditor_put_empty(struct pv_session *s, enum pv_server_tag tag);
void pv_auditor_put_description(struct pv_session *s, const struct pv_ask_column *columns, size_t count,
                                const struct pv_auditor_item *item);
/* A record of a statement that does not run; false: it cannot be written. */
bool pv_auditor_log_whole(struct pv_session *s, const struct pv_dialect *statement, bool is_extended,
                          const char *reason, const char *sqlstate);
bool pv_auditor_log_begin(struct pv_session *s, const struct pv_auditor_item *item, bool is_extended);
void pv_auditor_log_end(struct pv_session *s, enum pv_outcome outcome, const char *sqlstate);
void pv_auditor_refuse(struct pv_session *s, bool is_extended, const char *sqlstate, const char *message,
                       const char *hint);
void pv_auditor_refuse_unwritten(struct pv_session *s, bool is_extended);

#endif
