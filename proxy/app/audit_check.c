#include "proxy/app/audit_command.h"

#include "proxy/audit/export.h"
#include "proxy/audit/record.h"
#include "proxy/audit/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A signed head is one short line. */
#define HEAD_BYTES_MAX 4096u

int
pv_audit_head(const struct pv_audit_options *options)
{
    struct pv_output output = {.shape = PV_AS_JSONL};
    struct pv_log_head head;
    char error[PV_AUDIT_ERROR_SIZE];

    if (pv_log_head_sign(options->state_path, &head, error, sizeof(error)) != PV_OK)
        return pv_audit_failed(error);
    pv_log_head_format(&head, &output.out);
    return pv_output_finish(&output, PV_OK, NULL);
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

/* What there is to say beside "ok". */
static void
say_segments(const struct pv_verdict *verdict)
{
    char at[PV_RECORD_TIME_SIZE];

    if (verdict->segments > 0)
        (void) printf("%" PRIu64 " sealed segment%s and the live file are one chain\n", verdict->segments,
                      verdict->segments == 1 ? "" : "s");
    if (verdict->retired > 0) {
        pv_record_time_format(verdict->retired_us, at);
        (void) printf("verified from record %" PRIu64 "; segments 1 to %" PRIu64 " are retired, the last on %s by %s\n",
                      verdict->first_seq, verdict->retired, at, verdict->policy);
    }
    if (verdict->is_head_unreachable)
        (void) printf("the signed head is of a retired record, so it could not be compared; its signature is right\n");
    if (verdict->signed_seq > 0)
        (void) printf("signed up to record %" PRIu64 "%s\n", verdict->signed_seq,
                      verdict->signed_seq < verdict->head_seq ? "; nothing vouches for the records behind it" : "");
    if (!verdict->has_key)
        (void) printf("signatures were not checked: the public key is not beside the log\n");
}

static int
say_verdict(const struct pv_verdict *verdict, bool has_head)
{
    if (verdict->fault != PV_FAULT_NONE) {
        (void) printf("TAMPERED: %s\n", verdict->words);
        if (verdict->records > 0)
            (void) printf("%" PRIu64 " records before it are intact\n", verdict->records);
        return fflush(stdout) == 0 ? ANSWER_NO : pv_audit_failed("cannot write to standard output");
    }
    (void) printf("ok: %" PRIu64 " records, none changed, missing or reordered%s\n", verdict->records,
                  has_head && !verdict->is_head_unreachable ? "; the signed head is among them" : "");
    say_segments(verdict);
    return fflush(stdout) == 0 ? DONE : pv_audit_failed("cannot write to standard output");
}

/* By the public key alone; there need be no log and no config on this machine. */
static int
verify_export(const struct pv_audit_options *options, const struct pv_log_head *head)
{
    FILE *file = strcmp(options->export, "-") == 0 ? stdin : fopen(options->export, "re");
    char key[4096], error[PV_AUDIT_ERROR_SIZE];
    struct pv_verdict verdict;
    enum pv_status status;

    if (file == NULL) {
        (void) fprintf(stderr, "pgveil audit: cannot read %s: %s\n", options->export, strerror(errno));
        return CANNOT;
    }
    if (options->key == NULL)
        (void) snprintf(key, sizeof(key), "%s.pub", options->state_path);
    status = pv_export_verify(file, options->key == NULL ? key : options->key, head, &verdict, error, sizeof(error));
    if (file != stdin)
        (void) fclose(file);
    return status == PV_OK ? say_verdict(&verdict, head != NULL) : pv_audit_failed(error);
}

int
pv_audit_verify(const struct pv_audit_options *options)
{
    struct pv_log_head head;
    struct pv_verdict verdict;
    char error[PV_AUDIT_ERROR_SIZE];

    if (options->head != NULL && !read_head(options->head, &head))
        return CANNOT;
    if (options->export != NULL)
        return verify_export(options, options->head == NULL ? NULL : &head);
    if (options->key != NULL)
        return pv_audit_misused("--key goes with --export", NULL);
    if (pv_log_verify(options->state_path, options->head == NULL ? NULL : &head, &verdict, error, sizeof(error)) !=
        PV_OK)
        return pv_audit_failed(error);
    return say_verdict(&verdict, options->head != NULL);
}

static enum pv_status
put_line(void *context, struct pv_slice line)
{
    struct pv_output *output = context;

    pv_buf_put_slice(&output->out, line);
    return pv_output_flush(output, 64u * 1024u);
}

int
pv_audit_export_records(const struct pv_audit_options *options)
{
    struct pv_output output = {.shape = PV_AS_JSONL};
    struct pv_verdict verdict = {0};
    char error[PV_AUDIT_ERROR_SIZE] = "";
    enum pv_status status =
        pv_log_export_records(options->state_path, put_line, &output, &verdict, error, sizeof(error));
    int exit_code = pv_output_finish(&output, status, error);

    if (exit_code != DONE || verdict.fault == PV_FAULT_NONE)
        return exit_code;
    (void) fprintf(stderr, "pgveil audit: the export ends before what is not sound: %s\n", verdict.words);
    return ANSWER_NO;
}
