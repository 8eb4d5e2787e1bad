/*
 * The door of policy: an immutable, counted snapshot of the config, the users and
 * the rooms, as loaded from files (INTERFACE: config, users, rooms). A snapshot is
 * loaded and freed on one thread (the main one) and read by all; parse trees inside
 * it are never changed, callers copy them. Everything below lives in the snapshot's
 * arena; every pointer is valid as long as a reference is held.
 */
#ifndef PV_POLICY_H
#define PV_POLICY_H

#include "parser/relation.h"
#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

#include <stdatomic.h>

/* ---- config ------------------------------------------------------------ */

enum pv_sslmode { PV_SSL_DISABLE, PV_SSL_REQUIRE, PV_SSL_VERIFY_CA, PV_SSL_VERIFY_FULL };
/* What a server has to be, as libpq's target_session_attrs. */
enum pv_session_attrs {
    PV_ATTRS_ANY,
    PV_ATTRS_READ_WRITE,
    PV_ATTRS_READ_ONLY,
    PV_ATTRS_PRIMARY,
    PV_ATTRS_STANDBY,
    PV_ATTRS_PREFER_STANDBY
};
enum pv_balance { PV_BALANCE_DISABLE, PV_BALANCE_RANDOM };  /* the order in which hosts are tried: as written, by chance */
enum pv_pool_mode { PV_POOL_SESSION, PV_POOL_TRANSACTION };
enum pv_durability { PV_DURABILITY_STRICT, PV_DURABILITY_RELAXED };

struct pv_listen {
    const char *host;     /* numeric address or name; NULL for a Unix socket */
    const char *unix_dir; /* directory that holds .s.PGSQL.<port>; NULL for TCP */
    uint16_t port;
};

struct pv_upstream_host {
    const char *name; /* a name, an address, or a directory that begins with '/' */
    uint16_t port;
};

struct pv_upstream {
    const char *name;
    const struct pv_upstream_host *hosts; /* at least one, in the order in which they are tried */
    size_t host_count;
    enum pv_session_attrs session_attrs;
    enum pv_balance balance;
    const char *dbname;
    const char *user;          /* the provisioning user, never the one that carries queries */
    const char *password_file; /* absolute path or NULL */
    enum pv_sslmode sslmode;
    const char *sslrootcert; /* absolute paths or NULL */
    const char *sslcert;
    const char *sslkey;
    uint64_t connect_timeout_ms;
};

/*
 * Bearer tokens as logins: the config's key "tokens".
 *   jwks              file of a key set (RFC 7517) with the issuer's public keys; read with the config, on SIGHUP, and
 *                     when the file has changed
 *   issuer, audience  what the claims iss and aud must say
 *   clock_skew        how far clocks may differ (60s; at most 10min)
 *   user_claim, roles_claim, attributes_claim
 *                     claims that hold the user's name (sub), roles (roles: texts), attributes (attributes: as in the
 *                     users' file)
 *   method            "password" (the default): the client sends the token as its password, which every client can;
 *                     "oauthbearer": SASL OAUTHBEARER (RFC 7628), which libpq speaks from PostgreSQL 18 on
 *   scope             what OAUTHBEARER tells clients to ask their issuer for (none)
 * A user with a password or a certificate in the users' file never logs in by token, nobody does without TLS, and who
 * names no user of that file is asked for a token. A token counts at the login: a session may outlast it. A room admits
 * token users by name, or by an entry "role:NAME" of its members, for those whose roles hold NAME.
 */
enum pv_token_method { PV_TOKEN_PASSWORD, PV_TOKEN_OAUTHBEARER };

struct pv_jwt_key; /* proxy/crypto/jwt.h */

struct pv_token_key {
    const char *kid; /* NULL: none */
    const struct pv_jwt_key *key;
};

struct pv_tokens {
    const char *jwks_path; /* absolute */
    int64_t jwks_time_ns;  /* when it was changed, as of the reading */
    const char *issuer, *audience;
    const char *scope; /* NULL: none */
    uint64_t clock_skew_ms;
    const char *user_claim, *roles_claim, *attributes_claim;
    enum pv_token_method method;
    const struct pv_token_key *keys;
    size_t key_count;
};

struct pv_config {
    const char *path; /* as given */
    const char *dir;  /* absolute folder of the file; relative paths were resolved against it */
    const struct pv_listen *listens;
    size_t listen_count;
    bool has_tls;
    const char *tls_cert, *tls_key, *tls_client_ca; /* absolute or NULL */
    bool is_tls_required;
    const struct pv_upstream *upstreams;
    size_t upstream_count;
    const char *users_path, *rooms_path, *state_path;
    uint32_t workers; /* 0: one a core */
    enum pv_pool_mode pool_mode;
    uint32_t pool_size;
    bool has_pool_size; /* the file says so: then it holds for sessions of their own as well */
    uint64_t pool_idle_timeout_ms, pool_lifetime_ms, pool_wait_ms; /* 0: none */
    uint64_t pool_check_ms, pool_retry_ms;
    uint32_t pool_prepared_max;
    uint32_t pool_auto_prepare; /* how often a statement is sent as text before a server prepares it; 0: never */
    uint32_t clients_max;
    uint64_t query_bytes_max;
    uint64_t login_timeout_ms;
    uint64_t drain_timeout_ms;
    uint64_t client_idle_timeout_ms; /* 0: none */
    enum pv_durability durability;
    uint64_t write_behind_ms; /* strict: records may be synced beside the log for so long under load; 0: never */
    uint32_t commit_delay_us, commit_siblings; /* strict: a sync waits so long for others' records, beside so many */
    bool is_logging_parameters;
    bool is_masking_literals;                   /* for auditors, over the wire and on the page */
    uint64_t segment_bytes, segment_age_ms;     /* of the query log: seal at this size, at this age; 0: not by it */
    uint64_t retention_bytes, retention_age_ms; /* of its sealed segments; 0: keep */
    uint64_t head_interval_ms;           /* a signed head of the query log this often; 0: at the end alone */
    const char *ship_file, *ship_syslog; /* committed records go there too; absolute path; HOST:PORT or a socket's path */
    const struct pv_listen *metrics; /* NULL: off */
    const struct pv_listen *console; /* NULL: off */
    const struct pv_tokens *tokens;  /* NULL: nobody logs in by token */
};

/* As the config writes it; also what libpq calls it. */
const char *pv_session_attrs_word(enum pv_session_attrs attrs);

/* A Unix socket, or an address that other machines cannot reach. */
bool pv_listen_is_loopback(const struct pv_listen *listen);

/* ---- users ------------------------------------------------------------- */

enum pv_attribute_kind { PV_ATTRIBUTE_TEXT, PV_ATTRIBUTE_NUMBER, PV_ATTRIBUTE_BOOL };

struct pv_attribute {
    const char *name;
    bool is_list;
    enum pv_attribute_kind kind; /* of every value; a list is of one kind */
    const char *const *values;   /* text form: numbers as in the file, booleans true or false */
    size_t value_count;          /* 1 unless is_list */
};

struct pv_user {
    const char *name;
    const char *scram;   /* verifier text `SCRAM-SHA-256$...`; NULL: no password login */
    const char *cert_cn; /* NULL: no certificate login */
    bool is_cert_required, is_scram_required; /* "require": both must serve when both are set */
    const struct pv_attribute *attributes;
    size_t attribute_count;
};

/* ---- rooms ------------------------------------------------------------- */

struct pv_party {
    const char *name;
    const char *public_key_path; /* absolute or NULL */
    const char *public_key;      /* the PEM in it, an Ed25519 public key; NULL with the path */
};

/* A member's key that stands for every token user whose roles hold what follows. */
#define PV_MEMBER_ROLE_PREFIX "role:"

struct pv_member {
    const char *user; /* or PV_MEMBER_ROLE_PREFIX and a role */
    const char *party;
    const char *const *roles;
    size_t role_count;
};

enum pv_mask_kind {
    PV_MASK_PLAIN,
    PV_MASK_OMIT,
    PV_MASK_NULL,
    PV_MASK_HASH,
    PV_MASK_TRUNCATE_DATE,
    PV_MASK_BUCKET,
    PV_MASK_ROUND,
    PV_MASK_PREFIX,
    PV_MASK_SUFFIX,
    PV_MASK_EMAIL_DOMAIN,
    PV_MASK_CONSTANT
};

struct pv_mask {
    enum pv_mask_kind kind;
    const char *key_name; /* HASH under a shared secret; NULL: the room's own */
    const char *unit;     /* TRUNCATE_DATE: year quarter month week day hour */
    const char *number;   /* BUCKET: decimal text, positive; CONSTANT: NULL */
    int32_t digits;       /* ROUND: digits (negative too); PREFIX, SUFFIX: characters */
    const char *constant; /* CONSTANT: text form */
};

struct pv_column {
    const char *name;
    int category; /* 1 shared, 2 omitted, 3 masked */
    struct pv_mask mask;
    const char *title; /* a comment for the catalog; NULL: none */
};

/* Functions that aggregate_columns may name. */
struct pv_aggregate_rule {
    const char *const *columns;
    size_t column_count;
    const char *const *functions; /* lower case, as in the file: count, count_distinct, sum, avg, ... */
    size_t function_count;
};

struct pv_output_constraint {
    const char *column;
    uint64_t minimum;
};

struct pv_budget {
    enum pv_budget_period { PV_PER_DAY, PV_PER_WEEK, PV_PER_MONTH, PV_PER_LIFETIME } per;
    uint64_t runs;
    uint64_t runs_per_member; /* each user's share of them; 0: none of its own */
};

enum pv_rule_type { PV_RULE_AGGREGATION, PV_RULE_LIST };
enum pv_suppression { PV_SUPPRESS_DROP, PV_SUPPRESS_REMAINDER };

struct pv_names {
    const char *const *names;
    size_t count;
};

struct pv_analysis_rule {
    enum pv_rule_type type;
    struct pv_names join_columns, dimension_columns, list_columns, scalar_functions;
    struct pv_names allowed_join_operators; /* "and" always; "or" where listed */
    const struct pv_aggregate_rule *aggregates;
    size_t aggregate_count;
    bool is_join_required;
    bool has_literal_columns; /* false: the dimension (or list) columns */
    struct pv_names literal_columns;
    const struct pv_output_constraint *constraints;
    size_t constraint_count;
    enum pv_suppression suppression;
    struct pv_names disallowed_output_columns;
};

struct pv_dataset {
    struct pv_relation relation;    /* published schema and name; columns that callers may see, in file order */
    const char *key;                /* "schema.name" as in the file */
    const char *const *column_keys; /* "schema.name.column", by the relation's columns */
    const char *owner;              /* party */
    const char *source_schema, *source_name;
    const char *entity;     /* column name or NULL */
    const char *row_filter; /* SQL or NULL */
    const char *title;
    const struct pv_column *columns; /* all listed ones, omitted ones included */
    size_t column_count;
    const struct pv_analysis_rule *rule; /* NULL: fixed questions only */
    const struct pv_budget *budgets;
    size_t budget_count;
    bool has_receivers; /* false: every member may have results that are made of it */
    struct pv_names receivers; /* role:R, party:P, user:U as in the file */
};

enum pv_question_type { PV_QUESTION_ANALYTICAL, PV_QUESTION_LIST, PV_QUESTION_CLEANML };

struct pv_param_type; /* policy/param.h */

struct pv_parameter {
    const char *name;
    const struct pv_param_type *type;
    bool is_array;
    bool is_nullable;
    bool has_default;
    const char *default_text; /* canonical text form; NULL with has_default: NULL */
    const char *minimum, *maximum; /* canonical text forms or NULL */
    const char *const *values;     /* canonical; the only ones allowed */
    size_t value_count;
    const char *pattern;   /* POSIX extended regular expression over the whole text, or NULL */
    const void *regex;     /* compiled by policy/param.c */
    uint64_t max_length;   /* characters; 0: no bound */
    uint64_t max_items;    /* arrays */
};

struct pv_question_index;
struct pv_plan; /* a fixed question, compiled: policy/question.h */

struct pv_question {
    struct pv_relation relation; /* schema "questions", name = id, columns = the result's */
    const char *id;
    enum pv_question_type type;
    const char *title;
    bool is_open;
    const char *sql; /* NULL when open */
    const struct pv_parameter *parameters; /* in the order of the file */
    size_t parameter_count;
    const struct pv_dataset *const *datasets; /* open: as listed; fixed: those it reads */
    size_t dataset_count;
    bool has_members;
    struct pv_names members; /* role:R, party:P, user:U as in the file */
    const char *entity;      /* output.entity as in the file: alias.column */
    uint64_t minimum_entities; /* 0: no threshold */
    uint64_t max_rows;         /* 0: no bound */
    uint64_t timeout_ms;       /* 0: none of its own */
    bool has_approvals, is_approved_by_owners;
    struct pv_names approvals; /* parties */
    const struct pv_budget *budgets;
    size_t budget_count;
    const struct pv_plan *plan; /* NULL when open */
};

struct pv_room {
    const char *name;
    const char *file; /* path of the room file, for messages */
    const char *title;
    const struct pv_upstream *upstream;
    bool has_expiry;
    int64_t expires_us; /* microseconds since 1970-01-01 UTC */
    const char *expires; /* as in the file */
    const char *timezone; /* default "UTC" */
    const char *secret_file; /* absolute or NULL: the secret lives in the state */
    bool is_embedding; /* a fixed question's text may stand inside another SELECT */
    struct pv_names trusted_services; /* users who may name an end user, by the setting pgveil.user */
    const struct pv_party *parties;
    size_t party_count;
    const struct pv_member *members;
    size_t member_count;
    const struct pv_dataset *datasets;
    size_t dataset_count;
    const struct pv_question *questions;
    size_t question_count;
    const struct pv_question_index *question_index; /* policy/question_int.h */
    bool has_approvals, is_approved_by_owners; /* of questions that say nothing themselves */
    struct pv_names approvals;
};

struct pv_policy {
    _Atomic uint32_t refs;
    uint64_t generation; /* another one for each load that is put in force */
    struct pv_config config;
    const struct pv_user *users; /* sorted by name */
    size_t user_count;
    const struct pv_room *rooms; /* sorted by name */
    size_t room_count;
};

/* ---- loading ----------------------------------------------------------- */

struct pv_fault {
    const char *file;
    unsigned line, column; /* 1-based; column counts characters */
    bool is_warning;
    const char *message;
};

struct pv_faults; /* a growing list, owned by the caller */
struct pv_faults *pv_faults_new(void) PV_MUST_CHECK;
void pv_faults_free(struct pv_faults *faults);
size_t pv_faults_count(const struct pv_faults *faults);  /* warnings left out */
size_t pv_faults_total(const struct pv_faults *faults);  /* warnings included */
const struct pv_fault *pv_faults_at(const struct pv_faults *faults, size_t i);
bool pv_faults_complete(const struct pv_faults *faults); /* false: one was lost for want of memory */
/* Faults of one file that stand together come in order of their places. pv_policy_load has done so. */
void pv_faults_sort(struct pv_faults *faults);
/* Copies its texts. */
void pv_faults_add(struct pv_faults *faults, const char *file, unsigned line, unsigned column, bool is_warning,
                   const char *format, ...) PV_PRINTF(6, 7);

/*
 * Loads the config file, its users and its rooms. PV_OK and a snapshot with one
 * reference when there was no fault (warnings are no faults); PV_INVALID with at
 * least one fault otherwise; PV_IO when the config file itself cannot be read
 * (said as a fault too); PV_NOMEM. Touches no network.
 */
enum pv_status pv_policy_load(const char *path, struct pv_faults *faults, struct pv_policy **policy) PV_MUST_CHECK;

struct pv_policy *pv_policy_ref(struct pv_policy *policy);
/*
 * Gives a reference back, from any thread. The last one frees only on the thread
 * that loaded (parse trees belong to it); elsewhere the snapshot is queued and freed
 * by the next pv_policy_reap there.
 */
void pv_policy_unref(struct pv_policy *policy);
void pv_policy_reap(void);

const struct pv_user *pv_policy_user(const struct pv_policy *policy, struct pv_slice name);
const struct pv_room *pv_policy_room(const struct pv_policy *policy, struct pv_slice name);
/* By the user's name; never one that stands for a role. */
const struct pv_member *pv_room_member(const struct pv_room *room, const char *user);
/* Is this user one of the room's trusted services? */
bool pv_room_trusts(const struct pv_room *room, const char *user);
bool pv_member_has_role(const struct pv_member *member, const char *role);
const struct pv_dataset *pv_room_dataset(const struct pv_room *room, const char *schema, const char *name);
/* Do two data sets give the same callers the same rows of the same values? Both may be NULL, which no other is the same as. */
bool pv_dataset_shows_same(const struct pv_dataset *a, const struct pv_dataset *b);
const struct pv_question *pv_room_question(const struct pv_room *room, const char *id);
const struct pv_column *pv_dataset_column(const struct pv_dataset *dataset, const char *name);
/* May this member ask this question, by its `members` list? */
bool pv_question_admits(const struct pv_question *question, const struct pv_member *member);
/* May this member have a result that is made of this data set, by its `allowed_result_receivers`? */
bool pv_dataset_releases_to(const struct pv_dataset *dataset, const struct pv_member *member);
/* May this member have an answer to it: asked and received from every data set of a fixed one, from any of an open one? */
bool pv_question_serves(const struct pv_question *question, const struct pv_member *member);

#endif
