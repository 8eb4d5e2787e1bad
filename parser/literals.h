/*
 * A statement without its constants, for readers who may see what was asked and not of whom: every constant of the tree
 * but NULL becomes '…', comments are gone, $n stay. Printed from the tree, as everything is, so that no spelling of a
 * constant slips through.
 */
#ifndef PV_LITERALS_H
#define PV_LITERALS_H

#include "proxy/base/base.h"
#include "proxy/base/bytes.h"

/* What stands in place of a constant. */
#define PV_LITERAL_MASKED "\xe2\x80\xa6"

/*
 * Appends the statements of the text, "; " between them. PV_NOMEM; anything else but PV_OK: the text does not parse, or
 * is of a kind that is not printed, and nothing was appended. On a thread that may parse (parse.h).
 */
enum pv_status pv_literals_mask(struct pv_slice text, struct pv_buf *out) PV_MUST_CHECK;

#endif
