/*
 * Text to tree.
 *
 * 1. Nothing reads a text before its length and its encoding have passed.
 * 2. A pv_sql that exists has passed the limits in every statement; but for pv_sql_parse_printed's, which is there to be
 *    compared with a tree that has.
 */
#include "parser/parse.h"

#include "parser/parse_int.h"
#include "parser/walk_int.h"
#include "proxy/base/limits.h"

#include "parser/parser.h"

#include <string.h>

struct pv_sql {
    MemoryContext context;
    char *text; /* with a NUL after it */
    size_t len;
    List *raw; /* of RawStmt; the parser's own list, in the context */
    bool is_known;
};

void
pv_sql_free(struct pv_sql *sql)
{
    if (sql == NULL)
        return;
    if (sql->context != NULL)
        pv_context_free(sql->context);
    pv_free(sql->text);
    pv_free(sql);
}

enum pv_status
pv_sql_new_empty(struct pv_sql **out)
{
    struct pv_sql *sql = pv_calloc(1, sizeof(*sql));
    enum pv_status status;

    if (sql == NULL)
        return PV_NOMEM;
    status = pv_context_new(&sql->context);
    if (status != PV_OK) {
        pv_sql_free(sql);
        return status;
    }
    *out = sql;
    return PV_OK;
}

MemoryContext
pv_sql_enter(struct pv_sql *sql)
{
    return pv_context_enter(sql->context);
}

void
pv_sql_leave(MemoryContext before)
{
    (void) pv_context_enter(before);
}

struct parsing {
    struct pv_sql *sql;
    RawParseMode mode;
};

static void
parse(void *arg)
{
    struct parsing *parsing = arg;

    (void) pv_context_enter(parsing->sql->context);
    parsing->sql->raw = raw_parser(parsing->sql->text, parsing->mode);
}

static enum pv_status
refuse(struct pv_sql_error *err, enum pv_status status, const char *words)
{
    pv_sql_error_set(err, status == PV_INVALID ? "22021" : pv_status_sqlstate(status), 0, "%s", words);
    return status;
}

/* Before the scanner: what may be read at all. */
static enum pv_status
check_text(struct pv_slice text, size_t bytes_max, struct pv_sql_error *err)
{
    if (text.len > bytes_max)
        return refuse(err, PV_LIMIT, "statement is too long");
    if (!pv_utf8_valid(text))
        return refuse(err, PV_INVALID, "invalid byte sequence for encoding \"UTF8\"");
    return PV_OK;
}

static enum pv_status
check_trees(struct pv_sql *sql, const struct pv_sql_limits *limits, struct pv_sql_error *err)
{
    if (pv_sql_count(sql) > limits->statements_max)
        return refuse(err, PV_LIMIT, "too many statements");
    sql->is_known = true;
    for (unsigned i = 0; i < pv_sql_count(sql); i++) {
        enum pv_status status = pv_tree_walk_mode(pv_sql_stmt(sql, i), limits, false, NULL, NULL, NULL);

        /* What is refused is a denial for whoever walks it; here it counts. */
        if (status == PV_DENIED) {
            sql->is_known = false;
            status = pv_tree_walk_mode(pv_sql_stmt(sql, i), limits, true, NULL, NULL, NULL);
        }
        if (status == PV_LIMIT)
            return refuse(err, status, "statement is too complex");
        if (status != PV_OK)
            return refuse(err, status, pv_status_words(status));
    }
    return PV_OK;
}

static enum pv_status
read_text(struct pv_sql *sql, struct pv_slice text, RawParseMode mode, struct pv_sql_error *err)
{
    struct parsing parsing = {sql, mode};

    sql->text = pv_strndup((const char *) text.data, text.len);
    if (sql->text == NULL)
        return refuse(err, PV_NOMEM, pv_status_words(PV_NOMEM));
    sql->len = text.len;
    return pv_sql_guard(parse, &parsing, err);
}

/* What was read, not walked. */
static enum pv_status
parse_mode(struct pv_slice text, size_t bytes_max, RawParseMode mode, struct pv_sql **out, struct pv_sql_error *err)
{
    struct pv_sql *sql = NULL;
    enum pv_status status = check_text(text, bytes_max, err);

    if (status != PV_OK)
        return status;
    if (text.data == NULL)
        text = pv_slice_cstr("");
    status = pv_sql_new_empty(&sql);
    if (status != PV_OK)
        return refuse(err, status, pv_status_words(status));
    status = read_text(sql, text, mode, err);
    if (status != PV_OK) {
        pv_sql_free(sql);
        return status;
    }
    *out = sql;
    return PV_OK;
}

enum pv_status
pv_sql_parse(struct pv_slice text, const struct pv_sql_limits *limits, struct pv_sql **out, struct pv_sql_error *err)
{
    struct pv_sql *sql = NULL;
    enum pv_status status = parse_mode(text, limits->bytes_max, RAW_PARSE_DEFAULT, &sql, err);

    if (status == PV_OK)
        status = check_trees(sql, limits, err);
    if (status != PV_OK) {
        pv_sql_free(sql);
        return status;
    }
    *out = sql;
    return PV_OK;
}

enum pv_status
pv_sql_parse_printed(struct pv_slice text, size_t bytes_max, struct pv_sql **out)
{
    return parse_mode(text, bytes_max, RAW_PARSE_DEFAULT, out, NULL);
}

enum pv_status
pv_sql_parse_type(struct pv_slice text, struct pv_sql **out, TypeName **type, struct pv_sql_error *err)
{
    struct pv_sql *sql = NULL;
    Node *node;
    enum pv_status status = parse_mode(text, pv_sql_limits_default.bytes_max, RAW_PARSE_TYPE_NAME, &sql, err);

    if (status != PV_OK)
        return status;
    node = list_length(sql->raw) == 1 ? linitial(sql->raw) : NULL;
    if (node == NULL || !IsA(node, TypeName)) {
        pv_sql_free(sql);
        return refuse(err, PV_SYNTAX, "not a type name");
    }
    status = pv_tree_walk(node, &pv_sql_limits_default, NULL, NULL, NULL);
    if (status != PV_OK) {
        pv_sql_free(sql);
        return refuse(err, status, "not a plain type name");
    }
    sql->raw = NIL;
    *type = (TypeName *) node;
    *out = sql;
    return PV_OK;
}

unsigned
pv_sql_count(const struct pv_sql *sql)
{
    return (unsigned) list_length(sql->raw);
}

Node *
pv_sql_stmt(const struct pv_sql *sql, unsigned index)
{
    const RawStmt *raw = list_nth(sql->raw, (int) index);

    return raw->stmt;
}

bool
pv_sql_is_known(const struct pv_sql *sql)
{
    return sql->is_known;
}

static bool
is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '\f' || byte == '\v';
}

struct pv_slice
pv_sql_text(const struct pv_sql *sql, unsigned index)
{
    const RawStmt *raw = list_nth(sql->raw, (int) index);
    size_t start = raw->stmt_location > 0 ? (size_t) raw->stmt_location : 0;
    size_t end = raw->stmt_len > 0 ? start + (size_t) raw->stmt_len : sql->len;

    pv_assert(start <= end && end <= sql->len);
    while (start < end && is_space(sql->text[start]))
        start++;
    while (end > start && is_space(sql->text[end - 1]))
        end--;
    return pv_slice_of(sql->text + start, end - start);
}

struct copying {
    struct pv_sql *sql;
    const Node *tree;
    Node *copy;
};

static void
copy(void *arg)
{
    struct copying *copying = arg;

    (void) pv_context_enter(copying->sql->context);
    copying->copy = copyObjectImpl(copying->tree);
}

enum pv_status
pv_sql_copy(struct pv_sql *sql, const Node *tree, Node **out)
{
    struct copying copying = {sql, tree, NULL};
    enum pv_status status = pv_sql_guard(copy, &copying, NULL);

    if (status == PV_OK)
        *out = copying.copy;
    return status;
}
