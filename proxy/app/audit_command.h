/*
 * `pgveil audit` from inside: how rows leave, and what its parts share.
 */
#ifndef PV_AUDIT_COMMAND_H
#define PV_AUDIT_COMMAND_H

#include "proxy/audit/query.h"

enum { DONE = 0, ANSWER_NO = 1, CANNOT = 2 };

#define PV_AUDIT_ERROR_SIZE 512u

struct pv_config; /* policy/policy.h */

struct pv_audit_options {
    const char *state_path;
    const struct pv_config *config;
    struct pv_log_filter filter;
    bool is_json, is_masked;
    const char *head, *format, *export, *key;
    int argc; /* what is left */
    char **argv;
};

/* `what`: the word that is wrong, NULL where there is none. Both say it and give CANNOT. */
int pv_audit_misused(const char *words, const char *what);
int pv_audit_failed(const char *words);

/* ---- audit_output.c ---- */

enum pv_shape { PV_AS_TABLE, PV_AS_ARRAY, PV_AS_JSONL, PV_AS_CSV, PV_AS_LINES };

/* A table's columns are as wide as its first rows ask for, which are held until then. */
#define PV_TABLE_COLUMNS_MAX_SHOWN 100u

struct pv_output {
    enum pv_shape shape;
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
    size_t widths[PV_TABLE_COLUMNS_MAX_SHOWN];
    bool is_spread; /* widths are fixed, rows go out at once */
};

/* A pv_row_take; the context is a struct pv_output. */
enum pv_status pv_output_take(void *context, const struct pv_row *row) PV_MUST_CHECK;
/* Hands on what has gathered, when it is so much. */
enum pv_status pv_output_flush(struct pv_output *output, size_t bytes) PV_MUST_CHECK;
/* The rest of the output, and the exit status of the whole. */
int pv_output_finish(struct pv_output *output, enum pv_status status, const char *error);

/* ---- audit_check.c ---- */

int pv_audit_head(const struct pv_audit_options *options);
int pv_audit_verify(const struct pv_audit_options *options);
int pv_audit_export_records(const struct pv_audit_options *options);

/* ---- audit_seal.c ---- */

int pv_audit_seal(const struct pv_audit_options *options);

#endif
