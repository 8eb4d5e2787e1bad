#include "proxy/audit/store.h"

#include "proxy/audit/db_int.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum query {
    BEGIN,
    COMMIT,
    ROLLBACK,
    CHANGES,
    SECRET_GET,
    SECRET_PUT,
    SECRET_REMOVE,
    APPROVAL_ADD,
    APPROVALS,
    CONSENT_ADD,
    CONSENTS,
    BUDGET_USED,
    QUERY_COUNT
};

static const char *const queries[QUERY_COUNT] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [CHANGES] = "SELECT value FROM meta WHERE name = 'changes'",
    [SECRET_GET] = "SELECT secret FROM secret WHERE scope = ?1 AND name = ?2",
    [SECRET_PUT] = "INSERT INTO secret (scope, name, secret) VALUES (?1, ?2, ?3)"
                   " ON CONFLICT (scope, name) DO UPDATE SET secret = excluded.secret",
    [SECRET_REMOVE] = "DELETE FROM secret WHERE scope = ?1 AND name = coalesce(?2, name)",
    [APPROVAL_ADD] = "INSERT INTO approval (room, question, party, at, text, signature, fingerprint)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [APPROVALS] = "SELECT room, question, party, at, text, signature, fingerprint FROM approval"
                  " WHERE room = coalesce(?1, room) AND question = coalesce(?2, question) ORDER BY seq DESC",
    [CONSENT_ADD] = "INSERT INTO consent (room, kind, subject, party, withdrawn, at, signature, fingerprint)"
                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [CONSENTS] = "SELECT room, kind, subject, party, withdrawn, at, signature, fingerprint FROM consent AS c"
                 " WHERE room = coalesce(?1, room) AND NOT EXISTS (SELECT 1 FROM consent AS n WHERE n.room = c.room AND"
                 " n.kind = c.kind AND n.subject = c.subject AND n.party = c.party AND (n.at, n.seq) > (c.at, c.seq))"
                 " ORDER BY seq",
    [BUDGET_USED] = "SELECT runs FROM budget WHERE key = ?1 AND period = ?2",
};

struct pv_store {
    pthread_mutex_t mutex;
    struct pv_db *db;
    sqlite3_stmt *statements[QUERY_COUNT];
};

static enum pv_status
prepare_all(struct pv_store *store, const char *path, char *error, size_t error_size)
{
    enum pv_status status = PV_OK;

    for (int i = 0; status == PV_OK && i < QUERY_COUNT; i++)
        status = pv_db_prepare(store->db->sqlite, queries[i], &store->statements[i]);
    if (status != PV_OK)
        pv_db_error(error, error_size, "cannot open the state file %s: %s", path, sqlite3_errmsg(store->db->sqlite));
    return status;
}

enum pv_status
pv_store_open(const char *path, struct pv_store **store, char *error, size_t error_size)
{
    const struct pv_db_options options = {.is_creating = true};
    struct pv_store *made = pv_calloc(1, sizeof(*made));
    enum pv_status status;

    pv_db_error(error, error_size, "%s", made == NULL ? pv_status_words(PV_NOMEM) : "");
    if (made == NULL)
        return PV_NOMEM;
    (void) pthread_mutex_init(&made->mutex, NULL);
    status = pv_db_open(path, &options, &made->db, error, error_size);
    if (status == PV_OK)
        status = prepare_all(made, path, error, error_size);
    if (status != PV_OK) {
        pv_store_close(made);
        return status;
    }
    *store = made;
    return PV_OK;
}

enum pv_status
pv_store_open_reading(const char *path, struct pv_store **store, char *error, size_t error_size)
{
    struct pv_store *made = pv_calloc(1, sizeof(*made));
    enum pv_status status = PV_NOMEM;

    pv_db_error(error, error_size, "%s", pv_status_words(PV_NOMEM));
    if (made == NULL)
        return PV_NOMEM;
    (void) pthread_mutex_init(&made->mutex, NULL);
    made->db = pv_calloc(1, sizeof(*made->db));
    if (made->db != NULL)
        status = pv_db_open_reading(path, &made->db->sqlite, error, error_size);
    if (status == PV_OK)
        status = prepare_all(made, path, error, error_size);
    if (status != PV_OK) {
        pv_store_close(made);
        return status;
    }
    *store = made;
    return PV_OK;
}

void
pv_store_close(struct pv_store *store)
{
    if (store == NULL)
        return;
    for (int i = 0; i < QUERY_COUNT; i++)
        (void) sqlite3_finalize(store->statements[i]);
    pv_db_close(store->db);
    (void) pthread_mutex_destroy(&store->mutex);
    pv_free(store);
}

/* ---- Statements and transactions ---- */

static void
bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    (void) sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

/* An empty slice is an empty blob, not NULL. */
static void
bind_blob(sqlite3_stmt *statement, int index, struct pv_slice bytes)
{
    (void) sqlite3_bind_blob64(statement, index, bytes.data == NULL ? (const uint8_t *) "" : bytes.data, bytes.len,
                               SQLITE_STATIC);
}

/* A binding may point at a secret: none stays behind. */
static void
done(sqlite3_stmt *statement)
{
    (void) sqlite3_reset(statement);
    (void) sqlite3_clear_bindings(statement);
}

static enum pv_status
run(sqlite3_stmt *statement)
{
    enum pv_status status = pv_db_step(statement);

    done(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

static sqlite3_stmt *
enter(struct pv_store *store, enum query query)
{
    (void) pthread_mutex_lock(&store->mutex);
    return store->statements[query];
}

static enum pv_status
leave(struct pv_store *store, enum pv_status status)
{
    (void) pthread_mutex_unlock(&store->mutex);
    return status;
}

/* Ends what BEGIN began: commits where all went well, else rolls back. */
static enum pv_status
finish(struct pv_store *store, enum pv_status status)
{
    if (status == PV_OK)
        status = run(store->statements[COMMIT]);
    if (sqlite3_get_autocommit(store->db->sqlite) == 0)
        (void) run(store->statements[ROLLBACK]);
    return status;
}

enum pv_status
pv_store_changes(struct pv_store *store, uint64_t *changes)
{
    sqlite3_stmt *statement = enter(store, CHANGES);
    enum pv_status status = pv_db_step(statement);

    if (status == PV_OK)
        *changes = (uint64_t) sqlite3_column_int64(statement, 0);
    done(statement);
    return leave(store, status == PV_NOTFOUND ? PV_CORRUPT : status);
}

/* ---- Secrets ---- */

static enum pv_status
secret_get(struct pv_store *store, const char *scope, const char *name, struct pv_buf *out)
{
    sqlite3_stmt *statement = store->statements[SECRET_GET];
    enum pv_status status;

    bind_text(statement, 1, scope);
    bind_text(statement, 2, name);
    status = pv_db_step(statement);
    if (status == PV_OK) {
        const void *secret = sqlite3_column_blob(statement, 0);

        pv_buf_put(out, secret, (size_t) sqlite3_column_bytes(statement, 0));
        status = pv_buf_ok(out) ? PV_OK : PV_NOMEM;
    }
    done(statement);
    return status;
}

static enum pv_status
secret_put(struct pv_store *store, const char *scope, const char *name, struct pv_slice secret)
{
    sqlite3_stmt *statement = store->statements[SECRET_PUT];

    bind_text(statement, 1, scope);
    bind_text(statement, 2, name);
    bind_blob(statement, 3, secret);
    return run(statement);
}

enum pv_status
pv_store_secret_get(struct pv_store *store, const char *scope, const char *name, struct pv_buf *out)
{
    (void) enter(store, SECRET_GET);
    return leave(store, secret_get(store, scope, name, out));
}

enum pv_status
pv_store_secret_put(struct pv_store *store, const char *scope, const char *name, struct pv_slice secret)
{
    (void) enter(store, SECRET_PUT);
    return leave(store, secret_put(store, scope, name, secret));
}

static enum pv_status
secret_make(size_t len, bool as_hex, struct pv_buf *secret)
{
    struct pv_buf raw = {0};
    uint8_t *room = pv_buf_reserve(&raw, len);
    enum pv_status status = room == NULL ? PV_NOMEM : pv_random_bytes(room, len);

    if (status == PV_OK) {
        pv_buf_commit(&raw, len);
        if (as_hex)
            status = pv_hex_encode(pv_buf_slice(&raw), secret);
        else
            pv_buf_put_slice(secret, pv_buf_slice(&raw));
    }
    if (status == PV_OK && !pv_buf_ok(secret))
        status = PV_NOMEM;
    pv_buf_wipe(&raw);
    return status;
}

enum pv_status
pv_store_secret_ensure(struct pv_store *store, const char *scope, const char *name, size_t len, bool as_hex,
                       struct pv_buf *out)
{
    struct pv_buf made = {0};
    enum pv_status status = run(enter(store, BEGIN));

    if (status != PV_OK)
        return leave(store, status);
    status = secret_get(store, scope, name, out);
    if (status == PV_NOTFOUND) {
        status = secret_make(len, as_hex, &made);
        if (status == PV_OK)
            status = secret_put(store, scope, name, pv_buf_slice(&made));
    }
    status = finish(store, status);
    if (status == PV_OK && pv_buf_len(&made) > 0) {
        pv_buf_put_slice(out, pv_buf_slice(&made));
        status = pv_buf_ok(out) ? PV_OK : PV_NOMEM;
    }
    pv_buf_wipe(&made);
    return leave(store, status);
}

enum pv_status
pv_store_secret_remove(struct pv_store *store, const char *scope, const char *name)
{
    sqlite3_stmt *statement = enter(store, SECRET_REMOVE);

    bind_text(statement, 1, scope);
    bind_text(statement, 2, name);
    return leave(store, run(statement));
}

/* ---- Rows into an arena ---- */

static const char *
copy_text(struct pv_arena *arena, sqlite3_stmt *statement, int column, bool *is_ok)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    char *copy;

    if (text == NULL)
        return NULL;
    copy = pv_arena_strdup(arena, (const char *) text);
    *is_ok = *is_ok && copy != NULL;
    return copy;
}

static struct pv_slice
copy_blob(struct pv_arena *arena, sqlite3_stmt *statement, int column, bool *is_ok)
{
    const void *blob = sqlite3_column_blob(statement, column);
    size_t len = (size_t) sqlite3_column_bytes(statement, column);
    uint8_t *copy;

    if (len == 0)
        return pv_slice_of(NULL, 0);
    copy = pv_arena_alloc(arena, len);
    *is_ok = *is_ok && copy != NULL;
    if (copy != NULL)
        memcpy(copy, blob, len);
    return pv_slice_of(copy, copy == NULL ? 0 : len);
}

/* Reads all rows: `fill` makes one item of the current row. Rows of one question or room: tens, not millions. */
static enum pv_status
read_all(sqlite3_stmt *statement, struct pv_arena *arena, size_t item_size,
         bool (*fill)(sqlite3_stmt *statement, struct pv_arena *arena, void *item), void **items, size_t *count)
{
    struct pv_buf rows = {0};
    enum pv_status status;
    void *copy = NULL;

    while ((status = pv_db_step(statement)) == PV_OK) {
        uint8_t *item = pv_buf_reserve(&rows, item_size);

        if (item == NULL || !fill(statement, arena, item)) {
            status = PV_NOMEM;
            break;
        }
        pv_buf_commit(&rows, item_size);
    }
    done(statement);
    if (status == PV_NOTFOUND) {
        copy = pv_arena_alloc(arena, pv_buf_len(&rows) + 1);
        status = copy == NULL ? PV_NOMEM : PV_OK;
    }
    if (status == PV_OK) {
        if (pv_buf_len(&rows) > 0)
            memcpy(copy, pv_buf_slice(&rows).data, pv_buf_len(&rows));
        *items = copy;
        *count = pv_buf_len(&rows) / item_size;
    }
    pv_buf_clear(&rows);
    return status;
}

/* ---- Approvals ---- */

static int64_t
time_or_now(int64_t at_us)
{
    return at_us == 0 ? pv_record_now_us() : at_us;
}

enum pv_status
pv_store_approval_add(struct pv_store *store, const struct pv_approval *approval)
{
    sqlite3_stmt *statement = enter(store, APPROVAL_ADD);

    bind_text(statement, 1, approval->room);
    bind_text(statement, 2, approval->question);
    bind_text(statement, 3, approval->party);
    (void) sqlite3_bind_int64(statement, 4, time_or_now(approval->at_us));
    bind_blob(statement, 5, approval->text);
    bind_blob(statement, 6, approval->signature);
    bind_text(statement, 7, approval->fingerprint);
    return leave(store, run(statement));
}

static bool
fill_approval(sqlite3_stmt *statement, struct pv_arena *arena, void *item)
{
    bool is_ok = true;
    const struct pv_approval approval = {
        .room = copy_text(arena, statement, 0, &is_ok),
        .question = copy_text(arena, statement, 1, &is_ok),
        .party = copy_text(arena, statement, 2, &is_ok),
        .at_us = sqlite3_column_int64(statement, 3),
        .text = copy_blob(arena, statement, 4, &is_ok),
        .signature = copy_blob(arena, statement, 5, &is_ok),
        .fingerprint = copy_text(arena, statement, 6, &is_ok),
    };

    memcpy(item, &approval, sizeof(approval));
    return is_ok;
}

enum pv_status
pv_store_approvals(struct pv_store *store, const char *room, const char *question, struct pv_arena *arena,
                   struct pv_approval **approvals, size_t *count)
{
    sqlite3_stmt *statement = enter(store, APPROVALS);
    void *items = NULL;
    enum pv_status status;

    bind_text(statement, 1, room);
    bind_text(statement, 2, question);
    status = read_all(statement, arena, sizeof(**approvals), fill_approval, &items, count);
    if (status == PV_OK)
        *approvals = items;
    return leave(store, status);
}

/* ---- Consent ---- */

enum pv_status
pv_store_consent_add(struct pv_store *store, const struct pv_consent *consent)
{
    sqlite3_stmt *statement = enter(store, CONSENT_ADD);

    bind_text(statement, 1, consent->room);
    (void) sqlite3_bind_int(statement, 2, (int) consent->kind);
    bind_text(statement, 3, consent->subject == NULL ? "" : consent->subject);
    bind_text(statement, 4, consent->party);
    (void) sqlite3_bind_int(statement, 5, consent->is_withdrawn ? 1 : 0);
    (void) sqlite3_bind_int64(statement, 6, time_or_now(consent->at_us));
    bind_blob(statement, 7, consent->signature);
    bind_text(statement, 8, consent->fingerprint);
    return leave(store, run(statement));
}

static bool
fill_consent(sqlite3_stmt *statement, struct pv_arena *arena, void *item)
{
    bool is_ok = true;
    struct pv_consent consent = {
        .room = copy_text(arena, statement, 0, &is_ok),
        .kind = (enum pv_consent_kind) sqlite3_column_int(statement, 1),
        .subject = copy_text(arena, statement, 2, &is_ok),
        .party = copy_text(arena, statement, 3, &is_ok),
        .is_withdrawn = sqlite3_column_int(statement, 4) != 0,
        .at_us = sqlite3_column_int64(statement, 5),
        .signature = copy_blob(arena, statement, 6, &is_ok),
        .fingerprint = copy_text(arena, statement, 7, &is_ok),
    };

    if (consent.kind == PV_CONSENT_ROOM)
        consent.subject = NULL;
    memcpy(item, &consent, sizeof(consent));
    return is_ok;
}

enum pv_status
pv_store_consents(struct pv_store *store, const char *room, struct pv_arena *arena, struct pv_consent **consents,
                  size_t *count)
{
    sqlite3_stmt *statement = enter(store, CONSENTS);
    void *items = NULL;
    enum pv_status status;

    bind_text(statement, 1, room);
    status = read_all(statement, arena, sizeof(**consents), fill_consent, &items, count);
    if (status == PV_OK)
        *consents = items;
    return leave(store, status);
}

/* ---- Budgets ---- */

enum pv_status
pv_store_budgets_reserve(struct pv_store *store, const struct pv_budget_take *takes, size_t count, size_t *spent)
{
    enum pv_status status = run(enter(store, BEGIN));

    if (status != PV_OK)
        return leave(store, status);
    return leave(store, finish(store, pv_db_budgets_take(store->db, takes, count, spent)));
}

enum pv_status
pv_store_budget_used(struct pv_store *store, const char *key, const char *period, uint64_t *runs)
{
    sqlite3_stmt *statement = enter(store, BUDGET_USED);
    enum pv_status status;

    bind_text(statement, 1, key);
    bind_text(statement, 2, period);
    status = pv_db_step(statement);
    if (status == PV_OK)
        *runs = (uint64_t) sqlite3_column_int64(statement, 0);
    else if (status == PV_NOTFOUND) {
        *runs = 0;
        status = PV_OK;
    }
    done(statement);
    return leave(store, status);
}
