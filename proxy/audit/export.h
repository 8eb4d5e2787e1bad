/*
 * Exports that can be verified: a line of JSON for each record of the chain, with its hash, and for each signed head.
 */
#ifndef PV_EXPORT_H
#define PV_EXPORT_H

#include "proxy/audit/verify.h"

#include <stdio.h>

/* Borrows the line, whose end is there. Anything but PV_OK stops the export and is given back by it. */
typedef enum pv_status (*pv_export_put)(void *context, struct pv_slice line);

/*
 * From state and segments, checking the chain on the way: where the verdict has a fault, what is not sound and all
 * behind it did not go out.
 */
enum pv_status pv_log_export_records(const char *path, pv_export_put put, void *context, struct pv_verdict *verdict,
                                     char *error, size_t error_size) PV_MUST_CHECK;

/*
 * Checks such an export by the public key in a PEM file, with nothing else. `head` may be NULL. verdict->signed_seq
 * says up to where a signed head vouches for the records. PV_INVALID: it is no such export; `error` says where.
 */
enum pv_status pv_export_verify(FILE *file, const char *public_key, const struct pv_log_head *head,
                                struct pv_verdict *verdict, char *error, size_t error_size) PV_MUST_CHECK;

#endif
