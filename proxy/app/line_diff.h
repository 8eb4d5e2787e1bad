/* What differs between two texts, line by line, as `diff -u` shows it. */
#ifndef PV_LINE_DIFF_H
#define PV_LINE_DIFF_H

#include "proxy/base/bytes.h"

/*
 * Appends hunks of ` `, `-` and `+` lines with three lines of context and their @@ headers; nothing where the texts
 * are equal. PV_NOMEM; PV_LIMIT when either has too many lines for it.
 */
enum pv_status pv_line_diff(struct pv_buf *out, struct pv_slice before, struct pv_slice after) PV_MUST_CHECK;

#endif
