#include "proxy/app/commands.h"

#include "parser/literals.h"
#include "policy/policy.h"
#include "proxy/app/audit_command.h"
#include "proxy/audit/journal.h"
#include "proxy/audit/record.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Rows of `list` without --limit: a screen or two. */
#define LIST_LIMIT_DEFAULT 50u
/* Longest text of a cell in `list`; `show` has it whole. */
#define LIST_CELL_CHARACTERS 60u

static const char usage[] =
    "usage: pgveil audit list [--room ROOM] [--user USER] [--decision allowed|denied] [--since TIME] [--limit N] "
    "[--json]\n"
    "       pgveil audit show [--json] SEQ\n"
    "       pgveil audit query [--json] SQL      read-only SQL over the views query_log and event_log\n"
    "       pgveil audit verify [--head FILE]    checks the hash chain, and that it holds a head signed earlier\n"
    "       pgveil audit head                    prints the newest head, signed, to be kept elsewhere\n"
    "       pgveil audit seal                    moves records into a sealed segment now; retires what is too old\n"
    "       pgveil audit verify --export FILE [--key FILE] [--head FILE]   checks an export of records by the public "
    "key"
    " alone\n"
    "       pgveil audit export --format jsonl|csv|records\n"
    "With --mask list, show, query and export show statements without their literals, and parameters by their types.\n"
    "TIME is RFC 3339, as 2026-01-31T12:00:00Z, or a date, or how long ago, as 90s, 30min, 12h or 7d. --limit 0 lists "
    "everything.\n";

/* `what`: the word that is wrong, NULL where there is none. */
int
pv_audit_misused(const char *words, const char *what)
{
    (void) fprintf(stderr, "pgveil audit: %s%s%s\n%s", words, what == NULL ? "" : ": ", what == NULL ? "" : what,
                   usage);
    return CANNOT;
}

int
pv_audit_failed(const char *words)
{
    (void) fprintf(stderr, "pgveil audit: %s\n", words);
    return CANNOT;
}

/* ---- Options ---- */

struct form {
    const char *name;
    const char *allowed; /* letters of the options below */
    int words;           /* arguments beside options */
    int (*run)(const struct pv_audit_options *options);
};

static bool
parse_count(const char *text, uint64_t *count)
{
    char *end = NULL;
    unsigned long long value;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > INT64_MAX)
        return false;
    *count = value;
    return true;
}

/* The config's units of time, from the end of what is asked for backwards. */
static bool
parse_since(const char *text, int64_t *since_us)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"ms", 1000}, {"s", 1000000}, {"min", 60000000}, {"h", 3600000000}, {"d", 86400000000}};
    size_t digits = strspn(text, "0123456789");
    char number[20];
    uint64_t count = 0;
    int64_t now_us = pv_record_now_us();

    if (pv_record_time_parse(text, since_us) == PV_OK)
        return true;
    if (digits == 0 || digits >= sizeof(number))
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    for (size_t i = 0; i < PV_COUNT_OF(units); i++) {
        if (strcmp(text + digits, units[i].unit) != 0 || !parse_count(number, &count))
            continue;
        /* Before the first record of any log is as good as ever. */
        *since_us = count > (uint64_t) (now_us / units[i].us) ? 0 : now_us - (int64_t) count * units[i].us;
        return true;
    }
    return false;
}

/* False: said already what is wrong. */
static bool
take_option(int letter, const char *value, struct pv_audit_options *options)
{
    switch (letter) {
    case 'r':
        options->filter.room = value;
        return true;
    case 'u':
        options->filter.user = value;
        return true;
    case 'd':
        options->filter.decision = value;
        if (strcmp(value, "allowed") == 0 || strcmp(value, "denied") == 0)
            return true;
        (void) pv_audit_misused("--decision is allowed or denied", value);
        return false;
    case 's':
        options->filter.has_since = true;
        if (parse_since(value, &options->filter.since_us))
            return true;
        (void) pv_audit_misused("--since is a time, as 2026-01-31T12:00:00Z or 2026-01-31, or how long ago, as 90s, 30min,"
                                " 12h or 7d; not", value);
        return false;
    case 'l':
        if (parse_count(value, &options->filter.limit))
            return true;
        (void) pv_audit_misused("--limit is a number", value);
        return false;
    case 'j':
        options->is_json = true;
        return true;
    case 'H':
        options->head = value;
        return true;
    case 'm':
        options->is_masked = true;
        return true;
    case 'x':
        options->export = value;
        return true;
    case 'k':
        options->key = value;
        return true;
    case 'f':
        options->format = value;
        if (strcmp(value, "jsonl") == 0 || strcmp(value, "csv") == 0 || strcmp(value, "records") == 0)
            return true;
        (void) pv_audit_misused("--format is jsonl, csv or records", value);
        return false;
    default:
        return false;
    }
}

static bool
parse_options(const struct form *form, int argc, char **argv, struct pv_audit_options *options)
{
    static const struct option longs[] = {
        {"room", required_argument, NULL, 'r'},     {"user", required_argument, NULL, 'u'},
        {"decision", required_argument, NULL, 'd'}, {"since", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},    {"json", no_argument, NULL, 'j'},
        {"head", required_argument, NULL, 'H'},     {"format", required_argument, NULL, 'f'},
        {"mask", no_argument, NULL, 'm'},           {"export", required_argument, NULL, 'x'},
        {"key", required_argument, NULL, 'k'},      {NULL, 0, NULL, 0},
    };
    int letter;

    *options = (struct pv_audit_options){.filter.limit = LIST_LIMIT_DEFAULT};
    /* getopt keeps its place in a global; 0 starts it anew. It leaves "audit list" out of its messages, so ours are
     * used. */
    optind = 0;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (letter == '?' || letter == ':') {
            (void) pv_audit_misused(letter == '?' ? "no such option" : "an option needs a value", argv[optind - 1]);
            return false;
        }
        if (strchr(form->allowed, letter) == NULL) {
            (void) pv_audit_misused("not an option of this command", argv[optind - 1]);
            return false;
        }
        if (!take_option(letter, optarg, options))
            return false;
    }
    options->argc = argc - optind;
    options->argv = argv + optind;
    if (options->argc == form->words)
        return true;
    if (options->argc > form->words)
        (void) pv_audit_misused("too many words", options->argv[form->words]);
    else
        (void) pv_audit_misused("a word is missing after", form->name);
    return false;
}

/* ---- Output ---- */

static struct pv_log_reader *
open_reader(const struct pv_audit_options *options)
{
    const struct pv_log_reader_options reading = {.mask = options->is_masked ? pv_literals_mask : NULL};
    struct pv_log_reader *reader = NULL;
    char error[PV_AUDIT_ERROR_SIZE];

    if (pv_log_reader_open(options->state_path, &reading, &reader, error, sizeof(error)) == PV_OK)
        return reader;
    (void) pv_audit_failed(error);
    return NULL;
}

/* SQLite's own words say which file, where it is one that cannot be read. */
static void
note_words(const struct pv_log_reader *reader, enum pv_status status, char words[PV_AUDIT_ERROR_SIZE])
{
    words[0] = '\0';
    if (status == PV_IO || status == PV_CORRUPT)
        (void) snprintf(words, PV_AUDIT_ERROR_SIZE, "%s", pv_log_reader_words(reader));
}

/* ---- The commands ---- */

static int
run_list(const struct pv_audit_options *options)
{
    static const char *const names[] = {"seq",     "at",   "room",     "user",   "decision", "question",
                                        "outcome", "rows", "sqlstate", "reason", "query"};
    struct pv_output output = {.shape = options->is_json ? PV_AS_ARRAY : PV_AS_TABLE,
                               .names = names,
                               .name_count = PV_COUNT_OF(names),
                               .characters_max = LIST_CELL_CHARACTERS};
    struct pv_log_reader *reader = open_reader(options);
    char words[PV_AUDIT_ERROR_SIZE];
    enum pv_status status;

    if (reader == NULL)
        return CANNOT;
    status = pv_log_list(reader, &options->filter, pv_output_take, &output);
    note_words(reader, status, words);
    pv_log_reader_close(reader);
    return pv_output_finish(&output, status, words);
}

static int
run_show(const struct pv_audit_options *options)
{
    struct pv_output output = {.shape = options->is_json ? PV_AS_JSONL : PV_AS_LINES};
    struct pv_log_reader *reader;
    char words[PV_AUDIT_ERROR_SIZE];
    enum pv_status status;
    uint64_t seq;

    if (!parse_count(options->argv[0], &seq))
        return pv_audit_misused("SEQ is a number", options->argv[0]);
    reader = open_reader(options);
    if (reader == NULL)
        return CANNOT;
    status = pv_log_show(reader, seq, pv_output_take, &output);
    note_words(reader, status, words);
    pv_log_reader_close(reader);
    if (status == PV_NOTFOUND) {
        (void) fprintf(stderr, "pgveil audit: there is no record %" PRIu64 "\n", seq);
        pv_buf_clear(&output.out);
        return ANSWER_NO;
    }
    return pv_output_finish(&output, status, words);
}

static int
run_query(const struct pv_audit_options *options)
{
    struct pv_output output = {.shape = options->is_json ? PV_AS_ARRAY : PV_AS_TABLE};
    struct pv_log_reader *reader = open_reader(options);
    char error[PV_AUDIT_ERROR_SIZE];
    enum pv_status status;

    if (reader == NULL)
        return CANNOT;
    status = pv_log_query(reader, options->argv[0], pv_output_take, &output, error, sizeof(error));
    pv_log_reader_close(reader);
    return pv_output_finish(&output, status, error);
}

static int
run_export(const struct pv_audit_options *options)
{
    struct pv_output output = {0};
    struct pv_log_reader *reader;
    char words[PV_AUDIT_ERROR_SIZE];
    enum pv_status status;

    if (options->format == NULL)
        return pv_audit_misused("--format jsonl, csv or records is missing", NULL);
    if (strcmp(options->format, "records") == 0 && options->is_masked)
        return pv_audit_misused("records carry what their hashes cover: --mask goes with jsonl and csv", NULL);
    if (strcmp(options->format, "records") == 0)
        return pv_audit_export_records(options);
    output.shape = strcmp(options->format, "csv") == 0 ? PV_AS_CSV : PV_AS_JSONL;
    reader = open_reader(options);
    if (reader == NULL)
        return CANNOT;
    status = pv_log_export(reader, pv_output_take, &output);
    note_words(reader, status, words);
    pv_log_reader_close(reader);
    return pv_output_finish(&output, status, words);
}

static const struct form forms[] = {
    {"list", "rudsljm", 0, run_list},      {"show", "jm", 1, run_show},    {"query", "jm", 1, run_query},
    {"verify", "Hxk", 0, pv_audit_verify}, {"head", "", 0, pv_audit_head}, {"export", "fm", 0, run_export},
    {"seal", "", 0, pv_audit_seal},
};

int
pv_command_audit(const struct pv_config *config, int argc, char **argv)
{
    struct pv_audit_options options;

    if (argc < 1)
        return pv_audit_misused("which: list, show, query, verify, head, seal or export?", NULL);
    for (size_t i = 0; i < PV_COUNT_OF(forms); i++) {
        if (strcmp(argv[0], forms[i].name) != 0)
            continue;
        /* argv[0] stands where getopt expects the program's name. */
        if (!parse_options(&forms[i], argc, argv, &options))
            return CANNOT;
        options.config = config;
        options.state_path = config == NULL ? NULL : config->state_path;
        if (options.state_path != NULL)
            pv_journal_recover(options.state_path);
        return forms[i].run(&options);
    }
    return pv_audit_misused("no such command", argv[0]);
}

bool
pv_command_audit_is_alone(int argc, char **argv)
{
    bool has_export = false, has_key = false;

    for (int i = 1; i < argc; i++) {
        has_export = has_export || strncmp(argv[i], "--export", 8) == 0;
        has_key = has_key || strncmp(argv[i], "--key", 5) == 0;
    }
    return argc > 0 && strcmp(argv[0], "verify") == 0 && has_export && has_key;
}
