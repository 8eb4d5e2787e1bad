/*
 * What the client is told when something goes wrong: our own errors, and a server's
 * errors and notices as far as they may be shown.
 */
#include "proxy/session/session_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/views.h"

void
pv_error_simple(struct pv_error *error, const char *sqlstate, const char *message)
{
    memset(error, 0, sizeof(*error));
    error->severity = "ERROR";
    error->sqlstate = sqlstate;
    error->message = message;
}

const char *
pv_error_printf(struct pv_arena *arena, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = pv_arena_vprintf(arena, format, args);
    va_end(args);
    return text == NULL ? pv_status_words(PV_NOMEM) : text;
}

static void
write_notice(struct pv_session *s, enum pv_server_tag tag, const struct pv_msg_notice *notice)
{
    size_t before = pv_buf_len(&s->client_out);
    enum pv_status status = pv_msg_notice_write(&s->client_out, tag, notice);

    s->client_total += pv_buf_len(&s->client_out) - before;
    if (status != PV_OK)
        s->client_out.failed = true;
}

void
pv_error_write(struct pv_session *s, const struct pv_error *error)
{
    struct pv_msg_notice notice;
    char position[16];

    pv_msg_notice_init(&notice, error->severity, error->sqlstate, error->message);
    if (error->detail != NULL)
        pv_msg_notice_set(&notice, PV_NOTICE_DETAIL, error->detail);
    if (error->hint != NULL)
        pv_msg_notice_set(&notice, PV_NOTICE_HINT, error->hint);
    if (error->position > 0) {
        (void) snprintf(position, sizeof(position), "%u", (unsigned) error->position);
        pv_msg_notice_set(&notice, PV_NOTICE_POSITION, position);
    }
    write_notice(s, PV_SERVER_ERROR_RESPONSE, &notice);
}

/* `pgveil_` up to a `$`, which no published name holds: the part of a physical name that callers must not see. */
const char *
pv_result_scrub(struct pv_arena *arena, struct pv_slice text)
{
    static const char prefix[] = "pgveil_";
    const size_t prefix_len = sizeof(prefix) - 1;
    char *out = pv_arena_alloc(arena, text.len + 1);
    size_t len = 0, at = 0;

    if (out == NULL)
        return NULL;
    while (at < text.len) {
        size_t end = at + prefix_len;

        if (text.len - at < prefix_len || memcmp(text.data + at, prefix, prefix_len) != 0) {
            out[len++] = (char) text.data[at++];
            continue;
        }
        while (end < text.len && text.data[end] != '$' && text.data[end] != '"' && text.data[end] != ' ' &&
               text.data[end] != '.')
            end++;
        if (end == text.len || text.data[end] != '$')
            return NULL;
        at = end + 1;
    }
    out[len] = '\0';
    return out;
}

/* ---- Names of types and functions, which the server qualifies where they are not on its own search_path ---- */

static bool
is_name_byte(uint8_t c)
{
    return c == '_' || c == '$' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* The end of the name, quoted or not, that begins here; `at` itself: none. */
static size_t
name_end(struct pv_slice text, size_t at)
{
    size_t end = at;

    if (text.data[at] == '"') {
        for (end = at + 1; end < text.len; end++)
            if (text.data[end] == '"' && (end + 1 == text.len || text.data[++end] != '"'))
                return end + (text.data[end] == '"');
        return at;
    }
    while (end < text.len && is_name_byte(text.data[end]))
        end++;
    return end;
}

/* `schema.name` becomes `name`, in messages that speak of types and functions: nothing is told of where they stand. */
static struct pv_slice
drop_schemas(struct pv_arena *arena, struct pv_slice text)
{
    uint8_t *out = pv_arena_alloc(arena, text.len + 1);
    size_t len = 0;

    if (out == NULL)
        return pv_slice_of(NULL, 0);
    for (size_t at = 0; at < text.len;) {
        size_t end = name_end(text, at);

        if (end > at && end + 1 < text.len && text.data[end] == '.' && name_end(text, end + 1) > end + 1) {
            at = end + 1;
            continue;
        }
        end = end == at ? at + 1 : end;
        memcpy(out + len, text.data + at, end - at);
        len += end - at;
        at = end;
    }
    return pv_slice_of(out, len);
}

static bool
is_of_ours(struct pv_slice message)
{
    static const char *const heads[] = {"function pgveil_", "function \"pgveil_"};

    for (size_t i = 0; i < PV_COUNT_OF(heads); i++)
        if (message.len > strlen(heads[i]) && memcmp(message.data, heads[i], strlen(heads[i])) == 0)
            return true;
    return false;
}

/* Functions of ours that stand in for PostgreSQL's take the search_path as one argument more. */
static struct pv_slice
drop_path_argument(struct pv_slice message)
{
    static const char *const tails[] = {", name[]) does not exist", "name[]) does not exist"};
    static const char end[] = ") does not exist";

    for (size_t i = 0; i < PV_COUNT_OF(tails); i++) {
        size_t len = strlen(tails[i]);
        uint8_t *at;

        if (message.len < len || memcmp(message.data + message.len - len, tails[i], len) != 0)
            continue;
        at = (uint8_t *) (uintptr_t) message.data + message.len - len; /* drop_schemas made it */
        memcpy(at, end, sizeof(end) - 1);
        return pv_slice_of(message.data, message.len - len + sizeof(end) - 1);
    }
    return message;
}

/* Codes whose messages name types and functions, never a caller's columns or values. */
static bool
names_types(struct pv_slice sqlstate)
{
    static const char *const codes[] = {"42883", "42804", "42725", "42846", "42P18", "42809", "42P13", "42P21",
                                        "42P22", "42704", "0A000", "2202E", "42P38"};

    for (size_t i = 0; i < PV_COUNT_OF(codes); i++)
        if (pv_slice_is(sqlstate, codes[i]))
            return true;
    return false;
}

/* A value that a domain refuses is not in the message: its name is, and that of a constraint. */
static bool
names_domain(const struct pv_msg_notice *notice)
{
    static const char *const heads[] = {"domain ", "value for domain "};
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE], sqlstate = notice->fields[PV_NOTICE_SQLSTATE];

    if (!pv_slice_is(sqlstate, "23514") && !pv_slice_is(sqlstate, "23502"))
        return false;
    for (size_t i = 0; i < PV_COUNT_OF(heads); i++)
        if (message.len > strlen(heads[i]) && memcmp(message.data, heads[i], strlen(heads[i])) == 0)
            return true;
    return false;
}

/* The message without schemas. An enum's value stands behind a colon, as it was written. */
static struct pv_slice
unqualified(struct pv_arena *arena, const struct pv_msg_notice *notice)
{
    static const char of_enum[] = "invalid input value for enum ";
    static const char of_check[] = " violates check constraint"; /* whose name follows, and is not for the caller */
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE], head, out;
    const uint8_t *colon;

    if (message.data == NULL)
        return message;
    if (names_types(notice->fields[PV_NOTICE_SQLSTATE])) {
        out = drop_schemas(arena, message);
        return is_of_ours(message) ? drop_path_argument(out) : out;
    }
    if (names_domain(notice)) {
        const uint8_t *cut = memmem(message.data, message.len, of_check, sizeof(of_check) - 1);

        if (cut != NULL)
            message.len = (size_t) (cut - message.data) + sizeof(of_check) - 1;
        return drop_schemas(arena, message);
    }
    colon = memchr(message.data, ':', message.len);
    if (colon == NULL || message.len < sizeof(of_enum) - 1 || memcmp(message.data, of_enum, sizeof(of_enum) - 1) != 0)
        return message;
    head = drop_schemas(arena, pv_slice_of(message.data, (size_t) (colon - message.data)));
    out.data = (const uint8_t *) pv_error_printf(arena, "%.*s%.*s", (int) head.len, (const char *) head.data,
                                                 (int) (message.len - (size_t) (colon - message.data)),
                                                 (const char *) colon);
    out.len = strlen((const char *) out.data);
    return out;
}

static const char redacted_words[] = "the question could not be answered for this data";

/* Words for codes that say nothing of the data, NULL for all others. */
static const char *
plain_words(struct pv_slice sqlstate, const struct pv_run *run)
{
    if (pv_slice_is(sqlstate, "57014"))
        return run != NULL && run->withdrawn_words != NULL ? run->withdrawn_words
               : run != NULL && run->has_timed_out         ? "canceling statement due to statement timeout" : NULL;
    if (pv_slice_is(sqlstate, "54000") && run != NULL && run->effective != NULL && run->effective->question != NULL &&
        run->effective->question->max_rows > 0)
        return "the result has more rows than the question allows";
    return NULL;
}

static const char *
redacted_message(struct pv_slice sqlstate)
{
    if (pv_slice_is(sqlstate, "57014"))
        return "canceling statement due to user request";
    if (sqlstate.len == 5 && memcmp(sqlstate.data, "57P", 3) == 0)
        return "terminating connection due to administrator command";
    if (pv_slice_is(sqlstate, "25P02"))
        return "current transaction is aborted, commands ignored until end of transaction block";
    return redacted_words;
}

/*
 * Errors that PostgreSQL finds in a statement before it reads a row: they speak of the text that was sent (a missing
 * operator, an ungrouped column), so an analyst gets them whole, from an analytical question too.
 */
static bool
is_of_the_text(const struct pv_msg_notice *notice)
{
    static const char *const codes[] = {"42883", "42804", "42803", "42702", "42703", "42P10", "42725", "42P18"};

    /* Functions raise 42601 too, of values; these messages are the analysis's alone. */
    static const char *const shapes[] = {"subquery must return only one column", "subquery has too many columns",
                                         "subquery has too few columns", "unequal number of entries in row expressions",
                                         "positional argument cannot follow named argument"};
    struct pv_slice sqlstate = notice->fields[PV_NOTICE_SQLSTATE], message = notice->fields[PV_NOTICE_MESSAGE];

    for (size_t i = 0; i < PV_COUNT_OF(codes); i++)
        if (pv_slice_is(sqlstate, codes[i]))
            return true;
    for (size_t i = 0; i < PV_COUNT_OF(shapes) && pv_slice_is(sqlstate, "42601"); i++)
        if (message.data != NULL && pv_slice_is(message, shapes[i]))
            return true;
    return false;
}

/* Bind's own counts of parameters, formats and columns: found before anything runs. */
static bool
is_of_the_bind(const struct pv_msg_notice *notice, const struct pv_request *r)
{
    static const char head[] = "bind message ";
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE];

    return r != NULL && r->kind == PV_REQUEST_BIND && pv_slice_is(notice->fields[PV_NOTICE_SQLSTATE], "08P01") &&
           message.len > sizeof(head) - 1 && memcmp(message.data, head, sizeof(head) - 1) == 0;
}

/* A shared server has the statement under a name of ours: told by the client's. NULL: as it came. */
static const char *
bind_words(struct pv_arena *arena, const struct pv_msg_notice *notice, const struct pv_request *r)
{
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE];
    const char *text, *at, *end;

    if (!is_of_the_bind(notice, r) || r->statement == NULL)
        return NULL;
    text = pv_error_printf(arena, "%.*s", (int) message.len, (const char *) message.data);
    at = strstr(text, "\"" PV_RESERVED_PREFIX);
    end = at == NULL ? NULL : strchr(at + 1, '"');
    return end == NULL ? NULL
                       : pv_error_printf(arena, "%.*s\"%s%s", (int) (at - text), text, r->statement->name, end);
}

static const struct refused_type {
    const char *function, *before, *after, *hint; /* the types between before and after */
} refused_types[] = {
    {PV_VIEWS_TAME "(", "a value of type", "cannot be used so in a question over data",
     "Functions, casts, sums and || take texts, numbers, dates and times; group by the column itself."},
    {PV_VIEWS_TAME_ABS "(", "a value of type", "cannot be used so in a question over data",
     "Functions, casts, sums and || take texts, numbers, dates and times; group by the column itself."},
    {PV_VIEWS_TAME, "a value of type", "cannot be used so in a question over data",
     "Here stands a date or a timestamp."},
    {PV_VIEWS_COMPARES, "values of type", "cannot be compared in a question over data",
     "Comparing them fails for some values, which would tell of their rows; texts, numbers, dates and times can be compared."},
    {PV_VIEWS_JOINS, "columns of types", "cannot be joined in a question over data",
     "One would be cast to the other's type, which fails for some values and would tell of their rows; the owner of one "
     "may show it with the other's type."},
};

/*
 * A type that no value of open questions' functions may have: PostgreSQL says that one of ours takes none of it, as
 * `function S.pgveil_tame(TYPE) does not exist`. False: another error.
 */
static bool
tell_refused_type(struct pv_session *s, enum pv_server_tag tag, const struct pv_msg_notice *notice)
{
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE];
    const struct refused_type *refused = NULL;
    const char *at = NULL, *type;
    struct pv_msg_notice out;
    char text[1024], words[512];

    if (!pv_slice_is(notice->fields[PV_NOTICE_SQLSTATE], "42883") || message.data == NULL || message.len >= sizeof(text))
        return false;
    memcpy(text, message.data, message.len);
    text[message.len] = '\0';
    for (size_t i = 0; i < PV_COUNT_OF(refused_types) && at == NULL; i++) {
        refused = &refused_types[i];
        at = strstr(text, refused->function);
    }
    type = at == NULL ? NULL : strchr(at, '(');
    if (type == NULL || strrchr(type, ')') == NULL)
        return false;
    (void) snprintf(words, sizeof(words), "%s %.*s %s", refused->before,
                    (int) (strrchr(type, ')') - type - 1), type + 1, refused->after);
    memset(&out, 0, sizeof(out));
    out.fields[PV_NOTICE_SEVERITY] = notice->fields[PV_NOTICE_SEVERITY];
    out.fields[PV_NOTICE_SEVERITY_PLAIN] = notice->fields[PV_NOTICE_SEVERITY_PLAIN];
    out.fields[PV_NOTICE_SQLSTATE] = notice->fields[PV_NOTICE_SQLSTATE];
    pv_msg_notice_set(&out, PV_NOTICE_MESSAGE, words);
    pv_msg_notice_set(&out, PV_NOTICE_HINT, refused->hint);
    write_notice(s, tag, &out);
    return true;
}

/*
 * A cast to a type that the room does not have calls a function that is not there, as `function
 * S.pgveil_cast_NAME(text) does not exist` says: told as the missing type, to the client and in the log.
 */
void
pv_error_retell_type(struct pv_msg_notice *notice, char words[PV_RETOLD_SIZE])
{
    struct pv_slice message = notice->fields[PV_NOTICE_MESSAGE];
    static const char *const heads[] = {"." PV_VIEWS_TYPE_FUNCTION, "." PV_VIEWS_TYPED_FUNCTION};
    const char *at = NULL, *end;
    char text[256];

    if (!pv_slice_is(notice->fields[PV_NOTICE_SQLSTATE], "42883") || message.data == NULL || message.len >= sizeof(text))
        return;
    memcpy(text, message.data, message.len);
    text[message.len] = '\0';
    for (size_t i = 0; i < PV_COUNT_OF(heads) && at == NULL; i++) {
        at = strstr(text, heads[i]);
        at = at == NULL ? NULL : at + strlen(heads[i]);
    }
    end = strrchr(text, '(');
    if (strncmp(text, "function pgveil_", 16) != 0 || at == NULL || end == NULL || end < at)
        return;
    (void) snprintf(words, PV_RETOLD_SIZE, "type \"%.*s\" does not exist", (int) (end - at), at);
    pv_msg_notice_set(notice, PV_NOTICE_SQLSTATE, "42704");
    pv_msg_notice_set(notice, PV_NOTICE_MESSAGE, words);
    memset(&notice->fields[PV_NOTICE_HINT], 0, sizeof(notice->fields[PV_NOTICE_HINT]));
}

static void
copy_shown(struct pv_msg_notice *out, const struct pv_msg_notice *in, struct pv_arena *arena,
           enum pv_msg_notice_field field)
{
    struct pv_slice text = field == PV_NOTICE_MESSAGE ? unqualified(arena, in) : in->fields[field];
    const char *shown;

    if (in->fields[field].data == NULL)
        return;
    shown = text.data == NULL ? NULL : pv_result_scrub(arena, text);
    if (shown != NULL)
        pv_msg_notice_set(out, field, shown);
    else if (field == PV_NOTICE_MESSAGE)
        pv_msg_notice_set(out, field, redacted_words);
}

/* The position in the client's own text, or none. */
static void
put_place(struct pv_session *s, struct pv_msg_notice *out, const struct pv_msg_notice *notice, const struct pv_request *r,
          const struct pv_run *run, char position[16])
{
    memset(&out->fields[PV_NOTICE_POSITION], 0, sizeof(out->fields[PV_NOTICE_POSITION]));
    if (pv_error_place(s, notice, r, run, position))
        pv_msg_notice_set(out, PV_NOTICE_POSITION, position);
}

bool
pv_error_is_redacted(const struct pv_session *s, const struct pv_request *r, const struct pv_run *run)
{
    bool ends_transaction;

    if (run != NULL && run->effective != NULL && run->effective->is_redacted)
        return true;
    if (r != NULL && run == NULL && r->named != NULL && r->named->facts.is_redacted)
        return true;
    /* COMMIT does, a Sync, and the last statement of a Query that is a transaction of its own. */
    ends_transaction = r == NULL || r->kind == PV_REQUEST_SYNC || (run != NULL && run->kind == PV_KIND_COMMIT) ||
                       (r->kind == PV_REQUEST_QUERY && !s->track.is_in_block && r->run_at + 1 >= r->run_count);
    return ends_transaction && pv_track_holds_redacted(s);
}

void
pv_error_relay(struct pv_session *s, enum pv_server_tag tag, const struct pv_msg_notice *notice,
               const struct pv_request *r, const struct pv_run *run)
{
    struct pv_msg_notice out;
    struct pv_arena *arena = NULL;
    char position[16];
    bool is_redacted = pv_error_is_redacted(s, r, run);
    const char *words = plain_words(notice->fields[PV_NOTICE_SQLSTATE], run);

    if (s->is_conformance) {
        out = *notice;
        if (r != NULL && tag == PV_SERVER_ERROR_RESPONSE && !r->is_verbatim)
            put_place(s, &out, notice, r, run, position);
        write_notice(s, tag, &out);
        return;
    }
    if (is_redacted && tag == PV_SERVER_NOTICE_RESPONSE)
        return;
    if (tell_refused_type(s, tag, notice))
        return;
    memset(&out, 0, sizeof(out));
    out.fields[PV_NOTICE_SEVERITY] = notice->fields[PV_NOTICE_SEVERITY];
    out.fields[PV_NOTICE_SEVERITY_PLAIN] = notice->fields[PV_NOTICE_SEVERITY_PLAIN];
    out.fields[PV_NOTICE_SQLSTATE] = notice->fields[PV_NOTICE_SQLSTATE];
    if (words == NULL && is_redacted && !is_of_the_text(notice) && !is_of_the_bind(notice, r))
        words = redacted_message(notice->fields[PV_NOTICE_SQLSTATE]);
    if (words != NULL) {
        pv_msg_notice_set(&out, PV_NOTICE_MESSAGE, words);
        write_notice(s, tag, &out);
        return;
    }
    arena = pv_arena_new(1024);
    if (arena == NULL) {
        pv_session_fail(s, PV_NOMEM);
        return;
    }
    words = bind_words(arena, notice, r);
    if (words != NULL)
        pv_msg_notice_set(&out, PV_NOTICE_MESSAGE, words);
    else
        copy_shown(&out, notice, arena, PV_NOTICE_MESSAGE);
    copy_shown(&out, notice, arena, PV_NOTICE_DETAIL);
    copy_shown(&out, notice, arena, PV_NOTICE_HINT);
    if (r != NULL && r->is_verbatim)
        out.fields[PV_NOTICE_POSITION] = notice->fields[PV_NOTICE_POSITION];
    else if (r != NULL && tag == PV_SERVER_ERROR_RESPONSE)
        put_place(s, &out, notice, r, run, position);
    write_notice(s, tag, &out);
    pv_arena_free(arena);
}
