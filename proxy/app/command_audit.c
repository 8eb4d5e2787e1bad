#include "proxy/app/commands.h"

#include "proxy/audit/query.h"
#include "proxy/audit/record.h"
#include "proxy/audit/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DONE = 0, ANSWER_NO = 1, CANNOT = 2 };

/* Rows of `list` without --limit: a screen or two. */
#define LIST_LIMIT_DEFAULT 50u
/* Output is handed on in pieces of about this size. */
#define OUT_BYTES (64u * 1024u)
/* A table's columns are as wide as its first rows ask for, which are held until then. */
#define TABLE_ROWS_HELD 1000u
#define TABLE_COLUMNS_MAX 100u
/* Longest text of a cell in `list`; `show` has it whole. */
#define LIST_CELL_CHARACTERS 60u
/* A signed head is one short line. */
#define HEAD_BYTES_MAX 4096u
#define ERROR_SIZE 512u

static const char usage[] =
    "usage: pgveil audit list [--room ROOM] [--user USER] [--decision allowed|denied] [--since TIME] [--limit N] "
    "[--json]\n"
    "       pgveil audit show [--json] SEQ\n"
    "       pgveil audit query [--json] SQL      read-only SQL over the views query_log and event_log\n"
    "       pgveil audit verify [--head FILE]    checks the hash chain, and that it holds a head signed earlier\n"
    "       pgveil audit head                    prints the newest head, signed, to be kept elsewhere\n"
    "       pgveil audit export --format jsonl|csv\n"
    "TIME is RFC 3339, as 2026-01-31T12:00:00Z, or a date. --limit 0 lists everything.\n";

/* `what`: the word that is wrong, NULL where there is none. */
static int
misused(const char *words, const char *what)
{
    (void) fprintf(stderr, "pgveil audit: %s%s%s\n%s", words, what == NULL ? "" : ": ", what == NULL ? "" : what,
                   usage);
    return CANNOT;
}

static int
failed(const char *words)
{
    (void) fprintf(stderr, "pgveil audit: %s\n", words);
    return CANNOT;
}

/* ---- Options ---- */

struct options {
    struct pv_log_filter filter;
    bool is_json;
    const char *head, *format;
    int argc; /* what is left */
    char **argv;
};

struct form {
    const char *name;
    const char *allowed; /* letters of the options below */
    int words;           /* arguments beside options */
    int (*run)(const char *state_path, const struct options *options);
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

/* False: said already what is wrong. */
static bool
take_option(int letter, const char *value, struct options *options)
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
        (void) misused("--decision is allowed or denied", value);
        return false;
    case 's':
        options->filter.has_since = true;
        if (pv_record_time_parse(value, &options->filter.since_us) == PV_OK)
            return true;
        (void) misused("not a time", value);
        return false;
    case 'l':
        if (parse_count(value, &options->filter.limit))
            return true;
        (void) misused("--limit is a number", value);
        return false;
    case 'j':
        options->is_json = true;
        return true;
    case 'H':
        options->head = value;
        return true;
    case 'f':
        options->format = value;
        if (strcmp(value, "jsonl") == 0 || strcmp(value, "csv") == 0)
            return true;
        (void) misused("--format is jsonl or csv", value);
        return false;
    default:
        return false;
    }
}

static bool
parse_options(const struct form *form, int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"room", required_argument, NULL, 'r'},
        {"user", required_argument, NULL, 'u'},
        {"decision", required_argument, NULL, 'd'},
        {"since", required_argument, NULL, 's'},
        {"limit", required_argument, NULL, 'l'},
        {"json", no_argument, NULL, 'j'},
        {"head", required_argument, NULL, 'H'},
        {"format", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    *options = (struct options){.filter.limit = LIST_LIMIT_DEFAULT};
    /* getopt keeps its place in a global; 0 starts it anew. It leaves "audit list" out of its messages, so ours are
     * used. */
    optind = 0;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
        if (letter == '?' || letter == ':') {
            (void) misused(letter == '?' ? "no such option" : "an option needs a value", argv[optind - 1]);
            return false;
        }
        if (strchr(form->allowed, letter) == NULL) {
            (void) misused("not an option of this command", argv[optind - 1]);
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
        (void) misused("too many words", options->argv[form->words]);
    else
        (void) misused("a word is missing after", form->name);
    return false;
}

/* ---- Output ---- */

enum shape { AS_TABLE, AS_ARRAY, AS_JSONL, AS_CSV, AS_LINES };

struct output {
    enum shape shape;
    const char *const *names; /* of a table that shows only these columns; NULL: all */
    size_t name_count;
    size_t characters_max; /* of a table's cell; 0: no bound */
    struct pv_buf out;
    uint64_t rows;
    bool is_write_failed;
    /* table */
    struct pv_buf held; /* cells of the rows held back, each as text with its NUL */
    size_t held_rows;
    size_t columns;
    size_t widths[TABLE_COLUMNS_MAX];
    bool is_spread; /* widths are fixed, rows go out at once */
};

static enum pv_status
flush_at(struct output *output, size_t bytes)
{
    if (!pv_buf_ok(&output->out))
        return PV_NOMEM;
    if (pv_buf_len(&output->out) < bytes || pv_buf_len(&output->out) == 0)
        return PV_OK;
    if (fwrite(pv_buf_slice(&output->out).data, 1, pv_buf_len(&output->out), stdout) != pv_buf_len(&output->out)) {
        output->is_write_failed = true;
        return PV_IO;
    }
    pv_buf_consume(&output->out, pv_buf_len(&output->out));
    return PV_OK;
}

/* ---- Tables ---- */

static size_t
characters_of(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char) *text & 0xC0u) != 0x80u;
    return count;
}

static void
put_padded(struct output *output, const char *text, size_t column)
{
    size_t count = characters_of(text);
    bool is_last = column + 1 == output->columns;

    pv_buf_put_text(&output->out, column == 0 ? "" : "  ");
    pv_buf_put_text(&output->out, text);
    for (; !is_last && count < output->widths[column]; count++)
        pv_buf_put_u8(&output->out, ' ');
    if (is_last)
        pv_buf_put_u8(&output->out, '\n');
}

/* Gives out the rows held back, now that the widths are known. */
static void
spread(struct output *output)
{
    const char *at = (const char *) pv_buf_slice(&output->held).data;

    output->is_spread = true;
    for (size_t row = 0; row < output->held_rows; row++) {
        for (size_t column = 0; column < output->columns; column++, at += strlen(at) + 1)
            put_padded(output, at, column);
        if (row > 0)
            continue;
        for (size_t column = 0; column < output->columns; column++) {
            size_t dashes = column + 1 == output->columns && output->characters_max == 0 ? 10 : output->widths[column];

            pv_buf_put_text(&output->out, column == 0 ? "" : "  ");
            for (size_t i = 0; i < dashes; i++)
                pv_buf_put_u8(&output->out, '-');
        }
        pv_buf_put_u8(&output->out, '\n');
    }
    pv_buf_clear(&output->held);
    output->held_rows = 0;
}

/* Cuts a text at so many characters, and shows that it did. */
static void
cut(struct pv_buf *text, size_t characters_max)
{
    struct pv_slice slice = pv_buf_slice(text);
    size_t count = 0;

    for (size_t i = 0; characters_max > 0 && i < slice.len; i++) {
        if ((slice.data[i] & 0xC0u) == 0x80u)
            continue;
        if (++count > characters_max) {
            pv_buf_truncate(text, i);
            pv_buf_put_text(text, "...");
            return;
        }
    }
}

/* The row's column for a place in the table; row->count when it has none. */
static size_t
find_column(const struct output *output, const struct pv_row *row, size_t place)
{
    size_t column = 0;

    if (output->names == NULL)
        return place;
    while (column < row->count && strcmp(row->names[column], output->names[place]) != 0)
        column++;
    return column;
}

static enum pv_status
put_table_cell(struct output *output, const struct pv_row *row, size_t place, bool is_name)
{
    size_t column = find_column(output, row, place);
    struct pv_cell name = {.kind = PV_CELL_TEXT};
    struct pv_buf text = {0};
    const char *chars;

    if (is_name && column < row->count) {
        name.bytes = pv_slice_cstr(row->names[column]);
        pv_cell_put_text(&name, &text);
    } else if (column < row->count)
        pv_cell_put_text(&row->cells[column], &text);
    cut(&text, output->characters_max);
    chars = pv_buf_text(&text);
    if (chars == NULL)
        return PV_NOMEM;
    if (output->is_spread)
        put_padded(output, chars, place);
    else {
        size_t count = characters_of(chars);

        output->widths[place] = count > output->widths[place] ? count : output->widths[place];
        pv_buf_put_cstr(&output->held, chars);
    }
    pv_buf_clear(&text);
    return PV_OK;
}

static enum pv_status
put_table_row(struct output *output, const struct pv_row *row, bool is_name)
{
    enum pv_status status = PV_OK;

    if (output->columns == 0)
        output->columns = output->names == NULL ? row->count : output->name_count;
    if (output->columns > TABLE_COLUMNS_MAX)
        return PV_LIMIT;
    for (size_t place = 0; status == PV_OK && place < output->columns; place++)
        status = put_table_cell(output, row, place, is_name);
    if (!output->is_spread && ++output->held_rows > TABLE_ROWS_HELD)
        spread(output);
    return status == PV_OK && !pv_buf_ok(&output->held) ? PV_NOMEM : status;
}

/* ---- Rows to shapes ---- */

/* Column names come once, before the first row: with cells NULL, or with the first row. */
static enum pv_status
take_names(struct output *output, const struct pv_row *row)
{
    if (output->shape == AS_CSV)
        pv_row_put_csv_names(row, &output->out);
    if (output->shape == AS_TABLE)
        return put_table_row(output, row, true);
    return PV_OK;
}

static enum pv_status
take_row(void *context, const struct pv_row *row)
{
    struct output *output = context;
    enum pv_status status = PV_OK;

    if (row->cells == NULL)
        return take_names(output, row);
    switch (output->shape) {
    case AS_TABLE:
        if (output->columns == 0)
            status = put_table_row(output, row, true);
        if (status == PV_OK)
            status = put_table_row(output, row, false);
        break;
    case AS_ARRAY:
        pv_buf_put_text(&output->out, output->rows == 0 ? "[\n" : ",\n");
        pv_row_put_json(row, &output->out);
        break;
    case AS_JSONL:
        pv_row_put_json(row, &output->out);
        pv_buf_put_u8(&output->out, '\n');
        break;
    case AS_CSV:
        pv_row_put_csv(row, &output->out);
        break;
    case AS_LINES:
        pv_row_put_lines(row, &output->out);
        break;
    }
    output->rows++;
    return status == PV_OK ? flush_at(output, OUT_BYTES) : status;
}

/* The rest of the output, and the exit status of the whole. */
static int
finish(struct output *output, enum pv_status status, const char *error)
{
    if (status == PV_OK && output->shape == AS_TABLE)
        spread(output);
    if (status == PV_OK && output->shape == AS_ARRAY)
        pv_buf_put_text(&output->out, output->rows == 0 ? "[]\n" : "\n]\n");
    if (status == PV_OK)
        status = flush_at(output, 0);
    if (status == PV_OK && fflush(stdout) != 0) {
        output->is_write_failed = true;
        status = PV_IO;
    }
    pv_buf_clear(&output->out);
    pv_buf_clear(&output->held);
    if (status == PV_OK)
        return DONE;
    if (output->is_write_failed)
        return failed("cannot write to standard output");
    if (status == PV_LIMIT && output->shape == AS_TABLE && output->columns > TABLE_COLUMNS_MAX)
        return failed("too many columns for a table; use --json");
    return failed(error != NULL && error[0] != '\0' ? error : pv_status_words(status));
}

static struct pv_log_reader *
open_reader(const char *state_path)
{
    struct pv_log_reader *reader = NULL;
    char error[ERROR_SIZE];

    if (pv_log_reader_open(state_path, NULL, &reader, error, sizeof(error)) == PV_OK)
        return reader;
    (void) failed(error);
    return NULL;
}

/* ---- The commands ---- */

static int
run_list(const char *state_path, const struct options *options)
{
    static const char *const names[] = {"seq",     "at",   "room",     "user",   "decision", "question",
                                        "outcome", "rows", "sqlstate", "reason", "query"};
    struct output output = {.shape = options->is_json ? AS_ARRAY : AS_TABLE,
                            .names = names,
                            .name_count = PV_COUNT_OF(names),
                            .characters_max = LIST_CELL_CHARACTERS};
    struct pv_log_reader *reader = open_reader(state_path);
    enum pv_status status;

    if (reader == NULL)
        return CANNOT;
    status = pv_log_list(reader, &options->filter, take_row, &output);
    pv_log_reader_close(reader);
    return finish(&output, status, NULL);
}

static int
run_show(const char *state_path, const struct options *options)
{
    struct output output = {.shape = options->is_json ? AS_JSONL : AS_LINES};
    struct pv_log_reader *reader;
    enum pv_status status;
    uint64_t seq;

    if (!parse_count(options->argv[0], &seq))
        return misused("SEQ is a number", options->argv[0]);
    reader = open_reader(state_path);
    if (reader == NULL)
        return CANNOT;
    status = pv_log_show(reader, seq, take_row, &output);
    pv_log_reader_close(reader);
    if (status == PV_NOTFOUND) {
        (void) fprintf(stderr, "pgveil audit: there is no record %" PRIu64 "\n", seq);
        pv_buf_clear(&output.out);
        return ANSWER_NO;
    }
    return finish(&output, status, NULL);
}

static int
run_query(const char *state_path, const struct options *options)
{
    struct output output = {.shape = options->is_json ? AS_ARRAY : AS_TABLE};
    struct pv_log_reader *reader = open_reader(state_path);
    char error[ERROR_SIZE];
    enum pv_status status;

    if (reader == NULL)
        return CANNOT;
    status = pv_log_query(reader, options->argv[0], take_row, &output, error, sizeof(error));
    pv_log_reader_close(reader);
    return finish(&output, status, error);
}

static int
run_export(const char *state_path, const struct options *options)
{
    struct output output = {0};
    struct pv_log_reader *reader;
    enum pv_status status;

    if (options->format == NULL)
        return misused("--format jsonl or --format csv is missing", NULL);
    output.shape = strcmp(options->format, "csv") == 0 ? AS_CSV : AS_JSONL;
    reader = open_reader(state_path);
    if (reader == NULL)
        return CANNOT;
    status = pv_log_export(reader, take_row, &output);
    pv_log_reader_close(reader);
    return finish(&output, status, NULL);
}

static int
run_head(const char *state_path, const struct options *options)
{
    struct output output = {.shape = AS_JSONL};
    struct pv_log_head head;
    char error[ERROR_SIZE];

    (void) options;
    if (pv_log_head_sign(state_path, &head, error, sizeof(error)) != PV_OK)
        return failed(error);
    pv_log_head_format(&head, &output.out);
    return finish(&output, PV_OK, NULL);
}

/* One byte more than allowed is read, so that too long a file is seen. `-` is standard input. */
static bool
read_head(const char *path, struct pv_log_head *head)
{
    char text[HEAD_BYTES_MAX + 1];
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    size_t len;
    bool is_read;

    if (file == NULL) {
        (void) fprintf(stderr, "pgveil audit: cannot read %s: %s\n", path, strerror(errno));
        return false;
    }
    len = fread(text, 1, sizeof(text), file);
    is_read = ferror(file) == 0;
    if (file != stdin)
        (void) fclose(file);
    if (is_read && len <= HEAD_BYTES_MAX && pv_log_head_parse(pv_slice_of(text, len), head) == PV_OK)
        return true;
    (void) fprintf(stderr, "pgveil audit: %s is not a signed head as `pgveil audit head` prints it\n", path);
    return false;
}

static int
run_verify(const char *state_path, const struct options *options)
{
    struct pv_log_head head;
    struct pv_verdict verdict;
    char error[ERROR_SIZE];

    if (options->head != NULL && !read_head(options->head, &head))
        return CANNOT;
    if (pv_log_verify(state_path, options->head == NULL ? NULL : &head, &verdict, error, sizeof(error)) != PV_OK)
        return failed(error);
    if (verdict.fault != PV_FAULT_NONE) {
        (void) printf("TAMPERED: %s\n", verdict.words);
        if (verdict.records > 0)
            (void) printf("%" PRIu64 " records before it are intact\n", verdict.records);
        return fflush(stdout) == 0 ? ANSWER_NO : failed("cannot write to standard output");
    }
    (void) printf("ok: %" PRIu64 " records, none changed, missing or reordered%s\n", verdict.records,
                  options->head == NULL ? "" : "; the signed head is among them");
    return fflush(stdout) == 0 ? DONE : failed("cannot write to standard output");
}

static const struct form forms[] = {
    {"list", "rudslj", 0, run_list}, {"show", "j", 1, run_show}, {"query", "j", 1, run_query},
    {"verify", "H", 0, run_verify},  {"head", "", 0, run_head},  {"export", "f", 0, run_export},
};

int
pv_command_audit(const char *state_path, int argc, char **argv)
{
    struct options options;

    if (argc < 1)
        return misused("which: list, show, query, verify, head or export?", NULL);
    for (size_t i = 0; i < PV_COUNT_OF(forms); i++) {
        if (strcmp(argv[0], forms[i].name) != 0)
            continue;
        /* argv[0] stands where getopt expects the program's name. */
        if (!parse_options(&forms[i], argc, argv, &options))
            return CANNOT;
        return forms[i].run(state_path, &options);
    }
    return misused("no such command", argv[0]);
}
