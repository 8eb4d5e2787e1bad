/* What the parts of the judgement share: one statement on trial. */
#ifndef PV_DECIDE_INT_H
#define PV_DECIDE_INT_H

#include "parser/parse.h"
#include "parser/resolve.h"
#include "policy/decide.h"
#include "proxy/base/arena.h"

struct pv_ask_twins;

struct pv_trial {
    struct pv_arena *arena;
    const struct pv_caller *caller;
    struct pv_slice text; /* the whole text that was sent: locations count in it */
    struct pv_sql *sql;   /* its trees; edits happen here */
    struct pv_decision *decision;
    /* Parameters of Parse or PREPARE: what the client declared, what the judgement demands. */
    const uint32_t *declared_oids;
    size_t declared_count;
    const struct pv_parameter **parameters;
    uint32_t *parameter_oids;
    uint16_t *twins; /* as the decision's */
    bool has_twins;
    size_t parameter_count, parameter_size;
    bool has_parameters; /* $n may stand in the statement */
    const List *prepared_types; /* PREPARE that names types: TypeNames */
    struct pv_names names_read; /* data sets */
    struct pv_place *place;     /* of this statement, or NULL */
    bool is_off_list;           /* denied as no approved question: a hint is due */
    bool is_composing;          /* the statement is the SELECT that is on trial, and nobody asks for its tree */
    const char *composed;       /* then perhaps: what is forwarded, of pieces that were checked at load (ask_instance.c) */
};

/* Fills the decision with a denial; always PV_DENIED. Texts are formatted into the arena. */
enum pv_status pv_deny(struct pv_trial *trial, enum pv_reason reason, const char *sqlstate, int location,
                       const char *format, ...) PV_PRINTF(5, 6);
/* Adds to a denial; printf forms. */
void pv_deny_detail(struct pv_trial *trial, const char *format, ...) PV_PRINTF(2, 3);
void pv_deny_hint(struct pv_trial *trial, const char *format, ...) PV_PRINTF(2, 3);
/* `query is not an approved question of clean room "R"` with a detail. */
enum pv_status pv_deny_question(struct pv_trial *trial, enum pv_reason reason, int location, const char *format, ...)
    PV_PRINTF(4, 5);

/* What a denial of that kind says where nothing nearer can be said. */
extern const char pv_hint_questions[];

/* A name as SQL writes it, for words; the name itself without memory. */
const char *pv_quoted(struct pv_trial *trial, const char *name);

/* Answers trial->place, where there is one, of what was printed of the tree; else does nothing. */
enum pv_status pv_find_place(struct pv_trial *trial, const Node *stmt, struct pv_slice printed) PV_MUST_CHECK;

/* $n is used: room for it in the trial's parameters. number is 1-based; PV_DENIED when it is out of range. */
enum pv_status pv_trial_param(struct pv_trial *trial, int number, int location) PV_MUST_CHECK;
/* $n stands for a question's parameter. */
enum pv_status pv_trial_bind_param(struct pv_trial *trial, int number, const struct pv_parameter *parameter,
                                   int location) PV_MUST_CHECK;
/* $number and $first both stand for the parameter, and must have the same value. */
enum pv_status pv_trial_twin(struct pv_trial *trial, const struct pv_parameter *parameter, int number, int first,
                             int location) PV_MUST_CHECK;

/* Adds to the decision's data sets and columns. */
enum pv_status pv_names_add(struct pv_trial *trial, const struct pv_names *datasets,
                            const struct pv_names *columns) PV_MUST_CHECK;

/* --conformance (conform.c): a statement, or a text that does not parse, with what is forwarded. */
enum pv_status pv_conform(struct pv_trial *trial, const Node *stmt) PV_MUST_CHECK;
enum pv_status pv_conform_unread(struct pv_trial *trial) PV_MUST_CHECK;

/* ---- the room's names (room_catalogue.c) -------------------------------- */

struct pv_room_names {
    const struct pv_room *room;
    struct pv_names search_path;
    struct pv_arena *arena;
    bool is_data_only; /* a question's own text: data sets, nothing else */
    bool is_out_of_memory;
};

struct pv_catalogue pv_room_catalogue(struct pv_room_names *names);
/* May a function so qualified (NULL: not at all) be a question? */
bool pv_is_question_schema(const struct pv_names *search_path, const char *schema);
/* A relation's physical name in the upstream database; false for a question. */
bool pv_physical_name(const struct pv_room *room, const struct pv_relation *relation, char schema[64],
                      const char **name);

/* ---- the allow-lists (allow.c) -------------------------------------------- */

enum pv_allow_mode {
    PV_ALLOW_DATA,   /* over data sets: functions of values only */
    PV_ALLOW_RELEASED /* over questions' results, catalogs, constants */
};

/* Kinds of nodes, clauses, functions, operators, types. PV_DENIED with the decision filled. */
enum pv_status pv_allow_tree(struct pv_trial *trial, Node *tree, enum pv_allow_mode mode) PV_MUST_CHECK;

/* ---- the road of a SELECT (judge.c, substitute.c) --------------------------- */

/* Judges a query and edits it in place (or replaces it) into what is forwarded. */
enum pv_status pv_judge_select(struct pv_trial *trial, Node **select) PV_MUST_CHECK;
/* Physical names, substituted functions, questions by name. The resolution is of this very tree. */
enum pv_status pv_substitute(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select)
    PV_MUST_CHECK;
/* The location that a field of a substituted tree stands for, which bears marks too; -1: none. */
int pv_substituted_location(int location);
/* The same for a question's own text, at load: data sets and functions only; pv_sql is where the tree lives. */
void pv_substitute_data(const struct pv_room *room, const struct pv_resolution *resolution, Node **select);

/* What may become of a value of a type that looks names up (ATTACKS: N6). */
enum pv_lookup_use {
    PV_LOOKUP_FLOWS,  /* into another expression, where it would turn integers into names: it becomes an OID */
    PV_LOOKUP_KEPT,   /* an operand of a comparison, under a cast: it does no harm */
    PV_LOOKUP_SHOWN,  /* an output of the statement: it reads along the caller's search_path */
    PV_LOOKUP_WRITTEN /* under a cast to text: likewise */
};

/*
 * A cast to such a type: a constant is looked up among the room's names, anything else by a function that knows only
 * those. Inside pv_sql_guard.
 */
enum pv_status pv_edit_lookup_cast(struct pv_trial *trial, TypeCast *cast, enum pv_lookup_use use, Node **edited)
    PV_MUST_CHECK;
/* A function of the room's catalog schema, called with the caller's search_path behind the other arguments. */
Node *pv_make_call_on_path(struct pv_trial *trial, const char *name, List *args);
/* The search_path as an array of names. */
Node *pv_make_path(struct pv_trial *trial);

/* ---- own_type.c ----------------------------------------------------------------- */

/* A name that an enum of the room's data sets may have, along the caller's search_path. */
bool pv_is_own_type(const struct pv_trial *trial, const TypeName *type);
/* Over data it takes constants and parameters alone. */
bool pv_own_type_is_allowed(const struct pv_trial *trial, const TypeCast *cast, enum pv_allow_mode mode);
/* The call that stands for the cast. Inside pv_sql_guard. */
Node *pv_own_type_cast(struct pv_trial *trial, TypeCast *cast);
/* Parameters that a PREPARE declares to be of such types become casts where they stand. */
enum pv_status pv_own_type_prepare(struct pv_trial *trial, PrepareStmt *stmt) PV_MUST_CHECK;

/* ---- own_session.c ----------------------------------------------------------- */

/* pg_settings with the settings that are kept outside of the server. Inside pv_sql_guard. */
Node *pv_own_settings(struct pv_trial *trial, Alias *alias);
/* pg_stat_activity with the caller's own sessions. Inside pv_sql_guard. */
Node *pv_own_activity(struct pv_trial *trial, Alias *alias);
/* The caller's process ids as an array, that of this session first; likewise. */
Node *pv_own_pids(struct pv_trial *trial);
/* This session's, where its server's is another: sessions that share servers. */
Node *pv_own_pid(struct pv_trial *trial);
/* The search_path as SHOW gives it. */
const char *pv_path_text(struct pv_trial *trial);
/* Makes the decision that of a SET search_path where the whole statement is such a set_config call. */
void pv_note_path_call(struct pv_trial *trial, const SelectStmt *select);

/* ---- explain.c ---------------------------------------------------------------- */

/* Lineage and rules into the decision. */
enum pv_status pv_explain_resolution(struct pv_trial *trial, const struct pv_resolution *resolution) PV_MUST_CHECK;

/* ---- expansion.c --------------------------------------------------------------- */

/* Denies a statement that is too large once every derived column is written out where it is used. */
enum pv_status pv_check_expansion(struct pv_trial *trial, const struct pv_resolution *resolution) PV_MUST_CHECK;

/* ---- fixed questions (ask.c, question.c) ------------------------------------- */

/* Is it one of the room's fixed questions? PV_OK: replaced; PV_NOTFOUND: none; PV_DENIED: one, but not so. */
enum pv_status pv_ask_fixed(struct pv_trial *trial, Node **select) PV_MUST_CHECK;
/* A constant's text; NULL for SQL NULL, or out of memory. */
const char *pv_constant_text(struct pv_trial *trial, const A_Const *constant) PV_MUST_CHECK;
/* A constant, or an ARRAY of them, as a parameter's value: its canonical text, NULL for SQL NULL; or a denial. */
enum pv_status pv_ask_constant(struct pv_trial *trial, const struct pv_parameter *parameter, const Node *node, int location,
                               const char **canonical) PV_MUST_CHECK;
/*
 * Fixed questions' statements as parts of another (ask_within.c): PV_OK with a copy of the statement that has them by
 * name, for a new trial, and what pv_ask_twin is to be told then (in the arena); PV_NOTFOUND: it has none.
 */
enum pv_status pv_ask_within(struct pv_trial *trial, const Node *select, Node **asked,
                             struct pv_ask_twins *twins) PV_MUST_CHECK;
/* Of a statement that is none: names the fixed question that is nearest in the decision's hint. PV_OK or PV_NOMEM. */
enum pv_status pv_ask_nearest(struct pv_trial *trial, Node *select) PV_MUST_CHECK;
/* Is it a statement that an open question of the room allows? As pv_ask_fixed. */
enum pv_status pv_ask_open(struct pv_trial *trial, const struct pv_resolution *resolution, Node **select) PV_MUST_CHECK;
/* May the caller have this question now? PV_DENIED otherwise. Notes it in the decision. */
enum pv_status pv_ask_standing(struct pv_trial *trial, const struct pv_question *question) PV_MUST_CHECK;
/* Adds what a run of the question over these data sets takes (budget.c). PV_NOMEM. */
enum pv_status pv_budget_demand_all(struct pv_trial *trial, const struct pv_question *question,
                                    const struct pv_names *datasets) PV_MUST_CHECK;
/* A question by name, with arguments: the query that stands for it, in the trial's memory. Inside pv_sql_guard no. */
enum pv_status pv_ask_by_name(struct pv_trial *trial, const struct pv_question *question, List *args, int location,
                              SelectStmt **query) PV_MUST_CHECK;

/* One value of a question's parameter: a constant's canonical text, NULL, or the caller's $n. */
struct pv_argument {
    const struct pv_parameter *parameter;
    const char *text; /* canonical; NULL: SQL NULL unless number > 0 */
    int number;       /* > 0: the caller's $number */
};

/* ---- utility statements (utility.c) -------------------------------------------- */

enum pv_status pv_judge_utility(struct pv_trial *trial, Node **stmt) PV_MUST_CHECK;
enum pv_status pv_judge_show_all(struct pv_trial *trial, Node **stmt) PV_MUST_CHECK;
/* What kind of statement the decision is of, and the name in it; NULL: it has none. */
void pv_note_statement(struct pv_trial *trial, enum pv_statement_kind kind, const char *name);
/* It is of a kind that no room has. */
enum pv_status pv_deny_kind(struct pv_trial *trial, const Node *stmt) PV_MUST_CHECK;

/* ---- prepared statements (prepare.c) -------------------------------------------- */

enum pv_status pv_judge_prepare(struct pv_trial *trial, PrepareStmt *stmt) PV_MUST_CHECK;
enum pv_status pv_judge_execute(struct pv_trial *trial, ExecuteStmt *stmt) PV_MUST_CHECK;

/* end_user.c: may the caller ask for this user (NULL or "": for itself)? */
enum pv_status pv_judge_end_user(struct pv_trial *trial, const char *name) PV_MUST_CHECK;
/*
 * SET and RESET of pgveil.user, which does not parse, with the reserved word quoted; `statement` is what was sent, without
 * what stands around it. PV_NOTFOUND: another text.
 */
enum pv_status pv_end_user_quote(struct pv_arena *arena, struct pv_slice text, struct pv_slice *quoted,
                                 struct pv_slice *statement) PV_MUST_CHECK;

#endif
