/*
 * The judgement of a statement: may this member of this room send it, and what goes
 * to the database in its place. Pure: no database, no clock but the one passed in, no
 * I/O. Runs on any thread that parses; reads a snapshot, changes nothing in it.
 */
#ifndef PV_DECIDE_H
#define PV_DECIDE_H

#include "policy/policy.h"

struct pv_arena;
struct pv_budget_demand; /* policy/standing.h */
struct pv_cache; /* policy/cache.h */
struct pv_standing;
struct pv_repeat; /* policy/repeat.h */

/* What a statement is; what the session engine needs to keep in step with the server. */
#define PV_KIND_TABLE(X) \
    X(EMPTY) /* nothing but white space and comments */ \
    X(INVALID) /* does not parse */ \
    X(SELECT) \
    X(COPY_OUT) /* COPY (question) TO STDOUT */ \
    X(BEGIN) \
    X(COMMIT) \
    X(ROLLBACK) \
    X(SAVEPOINT) \
    X(RELEASE) \
    X(ROLLBACK_TO) \
    X(SET) \
    X(SET_LOCAL) \
    X(SET_TRANSACTION) \
    X(RESET) \
    X(RESET_ALL) \
    X(SHOW) \
    X(PREPARE) \
    X(EXECUTE) \
    X(DEALLOCATE) \
    X(DEALLOCATE_ALL) \
    X(DECLARE) \
    X(FETCH) \
    X(MOVE) \
    X(CLOSE) \
    X(CLOSE_ALL) \
    X(DISCARD_ALL) \
    X(DISCARD_OTHER) \
    X(LISTEN) \
    X(UNLISTEN) \
    X(EXPLAIN) \
    X(OTHER) /* always denied: writes, DDL, DO, CALL, ... */

enum pv_statement_kind {
#define PV_X(name) PV_KIND_##name,
    PV_KIND_TABLE(PV_X)
#undef PV_X
};

/*
 * Why: code, words for documents and the log's `reason`. The log holds `code: detail`.
 */
#define PV_REASON_TABLE(X) \
    X(ALLOWED, "allowed", "the statement is allowed") \
    X(SYNTAX, "syntax", "the text is not a statement that PostgreSQL parses") \
    X(TOO_LONG, "too_long", "the statement is longer than limits.query_bytes") \
    X(TOO_DEEP, "too_deep", "the statement is nested too deeply or has too many parts") \
    X(ENCODING, "encoding", "the text is not valid UTF-8") \
    X(STATEMENT_KIND, "statement_kind", "a clean room answers questions; this kind of statement is not one") \
    X(NO_RELATION, "no_relation", "the relation does not exist for the room") \
    X(NO_COLUMN, "no_column", "the column does not exist for the room") \
    X(AMBIGUOUS_COLUMN, "ambiguous_column", "the column reference is ambiguous") \
    X(NO_FUNCTION, "no_function", "the function does not exist for the room") \
    X(NOT_A_QUESTION, "not_a_question", "the statement is none of the room's approved questions") \
    X(NOT_ADMITTED, "not_admitted", "the question is not for this member") \
    X(FUNCTION, "function", "the function is not on the allow-list") \
    X(OPERATOR, "operator", "the operator is not on the allow-list") \
    X(TYPE, "type", "the type is not on the allow-list") \
    X(CLAUSE, "clause", "the clause is not allowed") \
    X(SETTING, "setting", "the setting is not one that a client may change") \
    X(PARAMETER, "parameter", "a parameter's value is out of its bounds") \
    X(PARAMETER_COUNT, "parameter_count", "a parameter is missing, unknown or given twice") \
    X(NO_PREPARED, "no_prepared", "the prepared statement does not exist") \
    X(EXPIRED, "expired", "the room has expired") \
    X(APPROVAL, "approval", "an approval is missing or stale") \
    X(CONSENT, "consent", "a party has withdrawn its consent") \
    X(NOT_RECEIVER, "not_receiver", "the result is not for this member") \
    X(BUDGET, "budget", "the access budget is spent") \
    X(BUDGET_SHARE, "budget_share", "this user's share of the access budget is spent") \
    X(RULE, "rule", "an analysis rule forbids it") \
    X(UNAVAILABLE, "unavailable", "this version does not offer it") \
    X(INTERNAL, "internal", "the decision could not be made")

enum pv_reason {
#define PV_X(name, code, words) PV_REASON_##name,
    PV_REASON_TABLE(PV_X)
#undef PV_X
};

const char *pv_reason_code(enum pv_reason reason);
const char *pv_reason_words(enum pv_reason reason);
const char *pv_statement_kind_name(enum pv_statement_kind kind);

/* A prepared statement's facts that EXECUTE needs, kept by the session. */
struct pv_prepared_facts {
    const struct pv_parameter *const *parameters; /* by $n - 1; NULL entries are unconstrained */
    const uint16_t *twins; /* as the decision's */
    size_t parameter_count;
    bool is_redacted;
    const struct pv_question *question;
    const char *forwarded;
    struct pv_names datasets, columns;
};

struct pv_trace;

/*
 * Asked beside a judgement of a text that was judged before: where in it stands what begins at `offset` in what was forwarded
 * for its statement number `index`.
 */
struct pv_place {
    const char *forwarded; /* as then; judged otherwise by now, nothing is found */
    size_t index;
    uint32_t offset; /* bytes */
    bool is_own;     /* parser/place.h */
    uint32_t position; /* 1-based character in the whole text; stays 0 where nothing is found */
};

/* A session of the caller's own, the one that asks among them. Texts are never NULL. */
struct pv_peer {
    uint64_t session;
    uint32_t pid; /* as its client knows it */
    const char *user, *application;
    const char *state; /* pg_stat_activity's words; static */
    const char *query; /* what runs; "": nothing does */
    int64_t started_us, query_us; /* 0: nothing runs */
};

struct pv_peers {
    const struct pv_peer *list;
    size_t count;
    uint64_t own; /* which of them asks */
};

struct pv_caller {
    const struct pv_policy *policy;
    const struct pv_room *room;
    const struct pv_member *member;
    const char *user;    /* the name that current_user shows */
    const char *login;   /* who logged in: another than `user` where a trusted service named that one; NULL: the same */
    const struct pv_attribute *attributes; /* of the user; for explain only */
    struct pv_names search_path; /* published schemas, in order; pg_catalog always comes first by itself */
    int64_t now_us;      /* microseconds since 1970-01-01 UTC */
    uint32_t backend_pid; /* as the client knows it, where that is not its server's; 0: it is */
    struct pv_peers peers; /* for decisions that are is_of_peers; none: not looked at yet */
    bool is_conformance; /* --conformance: every statement is answered */
    bool is_backslashed; /* conformance only: standard_conforming_strings is off, so we cannot read what is sent */
    /* EXECUTE name: NULL when the session has no such statement. */
    const struct pv_prepared_facts *(*prepared)(void *context, const char *name);
    void *context;
    /* Approvals and consent, made for `policy`. NULL: none is known, so what needs an approval is denied. */
    const struct pv_standing *standing;
    /*
     * Where pv_cache_query and pv_cache_parse keep what was judged; NULL: nowhere. A field that is added here and that
     * a SELECT's judgement rests on has to go into the cache's key.
     */
    struct pv_cache *cache;
    struct pv_trace *trace; /* the cache's own */
    struct pv_place *place; /* not for the cache */
    bool is_explaining; /* the decision tells its lineage and rules */
};

/* Where an output column comes from. The stronger follow the weaker: a column that is several of them is the last. */
enum pv_lineage_how {
    PV_LINEAGE_CONSTANT,
    PV_LINEAGE_PLAIN,      /* a column as it is */
    PV_LINEAGE_EXPRESSION, /* made of columns */
    PV_LINEAGE_GROUPED,    /* of what groups hold in common */
    PV_LINEAGE_AGGREGATED
};

struct pv_lineage {
    const char *name;
    enum pv_lineage_how how;
    struct pv_names columns; /* schema.relation.column */
};

/* An analysis rule that the statement was judged by. */
struct pv_rule_applied {
    const struct pv_dataset *dataset;
    unsigned references; /* how often the statement names the data set */
};

const char *pv_lineage_how_name(enum pv_lineage_how how);

struct pv_decision {
    bool is_allowed;
    enum pv_statement_kind kind;
    enum pv_reason reason;
    struct pv_slice text; /* the statement as sent, within the caller's text; whole text when it does not parse */
    /* denied: */
    const char *sqlstate, *message, *detail, *hint; /* detail, hint may be NULL */
    uint32_t position;                              /* 1-based character in the whole text; 0: none */
    /* allowed: */
    const char *forwarded; /* SQL for the database, printed from the judged tree and checked */
    const char *show_value; /* SHOW of a pinned setting: the value the client must see; NULL: the server's */
    const struct pv_question *question; /* NULL: no data is asked for */
    struct pv_names datasets, columns;  /* keys; "dataset.column" */
    const char *datasets_json, *columns_json; /* the same as JSON arrays, where the decision may be kept; else NULL */
    /*
     * What came before: what a server may have prepared for it in place of `forwarded`, and of a simple query the values
     * of its $n. Of a Parse it is `forwarded` itself, with the types that are declared.
     */
    const struct pv_repeat *repeat; /* NULL: nothing */
    const struct pv_slice *repeat_values;
    const struct pv_parameter *const *parameters; /* by $n - 1; NULL entries: unconstrained */
    const uint32_t *parameter_oids;               /* by $n - 1: what Parse must declare; 0: as the client did */
    /* By $n - 1: the $n whose canonical value this one must have, a lower one; 0: none. NULL: none has such. */
    const uint16_t *twins;
    size_t parameter_count;
    bool is_of_session;   /* it holds what only this session has: no other may be given it */
    bool is_of_peers;     /* it speaks of the caller's sessions: judge it with `peers` as they are when it runs */
    bool is_redacted;     /* errors get a general message, notices are dropped */
    uint64_t timeout_ms;  /* 0: none */
    const char *name;     /* PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, MOVE, CLOSE, SAVEPOINT..., LISTEN */
    const char *setting, *value; /* SET, RESET, SHOW: canonical lower-case name, value text (NULL: DEFAULT) */
    struct pv_names questions; /* ids of all that are asked; `question` is the strictest of them */
    struct pv_budget_demand *budgets; /* what each run of it takes, before it runs (PREPARE: of its EXECUTE) */
    size_t budget_count;
    /* For those who explain (pv_caller.is_explaining), allowed or denied, as soon as all names mean something: */
    const struct pv_lineage *lineage; /* by output column */
    size_t lineage_count;
    const struct pv_rule_applied *rules;
    size_t rule_count;
    bool has_threshold; /* some group may be left out for want of entities */
};

/* Of a decision that is allowed; they borrow from it. */
struct pv_prepared_facts pv_decision_facts(const struct pv_decision *decision);
/* "x" takes one value, and $1 and $2 have two: a message for 22023. NULL: out of memory. */
const char *pv_twin_words(struct pv_arena *arena, const struct pv_parameter *parameter, size_t number, size_t twin);

/* A JSON array of the names; NULL: out of memory. */
const char *pv_names_json(struct pv_arena *arena, const struct pv_names *names) PV_MUST_CHECK;

/*
 * Judges a simple query: one decision a statement, in order (at least one; an empty
 * text gives one of kind EMPTY). A text that does not parse gives exactly one, of kind INVALID.
 * When any is denied the session forwards none. Everything is in the arena but `question`,
 * `parameters` and names, which live in the snapshot. Returns PV_NOMEM or PV_OK only.
 */
enum pv_status pv_decide_query(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                               struct pv_decision **decisions, size_t *count) PV_MUST_CHECK;
/*
 * Judges a Parse: one statement (more than one is a denial with 42601, as PostgreSQL
 * words it), with the parameter type OIDs that the client declared.
 */
enum pv_status pv_decide_parse(struct pv_arena *arena, const struct pv_caller *caller, struct pv_slice text,
                               const uint32_t *declared_oids, size_t declared_count,
                               struct pv_decision *decision) PV_MUST_CHECK;
/*
 * Judges a setting from the startup packet or its options under the rules of SET.
 * Allowed: `setting` and `value` are canonical (value NULL: accepted without effect).
 */
enum pv_status pv_decide_setting(struct pv_arena *arena, const struct pv_caller *caller, const char *name,
                                 const char *value, struct pv_decision *decision) PV_MUST_CHECK;

#endif
