/*
 * Where errors that PostgreSQL code throws are caught. libpg_query's globals are
 * thread-local; the headers declare them plain, so those declarations are set aside
 * and the true ones stand here.
 */
#define CurrentMemoryContext pv_unused_current_memory_context
#define TopMemoryContext pv_unused_top_memory_context
#define PG_exception_stack pv_unused_exception_stack
#define error_context_stack pv_unused_error_context_stack
#include "parser/parse.h"

#include "utils/memutils.h"
#undef CurrentMemoryContext
#undef TopMemoryContext
#undef PG_exception_stack
#undef error_context_stack

#include "parser/parse_int.h"

#include <pg_query.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

extern __thread MemoryContext CurrentMemoryContext;
extern __thread MemoryContext TopMemoryContext;
extern __thread sigjmp_buf *PG_exception_stack;
extern __thread ErrorContextCallback *error_context_stack;

/* Cuts at a whole character, so that an error message stays valid UTF-8. */
static void
copy_message(char *to, size_t size, const char *from)
{
    size_t len = strnlen(from, size - 1);

    memcpy(to, from, len);
    if (from[len] != '\0')
        while (len > 0 && ((unsigned char) from[len] & 0xC0u) == 0x80u)
            len--;
    to[len] = '\0';
}

void
pv_sql_error_set(struct pv_sql_error *err, const char *sqlstate, int position, const char *format, ...)
{
    char text[sizeof(err->message) + 8];
    va_list args;

    if (err == NULL)
        return;
    va_start(args, format);
    (void) vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    copy_message(err->message, sizeof(err->message), text);
    memcpy(err->sqlstate, sqlstate, 5);
    err->sqlstate[5] = '\0';
    err->position = position;
    err->detail[0] = err->hint[0] = '\0';
}

static enum pv_status
status_of(const char *sqlstate, const char *message)
{
    if (strcmp(sqlstate, "53200") == 0)
        return PV_NOMEM;
    /* The grammar's own stack is bounded too: bison's words for it, with SQLSTATE 42601. */
    if (strcmp(sqlstate, "54001") == 0 || strncmp(message, "memory exhausted", 16) == 0)
        return PV_DEPTH;
    if (strncmp(sqlstate, "54", 2) == 0)
        return PV_LIMIT;
    if (strncmp(sqlstate, "XX", 2) == 0)
        return PV_INTERNAL;
    return PV_SYNTAX;
}

struct thrown {
    enum pv_status status;
    struct pv_sql_error err;
};

static void
free_text(char *text)
{
    if (text != NULL)
        pfree(text);
}

static void
take_error(void *arg)
{
    struct thrown *thrown = arg;
    ErrorData *data = CopyErrorData();
    unsigned code = (unsigned) data->sqlerrcode;
    const char *message = data->message != NULL ? data->message : "internal error";
    char sqlstate[6];

    for (int i = 0; i < 5; i++) {
        sqlstate[i] = (char) PGUNSIXBIT(code);
        code >>= 6;
    }
    sqlstate[5] = '\0';
    thrown->status = status_of(sqlstate, message);
    pv_sql_error_set(&thrown->err, thrown->status == PV_DEPTH ? "54001" : sqlstate, data->cursorpos, "%s",
                     thrown->status == PV_DEPTH ? pv_status_words(PV_DEPTH) : message);
    copy_message(thrown->err.detail, sizeof(thrown->err.detail), data->detail == NULL ? "" : data->detail);
    copy_message(thrown->err.hint, sizeof(thrown->err.hint), data->hint == NULL ? "" : data->hint);
    free_text(data->message);
    free_text(data->detail);
    free_text(data->detail_log);
    free_text(data->hint);
    free_text(data->context);
    free_text(data->backtrace);
    pfree(data);
}

/* Runs fn with errors caught; true when it threw. */
static bool
threw(void (*fn)(void *arg), void *arg)
{
    sigjmp_buf here;
    sigjmp_buf *const above = PG_exception_stack;
    ErrorContextCallback *const callbacks = error_context_stack;
    MemoryContext const before = CurrentMemoryContext;
    volatile bool caught = true;

    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        error_context_stack = NULL;
        fn(arg);
        caught = false;
    }
    PG_exception_stack = above;
    error_context_stack = callbacks;
    CurrentMemoryContext = before;
    return caught;
}

enum pv_status
pv_sql_guard(void (*fn)(void *arg), void *arg, struct pv_sql_error *err)
{
    struct thrown thrown = {PV_NOMEM, {.sqlstate = "53200", .message = "out of memory"}};
    MemoryContext before;

    pg_query_init();
    if (!threw(fn, arg))
        return PV_OK;
    /* Copying the error may itself run out of memory: then that is what is said. */
    before = CurrentMemoryContext;
    if (before == NULL)
        CurrentMemoryContext = TopMemoryContext;
    (void) threw(take_error, &thrown);
    CurrentMemoryContext = before;
    FlushErrorState();
    if (err != NULL)
        *err = thrown.err;
    return thrown.status;
}

MemoryContext
pv_context_enter(MemoryContext context)
{
    MemoryContext before = CurrentMemoryContext;

    CurrentMemoryContext = context;
    return before;
}

static void
make_context(void *arg)
{
    MemoryContext *out = arg;

    /* Without a parent it hangs in no thread's tree, so any thread may delete it. */
    *out = AllocSetContextCreateInternal(NULL, "pgveil", ALLOCSET_DEFAULT_SIZES);
}

enum pv_status
pv_context_new(MemoryContext *out)
{
    return pv_sql_guard(make_context, out, NULL);
}

void
pv_context_free(MemoryContext context)
{
    pg_query_init();
    MemoryContextDelete(context);
}
