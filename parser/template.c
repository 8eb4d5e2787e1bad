/*
 * `:name` to `$n`. PostgreSQL's own scanner says where the colons are, so those in strings,
 * comments, `::` and `:=` are none. The text is the operator's; its length is checked all the same.
 */
#include "parser/template.h"

#include "parser/parse_int.h"

#include "parser/scanner.h"

#include <string.h>

#define FILTER_BEFORE "SELECT 1 WHERE ("
#define FILTER_AFTER "\n)"

/* Where one placeholder stood and where its $n stands now, in bytes. */
struct place {
    size_t from;
    size_t from_end;
    size_t to;
    size_t to_end;
};

struct job {
    struct pv_slice text;
    struct pv_sql *scratch; /* holds what the scanner allocates */
    const char *terminated;
    int *colons;
    int colon_count;
    int dollar; /* offset of the first $n, or -1 */
    struct pv_buf out;
    struct place *places;
    struct pv_template made;
};

/* libpg_query's own struct has members more than the header's; they are within this. */
union scanner_state {
    core_yy_extra_type extra;
    char room[1024];
};

static void
scan(void *arg)
{
    struct job *job = arg;
    union scanner_state *state;
    core_yyscan_t scanner;
    core_YYSTYPE value;
    int at = 0;
    int token;

    (void) pv_sql_enter(job->scratch);
    state = palloc0(sizeof(*state));
    job->colons = palloc((job->text.len + 1) * sizeof(int));
    scanner = scanner_init(job->terminated, &state->extra, &ScanKeywords, ScanKeywordTokens);
    while ((token = core_yylex(&value, &at, scanner)) != 0) {
        const char *word = job->terminated + at;

        if (token == ':')
            job->colons[job->colon_count++] = at;
        else if (word[0] == '$' && word[1] >= '0' && word[1] <= '9' && job->dollar < 0)
            job->dollar = at;
    }
    scanner_finish(scanner);
}

static bool
starts_name(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' || byte >= 0x80;
}

static size_t
name_len(struct pv_slice text, size_t at)
{
    size_t end = at;

    if (end >= text.len || !starts_name(text.data[end]))
        return 0;
    while (end < text.len &&
           (starts_name(text.data[end]) || text.data[end] == '$' || (text.data[end] >= '0' && text.data[end] <= '9')))
        end++;
    return end - at;
}

bool
pv_template_is_name(const char *name)
{
    return *name != '\0' && name_len(pv_slice_cstr(name), 0) == strlen(name);
}

static char
folded(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char) (byte - 'A' + 'a') : byte;
}

void
pv_template_fold(char *name)
{
    for (; *name != '\0'; name++)
        *name = folded(*name);
}

bool
pv_template_same_name(const char *a, const char *b)
{
    for (; *a != '\0' && folded(*a) == folded(*b); a++)
        b++;
    return *a == '\0' && *b == '\0';
}

/* The number of a parameter, a new one for a name that was not seen; 0 when out of memory. */
static unsigned
number_of(struct job *job, struct pv_slice word)
{
    struct pv_template *made = &job->made;
    char *name = pv_strndup((const char *) word.data, word.len);

    if (name == NULL)
        return 0;
    pv_template_fold(name);
    for (unsigned i = 0; i < made->name_count; i++) {
        if (strcmp(made->names[i], name) == 0) {
            pv_free(name);
            return i + 1;
        }
    }
    made->names[made->name_count++] = name;
    return made->name_count;
}

static enum pv_status
replace(struct job *job)
{
    size_t done = 0;
    size_t count = (size_t) job->colon_count;
    size_t used = 0;

    job->places = pv_calloc(count + 1, sizeof(*job->places));
    job->made.names = pv_calloc(count + 1, sizeof(*job->made.names));
    if (job->places == NULL || job->made.names == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t) job->colons[i];
        size_t len = name_len(job->text, at + 1);
        struct place *place = &job->places[used];
        unsigned number;

        if (len == 0)
            continue;
        number = number_of(job, pv_slice_of(job->text.data + at + 1, len));
        if (number == 0)
            return PV_NOMEM;
        pv_buf_put(&job->out, job->text.data + done, at - done);
        place->from = at;
        place->from_end = done = at + 1 + len;
        place->to = pv_buf_len(&job->out);
        pv_buf_printf(&job->out, "$%u", number);
        place->to_end = pv_buf_len(&job->out);
        used++;
    }
    pv_buf_put(&job->out, job->text.data + done, job->text.len - done);
    return pv_buf_ok(&job->out) ? PV_OK : PV_NOMEM;
}

static size_t
chars_in(const uint8_t *data, size_t len)
{
    size_t chars = 0;

    for (size_t i = 0; i < len; i++)
        chars += (data[i] & 0xC0u) != 0x80u;
    return chars;
}

/* A 1-based position in the replaced text to the same in the given one. */
static int
position_in_text(const struct job *job, int position, size_t skipped)
{
    struct pv_slice out = pv_buf_slice(&job->out);
    size_t left = (size_t) position;
    size_t at = 0;
    size_t from;

    if (position <= 0)
        return position;
    left = left > skipped ? left - skipped : 1;
    while (at < out.len && left > 1) {
        at++;
        while (at < out.len && (out.data[at] & 0xC0u) == 0x80u)
            at++;
        left--;
    }
    from = at;
    for (size_t i = 0; job->places[i].to_end > 0 && job->places[i].to <= at; i++)
        from = at < job->places[i].to_end ? job->places[i].from : at - job->places[i].to_end + job->places[i].from_end;
    if (from > job->text.len)
        from = job->text.len;
    return (int) chars_in(job->text.data, from) + 1;
}

static enum pv_status
check_and_scan(struct job *job, const struct pv_sql_limits *limits, struct pv_sql_error *err, char **terminated)
{
    enum pv_status status;

    if (job->text.len > limits->bytes_max) {
        pv_sql_error_set(err, "54000", 0, "statement is too long");
        return PV_LIMIT;
    }
    if (!pv_utf8_valid(job->text)) {
        pv_sql_error_set(err, "22021", 0, "invalid byte sequence for encoding \"UTF8\"");
        return PV_INVALID;
    }
    *terminated = pv_strndup(job->text.data == NULL ? "" : (const char *) job->text.data, job->text.len);
    status = *terminated == NULL ? PV_NOMEM : pv_sql_new_empty(&job->scratch);
    if (status != PV_OK) {
        pv_sql_error_set(err, pv_status_sqlstate(status), 0, "%s", pv_status_words(status));
        return status;
    }
    job->terminated = *terminated;
    status = pv_sql_guard(scan, job, err);
    if (status == PV_OK && job->dollar >= 0) {
        pv_sql_error_set(err, "42601", (int) chars_in(job->text.data, (size_t) job->dollar) + 1,
                         "parameters are written :name here, not $n");
        status = PV_SYNTAX;
    }
    return status;
}

/* Whether the wrapped filter is still nothing but its WHERE. */
static bool
is_filter(const struct pv_sql *sql)
{
    const SelectStmt *stmt = pv_sql_count(sql) == 1 ? (const SelectStmt *) pv_sql_stmt(sql, 0) : NULL;

    return stmt != NULL && IsA(stmt, SelectStmt) && stmt->op == SETOP_NONE && list_length(stmt->targetList) == 1 &&
           stmt->whereClause != NULL && stmt->intoClause == NULL && stmt->fromClause == NIL &&
           stmt->groupClause == NIL && stmt->havingClause == NULL && stmt->windowClause == NIL &&
           stmt->sortClause == NIL && stmt->limitCount == NULL && stmt->limitOffset == NULL &&
           stmt->lockingClause == NIL && stmt->withClause == NULL;
}

static enum pv_status
parse_replaced(struct job *job, const struct pv_sql_limits *limits, bool filter, struct pv_sql_error *err)
{
    struct pv_sql_limits wider = *limits;
    struct pv_sql_error inner = {0};
    struct pv_buf wrapped = {0};
    enum pv_status status;

    pv_buf_put_text(&wrapped, filter ? FILTER_BEFORE : "");
    pv_buf_put_slice(&wrapped, pv_buf_slice(&job->out));
    pv_buf_put_text(&wrapped, filter ? FILTER_AFTER : "");
    wider.bytes_max += sizeof(FILTER_BEFORE FILTER_AFTER) + 10 * (size_t) job->colon_count;
    if (pv_buf_ok(&wrapped)) {
        status = pv_sql_parse(pv_buf_slice(&wrapped), &wider, &job->made.sql, &inner);
    } else {
        status = PV_NOMEM;
        pv_sql_error_set(&inner, "53200", 0, "%s", pv_status_words(PV_NOMEM));
    }
    pv_buf_clear(&wrapped);
    if (status == PV_OK && filter && !is_filter(job->made.sql)) {
        pv_sql_error_set(&inner, "42601", 0, "not a condition");
        status = PV_SYNTAX;
    }
    if (status != PV_OK && err != NULL) {
        *err = inner;
        err->position = position_in_text(job, inner.position, filter ? sizeof(FILTER_BEFORE) - 1 : 0);
    }
    return status;
}

static enum pv_status
template_parse(struct pv_slice text, const struct pv_sql_limits *limits, bool filter, struct pv_template *out,
               struct pv_sql_error *err)
{
    struct job job;
    char *terminated = NULL;
    enum pv_status status;

    memset(&job, 0, sizeof(job));
    job.text = text.data == NULL ? pv_slice_cstr("") : text;
    job.dollar = -1;
    status = check_and_scan(&job, limits, err, &terminated);
    if (status == PV_OK) {
        status = replace(&job);
        if (status != PV_OK)
            pv_sql_error_set(err, pv_status_sqlstate(status), 0, "%s", pv_status_words(status));
    }
    if (status == PV_OK)
        status = parse_replaced(&job, limits, filter, err);
    if (status == PV_OK)
        *out = job.made;
    else
        pv_template_clear(&job.made);
    pv_sql_free(job.scratch);
    pv_buf_clear(&job.out);
    pv_free(job.places);
    pv_free(terminated);
    return status;
}

enum pv_status
pv_template_parse(struct pv_slice text, const struct pv_sql_limits *limits, struct pv_template *out,
                  struct pv_sql_error *err)
{
    return template_parse(text, limits, false, out, err);
}

enum pv_status
pv_template_parse_filter(struct pv_slice text, const struct pv_sql_limits *limits, struct pv_template *out,
                         struct pv_sql_error *err)
{
    return template_parse(text, limits, true, out, err);
}

void
pv_template_clear(struct pv_template *t)
{
    for (unsigned i = 0; i < t->name_count; i++)
        pv_free(t->names[i]);
    pv_free(t->names);
    pv_sql_free(t->sql);
    memset(t, 0, sizeof(*t));
}
