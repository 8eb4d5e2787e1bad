#include "proxy/audit/keeper.h"

#include "proxy/audit/db_int.h"
#include "proxy/audit/verify.h"
#include "proxy/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Records that are read, sent and remembered at a time. */
#define BATCH_RECORDS 500u
/* Characters of a long text in a syslog message. */
#define SYSLOG_TEXT_MAX 1000
#define FILE_TEXT_MAX 1000000000
/* Facility 13, log audit (RFC 5424, table 1). */
#define FACILITY 13
/* RFC 5612's number for documentation: this project has none of its own. */
#define SD_ID "pgveil@32473"

enum target { TARGET_FILE, TARGET_SYSLOG, TARGET_COUNT };

static const char *const target_names[TARGET_COUNT] = {"file", "syslog"};

struct pv_keeper {
    char *path, *file, *syslog;
    uint64_t head_interval_ms;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool is_closing;
    struct pv_seal_options seal;
    atomic_bool is_sealing_cancelled;
    /* The thread's own. */
    struct pv_db *db;
    int64_t head_ms;
    uint64_t head_seq;
    bool is_seq_known;
    int socket;
    bool has_complained[TARGET_COUNT];
    int64_t seal_ms, retire_ms; /* when to look next */
    int64_t clock_offset_ms;    /* between the time of day and a clock that nobody sets */
    bool is_clock_distrusted;
};

static int64_t
now_ms(void)
{
    struct timespec now;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The records as JSON. ?1: after this seq; ?2: longest text. Columns: seq, JSON, and what syslog shows apart. ---- */

#define TEXT(column) \
    "CASE WHEN typeof(" column ") = 'blob' THEN substr(hex(" column "), 1, ?2) ELSE substr(" column ", 1, ?2) END"
#define JSON(column) "json(CASE WHEN json_valid(" column ") AND length(" column ") <= ?2 THEN " column " END)"

#define BEGIN_KEYS \
    "'id', id, 'at', at, 'session', session, 'room', room, 'user', user, 'service', service, 'party', party, 'client'," \
    " client, 'application', application, 'protocol', protocol, 'question', question, 'question_type', question_type," \
    " 'decision', decision, 'reason', " TEXT("reason") ", 'query', " TEXT("query") ", 'parameters', " \
    JSON("parameters") ", 'forwarded', " TEXT("forwarded") ", 'datasets', " JSON("datasets") ", 'columns', " \
    JSON("columns")

static const char records_sql[] =
    "SELECT seq, json_object('seq', seq, 'kind', 'begin', " BEGIN_KEYS "),"
    " 'begin', at, room, user, decision, question, NULL FROM statement WHERE seq > ?1 AND outcome IS NULL"
    " UNION ALL SELECT seq, json_object('seq', seq, 'kind', 'statement', " BEGIN_KEYS ", 'rows', rows,"
    " 'suppressed', suppressed, 'bytes', bytes, 'duration_us', duration_us, 'outcome', outcome, 'sqlstate', sqlstate),"
    " 'statement', at, room, user, iif(decision = 'denied', decision, outcome), question, sqlstate FROM statement"
    " WHERE seq > ?1 AND outcome IS NOT NULL"
    " UNION ALL SELECT seq, json_object('seq', seq, 'kind', 'end', 'id', id, 'at', at, 'rows', rows,"
    " 'suppressed', suppressed, 'bytes', bytes, 'duration_us', duration_us, 'outcome', outcome, 'sqlstate', sqlstate),"
    " 'end', at, NULL, NULL, outcome, NULL, sqlstate FROM statement_end WHERE seq > ?1"
    " UNION ALL SELECT seq, json_object('seq', seq, 'kind', 'event', 'at', at, 'session', session, 'room', room,"
    " 'user', user, 'client', client, 'event', event, 'detail', " JSON("detail") "),"
    " 'event', at, room, user, event, NULL, NULL FROM event WHERE seq > ?1"
    " ORDER BY 1 LIMIT ?3";

/* ---- Syslog ---- */

static int
open_syslog(const char *name)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(name, ':');
    char host[256];
    int fd = -1;

    if (name[0] == '/') {
        if (strlen(name) >= sizeof(local.sun_path))
            return -1;
        memcpy(local.sun_path, name, strlen(name) + 1);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *) &local, sizeof(local)) != 0) {
            (void) close(fd);
            fd = -1;
        }
        return fd;
    }
    if (colon == NULL || (size_t) (colon - name) >= sizeof(host))
        return -1;
    (void) snprintf(host, sizeof(host), "%.*s", (int) (colon - name), name);
    if (host[0] == '[' && colon > name + 1) {
        memmove(host, host + 1, strlen(host));
        host[strcspn(host, "]")] = '\0';
    }
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    for (struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            (void) close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* A parameter of structured data; `"`, `\` and `]` are escaped (RFC 5424, 6.3.3). */
static void
put_parameter(struct pv_buf *out, const char *name, sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);

    if (text == NULL)
        return;
    pv_buf_printf(out, " %s=\"", name);
    for (size_t i = 0; text[i] != '\0' && i < 128; i++) {
        if (strchr("\"\\]", text[i]) != NULL)
            pv_buf_put_u8(out, '\\');
        pv_buf_put_u8(out, text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i]);
    }
    pv_buf_put_u8(out, '"');
}

static bool
send_syslog(struct pv_keeper *keeper, sqlite3_stmt *statement)
{
    static const char *const names[] = {"room", "user", "what", "question", "sqlstate"};
    const char *what = (const char *) sqlite3_column_text(statement, 6);
    bool is_bad = what != NULL && (strcmp(what, "denied") == 0 || strcmp(what, "failed") == 0 ||
                                   strcmp(what, "lost") == 0 || strcmp(what, "login_failed") == 0);
    char host[256] = "-";
    struct pv_buf out = {0};
    bool is_sent;

    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        (void) snprintf(host, sizeof(host), "-");
    pv_buf_printf(&out, "<%d>1 %s %s pgveil %ld %s [" SD_ID " seq=\"%lld\"", FACILITY * 8 + (is_bad ? 4 : 6),
                  (const char *) sqlite3_column_text(statement, 3), host, (long) getpid(),
                  (const char *) sqlite3_column_text(statement, 2), (long long) sqlite3_column_int64(statement, 0));
    for (size_t i = 0; i < PV_COUNT_OF(names); i++)
        put_parameter(&out, names[i], statement, 4 + (int) i);
    pv_buf_put_text(&out, "]");
    if (pv_buf_len(&out) + (size_t) sqlite3_column_bytes(statement, 1) < PV_KEEPER_SYSLOG_BYTES_MAX) {
        pv_buf_put_u8(&out, ' ');
        pv_buf_put(&out, sqlite3_column_text(statement, 1), (size_t) sqlite3_column_bytes(statement, 1));
    }
    is_sent = pv_buf_ok(&out) && send(keeper->socket, pv_buf_slice(&out).data, pv_buf_len(&out), MSG_DONTWAIT) >= 0;
    pv_buf_clear(&out);
    return is_sent;
}

/* ---- Shipping ---- */

static bool
write_file(const char *path, struct pv_slice lines)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    bool is_fine = fd >= 0;

    while (is_fine && lines.len > 0) {
        ssize_t n = write(fd, lines.data, lines.len);

        if (n < 0 && errno == EINTR)
            continue;
        is_fine = n > 0;
        if (is_fine)
            lines = pv_slice_of(lines.data + n, lines.len - (size_t) n);
    }
    if (fd >= 0 && (fdatasync(fd) != 0 || close(fd) != 0))
        is_fine = false;
    return is_fine;
}

static enum pv_status
read_shipped(struct pv_keeper *keeper, enum target target, int64_t *seq)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status =
        pv_db_prepare(keeper->db->sqlite, "SELECT coalesce(max(seq), 0) FROM shipped WHERE target = ?1", &statement);

    if (status == PV_OK) {
        (void) sqlite3_bind_text(statement, 1, target_names[target], -1, SQLITE_STATIC);
        status = pv_db_step(statement);
    }
    if (status == PV_OK)
        *seq = sqlite3_column_int64(statement, 0);
    (void) sqlite3_finalize(statement);
    return status;
}

static enum pv_status
keep_shipped(struct pv_keeper *keeper, enum target target, int64_t seq)
{
    char *sql = sqlite3_mprintf("INSERT INTO shipped VALUES (%Q, %lld) ON CONFLICT (target) DO UPDATE SET seq ="
                                " excluded.seq", target_names[target], (long long) seq);
    enum pv_status status = sql == NULL ? PV_NOMEM : pv_db_exec(keeper->db->sqlite, sql);

    sqlite3_free(sql);
    return status;
}

/* One batch: PV_OK with *count 0 when there is nothing new. */
static enum pv_status
ship_batch(struct pv_keeper *keeper, enum target target, size_t *count)
{
    struct pv_buf lines = {0};
    sqlite3_stmt *statement = NULL;
    int64_t before = 0, seq;
    enum pv_status status = read_shipped(keeper, target, &before);

    *count = 0;
    seq = before;
    if (status == PV_OK)
        status = pv_db_prepare(keeper->db->sqlite, records_sql, &statement);
    if (status == PV_OK) {
        (void) sqlite3_bind_int64(statement, 1, before);
        (void) sqlite3_bind_int64(statement, 2, target == TARGET_FILE ? FILE_TEXT_MAX : SYSLOG_TEXT_MAX);
        (void) sqlite3_bind_int64(statement, 3, BATCH_RECORDS);
        while ((status = pv_db_step(statement)) == PV_OK) {
            if (target == TARGET_FILE) {
                pv_buf_put(&lines, sqlite3_column_text(statement, 1), (size_t) sqlite3_column_bytes(statement, 1));
                pv_buf_put_u8(&lines, '\n');
            } else if (!send_syslog(keeper, statement)) {
                status = PV_IO;
                break;
            }
            seq = sqlite3_column_int64(statement, 0);
            ++*count;
        }
        if (status == PV_NOTFOUND)
            status = PV_OK;
    }
    (void) sqlite3_finalize(statement);
    if (target == TARGET_FILE && *count > 0 && status == PV_OK &&
        (!pv_buf_ok(&lines) || !write_file(keeper->file, pv_buf_slice(&lines))))
        status = PV_IO;
    pv_buf_clear(&lines);
    if (seq > before && (status == PV_OK || target == TARGET_SYSLOG)) {
        enum pv_status kept = keep_shipped(keeper, target, seq);

        status = status == PV_OK ? kept : status;
    }
    return status;
}

static void
ship(struct pv_keeper *keeper, enum target target)
{
    const char *name = target == TARGET_FILE ? keeper->file : keeper->syslog;
    enum pv_status status = PV_OK;
    size_t count = 0;

    if (name == NULL)
        return;
    if (target == TARGET_SYSLOG && keeper->socket < 0)
        keeper->socket = open_syslog(name);
    if (target == TARGET_SYSLOG && keeper->socket < 0)
        status = PV_IO;
    while (status == PV_OK) {
        status = ship_batch(keeper, target, &count);
        if (count < BATCH_RECORDS)
            break;
    }
    if (status != PV_OK && target == TARGET_SYSLOG && keeper->socket >= 0) {
        (void) close(keeper->socket);
        keeper->socket = -1;
    }
    if ((status != PV_OK) != keeper->has_complained[target])
        pv_log(status == PV_OK ? PV_LOG_INFO : PV_LOG_WARNING, "shipping the query log to %s %s", name,
               status == PV_OK ? "goes on" : "does not work; it is tried again until it does");
    keeper->has_complained[target] = status != PV_OK;
}

/* ---- Heads ---- */

static enum pv_status
keep_head(struct pv_keeper *keeper, const struct pv_log_head *head)
{
    sqlite3_stmt *statement = NULL;
    enum pv_status status =
        pv_db_prepare(keeper->db->sqlite, "INSERT OR IGNORE INTO head VALUES (?1, ?2, ?3, ?4, ?5)", &statement);

    if (status != PV_OK)
        return status;
    (void) sqlite3_bind_int64(statement, 1, (sqlite3_int64) head->seq);
    (void) sqlite3_bind_blob(statement, 2, head->hash, sizeof(head->hash), SQLITE_STATIC);
    (void) sqlite3_bind_int64(statement, 3, head->at_us);
    (void) sqlite3_bind_text(statement, 4, head->fingerprint, -1, SQLITE_STATIC);
    (void) sqlite3_bind_blob(statement, 5, head->signature, sizeof(head->signature), SQLITE_STATIC);
    status = pv_db_step(statement);
    (void) sqlite3_finalize(statement);
    return status == PV_NOTFOUND ? PV_OK : status;
}

/* Of the head that was kept last, in an earlier life. */
static uint64_t
kept_seq(struct pv_keeper *keeper)
{
    sqlite3_stmt *statement = NULL;
    uint64_t seq = 0;
    enum pv_status status = pv_db_prepare(keeper->db->sqlite, "SELECT coalesce(max(seq), 0) FROM head", &statement);

    if (status == PV_OK && pv_db_step(statement) == PV_OK)
        seq = (uint64_t) sqlite3_column_int64(statement, 0);
    (void) sqlite3_finalize(statement);
    return seq;
}

static uint64_t
newest_seq(struct pv_keeper *keeper)
{
    struct pv_db_head head = {0};
    sqlite3_stmt *statement = NULL;
    enum pv_status status = pv_db_prepare(keeper->db->sqlite, pv_db_head_sql, &statement);

    if (status == PV_OK)
        status = pv_db_head_read(statement, &head);
    (void) sqlite3_finalize(statement);
    return status == PV_OK ? head.seq : 0;
}

static void
sign_if_due(struct pv_keeper *keeper, bool is_last)
{
    uint64_t newest = newest_seq(keeper);
    struct pv_log_head head;
    char error[256] = "";
    enum pv_status status;

    if (!keeper->is_seq_known) {
        keeper->is_seq_known = true;
        keeper->head_seq = kept_seq(keeper);
    }
    if (newest == 0 || (!is_last && newest < keeper->head_seq + PV_KEEPER_HEAD_RECORDS &&
                        (keeper->head_interval_ms == 0 || newest == keeper->head_seq ||
                         now_ms() - keeper->head_ms < (int64_t) keeper->head_interval_ms)))
        return;
    keeper->head_ms = now_ms();
    status = pv_log_head_sign(keeper->path, &head, error, sizeof(error));
    if (status == PV_OK)
        status = keep_head(keeper, &head);
    if (status == PV_OK)
        keeper->head_seq = head.seq;
    else
        pv_log(PV_LOG_WARNING, "the query log's head could not be signed: %s",
               error[0] != '\0' ? error : pv_status_words(status));
}

/* ---- Sealing ---- */

static int64_t
clock_offset_ms(void)
{
    struct timespec day, boot;

    (void) clock_gettime(CLOCK_REALTIME, &day);
    (void) clock_gettime(CLOCK_BOOTTIME, &boot);
    return ((int64_t) day.tv_sec - (int64_t) boot.tv_sec) * 1000 + (day.tv_nsec - boot.tv_nsec) / 1000000;
}

/* Whoever sets the clock a year ahead would have a year's log retired at once. */
static bool
is_clock_set(struct pv_keeper *keeper)
{
    int64_t moved_ms = clock_offset_ms() - keeper->clock_offset_ms;

    if (!keeper->is_clock_distrusted && (moved_ms > PV_KEEPER_CLOCK_MS || moved_ms < -PV_KEEPER_CLOCK_MS)) {
        keeper->is_clock_distrusted = true;
        pv_log(PV_LOG_WARNING, "the clock was set by %lld s: segments of the query log are not retired by age until the"
                               " next start", (long long) (moved_ms / 1000));
    }
    return keeper->is_clock_distrusted;
}

static void
seal_if_due(struct pv_keeper *keeper)
{
    struct pv_seal_options options = keeper->seal;
    struct pv_seal_result result;
    char error[512] = "";
    int64_t now = now_ms();
    enum pv_status status;

    if ((options.segment_bytes == 0 && options.segment_age_ms == 0) || now < keeper->seal_ms)
        return;
    keeper->seal_ms = now + PV_KEEPER_SEAL_MS;
    if (now < keeper->retire_ms && !pv_log_seal_is_due(keeper->path, &options))
        return;
    keeper->retire_ms = now + PV_KEEPER_RETIRE_MS;
    if (options.retention_age_ms > 0 && is_clock_set(keeper))
        options.retention_age_ms = 0;
    options.cancel = &keeper->is_sealing_cancelled;
    options.is_file_shipped = keeper->file != NULL;
    options.is_syslog_shipped = keeper->syslog != NULL;
    status = pv_log_seal(keeper->path, &options, &result, error, sizeof(error));
    if (result.sealed > 0 || result.retired > 0)
        pv_log(PV_LOG_INFO, "the query log: %llu segments sealed, %llu retired; sealed up to record %llu",
               (unsigned long long) result.sealed, (unsigned long long) result.retired,
               (unsigned long long) result.last_seq);
    if (status == PV_OK || status == PV_LIMIT)
        return;
    pv_log(PV_LOG_WARNING, "the query log could not be sealed, nothing of it is lost: %s", error);
    keeper->seal_ms = now + PV_KEEPER_SEAL_PAUSE_MS;
}

/* ---- The thread ---- */

static void
look(struct pv_keeper *keeper, bool is_last)
{
    const struct pv_db_options options = {0};

    if (keeper->db == NULL && pv_db_open(keeper->path, &options, &keeper->db, NULL, 0) != PV_OK)
        return;
    sign_if_due(keeper, is_last);
    for (int i = 0; i < TARGET_COUNT; i++)
        ship(keeper, (enum target) i);
    if (!is_last)
        seal_if_due(keeper);
}

static void *
work(void *context)
{
    struct pv_keeper *keeper = context;
    bool is_last;

    keeper->head_ms = now_ms();
    do {
        struct timespec until;

        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long) PV_KEEPER_WAKE_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void) pthread_mutex_lock(&keeper->mutex);
        if (!keeper->is_closing)
            (void) pthread_cond_timedwait(&keeper->wake, &keeper->mutex, &until);
        is_last = keeper->is_closing;
        (void) pthread_mutex_unlock(&keeper->mutex);
        look(keeper, is_last);
    } while (!is_last);
    return NULL;
}

static void
destroy(struct pv_keeper *keeper)
{
    pv_db_close(keeper->db);
    if (keeper->socket >= 0)
        (void) close(keeper->socket);
    (void) pthread_cond_destroy(&keeper->wake);
    (void) pthread_mutex_destroy(&keeper->mutex);
    pv_free(keeper->path);
    pv_free(keeper->file);
    pv_free(keeper->syslog);
    pv_free(keeper);
}

enum pv_status
pv_keeper_open(const struct pv_keeper_options *options, struct pv_keeper **keeper)
{
    struct pv_keeper *made = pv_calloc(1, sizeof(*made));
    pthread_condattr_t attributes;
    sigset_t all, before;
    bool is_whole;

    if (made == NULL)
        return PV_NOMEM;
    made->socket = -1;
    made->head_interval_ms = options->head_interval_ms;
    made->seal = options->seal;
    made->clock_offset_ms = clock_offset_ms();
    (void) pthread_mutex_init(&made->mutex, NULL);
    /* A wait by the time of day would last as long as that was set back. */
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&made->wake, &attributes);
    (void) pthread_condattr_destroy(&attributes);
    made->path = pv_strdup(options->path);
    made->file = options->file == NULL ? NULL : pv_strdup(options->file);
    made->syslog = options->syslog == NULL ? NULL : pv_strdup(options->syslog);
    is_whole = made->path != NULL && (made->file != NULL) == (options->file != NULL) &&
               (made->syslog != NULL) == (options->syslog != NULL);
    /* Signals belong to the main thread. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    is_whole = is_whole && pthread_create(&made->thread, NULL, work, made) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!is_whole) {
        destroy(made);
        return PV_NOMEM;
    }
    *keeper = made;
    return PV_OK;
}

void
pv_keeper_close(struct pv_keeper *keeper)
{
    if (keeper == NULL)
        return;
    (void) pthread_mutex_lock(&keeper->mutex);
    keeper->is_closing = true;
    atomic_store(&keeper->is_sealing_cancelled, true);
    (void) pthread_mutex_unlock(&keeper->mutex);
    (void) pthread_cond_signal(&keeper->wake);
    (void) pthread_join(keeper->thread, NULL);
    destroy(keeper);
}
