#include "proxy/audit/desk_int.h"
#include "proxy/audit/ration_int.h"

#include "proxy/base/limits.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct pv_desk {
    char *path;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t threads[PV_DESK_THREADS];
    unsigned thread_count;
    struct pv_ask *first, **last, *running[PV_DESK_THREADS];
    size_t waiting;
    bool is_closing;
};

/* ---- Asks ---- */

struct pv_ask *
pv_ask_new(void)
{
    struct pv_ask *ask = pv_calloc(1, sizeof(*ask));

    if (ask == NULL)
        return NULL;
    atomic_init(&ask->refs, 1);
    ask->arena = pv_arena_new(1024);
    if (ask->arena == NULL) {
        pv_free(ask);
        return NULL;
    }
    return ask;
}

struct pv_ask *
pv_ask_ref(struct pv_ask *ask)
{
    (void) atomic_fetch_add(&ask->refs, 1);
    return ask;
}

void
pv_ask_unref(struct pv_ask *ask)
{
    if (ask == NULL || atomic_fetch_sub(&ask->refs, 1) != 1)
        return;
    pv_buf_clear(&ask->rows);
    pv_arena_free(ask->arena);
    pv_free(ask);
}

void
pv_ask_cancel(struct pv_ask *ask)
{
    atomic_store(&ask->is_cancelled, true);
}

void
pv_ask_fail(struct pv_ask *ask, const char *sqlstate, const char *message, const char *hint)
{
    if (ask->sqlstate[0] != '\0')
        return;
    (void) snprintf(ask->sqlstate, sizeof(ask->sqlstate), "%s", sqlstate);
    ask->message = message != NULL ? message : pv_status_words(PV_NOMEM);
    ask->hint = hint;
}

void
pv_ask_fail_status(struct pv_ask *ask, enum pv_status status)
{
    pv_ask_fail(ask, pv_status_sqlstate(status), pv_status_words(status), NULL);
}

/* ---- SQLite's words into PostgreSQL's ---- */

static const struct {
    const char *start, *sqlstate, *format, *hint;
} faults[] = {
    {"no such table: ", "42P01", "relation \"%s\" does not exist", "An auditor reads query_log, event_log, daily_usage, "
                                                                   "denials, column_usage, top_members and unused_questions."},
    {"no such column: ", "42703", "column \"%s\" does not exist", NULL},
    {"no such function: ", "42883", "function %s does not exist", NULL},
    {"unknown function: ", "42883", "function %s does not exist", NULL},
    {"ambiguous column name: ", "42702", "column reference \"%s\" is ambiguous", NULL},
    {"wrong number of arguments to function ", "42883", "function %s does not exist with so many arguments", NULL},
    {"misuse of aggregate", "42803", "aggregate functions are not allowed here", NULL},
    {"misuse of window function", "42P20", "window functions are not allowed here", NULL},
    {"no such collation sequence: ", "42704", "collation \"%s\" does not exist", NULL},
    {"unknown database ", "3F000", "schema \"%s\" does not exist", NULL},
};

static void
fail_prepare(struct pv_ask *ask, enum pv_status status, const char *words)
{
    if (status == PV_DENIED) {
        pv_ask_fail(ask, "42501", pv_arena_strdup(ask->arena, words), NULL);
        return;
    }
    if (status != PV_SYNTAX) {
        pv_ask_fail_status(ask, status);
        return;
    }
    if (strncmp(words, "cannot modify ", 14) == 0 || strstr(words, "may not be modified") != NULL) {
        pv_ask_fail(ask, "42501", "the query log can only be read", NULL);
        return;
    }
    for (size_t i = 0; i < PV_COUNT_OF(faults); i++) {
        size_t len = strlen(faults[i].start);
        char *name;

        if (strncmp(words, faults[i].start, len) != 0)
            continue;
        if (i == 0 && (strncmp(words + len, "pg_", 3) == 0 || strncmp(words + len, "information_schema_", 19) == 0)) {
            pv_ask_fail(
                ask, "0A000", "this catalog is not available for the query log",
                "Its pg_class, pg_attribute, pg_type, pg_namespace and information_schema.tables and columns are.");
            return;
        }
        name = pv_arena_printf(ask->arena, "%.*s", (int) strcspn(words + len, "()"), words + len);
        {
            const char *format = faults[i].format, *at = strstr(format, "%s");

            pv_ask_fail(ask, faults[i].sqlstate,
                        at == NULL ? format
                                   : pv_arena_printf(ask->arena, "%.*s%s%s", (int) (at - format), format,
                                                     name == NULL ? "" : name, at + 2),
                        faults[i].hint);
        }
        return;
    }
    pv_ask_fail(ask, "42601", pv_arena_strdup(ask->arena, words), "The query log speaks SQLite's SELECT.");
}

void
pv_ask_fail_step(struct pv_ask *ask, struct pv_log_reader *reader)
{
    int rc = sqlite3_errcode(reader->sqlite) & 0xff;

    if (rc == SQLITE_INTERRUPT && atomic_load(&ask->is_cancelled))
        pv_ask_fail(ask, "57014", "canceling statement due to user request", NULL);
    else if (rc == SQLITE_INTERRUPT)
        pv_ask_fail(ask, "57014", "canceling statement due to statement timeout",
                    "A statement over the query log has 5 seconds; narrow it by seq or at.");
    else if (rc == SQLITE_ERROR || rc == SQLITE_MISMATCH)
        pv_ask_fail(ask, strstr(sqlite3_errmsg(reader->sqlite), "for type timestamp") != NULL ? "22007" : "22P02",
                    pv_arena_strdup(ask->arena, sqlite3_errmsg(reader->sqlite)), NULL);
    else if (rc == SQLITE_NOMEM)
        pv_ask_fail(ask, "53200", "out of memory", "Ask for less, for example with LIMIT or by seq.");
    else if (rc == SQLITE_TOOBIG)
        pv_ask_fail(ask, "54000", "a value is too large", NULL);
    else
        pv_ask_fail(ask, "58030", "the query log cannot be read", NULL);
}

/* ---- Running ---- */

static void
run(struct pv_ask *ask, const char *path)
{
    const struct pv_log_reader_options options = {
        .rooms = ask->rooms, .room_count = ask->room_count, .timeout_ms = PV_DESK_QUERY_MS, .mask = ask->mask,
        .auditor = ask->user};
    struct pv_log_reader *reader = NULL;
    sqlite3_stmt *statement = NULL;
    char words[512] = "";
    enum pv_status status;

    if (atomic_load(&ask->is_cancelled)) {
        pv_ask_fail(ask, "57014", "canceling statement due to user request", NULL);
        return;
    }
    status = pv_log_reader_open(path, &options, &reader, words, sizeof(words));
    if (status == PV_OK && ask->has_catalog)
        status = pv_helpers_catalog(reader);
    if (status != PV_OK) {
        pv_ask_fail(ask, "58030", "the query log cannot be read", NULL);
        pv_log_reader_close(reader);
        return;
    }
    reader->cancel = &ask->is_cancelled;
    pv_reader_start_clock(reader);
    status = pv_reader_prepare(reader, ask->sql, &statement, words, sizeof(words));
    if (status != PV_OK)
        fail_prepare(ask, status, words);
    else if (pv_ask_bind(ask, statement))
        pv_ask_read(ask, reader, statement);
    if (ask->sqlstate[0] != '\0') {
        pv_buf_clear(&ask->rows);
        ask->row_count = 0;
    }
    (void) sqlite3_finalize(statement);
    pv_reader_release(reader);
    pv_log_reader_close(reader);
}

void
pv_ask_run(struct pv_ask *ask, const char *path)
{
    pv_ration_begin(PV_DESK_MEMORY_MAX);
    run(ask, path);
    pv_ration_end();
}

/* ---- Threads ---- */

static void *
work(void *context)
{
    struct pv_desk *desk = context;
    unsigned slot = 0;

    (void) pthread_mutex_lock(&desk->mutex);
    for (;;) {
        struct pv_ask *ask;

        while (desk->first == NULL && !desk->is_closing)
            (void) pthread_cond_wait(&desk->wake, &desk->mutex);
        if (desk->first == NULL)
            break;
        ask = desk->first;
        desk->first = ask->next;
        if (desk->first == NULL)
            desk->last = &desk->first;
        desk->waiting--;
        for (slot = 0; desk->running[slot] != NULL; slot++)
            ;
        desk->running[slot] = ask;
        (void) pthread_mutex_unlock(&desk->mutex);
        pv_ask_run(ask, desk->path);
        (void) pthread_mutex_lock(&desk->mutex);
        desk->running[slot] = NULL;
        (void) pthread_mutex_unlock(&desk->mutex);
        ask->done(ask);
        (void) pthread_mutex_lock(&desk->mutex);
    }
    (void) pthread_mutex_unlock(&desk->mutex);
    return NULL;
}

enum pv_status
pv_desk_open(const char *path, struct pv_desk **desk)
{
    struct pv_desk *made = pv_calloc(1, sizeof(*made));
    pthread_attr_t attributes;
    sigset_t all, before;

    if (made == NULL)
        return PV_NOMEM;
    made->last = &made->first;
    made->path = pv_strdup(path);
    (void) pthread_mutex_init(&made->mutex, NULL);
    (void) pthread_cond_init(&made->wake, NULL);
    /* Signals belong to the main thread. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    (void) pthread_attr_init(&attributes);
    /* A mask parses. */
    (void) pthread_attr_setstacksize(&attributes, PV_PARSE_STACK_BYTES);
    while (made->path != NULL && made->thread_count < PV_DESK_THREADS &&
           pthread_create(&made->threads[made->thread_count], &attributes, work, made) == 0)
        made->thread_count++;
    (void) pthread_attr_destroy(&attributes);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (made->thread_count < PV_DESK_THREADS) {
        pv_desk_close(made);
        return PV_NOMEM;
    }
    *desk = made;
    return PV_OK;
}

void
pv_desk_close(struct pv_desk *desk)
{
    if (desk == NULL)
        return;
    (void) pthread_mutex_lock(&desk->mutex);
    desk->is_closing = true;
    for (struct pv_ask *ask = desk->first; ask != NULL; ask = ask->next)
        pv_ask_cancel(ask);
    for (unsigned i = 0; i < PV_DESK_THREADS; i++)
        if (desk->running[i] != NULL)
            pv_ask_cancel(desk->running[i]);
    (void) pthread_mutex_unlock(&desk->mutex);
    (void) pthread_cond_broadcast(&desk->wake);
    for (unsigned i = 0; i < desk->thread_count; i++)
        (void) pthread_join(desk->threads[i], NULL);
    (void) pthread_cond_destroy(&desk->wake);
    (void) pthread_mutex_destroy(&desk->mutex);
    pv_free(desk->path);
    pv_free(desk);
}

enum pv_status
pv_desk_put(struct pv_desk *desk, struct pv_ask *ask)
{
    enum pv_status status = PV_LIMIT;

    (void) pthread_mutex_lock(&desk->mutex);
    if (!desk->is_closing && desk->waiting < PV_DESK_QUEUE_MAX) {
        ask->next = NULL;
        *desk->last = pv_ask_ref(ask);
        desk->last = &ask->next;
        desk->waiting++;
        status = PV_OK;
    }
    (void) pthread_mutex_unlock(&desk->mutex);
    if (status == PV_OK)
        (void) pthread_cond_signal(&desk->wake);
    return status;
}
